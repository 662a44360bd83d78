"""Promise 1, at every await of the relay. `tests.doubles.Everywhere` reads the await points from the source; scenes lead
through all of them; each fails once before its effect and once after it, and each scene ends well all the same: what was
accepted arrives, dead letters are in the ledger, queues that are to go are gone, and one relay holds each that stands."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import aio_pika
import httpx2
import pytest
from aio_pika.abc import AbstractQueue
from aio_pika.exceptions import AMQPError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import administer, relay
from broker.ledger import relays
from broker.ledger import tables as t
from broker.ledger.wakes import RELAYS
from broker.rabbit import connections, dead_letters, management, member_queue, publish, topology
from broker.rabbit.connections import opened
from broker.rabbit.management import Management, Readers
from broker.rabbit.member_queue import MemberQueue
from tests.doubles import Everywhere, FaultyLedger, broken, coroutines, fail_at, watch
from tests.engines import Rabbit
from tests.region import Region, to, wired_region
from tests.wire import (
    SECONDS,
    amqp_queue,
    closed_within,
    collecting,
    connected,
    consumer,
    post_many,
    queue_row,
    receive,
    states,
    still_open,
    until,
)

MODULES = (relay, member_queue, dead_letters, publish, connections, topology, management)
NO_EFFECT = (
    # waits for ourselves
    "asyncio.sleep(", "asyncio.wait(", "asyncio.gather(", "asyncio.TaskGroup(", "woken.wait(",
    "changed.wait(", "self.connections.lost.wait(", "letters.get(", "arrived.get(", "_together(arrived)",
    # hands on to tasks, whose own awaits fail
    "publish_all(",
    # a look at what is in memory, inside a transaction whose statements fail
    "self.hub.registry(c)",
    # closes what is given up: it may come late, and nobody is told
    "connection.close()", "channel.close()", "abandon(channel)", "self.rest()", "queue.rest()", "queue.failed()",
    "self._client.aclose()", "Relay.run: Management(",
    # only if a message comes between two of our own questions
    "_is_empty: message.reject(",
    # the doctor's
    "Management.nodes:", "Management.overview:",
)  # fmt: skip


class Stage:
    """A wired region, its relay, and what the scenes break on purpose."""

    r: Region

    def __init__(self, rabbit: Rabbit) -> None:
        self.rabbit = rabbit
        self.relays: list[relay.Relay] = []
        self.sessions = 0
        """So many times a relay has connected, or tried to."""
        self.asked = 0
        """So many times the relay has asked whether the member is connected, and was answered."""
        self.broken: set[str] = set()
        """`queue`, `letters`: fails until it is made anew. `strays`: channels know nothing of what a queue says."""

    def delete(self, path: str) -> None:
        self.rabbit.api("DELETE", path)

    def delete_queue(self, name: str) -> None:
        self.delete(f"/api/queues/{quote(self.rabbit.vhost, safe='')}/{name}")

    def stands(self, name: str) -> bool:
        return self.rabbit.api("GET", f"/api/queues/{quote(self.rabbit.vhost, safe='')}/{name}")[0] == 200

    async def gone(self, name: str) -> bool:
        return not await asyncio.to_thread(self.stands, name)

    async def has_a_place_for_the_dead(self) -> bool:
        vhost = quote(self.rabbit.vhost, safe="")
        path = f"/api/bindings/{vhost}/e/{topology.DEAD}/q/{topology.dead_queue(self.r.hub.dead_letters)}"
        return bool(json.loads((await asyncio.to_thread(self.rabbit.api, "GET", path))[1]))

    async def held(self) -> int:
        """Queues that a living relay holds."""
        async with self.r.hub.ledger.reading() as c:
            living = select(t.relays.c.number).where(t.relays.c.until != t.EPOCH)
            held = select(func.count()).select_from(t.holdings).where(t.holdings.c.relay.in_(living))
            return int((await c.execute(held)).scalar_one())

    async def lose_the_wire(self) -> None:
        """RabbitMQ closes the hub's connections."""
        await asyncio.to_thread(self.delete, f"/api/connections/username/{self.rabbit.user}")

    async def all_published(self) -> None:
        async def so() -> bool:
            return "ready" not in await states(self.r, "PE")

        await until(so)

    async def arrives(self, queue: str, wanted: set[str]) -> None:
        async with collecting(self.r, self.rabbit, "PE", queue) as collector:
            await collector.has(wanted)


@pytest.fixture
async def stage(rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    FaultyLedger.faults = Everywhere(coroutines(*MODULES), watched_only=True)
    settings: tuple[tuple[ModuleType, str, Any], ...] = (
        (relay, "RETRY_SECONDS", (0.02, 0.05)), (relay, "RECONNECT_SECONDS", (0.02, 0.05)), (relay, "ROUND_SECONDS", 0.1),
        (relay, "CLOSE_AGAIN_SECONDS", 0), (relay, "LISTED_SECONDS", 0), (relay, "SWEEP_SECONDS", 0.3),
        (relays, "LIVES_SECONDS", 2.0), (member_queue, "SWEEP_SECONDS", 0.3), (member_queue, "STATISTICS_SECONDS", 0),
        (member_queue, "DRAIN_QUIET_SECONDS", 0.05), (dead_letters, "AGAIN_SECONDS", 0.05),
        (dead_letters, "QUIET_SECONDS", 0.05), (dead_letters, "LOOK_AGAIN_SECONDS", 0.3),
    )  # fmt: skip
    for module, name, value in settings:
        monkeypatch.setattr(module, name, value)
    for owner, methods in (
        (aio_pika.Connection, ("connect",)),
        (aio_pika.Channel, ("initialize", "set_qos", "declare_queue", "declare_exchange", "get_queue", "queue_delete")),
        (aio_pika.Exchange, ("publish",)),
        (aio_pika.Queue, ("bind", "unbind", "consume", "cancel", "get")),
        (aio_pika.IncomingMessage, ("ack", "reject")),
    ):  # fmt: skip
        for method in methods:
            fail_at(monkeypatch, owner, method, method)
    fail_at(monkeypatch, httpx2.AsyncClient, "request", "request", httpx2.ConnectError)
    fail_at(monkeypatch, AsyncConnection, "execute", "statement", broken)
    made = Stage(rabbit)
    breakable(made, monkeypatch)
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        r.hub.ledger = FaultyLedger(**vars(r.hub.ledger))
        made.r = r
        await r.enrol("CL", "PE", "operator:ana")
        yield made


def breakable(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """What `Stage.broken` says, and which relay runs."""
    run, connect = relay.Relay.run, relay._Session.run
    readers, is_connected = Management.readers, Management.connected
    step, rebuild = MemberQueue.step, MemberQueue.rebuild
    take_in, rebuild_letters = dead_letters.take_in, dead_letters.rebuild

    async def running(one: relay.Relay) -> None:
        stage.relays.append(one)
        await run(one)

    async def connecting(session: Any, management: Management) -> None:
        stage.sessions += 1
        await connect(session, management)

    async def stepping(queue: MemberQueue) -> member_queue.After:
        if "queue" in stage.broken:
            raise ConnectionError("broken on purpose")
        return await step(queue)

    async def rebuilding(queue: MemberQueue) -> None:
        await rebuild(queue)
        stage.broken.discard("queue")

    async def taking_in(*given: Any) -> None:
        if "letters" in stage.broken:
            raise ConnectionError("broken on purpose")
        await take_in(*given)

    async def rebuilding_letters(*given: Any) -> None:
        await rebuild_letters(*given)
        stage.broken.discard("letters")

    async def reading(management: Management, member: str, queue: str) -> Readers:
        await readers(management, member, queue)
        return Readers(0, 0 if "strays" in stage.broken else None)  # counts are older than sweeps are far apart here

    async def asking(management: Management, member: str) -> int:
        answer = await is_connected(management, member)
        stage.asked += 1
        return answer

    patch.setattr(relay.Relay, "run", running)
    watch(patch, relay.Relay, "run")
    patch.setattr(relay._Session, "run", connecting)
    patch.setattr(MemberQueue, "step", stepping)
    patch.setattr(MemberQueue, "rebuild", rebuilding)
    patch.setattr(Management, "readers", reading)
    patch.setattr(Management, "connected", asking)
    patch.setattr(dead_letters, "take_in", taking_in)
    patch.setattr(dead_letters, "rebuild", rebuilding_letters)


# ── the scenes ──


async def comes_and_goes(s: Stage, queue: str, n: int) -> None:
    """A queue is made, filled, read, and removed with its subscription."""
    name = await amqp_queue(s.r, "PE", f"q{n}")
    await s.arrives(name, {await s.r.send("CL", f"new{n}", to("PE"))})
    assert (await s.r.call("PE", "DELETE", f"/v1/subscriptions/q{n}")).status_code == 204
    await until(lambda: s.gone(name))

    async def given_back() -> bool:
        return await s.held() == 1

    await until(given_back)


async def is_drained(s: Stage, queue: str, n: int, *, lost: bool = False) -> None:
    """A right is lost: what it barred is not seen, the rest comes; also if RabbitMQ has lost the queue by then."""
    group = f"OP{n}"
    await s.r.group(group, "CL", "PE")
    before = len(await states(s.r, "PE"))
    await s.r.send("CL", f"barred{n}", {"groups": [group]})
    kept = {await s.r.send("CL", f"kept{n}", to("PE"))}

    async def there() -> bool:
        return (await states(s.r, "PE"))[before:] == ["published", "published"]

    await until(there)
    if lost:
        await asyncio.to_thread(s.delete_queue, queue)
    await administer.leave(s.r.hub.ledger, group, "PE", s.r.clock())

    async def drained() -> bool:
        return (await states(s.r, "PE"))[before:] == ["revoked", "published"]

    await until(drained)
    kept.add(await s.r.send("CL", f"after{n}", to("PE")))
    async with collecting(s.r, s.rabbit, "PE", queue) as collector:
        await collector.has(kept)
        assert f"CL:barred{n}" not in collector.addresses


async def is_drained_and_lost(s: Stage, queue: str, n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(member_queue, "SWEEP_SECONDS", 3600)  # nobody looks before the drain does
        await is_drained(s, queue, n, lost=True)


async def is_drained_late(s: Stage, queue: str, n: int) -> None:
    """What the drain has not been sent is fetched one by one."""
    out, calls = MemberQueue._out, 0

    async def nothing_at_first(drained: MemberQueue, source: AbstractQueue) -> int:
        nonlocal calls
        calls += 1
        return await out(drained, source) if calls > 1 else 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemberQueue, "_out", nothing_at_first)
        await is_drained(s, queue, n)


async def stands_unknown(s: Stage, queue: str, n: int) -> None:
    """A relay made the queue and ended before it could say so."""
    async with s.r.hub.ledger.writing.begin() as c:
        await c.execute(t.queues.update().where(t.queues.c.amqp_name == queue).values(declared=False))
    s.r.hub.wakes.wake_all()

    async def declared() -> bool:
        return bool((await queue_row(s.r, "PE"))["declared"])

    await until(declared)


async def is_lost(s: Stage, queue: str, n: int) -> None:
    """RabbitMQ loses the queue; who is connected is told so."""
    unread = set(await post_many(s.r, 2, to("PE"), f"unread{n}"))
    await s.all_published()
    async with connected(s.r, s.rabbit, "PE") as connection:
        await asyncio.to_thread(s.delete_queue, queue)
        unread.add(await s.r.send("CL", f"later{n}", to("PE")))
        await closed_within(connection, SECONDS)
    await s.arrives(queue, unread)


async def has_strays(s: Stage, queue: str, n: int) -> None:
    """RabbitMQ believes to have sent what the member's channel knows nothing of; before that, nobody reads."""
    address = await s.r.send("CL", f"stray{n}", to("PE"))
    await s.all_published()
    async with asyncio.timeout(2 * SECONDS):
        while "strays" not in s.broken:
            with suppress(AMQPError, RuntimeError):  # closed for what was counted in the scene before
                asked = s.asked
                async with connected(s.r, s.rabbit, "PE") as connection:
                    while s.asked == asked and still_open(connection):  # somebody is connected and reads nothing
                        await asyncio.sleep(0.05)
                    channel = await connection.channel()
                    await (await channel.get_queue(queue, ensure=False)).get(timeout=5)  # and keeps it
                    s.broken.add("strays")
                    await closed_within(connection, SECONDS)
    s.broken.discard("strays")
    await s.arrives(queue, {address})


async def is_seen_empty(s: Stage, queue: str, n: int) -> None:
    """Nothing is in it, and the relay writes down that it has seen so: what was before is not lost with it any more."""
    async with consumer(s.r, s.rabbit, "PE", queue) as reading:
        while await reading.get(no_ack=True, fail=False) is not None:
            pass
    began = s.r.clock()

    async def seen() -> bool:
        s.r.hub.wakes.wake_all()
        at = (await queue_row(s.r, "PE"))["empty_at"]
        return bool(at is not None and at > began)

    await until(seen)


async def is_broken(s: Stage, queue: str, n: int) -> None:
    """The queue fails for so long that it is made anew, while messages come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "BROKEN_SECONDS", 0.1)
        patch.setattr(relay, "RETRY_SECONDS", (0.2, 0.2))
        s.broken.add("queue")
        wanted = set[str]()
        async with asyncio.timeout(SECONDS):
            while "queue" in s.broken:
                wanted.add(await s.r.send("CL", f"broken{n}-{len(wanted)}", to("PE")))
                await asyncio.sleep(0.1)
    await s.arrives(queue, wanted)


async def rejects(s: Stage, queue: str, n: int) -> None:
    """A member rejects a message."""
    dead = (await states(s.r, "PE")).count("dead")
    await s.r.send("CL", f"rejected{n}", to("PE"))
    async with consumer(s.r, s.rabbit, "PE", queue) as reading:
        (message,) = await receive(reading, 1, ack=False)
        await message.reject(requeue=False)

        async def home() -> bool:
            return (await states(s.r, "PE")).count("dead") == dead + 1

        await until(home)
    await s.r.sweep()
    assert (await states(s.r, "PE")).count("dead") == dead + 1


async def loses_the_dead_letters(s: Stage, queue: str, n: int) -> None:
    """Their queue is gone, and does not work when it is made anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "BROKEN_SECONDS", 0.1)
        s.broken.add("letters")
        await asyncio.to_thread(s.delete_queue, topology.dead_queue(s.r.hub.dead_letters))
        async with asyncio.timeout(SECONDS):
            while "letters" in s.broken:
                await asyncio.sleep(0.05)
    await until(s.has_a_place_for_the_dead)  # what finds none is sent again by RabbitMQ after three minutes
    await rejects(s, queue, n)


async def begins_anew(s: Stage, queue: str, n: int) -> None:
    """RabbitMQ closes the relay's connections; dead letters lie in a queue of before, and a relay of before has died."""
    former = f"{topology.DEAD}.former{n}"
    async with opened(s.rabbit.amqp_url) as connection:
        channel = await connection.channel()
        old = await channel.declare_queue(former, durable=True, arguments=dict(topology.DEAD_QUEUE))
        await old.bind(topology.DEAD)
    await rejects(s, queue, n)
    for one in s.relays:
        one.proved = False

    before = s.sessions
    async with asyncio.timeout(SECONDS):
        while s.sessions == before:
            await s.lose_the_wire()
            await asyncio.sleep(0.3)
    await until(lambda: s.gone(former))

    async def held() -> bool:
        return await s.held() == 1

    await until(held)
    await s.arrives(queue, {await s.r.send("CL", f"anew{n}", to("PE"))})


async def is_barred(s: Stage, queue: str, n: int) -> None:
    """A member's connections are to be closed, and those of a relay that has died."""
    dead = 1000 + n

    async def listed() -> bool:
        _, body = await asyncio.to_thread(s.rabbit.api, "GET", "/api/connections")
        return any(one.get("user_provided_name") == relay.relay_name(dead) for one in json.loads(body))

    async def settled() -> bool:
        async with s.r.hub.ledger.reading() as c:
            left = (await c.execute(select(t.relays).where(t.relays.c.until == t.EPOCH))).first()
            return left is None and (await c.execute(select(t.closings))).first() is None

    cut = asyncio.Event()
    async with connected(s.r, s.rabbit, "PE") as connection, opened(s.rabbit.amqp_url, relay.relay_name(dead)) as ghost:
        ghost.close_callbacks.add(lambda *_: cut.set())
        await until(listed)
        async with s.r.hub.ledger.writing.begin() as c:
            await c.execute(t.relays.insert().values(number=dead, until=t.EPOCH))
            await c.execute(t.closings.insert().values(member="PE", reason="key-revoked", at=s.r.clock()))
        s.r.hub.wakes.wake([RELAYS])
        await closed_within(connection, SECONDS)
        await until(settled)
        async with asyncio.timeout(SECONDS):
            await cut.wait()
    await s.arrives(queue, {await s.r.send("CL", f"barred{n}", to("PE"))})


SCENES = (
    comes_and_goes, stands_unknown, is_drained, is_drained_late, is_lost, is_drained_and_lost, is_broken, rejects,
    loses_the_dead_letters, is_barred, begins_anew, has_strays, is_seen_empty,
)  # fmt: skip


@pytest.mark.long
async def test_every_await_of_the_relay_may_fail(stage: Stage) -> None:
    everywhere = FaultyLedger.faults
    queue = await amqp_queue(stage.r, "PE")
    numbers = itertools.count(1)
    for scene in 2 * SCENES:  # what a scene did not happen to lead through, its second turn does
        if not left(everywhere):
            break
        everywhere.seen.clear()
        stage.r._tokens.clear()  # they live for a quarter of an hour
        await scene(stage, queue, next(numbers))
        for point, after in itertools.product(list(everywhere.seen), (False, True)):
            if point in everywhere.struck[after] or exempt(f"{point.function}: {point.text}"):
                continue
            everywhere.at, everywhere.after = point, after
            try:
                await scene(stage, queue, next(numbers))
            except (AssertionError, TimeoutError) as error:
                side = "after" if after else "before"
                raise AssertionError(f"{scene.__name__}, {side} the effect of {point}: {error}") from error
            everywhere.at = None  # it belongs to another scene, into which it fell by chance, if it has not struck
    assert not left(everywhere), "\n".join(left(everywhere))
    print(f"{next(numbers) - 1} scenes")


def left(everywhere: Everywhere) -> list[str]:
    """The await points that have an effect and have not failed on both sides of it."""
    return [told for told in everywhere.unstruck() if not exempt(told)]


def exempt(told: str) -> bool:
    return any(why in told for why in NO_EFFECT)
