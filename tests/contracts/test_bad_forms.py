"""A message in another form than the compact or the flattened one of ours: refused by name, and what is the same is the same."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from broker import jws
from tests.contracts.test_bad_signatures import honest, now
from tests.contracts.test_bad_signatures import hub as hub
from tests.forge import flattened, malleated, messages, octets_of, refusals, refused, token, untouched
from tests.region import Region, new_key

# --- forms -------------------------------------------------------------------------------------------------------


def _padded(compact: str) -> str:
    return ".".join(part + "=" * (-len(part) % 4) for part in compact.split("."))


def _stray_bits(compact: str) -> str:
    """The last letter of a 64-octet signature has four bits that nobody needs."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return compact[:-1] + letters[letters.index(compact[-1]) ^ 1]


def _standard(compact: str) -> str:
    protected, payload, _ = compact.split(".")
    plus = base64.b64encode(b"\xfb\xff" * 32).decode().rstrip("=")
    return f"{protected}.{payload}.{plus}"


@pytest.mark.parametrize(
    "mangle",
    [
        _padded,
        _stray_bits,
        _standard,
        lambda c: c[:40] + "\n" + c[40:],
        lambda c: c[:40] + " " + c[40:],
        lambda c: c.replace(".", " ."),
        lambda c: c + "\0",
        lambda c: c[:-1] + "é",
        lambda c: "\ufeff" + c,
        lambda c: c[:30] + "%2B" + c[30:],
        lambda c: f'"{c}"',
    ],
    ids=[
        "padding",
        "stray-bits",
        "standard-alphabet",
        "line-break",
        "space",
        "spaced-dots",
        "nul",
        "accent",
        "bom",
        "percent",
        "quotes",
    ],
)
async def test_base64url_in_another_dress(hub: Region, mangle: Any) -> None:
    """RFC 7515 §2: one spelling for one octet string, so that a digest names one token."""
    refused(await hub.post(mangle(hub.sign(hub.payload("CL", "bad"))).encode()), 400, "malformed", "base64url")


@pytest.mark.parametrize(
    "form", ["", ".", "..", "a.b", "a.b.c.d", "a.b.c.d.e", "....", "a..c", ".b.c", "a.b.", "x" * 300]
)
async def test_what_is_no_compact_form(hub: Region, form: str) -> None:
    """Five parts would be encrypted, two unsecured."""
    refused(await hub.post(form), 400, "malformed", "compact-form")


@pytest.mark.parametrize(
    "change",
    [
        {"header": {"kid": "x"}},
        {"header": {}},
        {"signatures": []},
        {"payload": None},
        {"payload": 1},
        {"signature": None},
        {"extra": ""},
        {"protected": ["x"]},
    ],
    ids=lambda c: json.dumps(c),
)
async def test_a_flattened_form_with_anything_else(hub: Region, change: dict[str, Any]) -> None:
    """No unprotected header (RFC 7515 §7.2.2), no general form (§7.2.1), three strings."""
    body = json.dumps(flattened(hub.sign(hub.payload("CL", "bad"))) | change)

    refused(await hub.post(body, "application/jose+json"), 400, "malformed", "flattened-members")


async def test_a_flattened_form_cannot_smuggle_a_dot(hub: Region) -> None:
    """Joined together it would be a compact token: each part must be one."""
    protected, payload, signature = hub.sign(hub.payload("CL", "bad")).split(".")
    for body in (
        {"protected": f"{protected}.{payload}", "payload": signature, "signature": ""},
        {"protected": protected, "payload": f"{payload}.{signature}", "signature": ""},
        {"protected": "", "payload": f"{protected}.{payload}", "signature": signature},
    ):
        refused(await hub.post(json.dumps(body), "application/jose+json"), 400, "malformed", "compact-form")


async def test_a_flattened_form_with_a_member_twice(hub: Region) -> None:
    body = json.dumps(flattened(hub.sign(hub.payload("CL", "bad"))))
    twice = body[:-1] + ', "payload": "e30"}'

    refused(await hub.post(twice, "application/jose+json"), 400, "malformed", "duplicate-member")


# --- the same message in other clothes ---------------------------------------------------------------------------


async def test_compact_and_flattened_are_the_same(anew: Region) -> None:
    """Promise 3: the same octets signed, the same receipt, whichever form came first."""
    compact = anew.sign(anew.payload("CL", "forms"))
    first = await anew.post(json.dumps(flattened(compact)), "application/jose+json")
    second = await anew.post(compact)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    (delivery,) = [d for d in await anew.lease("PE") if d["message"] == compact]
    assert delivery["message"] == compact


async def test_the_other_signature_of_es256_is_a_repeat(fresh: Region) -> None:
    """(r, n - s) verifies too, and is no event: sameness is judged on the payload."""
    await fresh.enrol("MX", alg="ES256")
    compact = fresh.sign(fresh.payload("MX", "m-1"))
    first = await fresh.post(compact)
    count = await messages(fresh)

    other = malleated(compact)
    second = await fresh.post(other)

    assert other != compact
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert await messages(fresh) == count
    assert [d["message"] for d in await fresh.lease("PE")][-1] == compact


async def test_signing_the_same_again_is_a_repeat(anew: Region) -> None:
    """Another iat, another signature, another key of the same member: the same payload."""
    payload = anew.payload("CL", "again")
    first = await anew.post(anew.sign(payload))
    second_key = new_key("ES256")
    await anew.enrol_key("CL", second_key)

    answers = [
        await anew.post(anew.sign(payload, iat=now(anew) - 60)),
        await anew.post(anew.sign(payload, key=second_key)),
    ]

    assert [a.status_code for a in answers] == [200, 200]
    assert all(a.json() == first.json() for a in answers)


async def test_a_repeat_needs_a_signature_too(fresh: Region) -> None:
    """Who only knows the payload does not get the receipt."""
    payload = fresh.payload("CL", "mine")
    assert (await fresh.post(fresh.sign(payload))).status_code == 201
    async with untouched(fresh, kept=1):  # the neighbour's own signature held
        stranger = await fresh.post(fresh.sign(payload, key=new_key()))
        neighbour = await fresh.post(fresh.sign(payload, key=fresh.keys["PE"]))
        forged = await fresh.post(token(honest(fresh), payload, fresh.keys["PE"]))

    refused(stranger, 401, "signature", "key-unknown")
    refused(neighbour, 403, "key", "key-of-another-member")
    refused(forged, 401, "signature", "signature")


async def test_the_same_address_with_another_payload_is_a_conflict_with_evidence(fresh: Region) -> None:
    """409, with the hub's signed statement about the two digests; the first message stays what it was."""
    first = fresh.sign(fresh.payload("CL", "c-1"))
    assert (await fresh.post(first)).status_code == 201
    other = fresh.payload("CL", "c-1")
    other["body"]["subject"] = "Something else"
    second = fresh.sign(other)
    async with untouched(fresh, kept=1):
        answer = await fresh.post(second)

    problem = refused(answer, 409, "conflict", "conflict", "/header/id")
    refusal = jws.read(problem["refusal"].encode(), typ=jws.TYP_REFUSAL)
    jws.verify(refusal, jws.public_jwk(fresh.hub.key))
    claims = jws.claims(refusal)
    assert claims.keys() == {"message", "digest", "stored_digest", "at", "rule"}
    assert (claims["message"], claims["rule"]) == ("CL:c-1", "conflict")
    assert (claims["digest"], claims["stored_digest"]) == (jws.digest(second), jws.digest(first))
    assert (await fresh.call("CL", "GET", "/v1/messages/CL:c-1")).json()["message"] == first
    assert (await refusals(fresh))[-1] == ("CL", "conflict", "conflict")


async def test_one_space_more_is_a_conflict(anew: Region) -> None:
    """Signatures cover octets: the same JSON in other octets is another payload."""
    payload = anew.payload("CL", "c-2")
    assert (await anew.post(anew.sign(payload))).status_code == 201

    refused(await anew.post(anew.sign(octets_of(payload), "CL")), 409, "conflict", "conflict")
