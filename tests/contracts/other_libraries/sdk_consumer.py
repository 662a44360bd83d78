"""The snippet of our own client (aio-pika), as a member would run it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import snippet  # type: ignore[import-not-found]  # what the test took from the page

import broker.consume


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Store:
    def __init__(self) -> None:
        self.there: set[tuple[str, int]] = set()

    def has(self, address: str, turn: int) -> bool:
        if (address, turn) in self.there:
            say(again=[address, turn])
        return (address, turn) in self.there

    async def keep(self, address: str, turn: int, headers: Mapping[str, Any], jws: str) -> None:
        self.there.add((address, turn))
        types = {name: type(value).__name__ for name, value in headers.items()}
        say(kept=[address, turn], body=jws, headers=dict(headers), types=types)
        if (address, turn) == (os.environ["HOLD"], 1):
            await asyncio.to_thread(sys.stdin.readline)


sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
_with_login = broker.consume.with_login


def with_login(amqp_url: str, member: str, token: str) -> str:
    say(login=hashlib.sha256(token.encode()).hexdigest())
    return _with_login(amqp_url, member, token)


broker.consume.with_login = with_login
asyncio.run(snippet.consume_for_ever(f"amqps://{os.environ['HOST']}:{os.environ['PORT']}", "wire", Store()))
