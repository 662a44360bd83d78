"""Every door with questions and bodies that do not fit it: one clear answer, and nothing is poisoned by them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote as percent

import pytest

from broker import jws
from tests.forge import refused, token
from tests.region import Region, to

GATES = "/v1/queues/inbox"


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
