"""A row as a mapping names it: columns, parts of columns, conditions, numbers in the table's style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.tables import dates
from adapters.tables.codes import folded
from adapters.tables.mapping import ITEM, Condition, DateParts, PatternParts, Ref, TableMapping
from adapters.tables.patterns import TooLong


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a row: the columns (labels) where to look, what stands there, the rule, and a sentence's gaps.

    `detail`: a sentence as the hub said it, instead of one of ours."""

    columns: tuple[str, ...]
    found: str
    rule: str
    gaps: Mapping[str, object] = field(default_factory=dict)
    detail: str = ""


class Bad(Exception):
    """A cell that cannot be read as asked."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(wrong.rule)
        self.wrong = wrong


class Cells:
    """The texts of one row as the mapping names them: columns, parts of columns, the item of `each`."""

    def __init__(self, mapping: TableMapping, cells: Mapping[str, str]) -> None:
        self._mapping = mapping
        self._cells = cells
        self._parts: dict[str, Mapping[str, str]] = {}
        self.item = ""
        self.item_of = ""

    def raw(self, label: str) -> str:
        """A cell, trimmed; blank if it holds a word that the table uses for blank."""
        text = self._cells.get(label, "").strip()
        blank = self._mapping.style.blank
        return "" if blank and folded(text) in blank else text

    def text(self, ref: Ref) -> str:
        """Raises Bad if the part that is asked for cannot be found in the cell."""
        if ref.label == ITEM:
            return self.item
        if not ref.part:
            return self.raw(ref.label)
        if ref.label not in self._parts:
            self._parts[ref.label] = self._taken_apart(ref.label)
        return self._parts[ref.label].get(ref.part, "")

    def column(self, ref: Ref) -> str:
        return self.item_of if ref.label == ITEM else ref.label

    def _taken_apart(self, label: str) -> Mapping[str, str]:
        cell, parts = self.raw(label), self._mapping.parts[label]
        if not cell:
            return {}
        if isinstance(parts, DateParts):
            dated = dates.parse(" ".join(cell.split()), parts.formats, self._mapping.zone)
            if dated is None:
                raise Bad(Wrong((label,), cell, "not-a-date", {"allowed": parts.shown}))
            return {name: dated.part(name) for name in dates.PARTS if name != "at" or self._mapping.zone is not None}
        return self._by_pattern(label, cell, parts)

    def _by_pattern(self, label: str, cell: str, parts: PatternParts) -> Mapping[str, str]:
        try:
            found = parts.pattern.whole(cell)
        except TooLong as error:
            raise Bad(_too_long(label, cell, error)) from None
        if found is None:
            raise Bad(Wrong((label,), cell, "not-the-form", {"allowed": parts.pattern.text}))
        return {name: text.strip() for name, text in found.items()}


def holds(condition: Condition, cells: Cells) -> bool:
    """Raises Bad when a part of a column that it asks for cannot be found."""
    if condition.test in ("given", "blank"):
        return any(cells.text(ref) for ref in condition.refs) is (condition.test == "given")
    text = cells.text(condition.refs[0])
    if condition.test == "matches":
        assert condition.pattern is not None
        try:
            return condition.pattern.within(text)
        except TooLong as error:
            raise Bad(_too_long(cells.column(condition.refs[0]), text, error)) from None
    return (folded(text) in condition.folds) is (condition.test == "is")


def _too_long(label: str, cell: str, error: TooLong) -> Wrong:
    return Wrong((label,), str(len(cell)), "too-long-to-read", {"allowed": error.args[0]})


def plain_number(text: str, decimal: str, thousands: str) -> str | None:
    """A number as digits and a point; None if `text` does not write one in this style. Grouping must be right: "1.5"
    where the point groups thousands is a mistake, not 15."""
    mark, group = re.escape(decimal), re.escape(thousands)
    bare = text.replace("\u00a0", " ").strip()
    if thousands and re.fullmatch(rf"[+-]?[0-9]{{1,3}}({group}[0-9]{{3}})+({mark}[0-9]+)?", bare):
        bare = bare.replace(thousands, "")
    found = re.fullmatch(rf"\+?(-?[0-9]{{1,30}})({mark}([0-9]{{1,30}}))?", bare)
    if found is None:
        return None
    whole = found[1].lstrip("-").lstrip("0") or "0"
    return ("-" if found[1].startswith("-") else "") + whole + (f".{found[3]}" if found[3] else "")


def split(cell: str, separators: tuple[str, ...]) -> list[str]:
    """The pieces of a cell, trimmed, without blank ones."""
    for separator in separators[1:]:
        cell = cell.replace(separator, separators[0])
    return [piece.strip() for piece in cell.split(separators[0]) if piece.strip()] if cell else []
