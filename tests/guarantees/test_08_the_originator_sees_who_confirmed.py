"""Promise 8: the originator sees who has not confirmed a correction, and a confirmation only goes forward."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from broker import acknowledge, administer, jws
from broker.clock import text
from broker.tokens import Caller
from tests.guarantees.test_08_a_correction_reaches_everybody import four
from tests.region import Region, address_of, payload_of, to


async def test_the_originator_sees_who_has_not_confirmed(here: Region) -> None:
    """Of each version: who has it, how far it came, and what was signed; one line a member, however many queues."""
    await four(here)
    await here.send("CL", "v-1", to("PE", "AR", "BZ"))
    (first, *_) = await here.lease("PE", "one")
    await here.acknowledge("PE", "CL:v-1", "read", first["message"])
    await here.take("AR", "one")

    async def confirmed(address: str) -> dict[str, tuple[str, list[str]]]:
        shown = (await here.call("CL", "GET", f"/v1/messages/{address}/deliveries")).json()["recipients"]
        return {one["member"]: (one["state"], [a["state"] for a in one["acknowledgements"]]) for one in shown}

    assert await confirmed("CL:v-1") == {"PE": ("leased", ["read"]), "AR": ("settled", []), "BZ": ("ready", [])}
    await here.send("CL", "v-2", to("PE", "AR", "BZ"), supersedes="CL:v-1")
    assert await confirmed("CL:v-2") == {"PE": ("ready", []), "AR": ("ready", []), "BZ": ("ready", [])}
    withdrawal = await here.withdraw("CL:v-2")
    assert await confirmed(withdrawal) == {"PE": ("ready", []), "AR": ("ready", [])}
    await here.take("AR", "one")
    await here.acknowledge("AR", withdrawal, "acted")
    assert await confirmed(withdrawal) == {"PE": ("ready", []), "AR": ("settled", ["acted"])}
    signed = (await here.call("CL", "GET", f"/v1/messages/{withdrawal}/deliveries")).json()["recipients"]
    kept = next(one for one in signed if one["member"] == "AR")["acknowledgements"][0]["acknowledgement"]
    jws.verify(jws.read(kept.encode(), typ=jws.TYP_ACKNOWLEDGEMENT), jws.public_jwk(here.keys["AR"]))


async def test_a_sender_is_told_who_has_not_acknowledged_in_time(here: Region) -> None:
    """Once, after `acknowledge_by`, naming those without any acknowledgement; not about what was withdrawn."""
    await four(here)
    by = text(here.clock() + timedelta(hours=1))
    await here.send("CL", "late", to("PE", "AR", "BZ"), acknowledge_by=by)
    await here.send("CL", "good", to("AR"), acknowledge_by=by)
    await here.send("CL", "void", to("AR"), acknowledge_by=by)
    for delivery in await here.lease("AR", "one"):
        assert (await here.acknowledge("AR", address_of(delivery["message"]), compact=delivery["message"])).is_success
    await here.send("CL", "gone", to("PE"), acknowledge_by=by)
    await here.withdraw("CL:gone")
    await here.sweep()
    assert await here.index("CL") == []
    here.clock.advance(hours=1)
    here._tokens.clear()
    for _ in range(2):
        await here.sweep()

    (notice,) = await here.lease("CL")
    told = payload_of(notice["message"])
    assert (notice["rule"], told["header"]["originator"]) == ("notice", "hub")
    assert (told["body"]["event"], told["body"]["about"]) == ("not-acknowledged", "CL:late")
    assert told["body"]["members"] == ["BZ", "PE"]
    jws.verify(jws.read(notice["message"].encode(), typ=jws.TYP_MESSAGE), jws.public_jwk(here.hub.key))


async def test_a_notice_to_a_sender_follows_its_filters(sqlite_here: Region) -> None:
    """The inbox takes a hub notice only where no other subscription of its own matched."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.subscribe("CL", "notices", {"any": [{"kind": ["notice"], "originator": ["hub"]}]})
    await here.send("CL", "late", acknowledge_by=text(here.clock() + timedelta(hours=1)))
    here.clock.advance(hours=1)
    await here.sweep()
    here._tokens.clear()

    assert [d["rule"] for d in await here.lease("CL", "notices")] == ["notice"]
    assert await here.index("CL") == []


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["received", "read", "acted"], [200, 200, 200]),
        (["acted", "read", "received"], [200, 409, 409]),
        (["read", "received", "read", "acted"], [200, 409, 200, 200]),
        (["received", "refused", "read", "acted", "refused"], [200, 200, 409, 409, 200]),
        (["read", "refused", "received"], [200, 200, 409]),
        (["acted", "refused"], [200, 409]),
        (["seen"], [422]),
    ],
)
async def test_the_order_of_states(sqlite_here: Region, steps: list[str], expected: list[int]) -> None:
    """received < read < acted; refused may follow received or read; refused and acted are final; never back."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")
    (delivery,) = await here.lease("PE")
    answers = []
    for step in steps:
        reason = {"reason": "not ours"} if step == "refused" else {}
        answers.append(await here.acknowledge("PE", "CL:a-1", step, delivery["message"], **reason))
        here.clock.advance(seconds=1)

    assert [answer.status_code for answer in answers] == expected


async def test_the_same_acknowledgement_again_gets_the_first_answer(here: Region) -> None:
    """One after the other or ten at once: one record, one answer."""
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")
    (delivery,) = await here.lease("PE")
    compact = delivery["message"]
    first = await here.acknowledge("PE", "CL:a-1", "received", compact)
    here.clock.advance(seconds=30)

    answers = await asyncio.gather(*(here.acknowledge("PE", "CL:a-1", "read", compact) for _ in range(10)))
    again = await here.acknowledge("PE", "CL:a-1", "received", compact)

    assert (again.status_code, again.json()) == (200, first.json())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    (known,) = (await here.call("CL", "GET", "/v1/messages/CL:a-1/deliveries")).json()["recipients"]
    assert [a["state"] for a in known["acknowledgements"]] == ["received", "read"]


async def test_two_final_states_at_once(here: Region) -> None:
    """Acted and refused exclude each other, also when they arrive together."""
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")
    (delivery,) = await here.lease("PE")
    wanted = ["acted", "refused"] * 4

    answers = await asyncio.gather(
        *(here.acknowledge("PE", "CL:a-1", state, delivery["message"], reason="no") for state in wanted)
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [409] * 4
    (known,) = (await here.call("CL", "GET", "/v1/messages/CL:a-1/deliveries")).json()["recipients"]
    assert len(known["acknowledgements"]) == 1


@pytest.mark.parametrize(("second", "status"), [("acted", 200), ("refused", 409), ("read", 409)])
async def test_an_acknowledgement_waits_for_the_one_before(postgres_here: Region, second: str, status: int) -> None:
    """Acted is being recorded when the next one comes: that one is judged by it."""
    here = postgres_here
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")
    (delivery,) = await here.lease("PE")
    digest = jws.digest(delivery["message"])
    claims = {"message": "CL:a-1", "digest": digest, "at": text(here.clock()), "state": "acted"}
    acted = jws.sign_claims(claims, here.keys["PE"], typ=jws.TYP_ACKNOWLEDGEMENT)
    kid = jws.thumbprint(jws.public_jwk(here.keys["PE"]))
    await here.token("PE")
    async with here.hub.ledger.accepting() as c:
        registry = await here.hub.registry(c)
        caller = Caller("PE", kid, "api", here.clock() + timedelta(minutes=5))
        await acknowledge.record(c, registry, caller, "CL:a-1", acted.encode(), here.clock())
        posted = asyncio.create_task(here.acknowledge("PE", "CL:a-1", second, delivery["message"], reason="no"))
        await here.until_somebody_waits()

    assert (await posted).status_code == status


@pytest.mark.parametrize("after", ["withdrawal", "expiry", "amendment", "leave"])
async def test_a_holder_may_confirm_what_has_ended(here: Region, after: str) -> None:
    """After withdrawal, expiry, amendment or the loss of its right: accepted, and the delivery's final state stays."""
    await four(here)
    await here.group("op", "CL", "AR")
    soon = text(here.clock() + timedelta(minutes=1))
    await here.send("CL", "a-1", {"groups": ["op"]}, **({"expires_at": soon} if after == "expiry" else {}))
    (delivery,) = await here.lease("AR", "one")
    await here.settle("AR", "one", {"lease_id": delivery["lease_id"], "outcome": "release"})
    if after == "withdrawal":
        await here.withdraw("CL:a-1")
    elif after == "expiry":
        here.clock.advance(minutes=1)
        await here.sweep()
    elif after == "amendment":
        await here.send("CL", "a-2", to("PE"), supersedes="CL:a-1")
    else:
        await administer.leave(here.hub.ledger, "op", "AR", here.clock())
    before = await here.index("AR", "one")

    answer = await here.acknowledge("AR", "CL:a-1", "acted", delivery["message"])

    assert answer.status_code == 200
    assert await here.index("AR", "one") == before
    (known,) = (await here.call("CL", "GET", "/v1/messages/CL:a-1/deliveries")).json()["recipients"]
    assert [a["state"] for a in known["acknowledgements"]] == ["acted"]


async def test_who_never_had_it_cannot_confirm_it(sqlite_here: Region) -> None:
    """A member with a delivery that waits, one without, and one for whom nothing exists: the same 404."""
    here = sqlite_here
    await four(here)
    compact = here.sign(here.payload("CL", "a-1", to("PE", "AR")))
    await here.post(compact)
    await here.lease("PE", "one")

    for member, address in (("AR", "CL:a-1"), ("BZ", "CL:a-1"), ("BZ", "CL:unknown"), ("CL", "CL:a-1")):
        assert (await here.acknowledge(member, address, compact=compact)).status_code == 404
    assert (await here.acknowledge("PE", "CL:a-1", compact=compact)).status_code == 200
    assert (await here.acknowledge("PE", "CL:a-1", "acted", compact=compact + "x")).status_code == 422
    nameless = await here.acknowledge("PE", "CL:a-1", "refused", compact)
    assert (nameless.status_code, nameless.json()["errors"][0]["pointer"]) == (422, "/reason")
