"""Identifiers are checked as their standards say; values from domain.md §3, true, false and misleading."""

from __future__ import annotations

import timeit

import pycountry
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.language.checkdigits import mrz_digit
from broker.language.identifiers import FORMATS, examine, spellings

VALID = [
    ("iso6346", "CSQU3054383", "CSQU3054383"),
    ("iso6346", "MWCU6059784", "MWCU6059784"),
    ("iso6346", "msku 907032-3", "MSKU9070323"),
    ("imo", "9074729", "9074729"),
    ("imo", "IMO 9811000", "9811000"),
    ("awb", "020-81140743", "02081140743"),
    ("awb", "176-1234 5675", "17612345675"),
    ("mrn", "06DE586600006143E1", "06DE586600006143E1"),
    ("mrn", "99IT9876AB88901209", "99IT9876AB88901209"),
    ("mrn", "18GB0000601001EB15", "18GB0000601001EB15"),
    ("ucr", "1GB123456789000-abc/123", "1GB123456789000-ABC/123"),
    ("bill-of-lading", "maeu 123456789", "MAEU123456789"),
    ("document", "VAP-2026/00417.b", "VAP202600417B"),
    ("seal", "UL-0471234", "UL0471234"),
    ("plate", "ab·cd 12", "ABCD12"),
    ("plate", "гка 123", "ГКА123"),
    ("plate", "n\u0303u 12", "ÑU12"),
    ("document", "ＡＢ－１２３", "AB123"),
    ("vin", "1M8GDM9AXKP042788", "1M8GDM9AXKP042788"),
    ("vin", "1HGCM82633A004352", "1HGCM82633A004352"),
    ("gtin", "4006381333931", "4006381333931"),
    ("gtin", "5901234123457", "5901234123457"),
    ("gtin", "036000291452", "0036000291452"),
    ("gtin", "00036000291452", "0036000291452"),
    ("gtin", "96385074", "96385074"),
    ("imei", "49-015420-323751-8", "490154203237518"),
    ("imei", "49015420323751", "490154203237518"),
    ("imei", "4901542032375101", "490154203237518"),
    ("passport", "l898902c3", "L898902C3"),
    ("passport", "L898902C36", "L898902C3"),
    ("passport", "AB12345<<6", "AB12345"),
    ("phone", "0056 9 1234 5678", "+56912345678"),
    ("phone", "+1 (876) 555-0100", "+18765550100"),
    ("iban", "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    ("iban", "CR05015202001026284066", "CR05015202001026284066"),
    ("lei", "5493001KJTIIGC8Y1R12", "5493001KJTIIGC8Y1R12"),
    ("eori", "DE 1234567", "DE1234567"),
    ("eori", "XI123456789000", "XI123456789000"),
    ("excise", "FR023004N9448", "FR023004N9448"),
    ("excise", "LU00000987ABC", "LU00000987ABC"),
    ("consignee-hash", f"{'Ab9_-' * 8}Ab8", f"{'Ab9_-' * 8}Ab8"),
    ("iata-airport", "SCL", "SCL"),
    ("icao-airport", "SCEL", "SCEL"),
    ("s10", "RR473124829FI", "RR473124829FI"),
    ("s10", "RB 123 456 785 GB", "RB123456785GB"),
    ("flight", "LA 530", "LA530"),
    ("flight", "LAN530", "LAN530"),
    ("mmsi", "725000123", "725000123"),
    *(
        ("un-number", f"UN{number}", f"UN{number}")
        for number in ("1203", "1090", "1715", "1490", "0222", "1942", "2814", "2977")
    ),
    ("eccn", "3A001", "3A001"),
    ("eccn", "1c350", "1C350"),
    ("eccn", "2b001 .a.1", "2B001.A.1"),
    ("eccn", "EAR99", "EAR99"),
    ("iso3166-1-alpha-2", "CL", "CL"),
    ("iso3166-1-alpha-2", "XK", "XK"),
    ("iso3166-2", "CL-VS", "CL-VS"),
    ("iso4217", "USD", "USD"),
    ("locode", "DEHAM", "DEHAM"),
    ("locode", "CLVAP", "CLVAP"),
    ("locode", "CNSHA", "CNSHA"),
    ("locode", "BEANR", "BEANR"),
    ("locode", "XZABC", "XZABC"),
    *(("hs", code, code) for code in ("240220", "293941", "291524", "050710", "930200", "854231", "970510", "293334")),
    ("hs", "2402.20", "240220"),
    ("hs", "24", "24"),
    *(
        ("cas", number, number)
        for number in ("108-24-7", "299-42-3", "90-82-4", "7722-64-7", "437-38-7", "103-79-7", "94-59-7", "6484-52-2")
    ),
    ("cas", "107-44-8", "107-44-8"),
    ("cas", "505602", "505-60-2"),
    ("cas", "108–24–7", "108-24-7"),
]

WRONG_DIGIT = [
    ("iso6346", "CSQU3054384", "3"),
    ("iso6346", "TCLU4265447", "9"),
    ("imo", "9074720", "9"),
    ("awb", "020-81140744", "3"),
    ("gtin", "4006381333932", "1"),
    ("s10", "RB123456784GB", "5"),
    ("cas", "108-24-8", "7"),
    ("imei", "490154203237519", "8"),
    ("passport", "L898902C37", "6"),
    ("iban", "GB81WEST12345698765432", "82"),
    ("lei", "5493001KJTIIGC8Y1R13", "12"),
]

DOUBTFUL_DIGIT = [
    ("mrn", "22GB02I89012847596"),
    ("mrn", "99IT9876AB88901235"),
    ("vin", "1HGCM82643A004352"),
]
"""Printed by real web sites, or compulsory in one region alone: the answer is a warning."""

IMPOSSIBLE = [
    ("iso6346", "CSQX3054383", "identifier-form"),
    ("iso6346", "CSQU305438", "identifier-form"),
    ("iso6346", "CSQU30543８3", "identifier-form"),
    ("iso6346", "123U3054383", "identifier-form"),
    ("imo", "0000000", "identifier-form"),
    ("awb", "020-8114074", "identifier-form"),
    ("vin", "1M8GDM9AXKPO42788", "identifier-form"),
    ("s10", "RB123456785XX", "unknown-country"),
    ("mrn", "06XX586600006143E1", "unknown-country"),
    ("mrn", "38VYQTYFU3T0KUTUM3", "unknown-country"),
    ("cas", "-", "identifier-form"),
    ("hs", "24022", "identifier-form"),
    ("hs", "24022000", "identifier-form"),
    ("hs", "TOTAL", "identifier-form"),
    ("locode", "DEHA1", "identifier-form"),
    ("locode", "deham", "identifier-form"),
    ("locode", "QQHAM", "unknown-country"),
    ("iso3166-2", "CL-ZZZ", "unknown-subdivision"),
    ("iso4217", "ZZZ", "unknown-currency"),
    ("iso4217", "usd", "identifier-form"),
    ("un-number", "1203", "identifier-form"),
    ("mmsi", "12345678", "identifier-form"),
    ("flight", "LATAM530", "identifier-form"),
    ("eccn", "3F001", "identifier-form"),
    ("eccn", "AA001", "identifier-form"),
    ("s10", "1B123456785GB", "identifier-form"),
    ("s10", "RB123456785UK", "unknown-country"),
    ("ucr", "GB123456789000", "identifier-form"),
    ("ucr", "1XX123456789000", "unknown-country"),
    ("ucr", "1GB" + "A" * 33, "identifier-form"),
    ("bill-of-lading", "B/L", "identifier-form"),
    ("document", "?" * 9, "identifier-form"),
    ("seal", "#1", "identifier-form"),
    ("plate", "A", "identifier-form"),
    ("imei", "4901542032375", "identifier-form"),
    ("passport", "L898", "identifier-form"),
    ("passport", "L8989<2C3", "identifier-form"),
    ("phone", "912345678", "identifier-form"),
    ("phone", "+0912345678", "identifier-form"),
    ("iban", "US82WEST12345698765432", "identifier-form"),
    ("iban", "ZZ82WEST12345698765432", "unknown-country"),
    ("iban", "DE8937040044053201300X", "identifier-form"),
    ("lei", "5493001KJTIIGC8Y1RXX", "identifier-form"),
    ("eori", "UK123456789000", "unknown-country"),
    ("eori", "DE1234567890123456", "identifier-form"),
    ("excise", "FR012907A0820", "identifier-form"),
    ("excise", "CL00000987ABC", "identifier-form"),
    ("excise", "EL00000987ABC", "unknown-country"),
    ("consignee-hash", "A" * 42, "identifier-form"),
    ("consignee-hash", "A" * 42 + "B", "identifier-form"),
    ("iata-airport", "scl", "identifier-form"),
    ("icao-airport", "SC1", "identifier-form"),
]

MISTAKEN_COUNTRIES = [
    ("EU", ()),
    ("XX", ()),
    ("UK", ("GB",)),
    ("EL", ("GR",)),
    ("AN", ("BQ", "CW", "SX")),
    ("SU", ("RU",)),
    ("YU", ("RS", "ME")),
    ("GB-NIR", ()),
    ("China - Hong Kong", ()),
    ("cl", ("CL",)),
]


@pytest.mark.parametrize(("name", "written", "normalised"), VALID)
def test_a_right_identifier_is_normalised_and_passes(name: str, written: str, normalised: str) -> None:
    """Upper case, without separators; the raw string stays in the message."""
    assert examine(name, written) == (normalised, None)


@pytest.mark.parametrize(("name", "written", "expected"), WRONG_DIGIT)
def test_a_wrong_check_digit_is_severe_and_explained(name: str, written: str, expected: str) -> None:
    """The answer says which digit was expected and what the whole number would be."""
    _, flaw = examine(name, written)

    assert flaw is not None
    assert (flaw.rule, flaw.severe, flaw.forgeable) == ("check-digit", True, True)
    assert flaw.more["expected"] == expected
    assert examine(name, flaw.allowed[0])[1] is None


@pytest.mark.parametrize(("name", "written"), DOUBTFUL_DIGIT)
def test_a_check_digit_that_is_not_compulsory_only_warns(name: str, written: str) -> None:
    """Not every national system computes that of an MRN; a North American VIN has one, by a law of its own."""
    _, flaw = examine(name, written)

    assert flaw is not None
    assert (flaw.rule, flaw.severe) == ("check-digit", False)
    assert examine(name, flaw.allowed[0])[1] is None


@pytest.mark.parametrize("number", ["WVWZZZ1JZXW000001", "LSVAA49J132047371", "9BWZZZ377VT004251"])
def test_a_vehicle_made_elsewhere_has_no_check_digit_to_get_wrong(number: str) -> None:
    """Position 9 is free outside North America: nothing is said about it."""
    assert examine("vin", number) == (number, None)


@pytest.mark.parametrize("number", ["000000000", "200123456", "776000001", "799999999"])
def test_a_ship_s_station_has_a_country(number: str) -> None:
    """Spoofed transmitters are set to anything: marked so, it is kept."""
    _, flaw = examine("mmsi", number)

    assert flaw is not None
    assert (flaw.rule, flaw.severe, flaw.forgeable) == ("unknown-mid", True, True)


@pytest.mark.parametrize("number", ["201000001", "775999999", "002731000", "072500012", "111725001", "987250001"])
def test_stations_of_other_kinds_are_left_alone(number: str) -> None:
    """Ships of the first country and the last; a coast station, a group, an aircraft, a boat of a ship."""
    assert examine("mmsi", number) == (number, None)


@pytest.mark.parametrize(("name", "written", "rule"), IMPOSSIBLE)
def test_what_cannot_be_such_an_identifier_is_severe(name: str, written: str, rule: str) -> None:
    """A form error, or a country that is none, is never forgeable."""
    _, flaw = examine(name, written)

    assert flaw is not None
    assert (flaw.rule, flaw.severe, flaw.forgeable) == (rule, True, False)


@pytest.mark.parametrize(("name", "code", "table"), [("iata-airport", "QQQ", "IATA"), ("icao-airport", "QQQQ", "ICAO")])
def test_an_airport_that_is_not_listed_only_warns(name: str, code: str, table: str) -> None:
    """Airports open and close; the answer names the table and its edition."""
    _, flaw = examine(name, code)

    assert flaw is not None
    assert (flaw.rule, flaw.severe, flaw.more["list"]) == ("unknown-code", False, f"{table} airports")
    assert "airportsdata" in flaw.more["edition"]


@pytest.mark.parametrize(("code", "meant"), MISTAKEN_COUNTRIES)
def test_a_mistaken_country_is_answered_with_what_was_meant(code: str, meant: tuple[str, ...]) -> None:
    """ISO 3166-1 alone, XK besides; the usual mistakes are recognised, never silently corrected."""
    _, flaw = examine("iso3166-1-alpha-2", code)

    assert flaw is not None
    assert flaw.allowed == meant


def test_whatever_the_tables_of_iso_list_passes() -> None:
    """domain.md §3: 249 countries, 5,046 subdivisions, 178 currencies; and of Northern Ireland, the region alone."""
    countries, regions, currencies = (
        {code for code in codes if examine(form, code) == (code, None)}
        for form, codes in (
            ("iso3166-1-alpha-2", {one.alpha_2 for one in pycountry.countries}),
            ("iso3166-2", {one.code for one in pycountry.subdivisions}),
            ("iso4217", {one.alpha_3 for one in pycountry.currencies}),
        )
    )

    assert (len(countries), len(regions), len(currencies)) == (249, 5046, 178)
    assert "GB-NIR" in regions


def test_international_waters_are_no_country() -> None:
    """UN/LOCODE XZ routes to nobody."""
    assert FORMATS["locode"].country("XZABC") is None
    assert FORMATS["locode"].country("CLVAP") == "CL"


def test_an_airport_lies_in_a_country() -> None:
    """A report that gives the airport alone is routed to its country."""
    assert FORMATS["iata-airport"].country("SCL") == "CL"
    assert FORMATS["icao-airport"].country("SCEL") == "CL"
    assert FORMATS["iata-airport"].country("SJU") == "PR"  # as its UN/LOCODE, PRSJU
    assert FORMATS["iata-airport"].country("QQQ") is None


def test_what_names_a_person_is_marked_so() -> None:
    """A schema can place them only below `x-nominal`."""
    assert {name for name, form in FORMATS.items() if form.personal} == {"passport", "phone", "iban"}


def test_what_is_searched_for_is_spelled_as_it_is_kept() -> None:
    """Whoever searches need not know the format, nor how the report wrote it."""
    for name, written, kept in VALID:
        if FORMATS[name].collected:
            assert kept in spellings(written), name


def test_the_digit_of_a_machine_readable_zone_is_that_of_its_specimen() -> None:
    """ICAO 9303-4, the specimen: document number, date of birth, date of expiry."""
    assert [mrz_digit(field) for field in ("L898902C3", "740812", "120415", "ZE184226B<<<<<")] == ["6", "2", "9", "1"]


@settings(deadline=None)  # the first look into a table loads it
@given(st.sampled_from(sorted(FORMATS)), st.text(max_size=40))
def test_no_text_makes_a_check_raise(name: str, text: str) -> None:
    """Whatever stands in a field, the check has an answer; a normalised value is its own normal form."""
    form = FORMATS[name]
    normalised, flaw = examine(name, text)

    assert form.normalise(normalised) == normalised or flaw is not None
    assert flaw is None or flaw.rule


HOSTILE = ["A", "0", "-", " ", "A1", "0A", "1-", "<", "+0", "ß", "٣", "\u0130", "AAA0000000"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_hostile_value_costs_no_more_than_its_length(name: str) -> None:
    """10,000 characters, ten times the work of 1,000 at most (and a wide margin for a busy machine)."""
    examine(name, "A")
    for part in HOSTILE:
        short, long = (_seconds(name, (part * length)[:length]) for length in (1_000, 10_000))

        assert long < 60 * short + 0.002, part


def _seconds(name: str, value: str) -> float:
    return min(timeit.repeat(lambda: examine(name, value), number=1, repeat=5))
