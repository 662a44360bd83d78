"""Strategic trade: a country reports a dual-use interception, and the end user stays in the nominal part.

The nine are those of the region's workshop on the control of strategic trade; the control numbers are those of the
European Union's dual-use list, whose third digit names the regime.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from broker.language import load_language
from broker.language.kinds import schemas_folder
from tests.region import Region, payload_of, to

LANGUAGE = load_language()
NOW = datetime(2026, 11, 20, tzinfo=UTC)
GROUP = "STRAT-TRADE"
OFFICES = ("RILO-SA", "RILO-CA", "RILO-CAR")
BASIS = "Security Council resolution 1540 (2004), paragraph 3 (d)"
STRATEGIC = {"any": [{"heading": ["strategic"]}]}


class Interception(NamedTuple):
    """What was found where: control number, regime, HS code, goods, place (locode, subdivision, type), declared use."""

    control: str
    regime: str
    hs: str
    goods: str
    place: tuple[str, str, str]
    declared_use: str


FOUND = {
    "AR": Interception("1C010", "wassenaar", "681511", "Fibra de carbono", ("ARBUE", "AR-C", "seaport"), "Raquetas"),
    "BZ": Interception("6A003", "wassenaar", "852589", "High-speed cameras", ("BZBZE", "BZ-BZ", "airport"), "Sports"),
    "CL": Interception("2B350", "australia-group", "841989", "Reactor vidriado", ("CLVAP", "CL-VS", "seaport"), "Jarabes"),
    "CR": Interception("3A001", "wassenaar", "854231", "Procesadores", ("CRSJO", "CR-SJ", "airport"), "Riego"),
    "GT": Interception("2B352", "australia-group", "841989", "Fermentador", ("GTPRQ", "GT-05", "seaport"), "Cerveza"),
    "JM": Interception("1C107", "mtcr", "380110", "Fine-grain graphite", ("JMKIN", "JM-01", "seaport"), "Crucibles"),
    "MX": Interception("2B201", "nsg", "845710", "Centro de cinco ejes", ("MXVER", "MX-VER", "seaport"), "Moldes"),
    "PA": Interception("3A225", "nsg", "850440", "Convertidores", ("PABLB", "PA-8", "free-zone"), "Hilatura textil"),
    "PE": Interception("1C350", "cwc", "293070", "Tiodiglicol", ("PECLL", "PE-CAL", "seaport"), "Teñido de textiles"),
}  # fmt: skip
NAMED = {"BZ": to("MX", GT="action"), "JM": to("PA", "RILO-CAR", BZ="attention")}
"""Who releases to named members; the others release to the group."""


def company(country: str) -> dict[str, str]:
    address = f"Nave {country}-17, Polígono de Muestra"
    return {"name": f"Ejemplo de Importaciones {country} FZE", "role": "end-user", "country": "AE", "address": address}


def report(country: str) -> dict[str, Any]:
    """The body of a long report; the end user is named in the nominal part alone."""
    found = FOUND[country]
    locode, subdivision, place = found.place
    strategic = {
        "control": found.control, "list": "EU dual-use list, Annex I", "regime": found.regime, "resolution": "1540",
        "licence": {"value": f"LIC-{country}-0417", "as": "believed-false"}, "declared_end_use": found.declared_use,
    }  # fmt: skip
    return {
        "form": "long",
        "heading": "strategic",
        "place": {"country": country, "subdivision": subdivision, "locode": locode, "type": place, "name": "Terminal"},
        "procedure": "transit",
        "agency_type": "customs",
        "goods": [
            {
                "side": "found",
                "hs": found.hs,
                "description": found.goods,
                "strategic": strategic,
                "quantity": {"value": "4", "unit": "C62", "method": "counted"},
            }
        ],
        "transport": {"mode": "sea"},
        "route": [
            {"role": "origin", "country": "CN", "confirmed": True},
            {"role": "via", "country": country, "confirmed": True},
            {"role": "destination", "country": "AE", "confirmed": False},
        ],
        "concealment": ["misdeclared"],
        "detection": ["documents"],
        "nominal": {
            "end_user": {"company": company(country), "end_use": "Not that of the certificate", "site": "Nave 18"}
        },
    }


def payload(country: str, **changes: Any) -> dict[str, Any]:
    handling = {"tlp": "AMBER", "release": {"groups": [GROUP]}}
    return {
        "header": {
            "id": "STC-1", "kind": "seizure", "version": "1.0", "originator": country, "status": "actual",
            "event_at": "2026-11-18T10:00:00Z", "legal_basis": BASIS, "handling": handling,
        } | changes,
        "body": report(country),
    }  # fmt: skip


def name_nobody(projected: dict[str, Any], country: str) -> None:
    left = json.dumps(projected, ensure_ascii=False).casefold()
    for said in (company(country)["name"], company(country)["address"], "Nave 18"):
        assert said.casefold() not in left


@pytest.mark.parametrize("country", FOUND)
def test_a_report_of_each_country_is_whole_and_its_projection_names_nobody(country: str) -> None:
    """No fault, no warning; without its nominal part it is still a valid report, with the goods and the licence."""
    whole = payload(country)
    assert LANGUAGE.check_header(whole) == ()
    reading = LANGUAGE.read_body(whole, now=NOW)
    assert (reading.faults, reading.warnings) == ((), ())

    projection = LANGUAGE.project(whole)

    assert projection.removed == ("/body/nominal",)
    name_nobody(projection.payload, country)
    assert projection.payload["body"]["goods"] == whole["body"]["goods"]
    assert LANGUAGE.read_body(projection.payload, now=NOW).faults == ()


@pytest.mark.parametrize("country", FOUND)
def test_an_end_user_who_is_named_in_passing_goes_too(country: str) -> None:
    """In a remark, in the case's name, in whatever case: the pointers say where something stood."""
    whole = payload(country, case=company(country)["name"])
    whole["body"]["remarks"] = f"The certificate of {company(country)['name'].upper()} is a photocopy."
    projection = LANGUAGE.project(whole)

    assert set(projection.removed) == {"/body/nominal", "/header/case", "/body/remarks"}
    name_nobody(projection.payload, country)
    assert "is a photocopy" in projection.payload["body"]["remarks"]


async def test_the_nine_report_and_only_those_named_learn_the_end_user(sqlite_here: Region) -> None:
    """Accepted without a warning; the group, or the members named, get the signed bytes; a partner gets nothing."""
    hub = sqlite_here
    hub.clock.ahead = NOW - datetime.now(UTC)
    group = {*FOUND, *OFFICES}
    await hub.enrol(*FOUND)
    await hub.enrol(*OFFICES, type="rilo")
    await hub.enrol("OPCW", type="partner")
    await hub.group(GROUP, *sorted(group))
    for member in (*sorted(group), "OPCW"):
        await hub.subscribe(member, "strategic", STRATEGIC)
    posted: dict[str, str] = {}
    readers: dict[str, set[str]] = {}
    for country in FOUND:
        release = NAMED.get(country, {"groups": [GROUP]})
        token = hub.sign(payload(country, handling={"tlp": "AMBER", "release": release}))
        answer = await hub.post(token)
        assert (answer.status_code, answer.json().get("warnings")) == (201, []), answer.text
        posted[f"{country}:STC-1"] = token
        named = {entry["member"] for entry in release.get("to", ())}
        readers[f"{country}:STC-1"] = named or group - {country}

    for member in sorted(group):
        leased = {d["message"] for d in await hub.lease(member, "strategic")}
        assert leased == {posted[address] for address, read in readers.items() if member in read}, member
        for compact in leased:
            country = payload_of(compact)["header"]["originator"]
            assert payload_of(compact)["body"]["nominal"]["end_user"]["company"] == company(country)
    assert await hub.lease("OPCW", "strategic") == []
    for address, read in readers.items():
        for stranger in (group | {"OPCW"}) - read - {address.partition(":")[0]}:
            assert (await hub.call(stranger, "GET", f"/v1/messages/{address}")).status_code == 404


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("nominal-without-basis", {"legal_basis": None}),
        ("nominal-to-all", {"handling": {"tlp": "GREEN", "release": {"all": True}}}),
    ],
)
async def test_an_end_user_needs_a_basis_and_named_readers(
    sqlite_here: Region, rule: str, changes: dict[str, Any]
) -> None:
    """Without a legal basis, or released to whoever is there, the report is refused."""
    sqlite_here.clock.ahead = NOW - datetime.now(UTC)
    await sqlite_here.enrol("PA")
    await sqlite_here.group(GROUP, "PA")
    answer = await sqlite_here.post(sqlite_here.sign(payload("PA", **changes)))

    assert answer.status_code == 422, answer.text
    assert [error["rule"] for error in answer.json()["errors"]] == [rule]


def test_one_such_report_is_among_the_examples() -> None:
    """With control number, regime, resolution, licence, declared use, and the end user in the nominal part."""
    (path,) = (schemas_folder() / "examples").glob("*-pa-frequency-converters.json")
    example = json.loads(path.read_text("utf-8"))
    found = example["body"]["goods"][0]["strategic"]

    assert {"control", "regime", "resolution", "licence", "declared_end_use"} <= set(found)
    assert example["body"]["nominal"]["end_user"]["company"]["name"]
    assert LANGUAGE.project(example).removed == ("/body/nominal",)
