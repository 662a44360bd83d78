"""Texts made of cells: `DANE {code}[, zone {zone}]`, and back.

A gap `{column}` takes a cell. A part in square brackets is left out when none of its gaps has a value (as in
`broker.phrases`). A text of which every gap is blank is blank.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

MAX_OPTIONAL = 6
"""Parts in square brackets: backwards each may have been left out or not."""
PIECE = re.compile(r"\[([^\[\]]*)\]|\{([^{}\[\]]+)\}|([^\[\]{}]+)")


class TemplateRefused(ValueError):
    """Why a text is not taken, as the end of a sentence."""


@dataclass(frozen=True)
class Gap:
    name: str


@dataclass(frozen=True)
class Part:
    """Words and gaps; `optional`: left out when every gap is blank."""

    pieces: tuple[str | Gap, ...]
    optional: bool


@dataclass(frozen=True)
class Template:
    text: str
    parts: tuple[Part, ...]
    gaps: tuple[str, ...]

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with `value(gap)` in every gap; blank when all of them are."""
        values = {gap: value(gap) for gap in self.gaps}
        if not any(values.values()):
            return ""
        kept = (p for p in self.parts if not p.optional or any(values[g.name] for g in p.pieces if isinstance(g, Gap)))
        return "".join(values[p.name] if isinstance(p, Gap) else p for part in kept for p in part.pieces)

    def take_apart(self, text: str) -> dict[str, str] | None:
        """Values for the gaps that give `text` again, or None; each as short as it can be. The text may be anybody's, so
        nothing is tried twice: the time is that of going over it once for every choice of what was left out."""
        for kept in product(*((True, False) if part.optional else (True,) for part in self.parts)):
            pieces = [piece for part, there in zip(self.parts, kept, strict=True) if there for piece in part.pieces]
            values = _between(pieces, text)
            if values is not None:
                values = dict.fromkeys(self.gaps, "") | values
                if self.fill(values.__getitem__) == text:
                    return values
        return None


def read_template(text: str) -> Template:
    """Raises TemplateRefused."""
    parts: list[Part] = []
    at = 0
    for found in PIECE.finditer(text):
        if found.start() != at:
            break
        at = found.end()
        if found[1] is not None:
            parts.append(Part(tuple(_pieces(found[1])), True))
        else:
            parts.append(Part((found[3] if found[2] is None else Gap(found[2].strip()),), False))
    if at != len(text):
        raise TemplateRefused(f"has a bracket that does not fit at character {at + 1}")
    gaps = [piece.name for part in parts for piece in part.pieces if isinstance(piece, Gap)]
    if not gaps:
        raise TemplateRefused("has no gap such as {column}: write a constant instead")
    if len(set(gaps)) != len(gaps):
        raise TemplateRefused("has the same gap twice")
    if any(part.optional and not any(isinstance(p, Gap) for p in part.pieces) for part in parts):
        raise TemplateRefused("has brackets without a gap in them")
    if sum(part.optional for part in parts) > MAX_OPTIONAL:
        raise TemplateRefused(f"has more than {MAX_OPTIONAL} parts in brackets")
    return Template(text, tuple(parts), tuple(gaps))


def _pieces(text: str) -> list[str | Gap]:
    pieces: list[str | Gap] = []
    for found in re.finditer(r"\{([^{}]+)\}|[^{}]+", text):
        pieces.append(found[0] if found[1] is None else Gap(found[1].strip()))
    return pieces


def _between(pieces: list[str | Gap], text: str) -> dict[str, str] | None:
    """What stands in the gaps, or None: the words in their order, each as early as can be, the last at the end."""
    gaps, words = [], [""]
    for piece in pieces:
        if isinstance(piece, Gap):
            gaps.append(piece.name)
            words.append("")
        else:
            words[-1] += piece
    values: dict[str, str] = {}
    at = len(words[0]) if text.startswith(words[0]) else -1
    for number, (gap, after) in enumerate(zip(gaps, words[1:], strict=True), 1):
        end = text.find(after, at) if number < len(gaps) else len(text) - len(after)
        if at < 0 or end < at or not text.startswith(after, end):
            return None
        values[gap] = text[at:end]
        at = end + len(after)
    return values if at == len(text) else None
