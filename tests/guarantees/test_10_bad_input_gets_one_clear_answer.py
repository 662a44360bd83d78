"""Promise 10: bad input gets one clear answer.

Every fault of the first step that fails, each with a JSON Pointer, the rule, what was found and what is allowed. No
content of a refused message is stored; a refusal is kept (digest, rule, member) only when the signature held.
"""

from __future__ import annotations

import json
import logging
from copy import deepcopy
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from broker import administer, jws
from broker.ledger import tables as t
from tests.forge import everything_kept, header_of, octets_of, refusals, refused, token, untouched
from tests.region import Region, new_key, to

MARKER = "zebra7quagga"
"""Placed where the content is; to be found nowhere afterwards."""


@pytest.fixture
async def marked(here: Region) -> Region:
    await here.enrol("CL", "PE", "AR")
    return here


def secret(here: Region, id: str = "bad", **changes: Any) -> dict[str, Any]:
    """A good alert with something confidential in its body and its header."""
    payload = here.payload("CL", id, case=f"{MARKER}-case", **changes)
    payload["body"] |= {"subject": f"{MARKER} subject", "text": f"The {MARKER} text, ñandú {MARKER}."}
    return payload


def spoiled(payload: dict[str, Any], **header: Any) -> dict[str, Any]:
    made = deepcopy(payload)
    made["header"] |= header
    return made


def attempts(here: Region) -> list[tuple[str, str, bool]]:
    """(what, token, did the signature hold): a secret message, refused at each step of the way."""
    good = secret(here)
    iat = int(here.clock().timestamp())
    key, stranger = here.keys["CL"], new_key()
    duplicate = octets_of(good)[:-1] + b',"body":{}}'
    wide = deepcopy(good)
    wide["header"]["handling"] = {"tlp": "RED", "release": {"all": True}}
    wrong_body = deepcopy(good)
    wrong_body["body"]["headings"] = []
    return [
        ("not base64url", here.sign(good) + "=", False),
        ("duplicate member", token(header_of(key, iat=iat), duplicate, key), False),
        ("alg none", token(header_of(key, iat=iat, alg="none"), good, key), False),
        ("unknown key", here.sign(good, key=stranger), False),
        ("bad signature", token(header_of(key, iat=iat), good, here.keys["PE"]), False),
        ("another's key", here.sign(good, key=here.keys["PE"]), True),
        ("signing time", here.sign(good, iat=iat + 3600), True),
        ("header", here.sign(spoiled(good, status="drill")), True),
        ("kind", here.sign(spoiled(good, kind="smuggling")), True),
        ("schema", here.sign(wrong_body), True),
        ("release", here.sign(wide), True),
        ("unknown member", here.sign(secret(here, release=to("XX"))), True),
        ("correction of nothing", here.sign(spoiled(good, supersedes="CL:none")), True),
    ]


async def test_nothing_of_a_refused_message_remains_anywhere(marked: Region, caplog: pytest.LogCaptureFixture) -> None:
    """Not in any table (signed objects decoded), not in a log line, not in the answer: singly, in a batch, checked."""
    answers: list[httpx2.Response] = []
    with caplog.at_level(logging.DEBUG):
        async with untouched(marked):
            for _, compact, _ in attempts(marked):
                answers.append(await marked.post(compact))
                answers.append(await marked.call("CL", "POST", "/v1/messages/check", compact))
            lines = "\n".join(json.dumps(compact) for _, compact, _ in attempts(marked))
            kind = {"content-type": "application/x-ndjson"}
            answers.append(await marked.http.post("/v1/messages/batch", content=lines, headers=kind))

    assert all(a.status_code >= 400 for a in answers[:-1])
    assert all(json.loads(line)["status"] >= 400 for line in answers[-1].text.splitlines())
    assert [a.text for a in answers if MARKER in a.text] == []
    assert MARKER not in await everything_kept(marked)
    assert MARKER not in caplog.text
    assert MARKER not in repr([record.__dict__ for record in caplog.records])


async def test_the_search_would_find_what_is_kept(marked: Region) -> None:
    """The test above is worth something only if an accepted message is found by the same search."""
    assert (await marked.post(marked.sign(secret(marked, "good")))).status_code == 201

    assert MARKER in await everything_kept(marked)


async def test_a_conflict_keeps_no_content_either(marked: Region, caplog: pytest.LogCaptureFixture) -> None:
    """Only the two digests and the hub's signed statement about them."""
    await marked.send("CL", "bad")
    with caplog.at_level(logging.DEBUG):
        async with untouched(marked, kept=1):
            answer = await marked.post(marked.sign(secret(marked)))

    refused(answer, 409, "conflict", "conflict", "/header/id")
    assert MARKER not in answer.text + caplog.text + await everything_kept(marked)


async def test_a_refusal_is_kept_only_where_the_signature_held(marked: Region) -> None:
    """Otherwise anybody could fill the ledger in anybody's name; what is kept is member, digest, code and rule."""
    expected = []
    for what, compact, held in attempts(marked):
        before = len(await refusals(marked))
        answer = await marked.post(compact)
        after = await refusals(marked)

        assert len(after) - before == held, what
        if held:
            signer = "PE" if what == "another's key" else "CL"
            expected.append((signer, answer.json()["code"], answer.json()["errors"][0]["rule"], jws.digest(compact)))
    r = t.refusals.c
    async with marked.hub.ledger.reading() as c:
        kept = [tuple(row) for row in await c.execute(select(r.member, r.code, r.rule, r.digest).order_by(r.number))]
        statements = set((await c.execute(select(r.jws))).scalars())
    assert kept == expected
    assert statements == {None}
    assert set(t.refusals.c.keys()) == {"number", "at", "member", "digest", "code", "rule", "jws"}


async def test_each_step_answers_for_itself_alone(marked: Region) -> None:
    """A message wrong in every way is told of the first step that fails, mended of the next, until it is accepted."""
    iat = int(marked.clock().timestamp())
    payload = marked.payload("CL", "many", {"groups": ["nowhere"]}, tlp="RED", status="drill", supersedes="CL:none")
    payload["body"] = {"subject": "", "reason": "x", "headings": []}
    key = marked.keys["CL"]
    steps: list[tuple[int, str, set[str]]] = []

    async def step(compact: str) -> None:
        problem = (answer := await marked.post(compact)).json()
        steps.append((answer.status_code, problem["code"], {e["pointer"] for e in problem["errors"]}))

    await step(token(header_of(key, iat=iat + 9999), payload, marked.keys["PE"]) + "=")
    await step(token(header_of(key, iat=iat + 9999, typ="JWT", alg="none"), payload, marked.keys["PE"]))
    await step(token(header_of(key, iat=iat + 9999), payload, marked.keys["PE"]))
    await step(token(header_of(key, iat=iat + 9999), payload, key))
    await step(token(header_of(key, iat=iat), payload, key))
    payload["header"]["status"] = "actual"
    await step(token(header_of(key, iat=iat), payload, key))
    payload["body"] = {"subject": "s", "reason": "x", "headings": ["y"]}
    await step(token(header_of(key, iat=iat), payload, key))
    payload["body"] = dict(marked.payload("CL")["body"])
    await step(token(header_of(key, iat=iat), payload, key))
    payload["header"]["handling"]["release"] = to("PE")
    await step(token(header_of(key, iat=iat), payload, key))
    payload["header"]["supersedes"] = None

    assert (await marked.post(marked.sign(payload))).status_code == 201
    assert steps == [
        (400, "malformed", {""}),
        (401, "signature", {"/alg", "/typ"}),
        (401, "signature", {""}),
        (422, "signing-time", {"/iat"}),
        (422, "invalid", {"/header/status"}),
        (422, "invalid", {"/body/subject", "/body/headings", "/body/reason"}),
        (422, "invalid", {"/body/headings/0", "/body/reason"}),
        (422, "release", {"/header/handling/release/groups", "/header/handling/release/groups/0"}),
        (409, "not-latest", {"/header/supersedes"}),
    ]


async def test_every_fault_says_where_which_rule_what_was_found_and_what_is_allowed(marked: Region) -> None:
    """In the caller's language, and the same in each: only the words differ."""
    payload = marked.payload("CL", "bad")
    payload["header"] |= {"status": "drill", "priority": "asap"}
    shown = {}
    for language in ("en", "es"):
        problem = refused(await marked.post(marked.sign(payload), **{"accept-language": language}), 422, "invalid")
        shown[language] = {e["pointer"]: e for e in problem["errors"]}
    english, spanish = shown["en"], shown["es"]

    assert english["/header/status"] == {
        "pointer": "/header/status",
        "rule": "enum",
        "detail": "“drill” is not one of: actual, exercise, test.",
        "allowed": ["actual", "exercise", "test"],
    }
    assert spanish["/header/status"]["detail"] == "“drill” no es uno de: actual, exercise, test."
    assert english.keys() == spanish.keys() == {"/header/status", "/header/priority"}
    for pointer in english:
        assert english[pointer]["allowed"] == spanish[pointer]["allowed"]


async def test_what_was_found_is_a_quotation_not_an_echo(marked: Region) -> None:
    """At most 80 characters of the very thing that is wrong."""
    payload = marked.payload("CL", "bad", priority="x" * 50_000)

    problem = refused(await marked.post(marked.sign(payload)), 422, "invalid", "enum", "/header/priority")

    assert len(json.dumps(problem)) < 2_000


async def test_more_faults_than_anybody_reads_are_cut_off(marked: Region) -> None:
    """The answer does not outgrow the question."""
    payload = marked.payload("CL", "bad", body={f"n{n}": n for n in range(64)} | {"subject": "s"})
    payload["header"] |= {f"unknown-{n}": n for n in range(2_000)}

    answer = await marked.post(marked.sign(payload))

    problem = refused(answer, 422, "invalid", "more-faults")
    assert len(problem["errors"]) == 257


async def test_a_bad_line_is_answered_in_its_place(marked: Region) -> None:
    """In order, one answer a line, and no line knows of another's fault."""
    good = [marked.sign(marked.payload("CL", f"g-{n}")) for n in range(len(attempts(marked)))]
    bad = [compact for _, compact, _ in attempts(marked)]
    lines = [line for pair in zip(good, bad, strict=True) for line in pair]
    single = [(await marked.post(compact)).json() for compact in bad]

    answer = await marked.http.post(
        "/v1/messages/batch",
        content="\n".join(map(json.dumps, lines)),
        headers={"content-type": "application/x-ndjson"},
    )

    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["line"] for line in told] == list(range(1, len(lines) + 1))
    assert [line["status"] for line in told[::2]] == [201] * len(good)
    for alone, line in zip(single, told[1::2], strict=True):
        assert {k: v for k, v in alone.items() if k != "request_id"} == line["problem"]


async def test_a_fault_of_ours_tells_nothing(
    marked: Region, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw is a bare 500 with the request id; the log has its lines, never its values."""

    async def broken(*_: object) -> None:
        async with marked.hub.ledger.accepting() as c:
            await c.execute(t.members.insert().values(id="XX", type="customs", name=MARKER))

    monkeypatch.setattr("broker.acknowledge.post", broken)
    with caplog.at_level(logging.INFO):
        answer = await marked.call("CL", "POST", "/v1/messages/CL:x/acknowledgement", "x.y.z")

    problem = refused(answer, 500, "internal")
    assert problem.keys() == {"type", "title", "status", "code", "request_id"}
    assert "request.failed" in caplog.text
    assert MARKER not in answer.text + caplog.text


async def test_a_suspended_originator_is_told_so_and_nothing_else(marked: Region) -> None:
    """Before the content is looked at: suspension closes the door, not the argument."""
    payload = marked.payload("CL", "bad", status="drill")
    await administer.set_active(marked.hub.ledger, "CL", False, marked.clock())

    problem = refused(await marked.post(marked.sign(payload)), 403, "member-suspended", "member-suspended")

    assert len(problem["errors"]) == 1
