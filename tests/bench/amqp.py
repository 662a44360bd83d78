"""Receiving from RabbitMQ: five consumers that acknowledge, and what they saw when.

They sit on aiormq itself, below aio-pika, and acknowledge by the dozen: the load generator must not be what is measured.
They log in as the node's administrator, so that they can be there before the hub is; members are asked about once a
connection, never for a delivery.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage

from tests.bench import posts
from tests.bench.connection import Connection
from tests.bench.hub import RECIPIENTS
from tests.bench.meter import Done
from tests.region import address_of

PREFETCH = 500
ACKNOWLEDGE = 25
STEADY_AT_ONCE = 64
"""Messages on their way at a time, from the post to the last of their deliveries."""
WAIT_SECONDS = 40
"""What is on its way has arrived by then."""


@dataclass
class Arrivals:
    """`seen` is told every address as it arrives."""

    number: int = 0
    first: float = 0.0
    last: float = 0.0
    seen: Callable[[str], None] = lambda _address: None
    _wanted: int = -1
    _there: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, message: DeliveredMessage) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.number += 1
        self.seen(str((message.header.properties.headers or {})["tw-address"]))
        if self.number == self._wanted:
            self._there.set()

    async def reach(self, number: int) -> Done:
        """Wait for that many; the clock runs from the first of them to the last."""
        self._wanted = number
        if self.number < number:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._there.wait()
        assert self.number == number, f"{self.number} deliveries instead of {number}"
        return Done(number - 1, self.last - self.first)


@asynccontextmanager
async def consuming(amqp_url: str, queues: Sequence[str]) -> AsyncIterator[Arrivals]:
    """One consumer a queue, each on a connection of its own; at the end everything is acknowledged."""
    arrivals = Arrivals()
    opened = [await aiormq.connect(amqp_url) for _ in queues]
    channels = [await connection.channel(publisher_confirms=False) for connection in opened]
    try:
        for channel, queue in zip(channels, queues, strict=True):
            await channel.basic_qos(prefetch_count=PREFETCH)
            await channel.basic_consume(queue, _consumer(channel, arrivals))
        yield arrivals
        for channel in channels:
            await channel.basic_ack(0, multiple=True)  # AMQP 0-9-1 §1.8.3.13: everything outstanding
    finally:
        for connection in opened:
            await connection.close()


def _consumer(channel: AbstractChannel, arrivals: Arrivals) -> Callable[[DeliveredMessage], Coroutine[Any, Any, None]]:
    async def consume(message: DeliveredMessage) -> None:
        arrivals.note(message)
        if (tag := message.delivery_tag or 0) % ACKNOWLEDGE == 0:
            await channel.basic_ack(tag, multiple=True, wait=False)

    return consume


async def steadily(port: int, messages: Sequence[bytes], within: float, arrivals: Arrivals) -> Done:
    """Post, and post the next when all have it: as much as post, relay and consumers sustain together.

    Counted in deliveries; latencies are from the post to the last of a message's deliveries.
    """
    left = {address_of(message.decode()): RECIPIENTS for message in messages}
    complete = {address: asyncio.Event() for address in left}

    def seen(address: str) -> None:
        left[address] -= 1
        if not left[address]:
            complete[address].set()

    async def one(connection: Connection, message: bytes) -> None:
        await posts.single(connection, message)
        await complete[address_of(message.decode())].wait()

    arrivals.seen = seen
    latencies, seconds = await posts.each(port, messages, within, STEADY_AT_ONCE, one)
    return Done(RECIPIENTS * len(latencies), seconds, latencies)
