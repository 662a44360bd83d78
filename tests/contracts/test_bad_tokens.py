"""Client assertions and access tokens: every one that does not hold, at every door it was not made for."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from broker import administer, jws, tokens
from broker.api.auth import ASSERTION_TYPE
from broker.ledger import open_ledger
from broker.rabbit.access import Door
from broker.tokens import ASSERTION_SECONDS, SKEW_SECONDS, TOKEN_SECONDS
from tests.forge import header_of, mac, octets_of, refused, same_but_for_the_request, token, untouched
from tests.region import URL, Region, new_key


@pytest.fixture
async def hub(alone: Region) -> AsyncIterator[Region]:
    """Whatever is tried, nothing is recorded."""
    async with untouched(alone, kept=0):
        yield alone


def claims(here: Region, owner: str = "CL", **changes: Any) -> dict[str, Any]:
    """An assertion's honest claims, changed; a change to ... leaves the member out."""
    honest = {"iss": owner, "sub": owner, "aud": URL, "exp": now(here) + 200, "jti": secrets.token_urlsafe(12)}
    return {name: value for name, value in (honest | changes).items() if value is not ...}


def now(here: Region) -> int:
    return int(here.clock().timestamp())


async def ask(here: Region, assertion: str, **form: str) -> httpx2.Response:
    return await here.ask_token(assertion, **form)


async def ask_with(here: Region, by: str = "CL", **changes: Any) -> httpx2.Response:
    return await ask(here, jws.sign_claims(claims(here, **changes), here.keys[by], typ=jws.TYP_CLIENT_AUTHENTICATION))


def not_a_client(answer: httpx2.Response, rule: str, pointer: str | None = None) -> None:
    """401 with RFC 6749's word for it too."""
    assert refused(answer, 401, "token", rule, pointer)["error"] == "invalid_client"


# --- assertions --------------------------------------------------------------------------------------------------


async def test_an_honest_assertion_gets_one_token(anew: Region) -> None:
    """RFC 6749 §5.1: a JWT under 2 kB, 15 minutes, never from a cache."""
    answer = await ask_with(anew)

    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "api")
    assert len(body["access_token"]) < 2048
    assert answer.headers["cache-control"] == "no-store"
    found = jws.claims(jws.read(body["access_token"].encode(), typ=jws.TYP_ACCESS_TOKEN))
    assert found["exp"] - found["iat"] == TOKEN_SECONDS


WRONG_CLAIMS: list[tuple[dict[str, Any], str, str]] = [
    ({"aud": "http://other.hub"}, "audience", "/aud"),
    ({"aud": [URL]}, "audience", "/aud"),
    ({"aud": [URL, "http://other.hub"]}, "audience", "/aud"),
    ({"aud": URL + "/"}, "audience", "/aud"),
    ({"aud": URL + "/v1/oauth/token"}, "audience", "/aud"),
    ({"aud": URL.upper()}, "audience", "/aud"),
    ({"aud": None}, "audience", "/aud"),
    ({"aud": ...}, "claims", ""),
    ({"iss": "PE"}, "iss-is-sub", "/iss"),
    ({"sub": "PE"}, "iss-is-sub", "/iss"),
    ({"iss": 1, "sub": 1}, "iss-is-sub", "/iss"),
    ({"iss": ["CL"], "sub": ["CL"]}, "iss-is-sub", "/iss"),
    ({"iss": None, "sub": None}, "iss-is-sub", "/iss"),
    ({"iss": ..., "sub": ...}, "iss-is-sub", "/iss"),
    ({"jti": ""}, "jti", "/jti"),
    ({"jti": "short"}, "jti", "/jti"),
    ({"jti": "x" * 129}, "jti", "/jti"),
    ({"jti": 12345678}, "jti", "/jti"),
    ({"jti": ...}, "jti", "/jti"),
    ({"exp": ...}, "assertion-expiry", "/exp"),
    ({"exp": "soon"}, "assertion-expiry", "/exp"),
    ({"exp": True}, "assertion-expiry", "/exp"),
    ({"exp": 1.5e9}, "assertion-expiry", "/exp"),
    ({"exp": -1}, "assertion-expiry", "/exp"),
    ({"exp": 2**53 - 1}, "assertion-expiry", "/exp"),
    ({"nbf": "now"}, "assertion-expiry", "/nbf"),
    ({"nbf": True}, "assertion-expiry", "/nbf"),
    ({"nbf": 2**53 - 1}, "assertion-expiry", "/nbf"),
    ({"scope": "admin"}, "claims", ""),
    ({"admin": True}, "claims", ""),
]


@pytest.mark.parametrize(("changes", "rule", "pointer"), WRONG_CLAIMS)
async def test_an_assertion_says_exactly_what_it_must(
    hub: Region, changes: dict[str, Any], rule: str, pointer: str
) -> None:
    """RFC 7523 §3: one issuer that is the subject, this hub alone as audience, five minutes, one use."""
    not_a_client(await ask_with(hub, **changes), rule, pointer)


async def test_an_assertion_lives_five_minutes_and_not_after(hub: Region) -> None:
    for seconds, good in (
        (ASSERTION_SECONDS + SKEW_SECONDS - 2, True),
        (ASSERTION_SECONDS + SKEW_SECONDS + 60, False),
        (3600, False),
        (-SKEW_SECONDS - 1, False),
        (-3600, False),
    ):
        answer = await ask_with(hub, exp=now(hub) + seconds)

        if good:
            assert answer.status_code == 200
        else:
            not_a_client(answer, "assertion-expiry", "/exp")


async def test_an_assertion_is_good_once(fresh: Region) -> None:
    """The same token, the same `jti` signed anew, and a copy under another scope: all of them are the second use."""
    body = claims(fresh)
    first = jws.sign_claims(body, fresh.keys["CL"], typ=jws.TYP_CLIENT_AUTHENTICATION)
    assert (await ask(fresh, first)).status_code == 200
    again = jws.sign_claims(body | {"exp": body["exp"] + 1}, fresh.keys["CL"], typ=jws.TYP_CLIENT_AUTHENTICATION)

    for answer in (await ask(fresh, first), await ask(fresh, again), await ask(fresh, first, scope="amqp")):
        not_a_client(answer, "jti-used", "/jti")


async def test_a_used_assertion_is_remembered_as_long_as_it_would_be_good(fresh: Region) -> None:
    """A little skew is forgiven after `exp`; the sweep forgets the jti only after that."""
    assertion = jws.sign_claims(claims(fresh, exp=now(fresh) + 2), fresh.keys["CL"], typ=jws.TYP_CLIENT_AUTHENTICATION)
    assert (await ask(fresh, assertion)).status_code == 200
    fresh.clock.advance(seconds=4)
    await fresh.sweep()
    not_a_client(await ask(fresh, assertion), "jti-used", "/jti")
    fresh.clock.advance(seconds=10)
    await fresh.sweep()
    not_a_client(await ask(fresh, assertion), "assertion-expiry", "/exp")


async def test_another_member_may_use_the_same_jti(fresh: Region) -> None:
    """Otherwise one member could use up another's."""
    for owner in ("CL", "PE"):
        body = claims(fresh, owner, jti="the-same-for-both")
        answer = await ask(fresh, jws.sign_claims(body, fresh.keys[owner], typ=jws.TYP_CLIENT_AUTHENTICATION))

        assert answer.status_code == 200, answer.text


async def test_a_refused_assertion_uses_up_nothing(anew: Region) -> None:
    """Peru cannot burn Chile's jti by sending it first."""
    body = claims(anew)
    not_a_client(
        await ask(anew, jws.sign_claims(body, anew.keys["PE"], typ=jws.TYP_CLIENT_AUTHENTICATION)),
        "key-of-another-member",
        "/sub",
    )

    assert (
        await ask(anew, jws.sign_claims(body, anew.keys["CL"], typ=jws.TYP_CLIENT_AUTHENTICATION))
    ).status_code == 200


async def test_an_assertion_by_a_key_that_is_not_ones_own(hub: Region) -> None:
    for key, rule in (
        (hub.keys["PE"], "key-of-another-member"),
        (hub.keys["operator:ana"], "key-of-another-member"),
        (hub.hub.key, "key-of-another-member"),
        (new_key(), "key-unknown"),
    ):
        answer = await ask(hub, jws.sign_claims(claims(hub), key, typ=jws.TYP_CLIENT_AUTHENTICATION))

        not_a_client(answer, rule)


async def test_a_member_does_not_become_an_operator(hub: Region) -> None:
    """Nor an operator a member, nor anybody the hub."""
    for owner in ("operator:ana", "operator:nobody", "hub", "AR", "XX", ""):
        not_a_client(await ask_with(hub, iss=owner, sub=owner), "key-of-another-member", "/sub")


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", "at+jwt", "tw-message", "tw-acknowledgement", "tw-key-request", "application/at+jwt"]
)
async def test_another_object_is_no_assertion(hub: Region, typ: str) -> None:
    """What was signed for another purpose opens nothing (RFC 8725 §3.11)."""
    answer = await ask(hub, token(header_of(hub.keys["CL"], typ), claims(hub), hub.keys["CL"]))

    not_a_client(answer, "typ", "/typ")


async def test_a_message_and_an_access_token_are_no_assertions(hub: Region) -> None:
    not_a_client(await ask(hub, hub.sign(hub.payload("CL"))), "typ", "/typ")
    not_a_client(await ask(hub, await hub.token("CL")), "typ", "/typ")


async def test_a_forged_assertion(hub: Region) -> None:
    """none, a MAC under the public key, a key that comes along, a padded one, two parts, nothing."""
    typ = jws.TYP_CLIENT_AUTHENTICATION
    key, mine, body = hub.keys["CL"], new_key(), claims(hub)
    good = jws.sign_claims(body, key, typ=typ)
    public = jws.unb64(jws.public_jwk(key)["x"])
    unsigned = f"{jws.b64(octets_of(header_of(key, typ, alg='none')))}.{jws.b64(octets_of(body))}."
    for forged, rule in (
        (token(header_of(key, typ, alg="none"), body, key), "alg"),
        (mac(header_of(key, typ, alg="HS256"), body, public), "alg"),
        (token(header_of(key, typ, jwk=jws.public_jwk(mine)), body, mine), "header-members"),
        (token(header_of(key, typ, iat=now(hub)), body, key), "header-members"),
        (token(header_of(key, typ), body, mine), "signature"),
        (token(header_of(key, typ), b"[]", key), "object"),
        (token(header_of(key, typ), octets_of(body)[:-1] + b',"aud":"x"}', key), "duplicate-member"),
        (unsigned, "compact-form"),
        (good + "==", "base64url"),
        (good + "\n", "base64url"),
        ("é.é.é", "base64url"),
        ("", "compact-form"),
        ("x" * 5000, "too-large"),
    ):
        not_a_client(await ask(hub, forged), rule)


# --- the form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "status", "code", "rule", "error"),
    [
        ({"grant_type": "password"}, 422, "invalid", "parameter", "invalid_request"),
        ({"grant_type": "authorization_code"}, 422, "invalid", "parameter", "invalid_request"),
        ({"client_assertion_type": "x"}, 422, "invalid", "parameter", "invalid_request"),
        ({"scope": "root"}, 403, "scope", "enum", "invalid_scope"),
        ({"scope": "api amqp"}, 403, "scope", "enum", "invalid_scope"),
        ({"scope": ""}, 403, "scope", "enum", "invalid_scope"),
        ({"scope": "API"}, 403, "scope", "enum", "invalid_scope"),
        ({"scope": "admin"}, 403, "scope", "scope-of-caller", "invalid_scope"),
        ({"client_id": "PE"}, 401, "token", "iss-is-sub", "invalid_client"),
    ],
)
async def test_a_form_that_asks_for_something_else(
    hub: Region, form: dict[str, str], status: int, code: str, rule: str, error: str
) -> None:
    assertion = jws.sign_claims(claims(hub), hub.keys["CL"], typ=jws.TYP_CLIENT_AUTHENTICATION)

    assert refused(await ask(hub, assertion, **form), status, code, rule)["error"] == error


@pytest.mark.parametrize("scope", ["api", "amqp"])
async def test_an_operator_gets_the_operators_scope_alone(hub: Region, scope: str) -> None:
    """It never reads as a member, nor connects to RabbitMQ."""
    assertion = tokens.make_assertion("operator:ana", hub.keys["operator:ana"], URL, hub.clock())

    refused(await ask(hub, assertion, scope=scope), 403, "scope", "scope-of-caller", "/scope")


@pytest.mark.parametrize(
    ("octets", "status", "code", "rule"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", 400, "malformed", "form-twice"),
        (b"grant_type", 400, "malformed", "form"),
        (b"a=%00", 400, "malformed", "nul"),
        (b"a=\xff", 400, "malformed", "form"),
        (b"&".join(b"a%d=1" % n for n in range(40)), 400, "malformed", "form"),
        (b"a=" + b"x" * 16_384, 413, "too-large", "too-large"),
        (b"", 422, "invalid", "parameter"),
    ],
    ids=["twice", "no-value", "nul", "latin-1", "many", "large", "empty"],
)
async def test_what_is_no_form(hub: Region, octets: bytes, status: int, code: str, rule: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}

    refused(await hub.http.post("/v1/oauth/token", content=octets, headers=headers), status, code, rule)


async def test_a_secret_in_the_wrong_field_is_not_echoed(hub: Region) -> None:
    """An assertion that does not hold is not quoted back, nor written into a log."""
    assertion = jws.sign_claims(claims(hub, aud="http://other.hub"), hub.keys["CL"], typ=jws.TYP_CLIENT_AUTHENTICATION)

    answer = await ask(hub, assertion)

    assert assertion.rpartition(".")[2] not in answer.text


# --- access tokens -----------------------------------------------------------------------------------------------


def bearer(access: str) -> dict[str, str]:
    return {"authorization": f"Bearer {access}"}


async def test_a_token_opens_one_door(hub: Region) -> None:
    """api at admin, admin at api, amqp at both: 403, with the scope that is wanted."""
    api, amqp, admin = await hub.token("CL"), await hub.token("CL", "amqp"), await hub.token("operator:ana", "admin")
    for access, path, wanted in (
        (api, "/v1/admin/members", "admin"),
        (api, "/v1/admin/refusals", "admin"),
        (amqp, "/v1/admin/queues", "admin"),
        (admin, "/v1/messages", "api"),
        (admin, "/v1/messages/CL:a-1", "api"),
        (admin, "/v1/queues", "api"),
        (admin, "/v1/members", "api"),
        (amqp, "/v1/messages/CL:a-1", "api"),
        (amqp, "/v1/queues", "api"),
    ):
        problem = refused(await hub.http.get(path, headers=bearer(access)), 403, "scope", "scope-of-door", "/scope")

        assert problem["errors"][0]["allowed"] == [wanted]


async def test_at_rabbitmqs_door_only_an_amqp_token_of_that_very_member_counts(anew: Region) -> None:
    """A password is a token of scope amqp and of nobody else."""
    door = Door(anew.hub, "/")
    amqp = await anew.token("CL", "amqp")

    assert await door.user({"username": "CL", "password": amqp})
    for username, password in (
        ("PE", amqp),
        ("CL", await anew.token("CL")),
        ("operator:ana", await anew.token("operator:ana", "admin")),
        ("CL", tokens.make_assertion("CL", anew.keys["CL"], URL, anew.clock())),
        ("CL", ""),
        ("CL", "é" * 3000),
        ("", amqp),
        ("hub", amqp),
    ):
        assert not await door.user({"username": username, "password": password})


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic Q0w6eA==", "Token x", "x", "bearer", "Bearer\tx"],
)
async def test_no_token_at_all(hub: Region, authorization: str) -> None:
    answer = await hub.http.get("/v1/queues", headers={"authorization": authorization})

    assert refused(answer, 401, "token")["errors"][0]["rule"] in ("no-token", "compact-form")


async def test_a_token_that_the_hub_did_not_make(hub: Region) -> None:
    """Signed by a member, by a stranger, by none; an assertion; a receipt; a changed one; the right claims all."""
    good = await hub.token("CL")
    body = jws.claims(jws.read(good.encode(), typ=jws.TYP_ACCESS_TOKEN))
    stranger, typ = new_key(), jws.TYP_ACCESS_TOKEN
    protected, _, signature = good.split(".")
    admin = jws.b64(octets_of(body | {"scope": "admin"}))
    for forged, rule in (
        (jws.sign_claims(body, hub.keys["CL"], typ=typ), "key-unknown"),
        (jws.sign_claims(body, stranger, typ=typ), "key-unknown"),
        (token(header_of(hub.hub.key, typ), body, stranger), "signature"),
        (token(header_of(hub.hub.key, typ, alg="none"), body, stranger), "alg"),
        (mac(header_of(hub.hub.key, typ, alg="HS256"), body, jws.unb64(jws.public_jwk(hub.hub.key)["x"])), "alg"),
        (jws.sign_claims(body, hub.hub.key, typ=jws.TYP_RECEIPT), "typ"),
        (jws.sign_claims(body | {"aud": "http://other.hub"}, hub.hub.key, typ=typ), "audience"),
        (jws.sign_claims(body | {"iss": "http://other.hub"}, hub.hub.key, typ=typ), "audience"),
        (tokens.make_assertion("CL", hub.keys["CL"], URL, hub.clock()), "typ"),
        (hub.sign(hub.payload("CL")), "typ"),
        (f"{protected}.{admin}.{signature}", "signature"),
        (good + "=", "base64url"),
        (good[:-1], "base64url"),
        (f"{good}.x", "compact-form"),
        (f"{good},{good}", "compact-form"),
        ("x" * 3000, "too-large"),
        ("é.é.é", "base64url"),
    ):
        answer = await hub.http.get("/v1/queues", headers={b"authorization": f"Bearer {forged}".encode("latin-1")})

        refused(answer, 401, "token", rule)


async def test_a_token_lasts_a_quarter_of_an_hour(anew: Region) -> None:
    access = await anew.token("CL")
    anew.clock.advance(seconds=TOKEN_SECONDS - 5)
    assert (await anew.http.get("/v1/queues", headers=bearer(access))).status_code == 200
    anew.clock.advance(seconds=6)

    refused(await anew.http.get("/v1/queues", headers=bearer(access)), 401, "token", "token-expired", "/exp")


async def test_revoking_the_key_ends_its_tokens_at_the_next_call(anew: Region) -> None:
    """At every door and for reading, leasing and acknowledging alike; a token of the member's other key goes on."""
    access = await anew.token("PE")
    old = anew.keys["PE"]
    other = new_key()
    await anew.enrol_key("PE", other)
    second = (await ask(anew, tokens.make_assertion("PE", other, URL, anew.clock()))).json()["access_token"]
    assert (await anew.http.get("/v1/queues", headers=bearer(access))).status_code == 200

    await administer.revoke(anew.hub.ledger, jws.thumbprint(jws.public_jwk(old)), "lost", anew.clock())

    for method, path in (
        ("GET", "/v1/queues"),
        ("GET", "/v1/messages/CL:a-1"),
        ("POST", "/v1/queues/inbox/lease"),
        ("POST", "/v1/messages/CL:a-1/acknowledgement"),
    ):
        refused(await anew.http.request(method, path, headers=bearer(access)), 401, "token", "key-revoked", "/kid")
    assert (await anew.http.get("/v1/queues", headers=bearer(second))).status_code == 200
    not_a_client(await ask_with(anew, by="PE", iss="PE", sub="PE"), "key-revoked", "/kid")


async def test_suspension_ends_tokens_at_the_next_call(anew: Region) -> None:
    """And reactivation restores them: it is the member that is judged, at every call."""
    access, amqp = await anew.token("PE"), await anew.token("PE", "amqp")
    await administer.set_active(anew.hub.ledger, "PE", False, anew.clock())

    refused(await anew.http.get("/v1/queues", headers=bearer(access)), 401, "token", "member-suspended", "/sub")
    not_a_client(await ask_with(anew, by="PE", iss="PE", sub="PE"), "member-suspended", "/sub")
    assert not await Door(anew.hub, "/").user({"username": "PE", "password": amqp, "vhost": "/"})
    await administer.set_active(anew.hub.ledger, "PE", True, anew.clock())
    assert (await anew.http.get("/v1/queues", headers=bearer(access))).status_code == 200


async def test_revocation_is_seen_by_a_gateway_that_did_not_do_it(fresh: Region) -> None:
    """Another process changed the registry: this one notices at the next call, without being told."""
    access = await fresh.token("CL")
    assert (await fresh.http.get("/v1/queues", headers=bearer(access))).status_code == 200
    elsewhere = open_ledger(fresh.hub.ledger.url)
    try:
        await administer.revoke(elsewhere, jws.thumbprint(jws.public_jwk(fresh.keys["CL"])), "stolen", fresh.clock())
    finally:
        await elsewhere.close()

    refused(await fresh.http.get("/v1/queues", headers=bearer(access)), 401, "token", "key-revoked", "/kid")


async def test_a_good_token_tells_nobody_whether_another_member_exists(hub: Region) -> None:
    """Two addresses of members who are there and who are not: the same answer."""
    answers = [await hub.call("AR", "GET", f"/v1/messages/{address}") for address in ("CL:zzz", "QQ:zzz")]

    assert same_but_for_the_request(*answers)


def test_the_assertion_type_is_the_registered_one() -> None:
    assert ASSERTION_TYPE == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
