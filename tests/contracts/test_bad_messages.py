"""Truly signed messages that are wrong in what they say, each refused by rule and pointer, with nothing recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker import administer, jws
from broker.errors import RegistryRefused
from broker.language.kinds import schemas_folder
from tests.forge import header_of, messages, octets_of, refused, same_but_for_the_request, token, untouched
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


def _examples() -> list[tuple[str, dict[str, Any]]]:
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
    for _, example in _examples():
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
    for _, payload in _examples():
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


# --- the release -------------------------------------------------------------------------------------------------

AT = "/header/handling/release"


@pytest.fixture
async def grouped(fresh: Region) -> Region:
    """A group with Chile in it, and one without."""
    await fresh.group("own", "CL", "PE")
    await fresh.group("foreign", "PE", "AR")
    await administer.add_member(fresh.hub.ledger, "ECHO", "hub", "Echo", fresh.clock())
    return fresh


async def test_a_release_that_cannot_be_granted_is_refused_not_narrowed(grouped: Region) -> None:
    """TLP 2.0, and who is known; each with the place in the release. The check says the same."""
    cases: list[tuple[str, Any, str, str]] = [
        ("RED", {"groups": ["own"]}, "release-wider-than-marking", f"{AT}/groups"),
        ("RED", {"all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("RED", {"to": [{"member": "PE"}], "groups": ["own"], "all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("AMBER+STRICT", {"all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("AMBER", {"all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("AMBER", to("XX"), "unknown-member", f"{AT}/to"),
        ("AMBER", to("hub"), "unknown-member", f"{AT}/to"),
        ("GREEN", {"all": True, "except": ["XX"]}, "unknown-member", f"{AT}/except"),
        ("GREEN", {"all": True, "except": ["hub"]}, "unknown-member", f"{AT}/except"),
        ("AMBER", {"groups": ["own", "foreign"]}, "group-refused", f"{AT}/groups/1"),
        ("AMBER", {"groups": ["nowhere"]}, "group-refused", f"{AT}/groups/0"),
        ("AMBER", to("ECHO"), "echo-in-actual", f"{AT}/to"),
    ]
    for tlp, release, rule, pointer in cases:
        payload = grouped.payload("CL", "bad", release, tlp=tlp)
        async with untouched(grouped, kept=1):
            posted = await grouped.post(grouped.sign(payload))
            checked = await grouped.call("CL", "POST", "/v1/messages/check", payload)
        first = refused(posted, 422, "release", rule, pointer)
        second = refused(checked, 422, "release", rule, pointer)
        assert first["errors"] == second["errors"]


async def test_an_unknown_group_and_a_foreign_one_get_the_same_answer(grouped: Region) -> None:
    """Byte for byte, by post, batch and check: nobody learns which groups exist, ran, or will run."""
    payload = grouped.payload("CL", "bad", {"groups": ["secret"]})
    token_ = grouped.sign(payload)
    nowhere = [await grouped.post(token_), await grouped.call("CL", "POST", "/v1/messages/check", payload)]
    nowhere_line = await batch(grouped, token_)
    past, future = grouped.clock() - timedelta(days=1), grouped.clock() + timedelta(days=1)
    await grouped.group("secret", "PE", "AR")
    foreign = [await grouped.post(token_), await grouped.call("CL", "POST", "/v1/messages/check", payload)]
    foreign_line = await batch(grouped, token_)
    await grouped.group("ended", "CL", ends_at=past)
    await grouped.group("planned", "CL", starts_at=future)

    refused(nowhere[0], 422, "release", "group-refused", f"{AT}/groups/0")
    assert same_but_for_the_request(nowhere[0], foreign[0])
    assert same_but_for_the_request(nowhere[1], foreign[1])
    assert nowhere_line == foreign_line
    for name in ("ended", "planned"):
        answer = await grouped.post(grouped.sign(grouped.payload("CL", "bad", {"groups": [name]})))
        assert answer.content.replace(name.encode(), b"secret").replace(
            answer.headers["x-request-id"].encode(), b""
        ) == nowhere[0].content.replace(nowhere[0].headers["x-request-id"].encode(), b"")


async def test_echo_never_sees_what_is_actual(grouped: Region) -> None:
    """Named in an exercise it is reached; through `all` and groups never."""
    assert (
        await grouped.post(grouped.sign(grouped.payload("CL", "drill", to("ECHO"), status="exercise")))
    ).status_code == 201
    with pytest.raises(RegistryRefused):
        await administer.join(grouped.hub.ledger, "own", "ECHO", grouped.clock())
    answer = await grouped.call(
        "CL", "POST", "/v1/messages/check", grouped.payload("CL", "x", {"all": True}, tlp="CLEAR", status="exercise")
    )
    assert "ECHO" not in [r["member"] for r in answer.json()["recipients"]]


async def test_what_reaches_nobody_is_accepted_with_a_warning(grouped: Region) -> None:
    """An empty release, one that `except` empties, a suspended recipient: recorded, and said."""
    await administer.set_active(grouped.hub.ledger, "AR", False, grouped.clock())
    for release, rules in (
        ({}, {"nobody"}),
        ({"to": [{"member": "PE"}], "except": ["PE"]}, {"nobody"}),
        (to("AR"), {"nobody", "member-is-suspended"}),
    ):
        answer = await grouped.post(grouped.sign(grouped.payload("CL", None, release)))

        assert answer.status_code == 201, answer.text
        assert {w["rule"] for w in answer.json()["warnings"]} == rules


# --- corrections -------------------------------------------------------------------------------------------------


async def test_a_correction_that_cannot_be(fresh: Region) -> None:
    """Unknown, outdated, withdrawn, another's, of another kind or status: each with its own answer, none recorded."""
    await fresh.send("PE", "p-1", to("CL"))
    await fresh.send("CL", "old")
    await fresh.send("CL", "new", supersedes="CL:old")
    await fresh.send("CL", "gone")
    withdrawal = await fresh.withdraw("CL:gone")
    reported = next(e["body"] for _, e in _examples() if e["header"]["kind"] == "seizure")
    cases: list[tuple[dict[str, Any], int, str, str, str]] = [
        (
            fresh.payload("CL", "x", supersedes="CL:none"),
            409,
            "not-latest",
            "correction-of-unknown",
            "/header/supersedes",
        ),
        (fresh.payload("CL", "x", supersedes="CL:x"), 409, "not-latest", "correction-of-unknown", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="CL:old"), 409, "not-latest", "not-the-latest", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="CL:gone"), 409, "withdrawn", "chain-withdrawn", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes=withdrawal), 409, "withdrawn", "chain-withdrawn", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="PE:p-1"), 422, "invalid", "correction-of-another", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="PE:none"), 422, "invalid", "correction-of-another", "/header/supersedes"),
        (
            fresh.payload("CL", "x", supersedes="CL:new", kind="seizure", body=reported),
            422,
            "invalid",
            "correction-differs",
            "/header/kind",
        ),
        (
            fresh.payload("CL", "x", supersedes="CL:new", status="test"),
            422,
            "invalid",
            "correction-differs",
            "/header/status",
        ),
        (fresh.withdrawal("CL:none", id="x"), 409, "not-latest", "correction-of-unknown", "/header/withdraws"),
        (fresh.withdrawal("CL:old", id="x"), 409, "not-latest", "not-the-latest", "/header/withdraws"),
        (fresh.withdrawal("CL:gone", id="x"), 409, "withdrawn", "chain-withdrawn", "/header/withdraws"),
        (fresh.withdrawal(withdrawal, id="x"), 409, "withdrawn", "chain-withdrawn", "/header/withdraws"),
        (fresh.withdrawal("CL:new", id="x", kind="seizure"), 422, "invalid", "correction-differs", "/header/kind"),
        (
            changed(fresh.withdrawal("CL:new", id="x"), "header/supersedes", "CL:new"),
            422,
            "invalid",
            "supersedes-and-withdraws",
            "/header/withdraws",
        ),
        (
            changed(fresh.withdrawal("CL:new", id="x"), "header/handling/release", to("PE")),
            422,
            "invalid",
            "release-of-withdrawal",
            "/header/handling/release",
        ),
        (
            changed(fresh.withdrawal("CL:new", id="x"), "body/reason_code", "bored"),
            422,
            "invalid",
            "unknown-code",
            "/body/reason_code",
        ),
        (changed(fresh.withdrawal("CL:new", id="x"), "body", ALERT), 422, "invalid", "required", "/body/reason_code"),
    ]
    for payload, status, code, rule, pointer in cases:
        async with untouched(fresh, kept=1):
            answer = await fresh.post(fresh.sign(payload))
        refused(answer, status, code, rule, pointer)


async def test_anothers_message_can_be_neither_amended_nor_withdrawn(anew: Region) -> None:
    """Whether or not it exists: the answer is given without a look."""
    await anew.send("PE", "p-1", to("CL"))
    answers = []
    for target in ("PE:p-1", "PE:p-2"):
        payload = anew.withdrawal(target, id="x")
        payload["header"]["originator"] = "CL"
        async with untouched(anew, kept=1):
            answers.append(await anew.post(anew.sign(payload)))

    refused(answers[0], 422, "invalid", "correction-of-another", "/header/withdraws")
    assert answers[0].content.replace(b"p-1", b"p-2")[:200] == answers[1].content[:200]
    assert (await anew.call("CL", "GET", "/v1/messages/PE:p-1")).json()["state"] == "current"


async def test_a_line_may_correct_an_earlier_line_but_not_a_refused_one(anew: Region) -> None:
    first = anew.sign(anew.payload("CL", "b-1", version="9.9"))
    second = anew.sign(anew.payload("CL", "b-2", supersedes="CL:b-1"))
    async with untouched(anew, kept=2):
        answers = await batch(anew, first, second)

    assert [(a["status"], a["problem"]["errors"][0]["rule"]) for a in answers] == [
        (422, "unknown-version"),
        (409, "correction-of-unknown"),
    ]


async def test_two_lines_at_one_address_are_one_message_and_a_conflict(fresh: Region) -> None:
    """Within one transaction too."""
    one, other = fresh.payload("CL", "b-1"), fresh.payload("CL", "b-1")
    other["body"]["subject"] = "Other"
    before = await messages(fresh)

    answers = await batch(fresh, fresh.sign(one), fresh.sign(other), fresh.sign(one))

    assert [a["status"] for a in answers] == [201, 409, 200]
    assert answers[1]["problem"]["code"] == "conflict"
    jws.verify(jws.read(answers[1]["problem"]["refusal"].encode(), typ=jws.TYP_REFUSAL), jws.public_jwk(fresh.hub.key))
    assert answers[0]["receipt"] == answers[2]["receipt"]
    assert await messages(fresh) == before + 1


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
