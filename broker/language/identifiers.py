"""Identifier checks: one table, format name -> how it is normalised, checked and explained.

    forms.py         what a format is made of
    checkdigits.py   what a standard computes
    existence.py     what exists

Each check cites its standard and computes what it can: a check digit, a country, existence in a table. A form that
cannot be right is an error. A wrong check digit is an error where the standard makes it compulsory, a warning for an
MRN and for a North American VIN, and nothing elsewhere. Whether an identifier is *believed* to be false is the
message's to say: `rules` of the report, not of the standard, and handled by the caller.

Not here: whether a container, ship, person or consignment exists. Nothing is looked up outside this process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stdnum.eu import excise

from broker.language import checkdigits as digits
from broker.language.existence import (
    COUNTRIES,
    CURRENCIES,
    HS,
    IATA,
    ICAO,
    SUBDIVISIONS,
    country_flaw,
    currency_flaw,
    customs_country_flaw,
    iata_airport_country,
    iata_airport_flaw,
    icao_airport_country,
    icao_airport_flaw,
    locode_country,
    locode_flaw,
    subdivision_flaw,
)
from broker.language.forms import (
    Flaw,
    Format,
    as_written,
    check_digit,
    compact,
    kept,
    malformed,
    of_any_script,
    shape,
    tight,
    without_prefix,
)

__all__ = ["FORMATS", "Flaw", "Format", "country_flaw", "examine", "spellings"]

NORTH_AMERICA = "12345"
"""ISO 3780: first characters of vehicles whose makers 49 CFR 565 binds; elsewhere position 9 is free."""
NO_STATION = "000000000"
FIRST_MID, LAST_MID = "201", "775"
"""Maritime identification digits (ITU Radio Regulations, appendix 42)."""
CALL_PREFIX = "00"
EXCISE_FORM = "Member State and 11 characters"
IMEI_FORM = re.compile(r"[0-9]{14}([0-9]{2})?")
MRZ_FORM = re.compile(r"[A-Z0-9<]{9}[0-9]")
CAS_HYPHENS = str.maketrans({" ": None, "\u00a0": None, "\u2010": "-", "\u2011": "-", "\u2013": "-"})
PHONE_SEPARATORS = str.maketrans("", "", " -./()\t\u00a0\u2010\u2011\u2013")


# --- one spelling for one thing ----------------------------------------------------------------------------------


def _substance(value: str) -> str:
    """The hyphens of a CAS Registry Number are part of it; left out, they are put back."""
    number = value.translate(CAS_HYPHENS)
    return number if "-" in number else f"{number[:-3]}-{number[-3:-1]}-{number[-1:]}"


def _article(value: str) -> str:
    """GTIN-12, -13 and -14 of one article differ in leading zeros alone: the scanner's choice. GTIN-13 stands for
    all; a packing level (a GTIN-14 with another first digit) is a thing of its own."""
    number = compact(value)
    if len(number) == 12:
        return f"0{number}"
    return number[1:] if len(number) == 14 and number[0] == "0" else number


def _device(value: str) -> str:
    """An IMEI without its check digit, or with a software version in its place, is the same device: 15 digits."""
    number = compact(value)
    return number[:14] + digits.device(number) if IMEI_FORM.fullmatch(number) else number


def _phone(value: str) -> str:
    """ITU-T E.164, with the plus: an international call prefix (00) says the same."""
    number = value.translate(PHONE_SEPARATORS)
    return f"+{number[2:]}" if number.startswith(CALL_PREFIX) else number


def _travel_document(value: str) -> str:
    """As printed. As read by a machine (ICAO 9303-4 §4.2.2: nine characters, `<` as filler, check digit) it is the
    same document, if the digit is right; if not, it stays as it is, for the check to say so."""
    number = compact(value)
    if MRZ_FORM.fullmatch(number) and digits.mrz_digit(number[:9]) == number[9]:
        return number[:9].rstrip("<")
    return number


# --- more than a form and a digit --------------------------------------------------------------------------------


def _postal_item(value: str) -> Flaw | None:
    """UPU S10. Not checked: which service the first two letters name; a list of 26 squared that moves."""
    return country_flaw(value[-2:]) or _S10_DIGIT(value)


def _movement_reference(value: str) -> Flaw | None:
    """Some national systems compute no check digit (domain.md §3): a warning."""
    return customs_country_flaw(value[2:4]) or _MRN_DIGIT(value)


def _vehicle(value: str) -> Flaw | None:
    return _VIN_DIGIT(value) if value[0] in NORTH_AMERICA else None


def _ship_station(value: str) -> Flaw | None:
    """ITU-R M.585: a ship's own identity (2 to 7 in front) begins with its country's digits, 201 to 775; nothing has none
    at all. Transmitters are set to anything: believed false, it is intelligence. Not checked: other stations, and which
    country the digits are."""
    if value == NO_STATION or (value[0] in "234567" and not FIRST_MID <= value[:3] <= LAST_MID):
        return Flaw("unknown-mid", forgeable=True)
    return None


def _account(value: str) -> Flaw | None:
    """Not checked: the national check digits inside some account numbers; those of ISO 13616 cover them."""
    structure = digits.account_structure(value[:2])
    if structure is None:
        return country_flaw(value[:2]) or malformed("an account of a country that has IBANs")
    if re.fullmatch(structure, value[4:]) is None:
        return malformed(f"country, 2 digits and an account number of {value[:2]}")
    return _IBAN_DIGITS(value)


def _excise(value: str) -> Flaw | None:
    """Regulation (EU) 389/2012: a Member State or XI, and what that state's own rule says, if stdnum has it."""
    return None if excise.is_valid(value) else customs_country_flaw(value[:2]) or malformed(EXCISE_FORM)


def _economic_operator(value: str) -> Flaw | None:
    """Regulation (EU) 2015/2446 annex 12-01: the country whose customs gave it, and what that country likes."""
    return customs_country_flaw(value[:2])


def _consignment_reference(value: str) -> Flaw | None:
    """WCO UCR: year, country, then what the operator likes."""
    return customs_country_flaw(value[1:3])


def _travel_document_flaw(value: str) -> Flaw | None:
    return _MRZ_DIGIT(value) if len(value) == 10 else None


_S10_DIGIT = check_digit(digits.postal_item, 10)
_MRN_DIGIT = check_digit(digits.movement_reference, severe=False)
_VIN_DIGIT = check_digit(digits.vehicle, 8, severe=False)
_IBAN_DIGITS = check_digit(digits.account, 2, 2)
_MRZ_DIGIT = check_digit(lambda value: digits.mrz_digit(value[:9]))

FORMATS: Mapping[str, Format] = {
    # --- things that move, and what they move in
    # owner code, category U, J or Z, serial number, check digit
    "iso6346": kept(shape(r"[A-Z]{3}[UJZ][0-9]{7}", "3 letters, U, J or Z, 7 digits", check_digit(digits.container))),
    "imo": kept(shape(r"[1-9][0-9]{6}", "7 digits", check_digit(digits.ship)), without_prefix("IMO")),
    "mmsi": kept(shape(r"[0-9]{9}", "9 digits", _ship_station)),
    "flight": kept(shape(r"([A-Z]{3}|[A-Z][A-Z0-9]|[0-9][A-Z])[0-9]{1,4}[A-Z]?", "airline and 1 to 4 digits")),
    "vin": kept(shape(r"[A-HJ-NPR-Z0-9]{17}", "17 characters without I, O and Q", _vehicle)),
    "plate": kept(shape(r"[^\W_]{2,12}", "2 to 12 letters and digits"), of_any_script),
    "seal": kept(shape(r"[^\W_]{3,20}", "3 to 20 letters and digits"), of_any_script),
    # --- consignments and documents
    "awb": kept(shape(r"[0-9]{11}", "3 and 8 digits", check_digit(digits.air_waybill))),
    "bill-of-lading": kept(shape(r"[^\W_]{4,35}", "4 to 35 letters and digits"), of_any_script),
    "s10": kept(shape(r"[A-Z]{2}[0-9]{9}[A-Z]{2}", "2 letters, 9 digits, country", _postal_item)),
    "mrn": kept(shape(r"[0-9]{2}[A-Z]{2}[A-Z0-9]{13}[0-9]", "year, country, 13 characters, digit", _movement_reference)),
    "ucr": kept(
        shape(r"[0-9][A-Z]{2}[A-Z0-9()/-]{3,32}", "digit, country and 3 to 32 characters", _consignment_reference), tight
    ),
    "document": kept(shape(r"[^\W_]{3,40}", "3 to 40 letters and digits"), of_any_script),
    # --- goods
    "cas": kept(
        shape(r"[1-9][0-9]{1,6}-[0-9]{2}-[0-9]", "digits, 2 digits, 1 digit", check_digit(digits.substance)), _substance
    ),
    "gtin": kept(shape(r"[0-9]{8}|[0-9]{13,14}", "8, 12, 13 or 14 digits", check_digit(digits.article)), _article),
    "imei": kept(shape(r"[0-9]{15}", "14, 15 or 16 digits", check_digit(digits.device)), _device),
    "hs": Format(compact, shape(r"[0-9]{2}([0-9]{2}){0,2}", "2, 4 or 6 digits"), table=HS),
    "un-number": Format(compact, shape(r"UN[0-9]{4}", "UN and 4 digits")),
    # category 0 to 9 and group A to E of the dual-use lists; EAR99 is what the United States control besides
    "eccn": Format(tight, shape(r"[0-9][A-E][0-9]{3}[A-Z0-9.]{0,12}|EAR99", "digit, A to E, 3 digits")),
    # --- persons and companies
    "passport": kept(
        shape(r"[A-Z0-9]{5,9}|[A-Z0-9<]{9}[0-9]", "5 to 9 letters and digits", _travel_document_flaw), _travel_document,
        personal=True,
    ),
    "phone": kept(shape(r"\+[1-9][0-9]{6,14}", "+ and 7 to 15 digits"), _phone, personal=True),
    "iban": kept(shape(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", "country, 2 digits and an account", _account), personal=True),
    "lei": kept(shape(r"[A-Z0-9]{18}[0-9]{2}", "18 characters and 2 digits", check_digit(digits.legal_entity, 18, 2))),
    "eori": kept(shape(r"[A-Z]{2}[A-Z0-9]{1,15}", "country and 1 to 15 characters", _economic_operator)),
    "excise": kept(shape(r"[A-Z]{2}[A-Z0-9]{11}", EXCISE_FORM, _excise)),
    # SHA-256 of a name and address as base64url: 43 characters, of which the last holds four bits
    "consignee-hash": kept(shape(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", "43 characters of base64url"), as_written),
    # --- places and money
    "iso3166-1-alpha-2": Format(as_written, country_flaw, country=as_written, table=COUNTRIES),
    "iso3166-2": Format(
        as_written, shape(r"[A-Z]{2}-[A-Z0-9]{1,3}", "country-subdivision", subdivision_flaw), country=lambda v: v[:2],
        table=SUBDIVISIONS,
    ),
    # UN/LOCODE Manual: country, then 3 characters without the digits 0 and 1
    "locode": Format(
        as_written, shape(r"[A-Z]{2}[A-Z2-9]{3}", "country and 3 characters", locode_flaw), country=locode_country
    ),
    "iata-airport": Format(
        as_written, shape(r"[A-Z]{3}", "3 capital letters", iata_airport_flaw), country=iata_airport_country, table=IATA
    ),
    "icao-airport": Format(
        as_written, shape(r"[A-Z]{4}", "4 capital letters", icao_airport_flaw), country=icao_airport_country, table=ICAO
    ),
    "iso4217": Format(as_written, shape(r"[A-Z]{3}", "3 capital letters", currency_flaw), table=CURRENCIES),
}  # fmt: skip
"""Every `format` that is ours. Any other format in a schema is left to jsonschema-rs, which refuses unknown ones."""


def examine(name: str, value: str) -> tuple[str, Flaw | None]:
    """`value` normalised by the format `name`, and what is wrong with it, if anything."""
    form = FORMATS[name]
    normalised = form.normalise(value)
    return normalised, form.check(normalised)


def spellings(text: str) -> tuple[str, ...]:
    """Every value under which `text` may be kept for search, whatever its format was: few, and sorted."""
    return tuple(sorted({form.normalise(text) for form in FORMATS.values() if form.collected}))
