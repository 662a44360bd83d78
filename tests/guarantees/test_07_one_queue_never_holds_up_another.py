"""Promise 7: a poison message never blocks the next one, and a slow or broken recipient never slows, refuses or doubles
anybody else's.

Queues are full and stopped here, RabbitMQ is killed and short of memory; beside each broken queue stands a
healthy one, which must notice nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aio_pika.abc import AbstractIncomingMessage

from broker.rabbit import member_queue, publish
from broker.rabbit.private_node import Node
from tests.engines import Rabbit
from tests.guarantees.sick_queues import OwnNode, undisturbed
from tests.region import Region, address_of, to
from tests.wire import (
    amqp_queue,
    collecting,
    consumer,
    got,
    overfill,
    post_many,
    published,
    receive,
    states,
    until,
)

STOPPED_SECONDS = 6
"""How long a publish to the stopped queue is waited for in its test."""


@pytest.mark.long
async def test_a_full_queue_waits_alone(wired: Region, rabbit: Rabbit) -> None:
    """RabbitMQ refuses (nacks) what a policy has no room for: parked, tried again with growing pauses, nothing lost."""
    name, healthy = await amqp_queue(wired, "PE"), await amqp_queue(wired, "AR")
    async with undisturbed(wired, rabbit, healthy):
        wanted = await overfill(wired, rabbit, name, to("PE"))
        await asyncio.sleep(2.5)
        assert "ready" in await states(wired, "PE")
        rabbit.api("DELETE", f"/api/policies/{rabbit.vhost}/small")
        async with collecting(wired, rabbit, "PE", name) as collector:
            await collector.has(set(wanted))
    assert collector.duplicates == 0, "a nacked message is not in the queue"


@pytest.mark.long
async def test_a_stopped_queue_waits_alone(wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its leader does not answer: publishes time out, first of a healthy channel and then of fresh ones. Nobody else
    waits, and when it answers again everything arrives."""

    assert rabbit.node is not None
    monkeypatch.setattr(publish, "TIMEOUT_SECONDS", STOPPED_SECONDS)
    name, healthy = await amqp_queue(wired, "PE"), await amqp_queue(wired, "AR")
    wanted = await post_many(wired, 5, to("PE"), "before")
    await published(wired, 5)
    leader = f"whereis('{rabbit.vhost}_{name}')"
    async with undisturbed(wired, rabbit, healthy) as slowest:
        await asyncio.to_thread(rabbit.node.ctl, "eval", f"ok = sys:suspend({leader}).")
        try:
            wanted += await post_many(wired, 400, to("PE"), "stopped")
            async with asyncio.timeout(20):
                while "ready" not in await states(wired, "PE"):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(STOPPED_SECONDS + 1)
        finally:
            await asyncio.to_thread(rabbit.node.ctl, "eval", f"ok = sys:resume({leader}).")
        async with collecting(wired, rabbit, "PE", name) as collector:
            await collector.has(set(wanted))
    print(f"beside a stopped queue: {slowest.messages} messages, the slowest took {slowest.seconds * 1000:.0f} ms")


@pytest.mark.long
async def test_rabbitmq_away_and_back(own: tuple[Node, Region]) -> None:
    """Posts are accepted meanwhile, /readyz says degraded, and then all of it comes, in order."""
    node, r = own
    name = await amqp_queue(r, "PE")
    await asyncio.sleep(2)  # 3.10 may bring a queue back without a leader that was declared just before a kill
    before = await post_many(r, 20, to("PE"), "before")
    await published(r, 20)
    await asyncio.to_thread(node.kill)
    wanted = before + await post_many(r, 2000, to("PE"), "away")

    async def degraded() -> bool:
        answer = await r.http.get("/readyz")
        said = {"status": "degraded", "ledger": "ready", "wire": "away"}
        return bool(answer.status_code == 200 and answer.json() == said)

    await until(degraded)
    await asyncio.to_thread(node.restart)
    began = time.monotonic()
    await published(r, 21)
    first = time.monotonic()
    await published(r, 2020)
    print(f"{first - began:.1f} s to reconnect, then {2000 / (time.monotonic() - first):.0f}/s")
    assert (await r.http.get("/readyz")).json()["status"] == "ready"
    async with consumer(r, OwnNode(node, 0), "PE", name) as queue:
        messages = await receive(queue, 2020)
    assert [address_of(m.body.decode()) for m in messages] == wanted


@pytest.mark.long
async def test_a_memory_alarm_blocks_publishing_and_nothing_else(
    own: tuple[Node, Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ takes nothing for a while: posts are accepted, suspension works, and everything is there afterwards."""

    monkeypatch.setattr(publish, "TIMEOUT_SECONDS", 1)
    node, r = own
    name = await amqp_queue(r, "PE")
    wanted = await post_many(r, 5, to("PE"), "before")
    await published(r, 5)
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.0001")
    try:
        wanted += await post_many(r, 100, to("PE"), "alarm")
        await asyncio.sleep(4)
        assert (await states(r, "PE")).count("ready") == 100
        async with consumer(r, OwnNode(node, 0), "PE", name) as queue:
            assert len(await receive(queue, 5, ack=False)) == 5  # reading goes on
    finally:
        await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "absolute", "1GB")
    async with collecting(r, OwnNode(node, 0), "PE", name) as collector:
        await collector.has(set(wanted), 45)
    firsts = list(dict.fromkeys(one.sequence for one in collector.all))
    assert firsts == sorted(firsts)


@pytest.mark.long
async def test_a_slow_consumer_has_a_window_and_no_more(
    wired: Region, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most a window is in RabbitMQ, unacknowledged included; the rest waits in the ledger, and follows in order."""
    monkeypatch.setattr(member_queue, "WINDOW", 30)
    monkeypatch.setattr(member_queue, "FULL_SECONDS", 0.1)
    name, healthy = await amqp_queue(wired, "PE"), await amqp_queue(wired, "AR")
    async with undisturbed(wired, rabbit, healthy):
        wanted = await post_many(wired, 100, to("PE"), "w")
        await published(wired, 30)
        async with consumer(wired, rabbit, "PE", name, prefetch=10) as queue:
            held: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            await queue.consume(held.put)
            first = [await held.get() for _ in range(10)]
            await asyncio.sleep(6)  # RabbitMQ's statistics are some seconds old
            # its counts may have missed the ten, and one of them may not have come in time
            assert (await states(wired, "PE")).count("published") <= 30 + 10 + 30
            for message in first:
                await message.ack()
            rest: list[AbstractIncomingMessage] = []
            async with asyncio.timeout(60):
                while len(rest) < 90:
                    rest.append(await held.get())
                    await rest[-1].ack()
    assert [address_of(m.body.decode()) for m in [*first, *rest]] == wanted


async def test_dead_letters_by_reason(wired: Region, rabbit: Rabbit) -> None:
    """rejected: dead. Delivery limit: it returns once, then it is dead. Expired: expired. An outdated copy: ignored.
    None of them holds up the next message."""
    name, healthy = await amqp_queue(wired, "PE"), await amqp_queue(wired, "AR")
    async with undisturbed(wired, rabbit, healthy):
        await wired.send("CL", "poison", to("PE"))
        await wired.send("CL", "next", to("PE"))
        seen: list[str] = []
        async with consumer(wired, rabbit, "PE", name, prefetch=1) as queue, queue.iterator() as messages:
            async for message in messages:
                seen.append(got(message).address)
                if seen[-1] == "CL:next":
                    await message.ack()
                else:
                    await message.reject(requeue=True)
                if seen.count("CL:poison") >= 42:
                    break

        async def dead() -> bool:
            return await states(wired, "PE") == ["dead", "published"]

        await until(dead)
        assert "CL:next" in seen[:25], "the next message waits for the first round of the poison at most"
        letters = (await wired.call("operator:ana", "GET", "/v1/admin/dead-letters")).json()["dead_letters"]
        assert [(one["message"], one["reason"]) for one in letters] == [("CL:poison", "delivery-limit")]

        soon = wired.clock().replace(microsecond=0)
        await wired.send("CL", "soon", to("PE"), expires_at=in_seconds(soon, 4))
        await wired.send("CL", "far-off", to("PE"), expires_at=in_seconds(soon, 60 * 365 * 86_400))

        async def expired() -> bool:
            return (await states(wired, "PE"))[2:] == ["expired", "published"]

        await until(expired)


def in_seconds(moment: Any, seconds: int) -> str:
    from datetime import timedelta

    from broker.clock import text

    return text(moment + timedelta(seconds=seconds))


async def test_an_outdated_copy_is_ignored(wired: Region, rabbit: Rabbit) -> None:
    """A copy of an earlier round is rejected after a replay: the delivery of today is not touched."""
    name = await amqp_queue(wired, "PE")
    await wired.send("CL", "a", to("PE"))
    await published(wired, 1)
    async with consumer(wired, rabbit, "PE", name) as queue:
        (old,) = await receive(queue, 1, ack=False)
        answer = await wired.call("PE", "POST", "/v1/queues/wire/replay", {"sequence": 1})
        assert answer.status_code == 200, answer.text
        (new,) = await receive(queue, 1, ack=False)
        assert (got(old).round, got(new).round) == (1, 2)
        await old.reject(requeue=False)
        await asyncio.sleep(1)
        assert await states(wired, "PE") == ["published"]
        await new.reject(requeue=False)

        async def dead() -> bool:
            return await states(wired, "PE") == ["dead"]

        await until(dead)
