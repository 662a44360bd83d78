"""Everything that can be wrong with a token and its signature, each refused by name, with nothing recorded.

Every attack here is over a payload that would be accepted: only the signature stands in the way.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker import administer, jws
from tests.forge import header_of, mac, octets_of, refusals, refused, token, untouched
from tests.region import Region, new_key


@pytest.fixture
async def hub(alone: Region) -> AsyncIterator[Region]:
    """Whatever is tried, no message is recorded; a refusal is kept of who signed truly, but not as himself."""
    before = len(await refusals(alone))
    async with untouched(alone):
        yield alone
    assert {rule for _, _, rule in (await refusals(alone))[before:]} <= {"key-of-another-member", "key-use"}


def now(here: Region) -> int:
    return int(here.clock().timestamp())


def honest(here: Region, **changes: Any) -> dict[str, Any]:
    return header_of(here.keys["CL"], **{"iat": now(here), **changes})


# --- algorithms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "noNe", "none ", "", None, 0, False, [], ["Ed25519"], {}]
)
async def test_alg_none_in_any_dress(hub: Region, alg: Any) -> None:
    """RFC 8725 §3.1, §2.1: with no signature, with a true one, and with the algorithm left out."""
    header = octets_of({"alg": alg, "kid": header_of(hub.keys["CL"])["kid"], "typ": "tw-message", "iat": now(hub)})
    payload = hub.payload("CL", "bad")
    unsigned = f"{jws.b64(header)}.{jws.b64(octets_of(payload))}"

    refused(await hub.post(token(header, payload, hub.keys["CL"])), 401, "signature", "alg", "/alg")
    refused(await hub.post(f"{unsigned}."), 400, "malformed", "compact-form")
    refused(await hub.post(f"{unsigned}.AA"), 401, "signature", "alg", "/alg")


async def test_an_algorithm_left_out(hub: Region) -> None:
    answer = await hub.post(token(honest(hub, alg=None), hub.payload("CL", "bad"), hub.keys["CL"]))

    problem = refused(answer, 401, "signature", "alg", "/alg")
    assert [e["rule"] for e in problem["errors"]] == ["header-members", "alg"]


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "hs256"])
async def test_a_mac_under_the_public_key(hub: Region, alg: str) -> None:
    """RFC 8725 §2.1: the public key, in each form that a library might take for a secret."""
    public = hub.keys["CL"].public_key
    jwk = jws.public_jwk(hub.keys["CL"])
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), jws.unb64(jwk["x"]), jwk["x"].encode(), json.dumps(jwk).encode()):
        answer = await hub.post(mac(honest(hub, alg=alg), hub.payload("CL", "bad"), secret))

        refused(answer, 401, "signature", "alg", "/alg")


@pytest.mark.parametrize(
    "alg", ["RS256", "PS256", "ES384", "ES512", "ES256K", "Ed448", "ed25519", "es256", "EDDSA", "eddsa"]
)
async def test_an_algorithm_that_is_not_ours(hub: Region, alg: str) -> None:
    """A closed table, compared to the letter."""
    answer = await hub.post(token(honest(hub, alg=alg), hub.payload("CL", "bad"), hub.keys["CL"]))

    problem = refused(answer, 401, "signature", "alg", "/alg")
    assert problem["errors"][0]["allowed"] == ["Ed25519", "ES256"]


async def test_the_key_fixes_the_algorithm(hub: Region) -> None:
    """An Ed25519 key called ES256: the registry knows better (RFC 8725 §3.1)."""
    answer = await hub.post(token(honest(hub, alg="ES256"), hub.payload("CL", "bad"), hub.keys["CL"]))

    problem = refused(answer, 401, "signature", "alg-of-key", "/alg")
    assert problem["errors"][0]["allowed"] == ["Ed25519", "EdDSA"]


async def test_the_old_name_of_ed25519_is_accepted_for_such_keys(anew: Region) -> None:
    """RFC 9864 renames EdDSA; keys and libraries in the field still write it."""
    header = header_of(anew.keys["CL"], alg="EdDSA", iat=now(anew))

    assert (await anew.post(token(header, anew.payload("CL", "old-name"), anew.keys["CL"]))).status_code == 201


# --- the protected header ----------------------------------------------------------------------------------------

EXTRA: list[dict[str, Any]] = [
    {"crit": ["exp"], "exp": 1},
    {"crit": []},
    {"crit": ["b64"], "b64": False},
    {"b64": True},
    {"jku": "https://evil.example/keys"},
    {"x5u": "https://evil.example/chain"},
    {"x5c": ["MIIB"]},
    {"x5t#S256": "A" * 43},
    {"cty": "json"},
    {"zip": "DEF"},
    {"exp": 4102444800},
    {"": ""},
    {"Alg": "none"},
    {"enc": "A256GCM"},
]


@pytest.mark.parametrize("extra", EXTRA, ids=lambda e: ",".join(e))
async def test_a_header_member_that_is_not_ours(hub: Region, extra: dict[str, Any]) -> None:
    """Exactly alg, kid, typ, iat: nothing that asks to be obeyed, not even what is harmless (RFC 7515 §4.1.11)."""
    answer = await hub.post(token(honest(hub) | extra, hub.payload("CL", "bad"), hub.keys["CL"]))

    problem = refused(answer, 401, "signature", "header-members", "")
    assert problem["errors"][0]["allowed"] == ["alg", "iat", "kid", "typ"]


@pytest.mark.parametrize("with_kid", [True, False])
async def test_a_key_that_comes_along_is_not_looked_at(hub: Region, with_kid: bool) -> None:
    """`jwk`: the attacker brings the key that verifies (RFC 8725 §2.2; CVE-2018-0114)."""
    mine = new_key()
    header = header_of(mine, iat=now(hub), jwk=jws.public_jwk(mine))
    if not with_kid:
        del header["kid"]

    answer = await hub.post(token(header, hub.payload("CL", "bad"), mine))

    refused(answer, 401, "signature", "header-members")


async def test_a_header_larger_than_any_of_ours(hub: Region) -> None:
    """A whole certificate chain is not even parsed."""
    refused(
        await hub.post(token(honest(hub) | {"x5c": ["A" * 600]}, hub.payload("CL", "bad"), hub.keys["CL"])),
        413,
        "too-large",
        "too-large",
    )


@pytest.mark.parametrize("name", ["alg", "kid", "typ", "iat"])
async def test_a_header_member_that_comes_twice(hub: Region, name: str) -> None:
    """RFC 7515 §4: parsers differ on which one counts, so neither does."""
    header = octets_of(honest(hub))
    twice = header[:-1] + b"," + octets_of({name: honest(hub)[name]})[1:]

    refused(
        await hub.post(token(twice, hub.payload("CL", "bad"), hub.keys["CL"])), 400, "malformed", "duplicate-member"
    )


@pytest.mark.parametrize("name", ["kid", "typ", "iat"])
async def test_a_header_member_that_is_missing(hub: Region, name: str) -> None:
    answer = await hub.post(token(honest(hub, **{name: None}), hub.payload("CL", "bad"), hub.keys["CL"]))

    refused(answer, 401, "signature", name, f"/{name}")


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"null", b"1", b'"x"', b"{", b"\xef\xbb\xbf{}", b'{"alg":"\xff"}', b"[[[[]]]]"]
)
async def test_a_header_that_is_no_object(hub: Region, header: bytes) -> None:
    """An empty one leaves a compact token with an empty part."""
    refused(await hub.post(token(header, hub.payload("CL", "bad"), hub.keys["CL"])), 400, "malformed")


@pytest.mark.parametrize(
    "typ",
    [
        "tw-projection",
        "tw-receipt",
        "tw-refusal",
        "tw-acknowledgement",
        "tw-key-request",
        "tw-key-rotation",
        "tw-membership",
        "client-authentication+jwt",
        "at+jwt",
        "JWT",
        "tw-message ",
        "TW-MESSAGE",
        "application/tw-message",
        "",
        1,
        ["tw-message"],
    ],
)
async def test_any_other_typ_is_no_message(hub: Region, typ: Any) -> None:
    """RFC 8725 §3.11: what was signed for one purpose serves no other."""
    answer = await hub.post(token(honest(hub, typ=typ), hub.payload("CL", "bad"), hub.keys["CL"]))

    refused(answer, 401, "signature", "typ", "/typ")


@pytest.mark.parametrize(
    "typ",
    [
        jws.TYP_RECEIPT,
        jws.TYP_REFUSAL,
        jws.TYP_ACKNOWLEDGEMENT,
        jws.TYP_KEY_REQUEST,
        jws.TYP_KEY_ROTATION,
        jws.TYP_CLIENT_AUTHENTICATION,
        jws.TYP_ACCESS_TOKEN,
    ],
)
async def test_each_other_object_of_ours_posted_as_a_message(hub: Region, typ: str) -> None:
    """As it is really signed, by the member and by the hub itself."""
    for key in (hub.keys["CL"], hub.hub.key):
        problem = refused(
            await hub.post(jws.sign_claims(hub.payload("CL", "bad"), key, typ=typ)), 401, "signature", "typ"
        )

        assert {e["rule"] for e in problem["errors"]} == {"header-members", "typ", "iat"}


@pytest.mark.parametrize("iat", [1.5, 1.0, "1", True, False, [], {}, -1, 2**53 - 1, 2**40, 253_402_300_800])
async def test_a_signing_time_that_is_none(hub: Region, iat: Any) -> None:
    """Whole seconds of a year that exists: beyond the year 9999 no clock could compare it."""
    header = octets_of({**honest(hub, iat=None), "iat": iat})

    refused(await hub.post(token(header, hub.payload("CL", "bad"), hub.keys["CL"])), 401, "signature", "iat", "/iat")


async def test_a_signing_time_that_is_null_or_overflows(hub: Region) -> None:
    null = octets_of({**honest(hub, iat=None), "iat": None})
    refused(await hub.post(token(null, hub.payload("CL", "bad"), hub.keys["CL"])), 401, "signature", "iat", "/iat")
    for number in (b"1e400", b"9" * 200, b"9007199254740992"):
        huge = octets_of(honest(hub, iat=None))[:-1] + b',"iat":' + number + b"}"
        answer = await hub.post(token(huge, hub.payload("CL", "bad"), hub.keys["CL"]))

        refused(answer, 400, "malformed", "number-range")


@pytest.mark.parametrize(
    "kid", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "é", "../../etc/passwd", "' OR 1=1", 1, ["A" * 43]]
)
async def test_a_key_id_that_is_none(hub: Region, kid: Any) -> None:
    """Not a thumbprint: nothing is looked up by it."""
    header = octets_of({**honest(hub, kid=None), "kid": kid})

    refused(await hub.post(token(header, hub.payload("CL", "bad"), hub.keys["CL"])), 401, "signature", "kid", "/kid")


# --- whose key ---------------------------------------------------------------------------------------------------


async def test_a_key_that_nobody_enrolled(hub: Region) -> None:
    """A perfect signature by a stranger, in the member's name."""
    refused(await hub.post(hub.sign(hub.payload("CL", "bad"), key=new_key())), 401, "signature", "key-unknown", "/kid")


async def test_anothers_key_id_over_ones_own_signature(hub: Region) -> None:
    """Peru signs and names Chile's key."""
    answer = await hub.post(token(honest(hub), hub.payload("CL", "bad"), hub.keys["PE"]))

    refused(answer, 401, "signature", "signature")


async def test_ones_own_key_in_anothers_name(hub: Region) -> None:
    """Peru signs, truly, that it is Chile; and an operator, and the hub's own key. It is kept, in the signer's name."""
    before = len(await refusals(hub))
    for signer in (hub.keys["PE"], hub.keys["operator:ana"], hub.hub.key):
        answer = await hub.post(hub.sign(hub.payload("CL", "bad"), key=signer))

        refused(answer, 403, "key", "key-of-another-member", "/header/originator")
    assert [member for member, _, _ in (await refusals(hub))[before:]] == ["PE", "operator:ana", "hub"]


@pytest.mark.parametrize("originator", ["hub", "operator:ana", "", "XX", "cl", "CL ", "CL\u200b"])
async def test_a_name_that_the_key_does_not_have(hub: Region, originator: str) -> None:
    """The hub's notices cannot be forged by a member, nor by a name that looks like another."""
    payload = hub.payload("CL", "bad")
    payload["header"]["originator"] = originator

    refused(await hub.post(hub.sign(payload, "CL")), 403, "key", "key-of-another-member", "/header/originator")


async def test_an_operators_key_posts_nothing(hub: Region) -> None:
    """An operator signs assertions; it is no member, even in its own name."""
    payload = hub.payload("CL", "bad")
    payload["header"]["originator"] = "operator:ana"

    answer = await hub.post(hub.sign(payload, key=hub.keys["operator:ana"]))

    refused(answer, 403, "key", "key-use", "/kid")


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_one_changed_octet_anywhere(hub: Region, part: int) -> None:
    parts = hub.sign(hub.payload("CL", "bad")).split(".")
    octets = bytearray(jws.unb64(parts[part]))
    at = octets.index(b"AMBER") if part == 1 else len(octets) // 2
    octets[at] ^= 1
    parts[part] = jws.b64(bytes(octets))

    answer = await hub.post(".".join(parts))

    assert answer.status_code in (400, 401), answer.text
    if part:
        refused(answer, 401, "signature", "signature")


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 128])
async def test_a_signature_of_another_length(hub: Region, length: int) -> None:
    signed = hub.sign(hub.payload("CL", "bad")).rpartition(".")[0]

    answer = await hub.post(f"{signed}.{jws.b64(b'x' * length)}")

    refused(answer, *((401, "signature", "signature") if length else (400, "malformed", "compact-form")))


# --- when --------------------------------------------------------------------------------------------------------


async def test_signed_too_far_ahead_or_behind(anew: Region) -> None:
    """Five minutes ahead and seven days behind are the last that pass; the refusal is kept, for the signature held."""
    anew.clock.advance(days=30)  # the key was enrolled long ago
    for iat, rule in (
        (3600, "iat-ahead"),
        (310, "iat-ahead"),
        (-8 * 86_400, "iat-behind"),
        (-7 * 86_400 - 10, "iat-behind"),
    ):
        async with untouched(anew, kept=1):
            answer = await anew.post(anew.sign(anew.payload("CL"), iat=now(anew) + iat))
        refused(answer, 422, "signing-time", rule, "/iat")
    for iat in (290, -7 * 86_400 + 10):
        assert (await anew.post(anew.sign(anew.payload("CL"), iat=now(anew) + iat))).status_code == 201


@pytest.mark.parametrize("iat", [0, 1, 253_402_300_799])
async def test_the_first_and_the_last_second_sink_no_batch(fresh: Region, iat: int) -> None:
    """One line with an extreme time is that line's problem."""
    lines = [fresh.sign(fresh.payload("CL", "good")), fresh.sign(fresh.payload("CL", "bad"), iat=iat)]

    answer = await fresh.http.post(
        "/v1/messages/batch",
        content="\n".join(map(json.dumps, lines)),
        headers={"content-type": "application/x-ndjson"},
    )

    assert [json.loads(line)["status"] in (201, 403, 422) for line in answer.text.splitlines()] == [True, True]
    assert json.loads(answer.text.splitlines()[0])["status"] == 201


async def test_signed_before_the_key_was_enrolled(anew: Region) -> None:
    """A window has a beginning too; five minutes of a slow clock are forgiven."""
    assert (await anew.post(anew.sign(anew.payload("CL"), iat=now(anew) - 200))).status_code == 201
    async with untouched(anew, kept=1):
        answer = await anew.post(anew.sign(anew.payload("CL"), iat=now(anew) - 86_400))

    refused(answer, 403, "key", "key-not-yet", "/kid")


async def test_a_suspended_member_posts_nothing(anew: Region) -> None:
    """From the very next post; what it sent before is still answered with its receipt."""
    payload = anew.payload("CL", "before")
    first = await anew.post(anew.sign(payload))
    await administer.set_active(anew.hub.ledger, "CL", False, anew.clock())
    async with untouched(anew, kept=1):
        answer = await anew.post(anew.sign(anew.payload("CL", "after")))
        repeat = await anew.post(anew.sign(payload))

    refused(answer, 403, "member-suspended", "member-suspended", "/header/originator")
    assert (repeat.status_code, repeat.json()) == (200, first.json())
