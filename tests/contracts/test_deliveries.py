"""Queues from the member's side: numbers, order, waiting, depth, and what a sweep does, on both ledgers."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

import pytest
from sqlalchemy import select

from broker import jws, pull
from broker.clock import text
from broker.ledger import deliveries as ledger
from broker.ledger import tables as t
from broker.tokens import Caller
from tests.region import Region, address_of, to


async def test_sequences_are_gap_free(here: Region) -> None:
    """Forty posts at once from two members into four queues: each queue counts 1, 2, 3 ... without a hole."""
    await here.enrol("CL", "AR", "PE", "BZ")
    await here.subscribe("PE", "chile", {"any": [{"originator": ["CL"]}]})
    await here.subscribe("PE", "all")
    payloads = [here.payload(who, release=to("PE", "BZ")) for _ in range(20) for who in ("CL", "AR")]
    refused = [here.payload("CL", release=to("NOBODY")) for _ in range(5)]

    answers = await asyncio.gather(*(here.post(here.sign(payload)) for payload in [*payloads, *refused]))

    assert sorted(answer.status_code for answer in answers) == [201] * 40 + [422] * 5
    for member, queue, number in (("PE", "chile", 20), ("PE", "all", 40), ("BZ", "inbox", 40), ("PE", "inbox", 0)):
        rows = await here.index(member, queue)
        assert [row["sequence"] for row in rows] == list(range(1, number + 1))
        assert len({row["message"] for row in rows}) == number


async def test_offered_in_order(here: Region) -> None:
    """Deliveries are first offered in sequence order, whatever the limit, and the index pages in it."""
    await here.enrol("CL", "PE")
    sent = [await here.send("CL") for _ in range(7)]

    offered = [d for limit in (1, 3, 2, 100) for d in await here.lease("PE", limit=limit)]

    assert [address_of(d["message"]) for d in offered] == sent
    assert [d["sequence"] for d in offered] == [1, 2, 3, 4, 5, 6, 7]
    assert await here.lease("PE") == []
    page = await here.call("PE", "GET", "/v1/queues/inbox/deliveries?after=4&limit=2")
    assert [row["sequence"] for row in page.json()["deliveries"]] == [5, 6]


async def test_nothing_is_offered_before_what_another_transaction_holds(postgres_here: Region) -> None:
    """A correction, or another reader's lease, may come to nothing: what it has is offered first, when it is free."""
    here = postgres_here
    await here.enrol("CL", "PE", "AR")
    sent = [await here.send("CL", release=to("PE", "AR")) for _ in range(3)]
    async with here.hub.ledger.writing.connect() as other:
        await other.execute(_hold(here, "PE", 2))
        waiting = asyncio.create_task(here.lease("PE"))
        theirs = await here.lease("AR")
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await other.rollback()
    offered = await waiting
    assert [address_of(d["message"]) for d in offered] == [address_of(d["message"]) for d in theirs] == sent


async def test_what_is_held_for_long_is_away(postgres_here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process was stopped in the middle: the reader is told when to come again, and nothing is out of order."""
    here = postgres_here
    monkeypatch.setattr(pull, "HELD_SECONDS", 0.1)
    await here.enrol("CL", "PE")
    sent = [await here.send("CL") for _ in range(2)]
    async with here.hub.ledger.writing.connect() as stopped:
        await stopped.execute(_hold(here, "PE", 1))
        answer = await here.call("PE", "POST", "/v1/queues/inbox/lease", {})
        assert (answer.status_code, answer.json()["code"]) == (503, "held")
        assert int(answer.headers["retry-after"]) > 0
    assert [address_of(d["message"]) for d in await here.lease("PE")] == sent


async def test_an_amendment_waits_for_nobody_whom_it_does_not_bar(postgres_here: Region) -> None:
    """Somebody takes a delivery of the chain, and stops: who corrects it locks only what the correction takes away."""
    here = postgres_here
    await here.enrol("CL", "PE", "AR")
    old = await here.send("CL", release=to("PE", "AR"))
    async with here.hub.ledger.writing.connect() as stopped:
        await stopped.execute(_hold(here, "PE", 1))
        async with asyncio.timeout(5):
            new = await here.send("CL", release=to("PE"), supersedes=old)
    assert [row["state"] for row in await here.index("AR")] == ["revoked"]
    assert [address_of(d["message"]) for d in await here.lease("PE")] == [old, new]


async def test_many_readers_of_one_queue_get_all_of_it(postgres_here: Region) -> None:
    """Whoever comes while another looks waits its turn, in this process and beside another one."""
    here = postgres_here
    await here.enrol("CL", "PE")
    for _ in range(40):
        await here.send("CL")
    await here.token("PE")
    kid = jws.thumbprint(jws.public_jwk(here.keys["PE"]))
    caller = Caller("PE", kid, "api", here.clock() + timedelta(minutes=5))
    beside = dataclasses.replace(here.hub, turns=WeakValueDictionary())
    async with here.hub.ledger.reading() as c:
        queue = pull.own_queue(await here.hub.registry(c), caller, "inbox")
    looks = [pull.lease_once(hub, caller, queue, 2, 60, ledger.new_token()) for hub in (here.hub, beside) * 10]
    offered = [d for leased, _ in await asyncio.gather(*looks) for d in leased]
    assert sorted(d["sequence"] for d in offered) == list(range(1, 41))


def _hold(here: Region, member: str, sequence: int) -> Any:
    d, s = t.deliveries.c, t.subscriptions.c
    queue = select(s.id).where(s.member == member, s.name == "inbox").scalar_subquery()
    return select(d.sequence).where(d.queue == queue, d.sequence == sequence).with_for_update()


async def test_what_a_lease_tells(sqlite_here: Region) -> None:
    """Everything of the contract, and the duties of a member that is named twice as one delivery."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    release = {"to": [{"member": "PE", "duties": ["information"]}, {"member": "PE", "duties": ["action"]}]}
    compact = here.sign(here.payload("CL", "a-1", release))
    await here.post(compact)

    (delivery,) = await here.lease("PE", lease_seconds=120)

    assert {"delivery_id", "lease_id", "lease_until", "sequence", "count", "duties", "rule"} <= delivery.keys()
    assert {"accepted_at", "warnings", "message"} <= delivery.keys()
    assert (delivery["duties"], delivery["rule"], delivery["count"]) == (["action", "information"], "to", 1)
    assert (delivery["message"], delivery["match"]) == (compact, None)
    assert delivery["delivery_id"].endswith("-1")


@pytest.mark.parametrize(
    ("wanted", "pointers"),
    [
        ({"limit": 0}, ["/limit"]),
        ({"limit": 101}, ["/limit"]),
        ({"lease_seconds": 0}, ["/lease_seconds"]),
        ({"lease_seconds": 3601, "wait_seconds": 31}, ["/lease_seconds", "/wait_seconds"]),
        ({"wait_seconds": -1}, ["/wait_seconds"]),
        ({"limit": "ten"}, ["/limit"]),
        ({"limits": 10}, ["/limits"]),
    ],
)
async def test_what_no_lease_asks(sqlite_here: Region, wanted: dict[str, Any], pointers: list[str]) -> None:
    """Out of range or unknown: every fault with its pointer."""
    await sqlite_here.enrol("PE")

    answer = await sqlite_here.call("PE", "POST", "/v1/queues/inbox/lease", wanted)

    assert answer.status_code == 422
    assert sorted(fault["pointer"] for fault in answer.json()["errors"]) == pointers


async def test_who_waits_is_woken(here: Region) -> None:
    """A reader that waits gets the message when it is accepted, not when its patience ends."""
    await here.enrol("CL", "PE")
    await here.token("PE")
    started = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(here.lease("PE", wait_seconds=30))
    await here.lease("PE")
    address = await here.send("CL")

    assert [address_of(d["message"]) for d in await waiting] == [address]
    assert asyncio.get_running_loop().time() - started < 10


async def test_who_waits_gets_what_another_gives_back(here: Region) -> None:
    """A release wakes the next reader of the queue."""
    await here.enrol("CL", "PE")
    await here.send("CL")
    (first,) = await here.lease("PE")
    waiting = asyncio.create_task(here.lease("PE", wait_seconds=30))
    await here.settle("PE", "inbox", {"lease_id": first["lease_id"], "outcome": "release"})

    assert [(d["sequence"], d["count"]) for d in await waiting] == [(1, 2)]


async def test_depth_and_oldest(here: Region) -> None:
    """How many in which state, and since when the first one waits."""
    await here.enrol("CL", "PE")
    await here.subscribe("PE", "all")
    for number in range(4):
        await here.send("CL", f"a-{number}")
        here.clock.advance(minutes=1)
    leased = await here.lease("PE", "all", limit=2)
    await here.settle("PE", "all", {"lease_id": leased[0]["lease_id"], "outcome": "accept"})

    queues = {q["name"]: q for q in (await here.call("PE", "GET", "/v1/queues")).json()["queues"]}

    assert queues.keys() == {"inbox", "all"}
    assert queues["all"]["depth"] == {"settled": 1, "leased": 1, "ready": 2}
    assert (queues["all"]["last_sequence"], queues["all"]["delivery"]) == (4, "pull")
    waited = await here.index("PE", "all")
    (sent,) = [
        m
        for m in (await here.call("CL", "GET", "/v1/messages?box=sent")).json()["messages"]
        if m["address"] == "CL:a-2"
    ]
    assert queues["all"]["oldest_ready"] == sent["accepted_at"]
    assert [row["state"] for row in waited] == ["settled", "leased", "ready", "ready"]
    assert queues["inbox"]["oldest_ready"] is None


async def test_a_sweep_may_run_at_any_moment_and_twice(here: Region) -> None:
    """Five at once do what one does: each lease ends once, each expiry counts once, one reminder is sent."""
    await here.enrol("CL", "PE")
    soon = text(here.clock() + timedelta(minutes=1))
    for _ in range(5):
        await here.send("CL")
    await here.send("CL", "late", acknowledge_by=soon)
    await here.send("CL", "gone", expires_at=soon)
    await here.lease("PE", limit=5, lease_seconds=60)
    here.clock.advance(minutes=1)

    await asyncio.gather(*(here.sweep() for _ in range(5)))

    assert [row["state"] for row in await here.index("PE")] == ["ready"] * 6 + ["expired"]
    assert [row["count"] for row in await here.index("PE") if "count" in row] == [1] * 5 + [0]
    assert len(await here.index("CL")) == 1


async def test_an_operations_end_is_acted_upon_once(here: Region) -> None:
    """With the sweep what waited goes; a delivery that another rule admits stays where it is."""
    await here.enrol("CL", "PE", "AR")
    await here.group("op", "CL", "PE", "AR", ends_at=here.clock() + timedelta(minutes=5))
    for member in ("PE", "AR"):
        await here.subscribe(member, "all")
    await here.send("CL", "grouped", {"groups": ["op"]})
    await here.send("CL", "named", to("AR") | {"groups": ["op"]})
    here.clock.advance(minutes=5)
    await asyncio.gather(here.sweep(), here.sweep())

    assert [row["state"] for row in await here.index("PE", "all")] == ["revoked", "revoked"]
    assert [row["state"] for row in await here.index("AR", "all")] == ["revoked", "ready"]
