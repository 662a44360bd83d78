"""Truly signed messages that are wrong in what they say, each refused by rule and pointer, with nothing recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from broker.language.kinds import schemas_folder
from tests.forge import header_of, messages, octets_of, refused, token, untouched
from tests.region import ALERT, Region, to


@pytest.fixture
async def hub(alone: Region) -> AsyncIterator[Region]:
    """Whatever is refused, the number of messages stays."""
    async with untouched(alone):
        yield alone


def signed(here: Region, payload: bytes) -> str:
    """Any octets, truly signed by Chile."""
    return token(header_of(here.keys["CL"], iat=int(here.clock().timestamp())), payload, here.keys["CL"])


async def batch(here: Region, *lines: str | bytes) -> list[dict[str, Any]]:
    octets = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    answer = await here.http.post(
        "/v1/messages/batch", content=octets, headers={"content-type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def changed(payload: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`payload` with `value` at `path` (slashes); ... takes the member away."""
    made = deepcopy(payload)
    *parents, last = path.split("/")
    place = made
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


# --- octets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"body":', b'"body":{},"body":'),
        (b'"id":', b'"id":"other","id":'),
        (b'"tlp":', b'"tlp":"CLEAR","tlp":'),
        (b'"release":', b'"release":{"all":true},"release":'),
        (b'"member":', b'"member":"AR","member":'),
        (b'"subject":', b'"subject":"x","subject":'),
        (b'"tlp":', b'"\\u0074lp":"CLEAR","tlp":'),
    ],
)
async def test_a_member_that_comes_twice_at_any_depth(hub: Region, old: bytes, new: bytes) -> None:
    """Two readers could read two releases out of one signature; escapes do not hide it."""
    octets = octets_of(hub.payload("CL", "bad"))
    assert octets.count(old) == 1

    refused(await hub.post(signed(hub, octets.replace(old, new))), 400, "malformed", "duplicate-member")


BROKEN: list[tuple[str, Any, str]] = [
    ("invalid UTF-8", lambda o: o.replace(b"Cigarettes", b"Cig\xff"), "json"),
    ("a surrogate in UTF-8", lambda o: o.replace(b"Cigarettes", b"\xed\xa0\x80"), "json"),
    ("an overlong form", lambda o: o.replace(b"Cigarettes", b"\xc0\xaf"), "json"),
    ("a lone surrogate", lambda o: o.replace(b"Cigarettes", b"\\ud800"), "json"),
    ("a byte-order mark", lambda o: b"\xef\xbb\xbf" + o, "json"),
    ("UTF-16", lambda o: o.decode().encode("utf-16"), "json"),
    ("a tail", lambda o: o + b"{}", "json"),
    ("a comment", lambda o: o.replace(b'"body"', b'/* */"body"'), "json"),
    ("a trailing comma", lambda o: o[:-1] + b",}", "json"),
    ("a control character", lambda o: o.replace(b"Cigarettes", b"a\nb"), "json"),
    ("NaN", lambda o: o.replace(b'"Cigarettes', b'NaN,"x":"'), "json"),
    ("U+0000", lambda o: o.replace(b"Cigarettes", b"\\u0000"), "nul"),
    ("U+0000 in a name", lambda o: o.replace(b'"subject"', b'"subj\\u0000ct"'), "nul"),
    ("a number beyond doubles", lambda o: o.replace(b'"body":{', b'"body":{"n":1e999,'), "number-range"),
    ("an integer beyond 53 bits", lambda o: o.replace(b'"body":{', b'"body":{"n":9007199254740993,'), "number-range"),
    (
        "an integer of 5,000 digits",
        lambda o: o.replace(b'"body":{', b'"body":{"n":' + b"7" * 5000 + b","),
        "number-range",
    ),
    ("arrays nested 100,000 deep", lambda o: o.replace(b'"body":{', b'"body":{"n":' + b"[" * 100_000), "nesting"),
    (
        "objects nested 40 deep",
        lambda o: o.replace(b'"body":{', b'"body":{"n":' + b'{"n":' * 40 + b"1" + b"}" * 40 + b","),
        "nesting",
    ),
    ("an array", lambda o: b"[" + o + b"]", "object"),
    ("a string", lambda o: json.dumps(o.decode()).encode(), "object"),
    ("null", lambda o: b"null", "object"),
    ("blank", lambda o: b" ", "json"),
]


@pytest.mark.parametrize(("what", "mangle", "rule"), BROKEN, ids=[what for what, _, _ in BROKEN])
async def test_a_payload_that_is_no_strict_json(hub: Region, what: str, mangle: Any, rule: str) -> None:
    """RFC 8259 and I-JSON to the letter, whoever signed it; in a batch its neighbour is accepted all the same."""
    octets = mangle(octets_of(hub.payload("CL", "bad")))

    refused(await hub.post(signed(hub, octets)), 400, "malformed", rule)


async def test_no_broken_payload_sinks_a_batch(fresh: Region) -> None:
    """All of them in one batch around a good one: one line an answer, one message recorded."""
    octets = octets_of(fresh.payload("CL", "bad"))
    lines: list[str | bytes] = [signed(fresh, mangle(octets)) for _, mangle, _ in BROKEN]
    lines[5:5] = [fresh.sign(fresh.payload("CL", "good"))]
    lines += [
        b"",
        b"nonsense",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'"\xff"',
        b'"\\ud800"',
        b'"' + b"x" * 300_000 + b'"',
        b"[" * 3000,
    ]
    before = await messages(fresh)

    answers = await batch(fresh, *lines)

    assert [a["line"] for a in answers] == list(range(1, len(lines) + 1))
    assert [a["line"] for a in answers if a["status"] == 201] == [6]
    assert all(a["problem"]["code"] in ("malformed", "too-large") for a in answers if a["status"] != 201)
    assert await messages(fresh) == before + 1


async def test_an_odd_id_sinks_no_batch(fresh: Region) -> None:
    """The id is looked up before the schema is: whatever it is, only its own line fails."""
    odd: list[Any] = ["a\0b", "é" * 64, "x" * 5000, "", 1, None, [], {}, True, "a b", "a:b", "\U0001f6a2", "a\n"]
    payloads = [changed(fresh.payload("CL"), "header/id", id) for id in odd]
    async with untouched(fresh):
        answers = await batch(fresh, *(fresh.sign(p) for p in payloads))

    assert {a["status"] for a in answers} == {400, 422}
    assert [a["problem"]["code"] for a in answers] == ["malformed"] + ["invalid"] * (len(odd) - 1)
    assert all(a["problem"]["errors"][0]["pointer"] == "/header/id" for a in answers[1:])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batch", "/v1/messages/check"])
async def test_ten_megabytes_are_refused_before_they_are_read(hub: Region, path: str) -> None:
    """By the length it announces; and without one, as soon as too much has come."""
    kind = {"/v1/messages": "application/jose", "/v1/messages/batch": "application/x-ndjson"}.get(
        path, "application/json"
    )
    headers = {"content-type": kind, "authorization": f"Bearer {await hub.token('CL')}"}
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(110):
            read += 100_000
            yield b"x" * 100_000

    announced = await hub.http.post(path, content=b"x" * 10_000_001, headers=headers)
    silent = await hub.http.post(path, content=chunks(), headers=headers)

    for answer in (announced, silent):
        refused(answer, 413, "too-large", "too-large")


@pytest.mark.parametrize("length", ["9" * 30, "10000001", "262145"])
async def test_a_length_that_is_only_announced_is_enough(hub: Region, length: str) -> None:
    refused(await hub.post(b"x", **{"content-length": length}), 413, "too-large", "too-large")


@pytest.mark.parametrize("length", ["²", "٣", "-1", "x", ""])
async def test_a_length_that_is_none_is_not_believed(hub: Region, length: str) -> None:
    """A header is octets from anybody: what only looks like a number is no number, and no crash."""
    request = hub.http.build_request("POST", "/v1/messages", content=b"x", headers={"content-type": "application/jose"})
    raw = [(k, v) for k, v in request.headers.raw if k.lower() != b"content-length"]
    request.headers = type(request.headers)([*raw, (b"content-length", length.encode("latin-1", "replace"))])

    refused(await hub.http.send(request), 400, "malformed", "compact-form")


async def test_a_message_just_too_large(hub: Region) -> None:
    """The limit is on the compact form, and told before anything is decoded."""
    payload = hub.payload("CL", "bad", body=ALERT | {"text": "x" * 200_000})

    refused(await hub.post(hub.sign(payload)), 413, "too-large", "too-large")


async def test_a_batch_of_too_many_lines(hub: Region) -> None:
    for lines in (b"", b"\n" * 1001, b'"x"\n' * 1001):
        answer = await hub.http.post(
            "/v1/messages/batch", content=lines, headers={"content-type": "application/x-ndjson"}
        )

        refused(answer, 413, "too-large", "batch-lines")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/json",
        "application/jwt",
        "application/octet-stream",
        "multipart/form-data",
        "application/josejson",
        "application/jose, application/jose+json",
    ],
)
async def test_a_media_type_that_is_not_wanted(hub: Region, kind: str) -> None:
    """Told before the body is read, with what is wanted."""
    answer = await hub.post(hub.sign(hub.payload("CL", "bad")), kind)

    problem = refused(answer, 415, "media-type", "media-type", "/content-type")
    assert problem["errors"][0]["allowed"] == ["application/jose", "application/jose+json"]


async def test_the_other_doors_media_types(hub: Region) -> None:
    bearer = {"authorization": f"Bearer {await hub.token('CL')}"}
    for path, kind in (
        ("/v1/messages/batch", "application/json"),
        ("/v1/messages/check", "text/plain"),
        ("/v1/messages/CL:a-1/acknowledgement", "application/json"),
        ("/v1/oauth/token", "application/json"),
        ("/v1/subscriptions", "application/x-www-form-urlencoded"),
    ):
        answer = await hub.http.post(path, content=b"{}", headers=bearer | {"content-type": kind})

        refused(answer, 415, "media-type", "media-type", "/content-type")


async def test_a_media_type_may_have_parameters_and_capitals(anew: Region) -> None:
    answer = await anew.post(anew.sign(anew.payload("CL", "ok")), "Application/JOSE; charset=utf-8")

    assert answer.status_code == 201


# --- header and body ---------------------------------------------------------------------------------------------

WRONG_HEADERS: list[tuple[str, Any, str, str]] = [
    ("header/id", ..., "required", "/header/id"),
    ("header/id", "a/b", "pattern", "/header/id"),
    ("header/id", "x" * 65, "pattern", "/header/id"),
    ("header/kind", ..., "required", "/header/kind"),
    ("header/kind", "smuggling", "unknown-kind", "/header/kind"),
    ("header/kind", "withdrawal", "unknown-kind", "/header/kind"),
    ("header/kind", "notice", "kind-reserved", "/header/kind"),
    ("header/kind", "../alert", "pattern", "/header/kind"),
    ("header/version", "9.9", "unknown-version", "/header/version"),
    ("header/version", "1", "pattern", "/header/version"),
    ("header/version", 1.0, "type", "/header/version"),
    ("header/status", "drill", "enum", "/header/status"),
    ("header/status", ["actual"], "enum", "/header/status"),
    ("header/event_at", "2026-11-19T22:10:00", "date-time", "/header/event_at"),
    ("header/event_at", "0001-01-01T00:00:00+14:00", "pattern", "/header/event_at"),
    ("header/event_at", "9999-12-31T23:59:59-14:00", "pattern", "/header/event_at"),
    ("header/event_at", "2026-11-19T22:10:60Z", "date-time", "/header/event_at"),
    ("header/event_at", "2026-02-30T00:00:00Z", "date-time", "/header/event_at"),
    ("header/event_at", "2026-11-19T22:10:00+99:99", "date-time", "/header/event_at"),
    ("header/event_at", "2099-12-31T23:59:59-23:59", "event-in-future", "/header/event_at"),
    ("header/expires_at", "1999-01-01T00:00:00Z", "expires-before-event", "/header/expires_at"),
    ("header/expires_at", "9999-12-31T23:59:59-14:00", "pattern", "/header/expires_at"),
    ("header/expires_at", 1, "type", "/header/expires_at"),
    ("header/priority", "asap", "enum", "/header/priority"),
    ("header/supersedes", "a-1", "pattern", "/header/supersedes"),
    ("header/references", ["CL:a-1"] * 2, "repeated", "/header/references"),
    ("header/unknown", 1, "unknown-member", "/header/unknown"),
    ("header/a~1b", 1, "unknown-member", "/header/a~01b"),
    ("header/grading", {"scheme": "admiralty", "source": "Z", "information": "2"}, "enum", "/header/grading/source"),
    ("header/handling", ..., "required", "/header/handling"),
    ("header/handling/tlp", "PINK", "enum", "/header/handling/tlp"),
    ("header/handling/tlp", "red", "enum", "/header/handling/tlp"),
    ("header/handling/release", None, "release-missing", "/header/handling/release"),
    ("header/handling/release", ..., "required", "/header/handling/release"),
    ("header/handling/release/all", 1, "type", "/header/handling/release/all"),
    (
        "header/handling/release/to",
        [{"member": "PE", "duties": ["eat"]}],
        "enum",
        "/header/handling/release/to/0/duties/0",
    ),
    ("header/handling/release/to", [{"member": "pe"}], "pattern", "/header/handling/release/to/0/member"),
    ("header/handling/release/to", [{"member": "PE"}] * 257, "too-many", "/header/handling/release/to"),
    ("header/handling/release/groups", [f"g{n}" for n in range(17)], "too-many", "/header/handling/release/groups"),
    ("body", ..., "required", "/body"),
    ("body", [], "type", "/body"),
    ("body/subject", ..., "required", "/body/subject"),
    ("body/subject", "x" * 501, "too-long", "/body/subject"),
    ("body/headings", ["moonshine"], "unknown-code", "/body/headings/0"),
    ("body/origins", ["UK"], "unknown-country", "/body/origins/0"),
    ("body/note", "x", "unknown-member", "/body/note"),
    ("extra", 1, "unknown-member", "/extra"),
]


@pytest.mark.parametrize(("path", "value", "rule", "pointer"), WRONG_HEADERS)
async def test_what_a_message_says_is_checked_to_the_letter(
    hub: Region, path: str, value: Any, rule: str, pointer: str
) -> None:
    """Rule, pointer and sentence; the check of a draft says the same as the post."""
    payload = changed(hub.payload("CL", "bad"), path, value)

    posted = refused(await hub.post(hub.sign(payload, "CL")), 422, "invalid", rule, pointer)
    checked = refused(await hub.call("CL", "POST", "/v1/messages/check", payload), 422, "invalid", rule, pointer)

    assert posted["errors"] == checked["errors"]


async def test_every_fault_of_the_step_is_told_at_once(hub: Region) -> None:
    """Who mends one fault after another posts ten times."""
    payload = hub.payload("CL", "bad")
    payload["header"] |= {"status": "drill", "priority": "asap", "language": "Spanish"}

    problem = refused(await hub.post(hub.sign(payload)), 422, "invalid")

    assert {e["pointer"] for e in problem["errors"]} == {"/header/status", "/header/priority", "/header/language"}
    assert {"routine", "priority", "urgent"} <= set(problem["errors"][1]["allowed"] + problem["errors"][0]["allowed"])


@pytest.mark.parametrize("header", [..., None, [], "x", 1, {}, {"originator": 1}, {"originator": None}])
async def test_a_message_without_an_originator_is_nobodys(hub: Region, header: Any) -> None:
    payload = changed(hub.payload("CL", "bad"), "header", header)

    refused(await hub.post(hub.sign(payload, "CL")), 400, "malformed", "required", "/header/originator")


def examples() -> list[tuple[str, dict[str, Any]]]:
    folder: Path = schemas_folder() / "examples"
    return [(path.stem, json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]


def _strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in _strings(v, (*path, k))]
    if isinstance(value, list):
        return [p for n, v in enumerate(value) for p in _strings(v, (*path, n))]
    return [path] if isinstance(value, str) else []


ODD_TEXTS = [
    "",
    "\u0001",
    "\u202e",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "x" * 5000,
    "’; DROP TABLE",
    "٣",
    "²",
    "\u2028",
    "{found}",
    "%s",
    "[a](b)",
]


def _with_odd_texts() -> list[dict[str, Any]]:
    """Each published example as Chile's own, once for each string in it, which is something odd instead."""
    made: list[dict[str, Any]] = []
    for _, example in examples():
        payload = deepcopy(example)
        payload["header"] |= {"originator": "CL", "status": "test"}
        payload["header"]["handling"]["release"] = to("PE")
        for place in _strings(payload):
            if place == ("header", "originator"):
                continue
            one = deepcopy(payload)
            one["header"]["id"] = f"odd-{len(made)}"
            holder: Any = one
            for name in place[:-1]:
                holder = holder[name]
            holder[place[-1]] = ODD_TEXTS[len(made) % len(ODD_TEXTS)]
            made.append(one)
    return made


@pytest.mark.long
async def test_odd_text_in_any_place_of_any_example_crashes_nothing(fresh: Region) -> None:
    """Accepted or refused, never a crash, and never at a neighbour's cost."""
    payloads = _with_odd_texts()
    assert len(payloads) > 500
    for start in range(0, len(payloads), 400):
        answers = await batch(fresh, *map(fresh.sign, payloads[start : start + 400]))

        assert {a["status"] for a in answers} <= {201, 409, 422}, [a for a in answers if a["status"] not in (201, 422)]


# --- identifiers -------------------------------------------------------------------------------------------------


def _place_of_containers() -> dict[str, Any]:
    """An example's body that holds a container, and where."""
    for _, payload in examples():
        for place in _strings(payload["body"]):
            holder: Any = payload["body"]
            for name in place:
                holder = holder[name]
            if isinstance(holder, str) and len(holder) == 11 and holder[:4].isalpha() and holder[4:].isdigit():
                return {"payload": payload, "place": place, "number": holder}
    raise AssertionError("no example has a container")


async def test_a_wrong_check_digit_is_told_with_the_right_one(anew: Region) -> None:
    """ISO 6346: the digit that was expected; a number that is believed to be forged is itself intelligence."""
    found = _place_of_containers()
    payload = deepcopy(found["payload"])
    payload["header"] |= {"originator": "CL", "id": "digit", "status": "test"}
    payload["header"]["handling"] = {"tlp": "AMBER", "release": to("PE")}
    number = found["number"]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    holder: Any = payload["body"]
    for name in found["place"][:-1]:
        holder = holder[name]
    holder[found["place"][-1]] = wrong
    pointer = "/body/" + "/".join(map(str, found["place"]))
    async with untouched(anew, kept=1):
        answer = await anew.post(anew.sign(payload))
    problem = refused(answer, 422, "invalid", "check-digit", pointer)
    assert number in next(e for e in problem["errors"] if e["rule"] == "check-digit")["allowed"]

    assert isinstance(holder, dict), "the example's container stands in an object that can say what is believed"
    holder["as"] = "believed-false"
    believed = await anew.post(anew.sign(payload))

    assert believed.status_code == 201, believed.text
    assert ("check-digit", pointer) in [(w["rule"], w["pointer"]) for w in believed.json()["warnings"]]


# --- the language of the answer ----------------------------------------------------------------------------------


async def test_the_answer_speaks_spanish(hub: Region) -> None:
    """Title and every sentence, of a post, a check, and each line of a batch."""
    bad = hub.sign(hub.payload("CL", "bad", version="9.9"))
    spanish = {"accept-language": "es-CL,es;q=0.9,en;q=0.8"}

    problem = refused(await hub.post(bad, **spanish), 422, "invalid", "unknown-version", "/header/version")
    line = await hub.http.post(
        "/v1/messages/batch", content=json.dumps(bad), headers={"content-type": "application/x-ndjson", **spanish}
    )

    assert problem["title"] == "El mensaje no cumple su esquema o las reglas"
    assert problem["detail"] == "La clase alert no tiene versión 9.9. Se conocen: 1.0."
    assert json.loads(line.text)["problem"]["errors"] == problem["errors"]
