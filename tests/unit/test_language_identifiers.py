"""Identifiers are checked as their standards say; values from domain.md §3, true, false and misleading."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.language.identifiers import FORMATS, examine

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
    ("vin", "1M8GDM9AXKP042788", "1M8GDM9AXKP042788"),
    ("vin", "1HGCM82633A004352", "1HGCM82633A004352"),
    ("gtin", "4006381333931", "4006381333931"),
    ("gtin", "5901234123457", "5901234123457"),
    ("s10", "RR473124829FI", "RR473124829FI"),
    ("s10", "RB 123 456 785 GB", "RB123456785GB"),
    ("flight", "LA 530", "LA530"),
    ("flight", "LAN530", "LAN530"),
    ("mmsi", "725000123", "725000123"),
    ("un-number", "UN1203", "UN1203"),
    ("eccn", "3A001", "3A001"),
    ("eccn", "1c350", "1C350"),
    ("iso3166-1-alpha-2", "CL", "CL"),
    ("iso3166-1-alpha-2", "XK", "XK"),
    ("iso3166-2", "CL-VS", "CL-VS"),
    ("iso4217", "USD", "USD"),
    ("locode", "DEHAM", "DEHAM"),
    ("locode", "CLVAP", "CLVAP"),
    ("locode", "CNSHA", "CNSHA"),
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
]

WRONG_DIGIT = [
    ("iso6346", "CSQU3054384", "3"),
    ("iso6346", "TCLU4265447", "9"),
    ("imo", "9074720", "9"),
    ("awb", "020-81140744", "3"),
    ("gtin", "4006381333932", "1"),
    ("s10", "RB123456784GB", "5"),
    ("cas", "108-24-8", "7"),
]

DOUBTFUL_DIGIT = [
    ("mrn", "22GB02I89012847596"),
    ("mrn", "99IT9876AB88901235"),
    ("vin", "WVWZZZ1JZXW000001"),
]
"""Printed by real web sites, or right without a check digit: the answer is a warning."""

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
]

MISTAKEN_COUNTRIES = [
    ("EU", ()),
    ("XX", ()),
    ("UK", ("GB",)),
    ("EL", ("GR",)),
    ("AN", ("BQ", "CW", "SX")),
    ("SU", ("RU",)),
    ("YU", ("RS", "ME")),
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
    """European VINs have none, and not every national system computes that of an MRN."""
    _, flaw = examine(name, written)

    assert flaw is not None
    assert (flaw.rule, flaw.severe) == ("check-digit", False)


@pytest.mark.parametrize(("name", "written", "rule"), IMPOSSIBLE)
def test_what_cannot_be_such_an_identifier_is_severe(name: str, written: str, rule: str) -> None:
    """A form error, or a country that is none, is never forgeable."""
    _, flaw = examine(name, written)

    assert flaw is not None
    assert (flaw.rule, flaw.severe, flaw.forgeable) == (rule, True, False)


@pytest.mark.parametrize("code", ["999999", "293330", "77", "0000", "99"])
def test_an_hs_code_that_does_not_exist_only_warns(code: str) -> None:
    """Old reports quote old editions; 999999 stands in the table and is no HS code."""
    _, flaw = examine("hs", code)

    assert flaw is not None
    assert (flaw.rule, flaw.severe, flaw.more["edition"]) == ("unknown-hs", False, "HS 2022")


@pytest.mark.parametrize(("code", "meant"), MISTAKEN_COUNTRIES)
def test_a_mistaken_country_is_answered_with_what_was_meant(code: str, meant: tuple[str, ...]) -> None:
    """ISO 3166-1 alone, XK besides; the usual mistakes are recognised, never silently corrected."""
    _, flaw = examine("iso3166-1-alpha-2", code)

    assert flaw is not None
    assert flaw.allowed == meant


def test_international_waters_are_no_country() -> None:
    """UN/LOCODE XZ routes to nobody."""
    assert FORMATS["locode"].country("XZABC") is None
    assert FORMATS["locode"].country("CLVAP") == "CL"


@settings(deadline=None)  # the first look into a table loads it
@given(st.sampled_from(sorted(FORMATS)), st.text(max_size=40))
def test_no_text_makes_a_check_raise(name: str, text: str) -> None:
    """Whatever stands in a field, the check has an answer."""
    normalised, flaw = examine(name, text)

    assert isinstance(normalised, str)
    assert flaw is None or flaw.rule
