"""Promise 2. Nobody sees what they may not. Entitlement is decided before anything is queued, default deny, and again
when it is handed over. (How the wire is closed and drained is proved where the relay is.)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from broker import administer
from broker.clock import text
from broker.ledger import registry as ledger_registry
from broker.members import HUB
from tests import model, season
from tests.region import Region, address_of, to

GROUPED = {"groups": ["op"]}


async def a_group(here: Region, *, ends_in_hours: float | None = None) -> None:
    """CL, PE and AR in the group `op`; all of them subscribe to everything."""
    await here.enrol("CL", "PE", "AR")
    ends_at = here.clock() + timedelta(hours=ends_in_hours) if ends_in_hours else None
    await here.group("op", "CL", "PE", "AR", ends_at=ends_at)
    for member in ("PE", "AR"):
        await here.subscribe(member, "all")


async def tombstones(here: Region, member: str, queue: str = "all") -> list[tuple[int, str]]:
    """(sequence, state) of the queue; gap-free, and nothing shown of what was removed unseen."""
    rows = await here.index(member, queue)
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        if row["state"] in ("revoked", "withdrawn", "expired"):
            assert row.keys() == {"sequence", "state", "reason", "changed_at"}, row
    return [(row["sequence"], row["state"]) for row in rows]


async def sees(here: Region, member: str, address: str) -> bool:
    """By GET, by the receipt and by the list: all three say the same."""
    answers = [await here.call(member, "GET", f"/v1/messages/{address}{more}") for more in ("", "/receipt")]
    listed = (await here.call(member, "GET", "/v1/messages?limit=200")).json()["messages"]
    found = {answer.status_code == 200 for answer in answers} | {address in [one["address"] for one in listed]}
    assert len(found) == 1, (member, address, answers, listed)
    return found.pop()


# ── before anything is queued ──


async def test_default_deny(here: Region) -> None:
    """Whoever is not released to has no delivery, finds nothing, and cannot tell it from what does not exist."""
    await here.enrol("CL", "PE", "AR")
    await here.enrol("RILO-SA", type="rilo")
    for member in ("PE", "AR", "RILO-SA"):
        await here.subscribe(member, "all")
    await here.send("CL", "a-1", to("PE"))

    assert [len(await here.index(member, "all")) for member in ("PE", "AR", "RILO-SA")] == [1, 0, 0]
    assert await sees(here, "PE", "CL:a-1")
    assert not await sees(here, "AR", "CL:a-1")
    for path in ("", "/receipt", "/deliveries", "/audience"):
        hidden = await here.call("AR", "GET", f"/v1/messages/CL:a-1{path}")
        absent = await here.call("AR", "GET", f"/v1/messages/CL:a-2{path}")
        told = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in (hidden, absent)]
        assert (hidden.status_code, told[0]) == (404, told[1])
    acknowledged = await here.acknowledge("AR", "CL:a-1", compact=here.sign(here.payload("CL", "a-1")))
    assert acknowledged.status_code == 404


async def test_recipients_learn_nothing_of_each_other(sqlite_here: Region) -> None:
    """Audience and deliveries are for the originator alone, and even it sees no subscription of anybody."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    await here.subscribe("PE", "secret-desk", {"any": [{"heading": ["tobacco"]}]})
    await here.send("CL", "a-1", to("PE", "AR"))

    assert await sees(here, "PE", "CL:a-1")
    for path in ("deliveries", "audience"):
        assert (await here.call("PE", "GET", f"/v1/messages/CL:a-1/{path}")).status_code == 404
        own = await here.call("CL", "GET", f"/v1/messages/CL:a-1/{path}")
        assert own.status_code == 200
        assert "secret-desk" not in own.text
        assert "clause" not in own.text
    (delivery,) = await here.lease("PE", "secret-desk")
    assert delivery["match"] == {"subscription": "secret-desk", "clause": 0}


async def test_check_says_what_a_post_then_does(sqlite_here: Region) -> None:
    """The same recipients, rules and duties, the same refusals; and nothing is stored by asking."""
    here, rng = sqlite_here, Random(5)
    world = season.world(rng, here.clock().replace(microsecond=0))
    for name, member in world["members"].items():
        await here.enrol(name, type=member["type"])
    for name, group in world["groups"].items():
        await here.group(name, *group["members"], starts_at=group["starts_at"], ends_at=group["ends_at"])
    for name, member in world["members"].items():
        if member["state"] == "suspended":
            await administer.set_active(here.hub.ledger, name, False, here.clock())
    agreed: dict[str, int] = {}
    for item in season.messages(rng, world, 150):
        originator = item.payload["header"]["originator"]
        token = here.sign(item.payload)
        draft = await here.http.post(
            "/v1/messages/check", json=item.payload, headers={"authorization": f"Bearer {await here.token(originator)}"}
        )
        signed = await here.call(originator, "POST", "/v1/messages/check", token)
        posted = await here.post(token)

        agreed[item.expect] = agreed.get(item.expect, 0) + 1
        if posted.status_code >= 400:
            for checked in (draft, signed):
                assert (checked.status_code, checked.json()["code"]) == (posted.status_code, posted.json()["code"])
                assert checked.json()["errors"] == posted.json()["errors"]
            continue
        assert signed.status_code == 200
        if item.expect == "repeat":
            continue
        assert draft.json()["recipients"] == signed.json()["recipients"]
        assert signed.json()["warnings"] == posted.json()["warnings"]
        expected = model.entitled(item.payload["header"], world)
        assert {r["member"]: r["rule"] for r in signed.json()["recipients"]} == expected
        address = f"{originator}:{item.payload['header']['id']}"
        audience = (await here.call(originator, "GET", f"/v1/messages/{address}/audience")).json()["members"]
        assert {a["member"]: a["rule"] for a in audience} == expected
    assert len(agreed) >= 6, agreed


async def test_check_is_for_ones_own(sqlite_here: Region) -> None:
    """A recipient that posts there what it received learns nothing."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    await here.send("CL", "a-1", to("PE", "AR"))
    (delivery,) = await here.lease("PE")

    answer = await here.call("PE", "POST", "/v1/messages/check", delivery["message"])

    assert answer.status_code == 403
    assert "AR" not in json.dumps(answer.json().get("errors"))


# ── and again when it is handed over ──

Loss = Callable[[Region], Awaitable[None]]


async def leaves(here: Region) -> None:
    await administer.leave(here.hub.ledger, "op", "PE", here.clock())


async def operation_ends(here: Region) -> None:
    here.clock.advance(hours=2)
    here._tokens.clear()


async def operation_ends_and_is_swept(here: Region) -> None:
    await operation_ends(here)
    await here.sweep()


async def is_barred_by_an_amendment(here: Region) -> None:
    await here.send("CL", "v-2", to("AR"), supersedes="CL:v-1")


async def is_excepted_by_an_amendment(here: Region) -> None:
    await here.send("CL", "v-2", {"groups": ["op"], "except": ["PE"]}, supersedes="CL:v-1")


@pytest.mark.parametrize(
    "loss",
    [leaves, operation_ends, operation_ends_and_is_swept, is_barred_by_an_amendment, is_excepted_by_an_amendment],
)
async def test_a_right_that_is_lost_is_lost_at_hand_over(here: Region, loss: Loss) -> None:
    """What was queued while it was allowed is not handed over any more: a tombstone that shows nothing remains."""
    await a_group(here, ends_in_hours=1)
    await here.send("CL", "v-1", GROUPED)
    await loss(here)

    assert await here.lease("PE", "all") == []
    assert (await tombstones(here, "PE"))[0] == (1, "revoked")
    replayed = await here.call("PE", "POST", "/v1/queues/all/replay", {"sequence": 1})
    assert replayed.json()["replayed"] == 0


@pytest.mark.parametrize("loss", [leaves, operation_ends, is_barred_by_an_amendment])
async def test_a_right_that_is_lost_is_lost_for_reading(here: Region, loss: Loss) -> None:
    """GET and lists follow today's rights, and nobody who never had it learns that it was there."""
    await a_group(here, ends_in_hours=1)
    await here.send("CL", "v-1", GROUPED)
    await loss(here)

    assert not await sees(here, "PE", "CL:v-1")


async def test_the_operations_end_acts_without_a_sweep(here: Region) -> None:
    """Entitlement is a matter of the clock, not of a loop that may be late."""
    await a_group(here, ends_in_hours=1)
    await here.send("CL", "v-1", GROUPED)
    here.clock.advance(minutes=59)
    here._tokens.clear()
    assert [address_of(d["message"]) for d in await here.lease("PE", "all")] == ["CL:v-1"]
    here.clock.advance(minutes=1)
    here._tokens.clear()

    assert await here.lease("AR", "all") == []
    refused = await here.post(here.sign(here.payload("CL", "v-2", GROUPED)))
    assert [fault["rule"] for fault in refused.json()["errors"]] == ["group-refused"]


async def test_another_rule_still_admits(here: Region) -> None:
    """Leaving a group takes only what nothing else admits."""
    await a_group(here)
    await here.group("second", "CL", "PE")
    await here.send("CL", "named", to("PE") | GROUPED)
    await here.send("CL", "both", {"groups": ["op", "second"]})
    await here.send("CL", "one", GROUPED)
    await here.send("CL", "all", {"groups": ["op"], "all": True}, tlp="GREEN")
    await leaves(here)

    assert await tombstones(here, "PE") == [(1, "ready"), (2, "ready"), (3, "revoked"), (4, "ready")]
    assert await here.take("PE", "all") == ["CL:named", "CL:both", "CL:all"]


async def test_a_group_lost_takes_what_any_version_had_from_it(here: Region) -> None:
    """Named at first, in the group by the latest version: when the group is left, neither version stays."""
    await a_group(here)
    await here.send("CL", "v-1", to("PE"))
    await here.send("CL", "v-2", GROUPED, supersedes="CL:v-1")
    await leaves(here)

    assert await tombstones(here, "PE") == [(1, "revoked"), (2, "revoked")]


async def test_a_suspended_member_keeps_its_deliveries(here: Region) -> None:
    """Its doors are closed and its leases end; nothing accepted meanwhile is for it; then it goes on, decided anew."""
    await a_group(here)
    await here.send("CL", "leased", GROUPED)
    (leased,) = await here.lease("PE", "all")
    await here.send("CL", "waiting", GROUPED)
    await here.send("CL", "barred", to("PE"))
    token = await here.token("PE")
    await administer.set_active(here.hub.ledger, "PE", False, here.clock())
    await here.send("CL", "meanwhile", GROUPED)
    await here.send("CL", "barred-2", to("AR"), supersedes="CL:barred")
    await here.send("CL", "waiting-2", GROUPED, supersedes="CL:waiting")

    for method, path in (("POST", "/v1/queues/all/lease"), ("GET", "/v1/messages"), ("GET", "/v1/queues")):
        refused = await here.http.request(method, path, json={}, headers={"authorization": f"Bearer {token}"})
        assert refused.status_code in (401, 403), (path, refused.text)
    await administer.set_active(here.hub.ledger, "PE", True, here.clock())
    here._tokens.clear()

    assert await tombstones(here, "PE") == [(1, "ready"), (2, "ready"), (3, "revoked"), (4, "ready")]
    (stale,) = await here.settle("PE", "all", {"lease_id": leased["lease_id"], "outcome": "accept"})
    assert stale["status"] == 409
    first, second, notice = await here.take("PE", "all")
    assert (first, second) == ("CL:leased", "CL:waiting")
    assert notice.startswith(f"{HUB}:"), "that `waiting` is superseded; of what superseded it not a word"
    assert not await sees(here, "PE", "CL:meanwhile")


async def test_a_suspension_ends_leases_as_a_return_does(here: Region) -> None:
    """What was withdrawn while it was leased becomes withdrawn, not ready, when the suspension ends the lease."""
    await a_group(here)
    await here.send("CL", "v-1", GROUPED)
    await here.lease("PE", "all")
    await here.withdraw("CL:v-1")
    await administer.set_active(here.hub.ledger, "PE", False, here.clock())
    await administer.set_active(here.hub.ledger, "PE", True, here.clock())

    assert [row["state"] for row in await here.index("PE", "all")] == ["withdrawn", "ready"]


async def test_removal_of_a_subscription(sqlite_here: Region) -> None:
    """Its queue is gone with all that waited; the same name begins anew and empty."""
    here = sqlite_here
    await a_group(here)
    await here.send("CL", "v-1", GROUPED)
    assert (await here.call("PE", "DELETE", "/v1/subscriptions/all")).status_code == 204
    assert (await here.call("PE", "POST", "/v1/queues/all/lease", {})).status_code == 404
    await here.subscribe("PE", "all")

    assert await here.lease("PE", "all") == []
    assert await tombstones(here, "PE") == []
    assert await sees(here, "PE", "CL:v-1")  # the right to the message was never the subscription's


async def test_expiry(here: Region) -> None:
    """At `expires_at` what waits is expired; what is leased becomes so when it returns; holders can still read it."""
    await a_group(here)
    soon = text(here.clock() + timedelta(minutes=10))
    await here.send("CL", "v-1", GROUPED, expires_at=soon)
    (leased,) = await here.lease("PE", "all", lease_seconds=3600)
    here.clock.advance(minutes=10)
    assert await here.lease("AR", "all") == []
    await here.sweep()
    here._tokens.clear()

    assert await tombstones(here, "AR") == [(1, "expired")]
    assert not await sees(here, "AR", "CL:v-1")
    (settled,) = await here.settle("PE", "all", {"lease_id": leased["lease_id"], "outcome": "release"})
    assert settled["state"] == "expired"
    assert (await here.call("PE", "GET", "/v1/messages/CL:v-1")).json()["state"] == "expired"


async def test_tombstones_show_nothing(here: Region) -> None:
    """Revoked, withdrawn and expired unseen: sequence and reason, no address, digest, kind, duty, rule or clause."""
    await a_group(here)
    await here.send("CL", "withdrawn", GROUPED)
    await here.send("CL", "barred", GROUPED)
    await here.send("CL", "expired", GROUPED, expires_at=text(here.clock() + timedelta(minutes=1)))
    await here.send("CL", "stays", to("PE"))
    await here.withdraw("CL:withdrawn")
    await here.send("CL", "barred-2", to("AR"), supersedes="CL:barred")
    here.clock.advance(minutes=1)
    await here.sweep()

    assert await tombstones(here, "PE") == [(1, "withdrawn"), (2, "revoked"), (3, "expired"), (4, "ready")]
    assert [row["reason"] for row in await here.index("PE", "all")][:3] == ["withdrawn", "revoked", "expired"]
    assert await here.take("PE", "all") == ["CL:stays"]


async def test_lists_name_only_what_one_may_see(here: Region) -> None:
    """Page by page, in either box: the sender everything it sent, a member what it may see today."""
    await a_group(here)
    for number in range(7):
        await here.send("CL", f"g-{number}", GROUPED if number % 2 else to("PE"))

    async def listed(member: str, query: str) -> list[str]:
        found, cursor = [], ""
        while True:
            page = (await here.call(member, "GET", f"/v1/messages?limit=2&{query}{cursor}")).json()
            found += [one["address"] for one in page["messages"]]
            if "next" not in page:
                return found
            cursor = f"&cursor={page['next']}"

    everything = [f"CL:g-{number}" for number in reversed(range(7))]
    assert await listed("CL", "box=sent") == everything
    assert await listed("CL", "box=received") == []
    assert await listed("PE", "box=received") == everything
    assert await listed("AR", "box=received") == everything[1::2]
    assert await listed("PE", "box=sent") == []
    await leaves(here)
    assert await listed("PE", "box=received") == everything[0::2]


# ── decided inside the transaction ──


async def test_a_leave_between_verification_and_commit_counts(postgres_here: Region) -> None:
    """The post was verified while Peru was in the group; Peru leaves before the post commits; Peru gets nothing."""
    here = postgres_here
    await a_group(here)
    async with here.hub.ledger.changing() as c:
        posted = asyncio.create_task(here.post(here.sign(here.payload("CL", "v-1", GROUPED))))
        await here.until_somebody_waits()
        await ledger_registry.leave(c, "op", "PE")
    answer = await posted

    assert answer.status_code == 201
    assert await here.index("PE", "all") == []
    assert await here.take("AR", "all") == ["CL:v-1"]
    audience = (await here.call("CL", "GET", "/v1/messages/CL:v-1/audience")).json()["members"]
    assert [one["member"] for one in audience] == ["AR"]


async def test_a_leave_while_a_lease_is_asked_for_counts(postgres_here: Region) -> None:
    """The lease began while Peru was in the group and waits for the leave to commit: nothing is handed over."""
    here = postgres_here
    await a_group(here)
    await here.send("CL", "v-1", GROUPED)
    await here.token("PE")
    async with here.hub.ledger.changing() as c:
        leased = asyncio.create_task(here.lease("PE", "all"))
        await here.until_somebody_waits()
        await ledger_registry.leave(c, "op", "PE")

    assert await leased == []


async def test_a_key_revoked_before_the_commit_signs_nothing(postgres_here: Region) -> None:
    """Verified with a good key, which is revoked before the post commits: refused."""
    here = postgres_here
    await a_group(here)
    token = here.sign(here.payload("CL", "v-1", GROUPED))
    async with here.hub.ledger.changing() as c:
        posted = asyncio.create_task(here.post(token))
        await here.until_somebody_waits()
        registry = await ledger_registry.load(c)
        kid = next(key.kid for key in registry.keys.values() if key.owner == "CL")
        await ledger_registry.revoke_key(c, kid, "lost", here.clock())

    assert [(await posted).status_code, (await posted).json()["code"]] == [403, "key"]


async def test_a_member_that_comes_back_is_not_refused_by_a_cache(here: Region) -> None:
    """Caches may lag, decisions may not: reactivated elsewhere, it may post at once."""
    await a_group(here)
    await administer.set_active(here.hub.ledger, "CL", False, here.clock())
    refused = await here.post(here.sign(here.payload("CL", "v-1", GROUPED)))
    await administer.set_active(here.hub.ledger, "CL", True, here.clock())
    accepted = await here.post(here.sign(here.payload("CL", "v-1", GROUPED)))

    assert (refused.status_code, accepted.status_code) == (403, 201)


async def test_rights_that_come_and_go_under_load(postgres_here: Region) -> None:
    """Posts, leaves and joins at once: what was decided for Peru is what the group said when each post committed."""
    here = postgres_here
    await a_group(here)

    async def flicker() -> None:
        for _ in range(15):
            await administer.leave(here.hub.ledger, "op", "PE", here.clock())
            await administer.join(here.hub.ledger, "op", "PE", here.clock())

    tokens = [here.sign(here.payload("CL", f"m-{number}", GROUPED)) for number in range(60)]
    answers, _ = await asyncio.gather(asyncio.gather(*map(here.post, tokens)), flicker())

    assert {answer.status_code for answer in answers} == {201}
    rows: list[dict[str, Any]] = await here.index("PE", "all")
    assert {row["state"] for row in rows} <= {"ready", "revoked"}
    ready = {row["message"] for row in rows if row["state"] == "ready"}
    assert set(await here.take("PE", "all")) == ready
    assert len(await here.index("AR", "all")) == 60
