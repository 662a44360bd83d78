"""Names out of open text, whoever wrote them how: what stood in a nominal part must not stand beside it.

People write one name in capitals and in small letters, with its accents and without, composed and decomposed (NFC,
NFD), with a line break in it, inside a longer word. So name and text are compared as they sound: compatibility
decomposed, case-folded, without marks, and with one blank for any. What is as short as a mark of removal, or looks
like one, is compared letter by letter instead. Numbers and names of several words are also compared by their letters and
digits alone: people group a telephone number as they like. What is escaped in a text, as in a web address, is read, too.
Rather a word too much goes than a name stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from html import unescape
from urllib.parse import unquote

REMOVED = "[…]"
"""Stands in an open text where a nominal value stood."""
SHORTEST = 3
"""Characters of the shortest value that is looked for: a shorter one would take every other word with it. A wide one
(East Asian, UAX #11) counts for two: there a whole name may have no more."""
SHORTEST_BARE = 5
"""Letters and digits of the shortest value that is looked for by them alone."""
PASSES = 8
"""What is left of a text may meet into a name again. After so many times nothing is left of the text."""
SILENT = ("Mn", "Me", "Cf")
"""Unicode categories of what is not heard: combining marks; soft hyphens, joiners, directions."""
SAID_OTHERWISE = str.maketrans(
    {"ı": "i", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th", "ـ": None}
)
"""Letters whose stroke is no mark to Unicode, and what people write without it; the Arabic tatweel is a longer line."""
BARRIER = "…"
"""In a mark of removal: nothing is read across it."""


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
    return "".join(c for c in letters if unicodedata.category(c) not in SILENT).translate(SAID_OTHERWISE)


@lru_cache(maxsize=1 << 16)
def bare(character: str) -> str:
    """The letters and digits of one character, as they sound."""
    return BARRIER if character == BARRIER else "".join(c for c in sound(character) if c.isalnum())


def needles(values: Iterable[str]) -> Wanted:
    """What to look for, for these nominal values."""
    found: dict[Fold, dict[str, None]] = {sound: {}, str.casefold: {}, bare: {}}
    for value in values:
        written = value.strip()
        wide = sum(unicodedata.east_asian_width(c) == "W" for c in written)
        if len(written) + wide < SHORTEST or written == REMOVED:
            continue
        heard, _ = _folded(written, sound)
        plain = len(heard) < SHORTEST or heard in HEARD_REMOVED
        found[str.casefold if plain else sound][written.casefold() if plain else heard] = None
        alone, _ = _folded(written, bare)
        grouped = alone != heard or any(map(str.isdigit, alone))
        if grouped and len(alone) >= SHORTEST_BARE and BARRIER not in alone:
            found[bare][alone] = None
    return {fold: tuple(those) for fold, those in found.items() if those}


def present(wanted: Wanted, texts: Sequence[str]) -> Wanted:
    """Those of them that stand in some text, or that what is removed might make: a message that names hundreds repeats
    a few."""
    kept: dict[Fold, tuple[str, ...]] = {}
    for fold, those in wanted.items():
        whole = "\0".join(_folded(read, fold)[0] for text in texts for read in (text, *_unescaped(text)))
        kept[fold] = tuple(one for one in those if one in whole or not MARKS_OF_REMOVAL.isdisjoint(one))
    return {fold: those for fold, those in kept.items() if those}


def redacted(text: str, wanted: Wanted) -> str:
    """`text` with REMOVED for everything that is wanted, or REMOVED alone where it would grow; itself, if nothing is."""
    clean = text
    for _ in range(PASSES):
        spans = sorted(_spans(clean, wanted))
        if not spans:
            hidden = any(True for read in _unescaped(clean) for _ in _spans(read, wanted))
            return REMOVED if hidden else clean
        clean = _without(clean, spans)
        if len(clean) > len(text):
            break
    return REMOVED


def _unescaped(text: str) -> Iterator[str]:
    """What a text says to who reads it through a browser, where that is something else (RFC 3986 §2.1, HTML)."""
    for mark, read in (("%", unquote), ("&", unescape)):
        if mark in text and (said := read(text)) != text:
            yield said


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
                while end < len(text) and not (sound if fold is bare else fold)(text[end]):  # marks of its last letter
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
