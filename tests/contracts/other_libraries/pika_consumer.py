"""The pika snippet, as a member would run it. Pauses are the shortest that it makes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from typing import Any

import pika  # type: ignore[import-untyped]  # it has none
import pika.data  # type: ignore[import-untyped]
import snippet  # type: ignore[import-not-found]  # what the test took from the page

random.uniform = min  # type: ignore[assignment]


class Headers(dict[str, Any]):
    """A table as pika decodes it, and the octet before each value: its AMQP type."""

    types: dict[str, str]


_tags: list[str] = []
_value, _table, _login = pika.data.decode_value, pika.data.decode_table, pika.PlainCredentials


def decode_value(encoded: bytes, offset: int) -> Any:
    _tags.append(chr(encoded[offset]))
    return _value(encoded, offset)


def decode_table(encoded: bytes, offset: int) -> tuple[Headers, int]:
    _tags.clear()
    table, end = _table(encoded, offset)
    headers = Headers(table)
    headers.types = dict(zip(table, _tags, strict=False))  # the server's own table nests, a message's does not
    return headers, end


def login(user: str, password: str) -> Any:
    say(login=hashlib.sha256(password.encode()).hexdigest())
    return _login(user, password)


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Store:
    def __init__(self) -> None:
        self.there: set[tuple[str, int]] = set()

    def has(self, address: str, turn: int) -> bool:
        if (address, turn) in self.there:
            say(again=[address, turn])
        return (address, turn) in self.there

    def keep(self, address: str, turn: int, headers: Headers, jws: bytes) -> None:
        self.there.add((address, turn))
        say(kept=[address, turn], body=jws.decode(), headers=headers, types=headers.types)
        if (address, turn) == (os.environ["HOLD"], 1):
            sys.stdin.readline()
        snippet.acknowledge(address, "received")


pika.data.decode_value, pika.data.decode_table, pika.PlainCredentials = decode_value, decode_table, login
snippet.consume_for_ever(os.environ["HOST"], int(os.environ["PORT"]), os.environ["QUEUE"], Store())
