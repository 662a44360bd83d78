"""Promise 7 where RabbitMQ forgets: a queue that it has lost, or of which it believes what is not so, is put right with all
that may have been in it, and nobody beside it notices."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from broker import administer, relay
from broker.rabbit import connections, dead_letters, member_queue, publish, topology
from broker.rabbit.management import Management, Readers
from broker.rabbit.private_node import Node
from tests.engines import Rabbit
from tests.guarantees.sick_queues import OwnNode, undisturbed
from tests.region import Region, address_of, to
from tests.wire import (
    amqp_queue,
    closed_within,
    collecting,
    connected,
    consumer,
    got,
    post_many,
    published,
    queue_row,
    receive,
    states,
    still_open,
    until,
)


@pytest.mark.long
async def test_a_lost_queue_comes_back_with_what_may_have_been_in_it(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted by hand: declared again, generation + 1; what was published since it was last seen empty is ready again,
    what the member had before that is not."""
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 0.2)
    monkeypatch.setattr(member_queue, "STATISTICS_SECONDS", 0)
    monkeypatch.setattr(Management, "readers", knowing(Readers(0, None)))  # counts are older than these looks
    name, healthy = await amqp_queue(wired, "PE"), await amqp_queue(wired, "AR")
    await post_many(wired, 5, to("PE"), "read")
    async with consumer(wired, rabbit, "PE", name) as queue:
        await receive(queue, 5)
    began = wired.clock()

    async def seen_empty() -> bool:
        seen = (await queue_row(wired, "PE"))["empty_at"]
        return bool(seen is not None and seen > began)

    async with undisturbed(wired, rabbit, healthy):
        async with asyncio.timeout(20):
            while not await seen_empty():
                await asyncio.sleep(0.1)
                wired.hub.wakes.wake_all()
        unread = await post_many(wired, 5, to("PE"), "unread")
        await published(wired, 10)
        assert rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")[0] == 204
        unread += await post_many(wired, 5, to("PE"), "later")
        await until(lambda: made_anew(wired))
        await published(wired, 15)  # who was connected before is not any more
        async with consumer(wired, rabbit, "PE", name) as queue:
            messages = await receive(queue, 10)
            await asyncio.sleep(0.5)
            assert await queue.get(fail=False) is None
    assert sorted(address_of(m.body.decode()) for m in messages) == sorted(unread)
    assert {got(m).round for m in messages} == {1}


@pytest.mark.long
async def test_a_lost_queue_is_refilled_whatever_the_clock_said_when_it_was_seen_empty(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen empty while the hub's clock was an hour ahead: what is published after it was put right is not taken for gone."""
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 0.2)
    monkeypatch.setattr(member_queue, "STATISTICS_SECONDS", 0)
    monkeypatch.setattr(Management, "readers", knowing(Readers(0, None)))  # counts are older than these looks
    name = await amqp_queue(wired, "PE")
    wired.clock.advance(hours=1)
    ahead = wired.clock()

    async def seen_empty() -> bool:
        wired.hub.wakes.wake_all()
        seen = (await queue_row(wired, "PE"))["empty_at"]
        return bool(seen is not None and seen > ahead)

    await until(seen_empty)
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 3600)
    wired.clock.advance(hours=-1)
    unread = await post_many(wired, 5, to("PE"), "unread")
    await published(wired, 5)
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 0.2)
    assert rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")[0] == 204
    await until(lambda: made_anew(wired))
    await published(wired, 5)  # who was connected before is not any more
    async with consumer(wired, rabbit, "PE", name) as queue:
        messages = await receive(queue, 5)
    assert [address_of(m.body.decode()) for m in messages] == unread


@pytest.mark.long
async def test_a_queue_that_was_made_anew_is_tried_soon(wired: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the pause that had grown while it was broken."""
    name = await amqp_queue(wired, "PE")
    step, rebuild, pauses = member_queue.MemberQueue.step, member_queue.MemberQueue.rebuild, list[float]()
    broken = True

    async def stepping(queue: member_queue.MemberQueue) -> member_queue.After:
        if broken and queue.name == name:
            raise ConnectionError("broken on purpose")
        return await step(queue)

    async def rebuilding(queue: member_queue.MemberQueue) -> None:
        nonlocal broken
        await rebuild(queue)
        broken = False

    async def left_alone(_session: Any, _queue: Any, _woken: Any, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            monkeypatch.setattr(relay, "BROKEN_SECONDS", 0)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(member_queue.MemberQueue, "step", stepping)
    monkeypatch.setattr(member_queue.MemberQueue, "rebuild", rebuilding)
    monkeypatch.setattr(relay._Session, "_leave_alone", left_alone)
    await post_many(wired, 1, to("PE"), "after")
    await published(wired, 1)
    first = relay.RETRY_SECONDS[0]
    assert pauses == [first, 2 * first, 4 * first, 8 * first, first]


@pytest.mark.long
async def test_a_queue_that_rabbitmq_has_lost_is_made_anew_and_holds_up_nobody(
    own: tuple[Node, Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kills at the wrong moment a quorum queue is named and no longer there ("could not be restarted"): whoever
    takes from it loses the whole connection. The other queue goes on, the lost one comes back with all it held; so does
    that of the dead letters."""
    node, r = own
    for module in (connections, member_queue, publish):
        monkeypatch.setattr(module, "TIMEOUT_SECONDS", 2)
    monkeypatch.setattr(relay, "BROKEN_SECONDS", 3)
    names = {member: await amqp_queue(r, member) for member in ("PE", "AR")}
    posted = await post_many(r, 5, to("PE", "AR"), "before")
    for member in names:
        await published(r, 5, member)
    await asyncio.sleep(2)  # what was declared has been written down

    await asyncio.to_thread(node.kill)
    for lost in (names["PE"], topology.dead_queue(r.hub.dead_letters)):
        forget(node, lost)
    await asyncio.to_thread(node.restart)
    posted += await post_many(r, 5, to("PE", "AR"), "after")

    server: Any = OwnNode(node, 0)
    async with collecting(r, server, "AR", names["AR"]) as others:
        await others.has(set(posted))
    await until(lambda: rebuilt(r), 90)
    async with collecting(r, server, "PE", names["PE"]) as again:
        await again.has(set(posted))  # a confirm that comes late is a second copy


def knowing(readers: Readers) -> Callable[..., Awaitable[Readers]]:
    async def nothing_else(*_: object) -> Readers:
        return readers

    return nothing_else


@pytest.mark.long
async def test_what_rabbitmq_sent_and_nobody_got_is_sent_anew(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ believes to have sent what never reached the consumer's channel, which then waits for ever: at the second
    look its connections are closed. Who has it, and is only slow, is left alone."""
    readers, asked = Management.readers, 0
    name = await amqp_queue(wired, "PE")
    await wired.send("CL", "slow", to("PE"))
    await published(wired, 1)

    async def counts(management: Management, member: str, queue: str) -> Readers:
        nonlocal asked
        asked += queue == name
        return await readers(management, member, queue)

    async def after(looks: int) -> bool:
        return asked >= looks

    async def counted() -> bool:
        async with Management(rabbit.management_url, rabbit.amqp_url) as management:
            return (await readers(management, "PE", name)).unacknowledged == 1

    monkeypatch.setattr(Management, "readers", counts)
    async with connected(wired, rabbit, "PE") as connection:
        queue = await (await connection.channel()).get_queue(name, ensure=False)
        await queue.get(timeout=5)  # and keeps it
        await until(counted)
        for module in (member_queue, relay):  # counts are older than these looks are far apart
            monkeypatch.setattr(module, "SWEEP_SECONDS", 0.5)
        wired.hub.wakes.wake_all()
        await until(lambda: after(4), 30)
        assert still_open(connection)

        monkeypatch.setattr(Management, "readers", knowing(Readers(0, 0)))
        await closed_within(connection, 10)
    monkeypatch.setattr(Management, "readers", knowing(Readers(0, None)))
    async with consumer(wired, rabbit, "PE", name) as again:
        (message,) = await receive(again, 1)
    assert address_of(message.body.decode()) == "CL:slow"


@pytest.mark.long
async def test_dead_letters_that_were_sent_and_never_came_are_read_anew(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is a reader like others: when nothing has come for a while it gives back what it may have, and begins anew."""
    monkeypatch.setattr(dead_letters, "LOOK_AGAIN_SECONDS", 0.5)
    consumed, deaf, lost = dead_letters._consumed, asyncio.Event(), asyncio.Event()

    async def into_nothing(queue: AbstractQueue) -> asyncio.Queue[AbstractIncomingMessage]:
        async def lose(_: AbstractIncomingMessage) -> None:
            monkeypatch.setattr(dead_letters, "_consumed", consumed)
            lost.set()

        await queue.consume(lose, timeout=5)
        deaf.set()
        return asyncio.Queue()

    name = await amqp_queue(wired, "PE")

    async def reject(id: str) -> None:
        await wired.send("CL", id, to("PE"))
        async with consumer(wired, rabbit, "PE", name) as queue:
            (message,) = await receive(queue, 1, ack=False)
            await message.reject(requeue=False)

    async def dead(number: int) -> bool:
        return (await states(wired, "PE")).count("dead") == number

    await reject("first")
    await until(lambda: dead(1))
    monkeypatch.setattr(dead_letters, "_consumed", into_nothing)
    await asyncio.wait_for(deaf.wait(), 10)  # the reader has begun anew, and hears nothing now
    await reject("second")
    await asyncio.wait_for(lost.wait(), 10)
    await until(lambda: dead(2))


@pytest.mark.long
@pytest.mark.parametrize(("readers", "closed"), [(Readers(1, 0), True), (Readers(0, 0), False)])
async def test_who_believes_to_read_a_queue_that_knows_nothing_of_it_is_called_in(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, readers: Readers, closed: bool
) -> None:
    """A queue without a leader, deleted and made anew, has left a consumer behind (3.10): its channel says that it reads,
    the queue that nobody does. One who is connected and reads nothing is left alone."""
    for module in (member_queue, relay):
        monkeypatch.setattr(module, "SWEEP_SECONDS", 0.5)
    monkeypatch.setattr(Management, "readers", knowing(readers))
    await amqp_queue(wired, "PE")
    async with connected(wired, rabbit, "PE") as connection:
        await wired.send("CL", "unheard", to("PE"))
        await published(wired, 1)
        if closed:
            await closed_within(connection, 10)
        else:
            await asyncio.sleep(3)
            assert still_open(connection)


@pytest.mark.long
@pytest.mark.parametrize("effect", ["before", "after"])
async def test_a_lost_queue_whose_making_fails_loses_nothing(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    """Before its effect and after it: a queue that stands again, empty, must not pass for the one that was lost."""
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 0.2)
    name = await amqp_queue(wired, "PE")
    declare, failed = topology.declare_member_queue, asyncio.Event()

    async def declared(channel: AbstractChannel, queue: str) -> AbstractQueue:
        if queue == name and not failed.is_set():
            if effect == "after":
                await declare(channel, queue)
            failed.set()
            raise ConnectionError("broken on purpose")
        return await declare(channel, queue)

    unread = await post_many(wired, 5, to("PE"), "unread")
    await published(wired, 5)
    monkeypatch.setattr(topology, "declare_member_queue", declared)
    assert rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")[0] == 204
    unread += await post_many(wired, 1, to("PE"), "later")
    await asyncio.wait_for(failed.wait(), 20)
    async with collecting(wired, rabbit, "PE", name) as collector:
        await collector.has(set(unread))


@pytest.mark.long
@pytest.mark.parametrize("failures", [0, 1])
async def test_who_reads_a_queue_that_is_lost_is_told_so(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """Many a client does not heed that its consumer was cancelled; the end of its connection it does. Also if RabbitMQ
    does not do so at the first time of asking."""
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 0.2)
    close, asked = Management.close_connections, 0

    async def closing(management: Management, member: str) -> int:
        nonlocal asked
        asked += 1
        if asked <= failures:
            raise ConnectionError("broken on purpose")
        return await close(management, member)

    monkeypatch.setattr(Management, "close_connections", closing)
    name = await amqp_queue(wired, "PE")
    async with connected(wired, rabbit, "PE") as connection, connected(wired, rabbit, "AR") as other:
        queue = await (await connection.channel()).get_queue(name, ensure=False)
        await queue.consume(asyncio.Queue[AbstractIncomingMessage]().put)
        assert rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")[0] == 204
        await wired.send("CL", "next", to("PE"))
        await closed_within(connection, 20)
        assert still_open(other)


def forget(node: Node, queue: str) -> None:
    """What the quorum queue stands on goes from the disk; its name stays in RabbitMQ's tables."""
    (found,) = [path.parent for path in node.folder.rglob("quorum/*/*/config") if queue in path.read_text()]
    shutil.rmtree(found)


async def rebuilt(r: Region) -> bool:
    """Everything is published to PE, by a queue of another generation."""
    return (await queue_row(r, "PE"))["generation"] > 1 and (await states(r, "PE")).count("published") == 10


async def made_anew(r: Region) -> bool:
    r.hub.wakes.wake_all()
    return bool((await queue_row(r, "PE"))["generation"] == 2)


@pytest.mark.long
async def test_who_comes_back_after_the_drain_of_a_lost_queue_is_left_alone(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain has closed whoever was there when the queue was lost; the next look closes nobody once more."""
    monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 3600)
    name = await amqp_queue(wired, "PE")
    await wired.group("OP", "CL", "PE")
    await wired.send("CL", "barred", {"groups": ["OP"]})
    await published(wired, 1)
    assert rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")[0] == 204
    await administer.leave(wired.hub.ledger, "OP", "PE", wired.clock())

    async def drained() -> bool:
        return await states(wired, "PE") == ["revoked"] and not (await queue_row(wired, "PE"))["drain"]

    await until(drained)
    looks, look = 0, member_queue.MemberQueue._check

    async def looking(queue: member_queue.MemberQueue) -> None:
        nonlocal looks
        await look(queue)
        looks += 1

    monkeypatch.setattr(member_queue.MemberQueue, "_check", looking)
    async with connected(wired, rabbit, "PE") as connection:
        monkeypatch.setattr(member_queue, "SWEEP_SECONDS", 0)

        async def looked() -> bool:
            wired.hub.wakes.wake_all()
            return looks > 1

        await until(looked)
        with pytest.raises(TimeoutError):
            await closed_within(connection, 1)
