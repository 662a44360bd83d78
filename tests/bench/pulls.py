"""Pulling: each member leases a hundred and settles them, until its queue is empty."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlencode

import orjson

from broker import clock, tokens
from broker.api.auth import ASSERTION_TYPE
from tests.bench.connection import Connection, connections
from tests.bench.hub import PULLING, QUEUE, Bench
from tests.bench.meter import Done

LEASE = 100


async def pull_all(bench: Bench) -> Done:
    """What the five members who pull have waiting, leased and settled."""
    async with connections(bench.port, len(PULLING)) as opened:
        granted = [await token(bench, member, c) for member, c in zip(PULLING, opened, strict=True)]
        began = time.perf_counter()
        numbers = await asyncio.gather(*map(_empty, opened, granted))
        return Done(sum(numbers), time.perf_counter() - began)


async def token(bench: Bench, member: str, connection: Connection) -> str:
    assertion = tokens.make_assertion(member, bench.keys[member], bench.url, clock.now())
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }
    answer = await connection.post("/v1/oauth/token", "application/x-www-form-urlencoded", urlencode(form).encode())
    assert answer.status == 200, answer
    return str(orjson.loads(answer.body)["access_token"])


async def _empty(connection: Connection, token: str) -> int:
    async def ask(verb: str, body: object) -> list[dict[str, object]]:
        path = f"/v1/queues/{QUEUE}/{verb}"
        answer = await connection.post(path, "application/json", orjson.dumps(body), token)
        assert answer.status == 200, answer
        (items,) = orjson.loads(answer.body).values()
        return list(items)

    settled = 0
    while leased := await ask("lease", {"limit": LEASE}):
        settlements = [{"lease_id": one["lease_id"], "outcome": "accept"} for one in leased]
        done = await ask("settle", {"settlements": settlements})
        assert all(one["status"] == 200 for one in done), done
        settled += len(done)
    return settled
