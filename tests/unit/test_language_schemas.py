"""What holds for every schema that is shipped, and for anything that may be read by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.language.identifiers import FORMATS
from broker.language.plan import MARKS, OUTLINED, ROLES, ROOT, ROUTES
from broker.language.rules.body import HS_CHANGES
from tests.reading import HEADER, LANGUAGE, NOW, message, subschemas

# --- the schemas themselves --------------------------------------------------------------------------------------


SCHEMAS = {f"{kind}/{version}": found.schema for (kind, version), found in LANGUAGE.kinds.items()}


@pytest.mark.parametrize("name", [*SCHEMAS, "envelope"])
def test_every_string_number_and_array_is_bounded(name: str) -> None:
    """A schema that bounds nothing lets one message hold a library."""
    for part in subschemas(SCHEMAS.get(name, LANGUAGE.envelope)):
        types = part.get("type", ())
        if not isinstance(types, str | list):
            continue
        if "string" in types:
            assert "maxLength" in part or "pattern" in part, part
        if "integer" in types or "number" in types:
            assert {"minimum", "maximum"} <= set(part), part
        if "array" in types:
            assert "maxItems" in part, part
        if "object" in types:
            assert part.get("additionalProperties") is False or "maxProperties" in part, part


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_has_a_title_in_english_and_spanish(name: str) -> None:
    """Forms, error sheets and the console are made of these titles."""
    schema = SCHEMAS[name]
    for part in subschemas({**schema, "allOf": []}):
        for member, found in (part.get("properties") or {}).items():
            if not isinstance(found, dict) or set(found) == {"const"}:
                continue
            assert set(found["x-title"]) >= {"en", "es"}, (name, member)


NEVER_FORGED = {
    ("trader-status", "reference"): "the originator's own certificate",
    ("alert", "consignees"): "a digest that was computed for this",
    ("outcome", "consignees"): "likewise",
    ("reply", "consignees"): "likewise",
    ("request", "consignees"): "likewise",
}
"""(kind, member) of identifiers that stand without a word on how far they are believed, and why."""


def test_every_identifier_says_how_far_it_is_believed() -> None:
    """As found, verified, believed false: whatever names one thing and may be forged (domain.md §3, principle 1)."""
    bare = set()
    for name, schema in SCHEMAS.items():
        for part in subschemas(schema):
            for member, found in (part.get("properties") or {}).items():
                item = found.get("items", found) if isinstance(found, dict) else {}
                form = FORMATS.get(item.get("format", ""))
                if form is not None and form.collected and "as" not in part["properties"]:
                    bare.add((name.partition("/")[0], member))

    assert bare == NEVER_FORGED.keys()


def test_every_annotation_and_list_is_used() -> None:
    """A mark nobody uses, or a list no field refers to, is dead weight."""
    parts = [part for schema in SCHEMAS.values() for part in subschemas(schema)]
    lists = {part["x-codelist"] for part in parts if "x-codelist" in part}

    assert lists | {HS_CHANGES} == set(LANGUAGE.codelists)
    assert all(any(mark in part for part in parts) for mark in (*MARKS, *OUTLINED))
    assert all(any(mark in schema for schema in SCHEMAS.values()) for mark in ROOT)
    assert {part["x-route"] for part in parts if "x-route" in part} == set(ROUTES)
    assert {part["x-role"] for part in parts if "x-role" in part} == set(ROLES)
    assert {part["x-weight"] for part in parts if "x-weight" in part} <= set(range(1, 11))
    assert set(FORMATS) - {str(part.get("format")) for part in parts} <= {"icao-airport"}


# --- anything at all ---------------------------------------------------------------------------------------------

NAMES = sorted(
    {name for schema in SCHEMAS.values() for part in subschemas(schema) for name in part.get("properties", ())}
)
WORDS = st.sampled_from(
    ["CL", "CLVAP", "CSQU3054384", "drugs", "sea", "long", "found", "240220", "KGM", "2026-01-01", "-"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=24,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["seizure", "alert", "notice"]), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8))
def test_no_body_makes_reading_raise(kind: str, body: dict[str, Any]) -> None:
    """Whatever is signed and posted, the answer is faults or a reading."""
    LANGUAGE.read_body(message(kind=kind, body=body, originator="hub"), now=NOW)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_of_a_good_body_makes_reading_raise(data: st.DataObject) -> None:
    """Near misses reach further into the rules than noise does."""
    payload = message()
    for _ in range(data.draw(st.integers(1, 3))):
        holders = [part for part in subschemas(payload["body"]) if part]
        holder = data.draw(st.sampled_from(holders))
        holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(VALUES)
    LANGUAGE.read_body(payload, now=NOW)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.dictionaries(st.sampled_from(sorted(HEADER)), VALUES, max_size=3))
def test_no_payload_makes_check_header_raise(payload: object, changes: dict[str, Any]) -> None:
    """And a header that passes never makes reading raise either."""
    LANGUAGE.check_header(payload)
    changed = message(**changes)
    if not LANGUAGE.check_header(changed):
        LANGUAGE.read_body(changed, now=NOW)
