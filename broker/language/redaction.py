"""Names out of open text, whoever wrote them how: what stood in a nominal part must not stand beside it.

People write one name in capitals and in small letters, with its accents and without, composed and decomposed (NFC,
NFD), with a line break in it, inside a longer word. So name and text are compared as they sound: compatibility
decomposed, case-folded, without marks, and with one blank for any. What is as short as a mark of removal, or looks
like one, is compared letter by letter instead. Rather a word too much goes than a name stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

REMOVED = "[…]"
"""Stands in an open text where a nominal value stood."""
SHORTEST = 3
"""Characters of the shortest value that is looked for: a shorter one would take every other word with it."""
PASSES = 8
"""What is left of a text may meet into a name again. After so many times nothing is left of the text."""
SILENT = ("Mn", "Me", "Cf")
"""Unicode categories of what is not heard: combining marks; soft hyphens, joiners, directions."""


class Needle(NamedTuple):
    """A value to look for, folded by `fold` as the text must be."""

    folded: str
    fold: Callable[[str], str]


@lru_cache(maxsize=1 << 16)
def sound(character: str) -> str:
    """One character as it sounds: empty for a mark, "ss" for ß, "i" for any i, a blank for any blank."""
    if character.isspace():
        return " "
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(c for c in letters if unicodedata.category(c) not in SILENT).replace("ı", "i")


def needles(values: Iterable[str]) -> tuple[Needle, ...]:
    """What to look for, for these nominal values."""
    return tuple(dict.fromkeys(_needle(value.strip()) for value in values if len(value.strip()) >= SHORTEST))


def _needle(value: str) -> Needle:
    heard, _ = _folded(value, sound)
    if len(heard) < SHORTEST or heard in _folded(REMOVED, sound)[0]:
        return Needle(value.casefold(), str.casefold)
    return Needle(heard, sound)


def redacted(text: str, wanted: Sequence[Needle]) -> str:
    """`text` with REMOVED for everything that is wanted, or REMOVED alone where it would grow; itself, if nothing is."""
    clean = text
    for _ in range(PASSES):
        spans = sorted(_spans(clean, wanted))
        if not spans:
            return clean
        clean = _without(clean, spans)
        if len(clean) > len(text):
            break
    return REMOVED


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """What overlaps goes together."""
    parts: list[str] = []
    reached = 0
    for start, end in spans:
        if start >= reached:
            parts += [text[reached:start], REMOVED]
        reached = max(reached, end)
    return "".join(parts) + text[reached:]


def _spans(text: str, wanted: Sequence[Needle]) -> Iterator[tuple[int, int]]:
    """Where in `text` something wanted stands, as (start, end)."""
    for fold in {needle.fold for needle in wanted}:
        whole, origins = _folded(text, fold)
        for needle in wanted:
            at = whole.find(needle.folded) if needle.fold is fold and needle.folded != REMOVED else -1
            while at >= 0:
                after = at + len(needle.folded)
                end = origins[after - 1] + 1
                while end < len(text) and not fold(text[end]):  # the marks of its last letter
                    end += 1
                yield origins[at], end
                at = whole.find(needle.folded, after)


def _folded(text: str, fold: Callable[[str], str]) -> tuple[str, list[int]]:
    """The text folded, a run of blanks as one, and for each character of it the place it came from."""
    parts: list[str] = []
    origins: list[int] = []
    for place, character in enumerate(text):
        letters = fold(character)
        if letters == " " and parts and parts[-1] == " " and fold is sound:
            continue
        if letters:
            parts.append(letters)
            origins += [place] * len(letters)
    return "".join(parts), origins
