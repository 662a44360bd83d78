"""Streaming a queue: deliveries with leases as server-sent events, resumed, shared fairly, ended in time.

The hub serves on a port of its own: an answer that stays open is nothing for an in-process transport.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker import administer, app, stream
from broker.config import Config
from broker.rabbit.private_node import free_port
from tests.region import MovableClock, Region, address_of, to


@dataclass
class Event:
    kind: str
    id: str
    data: dict[str, Any]

    @property
    def address(self) -> str:
        return address_of(self.data["message"])


class Reader:
    """One open stream. Comments are counted, events come one by one."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.heartbeats = 0
        self._lines = response.aiter_lines()

    async def event(self, within: float = 20) -> Event | None:
        """The next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(within):
            async for line in self._lines:
                if line.startswith(":"):
                    self.heartbeats += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                else:
                    fields = {}
        return None

    async def events(self, count: int) -> list[Event]:
        found = [await self.event() for _ in range(count)]
        assert all(found)
        return [event for event in found if event]


@asynccontextmanager
async def reading(
    r: Region, member: str, queue: str = "inbox", last: str | None = None, **asked: int
) -> AsyncIterator[Reader]:
    headers = {"authorization": f"Bearer {await r.token(member)}"} | ({"last-event-id": last} if last else {})
    params = {name: str(value) for name, value in asked.items()}
    at = f"/v1/queues/{queue}/stream"
    async with r.http.stream("GET", at, headers=headers, params=params, timeout=60) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Reader(response)


@pytest.fixture
async def served(ledger_url: str, tmp_path: Path) -> AsyncIterator[Region]:
    """A hub that serves, with CL and PE; on each kind of ledger."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = Config(
        home=tmp_path, ledger_url=ledger_url, public_url=url, host="127.0.0.1", port=port, amqp_url=None,
        management_url=None, log="json",
    )  # fmt: skip
    await app.init(config)
    clock = MovableClock()
    limits = httpx2.Limits(max_connections=None)
    async with app.running(config, clock) as run, httpx2.AsyncClient(base_url=url, limits=limits, timeout=30) as http:
        clock.moved = run.hub.alarm.ring
        r = Region(run.hub, http, clock)
        await r.enrol("CL", "PE")
        yield r


async def test_what_is_there_and_what_comes(served: Region) -> None:
    """Deliveries with leases, first what waited, then each as it is accepted; settled like any other."""
    before = await served.send("CL")
    async with reading(served, "PE") as reader:
        first = await reader.event()
        after = await served.send("CL")
        second = await reader.event()
        assert first is not None
        assert second is not None
        assert [first.kind, second.kind] == ["delivery", "delivery"]
        assert [first.address, second.address] == [before, after]
        assert first.id == first.data["lease_id"]
        assert (first.data["sequence"], first.data["count"], first.data["rule"]) == (1, 1, "to")
        answers = await served.settle(
            "PE", "inbox", *({"lease_id": e.data["lease_id"], "outcome": "accept"} for e in (first, second))
        )
    assert [a["status"] for a in answers] == [200, 200]
    assert [row["state"] for row in await served.index("PE")] == ["settled", "settled"]


async def test_resumed_after_the_last_event(served: Region) -> None:
    """What was sent after the last event that arrived comes again at once, in order and uncounted; what arrived keeps
    its lease and is settled by it."""
    sent = [await served.send("CL") for _ in range(5)]
    async with reading(served, "PE") as reader:
        events = await reader.events(5)
    last = events[1]
    async with reading(served, "PE", last=last.id) as reader:
        again = await reader.events(3)
        assert [e.address for e in again] == sent[2:]
        assert [e.data["count"] for e in again] == [1, 1, 1]
        answers = await served.settle(
            "PE", "inbox", *({"lease_id": e.data["lease_id"], "outcome": "accept"} for e in [*events, *again])
        )
    assert [a["status"] for a in answers] == [200, 200, 409, 409, 409, 200, 200, 200]


async def test_a_stream_has_a_window(served: Region) -> None:
    """At most `limit` unsettled at a time; each settle makes room, wherever it is made."""
    sent = [await served.send("CL") for _ in range(5)]
    async with reading(served, "PE", limit=2) as reader:
        held = await reader.events(2)
        with pytest.raises(TimeoutError):
            await reader.event(within=0.5)
        assert [row["state"] for row in await served.index("PE")] == ["leased"] * 2 + ["ready"] * 3
    async with reading(served, "PE", last=held[-1].id, limit=2) as reader:
        got = held
        while len(got) < 5:
            await served.settle("PE", "inbox", *({"lease_id": e.data["lease_id"], "outcome": "accept"} for e in got))
            event = await reader.event()
            assert event is not None
            got = [*got, event]
    assert [e.address for e in got] == sent


async def test_many_readers_share_a_queue(served: Region) -> None:
    """Eight streams on one queue: everything arrives once, and nobody goes away empty or takes it all."""
    readers, messages = 8, 160
    got: Counter[int] = Counter()
    addresses: list[str] = []
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Semaphore(0)

        async def read(number: int) -> None:
            async with reading(served, "PE", limit=10) as reader:
                ready.release()
                while (event := await reader.event()) is not None and event.kind == "delivery":
                    got[number] += 1
                    addresses.append(event.address)
                    await served.settle("PE", "inbox", {"lease_id": event.data["lease_id"], "outcome": "accept"})

        tasks = [group.create_task(read(number)) for number in range(readers)]
        for _ in range(readers):
            await ready.acquire()
        lines = [json.dumps(served.sign(served.payload("CL", release=to("PE")))) for _ in range(messages)]
        for start in range(0, messages, 20):
            body = "\n".join(lines[start : start + 20])
            await served.http.post("/v1/messages/batch", content=body, headers={"content-type": "application/x-ndjson"})
        async with asyncio.timeout(60):
            while len(addresses) < messages:
                await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
    assert len(set(addresses)) == messages
    assert len(got) == readers, got
    assert max(got.values()) < messages / 2, got


async def test_a_silent_stream_says_that_it_lives(served: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)
    async with reading(served, "PE") as reader:
        await asyncio.sleep(2)
        await served.send("CL")
        assert await reader.event() is not None
        assert reader.heartbeats >= 2


async def test_a_delayed_release_and_an_ended_lease_come_by_themselves(served: Region) -> None:
    """Nobody wakes the stream for what falls due: it knows the instant."""
    await served.send("CL")
    async with reading(served, "PE") as reader:
        first = await reader.event()
        assert first is not None
        await served.settle("PE", "inbox", {"lease_id": first.id, "outcome": "release", "delay_seconds": 1})
        second = await reader.event()
        assert second is not None
        assert second.data["count"] == 2
    async with reading(served, "PE", lease_seconds=30) as reader:
        await asyncio.sleep(0.2)
        served.clock.advance(seconds=61)
        third = await reader.event()
        assert third is not None
        assert third.data["count"] == 3


async def test_it_ends_with_the_right_to_it(served: Region) -> None:
    """Suspension ends the stream at once, with the reason; so do a revoked key and the end of the token."""
    async with reading(served, "PE") as reader:
        await asyncio.sleep(0.2)
        await administer.set_active(served.hub.ledger, "PE", False, served.clock())
        end = await reader.event()
        assert end is not None
        assert (end.kind, end.data["code"], end.data["status"]) == ("end", "token", 401)
        assert await reader.event() is None
    await administer.set_active(served.hub.ledger, "PE", True, served.clock())
    async with reading(served, "PE") as reader:
        await asyncio.sleep(0.2)
        served.clock.advance(minutes=16)
        await served.send("CL")
        end = await reader.event()
        assert end is not None
        assert (end.kind, end.data["code"]) == ("end", "token")


async def test_what_cannot_be_streamed_is_refused_before_it_begins(served: Region) -> None:
    """A plain problem, with its status: foreign queues, impossible limits, ids that are none."""
    token = {"authorization": f"Bearer {await served.token('PE')}"}
    for at, headers, status, rule in (
        ("/v1/queues/nowhere/stream", token, 404, "queue-unknown"),
        ("/v1/queues/inbox/stream?limit=0", token, 422, "range"),
        ("/v1/queues/inbox/stream?lease_seconds=1000000", token, 422, "range"),
        ("/v1/queues/inbox/stream?limit=x", token, 422, "parameter"),
        ("/v1/queues/inbox/stream", token | {"last-event-id": "5"}, 422, "lease-id"),
        ("/v1/queues/inbox/stream", token | {"last-event-id": "l" + "0" * 31 + ".1"}, 422, "lease-id"),
        ("/v1/queues/inbox/stream", {}, 401, "no-token"),
    ):
        answer = await served.http.get(at, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["rule"]) == (status, rule), at


async def test_a_hub_that_stops_ends_its_streams(ledger_url: str, tmp_path: Path) -> None:
    """At once, without an error: the reader comes back to the next hub."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = Config(
        home=tmp_path, ledger_url=ledger_url, public_url=url, host="127.0.0.1", port=port, amqp_url=None,
        management_url=None, log="json",
    )  # fmt: skip
    await app.init(config)
    async with httpx2.AsyncClient(base_url=url, timeout=30) as http:
        async with app.running(config) as run:
            r = Region(run.hub, http, MovableClock())
            await r.enrol("PE")
            stack = reading(r, "PE")
            reader = await stack.__aenter__()
            await asyncio.sleep(0.2)
        assert await reader.event() is None
        await stack.__aexit__(None, None, None)
