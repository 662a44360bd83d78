"""Promise 1: a receipt is issued only after the message and its deliveries are committed together. Kill any process at
any line: no accepted message is missing, none loses a recipient that was decided for it.

Hub, RabbitMQ and PostgreSQL are processes that die by SIGKILL at random moments in the middle of batches. What has a
receipt is then looked for in the ledger, in the queues of RabbitMQ and at the pull members' doors. The second half
fails every single await of the relay, before and after its effect. TIDEWAITER_ROUNDS makes the killing longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import jws, relay, submit
from broker.errors import LedgerAway
from broker.ledger import Ledger
from broker.ledger import tables as t
from broker.ledger.wakes import RELAYS
from broker.rabbit import dead_letters, member_queue
from broker.rabbit.management import Management
from tests import engines
from tests.engines import Rabbit
from tests.faults import Process
from tests.region import Region, to, wired_region
from tests.wire import (
    Collector,
    amqp_queue,
    collecting,
    consumer,
    database_of,
    got,
    hub_process,
    post_many,
    published,
    receive,
    states,
    until,
)

ROUNDS = int(os.environ.get("TIDEWAITER_ROUNDS", "1"))
LINES = 20


@dataclass
class Posting:
    """Clients that post batches as long as it lasts, and keep every receipt. A batch without an answer is repeated."""

    r: Region
    stream: int
    release: dict[str, Any]
    receipts: dict[str, str] = field(default_factory=dict)
    refusals: list[tuple[int, str | None]] = field(default_factory=list)
    """(status, Retry-After) of answers that accepted nothing."""

    async def run(self) -> None:
        batch = 0
        while True:
            batch += 1
            ids = [f"s{self.stream}-{batch}-{line}" for line in range(LINES)]
            lines = [json.dumps(self.r.sign(self.r.payload("CL", id, self.release))) for id in ids]
            while not await self._answered("\n".join(lines)):
                await asyncio.sleep(0.05)

    async def _answered(self, lines: str) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            answer = await self.r.http.post(
                "/v1/messages/batch", content=lines, headers={"content-type": "application/x-ndjson"}
            )
            if answer.status_code != 200:
                self.refusals.append((answer.status_code, answer.headers.get("retry-after")))
                return False
            for told in map(json.loads, answer.text.splitlines()):
                if told["status"] not in (200, 201):
                    self.refusals.append((told["status"], None))
                    return False
                claims = jws.claims(jws.read(told["receipt"].encode(), typ=jws.TYP_RECEIPT))
                self.receipts[claims["message"]] = claims["digest"]
            return True
        return False


@asynccontextmanager
async def posting(r: Region, streams: int = 3) -> AsyncIterator[list[Posting]]:
    releases = [to("PE", "AR"), {"to": [{"member": "PE"}], "groups": ["OP"]}, {"groups": ["OP"]}]
    posts = [Posting(r, n, releases[n % 3]) for n in range(streams)]
    tasks = [asyncio.create_task(post.run()) for post in posts]
    try:
        yield posts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        assert task.cancelled(), task.exception()


async def a_region(r: Region) -> str:
    """CL posts; PE reads by AMQP, AR and BR lease; OP are PE and BR. Returns PE's queue in RabbitMQ."""
    await r.enrol("CL", "PE", "AR", "BR")
    await r.group("OP", "CL", "PE", "BR")
    for member in ("AR", "BR"):
        await r.subscribe(member, "pulled")
    return await amqp_queue(r, "PE")


def decided(posts: list[Posting]) -> dict[str, set[str]]:
    """member -> addresses with a receipt that the releases above give it."""
    who = {0: {"PE", "AR"}, 1: {"PE", "BR"}, 2: {"PE", "BR"}}
    wanted: dict[str, set[str]] = {"PE": set(), "AR": set(), "BR": set()}
    for post in posts:
        for member in who[post.stream % 3]:
            wanted[member] |= set(post.receipts)
    return wanted


async def nothing_is_lost(r: Region, posts: list[Posting], collector: Collector | None) -> None:
    """Every receipt's message is in the ledger, with the digest that it names and every recipient decided for it;
    consumers get all of it, pull members lease all of it, in gap-free sequence."""
    wanted = decided(posts)
    digests = {address: digest for post in posts for address, digest in post.receipts.items()}
    assert len(digests) > LINES, "nothing was accepted at all"
    m, d = t.messages.c, t.deliveries.c
    async with r.hub.ledger.reading() as c:
        stored = {f"{o}:{i}": x for o, i, x in await c.execute(select(m.originator, m.id, m.digest))}
        rows = (await c.execute(select(d.member, d.queue, d.sequence, m.originator, m.id).join(t.messages))).all()
    assert digests.items() <= stored.items()
    for member, addresses in wanted.items():
        assert addresses <= {f"{row.originator}:{row.id}" for row in rows if row.member == member}, member
    for queue in {row.queue for row in rows}:
        sequences = sorted(row.sequence for row in rows if row.queue == queue)
        assert sequences == list(range(1, len(sequences) + 1)), "a gap in a queue's sequence"
    for member in ("AR", "BR"):
        taken: set[str] = set()
        while more := await r.take(member, "pulled"):
            taken |= set(more)
        assert wanted[member] <= taken, member
    if collector is not None:
        await collector.has(wanted["PE"])
        assert len(collector.addresses) == len(set(collector.addresses)), "one round, one address, one message"
        firsts = [one.sequence for one in collector.all if one.attempt == 1 and not one.redelivered]
        assert firsts == sorted(set(firsts)), "first offers in the queue's sequence"
        print(f"{len(digests)} receipts; {len(collector.all)} on the wire, {collector.duplicates} of them twice")


async def more_accepted(posts: list[Posting]) -> None:
    """Wait for a receipt that was not there before."""
    before = sum(len(post.receipts) for post in posts)

    async def more() -> bool:
        return sum(len(post.receipts) for post in posts) > before

    await until(more)


async def killed_and_back(hub: Process) -> None:
    hub.kill9()
    await asyncio.sleep(random.uniform(0, 0.3))
    hub.start()


async def test_a_hub_killed_in_the_middle_of_batches(ledger_url: str, rabbit: Rabbit, tmp_path: Path) -> None:
    """SIGKILL at random moments, several times; clients repeat what was not answered."""
    async with hub_process(tmp_path, ledger_url, rabbit.hub_port, rabbit) as (hub, r):
        queue = await a_region(r)
        async with collecting(r, rabbit, "PE", queue) as collector:
            async with posting(r) as posts:
                for _ in range(2 * ROUNDS):
                    await asyncio.sleep(random.uniform(0.3, 1.2))
                    await killed_and_back(hub)
                    await hub.answers(f"{r.hub.public_url}/readyz")
                await asyncio.sleep(0.3)
            await nothing_is_lost(r, posts, collector)


async def test_a_rabbitmq_killed_in_the_middle_of_batches_and_both(hub_port: int, tmp_path: Path) -> None:
    """RabbitMQ dies by SIGKILL, then RabbitMQ and the hub together; posts are accepted while RabbitMQ is away."""
    async with (
        engines.private_rabbit(engines.auth_url(hub_port)) as node,
        hub_process(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", hub_port, node) as (hub, r),
    ):
        queue = await a_region(r)
        await asyncio.sleep(2)  # 3.10 may bring a queue back without a leader that was declared just before a kill
        async with collecting(r, node, "PE", queue) as collector:
            async with posting(r) as posts:
                for both in [False, True] * ROUNDS:
                    await asyncio.sleep(random.uniform(0.2, 1.0))
                    node.kill()
                    if both:
                        await killed_and_back(hub)
                    await hub.answers(f"{r.hub.public_url}/readyz")
                    await more_accepted(posts)  # while RabbitMQ is away
                    await asyncio.to_thread(node.restart)
            await nothing_is_lost(r, posts, collector)


async def test_a_postgresql_killed_in_the_middle_of_batches(hub_port: int, tmp_path: Path) -> None:
    """Without its ledger the hub accepts nothing (503 with Retry-After), loses nothing, and recovers by itself."""
    async with (
        engines.private_postgres() as cluster,
        hub_process(tmp_path, database_of(cluster), hub_port, None) as (hub, r),
    ):
        await r.enrol("CL", "PE", "AR", "BR")
        await r.group("OP", "CL", "PE", "BR")
        for member in ("PE", "AR", "BR"):
            await r.subscribe(member, "pulled")
        async with posting(r) as posts:
            for _ in range(2 * ROUNDS):
                await asyncio.sleep(random.uniform(0.3, 1.0))
                await asyncio.to_thread(cluster.kill)
                ready = await r.http.get("/readyz")
                await asyncio.sleep(0.3)
                assert (ready.status_code, "retry-after" in ready.headers) == (503, True)
                await asyncio.to_thread(cluster.run)
                await more_accepted(posts)
        refused = [told for post in posts for told in post.refusals]
        assert hub.running
        assert refused
        assert {status for status, _ in refused} == {503}
        assert all(after is not None for _, after in refused)
        await r.hub.ledger.close()  # its connections are those of before
        await nothing_is_lost(r, posts, None)


# ── every await of the relay, failing before its effect and after it ──

watched: ContextVar[bool] = ContextVar("watched", default=False)


@dataclass
class Faults:
    """Counts the calls that the relay awaits, and fails one of them."""

    at: int = 0
    """Which call fails, from 1; 0: none."""
    after: bool = False
    """After its effect: the caller does not learn that it happened."""
    seen: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def around(self, name: str, error: Callable[[str], Exception]) -> Iterator[None]:
        if not watched.get():
            yield
            return
        self.seen.append(name)
        mine = len(self.seen) == self.at
        if mine and not self.after:
            raise error(f"before {name}")
        yield
        if mine:
            raise error(f"after {name}")


def away(why: str) -> LedgerAway:
    return LedgerAway(detail=why)


def broken(why: str) -> OperationalError:
    """What a statement says whose connection has gone."""
    return OperationalError(why, None, Exception(why))


class FaultyLedger(Ledger):
    """The ledger, whose transactions may fail to begin, or to answer after the commit."""

    faults: Faults

    @asynccontextmanager
    async def accepting(self) -> AsyncIterator[Any]:
        with FaultyLedger.faults.around("commit", away):
            async with super().accepting() as c:
                yield c

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        with FaultyLedger.faults.around("read", away):
            async with super().reading() as c:
                yield c


def fail_at(
    patch: pytest.MonkeyPatch, owner: Any, method: str, name: str, error: Callable[[str], Exception] = ConnectionError
) -> None:
    original = getattr(owner, method)

    async def wrapped(*args: Any, **options: Any) -> Any:
        with FaultyLedger.faults.around(name, error):
            return await original(*args, **options)

    patch.setattr(owner, method, wrapped)


def watch(patch: pytest.MonkeyPatch, owner: Any, method: str) -> None:
    """Faults strike inside this function, and what it starts."""
    original = getattr(owner, method)

    async def wrapped(*args: Any, **options: Any) -> Any:
        mark = watched.set(True)
        try:
            return await original(*args, **options)
        finally:
            watched.reset(mark)

    patch.setattr(owner, method, wrapped)


@pytest.fixture
async def fragile(rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Region]:
    """A wired region whose relay can be failed at any await, and does not wait long before it tries again."""
    FaultyLedger.faults = Faults()
    monkeypatch.setattr(relay, "RETRY_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(relay, "RECONNECT_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(relay, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(member_queue, "DRAIN_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(dead_letters, "AGAIN_SECONDS", 0.05)
    for owner, method, name in (
        (aio_pika.Exchange, "publish", "publish"),
        (aio_pika.Channel, "declare_queue", "declare"),
        (aio_pika.Queue, "consume", "consume"),
        (aio_pika.Queue, "cancel", "cancel"),
        (aio_pika.Queue, "get", "get"),
        (aio_pika.IncomingMessage, "ack", "ack"),
        (Management, "close_connections", "close"),
        (Management, "depth", "depth"),
    ):
        fail_at(monkeypatch, owner, method, name)
    watch(monkeypatch, dead_letters, "_write_down")
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        r.hub.ledger = FaultyLedger(**vars(r.hub.ledger))
        await r.enrol("CL", "PE", "operator:ana")
        yield r


def places(calls: list[str]) -> list[tuple[int, bool]]:
    return [(at, after) for at in range(1, len(calls) + 1) for after in (False, True)]


async def test_every_await_of_a_publish_may_fail(
    fragile: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claim, publish, confirm, mark: whichever fails, on either side of its effect, everything arrives, in order, and
    what comes twice is recognisable."""
    watch(monkeypatch, member_queue.MemberQueue, "_publish")
    name = await amqp_queue(fragile, "PE")
    release = to("PE")
    async with collecting(fragile, rabbit, "PE", name) as collector:
        wanted = await post_many(fragile, 3, release, "first")
        await collector.has(set(wanted))
        await published(fragile, 3)
        calls = list(FaultyLedger.faults.seen)
        assert calls.count("commit") >= 2
        assert calls.count("publish") == 3
        for at, after in places(calls[:5]):
            FaultyLedger.faults = Faults(at, after)
            wanted += await post_many(fragile, 3, release, f"f{at}{after}")
            await collector.has(set(wanted))
            await published(fragile, len(wanted))
            firsts = [one.sequence for one in collector.all if one.attempt == 1]
            assert firsts == sorted(set(firsts)), (at, after, calls[at - 1])
        assert collector.duplicates
    assert sorted(collector.addresses) == sorted(wanted)
    assert {one.round for one in collector.all} == {1}


async def test_every_await_of_a_drain_may_fail(
    fragile: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a drain breaks off, who lost a right never sees what it barred, and gets all the rest, in order."""
    watch(monkeypatch, member_queue.MemberQueue, "_drain")
    name = await amqp_queue(fragile, "PE")
    calls: list[str] = []

    async def once(number: int) -> None:
        group = f"OP{number}"
        await fragile.group(group, "CL", "PE")
        for n, release in enumerate([to("PE"), {"groups": [group]}, to("PE"), {"groups": [group]}]):
            await fragile.send("CL", f"d{number}-{n}", release)
        await published(fragile, 4)
        await leave(fragile, group)

        async def drained() -> bool:
            return (await states(fragile, "PE"))[-4:] == ["published", "revoked", "published", "revoked"]

        await until(drained)
        async with consumer(fragile, rabbit, "PE", name) as queue:
            messages = [got(m) for m in await receive(queue, 2)]
            assert await queue.get(fail=False) is None
        assert [m.address for m in messages] == [f"CL:d{number}-0", f"CL:d{number}-2"], FaultyLedger.faults
        for m in messages:
            await fragile.acknowledge("PE", m.address)

    await once(0)
    calls = list(FaultyLedger.faults.seen)
    assert {"close", "declare", "get", "commit", "ack", "consume", "cancel"} <= set(calls)
    for number, (at, after) in enumerate(places(calls), start=1):
        FaultyLedger.faults = Faults(at, after)
        await once(number)


async def test_every_await_of_an_accept_may_fail(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks, look-ups, inserts, commit: whichever fails, on either side of its effect, there is a receipt for what is
    recorded with all its deliveries, and nothing at all of the rest; posting again ends the doubt."""
    FaultyLedger.faults = Faults()
    here.hub.ledger = FaultyLedger(**vars(here.hub.ledger))
    fail_at(monkeypatch, AsyncConnection, "execute", "statement", broken)
    watch(monkeypatch, submit, "_transaction")
    await here.enrol("CL", "PE", "AR")
    await here.subscribe("PE", "all")
    seen: list[list[str]] = []

    async def once(number: int) -> tuple[list[int], list[int]]:
        """Post a message and its amendment in one batch: (how many have a receipt, how many are recorded)."""
        first, second = (f"x{number}-{n}" for n in (1, 2))
        release = to("PE", "AR")
        payloads = [
            here.payload("CL", first, release),
            here.payload("CL", second, release, supersedes=f"CL:{first}"),
        ]
        body = "\n".join(json.dumps(here.sign(payload)) for payload in payloads)
        statuses: list[list[int]] = []
        for _ in range(2):
            answer = await here.http.post(
                "/v1/messages/batch", content=body, headers={"content-type": "application/x-ndjson"}
            )
            if answer.status_code != 200:
                assert (answer.status_code, answer.json()["code"]) == (503, "ledger-away")
                statuses.append([503, 503])
            else:
                statuses.append([json.loads(line)["status"] for line in answer.text.splitlines()])
            seen.append(FaultyLedger.faults.seen)
            FaultyLedger.faults = Faults()
        m, d = t.messages.c, t.deliveries.c
        async with here.hub.ledger.reading() as c:
            ids = (await c.execute(select(m.position).where(m.id.in_([first, second])))).scalars().all()
            deliveries = (await c.execute(select(d.queue).where(d.position.in_(ids)))).all()
        assert len(ids) == 2
        assert len(deliveries) == 4, "two to PE, two to AR's inbox"
        return statuses[0], statuses[1]

    assert await once(0) == ([201, 201], [200, 200])
    seen.clear()
    await once(1)  # the registry is at hand now
    calls = seen[0]
    assert calls.count("commit") == 1
    assert calls.count("statement") > 15
    for number, (at, after) in enumerate(places(calls), start=2):
        FaultyLedger.faults = Faults(at, after)
        first, second = await once(number)
        assert first == [503, 503]
        assert second == ([200, 200] if (calls[at - 1], after) == ("commit", True) else [201, 201]), calls[at - 1]
    for member, queue in (("PE", "all"), ("AR", "inbox")):
        sequences = [row["sequence"] for row in await here.index(member, queue)]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_every_await_of_a_relays_round_may_fail(
    fragile: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saying that one lives, taking queues, burying a dead relay, closing a barred member's connections: whichever
    fails, on either side of its effect, the queue is held again by one relay, and what is accepted arrives."""
    watch(monkeypatch, relay._Session, "_go_round")
    watch(monkeypatch, relay._Session, "_close_barred")
    fail_at(monkeypatch, Management, "close_named", "bury")
    name = await amqp_queue(fragile, "PE")
    async with collecting(fragile, rabbit, "PE", name) as collector:

        async def once(number: int) -> None:
            """A dead relay is there, and an order to close."""
            async with fragile.hub.ledger.writing.begin() as c:
                await c.execute(t.relays.insert().values(until=t.EPOCH))
                await c.execute(t.closings.insert().values(member="PE", reason="key-revoked", at=fragile.clock()))
            fragile.hub.wakes.wake([RELAYS])

            async def settled() -> bool:
                async with fragile.hub.ledger.reading() as c:
                    dead = (await c.execute(select(t.relays).where(t.relays.c.until == t.EPOCH))).first()
                    return dead is None and (await c.execute(select(t.closings))).first() is None

            await until(settled)
            await collector.has({await fragile.send("CL", f"round{number}", to("PE"))})

        monkeypatch.setattr(relay, "CLOSE_AGAIN_SECONDS", 0)
        await once(0)
        FaultyLedger.faults = Faults(at=10**9)
        await once(1)
        calls = FaultyLedger.faults.seen
        assert {"commit", "read", "bury", "close"} <= set(calls)
        first = calls.index("bury") + 4
        for number, (at, after) in enumerate(places(calls[:first]), start=2):
            FaultyLedger.faults = Faults(at, after)
            await once(number)


async def leave(r: Region, group: str) -> None:
    from broker import administer

    await administer.leave(r.hub.ledger, group, "PE", r.clock())


async def test_every_await_of_a_dead_letter_may_fail(fragile: Region, rabbit: Rabbit) -> None:
    """A rejected message ends in the dead letters once, wherever the way back into the ledger breaks off."""
    name = await amqp_queue(fragile, "PE")

    async def once(number: int) -> None:
        await fragile.send("CL", f"r{number}", to("PE"))
        async with consumer(fragile, rabbit, "PE", name) as queue:
            (message,) = await receive(queue, 1, ack=False)
            assert got(message).address == f"CL:r{number}"
            await message.reject(requeue=False)

            async def dead() -> bool:
                return set(await states(fragile, "PE")) == {"dead"}

            await until(dead)

    await once(0)
    calls = list(FaultyLedger.faults.seen)
    assert calls == ["commit", "ack"]
    for number, (at, after) in enumerate(places(calls), start=1):
        FaultyLedger.faults = Faults(at, after)
        await once(number)

        async def tried_again() -> bool:
            return len(FaultyLedger.faults.seen) > len(calls)

        if (at, after) != (len(calls), True):  # after its acknowledgement a letter is gone
            await until(tried_again)
        await fragile.sweep()
        assert set(await states(fragile, "PE")) == {"dead"}
