"""Check digits: what the standard computes from an identifier of the right form, by a kept library where one exists.

Each function takes the whole normalised value, its check digit included, and returns the digit that it ought to have.
ISO 6346 is the exception to "by a library": python-stdnum takes 17 µs for a container, most of it for cleaning
what is clean, and a report may name a hundred; the tests compare the two.
"""

from __future__ import annotations

import re
from functools import cache

from stdnum import casrn, ean, imo, luhn, numdb
from stdnum.iso7064 import mod_97_10
from vininfo import Vin

ISO_6346 = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(39) if n not in (11, 22, 33)),
                    strict=True))  # fmt: skip
"""ISO 6346: A is 10, and multiples of 11 are left out."""
S10_WEIGHTS = (8, 6, 4, 2, 3, 5, 9, 7)
S10_REMAINDERS = {10: "0", 11: "5"}
MRZ_WEIGHTS = (7, 3, 1)
VIN_DIGITS = "0123456789X"
IMEI_BODY = 14
REGISTRY_PART = re.compile(r"([0-9]+)!([nac])")
REGISTRY_CHARACTERS = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
"""How the IBAN registry writes account numbers: `8!n10!n` is 8 and 10 digits."""


def _iso6346(body: str) -> str:
    return str(sum(ISO_6346[character] << place for place, character in enumerate(body)) % 11 % 10)


def container(value: str) -> str:
    """ISO 6346: values times powers of two, modulo 11, and 10 counts as 0."""
    return _iso6346(value[:10])


def movement_reference(value: str) -> str:
    """DG XXI/0879/99 Rev.1: values and weights of ISO 6346 over the first 17 characters."""
    return _iso6346(value[:17])


def ship(value: str) -> str:
    """IMO Resolution A.1117(30)."""
    return imo.calc_check_digit(value)


def substance(value: str) -> str:
    """CAS Registry Number: digits times their place from the right, modulo 10."""
    return casrn.calc_check_digit(value[:-1])


def article(value: str) -> str:
    """GS1 General Specifications §7.9."""
    return ean.calc_check_digit(value[:-1])


def air_waybill(value: str) -> str:
    """IATA Resolution 600a: serial number modulo 7 (example: abf.gov.au). No library has it."""
    return str(int(value[3:10]) % 7)


def postal_item(value: str) -> str:
    """UPU S10: weighted sum, subtracted from 11 modulo 11. No library has it."""
    total = sum(int(digit) * weight for digit, weight in zip(value[2:10], S10_WEIGHTS, strict=True))
    return S10_REMAINDERS.get(11 - total % 11, str(11 - total % 11))


def device(value: str) -> str:
    """3GPP TS 23.003 annex B: Luhn over the first 14 digits of an IMEI."""
    return luhn.calc_check_digit(value[:IMEI_BODY])


def vehicle(value: str) -> str:
    """49 CFR 565.15(c). vininfo only says right or wrong, so the digit is found by asking; a make that does not use
    one keeps what it has."""
    candidates = (value[8], *VIN_DIGITS)
    return next((d for d in candidates if Vin(value[:8] + d + value[9:]).verify_checksum(check_year=False)), value[8])


def account(value: str) -> str:
    """ISO 13616: two digits after the country, ISO 7064 mod 97-10 over the rest."""
    return mod_97_10.calc_check_digits(value[4:] + value[:2])


def legal_entity(value: str) -> str:
    """ISO 17442: two digits at the end, ISO 7064 mod 97-10."""
    return mod_97_10.calc_check_digits(value[:18])


def mrz_digit(field: str) -> str:
    """ICAO 9303-3 §4.9, for one field of a machine-readable zone, of A to Z, 0 to 9 and `<`, without its digit."""
    total = sum(int(c, 36) * MRZ_WEIGHTS[place % 3] for place, c in enumerate(field) if c != "<")
    return str(total % 10)


@cache
def account_structure(country: str) -> str | None:
    """ISO 13616: what follows country and digits in an IBAN of `country`, as a pattern: `[0-9]{8}[0-9]{10}`.

    None: the country has no IBAN. Call with two letters A to Z: the cache holds at most 676 of them.
    """
    structure = numdb.get("iban").info(country)[0][1].get("bban")
    if structure is None:
        return None
    return REGISTRY_PART.sub(lambda part: f"{REGISTRY_CHARACTERS[part[2]]}{{{part[1]}}}", structure)
