"""Every door to whom it is not for: nobody else's things, no word about them, no crash, whatever comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.types import Message, Scope

from broker import jws
from broker.app import make_app
from tests.forge import refused, same_but_for_the_request, untouched
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


@pytest.mark.parametrize(
    ("wanted", "language", "title"),
    [
        ("fr, es;q=0.5", "fr", "Le message ne suit pas son schéma ou les règles"),
        ("pt-BR", "pt", "A mensagem não segue o seu esquema ou as regras"),
    ],
)
async def test_what_is_said_of_a_message_is_said_in_french_and_portuguese_too(
    alone: Region, wanted: str, language: str, title: str
) -> None:
    """An answer that they could not give whole is in the next language: see above."""
    payload = alone.payload("CL", "bad")
    payload["header"]["status"] = "drill"
    answer = await alone.post(alone.sign(payload), **{"accept-language": wanted})

    assert (answer.headers["content-language"], answer.json()["title"]) == (language, title)
    assert "drill" in answer.json()["detail"]


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


@pytest.mark.long
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
