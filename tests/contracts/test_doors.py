"""Every door with what does not fit it: nobody else's things, no crash, no poison, one clear answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote as percent

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.types import Message, Scope

from broker import jws
from broker.app import make_app
from tests.forge import refused, same_but_for_the_request, token, untouched
from tests.region import Region, to

GATES = "/v1/queues/inbox"


# --- what is not for you is not there ----------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["", "/receipt", "/deliveries", "/audience"])
async def test_anothers_message_reads_like_none(shared: Region, part: str) -> None:
    """Argentina cannot tell Chile's message from one that was never sent."""
    theirs = await shared.call("AR", "GET", f"/v1/messages/CL:a-1{part}")
    nobodys = await shared.call("AR", "GET", f"/v1/messages/CL:a-2{part}")
    nowhere = await shared.call("AR", "GET", f"/v1/messages/XX:a-1{part}")

    refused(theirs, 404, "not-found", "message-unknown")
    assert same_but_for_the_request(theirs, nobodys, nowhere)


@pytest.mark.parametrize("part", ["/deliveries", "/audience"])
async def test_who_else_has_it_is_the_originators_alone(shared: Region, part: str) -> None:
    """Peru has the message, and still is not told who else does."""
    assert (await shared.call("CL", "GET", f"/v1/messages/CL:a-1{part}")).status_code == 200
    assert (await shared.call("PE", "GET", "/v1/messages/CL:a-1")).status_code == 200

    theirs = await shared.call("PE", "GET", f"/v1/messages/CL:a-1{part}")

    refused(theirs, 404, "not-found", "message-unknown")
    assert same_but_for_the_request(theirs, await shared.call("PE", "GET", f"/v1/messages/CL:a-9{part}"))


async def test_an_acknowledgement_by_nobody_asked_reads_like_none(shared: Region) -> None:
    """Neither the signature nor the digest is looked at before it is known whether the message is the caller's."""
    answers = [
        await shared.call("AR", "POST", f"/v1/messages/{address}/acknowledgement", "rubbish")
        for address in ("CL:a-1", "CL:a-2")
    ]

    refused(answers[0], 404, "not-found", "message-unknown")
    assert same_but_for_the_request(*answers)


@pytest.mark.parametrize("verb", ["lease", "extend", "settle", "replay", "deliveries"])
async def test_anothers_queue_reads_like_none(shared: Region, verb: str) -> None:
    """Every member has an inbox, so another name is needed to tell: Peru's queue does not exist for Argentina."""
    await shared.subscribe("PE", "secret-interest")
    body = {
        "lease": {},
        "extend": {"lease_ids": ["x.1"]},
        "settle": {"settlements": [{"lease_id": "x.1", "outcome": "accept"}]},
        "replay": {"sequence": 1},
        "deliveries": None,
    }[verb]
    method = "GET" if verb == "deliveries" else "POST"

    theirs = await shared.call("AR", method, f"/v1/queues/secret-interest/{verb}", body)

    refused(theirs, 404, "not-found", "queue-unknown", "/queue")
    await shared.call("PE", "DELETE", "/v1/subscriptions/secret-interest")
    assert same_but_for_the_request(theirs, await shared.call("AR", method, f"/v1/queues/secret-interest/{verb}", body))


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_anothers_subscription_cannot_be_touched(anew: Region, method: str) -> None:
    await anew.subscribe("PE", "secret-interest")

    answer = await anew.call("AR", method, "/v1/subscriptions/secret-interest", {"filter": {}})

    refused(answer, 404, "not-found", "subscription-unknown", "/name")
    assert len((await anew.call("PE", "GET", "/v1/subscriptions")).json()["subscriptions"]) == 1


async def test_a_lease_of_anothers_queue_is_stale(fresh: Region) -> None:
    """Argentina heard Peru's lease id: in its own queue of the same name and sequence it opens nothing."""
    await fresh.send("CL", "a-2", to("AR"))
    (peru,) = await fresh.lease("PE")
    (own,) = await fresh.lease("AR")
    assert peru["sequence"] == own["sequence"]

    (settled,) = await fresh.settle("AR", "inbox", {"lease_id": peru["lease_id"], "outcome": "accept"})
    extended = await fresh.call("AR", "POST", f"{GATES}/extend", {"lease_ids": [peru["lease_id"]]})

    assert (settled["status"], settled["problem"]["code"], settled["problem"]["errors"][0]["rule"]) == (
        409,
        "stale-lease",
        "stale-lease",
    )
    assert extended.json()["leases"][0]["status"] == 409
    assert [row["state"] for row in await fresh.index("PE")] == ["leased"]


async def test_a_recipient_cannot_check_what_it_received(anew: Region) -> None:
    """`check` shows who else would receive it: for the originator alone, signed or as a draft."""
    (delivery,) = await anew.lease("PE")
    compact = delivery["message"]

    signed = await anew.call("PE", "POST", "/v1/messages/check", compact)
    draft = await anew.call("PE", "POST", "/v1/messages/check", json.loads(jws.unb64(compact.split(".")[1])))

    refused(signed, 403, "key", "not-your-own", "/header/originator")
    refused(draft, 422, "invalid", "not-your-own", "/header/originator")
    assert (await anew.call("CL", "POST", "/v1/messages/check", compact)).status_code == 200


async def test_a_delivery_that_expired_unseen_stays_unseen(fresh: Region) -> None:
    """A tombstone has a sequence and a reason; neither address nor digest nor kind."""
    now = fresh.clock()
    await fresh.send("CL", "a-2", to("AR"), expires_at=now.replace(microsecond=0).isoformat().replace("+00:00", "Z"))
    await fresh.sweep()

    (row,) = await fresh.index("AR")

    assert row.keys() == {"sequence", "state", "reason", "changed_at"}
    assert row["state"] == "expired"


# --- odd names ---------------------------------------------------------------------------------------------------

ODD_NAMES = [
    "CL:",
    ":",
    ":a",
    "CL",
    "a-1",
    "CL:\0",
    "\0",
    "CL:a-1\0",
    "CL:" + "a" * 5000,
    "é:ü",
    "ＣＬ:a-1",
    "CL:a-1 ",
    "cl:a-1",
    "CL:a-1\n",
    "CL:😀",
    "CL:a-1%00",
    "CL::a-1",
    "hub:",
    "'; DROP TABLE messages; --",
    "CL:%",
    "..",
    "\ufeffCL:a-1",
]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_an_odd_name_is_simply_not_there(shared: Region, name: str) -> None:
    """As address, queue, subscription, kind or code list: 404, on both ledgers, never a crash."""
    odd = percent(name, safe="")
    for owner, method, path in (
        ("PE", "GET", f"/v1/messages/{odd}"),
        ("CL", "GET", f"/v1/messages/{odd}"),
        ("CL", "GET", f"/v1/messages/{odd}/deliveries"),
        ("PE", "GET", f"/v1/messages/{odd}/receipt"),
        ("PE", "GET", f"/v1/queues/{odd}/deliveries"),
        ("PE", "DELETE", f"/v1/subscriptions/{odd}"),
        ("PE", "GET", f"/v1/codelists/{odd}"),
        ("PE", "GET", f"/v1/schemas/{odd}/1.0"),
    ):
        answer = await shared.call(owner, method, path)

        assert answer.status_code in (404, 405), (path, answer.text)
    answer = await shared.call("PE", "POST", f"/v1/messages/{odd}/acknowledgement", "x.y.z")
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize(
    "query",
    [
        "kind=%00",
        "heading=%00",
        "identifier=%00",
        "cursor=%00",
        "cursor=zzzz",
        "cursor=%C3%A9",
        "cursor=cDE%3D",
        "cursor=cC0x",
        "since=yesterday",
        "since=2026-11-19T22:10:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "since=9999-12-31T23:59:59-14:00",
        "since=1e400",
        "since=-1e18",
        "limit=0",
        "limit=-1",
        "limit=201",
        "limit=1e1",
        "limit=" + "9" * 5000,
        "box=all",
        "kind=" + "k" * 33,
    ],
)
async def test_an_odd_question_about_messages_is_a_callers_mistake(shared: Region, query: str) -> None:
    answer = await shared.call("PE", "GET", f"/v1/messages?{query}")

    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["code"] in ("invalid", "not-found")


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00-14:00", "0", "253402300799"]
)
async def test_the_first_and_the_last_moment_are_moments(shared: Region, since: str) -> None:
    answer = await shared.call("PE", "GET", f"/v1/messages?since={percent(since)}")

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("after", ["-1", str(2**63), "9" * 5000, "1.5", "true", "", "%00"])
async def test_an_odd_place_in_a_queue_is_a_callers_mistake(shared: Region, after: str) -> None:
    answer = await shared.call("PE", "GET", f"{GATES}/deliveries?after={after}")

    assert answer.status_code in (404, 422), answer.text


async def test_the_last_place_in_a_queue_is_a_place(shared: Region) -> None:
    assert (await shared.call("PE", "GET", f"{GATES}/deliveries?after={2**63 - 1}")).json() == {"deliveries": []}


# --- bodies ------------------------------------------------------------------------------------------------------

WRONG_BODIES: list[tuple[str, Any, str, str]] = [
    ("lease", {"limit": 0}, "range", "/limit"),
    ("lease", {"limit": 101}, "range", "/limit"),
    ("lease", {"limit": -1}, "range", "/limit"),
    ("lease", {"limit": 2**53 - 1}, "range", "/limit"),
    ("lease", {"limit": True}, "type", "/limit"),
    ("lease", {"limit": 1.0}, "type", "/limit"),
    ("lease", {"limit": "1"}, "type", "/limit"),
    ("lease", {"lease_seconds": 0}, "range", "/lease_seconds"),
    ("lease", {"lease_seconds": 10**12}, "range", "/lease_seconds"),
    ("lease", {"wait_seconds": -0.1}, "range", "/wait_seconds"),
    ("lease", {"wait_seconds": 1e300}, "range", "/wait_seconds"),
    ("lease", {"wait_seconds": True}, "type", "/wait_seconds"),
    ("lease", {"limits": 1}, "unknown-member", "/limits"),
    ("lease", {"a/b~c": 1}, "unknown-member", "/a~1b~0c"),
    ("extend", {}, "required", "/lease_ids"),
    ("extend", {"lease_ids": []}, "too-few", "/lease_ids"),
    ("extend", {"lease_ids": ["x.1"] * 101}, "too-many", "/lease_ids"),
    ("extend", {"lease_ids": [1]}, "type", "/lease_ids/0"),
    ("extend", {"lease_ids": ["x.1"], "lease_seconds": -5}, "range", "/lease_seconds"),
    ("settle", {"settlements": {}}, "type", "/settlements"),
    ("settle", {"settlements": [{"lease_id": "x.1"}]}, "required", "/settlements/0/outcome"),
    (
        "settle",
        {"settlements": [{"lease_id": "x.1", "outcome": "accept", "reason": "r" * 501}]},
        "too-long",
        "/settlements/0/reason",
    ),
    (
        "settle",
        {"settlements": [{"lease_id": "x.1", "outcome": "accept", "delay_seconds": True}]},
        "type",
        "/settlements/0/delay_seconds",
    ),
    ("replay", {}, "one-of", ""),
    ("replay", {"sequence": 1, "since": "2026-01-01T00:00:00Z"}, "one-of", ""),
    ("replay", {"sequence": 0}, "below-minimum", "/sequence"),
    ("replay", {"sequence": True}, "type", "/sequence"),
    ("replay", {"since": "2026-01-01"}, "date-time", "/since"),
    ("replay", {"since": "2026-01-01T00:00:00"}, "date-time", "/since"),
    ("replay", {"since": "0001-01-01T00:00:00+14:00"}, "date-time", "/since"),
]


@pytest.mark.parametrize(("verb", "body", "rule", "pointer"), WRONG_BODIES)
async def test_a_wrong_body_is_told_where_it_is_wrong(
    alone: Region, verb: str, body: Any, rule: str, pointer: str
) -> None:
    """Strict types: no bool for int, no text for number, no unknown member, nothing out of range."""
    answer = await alone.call("PE", "POST", f"{GATES}/{verb}", body)

    refused(answer, 422, "invalid", rule, pointer)


@pytest.mark.parametrize(
    ("octets", "status", "code", "rule"),
    [
        (b"", 400, "malformed", "json"),
        (b"[]", 400, "malformed", "object"),
        (b'{"limit":1,"limit":2}', 400, "malformed", "duplicate-member"),
        (b"\xff", 400, "malformed", "json"),
        (b"\xef\xbb\xbf{}", 400, "malformed", "json"),
        (b"[" * 5000, 400, "malformed", "nesting"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "malformed", "nesting"),
        (b'{"limit":1e400}', 400, "malformed", "number-range"),
        (b'{"limit":9007199254740992}', 400, "malformed", "number-range"),
        (b'{"limit":' + b"9" * 5000 + b"}", 400, "malformed", "number-range"),
        (b'{"limit":NaN}', 400, "malformed", "json"),
        (b'{"\\u0000":1}', 400, "malformed", "nul"),
        (b'{"a":"\\ud800"}', 400, "malformed", "json"),
        (b" " * 1_048_577, 413, "too-large", "too-large"),
    ],
    ids=range(14),
)
async def test_what_is_no_json_is_told_so(alone: Region, octets: bytes, status: int, code: str, rule: str) -> None:
    bearer = {"authorization": f"Bearer {await alone.token('PE')}", "content-type": "application/json"}

    answer = await alone.http.post(f"{GATES}/lease", content=octets, headers=bearer)

    refused(answer, status, code, rule)


ODD_LEASES = [
    "",
    ".",
    "x",
    "x.",
    ".1",
    "x.²",
    "x.٣",
    "x.-1",
    "x.1e3",
    "x.9223372036854775808",
    "x." + "9" * 5000,
    "x.999999999999999999",
    "é.1",
    "x.1.1",
    "x. 1",
    "x.1_0",
    "x.\u2460",
]


async def test_an_odd_lease_id_is_stale_and_sinks_nothing(fresh: Region) -> None:
    """Numbers that only look like numbers, or are beyond 64 bits, are items of their own: the good one is settled."""
    (delivery,) = await fresh.lease("PE")
    items = [{"lease_id": odd, "outcome": "accept"} for odd in ODD_LEASES]

    extended = await fresh.call("PE", "POST", f"{GATES}/extend", {"lease_ids": ODD_LEASES})
    settled = await fresh.settle("PE", "inbox", *items, {"lease_id": delivery["lease_id"], "outcome": "accept"})

    assert [item["status"] for item in extended.json()["leases"]] == [409] * len(ODD_LEASES)
    assert [item["status"] for item in settled] == [409] * len(ODD_LEASES) + [200]


async def test_a_bad_settlement_sinks_no_good_one(fresh: Region) -> None:
    """Each item stands or falls alone, whatever its neighbour asks."""
    for n in range(2, 7):
        await fresh.send("CL", f"a-{n}", to("PE"))
    leases = [d["lease_id"] for d in await fresh.lease("PE")]
    asked: list[dict[str, Any]] = [
        {"outcome": "vanish"},
        {"outcome": "release", "delay_seconds": -1},
        {"outcome": "release", "delay_seconds": 86_401},
        {"outcome": "reject", "acknowledgement": "x.y.z"},
        {"outcome": "accept", "acknowledgement": "é.y.z"},
        {"outcome": "accept"},
    ]

    settled = await fresh.settle("PE", "inbox", *({"lease_id": i} | a for i, a in zip(leases, asked, strict=True)))

    assert [(s["status"], s.get("problem", {}).get("errors", [{}])[0].get("rule")) for s in settled] == [
        (422, "enum"),
        (422, "range"),
        (422, "range"),
        (422, "acknowledgement-only-with-accept"),
        (400, "base64url"),
        (200, None),
    ]
    assert [row["state"] for row in await fresh.index("PE")] == ["leased"] * 5 + ["settled"]


async def test_a_character_that_no_ledger_can_keep_is_refused_before_it(fresh: Region) -> None:
    """U+0000 in a reason, a name, a filter, an address: PostgreSQL would fail the whole transaction."""
    (delivery,) = await fresh.lease("PE")
    for path, body in (
        (
            f"{GATES}/settle",
            {"settlements": [{"lease_id": delivery["lease_id"], "outcome": "reject", "reason": "a\0b"}]},
        ),
        (f"{GATES}/replay", {"message": "CL:\0"}),
        ("/v1/subscriptions", {"name": "a\0", "filter": {}}),
        ("/v1/subscriptions", {"name": "a", "filter": {"any": [{"kind": ["\0"]}]}}),
    ):
        refused(await fresh.call("PE", "POST", path, body), 400, "malformed", "nul")


async def test_replay_of_what_is_not_there_is_nothing(shared: Region) -> None:
    for wanted in (
        {"message": "CL"},
        {"message": ""},
        {"message": ":" * 5000},
        {"sequence": 2**53 - 1},
        {"since": "9999-12-31T23:59:59Z"},
    ):
        answer = await shared.call("PE", "POST", f"{GATES}/replay", wanted)

        assert answer.json() == {"replayed": 0, "skipped": []}


@pytest.mark.parametrize(
    ("filter_", "rule", "pointer"),
    [
        ({"any": []}, "clauses", "/any"),
        ({"any": [{}] * 17}, "clauses", "/any"),
        ({"any": {}}, "clauses", "/any"),
        ({"any": [{"colour": ["red"]}]}, "unknown-member", "/any/0/colour"),
        ({"any": [{"status": ["actual"]}]}, "unknown-member", "/any/0/status"),
        ({"any": [{"all": {"all": {}}}]}, "unknown-member", "/any/0/all/all"),
        ({"any": [[]]}, "type", "/any/0"),
        ({"any": [{"kind": "alert"}]}, "type", "/any/0/kind"),
        ({"any": [{"kind": [1]}]}, "type", "/any/0/kind"),
        ({"any": [{"kind": [""]}]}, "type", "/any/0/kind"),
        ({"any": [{"kind": ["k" * 65]}]}, "type", "/any/0/kind"),
        ({"any": [{"kind": ["k"] * 257}]}, "type", "/any/0/kind"),
        ({"any": [{"mentions_me": 1}]}, "type", "/any/0/mentions_me"),
        ({"status": ["drill"]}, "enum", "/status"),
        ({"status": "actual"}, "type", "/status"),
        ({"some": []}, "unknown-member", "/some"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused(alone: Region, filter_: Any, rule: str, pointer: str) -> None:
    """At creation, at a change, and in a preview alike; nothing of it is kept."""
    for method, path, body in (
        ("POST", "/v1/subscriptions", {"name": "new", "filter": filter_}),
        ("PATCH", "/v1/subscriptions/new", {"filter": filter_}),
        ("POST", "/v1/subscriptions/preview", {"filter": filter_}),
    ):
        refused(await alone.call("PE", method, path, body), 422, "invalid", rule, f"/filter{pointer}")
    assert (await alone.call("PE", "GET", "/v1/subscriptions")).json() == {"subscriptions": []}


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é", "a" * 65, "a\n"])
async def test_a_subscription_has_a_plain_name(alone: Region, name: str) -> None:
    refused(await alone.call("PE", "POST", "/v1/subscriptions", {"name": name}), 422, "invalid", "name", "/name")


async def test_the_inbox_stays(alone: Region) -> None:
    """It can be neither taken, changed nor removed."""
    call = alone.call
    refused(
        await call("PE", "POST", "/v1/subscriptions", {"name": "inbox"}), 409, "already-there", "subscription-exists"
    )
    refused(
        await call("PE", "PATCH", "/v1/subscriptions/inbox", {"filter": {}}), 404, "not-found", "subscription-unknown"
    )
    refused(await call("PE", "DELETE", "/v1/subscriptions/inbox"), 409, "registry", "inbox-stays")


@pytest.mark.parametrize(
    "delivery", ["x", "-", "a-1", "0123456789abcdef-99999999999999999999", "0123456789abcdef-²", "0123456789abcdef--1"]
)
async def test_an_odd_redrive_is_told_so(shared: Region, delivery: str) -> None:
    answer = await shared.call("operator:ana", "POST", "/v1/admin/dead-letters/redrive", {"deliveries": [delivery]})

    refused(answer, 422, "invalid", "delivery-id", "/deliveries/0")


@pytest.mark.parametrize(
    "query",
    [
        "deliveries?member=%00",
        "deliveries?queue=%00",
        "refusals?member=%00",
        "deliveries?state=lost",
        "outbox?limit=501",
    ],
)
async def test_an_odd_question_of_an_operator_is_a_mistake_too(shared: Region, query: str) -> None:
    assert (await shared.call("operator:ana", "GET", f"/v1/admin/{query}")).status_code in (404, 422)


# --- acknowledgements --------------------------------------------------------------------------------------------


WRONG_CLAIMS: list[tuple[dict[str, Any], str, str]] = [
    ({"state": []}, "enum", "/state"),
    ({"state": {}}, "enum", "/state"),
    ({"state": "eaten"}, "enum", "/state"),
    ({"state": None}, "enum", "/state"),
    ({"sequence": True}, "type", "/sequence"),
    ({"sequence": "1"}, "type", "/sequence"),
    ({"reason": 1}, "type", "/reason"),
    ({"reason": "r" * 501}, "type", "/reason"),
    ({"state": "refused"}, "required", "/reason"),
    ({"at": "yesterday"}, "date-time", "/at"),
    ({"at": 1}, "date-time", "/at"),
    ({"at": "2026-01-01T00:00:00"}, "date-time", "/at"),
    ({"digest": "x"}, "digest-differs", "/digest"),
    ({"digest": ["x"]}, "digest-differs", "/digest"),
    ({"message": "CL:a-2"}, "acknowledges-another", "/message"),
    ({"note": "x"}, "claims", ""),
]


async def test_an_acknowledgement_says_exactly_what_it_must(fresh: Region) -> None:
    """By itself or in a settlement, nothing of it is recorded otherwise, and the delivery stays as it was."""
    (delivery,) = await fresh.lease("PE")
    claims = {
        "message": "CL:a-1",
        "digest": jws.digest(delivery["message"]),
        "at": "2026-11-21T22:00:00Z",
        "state": "read",
    }
    for changes, rule, pointer in WRONG_CLAIMS:
        acknowledgement = jws.sign_claims(claims | changes, fresh.keys["PE"], typ=jws.TYP_ACKNOWLEDGEMENT)
        item = {"lease_id": delivery["lease_id"], "outcome": "accept", "acknowledgement": acknowledgement}

        answer = await fresh.call("PE", "POST", "/v1/messages/CL:a-1/acknowledgement", acknowledgement)
        (settled,) = await fresh.settle("PE", "inbox", item)

        refused(answer, 422, "invalid", rule, pointer)
        assert (settled["status"], settled["problem"]["errors"][0]["rule"]) == (422, rule)
    assert [row["state"] for row in await fresh.index("PE")] == ["leased"]
    (recipient,) = (await fresh.call("CL", "GET", "/v1/messages/CL:a-1/deliveries")).json()["recipients"]
    assert recipient["acknowledgements"] == []


async def test_nobody_acknowledges_for_another(anew: Region) -> None:
    """Peru's statement is signed by Peru: not by Argentina, not by Chile, not as another kind of object."""
    (delivery,) = await anew.lease("PE")
    claims = {
        "message": "CL:a-1",
        "digest": jws.digest(delivery["message"]),
        "at": "2026-11-21T22:00:00Z",
        "state": "read",
    }
    path = "/v1/messages/CL:a-1/acknowledgement"
    for signer in ("AR", "CL"):
        forged = jws.sign_claims(claims, anew.keys[signer], typ=jws.TYP_ACKNOWLEDGEMENT)
        refused(await anew.call("PE", "POST", path, forged), 403, "key", "key-of-another-member", "/kid")
    for typ in (jws.TYP_RECEIPT, jws.TYP_CLIENT_AUTHENTICATION, jws.TYP_ACCESS_TOKEN):
        wrong = jws.sign_claims(claims, anew.keys["PE"], typ=typ)
        refused(await anew.call("PE", "POST", path, wrong), 401, "signature", "typ", "/typ")
    unknown = token({"alg": "Ed25519", "kid": "A" * 43, "typ": jws.TYP_ACKNOWLEDGEMENT}, claims, anew.keys["PE"])
    refused(await anew.call("PE", "POST", path, unknown), 401, "signature", "key-unknown", "/kid")


# --- the doors themselves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/v1/queues/", "/v1/messages/", "//v1/queues", "/v1//queues", "/V1/queues", "/v1/messages/CL:a-1/"]
)
async def test_a_door_has_one_address(alone: Region, path: str) -> None:
    """No redirect repeats a signed body or a token to wherever a Host header points."""
    for method in ("GET", "POST"):
        answer = await alone.http.request(method, path, headers={"host": "evil.example"})

        assert answer.status_code in (401, 404, 405), answer.headers
        assert "location" not in answer.headers


async def test_an_unknown_address_and_a_wrong_method_are_told(alone: Region) -> None:
    """405 says what would do (RFC 9110 §15.5.6)."""
    refused(await alone.http.get("/v2/messages"), 404, "not-found", "no-such-door")
    wrong = await alone.http.delete("/v1/queues")

    refused(wrong, 405, "not-allowed", "method")
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages"),
        ("GET", "/v1/messages/CL:a-1"),
        ("GET", "/v1/messages/CL:a-1/receipt"),
        ("POST", "/v1/messages/check"),
        ("POST", "/v1/messages/CL:a-1/acknowledgement"),
        ("GET", "/v1/subscriptions"),
        ("POST", "/v1/subscriptions"),
        ("POST", "/v1/subscriptions/preview"),
        ("GET", "/v1/queues"),
        ("GET", "/v1/queues/inbox/deliveries"),
        ("POST", "/v1/queues/inbox/lease"),
        ("POST", "/v1/queues/inbox/settle"),
        ("POST", "/v1/queues/inbox/extend"),
        ("POST", "/v1/queues/inbox/replay"),
        ("GET", "/v1/members"),
        ("GET", "/v1/groups"),
        ("GET", "/v1/admin/members"),
        ("GET", "/v1/admin/queues"),
        ("GET", "/v1/admin/deliveries"),
        ("GET", "/v1/admin/refusals"),
        ("GET", "/v1/admin/outbox"),
        ("POST", "/v1/admin/dead-letters/redrive"),
    ],
)
async def test_no_door_opens_without_a_token(alone: Region, method: str, path: str) -> None:
    """Not even far enough to tell whether the body was right."""
    answer = await alone.http.request(method, path, content=b"\xff")

    refused(answer, 401, "token", "no-token", "/authorization")
    assert answer.headers["www-authenticate"] == 'Bearer realm="tidewaiter"'


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("es", "es"),
        ("es-CL", "es"),
        ("es, en", "es"),
        ("en, es", "en"),
        ("en;q=0.1, es;q=0.9", "es"),
        ("fr, es;q=0.5", "es"),
        ("es;q=0, en", "en"),
        ("es;q=0", "en"),
        ("de", "en"),
        ("", "en"),
        ("est", "en"),
        (";;;q=x,,es", "es"),
        ("es;q=nan", "en"),
    ],
)
async def test_an_answer_speaks_the_language_that_was_asked_for(alone: Region, wanted: str, language: str) -> None:
    """RFC 9110 §12.5.4: weights count, zero means not at all, of equals the first."""
    answer = await alone.call("PE", "GET", "/v1/messages/CL:none", **{"accept-language": wanted})

    assert answer.headers["content-language"] == language
    assert answer.json()["title"] == {"en": "Not found", "es": "No encontrado"}[language]
    assert answer.json()["detail"].startswith({"en": "There is no", "es": "No existe"}[language])


async def test_no_answer_is_kept_by_a_cache(alone: Region) -> None:
    for answer in (await alone.http.get("/healthz"), await alone.call("PE", "GET", "/v1/messages/CL:a-1")):
        assert answer.headers["cache-control"] == "no-store"


# --- whatever else comes -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["accept", "reject", "release", "x.1", "CL:a-1", "alert", "2026-01-01T00:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "limit",
                    "lease_seconds",
                    "wait_seconds",
                    "settlements",
                    "lease_id",
                    "lease_ids",
                    "outcome",
                    "reason",
                    "filter",
                    "any",
                    "all",
                    "not",
                    "kind",
                    "status",
                    "mentions_me",
                    "name",
                    "since",
                    "sequence",
                    "message",
                    "delivery",
                    "header",
                    "body",
                    "handling",
                    "release",
                    "to",
                    "originator",
                    "id",
                    "deliveries",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PATHS = [
    "/v1/queues/inbox/lease",
    "/v1/queues/inbox/extend",
    "/v1/queues/inbox/settle",
    "/v1/queues/inbox/replay",
    "/v1/subscriptions",
    "/v1/subscriptions/preview",
    "/v1/messages/check",
]


def _no_wait(body: Any) -> Any:
    """A lease that waits is no crash, but takes its time."""
    return body | {"wait_seconds": 0} if isinstance(body, dict) and "wait_seconds" in body else body


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], derandomize=True
)
@given(bodies=st.lists(st.tuples(st.sampled_from(PATHS), JSON), min_size=5, max_size=5))
async def test_no_body_crashes_a_door(fuzzed: Region, bodies: list[tuple[str, Any]]) -> None:
    """Whatever JSON comes, the answer is an answer: never 5xx."""
    for path, body in bodies:
        answer = await fuzzed.call("PE", "POST", path, _no_wait(body))

        assert answer.status_code < 500, (path, body, answer.text)


@pytest.fixture
async def fuzzed(fresh: Region) -> AsyncIterator[Region]:
    async with untouched(fresh):
        yield fresh


@settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], derandomize=True
)
@given(
    content=st.binary(max_size=60),
    kind=st.sampled_from(["application/jose", "application/jose+json", "application/x-ndjson"]),
)
async def test_no_octets_crash_the_post(fuzzed: Region, content: bytes, kind: str) -> None:
    """The one door that takes anything from anybody."""
    path = "/v1/messages/batch" if kind == "application/x-ndjson" else "/v1/messages"
    answer: httpx2.Response = await fuzzed.http.post(path, content=content, headers={"content-type": kind})

    assert answer.status_code < 500
    for line in answer.text.splitlines() if answer.status_code == 200 else ():
        assert 400 <= json.loads(line)["status"] < 500


@pytest.mark.parametrize("door", ["/v1/messages", "/v1/oauth/token", "/v1/rabbitmq/auth/user"])
async def test_a_caller_that_goes_while_it_speaks_is_no_fault_of_ours(
    sqlite_here: Region, caplog: pytest.LogCaptureFixture, door: str
) -> None:
    """Its request ends in the middle: nobody is answered, and nothing is told of as failed."""
    said: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"grant", "more_body": True}, {"type": "http.disconnect"}]
    )
    answered: list[Message] = []

    async def receive() -> Message:
        return next(said)

    async def send(message: Message) -> None:
        answered.append(message)

    kind = b"application/jose" if door == "/v1/messages" else b"application/x-www-form-urlencoded"
    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": door, "raw_path": door.encode(),
        "query_string": b"", "root_path": "", "headers": [(b"content-type", kind)], "server": ("hub.test", 80), "client": None,
    }  # fmt: skip
    await make_app(sqlite_here.hub)(scope, receive, send)

    assert answered == []
    assert "request.failed" not in caplog.text
