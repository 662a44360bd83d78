"""Limits: what is too much is told so at once, costs next to nothing, and leaves everybody else alone."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path

import httpx2
import pytest

from broker import app, limits, metrics
from broker.api import bodies, protocol
from broker.client import Client
from broker.config import Config
from broker.errors import Busy, TooMany
from broker.ledger import tables as t
from broker.limits import InHand, Rate
from broker.rabbit.private_node import free_port
from tests.region import MovableClock, Region, to
from tests.wire import hub_process, until

NDJSON = {"content-type": "application/x-ndjson"}


def test_a_rate_is_an_average_with_a_burst() -> None:
    """Half a minute's worth at once, then as much as comes back; a batch is admitted whole and owed."""
    rate = Rate(10)
    rate.take("CL", 299, 0)
    rate.take("CL", 101, 0)
    with pytest.raises(TooMany) as refused:
        rate.take("CL", 1, 0)
    assert refused.value.retry_after_seconds == 11
    rate.take("PE", 1, 0)
    with pytest.raises(TooMany):
        rate.take("CL", 1, 9.9)
    rate.take("CL", 1, 10.2)
    rate.take("CL", 300, 1_000)
    with pytest.raises(TooMany):
        rate.take("CL", 1, 1_000)


def test_what_is_in_hand_is_bounded_and_given_back() -> None:
    """Whatever is allowed alone gets its turn, however large."""
    hand = InHand(100, limits.OCTETS_IN_HAND)
    with hand.held(500), pytest.raises(Busy):
        hand.take(1)
    with hand.held(60):
        with pytest.raises(Busy):
            hand.take(41)
        hand.take(40)
        hand.give(40)
    assert hand.now == 0


@pytest.mark.parametrize("closing_down", [True, False])
async def test_what_a_stopping_hub_has_not_finished_is_told_to_come_again(here: Region, closing_down: bool) -> None:
    """The server ends what is late; whoever waits is told so, as an answer that may be tried again. A request that somebody
    else ends is not answered."""
    await here.enrol("PE")
    await here.token("PE")
    waiting = asyncio.create_task(here.call("PE", "POST", "/v1/queues/inbox/lease", {"limit": 1, "wait_seconds": 30}))

    async def waits() -> bool:
        return any(here.hub.wakes._lines.values())

    await until(waits)
    here.hub.closing = closing_down
    waiting.cancel()
    if closing_down:
        answer = await waiting
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "busy", "1")
        assert [fault["rule"] for fault in answer.json()["errors"]] == ["stopping"]
    else:
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_member_over_its_rate_is_told_when_to_come_again(here: Region) -> None:
    """429 with Retry-After, a line each in a batch; nothing is stored, nothing is kept of it; others are not touched."""
    await here.enrol("CL", "AR", "PE")
    here.hub.limits = limits.Limits(messages_per_second=0.1)
    for _ in range(4):  # three, and the one that what came back meanwhile admits
        await here.send("CL", release=to("PE"))
    refused = await here.post(here.sign(here.payload("CL", "more", to("PE"))))
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many")
    assert 1 <= int(refused.headers["retry-after"]) <= 11
    lines = [json.dumps(here.sign(here.payload(member, f"b-{member}", to("PE")))) for member in ("CL", "AR")]
    answer = await here.http.post("/v1/messages/batch", content="\n".join(lines), headers=NDJSON)
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["status"] for line in told] == [429, 201]
    assert told[0]["problem"]["retry_after"] >= 1
    async with here.hub.ledger.reading() as c:
        assert (await c.execute(t.refusals.select())).first() is None
        assert len((await c.execute(t.messages.select())).all()) == 5


async def test_calls_and_tokens_have_rates_too(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that asks and asks is slowed down; another one is not."""
    await here.enrol("PE", "AR")
    await here.token("AR")
    here.hub.limits.calls = Rate(0.1)
    here.hub.limits.tokens = Rate(0.05)
    answers = [await here.call("PE", "GET", "/v1/queues") for _ in range(5)]
    assert [a.status_code for a in answers] == [200] * 4 + [429]
    assert (await here.call("AR", "GET", "/v1/queues")).status_code == 200
    here._tokens.clear()
    await here.token("PE")
    here._tokens.clear()
    with pytest.raises(AssertionError, match="too-many"):
        await here.token("PE")


async def test_open_requests_of_a_member_are_counted(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many wait at a time; the next one is told so, and a place is free again when one has been answered."""
    monkeypatch.setattr(limits, "MAX_OPEN", 2)
    await here.enrol("CL", "PE")
    await here.token("PE")
    waiting = [asyncio.create_task(here.lease("PE", wait_seconds=25, limit=1)) for _ in range(2)]
    while sum(here.hub.limits.seats._open.values()) < 2:
        await asyncio.sleep(0.01)
    third = await here.call("PE", "POST", "/v1/queues/inbox/lease", {"wait_seconds": 5})
    assert (third.status_code, third.json()["errors"][0]["rule"]) == (429, "open-requests")
    for _ in waiting:
        await here.send("CL")
    await asyncio.gather(*waiting)
    assert (await here.call("PE", "POST", "/v1/queues/inbox/lease", {"wait_seconds": 0.01})).status_code == 200


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Region]:
    """A hub on a port, that takes three connections and is impatient."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 1)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = Config(
        home=tmp_path, ledger_url=f"sqlite:///{tmp_path}/ledger.sqlite", public_url=url, host="127.0.0.1", port=port,
        amqp_url=None, management_url=None, log="json", max_connections=3,
    )  # fmt: skip
    await app.init(config)
    async with app.running(config) as run, httpx2.AsyncClient(base_url=url, timeout=30) as http:
        yield Region(run.hub, http, MovableClock())


async def test_who_posts_in_batches_need_not_count(served: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chile sends more than it may, mixed with Argentina's: the client waits as it is told, and each line
    has its receipt, in its place, and was accepted once."""
    monkeypatch.setattr(limits, "BURST_SECONDS", 1)
    await served.enrol("CL", "AR", "PE")
    served.hub.limits = limits.Limits(messages_per_second=10)
    refused = metrics.refused.labels("too-many")
    before = refused._value.get()
    tokens = [served.sign(served.payload("CL", f"{n}", to("PE"))) for n in range(40)]
    tokens += [served.sign(served.payload(m, f"{m}-{n}", to("PE"))) for n in range(5) for m in ("CL", "AR")]
    async with Client(served.hub.public_url, "CL") as client:
        first = await client.post_batch(tokens[:40])
        more = await client.post_batch(tokens[40:])

    assert refused._value.get() == before + 5
    assert [posted.token for posted in first + more] == tokens
    assert {posted.status for posted in first + more} == {201}


async def raw(r: Region, *parts: bytes, pause: float = 0) -> bytes:
    """What the hub answers to these octets until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(r.hub.public_url.rpartition(":")[2]))
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                return await reader.read()
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_who_waits_when_the_hub_stops_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something holds the ledger up, and the hub is told to stop: no bare 500, and what was posted is recorded once."""
    monkeypatch.setattr(app, "GRACE_SECONDS", 1)
    port = free_port()
    config = Config(
        home=tmp_path, ledger_url=f"sqlite:///{tmp_path}/ledger.sqlite", public_url=f"http://127.0.0.1:{port}",
        host="127.0.0.1", port=port, amqp_url=None, management_url=None, log="json",
    )  # fmt: skip
    await app.init(config)
    async with AsyncExitStack() as stopping, httpx2.AsyncClient(base_url=config.public_url, timeout=30) as http:
        run = await stopping.enter_async_context(app.running(config))
        region = Region(run.hub, http, MovableClock())
        await region.enrol("CL", "PE")
        compact = region.sign(region.payload("CL", "s-1", to("PE")))
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            posted = asyncio.create_task(region.post(compact))

            async def in_hand() -> bool:
                return run.hub.limits.messages_in_hand.now > 0

            await until(in_hand)
            stopped = asyncio.create_task(stopping.aclose())
            answer = await posted
            other.execute("ROLLBACK")
        await stopped
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert [error["rule"] for error in answer.json()["errors"]] == ["stopping"]
        assert int(answer.headers["retry-after"]) > 0
        async with app.running(config):
            assert (await region.post(compact)).status_code == 200


async def test_connections_that_say_nothing_or_too_much_are_closed(served: Region) -> None:
    """No request, half a request, one octet at a time, endless headers, an address without end."""
    assert await raw(served) == b""
    assert await raw(served, b"GET /healthz HTTP/1.1\r\nhost: x\r\n") == b""
    assert await raw(served, *(bytes([octet]) for octet in b"GET /healthz HTTP/1.1\r\n"), pause=0.05) == b""
    for flood in ([b"GET / HTTP/1.1\r\n", *[b"x: " + b"a" * 8_000 + b"\r\n"] * 20], [b"GET /" + b"a" * 200_000]):
        answer = await raw(served, *flood)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431"), answer[:80]
    ok = await raw(served, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert ok.startswith(b"HTTP/1.1 200")


async def test_more_connections_than_allowed_are_answered_and_closed(served: Region) -> None:
    """503 with Retry-After before anything is read; there is room again when one has gone."""
    port = int(served.hub.public_url.rpartition(":")[2])
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    refused = await raw(served, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert refused == b"" or refused.startswith(b"HTTP/1.1 503"), refused[:80]
    for _, writer in held:
        writer.close()

    async def room() -> bool:
        with suppress(httpx2.TransportError):  # refused, and reset before that could be read
            return (await served.http.get("/healthz")).status_code == 200
        return False

    await until(room)


async def test_a_body_that_does_not_come_is_given_up(served: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """408, and its octets are no longer in hand; the same for one that breaks off."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.5)
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ncontent-length: 1000\r\n\r\n"
    port = int(served.hub.public_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"abc")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"abc")
    await writer.drain()
    writer.close()
    async with asyncio.timeout(10):
        while served.hub.limits.octets_in_hand.now:
            await asyncio.sleep(0.01)


async def test_octets_in_hand_are_bounded(served: Region) -> None:
    """While one request holds what there is, the next is told to come again; afterwards it is served."""
    served.hub.limits.octets_in_hand.most = 1_000
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ncontent-length: 900\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", int(served.hub.public_url.rpartition(":")[2]))
    writer.write(head)
    await writer.drain()
    while not served.hub.limits.octets_in_hand.now:
        await asyncio.sleep(0.01)
    busy = await served.post("x" * 200)
    assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (503, "busy", "1")
    writer.close()
    while served.hub.limits.octets_in_hand.now:
        await asyncio.sleep(0.01)
    assert (await served.post("x" * 200)).status_code == 400


def memory_of(pid: int) -> int:
    """Resident set in octets."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of a process from /proc")
async def test_memory_stays_flat_under_overload(tmp_path: Path, hub_port: int) -> None:
    """Forty clients post batches of 9 MB at once: the process stays within what its
    limits say, refuses with 503 or answers, and works as before when it is over."""
    async with hub_process(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", hub_port, None) as (hub, r):
        await r.enrol("CL", "PE")
        token = r.sign(r.payload("CL", "same", to("PE"), body={
            "subject": "x", "reason": "new-modus-operandi", "headings": ["tobacco"], "text": "a" * 6_000,
        }))  # fmt: skip
        batch = (json.dumps(token) + "\n").encode() * 1_000
        assert 8_000_000 < len(batch) < 10_000_000
        before = memory_of(hub.pid)
        statuses: set[int] = set()
        most = 0
        limits_ = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=r.hub.public_url, trust_env=False, limits=limits_, timeout=60) as http:

            async def flood() -> None:
                with suppress(httpx2.TransportError):
                    statuses.add((await http.post("/v1/messages/batch", content=batch, headers=NDJSON)).status_code)

            flooding = asyncio.gather(*(flood() for _ in range(40)))
            while not flooding.done():
                most = max(most, memory_of(hub.pid))
                await asyncio.sleep(0.05)
            await flooding
        assert 503 in statuses
        assert statuses <= {200, 503}, statuses
        assert most - before < 6 * limits.MAX_OCTETS_IN_HAND, (before, most)
        print(f"{before / 1e6:.0f} MB before, {most / 1e6:.0f} MB at most")
        await r.send("CL", "after", to("PE"))
