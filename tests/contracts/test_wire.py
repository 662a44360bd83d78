"""The wire: what is released to a member comes out of its queue in RabbitMQ, and only there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from sqlalchemy import select

from broker import administer
from broker.ledger import tables as t
from broker.rabbit.connections import HEARTBEAT_SECONDS
from broker.rabbit.member_queue import After, MemberQueue
from tests.engines import Rabbit
from tests.region import Region, address_of, to, wired_region
from tests.wire import (
    amqp_queue,
    closed_within,
    connected,
    consumer,
    nobody_to_close,
    post_many,
    published,
    queue_row,
    receive,
    states,
    until,
)


@pytest.fixture
async def wired(rabbit: Rabbit, tmp_path: Path) -> AsyncIterator[Region]:
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        yield r


async def test_a_delivery_is_published_with_its_own_properties_and_settled_by_acknowledgement(
    wired: Region, rabbit: Rabbit
) -> None:
    """Body octet for octet, message_id of the copy, the tw- and ce- headers; basic.ack settles nothing, the signature does."""
    await wired.enrol("CL", "PE")
    name = await amqp_queue(wired, "PE")
    compact = wired.sign(wired.payload("CL", "w-1", to(PE="action")))
    assert (await wired.post(compact)).status_code == 201

    async with consumer(wired, rabbit, "PE", name) as queue:
        (message,) = await receive(queue, 1)

    assert message.body.decode() == compact
    assert message.message_id is not None
    assert message.message_id.endswith("-1.1.1")
    assert (message.type, message.content_type, message.delivery_mode) == ("alert", "application/jose", 2)
    headers = dict(message.headers)
    assert headers["tw-address"] == headers["ce-id"] == "CL:w-1"
    assert (headers["tw-rule"], headers["tw-duties"], headers["tw-status"]) == ("to", "action", "actual")
    assert (headers["tw-sequence"], headers["tw-round"], headers["tw-count"], headers["tw-projection"]) == (
        1,
        1,
        1,
        False,
    )
    assert (headers["ce-type"], headers["ce-dataschema"], headers["ce-subject"], headers["ce-source"]) == (
        "tidewaiter.alert",
        "urn:tidewaiter:alert:1.0",
        "CL",
        wired.hub.public_url,
    )

    await published(wired, 1)
    assert (await wired.acknowledge("PE", "CL:w-1", compact=compact)).status_code == 200
    (row,) = await wired.index("PE", "wire")
    assert row["state"] == "settled"


async def test_a_repeated_acknowledgement_settles_what_a_replay_has_published(wired: Region, rabbit: Rabbit) -> None:
    """The same state again gets the first answer, and settles the new round: after `acted` there is no other to give."""
    await wired.enrol("CL", "PE")
    await amqp_queue(wired, "PE")
    await wired.send("CL", "r-1", to("PE"))
    await published(wired, 1)
    first = (await wired.acknowledge("PE", "CL:r-1", "acted")).json()
    assert await states(wired, "PE") == ["settled"]
    assert (await wired.call("PE", "POST", "/v1/queues/wire/replay", {"sequence": 1})).json()["replayed"] == 1
    await published(wired, 1)
    again = (await wired.acknowledge("PE", "CL:r-1", "acted")).json()

    assert again == first
    assert await states(wired, "PE") == ["settled"]


async def test_a_connection_that_is_silent_is_given_up_within_a_minute(wired: Region, rabbit: Rabbit) -> None:
    """By the heartbeat that it agreed upon with RabbitMQ, which would propose a minute."""
    await wired.enrol("PE")
    async with connected(wired, rabbit, "PE") as connection:
        underlay: Any = connection.transport
        assert underlay.connection.connection_tune.heartbeat == HEARTBEAT_SECONDS


async def test_suspension_closes_the_connection_and_keeps_the_deliveries(wired: Region, rabbit: Rabbit) -> None:
    """Within a second of the suspension the consumer is out and cannot come back; reactivated, it goes on."""
    await wired.enrol("CL", "PE")
    name = await amqp_queue(wired, "PE")
    async with connected(wired, rabbit, "PE") as connection:
        await administer.set_active(wired.hub.ledger, "PE", False, wired.clock())
        await closed_within(connection, 20)
        with pytest.raises(aio_pika.exceptions.AMQPError):
            async with consumer(wired, rabbit, "PE", name):
                pass
        assert (await wired.post(wired.sign(wired.payload("CL", "s-1", to("PE"))))).status_code == 201
    await administer.set_active(wired.hub.ledger, "PE", True, wired.clock())
    await until(lambda: nobody_to_close(wired, "PE"))
    await wired.send("CL", "s-2", to("PE"))
    async with consumer(wired, rabbit, "PE", name) as queue:
        (message,) = await receive(queue, 1)
        await asyncio.sleep(2.5)  # an order to close is repeated for two seconds, but not for who is active again
        assert await queue.get(fail=False) is None
    assert address_of(message.body.decode()) == "CL:s-2"


async def test_nothing_is_published_before_what_a_correction_holds(
    postgres_url: str, rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First offers come in the order of their sequence, also where a correction had one in its hands and came to nothing."""
    held, publish = asyncio.Event(), MemberQueue._publish

    async def once_held(queue: MemberQueue, limit: int) -> After:
        await held.wait()
        return await publish(queue, limit)

    monkeypatch.setattr(MemberQueue, "_publish", once_held)
    d = t.deliveries.c
    async with wired_region(rabbit, postgres_url, tmp_path) as here:
        await here.enrol("CL", "PE")
        name = await amqp_queue(here, "PE")
        posted = await post_many(here, 3, to("PE"), "o")
        id = (await queue_row(here, "PE"))["id"]
        async with here.hub.ledger.writing.connect() as correction:
            first = select(d.sequence).where(d.queue == id, d.sequence == 1).with_for_update()
            assert (await correction.execute(first)).scalar_one() == 1
            held.set()
            await asyncio.sleep(1.5)
            assert await states(here, "PE") == ["ready"] * 3
            await correction.rollback()
        async with consumer(here, rabbit, "PE", name) as queue:
            messages = await receive(queue, 3)
    assert [address_of(m.body.decode()) for m in messages] == posted


async def test_leaving_a_group_takes_back_what_is_still_in_rabbitmq(wired: Region, rabbit: Rabbit) -> None:
    """The queue is closed, drained and refilled: what only the group admitted is gone, the rest comes in order."""
    await wired.enrol("CL", "PE", "AR")
    await wired.group("OP", "CL", "PE", "AR")
    name = await amqp_queue(wired, "PE")
    await wired.send("CL", "g-1", {"groups": ["OP"]})
    await wired.send("CL", "g-2", to("PE"))
    await wired.send("CL", "g-3", {"groups": ["OP"]})
    await wired.send("CL", "g-4", {"to": [{"member": "PE"}], "groups": ["OP"]})

    async def all_published() -> bool:
        return all(row["state"] == "published" for row in await wired.index("PE", "wire"))

    await until(all_published)
    await administer.leave(wired.hub.ledger, "OP", "PE", wired.clock())

    async def settled_down() -> bool:
        return [row["state"] for row in await wired.index("PE", "wire")] == [
            "revoked",
            "published",
            "revoked",
            "published",
        ]

    await until(settled_down)
    async with consumer(wired, rabbit, "PE", name) as queue:
        messages = await receive(queue, 2)
    assert [address_of(m.body.decode()) for m in messages] == ["CL:g-2", "CL:g-4"]
    assert [m.headers["tw-count"] for m in messages] == [1, 1]


async def test_a_rejected_message_becomes_a_dead_letter_with_its_reason(wired: Region, rabbit: Rabbit) -> None:
    """basic.reject without requeue: dead in the ledger; the operator redrives it and it comes again."""
    await wired.enrol("CL", "PE", "operator:ana")
    name = await amqp_queue(wired, "PE")
    await wired.send("CL", "d-1", to("PE"))
    async with consumer(wired, rabbit, "PE", name) as queue:
        (message,) = await receive(queue, 1, ack=False)
        await message.reject(requeue=False)

        async def dead() -> bool:
            return bool((await wired.index("PE", "wire"))[0]["state"] == "dead")

        await until(dead)
        letters = (await wired.call("operator:ana", "GET", "/v1/admin/dead-letters")).json()["dead_letters"]
        assert [(one["message"], one["reason"]) for one in letters] == [("CL:d-1", "rejected by the consumer")]
        body = {"deliveries": [letters[0]["delivery"]]}
        assert (await wired.call("operator:ana", "POST", "/v1/admin/dead-letters/redrive", body)).json()["deliveries"][
            0
        ]["status"] == 200
        (again,) = await receive(queue, 1)
    assert again.headers["tw-address"] == "CL:d-1"
