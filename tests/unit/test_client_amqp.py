"""Consuming over a real RabbitMQ: what the hub published arrives, and a connection that is closed on us is no fault."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from broker import keyfiles
from broker.client import Client, sign
from broker.consume import Consumed, Seen, amqp_name, consume
from broker.errors import SetupRefused
from tests.engines import Rabbit
from tests.unit.test_cli_end_to_end import addressed_to_cl, place_in

FILTER = '{"any": [{"heading": ["wildlife"]}]}'


@pytest.mark.long
async def test_a_consumer_survives_closed_connections_and_misses_nothing(tmp_path: Path, rabbit: Rabbit) -> None:
    """Half the messages are taken but not acknowledged when the connection is closed; all of them come, none is lost."""
    settings = {"TIDEWAITER_AMQP_URL": rabbit.amqp_url, "TIDEWAITER_RABBITMQ_MANAGEMENT_URL": rabbit.management_url}
    async with place_in(tmp_path, rabbit.hub_port, **settings) as place:
        await place.run("subscribe", "wild", "--filter", FILTER, member="CL")
        pe, cl = (keyfiles.load(tmp_path / f"{member}.pem") for member in ("PE", "CL"))
        async with Client(place.url, "PE", pe) as sender, Client(place.url, "CL", cl) as client:
            posted = await sender.post_batch(sign(addressed_to_cl(f"A-{n}"), pe) for n in range(20))
            assert [p.status for p in posted] == [201] * 20
            with pytest.raises(SetupRefused, match="wild"):
                await amqp_name(client, "inbox")
            member_url = f"amqp://{rabbit.host}:{rabbit.port}/{rabbit.vhost}"
            kept, told = await asyncio.wait_for(_consume(client, member_url, rabbit), 90)
            await place.run("submit", "-", member="PE", stdin=json.dumps(addressed_to_cl("A-20")).encode())
            printed = await place.run(
                "consume", "wild", "--amqp-url", member_url, "--acknowledge", "received", "--limit", "1", member="CL"
            )
            receipts = [await client.acknowledge(d.address, _digest(d), "received") for d in kept.values()]

        assert set(kept) == {(f"PE:A-{n}", 1) for n in range(20)}
        assert [json.loads(line)["address"] for line in printed.splitlines()] == ["PE:A-20"]
        assert {r["state"] for r in receipts} == {"received"}
        assert told
        (queue,) = [q for q in (await place.json("queues", member="CL"))["queues"] if q["name"] == "wild"]
        assert queue["depth"] == {"settled": 21}


async def _consume(client: Client, url: str, rabbit: Rabbit) -> tuple[dict[tuple[str, int], Consumed], list[str]]:
    kept: dict[tuple[str, int], Consumed] = {}
    told: list[str] = []
    seen, taken = Seen(), 0
    async with aclosing(
        consume(client, url, await amqp_name(client, "wild"), prefetch=5, told=told.append)
    ) as deliveries:
        async for delivery in deliveries:
            taken += 1
            if taken == 10:  # what is held now comes back
                await _close_connections(rabbit)
                assert not await delivery.ack()
                continue
            if delivery.key not in seen:
                await client.believe(delivery.compact)
                kept[delivery.key] = delivery
                seen.add(delivery.key)
            await delivery.ack()
            if len(kept) == 20:
                break
    return kept, told


async def _close_connections(rabbit: Rabbit) -> None:
    """As the hub does it when rights change; the management API learns of connections some seconds late."""
    for _ in range(100):
        status, _body = await asyncio.to_thread(rabbit.api, "DELETE", "/api/connections/username/CL")
        assert status in (204, 404)
        await asyncio.sleep(0.1)
        if status == 204:
            return


def _digest(delivery: Consumed) -> str:
    from broker import jws

    return jws.digest(delivery.compact)
