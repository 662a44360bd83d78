"""Names out of open text, whoever wrote them how: what stood in a nominal part must not stand beside it.

People write one name in capitals and in small letters, with its accents and without, composed and decomposed (NFC,
NFD), with a line break in it, inside a longer word. So name and text are compared as they sound: compatibility
decomposed, case-folded, without marks, and with one blank for any. What is as short as a mark of removal, or looks
like one, is compared letter by letter instead. Rather a word too much goes than a name stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

REMOVED = "[…]"
"""Stands in an open text where a nominal value stood."""
SHORTEST = 3
"""Characters of the shortest value that is looked for: a shorter one would take every other word with it."""
PASSES = 8
"""What is left of a text may meet into a name again. After so many times nothing is left of the text."""
SILENT = ("Mn", "Me", "Cf")
"""Unicode categories of what is not heard: combining marks; soft hyphens, joiners, directions."""


Fold = Callable[[str], str]
"""How a character is compared: as it sounds, or as it is written in small letters."""
Wanted = Mapping[Fold, Sequence[str]]
"""What to look for, folded by the fold that the text must be folded by."""


@lru_cache(maxsize=1 << 16)
def sound(character: str) -> str:
    """One character as it sounds: empty for a mark, "ss" for ß, "i" for any i, a blank for any blank."""
    if character.isspace():
        return " "
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(c for c in letters if unicodedata.category(c) not in SILENT).replace("ı", "i")


def needles(values: Iterable[str]) -> Wanted:
    """What to look for, for these nominal values."""
    found: dict[Fold, dict[str, None]] = {sound: {}, str.casefold: {}}
    for value in values:
        written = value.strip()
        if len(written) < SHORTEST or written == REMOVED:
            continue
        heard, _ = _folded(written, sound)
        plain = len(heard) < SHORTEST or heard in HEARD_REMOVED
        found[str.casefold if plain else sound][written.casefold() if plain else heard] = None
    return {fold: tuple(those) for fold, those in found.items() if those}


def present(wanted: Wanted, texts: Sequence[str]) -> Wanted:
    """Those of them that stand in some text, or that what is removed might make: a message that names hundreds repeats
    a few."""
    kept: dict[Fold, tuple[str, ...]] = {}
    for fold, those in wanted.items():
        whole = "\0".join(_folded(text, fold)[0] for text in texts)
        kept[fold] = tuple(one for one in those if one in whole or not MARKS_OF_REMOVAL.isdisjoint(one))
    return {fold: those for fold, those in kept.items() if those}


def redacted(text: str, wanted: Wanted) -> str:
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


def _spans(text: str, wanted: Wanted) -> Iterator[tuple[int, int]]:
    """Where in `text` something wanted stands, as (start, end)."""
    for fold, those in wanted.items():
        whole, origins = _folded(text, fold)
        for one in those:
            at = whole.find(one)
            while at >= 0:
                after = at + len(one)
                end = origins[after - 1] + 1
                while end < len(text) and not fold(text[end]):  # the marks of its last letter
                    end += 1
                yield origins[at], end
                at = whole.find(one, after)


def _folded(text: str, fold: Fold) -> tuple[str, list[int]]:
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


HEARD_REMOVED = _folded(REMOVED, sound)[0]
MARKS_OF_REMOVAL = frozenset(REMOVED + HEARD_REMOVED)
"""What only comes to stand in a text by a removal spans a mark of it."""
