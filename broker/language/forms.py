"""What a format is made of: how a value is normalised, what it looks like, and what is wrong with it, if anything.

Every pattern is bounded and without nested repetition: a check takes time linear in the value, whoever wrote it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SEPARATORS = str.maketrans("", "", " -./\t\u00a0\u00b7\u2010\u2011\u2013")
"""What people write between the groups of a number; the last ones come out of office documents."""
SPACES = str.maketrans("", "", " \t\u00a0")


@dataclass(frozen=True)
class Flaw:
    """What is wrong with one value. `severe` false: doubtful, not impossible. `forgeable`: a wrong check digit,
    which a value that is believed to be false may well have. `more` fills the gaps of the rule's sentence."""

    rule: str
    severe: bool = True
    forgeable: bool = False
    allowed: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)


Check = Callable[[str], Flaw | None]


def of_no_country(_value: str) -> str | None:
    return None


@dataclass(frozen=True)
class Format:
    """`check` takes the normalised value. `collected`: it names one thing and is kept for search. `country`: the
    country that a value lies in. `personal`: it names a person, by nature, and stands only where a schema says
    `x-nominal`. `table`: (name, edition) of the table that a value is a code of, where it is one."""

    normalise: Callable[[str], str]
    check: Check
    collected: bool = False
    country: Callable[[str], str | None] = of_no_country
    personal: bool = False
    table: tuple[str, str] | None = None


def kept(check: Check, normalise: Callable[[str], str] | None = None, *, personal: bool = False) -> Format:
    """A format whose values name one thing."""
    return Format(normalise or compact, check, collected=True, personal=personal)


def compact(value: str) -> str:
    """Upper case, without the separators that people write."""
    return value.upper().translate(SEPARATORS)


def of_any_script(value: str) -> str:
    """`compact`, of what is written in every script: one spelling (Unicode, UAX #15: NFKC) for what looks the same,
    composed or decomposed, full width or half."""
    return compact(unicodedata.normalize("NFKC", value))


def tight(value: str) -> str:
    """Upper case, without spaces: where other separators are part of the identifier."""
    return value.upper().translate(SPACES)


def as_written(value: str) -> str:
    return value


def without_prefix(prefix: str) -> Callable[[str], str]:
    return lambda value: compact(value).removeprefix(prefix)


def shape(pattern: str, form: str, then: Check | None = None) -> Check:
    """First the form (`identifier-form`, with `form` in words), then whatever the standard computes.

    A backslash class in `pattern` is Unicode's: plates and seals are written in every script.
    """
    match = re.compile(pattern).fullmatch
    wrong = malformed(form)

    def check(value: str) -> Flaw | None:
        if match(value) is None:
            return wrong
        return then(value) if then is not None else None

    return check


def malformed(form: str) -> Flaw:
    """No such identifier can look like this; `form` says in words what one looks like."""
    return Flaw("identifier-form", more={"form": form})


def check_digit(computed: Callable[[str], str], start: int = -1, width: int = 1, *, severe: bool = True) -> Check:
    """The `width` check digits from `start` must be what `computed` makes of the whole value."""

    def check(value: str) -> Flaw | None:
        expected = computed(value)
        head, found, tail = value[:start], value[start:][:width], value[start:][width:]
        if found == expected:
            return None
        return Flaw("check-digit", severe, True, (head + expected + tail,), {"expected": expected, "digit": found})

    return check
