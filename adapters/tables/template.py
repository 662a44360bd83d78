"""Texts made of cells: `DANE {code}[, zone {zone}]`, and back.

A gap `{column}` takes a cell. A part in square brackets is left out when none of its gaps has a value (as in
`broker.phrases`). A text of which every gap is blank is blank.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

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
    backwards: re.Pattern[str]
    gaps: tuple[str, ...]
    """In the order of their groups `g0`, `g1` ... in `backwards`."""

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with `value(gap)` in every gap; blank when all of them are."""
        values = {gap: value(gap) for gap in self.gaps}
        if not any(values.values()):
            return ""
        kept = (p for p in self.parts if not p.optional or any(values[g.name] for g in p.pieces if isinstance(g, Gap)))
        return "".join(values[p.name] if isinstance(p, Gap) else p for part in kept for p in part.pieces)

    def take_apart(self, text: str) -> dict[str, str] | None:
        """Values for the gaps that give `text` again, or None. What two gaps share is given to the first."""
        found = self.backwards.fullmatch(text)
        if found is None:
            return None
        values = {gap: found[f"g{number}"] or "" for number, gap in enumerate(self.gaps)}
        return values if self.fill(values.__getitem__) == text else None


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
    return Template(text, tuple(parts), _backwards(parts, gaps), tuple(gaps))


def _pieces(text: str) -> list[str | Gap]:
    pieces: list[str | Gap] = []
    for found in re.finditer(r"\{([^{}]+)\}|[^{}]+", text):
        pieces.append(found[0] if found[1] is None else Gap(found[1].strip()))
    return pieces


def _backwards(parts: list[Part], gaps: list[str]) -> re.Pattern[str]:
    """Each gap as short as it can be; short texts alone are taken apart, so that no time is lost on it."""
    expression = ""
    for part in parts:
        inner = "".join(
            f"(?P<g{gaps.index(piece.name)}>.*?)" if isinstance(piece, Gap) else re.escape(piece)
            for piece in part.pieces
        )
        expression += f"(?:{inner})?" if part.optional else inner
    return re.compile(expression, re.DOTALL)
