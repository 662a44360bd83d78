"""JSON Schema 2020-12 as we rely on it: what our schemas mean, whoever reads them, and what reading never does."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from broker.errors import SetupRefused
from broker.language.schema import compile_schema, schema_faults
from tests.generate import LANGUAGE, kinds, message
from tests.mutate import MISTAKES, Draft
from tests.second_opinion import second_opinion

SCHEMAS = {"/".join(one): known.schema for one, known in LANGUAGE.kinds.items()} | {"envelope": LANGUAGE.envelope}


def told(schema: dict[str, Any], value: Any) -> set[tuple[str, str]]:
    """(rule, pointer) of every fault; a second validator must agree on whether there is one."""
    faults = schema_faults(compile_schema("test", schema), schema, value)
    assert second_opinion(schema).is_valid(value) == (not faults)
    return {(fault.rule, fault.pointer) for fault in faults}


# --- what a keyword means ----------------------------------------------------------------------------------------

PART = {"$defs": {"p": {"type": "string", "maxLength": 3}}}
CLOSED = {"$defs": {"p": {"type": "object", "additionalProperties": False, "properties": {"a": {}}}}}
UNIQUE = {"uniqueItems": True}
FOUND = {"contains": {"required": ["side"], "properties": {"side": {"const": "found"}}}}
MEANINGS: list[tuple[str, dict[str, Any], Any, set[tuple[str, str]]]] = [
    ("what stands beside $ref holds, too", {"$ref": "#/$defs/p", "minLength": 2, **PART}, "a", {("too-short", "")}),
    ("and so does the part", {"$ref": "#/$defs/p", "minLength": 2, **PART}, "abcd", {("too-long", "")}),
    ("both at once", {"properties": {"x": {"$ref": "#/$defs/p", "enum": ["ab"], **PART}}, **PART}, {"x": "abcd"},
     {("too-long", "/x"), ("enum", "/x")}),
    ("a closed part does not know the members beside it", {"$ref": "#/$defs/p", "properties": {"b": {}}, **CLOSED},
     {"a": 1, "b": 1}, {("unknown-member", "/b")}),
    ("then without if says nothing", {"then": {"required": ["a"]}, "else": {"required": ["b"]}}, {}, set()),
    ("if without then says nothing", {"if": {"required": ["a"]}}, {}, set()),
    ("a condition on what is absent holds", {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}, {},
     {("required", "/b")}),
    ("unless it is required to be there",
     {"if": {"required": ["a"], "properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}, {}, set()),
    ("contains asks for one at least", FOUND, [{"side": "declared"}], {("contains", "")}),
    ("contains is content with one", FOUND, [{"side": "declared"}, {"side": "found"}], set()),
    ("contains asks nothing of what is no array", FOUND, {}, set()),
    ("contains asks of an empty array what it asks", FOUND, [], {("contains", "")}),
    ("a constant", {"const": "a"}, "b", {("enum", "")}),
    ("a constant is its value, not its type", {"const": 1}, 1.0, set()),
    ("true is not 1", {"const": 1}, True, {("enum", "")}),
    ("nor is false 0", {"enum": [0, ""]}, False, {("enum", "")}),
    ("an object is equal whatever the order", {"const": {"a": 1, "b": 2}}, {"b": 2, "a": 1}, set()),
    ("required asks nothing of what is no object", {"required": ["a"]}, "a", set()),
    ("members of another type are not looked for", {"properties": {"a": {"type": "string"}}}, ["a"], set()),
    ("a length is one of characters, not of octets", {"maxLength": 2}, "😀é", set()),
    ("a combined letter is two", {"maxLength": 1}, "e\u0301", {("too-long", "")}),
    ("1.0 is an integer", {"type": "integer"}, 1.0, set()),
    ("1e2 is an integer", {"type": "integer", "maximum": 100}, 1e2, set()),
    ("1.5 is none", {"type": "integer"}, 1.5, {("type", "")}),
    ("true is no integer", {"type": "integer"}, True, {("type", "")}),
    ("a number in quotes is none", {"type": "integer"}, "1", {("type", "")}),
    ("an integer larger than 64 bits is one", {"type": "integer"}, 2**70, set()),
    ("and is above a maximum", {"maximum": 100}, 10**30, {("above-maximum", "")}),
    ("and below a minimum", {"minimum": 0}, -(10**30), {("below-minimum", "")}),
    ("2^53 + 1 is not 2^53", {"maximum": 2**53}, 2**53 + 1, {("above-maximum", "")}),
    ("objects may occur once", UNIQUE, [{"a": 1, "b": [2]}, {"b": [2], "a": 1}], {("repeated", "")}),
    ("1 and 1.0 are one", UNIQUE, [1, 1.0], {("repeated", "")}),
    ("1 and true are two", UNIQUE, [1, True, 0, False, "1"], set()),
    ("in objects, too", UNIQUE, [{"a": 1}, {"a": True}], set()),
    ("an empty object and an empty array are two", UNIQUE, [{}, [], "", None], set()),
    ("a type of two", {"type": ["string", "null"]}, None, set()),
    ("a limit of length asks nothing of null", {"type": ["string", "null"], "minLength": 1}, None, set()),
    ("nothing is allowed", {"properties": {"a": False}}, {"a": 1}, {("schema", "/a")}),
    ("a slash and a tilde in a name", {"properties": {"a": {}}, "additionalProperties": False}, {"a/b~c": 1},
     {("unknown-member", "/a~1b~0c")}),
    ("an empty name", {"properties": {"a": {}}, "additionalProperties": False}, {"": 1}, {("unknown-member", "/")}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "schema", "value", "expected"), MEANINGS, ids=[case[0] for case in MEANINGS])
def test_a_keyword_means_what_we_take_it_to_mean(
    name: str, schema: dict[str, Any], value: Any, expected: set[tuple[str, str]]
) -> None:
    """And another validator reads it alike: whoever takes our schemas gets our verdicts."""
    assert told(schema, value) == expected


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("^[A-Z]$", "A", True),
        ("^[A-Z]$", "A\n", False),  # Python's $ would let it pass
        ("^[A-Z]$", "\nA", False),
        ("^[A-Z]$", "A\nB", False),
        ("[A-Z]", "aBc", True),  # a pattern is looked for, not matched, unless it is anchored
        ("^a|b$", "xb", True),  # and an anchor binds closer than a choice
        ("^(a|b)$", "xb", False),
        ("^.$", "😀", True),
        ("^.$", "\n", False),
        ("^[^a]$", "\n", True),
        ("^[0-9]{1,2}$", "٣", False),
        ("^-?[0-9]$", "−1", False),
    ],
)  # fmt: skip
def test_a_pattern_is_looked_for_and_its_anchors_hold(pattern: str, value: str, fits: bool) -> None:
    """ECMA 262: `$` is the end, and not the place before a last line feed."""
    schema = {"type": "string", "pattern": pattern}

    assert schema_faults(compile_schema("test", schema), schema, value) == () or not fits
    assert compile_schema("test", schema).is_valid(value) == fits


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("date", ["2026-11-20", "2024-02-29"], ["2026-02-30", "20261120", "2026-11-2", "2026-11-20T00:00:00Z", "", " 2026-11-20"]),
        ("date-time", ["2026-11-20T12:00:00Z", "2026-11-20T12:00:00.123-03:00"],
         ["2026-11-20T12:00:00", "2026-11-20 12:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T12:00:00+24:00", "2026-02-30T1:00:00Z"]),
        ("uri", ["https://example.org/a?b=%C3%B1#c", "urn:a:b"], ["example.org", "/a", "https://exa mple.org", "https://["]),
    ],
)  # fmt: skip
def test_a_format_is_an_assertion(form: str, right: list[str], wrong: list[str]) -> None:
    """2020-12 leaves that open; with us, a date that is none is refused. Of other types a format asks nothing."""
    validator = compile_schema("test", {"format": form})

    assert all(map(validator.is_valid, [*right, 7, None, [], {}]))
    assert not any(map(validator.is_valid, wrong))


def test_a_format_that_nobody_knows_stops_the_start() -> None:
    """Or it would be taken for an assertion and assert nothing."""
    with pytest.raises(SetupRefused):
        compile_schema("test", {"format": "colour"})


# --- what our schemas use ----------------------------------------------------------------------------------------

USED = {
    "$schema", "$id", "$defs", "$ref", "title", "type", "enum", "const", "properties", "additionalProperties", "required",
    "items", "minItems", "maxItems", "uniqueItems", "contains", "minLength", "maxLength", "pattern", "format", "minimum",
    "maximum", "minProperties", "maxProperties", "allOf", "if", "then", "not",
}  # fmt: skip
NAMES = ("properties", "$defs")


def keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        yield keyword, value
        inner = value.values() if keyword in NAMES else value if isinstance(value, list) else [value]
        for one in inner if keyword not in ("enum", "const") and not keyword.startswith("x-") else ():
            yield from keywords(one)


@pytest.mark.parametrize("name", SCHEMAS)
def test_our_schemas_say_nothing_that_is_not_tried_here(name: str) -> None:
    """No unevaluated members, no dynamic or recursive references, no choices between branches: what is refused is plain."""
    assert {keyword for keyword, _ in keywords(SCHEMAS[name]) if not keyword.startswith("x-")} <= USED


def test_our_patterns_are_anchored_and_spell_their_classes_out() -> None:
    """`\\d` and `\\w` are ASCII for some and Unicode for others; an open pattern lets anything stand around it."""
    for pattern in PATTERNS:
        assert re.search(r"\\[a-zA-Z]", pattern) is None, pattern
        assert pattern.startswith("^"), pattern
        assert pattern.endswith("$") or pattern == "^https?://", pattern


# --- a second opinion of whole messages --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", kinds())
def test_another_validator_agrees_about_generated_messages(kind: str) -> None:
    """About what is right, and about each mistake that a schema can see."""
    known = LANGUAGE.kinds[kind, "1.0"]
    other, envelope, rng = second_opinion(known.schema), second_opinion(LANGUAGE.envelope), Random(kind)
    for fullness in (0.1, 0.4, 1):
        payload = message(kind, rng, fullness=fullness)
        assert known.validator.is_valid(payload["body"])
        assert other.is_valid(payload["body"])
        assert envelope.is_valid(payload)
    for rule, _, mutation in MISTAKES:
        payload = message(kind, rng, fullness=1)
        if mutation(Draft(payload, rng)) is not None:
            assert known.validator.is_valid(payload["body"]) == other.is_valid(payload["body"]), rule


# --- nothing is fetched ------------------------------------------------------------------------------------------

LOOK = """
import json, sys
from broker.errors import SetupRefused
from broker.language.plan import draft_of
from broker.language.schema import compile_schema
from broker.schemafiles import bundled
seen, number = [], 0
sys.addaudithook(lambda event, args: event in ("open", "socket.connect") and seen.append((f"{event} {args[:1]}", number)))
for number, schema in enumerate(json.loads(sys.argv[1])):
    for read in (lambda: compile_schema("x", schema), lambda: draft_of("x", schema, {}), lambda: bundled("x", schema, {})):
        try:
            read()
        except SetupRefused:
            seen.append(("refused", number))
print(json.dumps(seen))
"""


def test_no_remote_reference_is_ever_fetched(tmp_path: Path) -> None:
    """A web address and a file that are there: both are refused, and neither is knocked at. Who opened the file would
    wait for ever: it is a pipe that nobody writes to."""
    pipe = tmp_path / "part.json"
    os.mkfifo(pipe)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        web = f"http://127.0.0.1:{server.getsockname()[1]}"
        references = [f"{web}/a.json", f"{web}/a.json#/$defs/a", f"file://{pipe}", f"file://{pipe}#/$defs/a", str(pipe)]
        schemas: list[dict[str, Any]] = [{"properties": {"a": {"$ref": reference}}} for reference in references]
        schemas += [{"not": {"$ref": reference}} for reference in references]
        schemas += [{"$id": f"{base}/b.json", "$ref": "a.json"} for base in (web, f"file://{tmp_path}")]
        schemas += [{"$schema": f"{web}/meta.json"}, {"properties": {"a": {"$id": "b", "$schema": f"{web}/meta.json"}}}]
        schemas += [{"$schema": f"file://{pipe}"}, {"$dynamicRef": f"{web}/a.json#x"}]
        looked = subprocess.run(
            [sys.executable, "-c", LOOK, json.dumps(schemas)], capture_output=True, check=True, timeout=60, text=True
        )

        seen = json.loads(looked.stdout)
        assert {what for what, _ in seen} == {"refused"}
        assert {number for _, number in seen} == set(range(len(schemas)))
        with pytest.raises(BlockingIOError):
            server.accept()


# --- patterns take linear time -----------------------------------------------------------------------------------

PATTERNS = sorted({value for schema in SCHEMAS.values() for keyword, value in keywords(schema) if keyword == "pattern"})
LENGTH = 20_000
HOSTILE = [
    text * (LENGTH // len(text)) for text in ("a", "A", "0", ".", "/", "-", "a/", "A-", "0.", "/a_", "1:", "hub:", " ")
]


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(?<!a)b", r"(a)\1", r"^(?>a+)$"])
def test_a_pattern_that_needs_to_look_back_stops_the_start(pattern: str) -> None:
    """The engine has no such thing: it reads every character once, whatever a schema's author had in mind."""
    with pytest.raises(SetupRefused):
        compile_schema("test", {"pattern": pattern})


@pytest.mark.parametrize("pattern", [*PATTERNS, r"^(a+)+$", r"^(a|a)*b$", r"^(.*a){12}$"])
def test_a_pattern_takes_time_in_proportion_to_the_text(pattern: str) -> None:
    """Long texts that nearly fit, ours and the classical ones: four times the text, not sixteen times the time."""
    validator = compile_schema("test", {"pattern": pattern})

    def seconds(times: int) -> float:
        began = time.thread_time()
        for text in HOSTILE:
            validator.is_valid(text * times + "!")
        return time.thread_time() - began

    seconds(1)  # its automaton is built now
    once, four = (min(seconds(times) for _ in range(3)) for times in (1, 4))
    assert four < 0.02 or four < 12 * once
