"""Promise 3. A duplicate is not an event: the same message twice gives the same receipt. The same address with another
payload is a conflict (409), never an update. Same means: same originator, id and decoded payload octets, under any
signature of that originator that verifies, compact or flattened.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import func, select

from broker import administer, jws, members
from broker.app import make_app
from broker.clock import text
from broker.hub import Hub
from broker.ledger import open_ledger
from broker.ledger import tables as t
from broker.submit import accept_batch
from tests.region import Region, new_key, region, to

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def malleated(compact: str) -> str:
    """The other ES256 signature over the same octets: (r, n - s)."""
    head, payload, signature = compact.split(".")
    octets = jws.unb64(signature)
    s = P256_ORDER - int.from_bytes(octets[32:], "big")
    return ".".join((head, payload, jws.b64(octets[:32] + s.to_bytes(32, "big"))))


def flattened(compact: str) -> str:
    head, payload, signature = compact.split(".")
    return json.dumps({"protected": head, "payload": payload, "signature": signature})


async def rows_in(here: Region) -> dict[str, int]:
    async with here.hub.ledger.reading() as c:
        tables = (t.messages, t.deliveries, t.audience, t.refusals)
        return {
            table.name: int((await c.execute(select(func.count()).select_from(table))).scalar_one()) for table in tables
        }


async def post_batch(here: Region, *tokens: str) -> list[dict[str, Any]]:
    kind = {"content-type": "application/x-ndjson"}
    lines = [token if token.startswith("{") else json.dumps(token) for token in tokens]
    answer = await here.http.post("/v1/messages/batch", content="\n".join(lines), headers=kind)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_any_signature_over_the_same_octets_is_the_same_message(here: Region) -> None:
    """The same token, one signed anew, one malleated, one flattened: one receipt, one delivery, nothing refused."""
    await here.enrol("CL", alg="ES256")
    await here.enrol("PE")
    payload = json.dumps(here.payload("CL", "a-1"), ensure_ascii=False).encode()
    first = here.sign(payload, "CL")
    anew = here.sign(payload, "CL", iat=int(here.clock().timestamp()) - 60)
    assert len({first, anew, malleated(first)}) == 3
    accepted = await here.post(first)
    assert accepted.status_code == 201
    before = await rows_in(here)

    answers = [await here.post(token) for token in (first, anew, malleated(first), f" {anew}\n")]
    answers += [await here.post(flattened(token), "application/jose+json") for token in (first, malleated(anew))]

    assert [answer.status_code for answer in answers] == [200] * 6
    assert [answer.json() for answer in answers] == [accepted.json()] * 6
    assert await rows_in(here) == before
    (delivery,) = await here.lease("PE")
    assert delivery["message"] == first


async def test_a_repeat_under_another_key_of_the_same_member(here: Region) -> None:
    """Signed with a second key, of another algorithm: still the same message."""
    await here.enrol("CL", "PE")
    payload = json.dumps(here.payload("CL", "a-1")).encode()
    accepted = await here.post(here.sign(payload, "CL"))
    await here.enrol("AR", alg="ES256")
    await here.enrol_key("CL", other := new_key("ES256"))

    again = await here.post(here.sign(payload, "CL", key=other))
    foreign = await here.post(here.sign(payload, "AR"))

    assert (again.status_code, again.json()) == (200, accepted.json())
    assert (foreign.status_code, foreign.json()["code"]) == (403, "key")


@pytest.mark.parametrize("end", ["revoked", "expired", "suspended", "too old"])
async def test_a_repeat_is_answered_right_after_the_signature(sqlite_here: Region, end: str) -> None:
    """Even if the key has since expired or been revoked, or the signing time is long past: nothing new is accepted.
    A conflict under the same circumstances is the plain refusal, and no signed one is made."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    token = here.sign(here.payload("CL", "a-1"))
    other = here.sign(here.payload("CL", "a-1", case="other"))
    accepted = await here.post(token)
    kid = jws.thumbprint(jws.public_jwk(here.keys["CL"]))
    if end == "revoked":
        await administer.revoke(here.hub.ledger, kid, "lost", here.clock())
    elif end == "expired":
        await rotate(here, "CL")
        here.clock.advance(days=2)
    elif end == "suspended":
        await administer.set_active(here.hub.ledger, "CL", False, here.clock())
    else:
        here.clock.advance(days=8)

    again, conflict = await here.post(token), await here.post(other)

    assert (again.status_code, again.json()) == (200, accepted.json())
    codes = {"revoked": "key", "expired": "key", "suspended": "member-suspended", "too old": "signing-time"}
    assert conflict.json()["code"] == codes[end]
    assert "refusal" not in conflict.json()


async def rotate(here: Region, member: str) -> None:
    token = members.make_key_rotation(member, here.keys[member], new_key(), text(here.clock()))
    registry = await administer.snapshot(here.hub.ledger)
    request = members.read_key_rotation(token.encode(), registry, here.clock())
    await administer.enrol(here.hub.ledger, request, here.clock())


async def test_repeats_inside_one_batch(here: Region) -> None:
    """The second of two equal lines is a repeat of the first, and a third with other content is a conflict."""
    await here.enrol("CL", alg="ES256")
    await here.enrol("PE")
    payload = here.payload("CL", "a-1")
    first = here.sign(payload)
    other = here.sign(payload | {"body": payload["body"] | {"subject": "Another one"}})

    answers = await post_batch(here, first, malleated(first), other, flattened(first), here.sign(payload))

    assert [answer["status"] for answer in answers] == [201, 200, 409, 200, 200]
    assert len({answer["receipt"] for answer in answers if "receipt" in answer}) == 1
    assert (await rows_in(here)) == {"messages": 1, "deliveries": 1, "audience": 1, "refusals": 1}


async def test_twenty_at_once_are_one(here: Region) -> None:
    """Twenty posts of the same message at the same moment: one 201, nineteen 200, one and the same receipt."""
    await here.enrol("CL", alg="ES256")
    await here.enrol("PE")
    payload = here.payload("CL", "a-1")
    tokens = [here.sign(payload) for _ in range(10)]
    tokens += [malleated(token) for token in tokens]

    answers = await asyncio.gather(*map(here.post, tokens))

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["receipt"] for answer in answers}) == 1
    winner = next(token for token, answer in zip(tokens, answers, strict=True) if answer.status_code == 201)
    (delivery,) = await here.lease("PE")
    assert delivery["message"] == winner


async def test_concurrent_conflicts_have_one_winner(here: Region) -> None:
    """Ten payloads under one address at the same moment, each posted twice: one is accepted, the others are refused."""
    await here.enrol("CL", "PE")
    payloads = [here.payload("CL", "a-1", case=f"case-{number}") for number in range(10)]
    tokens = [here.sign(payload) for payload in payloads] * 2

    answers = await asyncio.gather(*map(here.post, tokens))

    assert sorted(answer.status_code for answer in answers) == [200, 201] + [409] * 18
    assert (await rows_in(here)) == {"messages": 1, "deliveries": 1, "audience": 1, "refusals": 18}
    winner = next(token for token, answer in zip(tokens, answers, strict=True) if answer.status_code == 201)
    assert [d["message"] for d in await here.lease("PE")] == [winner]


async def test_two_gateways_accept_a_message_once(postgres_url: str) -> None:
    """Gateways share nothing but the ledger: whichever is first, the other answers with the same receipt."""
    async with region(postgres_url) as here:
        await here.enrol("CL", "PE")
        other = Hub(open_ledger(postgres_url), here.hub.language, here.hub.key, here.hub.public_url, here.clock)
        app = make_app(other)
        payloads = [here.payload("CL", f"a-{number}") for number in range(25)]
        tokens = [here.sign(payload).encode() for payload in payloads]
        elsewhere = [accept_batch(other, app.state.committer, [token]) for token in tokens]
        answers, outcomes = await asyncio.gather(
            asyncio.gather(*(here.post(token) for token in tokens)), asyncio.gather(*elsewhere)
        )
        await app.state.committer.close()
        await other.ledger.close()

        for answer, (outcome,) in zip(answers, outcomes, strict=True):
            assert not isinstance(outcome, Exception)
            assert {answer.status_code, 200 if outcome.repeat else 201} == {200, 201}
            assert answer.json()["receipt"] == outcome.receipt
        assert (await rows_in(here))["deliveries"] == 25


async def test_a_conflict_is_signed_and_kept(here: Region) -> None:
    """The refusal names both digests under the hub's signature; what is kept of it is digest, rule and member."""
    await here.enrol("CL", "PE")
    await here.enrol("operator:olga")
    payload = here.payload("CL", "a-1")
    first, other = here.sign(payload), here.sign(payload | {"body": payload["body"] | {"subject": "Geheim"}})
    await here.post(first)

    answer = await here.post(other)

    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    token = jws.read(answer.json()["refusal"].encode(), typ=jws.TYP_REFUSAL)
    jws.verify(token, jws.public_jwk(here.hub.key))
    claims = jws.claims(token)
    assert claims.keys() == {"message", "digest", "stored_digest", "at", "rule"}
    assert (claims["message"], claims["digest"], claims["stored_digest"]) == (
        "CL:a-1",
        jws.digest(other),
        jws.digest(first),
    )
    async with here.hub.ledger.reading() as c:
        (kept,) = (await c.execute(select(t.refusals))).mappings().all()
    assert (kept["member"], kept["digest"], kept["code"]) == ("CL", jws.digest(other), "conflict")
    assert kept["jws"] == answer.json()["refusal"]
    assert [d["message"] for d in await here.lease("PE")] == [first]
    shown = (await here.call("operator:olga", "GET", "/v1/admin/refusals")).json()["refusals"]
    assert [(one["member"], one["rule"]) for one in shown] == [("CL", "conflict")]


async def test_white_space_makes_another_message(sqlite_here: Region) -> None:
    """Sameness is of octets: the same JSON spelled differently is a conflict, never an update."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    payload = here.payload("CL", "a-1", to("PE"))
    await here.post(here.sign(json.dumps(payload).encode(), "CL"))

    answer = await here.post(here.sign(json.dumps(payload, indent=1).encode(), "CL"))

    assert answer.status_code == 409


async def test_an_address_is_taken_for_ever(sqlite_here: Region) -> None:
    """Withdrawn, superseded or expired, an address stays what it was: a repeat is a repeat, another is a conflict."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    old = here.payload("CL", "a-1", expires_at="2099-01-01T00:00:00Z")
    first = await here.post(here.sign(old))
    await here.send("CL", "a-2", supersedes="CL:a-1")
    await here.withdraw("CL:a-2")

    assert (await here.post(here.sign(old))).json() == first.json()
    assert (await here.post(here.sign(here.payload("CL", "a-1")))).status_code == 409
    assert (await here.post(here.sign(old | {"header": old["header"] | {"originator": "PE"}}, "PE"))).status_code == 201
