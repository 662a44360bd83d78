"""A message is read by its schemas alone: every fault at once, attributes and identifiers from annotations."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Fault, SetupRefused
from broker.language import Identifier, load_language
from broker.language.identifiers import FORMATS
from broker.language.kinds import schemas_folder
from broker.language.plan import MARKS, OUTLINED, ROLES, ROOT, ROUTES
from broker.language.schema import FAULTS_MAX

FOLDER = schemas_folder()
LANGUAGE = load_language()
NOW = datetime(2026, 11, 21, tzinfo=UTC)
HEADER: dict[str, Any] = {
    "id": "2026-000123", "kind": "seizure", "version": "1.0", "originator": "CL", "status": "actual",
    "event_at": "2026-11-19T22:10:00-03:00", "priority": "routine", "case": "VAP-2026-881", "language": "es",
    "supersedes": None, "withdraws": None, "in_reply_to": None, "references": [],
    "expires_at": None, "acknowledge_by": None, "legal_basis": None,
    "grading": {"scheme": "admiralty", "source": "B", "information": "2"},
    "handling": {"tlp": "AMBER", "caveats": [],
                 "release": {"to": [{"member": "PE", "duties": ["action"]}], "groups": [], "all": False, "except": []}},
}  # fmt: skip
BODY: dict[str, Any] = {
    "form": "long", "heading": "drugs", "procedure": "transit",
    "place": {"country": "CL", "locode": "CLSAI", "type": "seaport"},
    "goods": [
        {"side": "found", "hs": "2939.72", "description": "cocaína", "cas": {"value": "50-36-2"},
         "quantity": {"value": "812.50", "unit": "KGM"}},
        {"side": "declared", "heading": "food", "hs": "0803", "description": "bananas"},
    ],
    "transport": {
        "mode": "sea",
        "containers": [{"value": "CSQU 305438-3"}, {"value": "MSKU9070323", "as": "verified"}],
    },
    "route": [{"country": "EC", "confirmed": True}, {"country": "BE", "locode": "BEANR", "confirmed": False}],
}  # fmt: skip


def message(header: Mapping[str, Any] = HEADER, body: Mapping[str, Any] = BODY, **changes: Any) -> dict[str, Any]:
    """A payload of its own; `changes` go into the header, None included."""
    return copy.deepcopy({"header": {**header, **changes}, "body": dict(body)})


def told(faults: tuple[Fault, ...]) -> set[tuple[str, str]]:
    return {(fault.rule, fault.pointer) for fault in faults}


# --- the header --------------------------------------------------------------------------------------------------


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


# --- the body ----------------------------------------------------------------------------------------------------


def test_attributes_come_from_annotations() -> None:
    """Headings of the report and of a line, countries by code and by UN/LOCODE, HS normalised, the mode."""
    reading = LANGUAGE.read_body(message(), now=NOW)

    assert reading.faults == ()
    assert reading.attributes == {
        "heading": frozenset({"drugs", "food"}),
        "hs": frozenset({"293972", "0803"}),
        "country": frozenset({"CL", "EC", "BE"}),
        "mode": frozenset({"sea"}),
    }


def test_identifiers_are_collected_normalised() -> None:
    """What names one thing can be searched for; an HS code or a country names none."""
    assert LANGUAGE.read_body(message(), now=NOW).identifiers == (
        Identifier("cas", "50-36-2", "/body/goods/0/cas/value"),
        Identifier("iso6346", "CSQU3054383", "/body/transport/containers/0/value"),
        Identifier("iso6346", "MSKU9070323", "/body/transport/containers/1/value"),
    )


def test_an_attribute_that_the_message_lacks_is_absent() -> None:
    """A filter on it is false (product.md, Subscriptions)."""
    body = {
        "form": "simplified", "heading": "tobacco", "place": {"country": "BZ"},
        "goods": [{"side": "found", "quantity": {"value": "1", "unit": "stick"}}],
    }  # fmt: skip
    reading = LANGUAGE.read_body(message(body=body, originator="BZ"), now=NOW)

    assert reading.faults == ()
    assert set(reading.attributes) == {"heading", "country"}


@pytest.mark.parametrize("standing", [None, "found", "verified"])
def test_a_wrong_check_digit_is_refused(standing: str | None) -> None:
    """Nobody verifies a container number that cannot exist."""
    container = {"value": "CSQU3054384"} | ({"as": standing} if standing else {})
    reading = LANGUAGE.read_body(message(body={**BODY, "transport": {"containers": [container]}}), now=NOW)

    assert told(reading.faults) == {("check-digit", "/body/transport/containers/0/value")}
    assert reading.faults[0].more["expected"] == "3"
    assert (reading.attributes, reading.identifiers) == ({}, ())


def test_a_forged_number_is_kept_with_a_warning() -> None:
    """The forged container number is itself the intelligence (domain.md §3): it is searchable as it was found."""
    forged = {"containers": [{"value": "CSQU 305438 4", "as": "believed-false"}]}
    reading = LANGUAGE.read_body(message(body={**BODY, "transport": forged}), now=NOW)

    assert reading.faults == ()
    assert told(reading.warnings) == {("check-digit", "/body/transport/containers/0/value")}
    assert Identifier("iso6346", "CSQU3054384", "/body/transport/containers/0/value") in reading.identifiers


def test_a_closed_list_refuses_and_a_sample_warns() -> None:
    """The list's own policy decides; an unlisted port still routes to its country."""
    body = {**BODY, "heading": "cites", "place": {"country": "CL", "locode": "CLZZZ", "type": "seaport"}}
    refused = LANGUAGE.read_body(message(body=body), now=NOW)
    warned = LANGUAGE.read_body(message(body={**body, "heading": "drugs"}), now=NOW)

    assert told(refused.faults) == {("unknown-code", "/body/heading")}
    assert refused.faults[0].allowed == ("wildlife",)
    assert warned.faults == ()
    assert told(warned.warnings) == {("unknown-code", "/body/place/locode")}
    assert "CL" in warned.attributes["country"]


def test_schema_faults_come_alone_and_all() -> None:
    """The first step that fails tells everything it knows; what depends on it stays silent."""
    body = {**BODY, "heading": "nonsense", "goods": [{"side": "found", "quantity": {"value": "1,5"}}], "zz": 1}
    faults = LANGUAGE.read_body(message(body=body), now=NOW).faults

    assert told(faults) == {
        ("pattern", "/body/goods/0/quantity/value"), ("required", "/body/goods/0/quantity/unit"),
        ("required", "/body/goods/0/description"), ("unknown-member", "/body/zz"),
    }  # fmt: skip


SEIZURE_NEEDS: list[tuple[dict[str, object], tuple[str, str]]] = [
    ({"procedure": None}, ("required", "/body/procedure")),
    ({"place": {"country": "CL"}}, ("required", "/body/place/type")),
    ({"goods": [{"side": "declared", "description": "bananas"}]}, ("contains", "/body/goods")),
    (
        {"heading": "wildlife", "goods": [{"side": "found", "description": "tusk"}]},
        ("required", "/body/goods/0/species"),
    ),
    ({"heading": "currency"}, ("required", "/body/value")),
    ({"form": "simplified", "goods": [{"side": "found"}]}, ("required", "/body/goods/0/quantity")),
]


@pytest.mark.parametrize(("changes", "fault"), SEIZURE_NEEDS)
def test_form_and_heading_decide_what_a_seizure_needs(changes: dict[str, object], fault: tuple[str, str]) -> None:
    """Mode, route and concealment are never demanded: most real reports lack them (domain.md §7.6)."""
    body = {name: value for name, value in {**BODY, **changes}.items() if value is not None}

    assert told(LANGUAGE.read_body(message(body=body), now=NOW).faults) == {fault}


def test_a_report_that_knows_little_is_welcome() -> None:
    """As the EIA and the Colombian police publish them: no mode, a leg by name only, a national place code."""
    body = {
        "form": "long", "heading": "wildlife", "procedure": "unknown", "precision": "month", "aggregate": True,
        "not_given": [{"field": "/period", "why": "unknown"}, {"field": "/goods/0/quantity", "why": "withheld"}],
        "place": {
            "country": "CO", "type": "unknown", "national_code": "DANE 91001000", "precision": "town",
            "position": {"lat": "-4.2153", "lon": "-69.940583999999"},
        },
        "goods": [{"side": "found", "species": "Manis javanica", "description": "fourteen bags, no further details"}],
        "route": [{"role": "via", "name": "West Jakarta", "confirmed": False}],
    }  # fmt: skip

    assert LANGUAGE.read_body(message(body=body), now=NOW).faults == ()


@pytest.mark.parametrize(
    ("lat", "lon"), [("90.1", "0"), ("-91", "0"), ("0", "180.5"), ("0", "-200"), ("4,2", "0"), ("", "0"), ("1e1", "0")]
)
def test_a_position_lies_on_the_globe(lat: str, lon: str) -> None:
    """Decimal degrees as text, within ±90 and ±180."""
    body = {**BODY, "place": {**BODY["place"], "position": {"lat": lat, "lon": lon}}}

    assert [fault.rule for fault in LANGUAGE.read_body(message(body=body), now=NOW).faults] == ["pattern"]


# --- kinds -------------------------------------------------------------------------------------------------------


KINDS = (
    "alert", "bulletin", "comment", "membership", "notice", "outcome", "reply", "request", "risk-profile", "seizure",
    "situation-report", "trader-status",
)  # fmt: skip
"""product.md, Vocabulary."""


def test_an_unknown_kind_or_version_is_answered_with_the_known_ones() -> None:
    """A withdrawal is no kind that anybody sends: it has the kind of its target."""
    read = LANGUAGE.read_body

    (kind,) = read(message(kind="telegram"), now=NOW).faults
    (version,) = read(message(version="9.0"), now=NOW).faults
    (withdrawal,) = read(message(kind="withdrawal"), now=NOW).faults

    assert (kind.rule, kind.pointer, kind.allowed) == ("unknown-kind", "/header/kind", KINDS)
    assert (version.rule, version.pointer, version.allowed) == ("unknown-version", "/header/version", ("1.0",))
    assert withdrawal.rule == "unknown-kind"


def test_only_the_hub_sends_notices() -> None:
    """`x-originator`: a member that could forge a notice could take back others' messages in their readers' eyes."""
    body = {"event": "superseded-not-released", "about": "CL:1", "text": "…"}

    assert told(LANGUAGE.read_body(message(body=body, kind="notice"), now=NOW).faults) == {
        ("kind-reserved", "/header/kind")
    }
    assert LANGUAGE.read_body(message(body=body, kind="notice", originator="hub"), now=NOW).faults == ()


def test_a_withdrawal_of_any_kind_has_one_body() -> None:
    """`{"reason_code", "text"}`, with a reason from the list."""
    handling = {"tlp": "AMBER", "release": None}

    def reading(body: dict[str, Any], kind: str) -> tuple[Fault, ...]:
        payload = message(body=body, kind=kind, withdraws="CL:1", handling=handling)
        return LANGUAGE.check_header(payload) or LANGUAGE.read_body(payload, now=NOW).faults

    assert reading({"reason_code": "duplicate", "text": "twice"}, "seizure") == ()
    assert reading({"reason_code": "duplicate", "text": "twice"}, "alert") == ()
    assert told(reading({"reason_code": "whim", "text": "…"}, "alert")) == {("unknown-code", "/body/reason_code")}
    assert ("required", "/body/text") in told(reading(BODY, "seizure"))


def test_a_new_kind_is_a_file_and_nothing_else(tmp_path: Path) -> None:
    """A schema and a code list, dropped into a copy: read, routed, checked and searchable at once."""
    folder = tmp_path / "schemas"
    shutil.copytree(FOLDER, folder)
    title = {"x-title": {"en": "x", "es": "x"}}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["what"],
        "properties": {
            "what": {"type": "string", "maxLength": 20, "x-codelist": "gadgets", "x-route": "heading", **title},
            "port": {"type": "string", "maxLength": 5, "format": "locode", "x-route": "country", **title},
            "codes": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 8, "format": "hs"},
                      "x-route": "hs", **title},
            "box": {"type": "object", "additionalProperties": False, **title, "properties": {
                "value": {"type": "string", "maxLength": 16, "format": "iso6346", **title}}},
            "from": {"type": "string", "format": "date", "x-role": "from", **title},
            "to": {"type": "string", "format": "date", "x-role": "until", **title},
        },
        "x-title": {"en": "Gadget report", "es": "Informe de artefactos"},
    }  # fmt: skip
    (folder / "messages/gadget").mkdir()
    (folder / "messages/gadget/2.1.json").write_text(json.dumps(schema), encoding="utf-8")
    (folder / "codelists/gadgets.csv").write_text(
        "# source: us\n# edition: 1\n# date: 2026-11-21\n# policy: error\n"
        "code,title_en,title_es,aliases\nphone,Phone,Teléfono,mobile\n",
        encoding="utf-8",
    )
    language = load_language(folder)
    body = {"what": "phone", "port": "PECLL", "codes": ["8517", "8517.13"], "box": {"value": "csqu3054383"}}
    reading = language.read_body(message(kind="gadget", version="2.1", body=body), now=NOW)
    wrong = {"what": "mobile", "from": "2026-02-02", "to": "2026-01-01"}

    assert language.kinds["gadget", "2.1"].titles["es"] == "Informe de artefactos"
    assert reading.faults == reading.warnings == ()
    assert reading.attributes == {
        "heading": frozenset({"phone"}), "country": frozenset({"PE"}), "hs": frozenset({"8517", "851713"}),
    }  # fmt: skip
    assert reading.identifiers == (Identifier("iso6346", "CSQU3054383", "/body/box/value"),)
    assert told(language.read_body(message(kind="gadget", version="2.1", body=wrong), now=NOW).faults) == {
        ("unknown-code", "/body/what"), ("until-before-from", "/body/to"),
    }  # fmt: skip


MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("unknown annotation", {"properties": {"a": {"type": "string", "x-colour": "red"}}}),
    ("unknown route", {"properties": {"a": {"type": "string", "x-route": "colour"}}}),
    ("unknown list", {"properties": {"a": {"type": "string", "x-codelist": "colours"}}}),
    ("unknown role", {"properties": {"a": {"type": "string", "x-role": "hero"}}}),
    ("unknown format", {"properties": {"a": {"type": "string", "format": "colour"}}}),
    ("half a title", {"properties": {"a": {"type": "string", "x-title": {"en": "A"}}}}),
    ("out of reach", {"patternProperties": {"^a": {"type": "string", "x-route": "hs"}}}),
    ("remote reference", {"properties": {"a": {"$ref": "https://example.org/a.json"}}}),
    ("file reference", {"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
    ("circle", {"$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"}),
    ("nowhere", {"properties": {"a": {"$ref": "#/$defs/gone"}}}),
    ("no schema", {"type": "colour"}),
]


@pytest.mark.parametrize(("name", "schema"), MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_schema_that_is_not_as_needed_stops_the_start(tmp_path: Path, name: str, schema: dict[str, Any]) -> None:
    """An annotation that is silently never read would route nothing and tell nobody."""
    folder = tmp_path / "schemas"
    shutil.copytree(FOLDER, folder)
    (folder / "messages/broken").mkdir()
    (folder / "messages/broken/1.0.json").write_text(json.dumps(schema), encoding="utf-8")

    with pytest.raises(SetupRefused):
        load_language(folder)


# --- the schemas themselves --------------------------------------------------------------------------------------


def subschemas(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from subschemas(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from subschemas(item)


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


def test_every_annotation_and_list_is_used() -> None:
    """A mark nobody uses, or a list no field refers to, is dead weight."""
    parts = [part for schema in SCHEMAS.values() for part in subschemas(schema)]
    lists = {part["x-codelist"] for part in parts if "x-codelist" in part}

    assert lists == set(LANGUAGE.codelists)
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
