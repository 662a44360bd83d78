"""Consuming a queue from RabbitMQ (AMQP 0-9-1) with aio-pika (the extra `amqp`), under our own supervision.

    async with aclosing(consume(client, "amqps://mq.example.org", name)) as deliveries:
        async for delivery in deliveries:
            if delivery.key not in seen:
                payload = await client.believe(delivery.compact)
                ...                                     # store it and commit
                seen.add(delivery.key)
            await delivery.ack()                        # only now may RabbitMQ forget it

Each connection has a fresh token of scope `amqp` as its password. A refusal or a closed connection is no fault: the hub
closes them when rights change. After a pause that grows to half a minute the next connection is tried, for ever.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from broker.door import Unreachable
from broker.errors import SetupRefused

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from broker.client import Client

PREFETCH = 100
"""Deliveries that wait here unacknowledged at most; they are back in the queue when the connection closes."""
PAUSE_SECONDS = (0.5, 30.0)
CONNECT_SECONDS = 15
STEADY_SECONDS = 30
"""A connection that held so long was a good one: the next pause is short again."""


@dataclass(frozen=True, slots=True)
class Consumed:
    """One delivery as it came over the wire. `compact` is the message (or projection), not yet verified."""

    headers: Mapping[str, Any]
    compact: str
    redelivered: bool
    _message: AbstractIncomingMessage = field(repr=False)

    @property
    def address(self) -> str:
        return str(self.headers.get("tw-address", ""))

    @property
    def key(self) -> tuple[str, int]:
        """What consumers deduplicate by: address and round."""
        return self.address, int(self.headers.get("tw-round", 1))

    async def ack(self) -> bool:
        """Let RabbitMQ forget it. False if the connection is gone: it will come again."""
        return await _settle(self._message.ack)

    async def requeue(self) -> bool:
        """For a passing fault: it is offered again, at most some twenty times."""
        return await _settle(lambda: self._message.nack(requeue=True))

    async def reject(self) -> bool:
        """For what can never be processed: it goes towards the dead letters."""
        return await _settle(lambda: self._message.reject(requeue=False))


async def _settle(call: Callable[[], Any]) -> bool:
    from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

    try:
        await call()
    except (AMQPError, ChannelInvalidStateError, OSError, RuntimeError):
        return False
    return True


class Seen:
    """The last `limit` keys: a bounded help against redeliveries, no substitute for a unique index of one's own."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._keys: OrderedDict[tuple[str, int], None] = OrderedDict()

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._keys

    def add(self, key: tuple[str, int]) -> None:
        """Remember `key`, once what it names has been stored."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        while len(self._keys) > self._limit:
            self._keys.popitem(last=False)


async def amqp_name(client: Client, queue: str) -> str:
    """The name in RabbitMQ of one's own queue `queue`. Raises SetupRefused if it is not of delivery amqp."""
    own = {q["name"]: q for q in await client.queues()}
    name = own.get(queue, {}).get("amqp_name")
    if name is None:
        amqp = ", ".join(sorted(n for n, q in own.items() if q.get("amqp_name"))) or "none"
        raise SetupRefused(detail=f"“{queue}” is no queue of yours with delivery amqp. Those are: {amqp}.")
    return str(name)


async def consume(
    client: Client,
    amqp_url: str,
    name: str,
    *,
    prefetch: int = PREFETCH,
    told: Callable[[str], None] = lambda text: None,
) -> AsyncGenerator[Consumed, None]:
    """Deliveries of the queue `name` (its AMQP name), for ever, in order but for redeliveries.

    `amqp_url`: amqp(s)://host:port/vhost without credentials. `told` hears why a connection ended.
    Raises SetupRefused without aio-pika, Problem when the hub gives no token. Close it (`aclosing`) when leaving early.
    """
    try:
        import aio_pika  # noqa: F401 - the extra may not be installed
    except ImportError:
        raise SetupRefused(detail="AMQP needs aio-pika: pip install 'tidewaiter[amqp]'") from None
    from aio_pika.exceptions import AMQPError

    pause = PAUSE_SECONDS[0]
    loop = asyncio.get_running_loop()
    while True:
        since = loop.time()
        try:
            async with aclosing(_connection(client, amqp_url, name, prefetch)) as deliveries:
                async for delivery in deliveries:
                    yield delivery
            told("RabbitMQ closed the connection or took the consumer away")
        except (AMQPError, Unreachable, OSError, TimeoutError, RuntimeError) as error:
            told(f"{type(error).__name__}: {error}")
        pause = PAUSE_SECONDS[0] if loop.time() - since > STEADY_SECONDS else pause
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter, not a secret
        pause = min(2 * pause, PAUSE_SECONDS[1])


async def _connection(client: Client, amqp_url: str, name: str, prefetch: int) -> AsyncGenerator[Consumed, None]:
    """Deliveries over one connection, until it ends."""
    import aio_pika

    token = await client.token("amqp", fresh=True)
    url = with_login(amqp_url, client.member, token)
    tls = client.door.presenting(ssl.create_default_context()) if url.startswith("amqps:") else None
    connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS, ssl_context=tls)
    arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()  # bounded by the prefetch

    over = asyncio.Event()

    def ended(*_: Any) -> None:
        over.set()
        arrived.put_nowait(None)

    try:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=prefetch)
        connection.close_callbacks.add(ended)
        channel.close_callbacks.add(ended)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(ended)
        queue = await channel.get_queue(name, ensure=False)
        await queue.consume(arrived.put)
        while True:
            message = await arrived.get()
            if (
                message is None or over.is_set()
            ):  # what had come before is no longer ours to take: it comes again, or not
                return
            yield Consumed(
                dict(message.headers), message.body.decode("ascii", "replace"), bool(message.redelivered), message
            )
    finally:
        connection.close_callbacks.discard(ended)
        with suppress(Exception):  # it may be gone already, in any way
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.close()


def with_login(amqp_url: str, member: str, token: str) -> str:
    """The URL with user and password. Raises SetupRefused for another scheme, or for credentials already there."""
    parts = urlsplit(amqp_url)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise SetupRefused(detail="The address of RabbitMQ is amqps://host, with :port and /vhost where they differ.")
    if parts.username or parts.password:
        raise SetupRefused(
            detail="The address of RabbitMQ carries no user or password: your member id and a token are used."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    login = f"{quote(member, safe='')}:{quote(token, safe='')}"
    return urlunsplit((parts.scheme, f"{login}@{host}{port}", parts.path or "/", parts.query, ""))
