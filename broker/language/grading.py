"""Gradings of source and information, in the scheme they were given in; a conversion is derived, and says so.

Letters look alike and mean opposites ("E" is unreliable in Admiralty and untested in 5x5x5), so nothing is converted by
its letter: each grade is placed by its meaning (domain.md §2.6), and where a scheme has no such grade, the nearest that
claims less stands for it. A Derived grading is for reading. It cannot be sent: the envelope knows no such members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCHEMES = ("admiralty", "5x5x5", "4x4", "3x5x2")

SOURCE: Mapping[str, Mapping[str, str]] = {
    "admiralty": {"A": "always", "B": "mostly", "C": "sometimes", "D": "seldom", "E": "never", "F": "untested", "G": "deceptive"},
    "5x5x5": {"A": "always", "B": "mostly", "C": "sometimes", "D": "never", "E": "untested"},
    "4x4": {"A": "always", "B": "mostly", "C": "seldom", "X": "untested"},
    "3x5x2": {"1": "mostly", "2": "untested", "3": "never"},
}  # fmt: skip
"""Grade -> what it says of the source."""
INFORMATION: Mapping[str, Mapping[str, str]] = {
    "admiralty": {"1": "confirmed", "2": "probable", "3": "possible", "4": "doubtful", "5": "improbable", "6": "unjudged"},
    "5x5x5": {"1": "confirmed", "2": "first-hand", "3": "corroborated", "4": "unjudged", "5": "false"},
    "4x4": {"1": "confirmed", "2": "first-hand", "3": "corroborated", "4": "unjudged"},
    "3x5x2": {"A": "first-hand", "B": "corroborated", "C": "hearsay", "D": "unjudged", "E": "false"},
}  # fmt: skip

NEAREST: Mapping[str, tuple[str, ...]] = {
    "always": ("mostly",),
    "mostly": ("sometimes", "untested"),
    "sometimes": ("seldom", "untested"),
    "seldom": ("never",),
    "never": ("seldom",),
    "deceptive": ("never", "seldom"),
    "untested": (),
    "confirmed": ("first-hand", "corroborated"),
    "first-hand": ("probable", "corroborated"),
    "corroborated": ("probable", "first-hand"),
    "probable": ("corroborated", "first-hand"),
    "possible": ("hearsay", "unjudged"),
    "hearsay": ("possible", "unjudged"),
    "doubtful": ("unjudged",),
    "improbable": ("false", "unjudged"),
    "false": ("improbable", "unjudged"),
    "unjudged": (),
}
"""Meaning -> what stands for it where a scheme lacks it, the first that the scheme has."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A converted grading. `exact`: both values mean the same there; else something was lost on the way."""

    scheme: str
    source: str
    information: str
    derived_from: str
    exact: bool


def convert(grading: Mapping[str, str], scheme: str) -> Derived:
    """`grading` (of a checked header) read in another scheme. Raises KeyError for a scheme or grade that nobody knows."""
    source, same_source = _converted(SOURCE, grading["scheme"], grading["source"], scheme)
    information, same_information = _converted(INFORMATION, grading["scheme"], grading["information"], scheme)
    return Derived(scheme, source, information, grading["scheme"], same_source and same_information)


def _converted(table: Mapping[str, Mapping[str, str]], scheme: str, grade: str, wanted: str) -> tuple[str, bool]:
    if scheme == wanted:
        return grade, True
    meaning = table[scheme][grade]
    there = {said: value for value, said in table[wanted].items()}
    if meaning in there:
        return there[meaning], True
    return next(there[near] for near in NEAREST[meaning] if near in there), False
