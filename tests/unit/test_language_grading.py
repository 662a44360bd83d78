"""A grading is read in another scheme by what it means, never by its letter, and never claims more than it did."""

from __future__ import annotations

import dataclasses
from itertools import product
from random import Random

import pytest

from broker.language.grading import INFORMATION, NEAREST, SCHEMES, SOURCE, Derived, convert
from tests.generate import LANGUAGE, message

GRADINGS = {
    scheme: [
        {"scheme": scheme, "source": source, "information": information}
        for source, information in product(SOURCE[scheme], INFORMATION[scheme])
    ]
    for scheme in SCHEMES
}
"""Every grading that a scheme has."""
PAIRS = list(product(SCHEMES, repeat=2))


def graded(scheme: str, both: str) -> dict[str, str]:
    return {"scheme": scheme, "source": both[0], "information": both[1]}


# --- by hand -----------------------------------------------------------------------------------------------------

TRAPS = [
    # the letter is the same, the meaning is not (domain.md §2.6)
    ("admiralty", "E5", "5x5x5", "D5", False),  # unreliable is not untested
    ("5x5x5", "E4", "admiralty", "F6", True),  # untested is not unreliable
    ("5x5x5", "E4", "4x4", "X4", True),
    ("4x4", "X4", "5x5x5", "E4", True),
    ("4x4", "X4", "admiralty", "F6", True),
    ("admiralty", "F6", "4x4", "X4", True),
    ("admiralty", "F6", "3x5x2", "2D", True),
    ("3x5x2", "2D", "admiralty", "F6", True),
    ("5x5x5", "D5", "4x4", "C4", False),  # unreliable, and there is nothing worse than mostly unreliable
    ("4x4", "C4", "admiralty", "D6", True),  # mostly unreliable is not sometimes reliable
    ("4x4", "C4", "5x5x5", "D4", False),
    ("admiralty", "C3", "4x4", "C4", False),  # sometimes reliable is not mostly reliable
    ("3x5x2", "3E", "5x5x5", "D5", True),
    ("3x5x2", "1A", "5x5x5", "B2", True),  # 1 says reliable; A would say always
    ("admiralty", "G1", "5x5x5", "D1", False),  # deceptive: the worst there is
    # figures run alike, and mean other things
    ("5x5x5", "A2", "admiralty", "A2", False),  # known to the source itself; probably true
    ("5x5x5", "B3", "admiralty", "B2", False),  # corroborated; not "possibly true"
    ("5x5x5", "B4", "admiralty", "B6", True),  # cannot be judged; not "doubtful"
    ("5x5x5", "B5", "admiralty", "B5", False),  # suspected false; improbable
    ("admiralty", "B4", "5x5x5", "B4", False),  # doubtful; nothing less can be said there than that it is not judged
    ("4x4", "B4", "admiralty", "B6", True),
]


@pytest.mark.parametrize(("scheme", "given", "other", "expected", "exact"), TRAPS)
def test_what_looks_alike_is_told_apart(scheme: str, given: str, other: str, expected: str, exact: bool) -> None:
    """A naive copy of letters turns "untested" into "unreliable", and back."""
    assert convert(graded(scheme, given), other) == Derived(other, expected[0], expected[1], scheme, exact)


def test_the_tables_have_the_grades_of_their_schemes() -> None:
    """As domain.md §2.6 lists them, and as the envelope lets them through."""
    grades = {scheme: ("".join(SOURCE[scheme]), "".join(INFORMATION[scheme])) for scheme in SCHEMES}

    assert grades == {
        "admiralty": ("ABCDEFG", "123456"), "5x5x5": ("ABCDE", "12345"), "4x4": ("ABCX", "1234"), "3x5x2": ("123", "ABCDE"),
    }  # fmt: skip
    payload = message("alert", Random(1))
    for grading in (grading for gradings in GRADINGS.values() for grading in gradings):
        payload["header"]["grading"] = grading
        assert LANGUAGE.check_header(payload) == ()


# --- whatever is graded ------------------------------------------------------------------------------------------

RELIABLE = ("deceptive", "never", "seldom", "sometimes", "mostly", "always")
TRUE = ("false", "improbable", "doubtful", "possible", "probable", "confirmed")
"""How much is claimed, the least first. What cannot be judged claims nothing."""
AS_MUCH = {"hearsay": "possible", "corroborated": "probable", "first-hand": "probable"}
NOTHING = ("untested", "unjudged")


def strength(order: tuple[str, ...], meaning: str) -> int | None:
    return None if meaning in NOTHING else order.index(AS_MUCH.get(meaning, meaning))


@pytest.mark.parametrize(("scheme", "other"), PAIRS)
def test_a_conversion_never_claims_more(scheme: str, other: str) -> None:
    """It says as much or less, or nothing; or the least that the other scheme can say, where even that says more."""
    for grading in GRADINGS[scheme]:
        no_more(grading, other)


def no_more(grading: dict[str, str], other: str) -> None:
    derived = convert(grading, other)
    for table, order, before, after in (
        (SOURCE, RELIABLE, grading["source"], derived.source),
        (INFORMATION, TRUE, grading["information"], derived.information),
    ):
        was, became = (
            strength(order, table[scheme][grade]) for scheme, grade in ((grading["scheme"], before), (other, after))
        )
        least = min(s for meaning in table[other].values() if (s := strength(order, meaning)) is not None)
        assert became is None or (was is not None and became <= was) or (was is not None and became == least), (
            before,
            after,
        )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_grading_in_its_own_scheme_is_itself(scheme: str) -> None:
    """Exact, whatever it says."""
    for grading in GRADINGS[scheme]:
        assert convert(grading, scheme) == Derived(**grading, derived_from=scheme, exact=True)


@pytest.mark.parametrize(("scheme", "other"), PAIRS)
def test_what_is_exact_means_the_same_and_comes_back(scheme: str, other: str) -> None:
    """And what is not exact says so."""
    for grading in GRADINGS[scheme]:
        there_and_back(grading, other)


def there_and_back(grading: dict[str, str], other: str) -> None:
    derived = convert(grading, other)
    same = (
        SOURCE[grading["scheme"]][grading["source"]] == SOURCE[other][derived.source]
        and INFORMATION[grading["scheme"]][grading["information"]] == INFORMATION[other][derived.information]
    )

    assert derived.exact == same
    if derived.exact:
        back = convert(
            {"scheme": other, "source": derived.source, "information": derived.information}, grading["scheme"]
        )
        assert (back.source, back.information) == (grading["source"], grading["information"])


def test_every_meaning_has_a_place_to_go() -> None:
    """No scheme lacks both a meaning and everything that stands for it; nor does one meaning occur twice in a scheme."""
    for table in (SOURCE, INFORMATION):
        for scheme in SCHEMES:
            meanings = list(table[scheme].values())
            assert len(set(meanings)) == len(meanings)
            assert set(meanings) <= set(NEAREST)


@pytest.mark.parametrize(
    "grading",
    [{"scheme": "6x6", "source": "A", "information": "1"}, {"scheme": "4x4", "source": "D", "information": "1"}],
)
def test_nobody_s_scheme_and_nobody_s_grade_are_refused(grading: dict[str, str]) -> None:
    """A KeyError: the envelope lets neither through for the schemes it knows."""
    with pytest.raises(KeyError):
        convert(grading, "admiralty")


# --- it stays what it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("grading", [gradings[0] for gradings in GRADINGS.values()])
def test_a_derived_grading_cannot_be_sent_as_the_original(grading: dict[str, str]) -> None:
    """The envelope knows neither where it was derived from nor whether it is exact."""
    payload = message("alert", Random(1))
    payload["header"]["grading"] = dataclasses.asdict(convert(grading, "admiralty"))

    assert {(fault.rule, fault.pointer) for fault in LANGUAGE.check_header(payload)} == {
        ("unknown-member", "/header/grading/derived_from"), ("unknown-member", "/header/grading/exact"),
    }  # fmt: skip


def test_reading_a_message_converts_nothing() -> None:
    """The header is as it was signed, in its scheme."""
    payload = message("alert", Random(1))
    payload["header"]["grading"] = graded("5x5x5", "E4")
    before = str(payload)
    LANGUAGE.check_header(payload)

    assert str(payload) == before
