"""Promise 6: a revoked key signs nothing from the moment of revocation; what it signed before stays verifiable."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from broker import administer, jws, members
from broker.clock import text
from broker.errors import BrokerError, KeyRefused
from broker.ledger import open_ledger
from tests.forge import messages, refusals, refused, untouched
from tests.region import Region, new_key, to


@pytest.fixture
async def three(here: Region) -> Region:
    await here.enrol("CL", "PE", "AR")
    return here


def kid(key: jws.PrivateKey) -> str:
    return jws.thumbprint(jws.public_jwk(key))


async def revoke(here: Region, owner: str) -> jws.PrivateKey:
    """Revoke the owner's key at once. Returns it."""
    await administer.revoke(here.hub.ledger, kid(here.keys[owner]), "stolen", here.clock())
    return here.keys[owner]


async def expire(here: Region, owner: str) -> jws.PrivateKey:
    """Give the owner another key by rotation, and let the old one's overlap pass. Returns the old one."""
    old, new = here.keys[owner], new_key()
    async with here.hub.ledger.reading() as c:
        registry = await here.hub.registry(c)
    rotation = members.make_key_rotation(owner, old, new, text(here.clock()))
    await administer.enrol(
        here.hub.ledger, members.read_key_rotation(rotation.encode(), registry, here.clock()), here.clock()
    )
    here.keys[owner] = new
    here.clock.advance(days=1, seconds=1)
    return old


WAYS = [pytest.param(revoke, "key-revoked", id="revoked"), pytest.param(expire, "key-expired", id="expired")]


@pytest.mark.parametrize(("end", "rule"), WAYS)
async def test_nothing_new_is_accepted_under_it(three: Region, end: Any, rule: str) -> None:
    """Singly, in a batch, in a check, whatever time the signature claims; the refusal is kept, for the signature held."""
    before = [three.sign(three.payload("CL")) for _ in range(2)]  # signed in good time, posted too late
    key = await end(three, "CL")
    now = int(three.clock().timestamp())
    tokens = [
        *before,
        *(three.sign(three.payload("CL"), key=key, iat=now + shift) for shift in (0, -3600, 200, -86_400)),
    ]
    for token in tokens:
        async with untouched(three, kept=1):
            refused(await three.post(token), 403, "key", rule, "/kid")
    async with untouched(three, kept=len(tokens)):
        answer = await three.http.post(
            "/v1/messages/batch",
            content="\n".join(map(json.dumps, tokens)),
            headers={"content-type": "application/x-ndjson"},
        )
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["status"], line["problem"]["errors"][0]["rule"]) for line in lines] == [(403, rule)] * len(tokens)


@pytest.mark.parametrize(("end", "rule"), WAYS)
async def test_a_repeat_under_it_still_gets_its_receipt(three: Region, end: Any, rule: str) -> None:
    """Nothing new is accepted by it: who lost the answer may still fetch it, with the very same token or a new one."""
    payload = three.payload("CL", "a-1")
    token = three.sign(payload)
    first = await three.post(token)
    key = await end(three, "CL")
    async with untouched(three, kept=0):
        same = await three.post(token)
        signed_again = await three.post(three.sign(payload, key=key))

    assert (first.status_code, same.status_code, signed_again.status_code) == (201, 200, 200)
    assert same.json() == signed_again.json() == first.json()


@pytest.mark.parametrize(("end", "rule"), WAYS)
async def test_a_conflict_under_it_is_the_plain_refusal_of_the_key(three: Region, end: Any, rule: str) -> None:
    """No signed refusal, no digest of what is stored: a stolen key learns nothing about an address."""
    await three.send("CL", "a-1")
    key = await end(three, "CL")
    other = three.payload("CL", "a-1")
    other["body"]["subject"] = "Something else"
    async with untouched(three, kept=1):
        answer = await three.post(three.sign(other, key=key))

    problem = refused(answer, 403, "key", rule, "/kid")
    assert "refusal" not in problem
    assert (await refusals(three))[-1] == ("CL", "key", rule)


async def test_a_revocation_elsewhere_counts_here_at_once(three: Region) -> None:
    """Another process revoked it: this gateway's snapshot is old, its decisions are not, conflicts included."""
    await three.send("CL", "a-1")
    conflict = three.payload("CL", "a-1")
    conflict["body"]["subject"] = "Something else"
    elsewhere = open_ledger(three.hub.ledger.url)
    try:
        await administer.revoke(elsewhere, kid(three.keys["CL"]), "stolen", three.clock())
    finally:
        await elsewhere.close()
    async with untouched(three, kept=2):
        answers = [await three.post(three.sign(conflict)), await three.post(three.sign(three.payload("CL", "a-2")))]

    for answer in answers:
        refused(answer, 403, "key", "key-revoked", "/kid")


async def test_a_suspension_elsewhere_counts_here_at_once_and_so_does_its_end(three: Region) -> None:
    elsewhere = open_ledger(three.hub.ledger.url)
    try:
        await three.send("CL", "a-1")
        await administer.set_active(elsewhere, "CL", False, three.clock())
        refused(await three.post(three.sign(three.payload("CL", "a-2"))), 403, "member-suspended")
        await administer.set_active(elsewhere, "CL", True, three.clock())
        assert (await three.post(three.sign(three.payload("CL", "a-3")))).status_code == 201
    finally:
        await elsewhere.close()


async def test_of_posts_that_race_with_the_revocation_each_is_before_or_after(three: Region) -> None:
    """What has a receipt was accepted before the revocation; nothing is accepted after it, and nothing in between."""
    tokens = [three.sign(three.payload("CL", f"race-{n}")) for n in range(40)]

    async def end() -> None:
        await asyncio.sleep(0)
        await administer.revoke(three.hub.ledger, kid(three.keys["CL"]), "stolen", three.clock())

    answers = await asyncio.gather(
        *(three.post(token) for token in tokens[:20]), end(), *(three.post(token) for token in tokens[20:])
    )

    posted = [answer for answer in answers if answer is not None]
    assert {answer.status_code for answer in posted} <= {201, 403}
    assert await messages(three) == sum(answer.status_code == 201 for answer in posted)
    async with untouched(three, kept=1):
        refused(await three.post(three.sign(three.payload("CL", "after"))), 403, "key", "key-revoked")


async def test_it_acknowledges_nothing(three: Region) -> None:
    """By a token of the member's other key, a statement under the revoked one is refused."""
    await three.send("CL", "a-1", to("PE"))
    (delivery,) = await three.lease("PE")
    old, new = three.keys["PE"], new_key()
    await three.enrol_key("PE", new)
    await revoke(three, "PE")
    three.keys["PE"] = new
    three._tokens.clear()
    claims = {
        "message": "CL:a-1",
        "digest": jws.digest(delivery["message"]),
        "at": text(three.clock()),
        "state": "read",
    }
    statement = jws.sign_claims(claims, old, typ=jws.TYP_ACKNOWLEDGEMENT)

    answer = await three.call("PE", "POST", "/v1/messages/CL:a-1/acknowledgement", statement)
    (settled,) = await three.settle(
        "PE", "inbox", {"lease_id": delivery["lease_id"], "outcome": "accept", "acknowledgement": statement}
    )

    refused(answer, 403, "key", "key-revoked", "/kid")
    assert (settled["status"], settled["problem"]["errors"][0]["rule"]) == (403, "key-revoked")
    assert [row["state"] for row in await three.index("PE")] == ["leased"]


async def test_it_vouches_for_no_successor(three: Region) -> None:
    """A thief cannot rotate the stolen key into one of his own."""
    old = await revoke(three, "CL")
    async with three.hub.ledger.reading() as c:
        registry = await three.hub.registry(c)
    rotation = members.make_key_rotation("CL", old, new_key(), text(three.clock()))

    with pytest.raises(KeyRefused) as error:
        members.read_key_rotation(rotation.encode(), registry, three.clock())

    assert error.value.rule == "key-revoked"


async def test_nobody_rotates_anothers_key(three: Region) -> None:
    """The inner request, the outer signature and the claimed member must be one."""
    async with three.hub.ledger.reading() as c:
        registry = await three.hub.registry(c)
    mine, now = new_key(), text(three.clock())
    inner = members.make_key_request("CL", mine, now)
    for claims in (
        {"member": "CL", "request": inner, "at": now},
        {"member": "AR", "request": inner, "at": now},
        {"member": "CL", "request": members.make_key_request("AR", mine, now), "at": now},
    ):
        forged = jws.sign_claims(claims, three.keys["AR"], typ=jws.TYP_KEY_ROTATION)
        with pytest.raises(KeyRefused):
            members.read_key_rotation(forged.encode(), registry, three.clock())


async def test_a_key_request_is_signed_by_the_very_key(three: Region) -> None:
    """Nobody enrols a key that he does not hold, nor half a request, nor another object."""
    mine, now = new_key(), text(three.clock())
    theirs = jws.public_jwk(three.keys["PE"])
    honest: dict[str, Any] = {"member": "CL", "use": "sign", "jwk": jws.public_jwk(mine), "at": now}
    for changes in (
        {"jwk": theirs},
        {"jwk": None},
        {"jwk": {"crv": ["Ed25519"]}},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"jwk": jws.public_jwk(mine) | {"d": "AA"}},
        {"member": "cl"},
        {"member": "hub"},
        {"member": ["CL"]},
        {"use": "encrypt"},
        {"note": "x"},
    ):
        with pytest.raises(BrokerError):
            members.read_key_request(jws.sign_claims(honest | changes, mine, typ=jws.TYP_KEY_REQUEST).encode())
    with pytest.raises(BrokerError):
        members.read_key_request(jws.sign_claims(honest, mine, typ=jws.TYP_MESSAGE, iat=1).encode())
    assert members.read_key_request(jws.sign_claims(honest, mine, typ=jws.TYP_KEY_REQUEST).encode()).owner == "CL"


async def test_what_it_signed_before_stays_verifiable(three: Region) -> None:
    """Recipients still get it, octet for octet, and find the key with its window in the directory."""
    compact = three.sign(three.payload("CL", "a-1"))
    receipt = (await three.post(compact)).json()["receipt"]
    key = await revoke(three, "CL")

    (delivery,) = await three.lease("PE")

    assert delivery["message"] == compact
    directory = (await three.call("PE", "GET", "/v1/members")).json()["members"]
    (shown,) = next(m for m in directory if m["id"] == "CL")["keys"]
    assert (shown["kid"], shown["state"]) == (kid(key), "revoked")
    jws.verify(jws.read(compact.encode(), typ=jws.TYP_MESSAGE), shown["jwk"])
    accepted = jws.claims(jws.read(receipt.encode(), typ=jws.TYP_RECEIPT))["accepted_at"]
    assert shown["not_before"] <= accepted <= shown["revoked_at"]


async def test_a_revoked_key_is_never_enrolled_again(three: Region) -> None:
    """Neither for its member nor for another: a key belongs to one owner for ever."""
    key = await revoke(three, "CL")
    for owner in ("CL", "AR"):
        with pytest.raises(BrokerError) as error:
            await three.enrol_key(owner, key)

        assert error.value.rule == "key-exists"


async def test_the_other_key_goes_on(three: Region) -> None:
    """Revoking one key of two stops that one alone."""
    other = new_key("ES256")
    await three.enrol_key("CL", other)
    await revoke(three, "CL")

    assert (await three.post(three.sign(three.payload("CL", "a-1"), key=other))).status_code == 201
    refused(await three.post(three.sign(three.payload("CL", "a-2"))), 403, "key", "key-revoked")


async def test_a_key_that_expires_signs_until_then(three: Region) -> None:
    """The overlap of a rotation: what was signed and waits can still be posted for a day."""
    old = three.keys["CL"]
    async with three.hub.ledger.reading() as c:
        registry = await three.hub.registry(c)
    rotation = members.make_key_rotation("CL", old, new := new_key(), text(three.clock()))
    request = members.read_key_rotation(rotation.encode(), registry, three.clock())
    await administer.enrol(three.hub.ledger, request, three.clock())
    three.clock.ahead += timedelta(hours=23)

    assert (await three.post(three.sign(three.payload("CL", "old"), key=old))).status_code == 201
    assert (await three.post(three.sign(three.payload("CL", "new"), key=new))).status_code == 201
    three.clock.ahead += timedelta(hours=2)
    refused(await three.post(three.sign(three.payload("CL", "late"), key=old)), 403, "key", "key-expired")
    refused(
        await three.post(
            three.sign(three.payload("CL", "backdated"), key=old, iat=int(three.clock().timestamp()) - 7200)
        ),
        403,
        "key",
        "key-expired",
    )
