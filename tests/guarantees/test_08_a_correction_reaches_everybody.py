"""Promise 8. A correction reaches everybody who had the original, and the originator sees who has not confirmed it. Who
may not see an amendment gets a hub-signed notice "superseded, not released to you".
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker import administer, jws
from broker.ledger import deliveries as ledger_deliveries
from broker.ledger import messages as ledger_messages
from tests.region import Region, address_of, payload_of, to

NOTHING = {"any": [{"kind": ["seizure"], "heading": ["weapons"]}]}
"""A filter that no message of these tests meets."""


async def four(here: Region) -> None:
    """CL writes; PE, AR and BZ read; PE has two subscriptions that want everything."""
    await here.enrol("CL", "PE", "AR", "BZ")
    await here.subscribe("PE", "one")
    await here.subscribe("PE", "two")
    await here.subscribe("AR", "one")


async def queues_with(here: Region, member: str, *names: str) -> dict[str, list[tuple[str, str]]]:
    """queue -> (address, rule) of all that was ever put there and is not removed unseen."""
    found = {}
    for name in (*names, "inbox"):
        rows = [row for row in await here.index(member, name) if "message" in row]
        found[name] = [(row["message"], row["rule"]) for row in rows]
    return found


async def no_longer_wants(here: Region, member: str, *names: str) -> None:
    for name in names:
        answer = await here.call(member, "PATCH", f"/v1/subscriptions/{name}", {"filter": NOTHING})
        assert answer.status_code == 200


# ── amendments ──


async def test_an_amendment_follows_the_original_into_its_queues(here: Region) -> None:
    """To whoever its release and the filters admit, and to every entitled holder where it had the original."""
    await four(here)
    await here.send("CL", "v-1", to("PE", "AR", "BZ"))
    await here.lease("PE", "one")
    await here.take("BZ")
    await no_longer_wants(here, "PE", "one", "two")
    await no_longer_wants(here, "AR", "one")

    await here.send("CL", "v-2", to("PE", "AR", "BZ"), supersedes="CL:v-1")

    both = [("CL:v-1", "to"), ("CL:v-2", "to")]
    assert await queues_with(here, "PE", "one", "two") == {"one": both, "two": both, "inbox": []}
    assert await queues_with(here, "AR", "one") == {"one": both, "inbox": []}
    assert await queues_with(here, "BZ") == {"inbox": both}


async def test_who_only_fetched_gets_it_in_the_inbox(here: Region) -> None:
    """By group or `all` a member finds a message with GET; from then on it is a holder."""
    await here.enrol("CL", "PE", "AR", "BZ")
    everybody = {"all": True}
    await here.send("CL", "v-1", everybody, tlp="GREEN")
    assert (await here.call("PE", "GET", "/v1/messages/CL:v-1")).status_code == 200
    assert (await here.call("AR", "GET", "/v1/messages/CL:v-1/receipt")).status_code == 200
    await here.call("BZ", "GET", "/v1/messages?limit=10")

    await here.send("CL", "v-2", everybody, tlp="GREEN", supersedes="CL:v-1")
    await here.withdraw("CL:v-2")

    assert [d["rule"] for d in await here.lease("PE")] == ["holder"]
    assert [row["state"] for row in await here.index("PE")] == ["withdrawn", "leased"]
    assert await queues_with(here, "AR") == {"inbox": []}  # a receipt is no content
    assert await queues_with(here, "BZ") == {"inbox": []}


async def test_whoever_may_not_see_the_amendment_gets_the_notice(here: Region) -> None:
    """On the queues that carried the original, to each alone, signed by the hub; the amendment's content stays away."""
    await four(here)
    await here.send("CL", "v-1", to("PE", "AR", "BZ"))
    for queue in ("one", "two"):
        await here.take("PE", queue)
    await here.call("BZ", "GET", "/v1/messages/CL:v-1")

    body = {"subject": "Only for Argentina", "reason": "watch", "headings": ["drugs"]}
    await here.send("CL", "v-2", to("AR"), supersedes="CL:v-1", body=body)

    for member, queue in (("PE", "one"), ("PE", "two"), ("BZ", "inbox")):
        leased = await here.lease(member, queue)
        (notice,) = [d for d in leased if d["rule"] == "notice"]
        token = jws.read(notice["message"].encode(), typ=jws.TYP_MESSAGE)
        jws.verify(token, jws.public_jwk(here.hub.key))
        told = payload_of(notice["message"])
        assert (told["header"]["originator"], told["header"]["kind"]) == ("hub", "notice")
        assert (told["body"]["event"], told["body"]["about"]) == ("superseded-not-released", "CL:v-1")
        assert told["header"]["handling"]["release"]["to"] == [{"member": member}]
        assert "v-2" not in str(told)
        assert "Argentina" not in str(told)
        assert all(address_of(d["message"]) != "CL:v-2" for d in leased)
        assert (await here.call(member, "GET", "/v1/messages/CL:v-2")).status_code == 404
        assert (await here.call(member, "GET", "/v1/messages/CL:v-1")).json()["state"] == "superseded"
        acknowledged = await here.acknowledge(member, address_of(notice["message"]), compact=notice["message"])
        assert acknowledged.status_code == 200
    assert await here.take("AR", "one") == ["CL:v-1", "CL:v-2"]
    shown = (await here.call("CL", "GET", "/v1/messages/CL:v-2/audience")).json()["members"]
    assert [one["member"] for one in shown] == ["AR"]


async def test_barred_and_never_handed_one(sqlite_here: Region) -> None:
    """A tombstone, and no notice: it never had it, and does not learn that there was something to have."""
    here = sqlite_here
    await four(here)
    await here.send("CL", "v-1", to("PE", "AR"))
    await here.send("CL", "v-2", to("AR"), supersedes="CL:v-1")

    for queue in ("one", "two"):
        assert [row["state"] for row in await here.index("PE", queue)] == ["revoked"]
    assert await here.index("PE") == []


async def test_a_suspended_holder_gets_notice_and_withdrawal_when_it_is_back(here: Region) -> None:
    """Entitled to nothing accepted meanwhile, but it had the original: held until it is active again."""
    await four(here)
    await here.send("CL", "v-1", to("AR"))
    await here.send("CL", "w-1", to("AR"))
    await here.lease("AR", "one")
    await administer.set_active(here.hub.ledger, "AR", False, here.clock())
    await here.send("CL", "v-2", to("AR"), supersedes="CL:v-1")
    withdrawal = await here.withdraw("CL:w-1")
    await administer.set_active(here.hub.ledger, "AR", True, here.clock())
    here._tokens.clear()

    leased = await here.lease("AR", "one")

    assert [(d["sequence"], d["rule"]) for d in leased] == [(1, "to"), (3, "notice"), (4, "holder")]
    assert address_of(leased[2]["message"]) == withdrawal


async def test_a_suspended_member_is_not_left_with_an_outdated_version(here: Region) -> None:
    """What was held for it is handed over when it is back, with the notice that it is outdated; what the amendment
    bars it from anyway it never sees."""
    await four(here)
    await here.send("CL", "v-1", to("AR"))
    await here.send("CL", "n-1", to("AR", "PE"))
    await administer.set_active(here.hub.ledger, "AR", False, here.clock())
    await here.send("CL", "v-2", to("AR"), supersedes="CL:v-1")
    await here.send("CL", "n-2", to("PE"), supersedes="CL:n-1")
    await administer.set_active(here.hub.ledger, "AR", True, here.clock())
    here._tokens.clear()

    leased = await here.lease("AR", "one")

    assert [(d["sequence"], d["rule"]) for d in leased] == [(1, "to"), (3, "notice")]
    assert payload_of(leased[1]["message"])["body"]["about"] == "CL:v-1"


async def test_who_was_barred_while_suspended_stays_barred_from_the_outdated_version(here: Region) -> None:
    """Whoever joins the group that an amendment went to has not got the amendment: the outdated version alone, held since
    before, would be taken for the last word."""
    await four(here)
    await here.group("OP", "CL", "PE")
    await here.send("CL", "v-1", to("AR"))
    await administer.set_active(here.hub.ledger, "AR", False, here.clock())
    await here.send("CL", "v-2", {"groups": ["OP"]}, supersedes="CL:v-1")
    await administer.join(here.hub.ledger, "OP", "AR", here.clock())
    await administer.set_active(here.hub.ledger, "AR", True, here.clock())
    here._tokens.clear()

    assert await here.lease("AR", "one") == []
    assert [row["state"] for row in await here.index("AR", "one")] == ["revoked"]


async def test_a_queue_that_is_gone(sqlite_here: Region) -> None:
    """Where the subscription that carried the original was removed, the correction comes to the inbox."""
    here = sqlite_here
    await four(here)
    await here.send("CL", "v-1", to("AR"))
    await here.take("AR", "one")
    await here.call("AR", "DELETE", "/v1/subscriptions/one")
    await here.send("CL", "v-2", to("AR"), supersedes="CL:v-1")
    withdrawal = await here.withdraw("CL:v-2")

    assert [row["state"] for row in await here.index("AR")] == ["withdrawn", "ready"]
    assert await here.take("AR") == [withdrawal]


# ── withdrawals ──


async def test_a_withdrawal_goes_to_the_holders_alone(here: Region) -> None:
    """What was not handed over of any version becomes withdrawn, unseen; holders get the withdrawal where they had it."""
    await four(here)
    await here.send("CL", "v-1", to("PE", "AR"))
    await here.take("PE", "one")
    await here.send("CL", "v-2", to("PE", "AR"), supersedes="CL:v-1")

    withdrawal = await here.withdraw("CL:v-2")

    assert [row["state"] for row in await here.index("PE", "one")] == ["settled", "withdrawn", "ready"]
    assert [row["state"] for row in await here.index("PE", "two")] == ["withdrawn", "withdrawn"]
    assert [row["state"] for row in await here.index("AR", "one")] == ["withdrawn", "withdrawn"]
    (delivery,) = await here.lease("PE", "one")
    assert (address_of(delivery["message"]), delivery["rule"], delivery["duties"]) == (
        withdrawal,
        "holder",
        ["information"],
    )
    assert payload_of(delivery["message"])["body"]["reason_code"] == "mistaken"
    states = [
        (await here.call("PE", "GET", f"/v1/messages/{a}")).json()["state"] for a in ("CL:v-1", "CL:v-2", withdrawal)
    ]
    assert states == ["withdrawn", "withdrawn", "current"]
    for address in ("CL:v-1", "CL:v-2", withdrawal):
        assert (await here.call("AR", "GET", f"/v1/messages/{address}")).status_code == 404


@pytest.mark.parametrize("outcome", ["accept", "reject", "release", "nothing"])
async def test_a_leased_delivery_of_what_is_withdrawn(here: Region, outcome: str) -> None:
    """It stays leased and its settle counts; if it returns it becomes withdrawn."""
    await four(here)
    await here.send("CL", "v-1", to("AR"))
    (leased,) = await here.lease("AR", "one", lease_seconds=60)
    await here.withdraw("CL:v-1")
    assert (await here.index("AR", "one"))[0]["state"] == "leased"
    if outcome == "nothing":
        here.clock.advance(seconds=60)
        await here.sweep()
    else:
        (answer,) = await here.settle("AR", "one", {"lease_id": leased["lease_id"], "outcome": outcome})
        assert answer["status"] == 200

    becomes = {"accept": "settled", "reject": "dead"}.get(outcome, "withdrawn")
    assert [row["state"] for row in await here.index("AR", "one")] == [becomes, "ready"]
    assert [d["rule"] for d in await here.lease("AR", "one")] == ["holder"]


async def test_nothing_corrects_what_is_withdrawn_or_outdated(here: Region) -> None:
    """`supersedes` and `withdraws` name the latest version of one's own chain, of the same kind and status."""
    await four(here)
    await here.send("CL", "v-1")
    await here.send("CL", "v-2", supersedes="CL:v-1")
    await here.send("AR", "theirs")

    async def refused(**changes: Any) -> tuple[int, str]:
        answer = await here.post(here.sign(here.payload("CL", **changes)))
        return answer.status_code, answer.json()["errors"][0]["rule"]

    assert await refused(supersedes="CL:v-1") == (409, "not-the-latest")
    assert await refused(supersedes="CL:unknown") == (409, "correction-of-unknown")
    assert await refused(supersedes="AR:theirs") == (422, "correction-of-another")
    assert await refused(supersedes="AR:unknown") == (422, "correction-of-another")
    assert await refused(supersedes="CL:v-2", kind="seizure") == (422, "correction-differs")
    assert await refused(supersedes="CL:v-2", status="test") == (422, "correction-differs")
    withdrawal = await here.withdraw("CL:v-2")
    for target in ("CL:v-1", "CL:v-2", withdrawal):
        assert await refused(supersedes=target) == (409, "chain-withdrawn")
        again = await here.post(here.sign(here.withdrawal(target)))
        assert (again.status_code, again.json()["code"]) == (409, "withdrawn")


# ── who gets it while the correction is being decided ──


@pytest.mark.parametrize("correction", ["amendment that bars", "withdrawal"])
async def test_a_lease_under_way_counts(postgres_here: Region, correction: str) -> None:
    """The lease began first and commits while the correction is decided: its member is a holder, and is told."""
    here = postgres_here
    await four(here)
    await here.send("CL", "v-1", to("AR", "BZ"))
    amendment = here.payload("CL", "v-2", to("BZ"), supersedes="CL:v-1")
    token = here.sign(here.withdrawal("CL:v-1") if correction == "withdrawal" else amendment)
    async with here.hub.ledger.accepting() as c:
        registry = await here.hub.registry(c)
        queue = registry.queue("AR", "one")
        assert queue is not None
        rows = await ledger_deliveries.lease(c, registry, queue.id, 10, "f" * 32, 60, here.clock())
        assert len(rows) == 1
        posted = asyncio.create_task(here.post(token))
        await here.until_somebody_waits()

    assert (await posted).status_code == 201
    assert [row["state"] for row in await here.index("AR", "one")] == ["leased", "ready"]
    (delivery,) = await here.lease("AR", "one")
    assert delivery["rule"] == ("holder" if correction == "withdrawal" else "notice")


async def test_a_lease_under_way_is_not_taken_back(postgres_here: Region) -> None:
    """Given back and just being leased again while an amendment bars its member: leased it is, and its settle counts."""
    here = postgres_here
    await four(here)
    await here.send("CL", "v-1", to("AR"))
    (first,) = await here.lease("AR", "one")
    await here.settle("AR", "one", {"lease_id": first["lease_id"], "outcome": "release"})
    async with here.hub.ledger.accepting() as c:
        registry = await here.hub.registry(c)
        queue = registry.queue("AR", "one")
        assert queue is not None
        await ledger_deliveries.lease(c, registry, queue.id, 10, "f" * 32, 60, here.clock())
        posted = asyncio.create_task(here.post(here.sign(here.payload("CL", "v-2", to("BZ"), supersedes="CL:v-1"))))
        await here.until_somebody_waits()

    assert (await posted).status_code == 201
    assert [row["state"] for row in await here.index("AR", "one")] == ["leased", "ready"]
    (settled,) = await here.settle("AR", "one", {"lease_id": f"{'f' * 32}.1", "outcome": "accept"})
    assert settled["status"] == 200


async def test_a_fetch_under_way_counts(postgres_here: Region) -> None:
    """The GET was allowed and is recorded while the withdrawal is decided: its member is a holder, and is told."""
    here = postgres_here
    await here.enrol("CL", "PE")
    await here.send("CL", "v-1", {"all": True}, tlp="GREEN")
    token = here.sign(here.withdrawal("CL:v-1"))
    async with here.hub.ledger.accepting() as c:
        await ledger_messages.hold_fetch(c, "CL", "v-1", "PE")
        row = await ledger_messages.find(c, "CL", "v-1")
        assert row is not None
        posted = asyncio.create_task(here.post(token))
        await here.until_somebody_waits()
        await ledger_messages.record_fetch(c, row["position"], "PE", here.clock())

    assert (await posted).status_code == 201
    assert [d["rule"] for d in await here.lease("PE")] == ["holder"]


async def test_a_fetch_waits_for_the_withdrawal_under_way(postgres_here: Region) -> None:
    """The withdrawal was decided first, and the GET is no holder's: it finds nothing."""
    here = postgres_here
    await here.enrol("CL", "PE")
    await here.send("CL", "v-1", {"all": True}, tlp="GREEN")
    await here.token("PE")
    async with here.hub.ledger.accepting() as c:
        row = await ledger_messages.find(c, "CL", "v-1")
        assert row is not None
        await ledger_messages.hold_still(c, row["chain"], ())
        fetched = asyncio.create_task(here.call("PE", "GET", "/v1/messages/CL:v-1"))
        await here.until_somebody_waits()
        await ledger_messages.withdraw(c, row["chain"], row["position"])

    assert (await fetched).status_code == 404


async def test_leases_fetches_and_withdrawals_at_once(postgres_here: Region) -> None:
    """However they fall together: whoever got a message that was withdrawn also gets its withdrawal, and nobody else."""
    here = postgres_here
    await here.enrol("CL", "PE", "AR")
    numbers = range(30)
    release = to("AR") | {"all": True}
    for number in numbers:
        await here.send("CL", f"m-{number}", release, tlp="GREEN")
    for member in ("PE", "AR"):
        await here.token(member)
    withdrawals = [here.withdrawal(f"CL:m-{number}") for number in numbers]
    of = {f"CL:{payload['header']['id']}": payload["header"]["withdraws"] for payload in withdrawals}
    leased: set[str] = set()
    fetched: set[str] = set()

    async def withdraw() -> None:
        for payload in withdrawals:
            assert (await here.post(here.sign(payload))).status_code == 201

    async def lease() -> None:
        for _ in numbers:
            leased.update(address_of(d["message"]) for d in await here.lease("AR", limit=1))

    async def fetch() -> None:
        for number in reversed(numbers):
            if (await here.call("PE", "GET", f"/v1/messages/CL:m-{number}")).status_code == 200:
                fetched.add(f"CL:m-{number}")

    await asyncio.gather(withdraw(), lease(), fetch())
    leased |= {address_of(d["message"]) for d in await here.lease("AR")}

    had = {address for address in leased if address not in of}
    told = {of[address] for address in leased if address in of}
    assert had == told
    assert {of[address] for address in await here.take("PE")} == fetched
