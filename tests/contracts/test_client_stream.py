"""The SDK's and the command line's side of a stream: what goes wrong on the way costs nothing and doubles nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from broker import administer, app, door, keyfiles, stream, tokens
from broker.client import Client, Delivery, Problem, accept, sign
from broker.commands.receiving import work_off
from broker.config import read_config
from broker.rabbit.private_node import free_port
from tests.faults import Process, Proxy, process, proxy
from tests.region import MovableClock, Region, address_of, to
from tests.unit.test_cli_end_to_end import COMMAND, Place, addressed_to_cl, place_in

pytestmark = pytest.mark.long


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[Region, Proxy]]:
    """A hub whose public URL is that of a proxy in front of it, with CL and PE."""
    port = free_port()
    async with proxy("127.0.0.1", port) as between:
        listen = {"TIDEWAITER_HOME": str(home), "TIDEWAITER_LISTEN": f"127.0.0.1:{port}"}
        config = replace(read_config(listen), public_url=f"http://127.0.0.1:{between.port}")
        await app.init(config)
        clock = MovableClock()
        async with (
            app.running(config, clock) as run,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
        ):
            clock.moved = run.hub.alarm.ring
            r = Region(run.hub, http, clock)
            await r.enrol("CL", "PE")
            yield r, between


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[tuple[Region, Proxy]]:
    async with served(tmp_path) as found:
        yield found


def client_of(r: Region) -> Client:
    client = Client(r.hub.public_url, "PE", r.keys["PE"])
    client.door.pause_seconds = (0.01, 0.1)
    return client


async def take(client: Client, deliveries: AsyncIterator[Delivery], count: int) -> list[Delivery]:
    """So many, each settled as it comes."""
    found = []
    async with asyncio.timeout(30):
        async for one in deliveries:
            (answer,) = await client.settle("inbox", [accept(one)])
            assert answer["status"] == 200, answer
            found.append(one)
            if len(found) == count:
                break
    return found


async def test_a_connection_that_is_cut_again_and_again_loses_and_doubles_nothing(here: tuple[Region, Proxy]) -> None:
    """In order, each once and uncounted, although much was on its way whenever the connection broke."""
    r, between = here
    sent = [await r.send("CL", release=to("PE")) for _ in range(30)]
    told: list[str] = []
    async with client_of(r) as client, aclosing(client.stream("inbox", 4, told=told.append)) as deliveries:
        found = []
        for _ in range(10):
            found += await take(client, deliveries, 3)
            between.cut()

    assert [address_of(one.message) for one in found] == sent
    assert {one.count for one in found} == {1}
    assert len(told) >= 4
    assert {row["state"] for row in await r.index("PE")} == {"settled"}


async def test_a_connection_that_is_dead_is_noticed(
    here: tuple[Region, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody closes it; the heartbeat is missed, and another one is made."""
    r, between = here
    monkeypatch.setattr(door, "SILENT_SECONDS", 5)
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.2)
    told: list[str] = []
    async with client_of(r) as client, aclosing(client.stream("inbox", told=told.append)) as deliveries:
        await r.send("CL", release=to("PE"))
        await take(client, deliveries, 1)
        quiet = asyncio.create_task(take(client, deliveries, 1))
        await asyncio.sleep(6)
        assert told == []  # the heartbeat is heard
        between.blackhole()
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.02)
        between.cut()
        await between.heal()
        address = await r.send("CL", release=to("PE"))
        (one,) = await quiet

    assert "has said nothing for 5 s" in told[0]
    assert address_of(one.message) == address


async def test_a_token_that_ends_is_replaced_without_a_word(
    here: tuple[Region, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    r, _ = here
    monkeypatch.setattr(tokens, "TOKEN_SECONDS", 4)
    told: list[str] = []
    async with client_of(r) as client, aclosing(client.stream("inbox", told=told.append)) as deliveries:
        for _ in range(2):
            coming = asyncio.create_task(take(client, deliveries, 1))
            await asyncio.sleep(4.2)
            await r.send("CL", release=to("PE"))
            await coming

    assert told == []


async def test_a_member_that_is_suspended_is_told_so(here: tuple[Region, Proxy]) -> None:
    """Its stream ends, no other token is to be had, and that is the end of it."""
    r, _ = here
    async with client_of(r) as client, aclosing(client.stream("inbox")) as deliveries:
        coming = asyncio.create_task(take(client, deliveries, 1))
        await asyncio.sleep(0.3)
        await administer.set_active(r.hub.ledger, "PE", False, r.clock())
        with pytest.raises(Problem) as refused:
            await coming

    assert refused.value.errors[0]["rule"] == "member-suspended"


async def test_a_queue_that_is_removed_ends_its_stream(here: tuple[Region, Proxy]) -> None:
    r, _ = here
    async with client_of(r) as client:
        await client.subscribe("mine", {}, "stream")
        async with aclosing(client.stream("mine")) as deliveries:
            coming = asyncio.create_task(take(client, deliveries, 1))
            await asyncio.sleep(0.3)
            await client.unsubscribe("mine")
            with pytest.raises(Problem, match="queue"):
                await asyncio.wait_for(coming, 40)


# ── the command line ──


@asynccontextmanager
async def command(place: Place, *arguments: str) -> AsyncIterator[Process]:
    log = place.folder / f"{arguments[0]}.log"
    async with process(*COMMAND, *arguments, output=log, env=place.of("CL")) as child:
        yield child


async def lines(child: Process, count: int) -> list[str]:
    async with asyncio.timeout(30):
        while child.said().count("\n") < count:
            assert child.running, child.said()
            await asyncio.sleep(0.02)
    return child.said().splitlines()


async def test_watch_and_consume_take_a_stream(tmp_path: Path) -> None:
    """`--stream` asks for it; a queue of delivery `stream` needs no asking."""
    async with place_in(tmp_path, free_port()) as place:
        pe, cl = (keyfiles.load(tmp_path / f"{member}.pem") for member in ("PE", "CL"))
        async with Client(place.url, "PE", pe) as sender, Client(place.url, "CL", cl) as receiver:
            await receiver.subscribe("live", {"any": [{"heading": ["wildlife"]}]}, "stream")
            async with command(place, "consume", "live", "--acknowledge", "received") as child:
                for number in range(3):
                    await sender.post(sign(addressed_to_cl(f"live-{number}"), pe))
                    said = await lines(child, number + 1)
            assert [json.loads(line)["address"] for line in said] == [f"PE:live-{n}" for n in range(3)]
            await receiver.unsubscribe("live")

            box = tmp_path / "box"
            async with command(place, "watch", "inbox", "--into", str(box), "--acknowledge", "read", "--stream"):
                await sender.post(sign(addressed_to_cl("inbox-1"), pe))
                async with asyncio.timeout(30):
                    while [queue["depth"] for queue in await receiver.queues()] != [{"settled": 1}]:
                        await asyncio.sleep(0.05)
            assert [path.name for path in box.glob("*.jws")] == ["PE_inbox-1.jws"]
            for name in ("live-0", "inbox-1"):
                (known,) = (await sender.deliveries(f"PE:{name}"))["recipients"]
                assert len(known["acknowledgements"]) == 1
        await place.run("consume", "inbox", "--stream", "--once", member="CL", code=2)


async def test_who_is_slower_than_a_lease_gets_nothing_twice(here: tuple[Region, Proxy]) -> None:
    """`watch` on a slow disk: what is done is settled in time, and the rest is kept for longer."""
    r, _ = here
    wanted = [await r.send("CL", f"slow{n}", to("PE")) for n in range(9)]
    seen = []

    async def slowly(delivery: Delivery) -> dict[str, object]:
        seen.append(address_of(delivery.message))
        await asyncio.sleep(1)
        return accept(delivery)

    async with client_of(r) as client:
        await work_off(client, "inbox", slowly, once=True, lease_seconds=6)
        await r.sweep()
        assert await client.lease("inbox") == []
    assert seen == wanted
