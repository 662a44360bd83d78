"""The relay's two connections to RabbitMQ, one for publishing and one for questions, plain and under our own supervision.

An error closes an AMQP channel, and a queue that does not answer holds its channel up: every queue, and every question,
has a channel of its own, so that nobody else notices. Who takes messages out has a connection of its own: where a quorum
queue has lost what it stood on, `basic.get` and `basic.consume` end in an internal error (541), and with it the whole
connection (seen on 3.10 after kills in the second after a declare: "could not be restarted", `noproc`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import AMQPError

from broker.rabbit.topology import TIMEOUT_SECONDS

WIRE_ERRORS = (AMQPError, TimeoutError, httpx2.HTTPError, OSError, RuntimeError)
"""RuntimeError is what aio-pika and aiormq say of channels and connections that have closed."""
HEARTBEAT_SECONDS = 20
"""A connection on which nothing comes for three of them is dead, whatever TCP believes; RabbitMQ waits for two."""
CANARY_SECONDS = 10
CLOSE_SECONDS = 1
"""A channel held up by its queue does not close in time; it is left behind then."""


@dataclass(frozen=True)
class Connections:
    publishing: AbstractConnection
    consuming: AbstractConnection
    lost: asyncio.Event
    """Set when RabbitMQ, or the network, has closed one of them."""
    amqp_url: str
    name: str

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[AbstractChannel]:
        """A channel for a question or two. Not on the connection that publishes: an alarm blocks that one."""
        async with _channel(self.consuming) as channel:
            yield channel

    @asynccontextmanager
    async def reading(self, prefetch: int) -> AsyncIterator[AbstractChannel]:
        """A channel for a consumer that holds at most `prefetch` unacknowledged, on a connection of its own. When that
        ends so does the block, with TimeoutError: a consumer would wait for ever."""
        async with opened(self.amqp_url, self.name) as connection, asyncio.timeout(None) as ending:

            def ended(*_: object) -> None:
                with suppress(RuntimeError):  # the block is over
                    ending.reschedule(asyncio.get_running_loop().time())

            connection.close_callbacks.add(ended)
            async with _channel(connection) as channel:
                await channel.set_qos(prefetch_count=prefetch, timeout=TIMEOUT_SECONDS)
                yield channel

    async def healthy(self) -> bool:
        """Whether a new quorum queue takes a message and gives it back: then a queue that does not is itself broken."""
        name = f"tw.canary.{secrets.token_hex(16)}"
        arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-expires": CANARY_SECONDS * 1000}
        try:
            async with asyncio.timeout(CANARY_SECONDS), opened(self.amqp_url, self.name) as connection:
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                queue = await channel.declare_queue(name, durable=True, arguments=arguments)
                message = Message(b"", delivery_mode=DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, name, mandatory=True)
                await queue.get(no_ack=True, timeout=TIMEOUT_SECONDS)
                await channel.queue_delete(name)
                return True
        except WIRE_ERRORS:
            return False

    async def writing(self) -> AbstractChannel:
        """A channel with confirms; give it to `abandon` when it is no longer wanted."""
        return await self.publishing.channel(publisher_confirms=True, on_return_raises=True)


@asynccontextmanager
async def opened(amqp_url: str, name: str = "tidewaiter") -> AsyncIterator[AbstractConnection]:
    """A connection that is closed in every case. aio-pika's own `connect` leaves one behind that could not be opened,
    whose remains then close themselves at any time, in any thread."""
    connection = Connection(make_url(amqp_url, name=name, heartbeat=HEARTBEAT_SECONDS))
    try:
        await connection.connect(timeout=TIMEOUT_SECONDS)
        yield connection
    finally:
        with suppress(*WIRE_ERRORS):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await connection.close()


@asynccontextmanager
async def connect(amqp_url: str, name: str) -> AsyncIterator[Connections]:
    """Both connections, known to RabbitMQ by `name`."""
    lost = asyncio.Event()
    async with opened(amqp_url, name) as publishing, opened(amqp_url, name) as consuming:
        for connection in (publishing, consuming):  # `closed()` is silent when the peer closes
            connection.close_callbacks.add(lambda *_: lost.set())
        yield Connections(publishing, consuming, lost, amqp_url, name)


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    channel = await connection.channel(publisher_confirms=False)
    try:
        yield channel
    finally:
        await abandon(channel)


def heed_cancellation() -> None:
    """After RabbitMQ was asked, before anything is waited for again. Raises CancelledError if this task has been told to
    end and was not allowed to hear it: before Python 3.12 `asyncio.wait_for`, which aiormq waits with, forgets a
    cancellation that comes with the result, and whoever waits for our end would wait for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def abandon(channel: AbstractChannel) -> None:
    with suppress(*WIRE_ERRORS):
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.close()
