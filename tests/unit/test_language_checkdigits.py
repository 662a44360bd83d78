"""A check digit finds what its standard says it finds: every formula here is written a second time, in another way, and
the two must agree.

What is not guaranteed is left out by name: ISO 6346 and the MRN write a remainder of 10 as 0, S10 writes 11 as 5, the
air waybill's modulo 7 cannot tell 0 from 7, and even weights modulo 10 (IMO, CAS) let some digits pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stdnum import iso6346

from broker.language.checkdigits import movement_reference
from broker.language.identifiers import examine

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))


def weighed(number: str, weights: Sequence[int]) -> int:
    return sum(int(c) * w for c, w in zip(number, weights, strict=True))


def container_remainder(number: str) -> int:
    """Letters as their place in an alphabet with gaps at 11, 22 and 33; powers of two by Horner, from the back."""
    alphabet = "0123456789A BCDEFGHIJK LMNOPQRSTU VWXYZ"
    total = 0
    for character in reversed(number):
        total = 2 * total + alphabet.index(character)
    return total % 11


def postal_remainder(number: str) -> int:
    return 11 - weighed(number[2:10], (8, 6, 4, 2, 3, 5, 9, 7)) % 11


def vin_remainder(number: str) -> int:
    return weighed("".join(VIN_VALUES.get(c, c) for c in number), VIN_WEIGHTS) % 11


def luhn(number: str) -> int:
    return sum(int(d) for place, digit in enumerate(reversed(number)) for d in str(int(digit) * (1 + place % 2))) % 10


def article_sum(number: str) -> int:
    return weighed(number.zfill(14), (3, 1) * 7) % 10


def mod_97(number: str) -> int:
    """Digit by digit, never as one large number. ISO 7064 computes 02 to 98; 00, 01 and 99 leave the same remainder."""
    remainder = 0
    for digit in "".join(str(LETTERS.index(c) + 10) if c in LETTERS else c for c in number):
        remainder = (10 * remainder + int(digit)) % 97
    return remainder


def mrz_sum(number: str) -> int:
    values = [str((DIGITS + LETTERS).index(c) if c != "<" else 0) for c in number]
    return sum(int(v) * w for v, w in zip(values, (7, 3, 1) * 3, strict=True)) % 10


@dataclass(frozen=True)
class Promise:
    """`digits`: where a single wrong digit must be found. `excused`: two numbers that the standard takes for one."""

    format: str
    bodies: st.SearchStrategy[str]
    right: Callable[[str], bool]
    digits: tuple[int, ...]
    excused: Callable[[str, str], bool] = lambda _one, _other: False


def pattern(text: str) -> st.SearchStrategy[str]:
    return st.from_regex(text, fullmatch=True)


def sevens_apart(one: str, other: str) -> bool:
    return any(abs(int(a) - int(b)) == 7 for a, b in zip(one[3:10], other[3:10], strict=True))


PROMISES = [
    Promise(
        "iso6346", pattern("[A-Z]{3}[UJZ][0-9]{7}"),
        lambda n: str(container_remainder(n[:10]))[-1] == n[10] == iso6346.calc_check_digit(n[:10]), tuple(range(4, 11)),
        lambda a, b: 10 in (container_remainder(a[:10]), container_remainder(b[:10])),
    ),
    Promise(
        "mrn", pattern("[0-9]{2}(CL|DE|XI)[A-Z0-9]{13}[0-9]"),
        lambda n: str(container_remainder(n[:17]))[-1] == n[17], (0, 1, *range(4, 18)),
        lambda a, b: 10 in (container_remainder(a[:17]), container_remainder(b[:17])),
    ),
    Promise("imo", pattern("[1-9][0-9]{6}"), lambda n: weighed(n[:6], range(7, 1, -1)) % 10 == int(n[6]), (0, 4, 6)),
    Promise("awb", pattern("[0-9]{11}"), lambda n: int(n[3:10]) % 7 == int(n[10]), tuple(range(3, 11)), sevens_apart),
    Promise(
        "cas", pattern("[1-9][0-9]{4}-[0-9]{2}-[0-9]"),
        lambda n: weighed(n[:5] + n[6:8], range(7, 0, -1)) % 10 == int(n[9]), (0, 4, 7, 9),
    ),
    Promise("gtin", pattern("[0-9]{8}|[0-9]{13}|[1-9][0-9]{13}"), lambda n: article_sum(n) == 0, tuple(range(1, 14))),
    Promise(
        "s10", pattern("[A-Z]{2}[0-9]{9}(CL|GB)"),
        lambda n: {10: "0", 11: "5"}.get(postal_remainder(n), str(postal_remainder(n))) == n[10], tuple(range(2, 11)),
        lambda a, b: {postal_remainder(a), postal_remainder(b)} == {5, 11},
    ),
    Promise("imei", pattern("[0-9]{15}"), lambda n: luhn(n) == 0, tuple(range(15))),
    Promise(
        "vin", pattern("[1-5][A-HJ-NPR-Z0-9]{16}"), lambda n: "0123456789X"[vin_remainder(n)] == n[8], tuple(range(1, 17))
    ),
    Promise(
        "iban", pattern("DE[0-9]{20}|CR[0-9]{20}"),
        lambda n: mod_97(n[4:] + n[:4]) == 1 and "02" <= n[2:4] <= "98", tuple(range(2, 22)),
    ),
    Promise("lei", pattern("[A-Z0-9]{18}[0-9]{2}"), lambda n: mod_97(n) == 1 and "02" <= n[18:] <= "98", tuple(range(20))),
    Promise("passport", pattern("[A-Z0-9]{9}[0-9]"), lambda n: mrz_sum(n[:9]) == int(n[9]), tuple(range(10))),
]  # fmt: skip


def corrected(promise: Promise, body: str) -> str:
    """`body` with the check digit that the product expects."""
    _, flaw = examine(promise.format, body)
    assert flaw is None or flaw.rule == "check-digit"
    return body if flaw is None else flaw.allowed[0]


@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.format)
@given(st.data())
def test_the_digit_is_the_one_that_another_formula_gives(promise: Promise, data: st.DataObject) -> None:
    """What the product corrects is right, and what it accepts is right, by a formula that was written apart from it."""
    body = data.draw(promise.bodies)
    accepted = examine(promise.format, body)[1] is None

    assert accepted == promise.right(body)
    assert promise.right(corrected(promise, body))


@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.format)
@given(st.data())
def test_a_single_wrong_digit_is_found(promise: Promise, data: st.DataObject) -> None:
    """Wherever the standard guarantees it."""
    right = corrected(promise, data.draw(promise.bodies))
    place = data.draw(st.sampled_from([i for i in promise.digits if i < len(right) and right[i] in DIGITS]))
    wrong = right[:place] + data.draw(st.sampled_from(DIGITS.replace(right[place], ""))) + right[place + 1 :]
    assume(not promise.excused(right, wrong))

    flaw = examine(promise.format, wrong)[1]

    assert flaw is not None
    assert flaw.rule == "check-digit" or (place, wrong[0]) == (0, "0")


def test_a_digit_may_be_right_where_the_country_is_not() -> None:
    """The number of domain.md §3 whose country is nobody's: 38VYQTYFU3T0KUTUM3."""
    assert movement_reference("38VYQTYFU3T0KUTUM3") == "3"
