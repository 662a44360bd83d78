"""Patterns that a mapping may use on cells: Python's syntax without what can take for ever.

A backtracking engine needs time n^k for k repetitions in a row. So: no repetition of a group, no back-references, no
looking around, at most three repetitions and eight choices, and the more repetitions, the shorter the cell may be.
That bounds the work on one cell, whatever stands in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARACTERS = {0: 10_000, 1: 10_000, 2: 2_000, 3: 200}
"""Repetitions in the pattern -> characters of a cell that it is tried on."""
MAX_CHOICES = 8
FEW = 3
"""A repetition of at most so many times is no worse than a few letters; `?` counts among the choices, and so does each
time that `{n,m}` may be left out."""
REPEATED = re.compile(r"(?:[*+?]|\{(?:[0-9]+,?[0-9]*|,[0-9]*)\})\Z")
FORBIDDEN = re.compile(r"\(\?(?!:|P<[A-Za-z_]\w{0,31}>|i\))|\\[1-9]")
SIGN = re.compile(r"[*+]|\{\d*(?:,\d*)?\}|\?(?!:|P<|i\))|\|")


class PatternRefused(ValueError):
    """Why a pattern is not taken, as the end of a sentence."""


class TooLong(ValueError):
    """A cell longer than the pattern is tried on; `args[0]` characters would do."""


@dataclass(frozen=True)
class Pattern:
    text: str
    compiled: re.Pattern[str]
    max_characters: int

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self.compiled.groupindex)

    def whole(self, cell: str) -> dict[str, str] | None:
        """The named groups when the whole cell matches; a group that took no part is blank. Raises TooLong."""
        found = self.compiled.fullmatch(self._bounded(cell))
        return None if found is None else {name: text or "" for name, text in found.groupdict().items()}

    def within(self, cell: str) -> bool:
        """Does it match somewhere in the cell? Raises TooLong."""
        return self.compiled.search(self._bounded(cell)) is not None

    def _bounded(self, cell: str) -> str:
        if len(cell) > self.max_characters:
            raise TooLong(self.max_characters)
        return cell


def read_pattern(text: str, *, anywhere: bool = False) -> Pattern:
    """Raises PatternRefused. `anywhere`: for `within`, where the start is one more thing to try."""
    bare = re.sub(r"\\[^1-9]", "x", text)  # escapes are letters here
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)  # and so are classes
    if FORBIDDEN.search(bare):
        raise PatternRefused("uses back-references, looks around or sets flags other than (?i)")
    repetitions = choices = 0
    for found in SIGN.finditer(bare):
        sign = found[0]
        after_group = bare[: found.start()].endswith(")")
        many = sign in "*+" or (sign[0] == "{" and _most(sign) > FEW)
        if many and after_group:
            raise PatternRefused("repeats a group: repeat a class of characters, such as [^,]+")
        if sign[0] == "{" and after_group:
            raise PatternRefused("repeats a group: write it out")
        if sign == "?" and REPEATED.search(bare[: found.start()]):
            continue  # as few as possible: no more work
        repetitions += many
        choices += 1 if sign in "?|" else _most(sign) - _least(sign) if sign[0] == "{" and not many else 0
    repetitions += anywhere and repetitions > 0
    if repetitions > max(MAX_CHARACTERS) or choices > MAX_CHOICES:
        raise PatternRefused(f"has more than {max(MAX_CHARACTERS)} repetitions or {MAX_CHOICES} choices")
    try:
        return Pattern(text, re.compile(text, re.DOTALL), MAX_CHARACTERS[repetitions])
    except re.error as error:
        raise PatternRefused(f"is no pattern: {error}") from None


def _least(braces: str) -> int:
    return int(braces[1:-1].partition(",")[0] or 0)


def _most(braces: str) -> int:
    """The upper bound of `{n}`, `{n,}` or `{n,m}`."""
    least, comma, most = braces[1:-1].partition(",")
    if not comma:
        return int(least or 0)
    return int(most) if most else 1_000_000
