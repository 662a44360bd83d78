"""Members at the wire, and hubs that are processes of their own: what the tests of RabbitMQ share."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import httpx2
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError
from sqlalchemy import select

from broker import app, keyfiles
from broker.config import Config
from broker.errors import BrokerError
from broker.hub import Hub
from broker.ledger import open_ledger, relays
from broker.ledger import tables as t
from broker.rabbit.connections import opened
from tests.engines import Cluster, Rabbit
from tests.faults import Process, process
from tests.region import LANGUAGE, MovableClock, Region

SECONDS = 20.0
"""What another process is about to do has happened by then, or never will."""


class Server(Protocol):
    """A RabbitMQ, of the session or one's own."""

    @property
    def amqp_url(self) -> str: ...
    @property
    def management_url(self) -> str: ...


def url_of(rabbit: Server, user: str, password: str) -> str:
    """The AMQP URL of the same virtual host for somebody else."""
    scheme, _, rest = rabbit.amqp_url.partition("://")
    return f"{scheme}://{user}:{password}@{rest.rpartition('@')[2]}"


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = SECONDS) -> None:
    """Wait for what somebody else is about to do."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def amqp_queue(r: Region, member: str, name: str = "wire", wanted: object = None) -> str:
    """Subscribe by amqp and wait until the queue stands in RabbitMQ. Returns its name there."""
    body = {"name": name, "filter": wanted or {}, "delivery": "amqp"}
    answer = await r.call(member, "POST", "/v1/subscriptions", body)
    assert answer.status_code == 201, answer.text

    async def declared() -> bool:
        return bool((await queue_row(r, member, name))["declared"])

    await until(declared)
    return str(answer.json()["amqp_name"])


async def queue_row(r: Region, member: str, name: str = "wire") -> Any:
    """The ledger's row of a queue, also of one whose subscription has been removed."""
    s, q = t.subscriptions.c, t.queues.c
    query = select(t.queues, s.removed_at).join(t.subscriptions, s.id == q.id).where(s.member == member, s.name == name)
    async with r.hub.ledger.reading() as c:
        return (await c.execute(query)).mappings().one()


async def nobody_to_close(r: Region, member: str) -> bool:
    """All connections of the member that were to be closed have been: what it opens now stays open."""
    async with r.hub.ledger.reading() as c:
        return (await c.execute(select(t.closings.c.number).where(t.closings.c.member == member))).first() is None


async def states(r: Region, member: str, name: str = "wire") -> list[str]:
    return [row["state"] for row in await r.index(member, name)]


async def published(r: Region, number: int, member: str = "PE", name: str = "wire") -> None:
    """Wait until that many deliveries of the queue are in RabbitMQ."""

    async def so() -> bool:
        s, d = t.subscriptions.c, t.deliveries.c
        query = select(d.sequence).join(t.subscriptions, s.id == d.queue).where(s.member == member, s.name == name)
        async with r.hub.ledger.reading() as c:
            return len((await c.execute(query.where(d.state == "published"))).all()) >= number

    await until(so)


async def overfill(r: Region, rabbit: Rabbit, queue: str, release: Any) -> list[str]:
    """Make a policy that leaves the queue (PE's) no room, and post until RabbitMQ refuses: it lets what is in flight
    overshoot, so that it takes several batches. Returns the addresses; drop the policy `small` to make room."""
    policy = {"pattern": f"^{queue}$", "definition": {"max-length": 3}, "apply-to": "queues"}
    rabbit.api("PUT", f"/api/policies/{rabbit.vhost}/small", policy)

    async def refused() -> bool:
        async with r.hub.ledger.reading() as c:
            return (await queue_row(r, "PE"))["id"] in await relays.parked(c)

    async def tried() -> bool:
        return await refused() or "ready" not in await states(r, "PE")

    posted: list[str] = []
    async with asyncio.timeout(3 * SECONDS):
        while not await refused():
            posted += await post_many(r, 10, release, f"full{len(posted)}")
            await until(tried)
    return posted


async def post_many(
    r: Region, number: int, release: Any, prefix: str, originator: str = "CL", **changes: Any
) -> list[str]:
    """Post that many alerts in batches; their addresses, all accepted."""
    ids = [f"{prefix}-{n}" for n in range(number)]
    for first in range(0, number, 500):
        lines = [r.sign(r.payload(originator, id, release, **changes)) for id in ids[first : first + 500]]
        answer = await r.http.post(
            "/v1/messages/batch", content="\n".join(f'"{line}"' for line in lines),
            headers={"content-type": "application/x-ndjson"}, timeout=60,
        )  # fmt: skip
        assert answer.text.count('"status":201') == len(lines), answer.text[:500]
    return [f"{originator}:{id}" for id in ids]


@dataclass(frozen=True)
class Got:
    """What a consumer remembers of a message."""

    address: str
    round: int
    sequence: int
    count: int
    attempt: int
    redelivered: bool


def got(message: AbstractIncomingMessage) -> Got:
    h: Any = message.headers
    attempt = int((message.message_id or "").rpartition(".")[2])
    return Got(h["tw-address"], h["tw-round"], h["tw-sequence"], h["tw-count"], attempt, bool(message.redelivered))


_closed: WeakKeyDictionary[AbstractConnection, asyncio.Event] = WeakKeyDictionary()


@asynccontextmanager
async def connected(r: Region, rabbit: Server, member: str) -> AsyncIterator[AbstractConnection]:
    """A member's connection; `closed_within` knows when RabbitMQ closes it."""
    async with opened(url_of(rabbit, member, await r.token(member, "amqp"))) as connection:
        closed = _closed[connection] = asyncio.Event()
        connection.close_callbacks.add(lambda *_: closed.set())
        yield connection


def still_open(connection: AbstractConnection) -> bool:
    """RabbitMQ has not closed it. aiormq's own `is_closed` is silent about that."""
    return not _closed[connection].is_set()


async def closed_within(connection: AbstractConnection, seconds: float) -> float:
    """Wait until RabbitMQ has closed it; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        await _closed[connection].wait()
    return time.monotonic() - began


@asynccontextmanager
async def consumer(
    r: Region, rabbit: Server, member: str, queue: str, prefetch: int = 100
) -> AsyncIterator[AbstractQueue]:
    async with connected(r, rabbit, member) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=prefetch)
        yield await channel.get_queue(queue, ensure=False)


async def receive(queue: AbstractQueue, number: int, ack: bool = True) -> list[AbstractIncomingMessage]:
    arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    tag = await queue.consume(arrived.put)
    messages: list[AbstractIncomingMessage] = []
    async with asyncio.timeout(SECONDS):
        while len(messages) < number:
            message = await arrived.get()
            messages.append(message)
            if ack:
                await message.ack()
    await queue.cancel(tag)
    return messages


@dataclass
class Collector:
    """A member's consumer that comes back whatever happens, acknowledges, and remembers all it got, in order."""

    r: Region
    rabbit: Server
    member: str
    queue: str
    all: list[Got] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """Deduplicated as product.md tells consumers to: by tw-address and tw-round."""
        return [address for address, _ in dict.fromkeys((one.address, one.round) for one in self.all)]

    @property
    def duplicates(self) -> int:
        return len(self.all) - len(self.addresses)

    async def has(self, wanted: set[str], seconds: float = 40) -> None:
        """Wait until every one of `wanted` has come."""
        try:
            async with asyncio.timeout(seconds):
                while not wanted <= set(self.addresses):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            missing = sorted(wanted - set(self.addresses))
            raise AssertionError(f"{self.member} lacks {len(missing)} of {len(wanted)}: {missing[:5]}") from None

    async def run(self) -> None:
        while True:
            with contextlib.suppress(AMQPError, OSError, TimeoutError, RuntimeError, httpx2.HTTPError, AssertionError):
                async with (
                    consumer(self.r, self.rabbit, self.member, self.queue) as queue,
                    queue.iterator() as messages,
                ):
                    async for message in messages:
                        self.all.append(got(message))
                        await message.ack()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def collecting(r: Region, rabbit: Server, member: str, queue: str) -> AsyncIterator[Collector]:
    collector = Collector(r, rabbit, member, queue)
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        await asyncio.wait([task])


def settings(home: Path, ledger_url: str, port: int, rabbit: Server | None) -> dict[str, str]:
    """The environment of a hub process."""
    env = {"HOME": str(home), "LEDGER_URL": ledger_url, "LISTEN": f"127.0.0.1:{port}"}
    if rabbit is not None:
        env |= {"AMQP_URL": rabbit.amqp_url, "RABBITMQ_MANAGEMENT_URL": rabbit.management_url}
    return {f"TIDEWAITER_{name}": value for name, value in env.items()} | {"TIDEWAITER_LANGUAGE": "en"}


async def initialise(home: Path, ledger_url: str, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    await app.init(Config(home, ledger_url, url, "127.0.0.1", port, None, None, "json"))


SERVE = (sys.executable, "-W", "error", "-m", "broker.cli", "serve")


@asynccontextmanager
async def hub_process(
    home: Path, ledger_url: str, port: int, rabbit: Server | None, *options: str
) -> AsyncIterator[tuple[Process, Region]]:
    """`tidewaiter serve` on a fresh ledger; the Region speaks with it over HTTP, and holds the ledger as the command
    line would. Both may be killed and started again."""
    await initialise(home, ledger_url, port)
    url = f"http://127.0.0.1:{port}"
    ledger = open_ledger(ledger_url)
    env = settings(home, ledger_url, port, rabbit)
    try:
        async with (
            process(*SERVE, *options, output=home / "said", env=env, ready=f"{url}/readyz") as hub,
            httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
        ):
            key = keyfiles.load(home / "hub.key", None)
            yield hub, Region(Hub(ledger, LANGUAGE, key, url), http, MovableClock())
    finally:
        with contextlib.suppress(BrokerError, OSError):
            await ledger.close()


def database_of(cluster: Cluster) -> str:
    """The URL by which a hub reaches a private PostgreSQL."""
    return cluster.url.replace("+asyncpg", "")
