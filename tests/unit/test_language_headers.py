"""A header is read by its schema: every fault at once, each with its place and its rule."""

from __future__ import annotations

from typing import Any

import pytest

from broker.language.schema import FAULTS_MAX
from tests.reading import BODY, HEADER, LANGUAGE, NOW, message, told


def test_the_message_of_the_product_page_is_valid() -> None:
    """product.md, The message: with every optional member, and with none."""
    required = ("id", "kind", "version", "originator", "status", "event_at", "handling")
    bare = {name: HEADER[name] for name in required} | {"handling": {"tlp": "AMBER", "release": {}}}

    assert LANGUAGE.check_header(message()) == ()
    assert LANGUAGE.check_header(message(bare)) == ()


@pytest.mark.parametrize("name", ["id", "kind", "version", "originator", "status", "event_at", "handling"])
def test_a_required_member_is_pointed_at_where_it_is_missing(name: str) -> None:
    """The pointer names what is missing, not what it is missing from."""
    payload = message()
    del payload["header"][name]

    assert told(LANGUAGE.check_header(payload)) == {("required", f"/header/{name}")}


HEADER_FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": ""}, "pattern", "/header/id"),
    ({"id": "a" * 65}, "pattern", "/header/id"),
    ({"id": "a\n"}, "pattern", "/header/id"),
    ({"id": "a:b"}, "pattern", "/header/id"),
    ({"id": 7}, "type", "/header/id"),
    ({"originator": "cl"}, "pattern", "/header/originator"),
    ({"originator": "A" * 33}, "pattern", "/header/originator"),
    ({"kind": "Seizure"}, "pattern", "/header/kind"),
    ({"version": "1"}, "pattern", "/header/version"),
    ({"status": "Actual"}, "enum", "/header/status"),
    ({"priority": None}, "enum", "/header/priority"),
    ({"language": "spanish"}, "pattern", "/header/language"),
    ({"event_at": "2026-11-19T22:10:00"}, "date-time", "/header/event_at"),
    ({"event_at": "2026-02-30T22:10:00Z"}, "date-time", "/header/event_at"),
    ({"event_at": "2016-12-31T23:59:60Z"}, "pattern", "/header/event_at"),
    ({"event_at": "0000-01-01T00:00:00Z"}, "pattern", "/header/event_at"),
    ({"expires_at": "tomorrow"}, "date-time", "/header/expires_at"),
    ({"supersedes": "CL-1"}, "pattern", "/header/supersedes"),
    ({"references": ["CL:1"] * 2}, "repeated", "/header/references"),
    ({"references": [f"CL:{n}" for n in range(33)]}, "too-many", "/header/references"),
    ({"legal_basis": ""}, "too-short", "/header/legal_basis"),
    ({"grading": {"scheme": "admiralty", "source": "X", "information": "2"}}, "enum", "/header/grading/source"),
    ({"grading": {"scheme": "4x4", "source": "X", "information": "5"}}, "enum", "/header/grading/information"),
    ({"grading": {"scheme": "A1", "source": "A", "information": "1"}}, "enum", "/header/grading/scheme"),
    ({"from": "CL"}, "unknown-member", "/header/from"),
    ({"a/b~c": 1}, "unknown-member", "/header/a~1b~0c"),
    ({"handling": {"tlp": "WHITE", "release": {}}}, "enum", "/header/handling/tlp"),
    ({"handling": {"tlp": "RED"}}, "required", "/header/handling/release"),
    ({"handling": {"tlp": "RED", "release": {"to": [{"member": "PE", "duties": []}]}}}, "too-few",
     "/header/handling/release/to/0/duties"),
    ({"handling": {"tlp": "RED", "release": {"to": ["PE"]}}}, "type", "/header/handling/release/to/0"),
    ({"handling": {"tlp": "RED", "release": {"to": [{"member": "PE"}] * 257}}}, "too-many",
     "/header/handling/release/to"),
    ({"handling": {"tlp": "AMBER", "release": {"groups": ["-x"]}}}, "pattern", "/header/handling/release/groups/0"),
    ({"handling": {"tlp": "AMBER", "release": {"groups": [f"g{n}" for n in range(17)]}}}, "too-many",
     "/header/handling/release/groups"),
    ({"handling": {"tlp": "GREEN", "release": {"all": "yes"}}}, "type", "/header/handling/release/all"),
    ({"handling": {"tlp": "GREEN", "release": {"except": [f"M{n}" for n in range(257)]}}}, "too-many",
     "/header/handling/release/except"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "rule", "pointer"), HEADER_FAULTS)
def test_a_wrong_header_is_told_where_and_why(changes: dict[str, Any], rule: str, pointer: str) -> None:
    """One fault for one mistake, from the payload's root."""
    assert told(LANGUAGE.check_header(message(**changes))) == {(rule, pointer)}


def test_every_fault_of_the_header_is_told_at_once() -> None:
    """Promise 10: never only the first."""
    payload = message(status="real", event_at="yesterday", x=1)
    del payload["header"]["id"]

    assert told(LANGUAGE.check_header(payload)) == {
        ("enum", "/header/status"), ("date-time", "/header/event_at"), ("unknown-member", "/header/x"),
        ("required", "/header/id"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [None, [], "x", 7, {}, {"header": {}}, {"header": [], "body": {}}, {1: 2}, {"header": "\ud800"}, {"x": 1e999}],
)
def test_a_payload_that_is_none_has_faults_and_never_raises(payload: object) -> None:
    """`strictjson` stands in front, but nothing depends on it."""
    assert LANGUAGE.check_header(payload)


def test_a_flood_of_faults_is_cut() -> None:
    """An answer must not outgrow the question."""
    faults = LANGUAGE.read_body(message(body={**BODY, **{f"x{n}": 1 for n in range(2000)}}), now=NOW).faults

    assert len(faults) == FAULTS_MAX + 1
    assert faults[-1].rule == "more-faults"
