"""The relay's two connections to RabbitMQ, one for publishing and one for consuming, plain and under our own supervision.

An error closes an AMQP channel, and a queue that does not answer holds its channel up: every queue, and every question,
has a channel of its own, so that nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx2
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import AMQPError

from broker.rabbit.topology import TIMEOUT_SECONDS

WIRE_ERRORS = (AMQPError, TimeoutError, httpx2.HTTPError, OSError, RuntimeError)
"""RuntimeError is what aio-pika and aiormq say of channels and connections that have closed."""
CLOSE_SECONDS = 1
"""A channel held up by its queue does not close in time; it is left behind then."""


@dataclass(frozen=True)
class Connections:
    publishing: AbstractConnection
    consuming: AbstractConnection
    lost: asyncio.Event
    """Set when RabbitMQ, or the network, has closed one of them."""

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[AbstractChannel]:
        """A channel for a question or two. Not on the connection that publishes: an alarm blocks that one."""
        async with _channel(self.consuming) as channel:
            yield channel

    @asynccontextmanager
    async def reading(self, prefetch: int) -> AsyncIterator[AbstractChannel]:
        """A channel for a consumer that holds at most `prefetch` unacknowledged."""
        async with _channel(self.consuming) as channel:
            await channel.set_qos(prefetch_count=prefetch, timeout=TIMEOUT_SECONDS)
            yield channel

    async def writing(self) -> AbstractChannel:
        """A channel with confirms; give it to `abandon` when it is no longer wanted."""
        return await self.publishing.channel(publisher_confirms=True, on_return_raises=True)


@asynccontextmanager
async def opened(amqp_url: str, name: str = "tidewaiter") -> AsyncIterator[AbstractConnection]:
    """A connection that is closed in every case. aio-pika's own `connect` leaves one behind that could not be opened,
    whose remains then close themselves at any time, in any thread."""
    connection = Connection(make_url(amqp_url, name=name))
    try:
        await connection.connect(timeout=TIMEOUT_SECONDS)
        yield connection
    finally:
        with suppress(*WIRE_ERRORS):
            await asyncio.wait_for(connection.close(), TIMEOUT_SECONDS)


@asynccontextmanager
async def connect(amqp_url: str, name: str) -> AsyncIterator[Connections]:
    """Both connections, known to RabbitMQ by `name`."""
    lost = asyncio.Event()
    async with opened(amqp_url, name) as publishing, opened(amqp_url, name) as consuming:
        for connection in (publishing, consuming):  # `closed()` is silent when the peer closes
            connection.close_callbacks.add(lambda *_: lost.set())
        yield Connections(publishing, consuming, lost)


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    channel = await connection.channel(publisher_confirms=False)
    try:
        yield channel
    finally:
        await abandon(channel)


async def abandon(channel: AbstractChannel) -> None:
    with suppress(*WIRE_ERRORS):
        await asyncio.wait_for(channel.close(), CLOSE_SECONDS)
