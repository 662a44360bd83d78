"""Posting: one message a request, or batches of fifty, over a few keep-alive connections at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from tests.bench.connection import Connection, connections
from tests.bench.meter import Done

SINGLES_AT_ONCE = 32
"""Connections with single posts: group commit needs company."""
BATCHES_AT_ONCE = 4
BATCH = 50

T = TypeVar("T")


async def singles(port: int, messages: Sequence[bytes], within: float, at_once: int = SINGLES_AT_ONCE) -> Done:
    latencies, seconds = await each(port, messages, within, at_once, single)
    return Done(len(latencies), seconds, latencies)


async def batches(port: int, messages: Sequence[bytes], within: float) -> Done:
    together = [messages[first : first + BATCH] for first in range(0, len(messages), BATCH)]
    latencies, seconds = await each(port, together, within, BATCHES_AT_ONCE, batch)
    return Done(sum(map(len, together[: len(latencies)])), seconds, latencies)


async def single(connection: Connection, message: bytes) -> None:
    answer = await connection.post("/v1/messages", "application/jose", message)
    assert answer.status == 201, answer


async def batch(connection: Connection, messages: Sequence[bytes]) -> None:
    body = b"".join(b'"%b"\n' % message for message in messages)
    answer = await connection.post("/v1/messages/batch", "application/x-ndjson", body)
    assert answer.body.count(b'"status":201') == len(messages), answer


async def each(
    port: int, items: Iterable[T], within: float, at_once: int, post: Callable[[Connection, T], Awaitable[None]]
) -> tuple[list[float], float]:
    """Post every item, each connection one after the other; (latencies, seconds). What is left when `within` seconds
    have passed is not posted: a slow machine does less instead of taking longer."""
    latencies: list[float] = []
    left = iter(items)
    async with connections(port, at_once) as opened:
        began = time.perf_counter()

        async def run(connection: Connection) -> None:
            for item in left:
                asked = time.perf_counter()
                await post(connection, item)
                answered = time.perf_counter()
                latencies.append(answered - asked)
                if answered - began > within:
                    return

        await asyncio.gather(*map(run, opened))
        return latencies, time.perf_counter() - began
