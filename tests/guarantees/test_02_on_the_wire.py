"""Promise 2 on the wire: nobody reads from RabbitMQ what it may not, a second after the right was lost.

What has been published cannot be taken back singly; so access is denied, connections are closed, and queues drained.
The changes are made as the command line makes them: on the ledger, by somebody else than the hub that serves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from sqlalchemy import select

from broker import administer
from broker.errors import LedgerAway
from broker.jws import public_jwk, thumbprint
from broker.ledger import Ledger, open_ledger, wire
from broker.ledger import tables as t
from broker.rabbit import topology
from broker.rabbit.connections import opened
from broker.rabbit.member_queue import TOGETHER
from tests.engines import Rabbit
from tests.region import Region, address_of, new_key, payload_of, to, wired_region
from tests.wire import (
    amqp_queue,
    closed_within,
    collecting,
    connected,
    consumer,
    hub_process,
    nobody_to_close,
    overfill,
    post_many,
    published,
    queue_row,
    receive,
    states,
    still_open,
    until,
)

WITHIN_SECONDS = 10.0
"""Product: within a second; the rest is the machine's share. How long it took is printed."""


@pytest.fixture
async def wired(rabbit: Rabbit, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Region]:
    """A hub with its relay; CL posts, PE and AR read. On SQLite, or on what a test's `ledger_url` says."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    if "ledger_url" in request.fixturenames:
        url = request.getfixturevalue("ledger_url")
    async with wired_region(rabbit, url, tmp_path) as r:
        await r.enrol("CL", "PE", "AR")
        yield r


@pytest.fixture
async def elsewhere(wired: Region) -> AsyncIterator[Ledger]:
    """The ledger as another process has it open."""
    ledger = open_ledger(wired.hub.ledger.url)
    yield ledger
    await ledger.close()


async def refused(r: Region, rabbit: Rabbit, member: str) -> None:
    with pytest.raises(AMQPError):
        async with connected(r, rabbit, member):
            pass


async def holding(stack: AsyncExitStack, r: Region, rabbit: Rabbit, name: str, number: int, prefetch: int = 100) -> Any:
    """A consumer that has `number` messages unacknowledged. Returns (connection, messages)."""
    connection = await stack.enter_async_context(connected(r, rabbit, "PE"))
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=prefetch)
    messages: list[AbstractIncomingMessage] = []
    arrived = asyncio.Event()

    async def keep(message: AbstractIncomingMessage) -> None:
        messages.append(message)
        if len(messages) >= number:
            arrived.set()

    await (await channel.get_queue(name, ensure=False)).consume(keep)
    async with asyncio.timeout(10):
        await arrived.wait()
    return connection, messages


async def drained(r: Region, expected: list[str]) -> None:
    async def so() -> bool:
        there = await states(r, "PE") == expected and not (await queue_row(r, "PE"))["drain"]
        return there and await nobody_to_close(r, "PE")

    await until(so)


async def read_all(r: Region, rabbit: Rabbit, name: str, number: int) -> list[str]:
    """Addresses of all that PE gets from its queue: that many and no more."""
    async with consumer(r, rabbit, "PE", name) as queue:
        messages = await receive(queue, number)
        assert await queue.get(fail=False) is None
    return [address_of(m.body.decode()) for m in messages]


@pytest.mark.long
async def test_who_loses_a_right_every_moment_still_gets_to_read(
    wired: Region, rabbit: Rabbit, elsewhere: Ledger
) -> None:
    """A drain costs what was put in: after one, a queue that nobody has read since holds few, and the next is short."""
    name = await amqp_queue(wired, "PE")
    for group in ("G1", "G2"):
        await wired.group(group, "CL", "PE")
        await post_many(wired, 1, {"groups": [group]}, group)
    posted = await post_many(wired, 3 * TOGETHER, to("PE"), "many")
    await published(wired, 3 * TOGETHER + 2)

    await administer.leave(elsewhere, "G1", "PE", wired.clock())
    await until(lambda: _settled_at(wired, TOGETHER))
    await administer.leave(elsewhere, "G2", "PE", wired.clock())
    await until(lambda: _settled_at(wired, TOGETHER))

    s, d = t.subscriptions.c, t.deliveries.c
    thrice = select(d.sequence).join(t.subscriptions, s.id == d.queue).where(s.member == "PE", d.attempt >= 3)
    async with wired.hub.ledger.reading() as c:
        assert len((await c.execute(thrice)).all()) <= 2 * TOGETHER  # RabbitMQ's count may not have come in time once
    assert await read_all(wired, rabbit, name, len(posted)) == posted


async def _settled_at(r: Region, number: int) -> bool:
    """Not being drained, and so many are in RabbitMQ: no more than that for half a second."""

    async def count() -> int:
        return (await states(r, "PE")).count("published")

    if (await queue_row(r, "PE"))["drain"] or (seen := await count()) < number:
        return False
    await asyncio.sleep(0.5)
    return await count() == seen


async def test_a_suspended_member_is_cut_off_at_once_and_loses_nothing(
    ledger_url: str, wired: Region, rabbit: Rabbit, elsewhere: Ledger
) -> None:
    """Connections close, none opens; deliveries stay and are decided anew when it comes back."""
    name = await amqp_queue(wired, "PE")
    await wired.group("OP", "CL", "PE")
    await wired.send("CL", "a", to("PE"))
    await wired.send("CL", "b", {"groups": ["OP"]})
    await published(wired, 2)
    async with AsyncExitStack() as stack:
        first, _ = await holding(stack, wired, rabbit, name, 2)
        second = await stack.enter_async_context(connected(wired, rabbit, "PE"))
        other = await stack.enter_async_context(connected(wired, rabbit, "AR"))
        await administer.set_active(elsewhere, "PE", False, wired.clock())
        seconds = await closed_within(first, WITHIN_SECONDS)
        await closed_within(second, WITHIN_SECONDS)
        print(f"suspended to closed: {seconds:.2f} s")
        await refused(wired, rabbit, "PE")
        assert still_open(other)
    await wired.send("CL", "c", to("PE"))
    assert await states_of(wired) == ["published", "published"]
    await administer.leave(elsewhere, "OP", "PE", wired.clock())
    wired.clock.advance(seconds=1)
    await administer.set_active(elsewhere, "PE", True, wired.clock())

    await drained(wired, ["published", "revoked"])
    assert await read_all(wired, rabbit, name, 1) == ["CL:a"]


async def states_of(r: Region) -> list[str]:
    """Of PE's queue, from the ledger: PE's own doors may be closed."""
    from sqlalchemy import select

    from broker.ledger import tables as t

    row, d = await queue_row(r, "PE"), t.deliveries.c
    async with r.hub.ledger.reading() as c:
        return list((await c.execute(select(d.state).where(d.queue == row["id"]).order_by(d.sequence))).scalars())


async def test_a_revoked_key_closes_the_connections_and_its_tokens_open_none(
    wired: Region, rabbit: Rabbit, elsewhere: Ledger
) -> None:
    """Every connection of the member is closed; the other key's token lets it in again, the revoked one's does not."""
    name = await amqp_queue(wired, "PE")
    old, new = wired.keys["PE"], new_key()
    await wired.enrol_key("PE", new)
    async with connected(wired, rabbit, "PE") as connection:
        await administer.revoke(elsewhere, thumbprint(public_jwk(old)), "stolen", wired.clock())
        await closed_within(connection, WITHIN_SECONDS)
        await refused(wired, rabbit, "PE")  # with the token that the revoked key asked for
    assert (await wired.call("PE", "GET", "/v1/queues")).status_code == 401

    wired.keys["PE"] = new
    wired._tokens.clear()
    await wired.send("CL", "a", to("PE"))
    wired.clock.advance(seconds=12)  # so long nothing is opened: the revoked key may have let it in
    await until(lambda: nobody_to_close(wired, "PE"))
    assert await read_all(wired, rabbit, name, 1) == ["CL:a"]


async def test_leaving_a_group_with_a_full_prefetch(
    ledger_url: str, wired: Region, rabbit: Rabbit, elsewhere: Ledger
) -> None:
    """100 unacknowledged at the moment, more in the queue: the connection closes, and what only the group admitted is
    gone from both."""
    name = await amqp_queue(wired, "PE")
    await wired.group("OP", "CL", "PE", "AR")
    barred = await post_many(wired, 90, {"groups": ["OP"]}, "g")
    kept = await post_many(wired, 90, to("PE"), "t")
    await published(wired, 180)
    async with AsyncExitStack() as stack:
        connection, messages = await holding(stack, wired, rabbit, name, 100)
        await administer.leave(elsewhere, "OP", "PE", wired.clock())
        await closed_within(connection, WITHIN_SECONDS)
        with pytest.raises((AMQPError, RuntimeError)):
            await messages[-1].ack()

    await drained(wired, ["revoked"] * 90 + ["published"] * 90)
    assert await read_all(wired, rabbit, name, 90) == kept
    assert barred


async def test_an_operation_that_ends_takes_its_messages_back(wired: Region, rabbit: Rabbit) -> None:
    """Nobody has to do anything: the end of the operation does it."""
    name = await amqp_queue(wired, "PE")
    await wired.group("OP", "CL", "PE", ends_at=wired.clock() + timedelta(hours=1))
    await wired.send("CL", "a", {"groups": ["OP"]})
    await wired.send("CL", "b", to("PE"))
    await published(wired, 2)
    async with connected(wired, rabbit, "PE") as connection:
        wired.clock.advance(hours=2)
        wired._tokens.clear()
        await closed_within(connection, WITHIN_SECONDS + 1)  # upkeep looks once a second

    await drained(wired, ["revoked", "published"])
    assert await read_all(wired, rabbit, name, 1) == ["CL:b"]


async def test_an_amendment_that_bars_a_holder_leaves_the_notice_alone(
    ledger_url: str, wired: Region, rabbit: Rabbit
) -> None:
    """The earlier version is gone from the queue; the hub's notice comes in the same queue, after what was kept."""
    name = await amqp_queue(wired, "PE")
    await wired.send("CL", "a", to("PE", "AR"))
    await wired.send("CL", "b", to("PE"))
    await published(wired, 2)
    async with connected(wired, rabbit, "PE") as connection:
        await wired.send("CL", "a2", to("AR"), supersedes="CL:a")
        await closed_within(connection, WITHIN_SECONDS)

    await drained(wired, ["revoked", "published", "published"])
    async with consumer(wired, rabbit, "PE", name) as queue:
        kept, notice = await receive(queue, 2)
    assert address_of(kept.body.decode()) == "CL:b"
    assert (notice.type, notice.headers["tw-rule"]) == ("notice", "notice")
    assert "CL:a" in str(payload_of(notice.body.decode())["body"])


async def test_a_removed_subscription_takes_its_queue_with_it(wired: Region, rabbit: Rabbit, elsewhere: Ledger) -> None:
    """The consumer is cut off, the queue deleted, what was in it revoked; another queue of the member goes on."""
    name = await amqp_queue(wired, "PE")
    other = await amqp_queue(wired, "PE", "other")
    await post_many(wired, 3, to("PE"), "a")
    await published(wired, 3)
    async with connected(wired, rabbit, "PE") as connection:
        await administer.unsubscribe(elsewhere, "PE", "wire", wired.clock())
        await closed_within(connection, WITHIN_SECONDS)

    async def gone() -> bool:
        return rabbit.api("GET", f"/api/queues/{rabbit.vhost}/{name}")[0] == 404

    await until(gone)
    await until(lambda: not_declared(wired))
    assert await states_of(wired) == ["revoked"] * 3
    assert await read_all(wired, rabbit, other, 3) == ["CL:a-0", "CL:a-1", "CL:a-2"]


async def not_declared(r: Region) -> bool:
    return not (await queue_row(r, "PE"))["declared"]


async def test_a_subscription_removed_from_a_queue_that_is_lost(
    wired: Region, rabbit: Rabbit, elsewhere: Ledger
) -> None:
    """Somebody deleted the queue, and then a right was lost: the drain has nothing to take out, and ends."""
    name = await amqp_queue(wired, "PE")
    await wired.group("OP", "CL", "PE")
    await wired.send("CL", "a", {"groups": ["OP"]})
    await wired.send("CL", "b", to("PE"))
    await published(wired, 2)
    rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")
    await administer.leave(elsewhere, "OP", "PE", wired.clock())

    await drained(wired, ["revoked", "published"])
    assert await read_all(wired, rabbit, name, 1) == ["CL:b"]
    rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")
    await administer.unsubscribe(elsewhere, "PE", "wire", wired.clock())
    await until(lambda: not_declared(wired))


@pytest.mark.parametrize("how", ["basic.get", "cancelled consumer", "consumer"])
async def test_what_a_member_holds_unacknowledged_is_drained_too(how: str, rabbit: Rabbit, tmp_path: Path) -> None:
    """However it was taken from the queue: it is back before the drain believes that the queue is empty."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE")
        await r.group("OP", "CL", "PE")
        name = await amqp_queue(r, "PE")
        await post_many(r, 30, {"groups": ["OP"]}, "g")
        await published(r, 30)
        async with connected(r, rabbit, "PE") as connection:
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=100)
            queue = await channel.get_queue(name, ensure=False)
            if how == "basic.get":
                for _ in range(30):
                    assert await queue.get() is not None
            else:
                arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
                tag = await queue.consume(arrived.put)
                for _ in range(30):
                    await arrived.get()
                if how == "cancelled consumer":
                    await queue.cancel(tag)
            await administer.leave(r.hub.ledger, "OP", "PE", r.clock())
            await closed_within(connection, WITHIN_SECONDS)

        await drained(r, ["revoked"] * 30)
        await asyncio.sleep(0.5)
        assert await read_all(r, rabbit, name, 0) == []


async def test_a_queue_made_by_a_relay_that_ended_before_it_said_so_is_drained_too(
    wired: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in RabbitMQ, and the ledger does not know it: nobody would take anything back from it."""
    set_queue, ended = wire.set_queue, False

    async def ends(c: Any, queue: str, **values: Any) -> None:
        nonlocal ended
        if values.get("declared") and not ended:
            ended = True
            raise LedgerAway
        await set_queue(c, queue, **values)

    monkeypatch.setattr(wire, "set_queue", ends)
    await amqp_queue(wired, "PE")
    assert ended
    await wired.group("OP", "CL", "PE")
    await post_many(wired, 3, {"groups": ["OP"]}, "g")
    await published(wired, 3)
    await administer.leave(wired.hub.ledger, "OP", "PE", wired.clock())
    await drained(wired, ["revoked"] * 3)


async def test_a_drain_waits_for_what_the_queue_believes_to_be_out(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is slow to notice that a channel has gone gives back later what that one held; and one that is too slow
    to be asked says that nobody reads it. While it does, it is not drained, however empty it seems."""
    name = await amqp_queue(wired, "PE")
    await wired.group("OP", "CL", "PE")
    await post_many(wired, 5, {"groups": ["OP"]}, "out")
    await published(wired, 5)
    counted, silent = topology.counted, True

    async def none(*asked: Any) -> tuple[int, int]:
        return (0, 0) if silent else await counted(*asked)

    monkeypatch.setattr(topology, "counted", none)
    async with opened(rabbit.amqp_url) as gone:  # to the queue it is as a member's that has been closed
        channel = await gone.channel(publisher_confirms=False)
        kept = await receive(await channel.get_queue(name, ensure=False), 5, ack=False)
        await administer.leave(wired.hub.ledger, "OP", "PE", wired.clock())
        await asyncio.sleep(1)
        assert (await queue_row(wired, "PE"))["drain"]
        silent = False
        await asyncio.sleep(1)
        assert (await queue_row(wired, "PE"))["drain"]
    assert len(kept) == 5
    await drained(wired, ["revoked"] * 5)


@pytest.mark.long
async def test_a_queue_that_is_parked_is_drained_at_once(rabbit: Rabbit, tmp_path: Path) -> None:
    """A full queue is left alone for a while; a lost right does not wait for that."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE")
        await r.group("OP", "CL", "PE")
        name = await amqp_queue(r, "PE")
        posted = await overfill(r, rabbit, name, {"groups": ["OP"]})
        await asyncio.sleep(4)  # nacked, and left alone for one, two, four seconds
        async with connected(r, rabbit, "PE") as connection:
            await administer.leave(r.hub.ledger, "OP", "PE", r.clock())
            await closed_within(connection, WITHIN_SECONDS)
        await drained(r, ["revoked"] * len(posted))
        assert await read_all(r, rabbit, name, 0) == []


async def begun(r: Region) -> bool:
    """The drain has written down some of what it took out."""
    return set(await states_of(r)) != {"published"}


@pytest.mark.long
async def test_a_hub_killed_in_the_middle_of_a_drain_of_2000(rabbit: Rabbit, tmp_path: Path) -> None:
    """Nothing is lost, nothing opened: access stays denied while the hub is away, and the restart ends the drain."""
    async with hub_process(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", rabbit.hub_port, rabbit) as (hub, r):
        await r.enrol("CL", "PE")
        await r.group("OP", "CL", "PE")
        name = await amqp_queue(r, "PE")
        barred, kept = [], []
        for part in range(4):
            barred += await post_many(r, 250, {"groups": ["OP"]}, f"g{part}")
            kept += await post_many(r, 250, to("PE"), f"t{part}")
        await published(r, 2000)
        async with AsyncExitStack() as stack:
            connection, _ = await holding(stack, r, rabbit, name, 100)
            token = await r.token("PE", "amqp")
            await administer.leave(r.hub.ledger, "OP", "PE", r.clock())
            await closed_within(connection, WITHIN_SECONDS)
            await until(lambda: begun(r))
            hub.kill9()
        assert (await queue_row(r, "PE"))["drain"], "the drain was over before the hub was killed"
        with pytest.raises(AMQPError):
            async with opened(rabbit.amqp_url_for("PE", token)):
                pass
        hub.start()
        began = time.monotonic()
        await hub.answers(f"{r.hub.public_url}/readyz")

        async def over() -> bool:
            return (await states_of(r)).count("published") >= TOGETHER and not (await queue_row(r, "PE"))["drain"]

        await until(over)
        print(f"hub started, rest drained, first messages refilled: {time.monotonic() - began:.2f} s")
        assert await read_all(r, rabbit, name, 1000) == kept
        assert (await states_of(r)).count("revoked") == 1000


@pytest.mark.long
async def test_a_drain_of_2000_is_quick_and_lets_nobody_in(rabbit: Rabbit, tmp_path: Path) -> None:
    """Seconds, from the commit to the last message back in the queue, in order. A member that knocks all the while
    gets nothing of what was barred, and all the rest."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE")
        await r.group("OP", "CL", "PE")
        name = await amqp_queue(r, "PE")
        await post_many(r, 500, {"groups": ["OP"]}, "barred")
        kept = await post_many(r, 2000, to("PE"), "t")
        await published(r, 2500)
        await r.token("PE", "amqp")
        began = time.monotonic()
        await administer.leave(r.hub.ledger, "OP", "PE", r.clock())
        async with collecting(r, rabbit, "PE", name) as collector:

            async def undrained() -> bool:
                return not (await queue_row(r, "PE"))["drain"]

            await until(undrained)
            out = time.monotonic() - began
            await published(r, 2000)
            print(f"2,500 drained in {out:.2f} s, 2,000 back in the queue after {time.monotonic() - began:.2f} s")
            await collector.has(set(kept))
        assert collector.addresses == kept
