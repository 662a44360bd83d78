"""Promise 7. A delivery is settled once per round. A settle with a stale lease is refused; a poison message ends in the
dead letters with its reason and never blocks the next one; a slow or broken recipient never slows, refuses or doubles
anybody else's.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from broker import jws
from broker.clock import text
from broker.delivery import MAX_COUNT, MAX_REDRIVES
from broker.ledger import deliveries as ledger
from tests.region import Region, address_of, region, to


def by(delivery: dict[str, Any], outcome: str, **more: Any) -> dict[str, Any]:
    return {"lease_id": delivery["lease_id"], "outcome": outcome, **more}


def statuses(settled: list[dict[str, Any]]) -> list[int]:
    return [one["status"] for one in settled]


async def state_of(here: Region, member: str, sequence: int = 1) -> tuple[str, int, int, str | None]:
    """(state, round, count, reason) in the inbox of the member."""
    row = next(row for row in await here.index(member) if row["sequence"] == sequence)
    return row["state"], row["round"], row["count"], row["reason"]


# ── stale leases ──


@pytest.mark.parametrize("outcome", ["accept", "release", "reject"])
@pytest.mark.parametrize("why", ["ran out", "ran out and was swept", "was released", "is another's", "is no lease"])
async def test_a_stale_lease_settles_nothing(sqlite_here: Region, why: str, outcome: str) -> None:
    """However it went stale, and whatever is asked: 409, and the delivery is as it was."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    await here.send("CL", release=to("PE", "AR"))
    (delivery,) = await here.lease("PE", lease_seconds=60)
    lease_id = delivery["lease_id"]
    if why.startswith("ran out"):
        here.clock.advance(seconds=60)
        if why.endswith("swept"):
            await here.sweep()
    elif why == "was released":
        assert statuses(await here.settle("PE", "inbox", by(delivery, "release"))) == [200]
        (delivery,) = await here.lease("PE")
    elif why == "is another's":
        (theirs,) = await here.lease("AR")
        lease_id = theirs["lease_id"]
    else:
        lease_id = f"{'0' * 32}.1"
    before = await here.index("PE")

    (answer,) = await here.settle("PE", "inbox", {"lease_id": lease_id, "outcome": outcome})

    assert (answer["status"], answer["problem"]["code"]) == (409, "stale-lease")
    assert await here.index("PE") == before
    extended = await here.call("PE", "POST", "/v1/queues/inbox/extend", {"lease_ids": [lease_id]})
    assert [one["status"] for one in extended.json()["leases"]] == [409]


async def test_the_lease_before_settles_nothing_of_the_one_after(here: Region) -> None:
    """A consumer that slept through its lease must not settle what another works on; that one still can."""
    await here.enrol("CL", "PE")
    await here.send("CL")
    (slow,) = await here.lease("PE", lease_seconds=5)
    here.clock.advance(seconds=5)
    await here.sweep()
    (quick,) = await here.lease("PE", lease_seconds=60)
    assert quick["count"] == 2

    answers = [await here.settle("PE", "inbox", by(who, "accept")) for who in (slow, quick, slow, quick)]

    assert [statuses(answer) for answer in answers] == [[409], [200], [409], [200]]


async def test_the_same_settle_again_answers_as_before(here: Region) -> None:
    """Whoever did not hear the answer asks again; another outcome, or another lease, is refused."""
    await here.enrol("CL", "PE")
    for _ in range(2):
        await here.send("CL")
    first, second = await here.lease("PE")
    for _ in range(3):
        answers = await here.settle("PE", "inbox", by(first, "accept"), by(second, "reject", reason="unreadable"))
        assert [(a["status"], a["state"]) for a in answers] == [(200, "settled"), (200, "dead")]

    crossed = await here.settle("PE", "inbox", by(first, "reject"), by(second, "accept"), by(first, "release"))

    assert statuses(crossed) == [409, 409, 409]
    assert await state_of(here, "PE", 1) == ("settled", 1, 1, None)
    assert await state_of(here, "PE", 2) == ("dead", 1, 1, "unreadable")


async def test_twice_in_one_call(here: Region) -> None:
    """The same settle twice in a call is one; a forged lease beside the true one is stale."""
    await here.enrol("CL", "PE")
    await here.send("CL")
    (delivery,) = await here.lease("PE")
    forged = {"lease_id": f"{'0' * 32}.1", "outcome": "accept"}

    answers = await here.settle(
        "PE", "inbox", forged, by(delivery, "accept"), by(delivery, "accept"), forged, by(delivery, "reject")
    )

    assert statuses(answers) == [409, 200, 200, 409, 409]


async def test_settles_that_race(here: Region) -> None:
    """Ten settles of one lease at once, half accept and half reject: one outcome wins, the other is refused."""
    await here.enrol("CL", "PE")
    await here.send("CL")
    (delivery,) = await here.lease("PE")
    outcomes = ["accept", "reject"] * 5

    answers = await asyncio.gather(*(here.settle("PE", "inbox", by(delivery, outcome)) for outcome in outcomes))

    state, *_ = await state_of(here, "PE")
    won = {"settled": "accept", "dead": "reject"}[state]
    assert [statuses(a)[0] for a in answers] == [200 if outcome == won else 409 for outcome in outcomes]


async def test_a_settle_waits_for_the_one_before(postgres_here: Region) -> None:
    """The accept is under way when the reject comes: the reject is told that it came too late, never that it counts."""
    here = postgres_here
    await here.enrol("CL", "PE")
    await here.send("CL")
    (delivery,) = await here.lease("PE")
    async with here.hub.ledger.accepting() as c:
        queue = (await here.hub.registry(c)).inboxes["PE"].id
        await ledger.of_lease(c, queue, [1])
        await ledger.settle(c, queue, [1], here.clock())
        rejected = asyncio.create_task(here.settle("PE", "inbox", by(delivery, "reject")))
        await here.until_somebody_waits()

    assert statuses(await rejected) == [409]
    assert await state_of(here, "PE") == ("settled", 1, 1, None)


# ── coming back ──


async def test_extend_keeps_a_lease(sqlite_here: Region) -> None:
    """An extended lease lives past its first end, and no longer than its second."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.send("CL")
    (delivery,) = await here.lease("PE", lease_seconds=100)
    here.clock.advance(seconds=50)
    answer = await here.call(
        "PE", "POST", "/v1/queues/inbox/extend", {"lease_ids": [delivery["lease_id"]], "lease_seconds": 300}
    )
    assert [one["status"] for one in answer.json()["leases"]] == [200]
    here.clock.advance(seconds=200)
    await here.sweep()
    assert await here.lease("PE") == []
    here.clock.advance(seconds=100)
    await here.sweep()

    (again,) = await here.lease("PE")
    assert again["count"] == 2


async def test_a_delayed_release_waits_and_its_successors_do_not(here: Region) -> None:
    """Until the delay is over the delivery is not offered, and the next one is."""
    await here.enrol("CL", "PE")
    first = await here.send("CL")
    (delivery,) = await here.lease("PE")
    await here.settle("PE", "inbox", by(delivery, "release", delay_seconds=600))
    second = await here.send("CL")

    assert await here.take("PE") == [second]
    here.clock.advance(seconds=540)
    assert await here.lease("PE") == []
    here.clock.advance(seconds=60)
    (again,) = await here.lease("PE")
    assert (address_of(again["message"]), again["count"], again["sequence"]) == (first, 2, 1)
    refused = await here.settle("PE", "inbox", by(again, "release", delay_seconds=86_401))
    assert statuses(refused) == [422]
    assert statuses(await here.settle("PE", "inbox", by(again, "accept"))) == [200]


@pytest.mark.parametrize("how", ["released", "lease ended"])
async def test_poison_ends_dead_and_blocks_nothing(here: Region, how: str) -> None:
    """After so many returns the delivery is dead with its reason; meanwhile its neighbours pass every time."""
    await here.enrol("CL", "PE")
    await here.enrol("operator:olga")
    poison = await here.send("CL")
    for count in range(1, MAX_COUNT + 1):
        good = await here.send("CL")
        offered = await here.lease("PE", lease_seconds=5)
        assert [(address_of(d["message"]), d["count"]) for d in offered] == [(poison, count), (good, 1)]
        outcomes = [by(offered[1], "accept")]
        if how == "released":
            outcomes.append(by(offered[0], "release"))
        assert set(statuses(await here.settle("PE", "inbox", *outcomes))) == {200}
        if how == "lease ended":
            here.clock.advance(seconds=5)
            await here.sweep()

    assert await state_of(here, "PE") == ("dead", 1, MAX_COUNT, "delivery-limit")
    assert await here.lease("PE") == []
    here._tokens.clear()
    (dead,) = (await here.call("operator:olga", "GET", "/v1/admin/dead-letters")).json()["dead_letters"]
    assert (dead["message"], dead["member"], dead["reason"], dead["count"]) == (
        poison,
        "PE",
        "delivery-limit",
        MAX_COUNT,
    )
    assert "jws" not in json.dumps(dead)


async def test_reject_is_dead_with_the_recipients_reason(sqlite_here: Region) -> None:
    """Rejected at once, said why; the same message in other queues goes its way."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    await here.enrol("operator:olga")
    await here.send("CL", "a-1", to("PE", "AR"))
    (delivery,) = await here.lease("PE")
    await here.settle("PE", "inbox", by(delivery, "reject", reason="our parser does not know this unit"))

    (dead,) = (await here.call("operator:olga", "GET", "/v1/admin/dead-letters")).json()["dead_letters"]
    assert (dead["reason"], dead["state"]) == ("our parser does not know this unit", "dead")
    assert await here.take("AR") == ["CL:a-1"]


# ── many at once ──


async def test_nothing_is_leased_twice(postgres_url: str) -> None:
    """Eight consumers of one queue and 500 deliveries: each is offered once, settled once, and none is left."""
    async with region(postgres_url) as here:
        await here.enrol("CL", "PE")
        tokens = [here.sign(here.payload("CL", f"m-{number}")) for number in range(500)]
        kind = {"content-type": "application/x-ndjson"}
        lines = "\n".join(map(json.dumps, tokens))
        answer = await here.http.post("/v1/messages/batch", content=lines, headers=kind)
        assert {json.loads(line)["status"] for line in answer.text.splitlines()} == {201}
        await here.token("PE")

        async def consume() -> list[int]:
            mine: list[int] = []
            while leased := await here.lease("PE", limit=7):
                assert [d["sequence"] for d in leased] == sorted(d["sequence"] for d in leased)
                assert {d["count"] for d in leased} == {1}
                settled = await here.settle("PE", "inbox", *(by(d, "accept") for d in leased))
                assert set(statuses(settled)) == {200}
                mine += [d["sequence"] for d in leased]
            return mine

        shares = await asyncio.gather(*(consume() for _ in range(8)))
        while rest := await here.take("PE"):  # a consumer passes over what another looks at, and may so end early
            raise AssertionError(f"left behind: {rest}")

        assert sorted(sequence for share in shares for sequence in share) == list(range(1, 501))
        assert {row["state"] for row in await here.index("PE")} == {"settled"}


async def test_a_recipient_that_never_settles_holds_up_nobody(sqlite_here: Region) -> None:
    """One leases everything and is silent: the other's deliveries come at once, and posts are accepted."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    for number in range(5):
        await here.send("CL", f"a-{number}", to("PE", "AR"))
        await here.lease("PE", lease_seconds=3600)
        assert await here.take("AR") == [f"CL:a-{number}"]

    assert {row["state"] for row in await here.index("PE")} == {"leased"}
    assert {row["count"] for row in await here.index("PE")} == {1}


# ── with an acknowledgement ──


async def test_settlement_and_acknowledgement_stand_or_fall_together(here: Region) -> None:
    """A bad acknowledgement leaves the delivery leased; a good one is kept with the settlement; only with accept."""
    await here.enrol("CL", "PE")
    for number in range(2):
        await here.send("CL", f"a-{number}")
    first, second = await here.lease("PE")

    def signed(delivery: dict[str, Any], **changes: Any) -> str:
        address = address_of(delivery["message"])
        claims = {
            "message": address,
            "digest": jws.digest(delivery["message"]),
            "at": text(here.clock()),
            "state": "read",
        }
        return jws.sign_claims(claims | changes, here.keys["PE"], typ=jws.TYP_ACKNOWLEDGEMENT)

    refused = await here.settle(
        "PE",
        "inbox",
        by(first, "accept", acknowledgement=signed(first, digest=jws.digest(second["message"]))),
        by(first, "accept", acknowledgement=signed(second)),
        by(first, "release", acknowledgement=signed(first)),
        by(first, "reject", acknowledgement=signed(first)),
        by(second, "accept", acknowledgement=signed(second)),
    )

    assert statuses(refused) == [422, 422, 422, 422, 200]
    assert [row["state"] for row in await here.index("PE")] == ["leased", "settled"]
    known = [
        (await here.call("CL", "GET", f"/v1/messages/CL:a-{number}/deliveries")).json()["recipients"][0]
        for number in range(2)
    ]
    assert [[a["state"] for a in one["acknowledgements"]] for one in known] == [[], ["read"]]
    assert statuses(await here.settle("PE", "inbox", by(first, "accept", acknowledgement=signed(first)))) == [200]


# ── replay and redrive ──


async def replay(here: Region, member: str, **wanted: Any) -> dict[str, Any]:
    answer = await here.call(member, "POST", "/v1/queues/inbox/replay", wanted)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def test_replay_is_another_round_of_the_same_delivery(here: Region) -> None:
    """Same id, same sequence, round + 1, count from 0 on; it creates no delivery and changes no acknowledgement."""
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")
    await here.send("CL", "a-2")
    first, second = await here.lease("PE")
    await here.settle("PE", "inbox", by(first, "accept"), by(second, "reject"))
    await here.acknowledge("PE", "CL:a-1", "read", first["message"])

    assert await replay(here, "PE", sequence=1) == {"replayed": 2, "skipped": []}

    again = await here.lease("PE")
    assert [d["delivery_id"] for d in again] == [first["delivery_id"], second["delivery_id"]]
    assert [(d["sequence"], d["round"], d["count"]) for d in again] == [(1, 2, 1), (2, 2, 1)]
    assert [d["message"] for d in again] == [first["message"], second["message"]]
    assert len(await here.index("PE")) == 2
    stale = await here.settle("PE", "inbox", by(first, "accept"), by(second, "reject"))
    assert statuses(stale) == [409, 409]
    (known,) = (await here.call("CL", "GET", "/v1/messages/CL:a-1/deliveries")).json()["recipients"]
    assert [a["state"] for a in known["acknowledgements"]] == ["read"]
    assert (await here.acknowledge("PE", "CL:a-1", "received", first["message"])).status_code == 409


async def test_replay_from_a_time_a_sequence_or_one_message(here: Region) -> None:
    """Three ways to say from where; exactly one of them."""
    await here.enrol("CL", "PE")
    for number in range(3):
        await here.send("CL", f"a-{number}")
        here.clock.advance(minutes=1)
    since = text(here.clock())
    for number in range(3, 5):
        await here.send("CL", f"a-{number}")
    everything = [f"CL:a-{number}" for number in range(5)]
    assert await here.take("PE") == everything

    for wanted, expected in (
        ({"since": since}, everything[3:]),
        ({"sequence": 2}, everything[1:]),
        ({"message": "CL:a-2"}, [everything[2]]),
        ({"message": "CL:unknown"}, []),
        ({"sequence": 99}, []),
    ):
        assert (await replay(here, "PE", **wanted))["replayed"] == len(expected)
        assert await here.take("PE") == expected
    for wrong in ({}, {"sequence": 1, "message": "CL:a-1"}, {"since": "yesterday"}):
        assert (await here.call("PE", "POST", "/v1/queues/inbox/replay", wrong)).status_code == 422


async def test_replay_skips_what_is_final_and_what_is_no_longer_allowed(here: Region) -> None:
    """Withdrawn, expired and revoked stay so; what today's rights forbid is named and not offered."""
    await here.enrol("CL", "PE")
    await here.group("andes", "CL", "PE")
    named = to("PE")
    gone = await here.send("CL", "gone", named)
    await here.send("CL", "late", named, expires_at=text(here.clock() + timedelta(days=365)))
    await here.send("CL", "mine", named)
    await here.subscribe("PE", "unused", {"any": [{"kind": ["seizure"]}]})
    assert len(await here.take("PE")) == 3
    waiting = await here.send("CL", "waiting", named)
    await here.withdraw(waiting)
    await here.withdraw(gone)
    await here.send("CL", "mine-2", to("CL"), supersedes="CL:mine")
    here.clock.advance(days=500)
    await here.sweep()
    here._tokens.clear()

    answer = await replay(here, "PE", sequence=1)

    assert answer["replayed"] == 0
    skipped = {one["sequence"]: one["state"] for one in answer["skipped"]}
    assert skipped == {1: "not-entitled", 2: "not-entitled", 3: "not-entitled", 4: "withdrawn"}


async def test_redrive_by_an_operator(here: Region) -> None:
    """Dead becomes ready, at most three times in a round and in the same round; a replay begins a new one."""
    await here.enrol("CL", "PE")
    await here.enrol("operator:olga")
    await here.send("CL")

    async def redrive(delivery_id: str) -> int:
        body = {"deliveries": [delivery_id]}
        answer = await here.call("operator:olga", "POST", "/v1/admin/dead-letters/redrive", body)
        return int(answer.json()["deliveries"][0]["status"])

    for round_ in (1, 2):
        for turn in range(MAX_REDRIVES + 1):
            (delivery,) = await here.lease("PE")
            assert (delivery["round"], delivery["count"]) == (round_, turn + 1)
            assert await redrive(delivery["delivery_id"]) == 409
            await here.settle("PE", "inbox", by(delivery, "reject", reason="no"))
            assert await redrive(delivery["delivery_id"]) == (200 if turn < MAX_REDRIVES else 409)
        assert await state_of(here, "PE") == ("dead", round_, MAX_REDRIVES + 1, "no")
        assert (await replay(here, "PE", sequence=1))["replayed"] == 1


async def test_a_queue_is_its_members_alone(sqlite_here: Region) -> None:
    """Another member's queue does not exist for me, by any call."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    await here.subscribe("PE", "mine")
    await here.send("CL")
    (delivery,) = await here.lease("PE", "mine")

    for call, body in (
        ("lease", {}),
        ("extend", {"lease_ids": [delivery["lease_id"]]}),
        ("settle", {"settlements": [by(delivery, "accept")]}),
        ("replay", {"sequence": 1}),
    ):
        assert (await here.call("AR", "POST", f"/v1/queues/mine/{call}", body)).status_code == 404
    assert (await here.call("AR", "GET", "/v1/queues/mine/deliveries")).status_code == 404
    assert (await here.settle("PE", "mine", by(delivery, "accept")))[0]["status"] == 200
