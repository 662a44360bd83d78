"""Promise 1, at every await: relay and accept fail wherever they wait for somebody else, before its effect and after it.
Nothing is lost, and what comes twice is recognisable."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import accept, administer, jws, relay, submit
from broker.ledger import tables as t
from broker.rabbit import member_queue
from broker.rabbit.management import Management
from tests.doubles import Everywhere, Faults, FaultyLedger, broken, coroutines, fail_at, places, watch
from tests.engines import Rabbit
from tests.region import Region, new_key, to, wired_region
from tests.wire import amqp_queue, collecting, consumer, got, post_many, published, receive, states, until


@pytest.fixture
async def fragile(rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Region]:
    """A wired region whose relay can be failed at any await, and does not wait long before it tries again."""
    FaultyLedger.faults = Faults()
    monkeypatch.setattr(relay, "RETRY_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(relay, "RECONNECT_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(relay, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(member_queue, "DRAIN_QUIET_SECONDS", 0.05)
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
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        r.hub.ledger = FaultyLedger(**vars(r.hub.ledger))
        await r.enrol("CL", "PE", "operator:ana")
        yield r


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


@pytest.mark.long
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
        await administer.leave(fragile.hub.ledger, group, "PE", fragile.clock())

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


AROUND_NO_EFFECT = (
    "asyncio.sleep(", "asyncio.wait(",
    # what is at hand, or is read with statements that fail
    "hub.registry_now()", "hub.registry(c",
    # asks the ledger only where a consent does not name what it is about: one more statement of the same transaction
    "quotations.faults(",
    # hands on to the task that commits for all, whose own awaits fail
    "asyncio.shield(future)", "committer.commit(",
    # after a fault of ours that is no broker error
    "self._commit_together([one])",
)  # fmt: skip


@pytest.mark.long
async def test_every_await_around_an_accept_may_fail(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by await point, from the door to the receipts: with a message, its correction, its quotation, one that is
    refused and one whose key nobody knows."""
    everywhere = FaultyLedger.faults = Everywhere(coroutines(submit, accept))
    here.hub.ledger = FaultyLedger(**vars(here.hub.ledger))
    fail_at(monkeypatch, AsyncConnection, "execute", "statement", broken)
    await here.enrol("CL", "PE", "AR")
    stranger = new_key()

    async def once(n: int) -> int:
        """How many deliveries came of it."""
        first, release = f"y{n}-1", to("PE", "AR")
        body = {
            "subject": "Seen before", "sections": [{"text": "As said"}],
            "quoted": [{"message": f"CL:{first}", "tlp": "AMBER"}],
        }  # fmt: skip
        good = [
            here.payload("CL", first, release),
            here.payload("CL", f"y{n}-2", release, kind="bulletin", body=body, tlp="AMBER"),
            here.payload("PE", f"y{n}-3", to("AR"), kind="bulletin", body=body, tlp="AMBER"),
            here.payload("CL", f"y{n}-4", release, supersedes=f"CL:{first}"),
            here.withdrawal(f"CL:y{n}-2", id=f"y{n}-5", kind="bulletin"),
            here.payload("CL", f"y{n}-6", release),
        ]
        refused = here.sign(here.payload("CL", f"y{n}-7", release, kind="no-such-kind"))
        unknown = here.sign(here.payload("CL", f"y{n}-8", release), key=stranger)
        batch = "\n".join(json.dumps(token) for token in (*map(here.sign, good), refused, unknown))
        for _ in range(3):
            answer = await here.http.post(
                "/v1/messages/batch", content=batch, headers={"content-type": "application/x-ndjson"}
            )
            if answer.status_code == 200:
                break
            assert (answer.status_code, answer.json()["code"]) == (503, "ledger-away")
        statuses = [json.loads(line)["status"] for line in answer.text.splitlines()]
        assert set(statuses[:6]) <= {200, 201}, answer.text
        assert min(statuses[6:]) >= 400
        m, d, f = t.messages.c, t.deliveries.c, t.refusals.c
        async with here.hub.ledger.reading() as c:
            stored = (await c.execute(select(m.position).where(m.id.like(f"y{n}-%")))).scalars().all()
            deliveries = (await c.execute(select(d.queue).where(d.position.in_(stored)))).all()
            kept = (await c.execute(select(f.digest).where(f.digest == jws.digest(refused)))).all()
        assert len(stored) == len(good)
        assert kept, "it was told, and is kept"
        return len(deliveries)

    await once(n := 0)
    everywhere.seen.clear()
    wanted = await once(n := 1)
    for point, after in itertools.product(list(everywhere.seen), (False, True)):
        if point not in everywhere.struck[after]:
            everywhere.at, everywhere.after = point, after
            assert await once(n := n + 1) == wanted, point
            assert everywhere.at is None, point
    left = [told for told in everywhere.unstruck() if not any(why in told for why in AROUND_NO_EFFECT)]
    assert not left, "\n".join(left)
