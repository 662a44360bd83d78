"""A payload by the same mapping → a row, and what of the payload that row does not say.

Backwards a mapping is a set of hints: an item is recognised by the constants that stand in it, a section with a condition
holds if all its constants do, a word of a value table is the first for its code. Whether the hints were right is then tried, not
believed: the row is composed again, and every place where the two payloads differ is lost. Nothing is lost silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from adapters.tables import dates
from adapters.tables.compose import DECIMAL_PLACES, LARGE, compose
from adapters.tables.mapping import (
    ITEM,
    Condition,
    DateParts,
    Each,
    PatternParts,
    Ref,
    Section,
    Source,
    Steps,
    TableMapping,
)
from adapters.tables.table import Row, number_text

HANDLING = "/header/handling"
BY_LOADER = ("/header/kind", "/header/version", "/header/originator")
"""Said by the mapping, or by who loads the row; the id and everything else counts."""
Leaf = tuple[str, Any]


@dataclass(frozen=True)
class Extracted:
    """`cells` by label. `lost`: pointers (`*` for an index) of what the row does not say; `added`: of what it would say
    that the message does not."""

    cells: Mapping[str, str]
    lost: tuple[str, ...]
    added: tuple[str, ...]


def extract(mapping: TableMapping, payload: Mapping[str, Any]) -> Extracted:
    """The row for a payload of the mapping's kind."""
    cells = _Extractor(mapping, payload).cells()
    again = compose(mapping, Row(0, cells), str(payload["header"].get("originator", ""))).payload
    said, wanted = dict(leaves(again)), dict(leaves(payload))
    carried = set(columns_places(mapping))
    lost = [
        place
        for place, value in wanted.items()
        if place not in BY_LOADER
        and (not _same(said.get(place), value) or (place.startswith(HANDLING) and general(place) not in carried))
    ]
    added = [place for place in said if place not in wanted and place not in BY_LOADER]
    return Extracted(cells, tuple(map(general, lost)), tuple(map(general, added)))


def columns_places(mapping: TableMapping) -> Iterator[str]:
    """Places that a column feeds, `*` for numbers."""
    for section in mapping.sections:
        for source in section.put:
            if not source.fixed:
                yield general("".join(f"/{step}" for step in source.steps))
    if mapping.id.columns:
        yield "/header/id"


def leaves(value: Any, place: str = "") -> Iterator[Leaf]:
    """Every single value with its pointer; an empty object or array counts as one."""
    if isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from leaves(member, f"{place}/{name}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{place}/{index}")
    else:
        yield place, value


def general(place: str) -> str:
    """A pointer with `*` for every index."""
    return "/".join("*" if step.isdigit() else step for step in place.split("/"))


def _same(said: Any, wanted: Any) -> bool:
    """Equal, or the same moment in another offset."""
    if said == wanted and isinstance(said, bool) is isinstance(wanted, bool):
        return True
    try:
        return "T" in said and datetime.fromisoformat(said) == datetime.fromisoformat(wanted)
    except (TypeError, ValueError):
        return False


class _Extractor:
    def __init__(self, mapping: TableMapping, payload: Mapping[str, Any]) -> None:
        self.mapping = mapping
        self.payload = payload
        self.texts: dict[str, str] = {}
        self.parts: dict[str, dict[str, str]] = {}
        self.indexes = _assigned(mapping, payload)

    def cells(self) -> dict[str, str]:
        for section in self.mapping.sections:
            if self._holds(section):
                self._section(section)
        for condition in (*self.mapping.require, *(c for s in self.mapping.sections if self._holds(s) for c in s.when)):
            self._condition(condition)
        if len(self.mapping.id.columns) == 1:
            id, prefix = str(self.payload["header"].get("id", "")), self.mapping.id.prefix
            if id.startswith(prefix):
                self._found(self.mapping.id.columns[0], id[len(prefix) :])
        for label, parts in self.parts.items():
            if label not in self.texts and (text := self._whole(label, parts)) is not None:
                self.texts[label] = text
        return {label: self.texts.get(label, "") for label in self.mapping.headings}

    def _holds(self, section: Section) -> bool:
        """A section without a condition always does; else every constant of it must stand in the payload."""
        return (not section.when and section.each is None) or all(
            any(_same(value, source.constant) for value in self._values(source.steps))
            for source in section.put
            if source.fixed
        )

    def _section(self, section: Section) -> None:
        if section.each is not None:
            self._pieces(section, section.each)
            return
        for source in section.put:
            if not source.fixed:
                for value in self._values(source.steps):
                    self._take(source, value)

    def _values(self, steps: Steps) -> Iterator[Any]:
        """The values at a place; several where its item stands for a list."""
        yield from _at(self.payload, steps, (), self.indexes)

    def _pieces(self, section: Section, each: Each) -> None:
        """One text for every item, by the first of the section's sources that gives one; other columns of the first."""
        joint = f"{each.separators[0]} " if each.separators[0] in (",", ";") else each.separators[0]
        for source in section.put:
            values = [] if source.fixed else list(self._values(source.steps))
            if not any(ref.label == ITEM for ref in source.refs):
                for value in values[:1]:
                    self._take(source, value)
                continue
            texts = [self._texts(source, value).get("item", "") for value in values]
            if texts and all(texts):
                self._found(each.ref, joint.join(texts))

    def _take(self, source: Source, value: Any) -> None:
        for name, text in self._texts(source, value).items():
            ref = source.ref if source.ref is not None else (source.gaps or {})[name]
            self._found(ref, text)

    def _found(self, ref: Ref, text: str) -> None:
        """The first text for a column counts."""
        if not text or ref.label == ITEM:
            return
        if ref.part:
            self.parts.setdefault(ref.label, {}).setdefault(ref.part, text)
        else:
            self.texts.setdefault(ref.label, text)

    def _texts(self, source: Source, value: Any) -> dict[str, str]:
        """The cells (by name; `item` for the piece) that give `value`; none if it cannot be told."""
        text = self._text(source, value)
        if text is None:
            return {}
        if source.template is not None:
            return source.template.take_apart(text) or {}
        assert source.ref is not None
        return {source.ref.name if source.ref.label != ITEM else "item": text}

    def _text(self, source: Source, value: Any) -> str | None:
        if source.values is not None and isinstance(value, str | int | bool) and value in source.values.words:
            return source.values.words[value]
        if source.has_default and _same(value, source.default):
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        if source.kind == "text" or source.values is not None:
            return str(value)
        if source.times is None:
            return str(value).replace(".", self.mapping.style.decimal)
        try:
            with localcontext(LARGE):
                number = (Decimal(str(value)) / source.times).quantize(DECIMAL_PLACES)
        except ArithmeticError:  # no number, or one that no cell could hold
            return None
        return number_text(number, self.mapping.style.decimal)

    def _condition(self, condition: Condition) -> None:
        """A column that must be one of some words is the first of them, if nothing else says what it is."""
        if condition.test == "is" and condition.words and condition.words[0]:
            self._found(condition.refs[0], condition.words[0])

    def _whole(self, label: str, found: Mapping[str, str]) -> str | None:
        parts = self.mapping.parts[label]
        if isinstance(parts, DateParts):
            return dates.render(found, parts.formats, self.mapping.zone, parts.language)
        assert isinstance(parts, PatternParts)
        return None if parts.text is None else parts.text.fill(lambda gap: found.get(gap, ""))


# ── which item of an array is which of the mapping's numbers ──

Assigned = Mapping[Steps, tuple[int, ...]]
"""A place that ends in a number -> the indexes it stands for."""


def _assigned(mapping: TableMapping, payload: Mapping[str, Any]) -> Assigned:
    """In the order of the numbers each takes the first item that has its constants and is not taken; one that `each`
    repeats takes all of them."""
    repeated: dict[Steps, bool] = {}
    signs: dict[Steps, list[dict[Steps, Any]]] = {}
    for section in mapping.sections:
        here: dict[Steps, dict[Steps, Any]] = {}
        for source in section.put:
            numbers = [index for index, step in enumerate(source.steps) if isinstance(step, int)]
            for index in numbers:
                place = source.steps[: index + 1]
                repeats = section.each is not None and index == numbers[-1]
                repeated[place] = repeated.get(place, False) or repeats
                here.setdefault(place, {})
                if source.fixed and len(source.steps) == index + 2:
                    here[place][source.steps[index + 1 :]] = source.constant
        for place, constants in here.items():
            signs.setdefault(place, []).append(constants)
    assigned: dict[Steps, tuple[int, ...]] = {}
    taken: dict[Steps, set[int]] = {}
    for place in sorted(signs, key=lambda steps: (len(steps), str(steps[:-1]), steps[-1])):
        arrays = list(_at(payload, place[:-1], (), assigned))
        items = arrays[0] if len(arrays) == 1 and isinstance(arrays[0], list) else []
        free = [
            i for i, item in enumerate(items) if i not in taken.get(place[:-1], set()) and _signed(item, signs[place])
        ]
        mine = tuple(free if repeated[place] else free[:1])
        assigned[place] = mine
        taken.setdefault(place[:-1], set()).update(mine)
    return assigned


def _signed(item: Any, signs: list[dict[Steps, Any]]) -> bool:
    """Has the item all the constants of one section that has any? Sections without constants recognise nothing."""
    telling = [sign for sign in signs if sign]
    return not telling or any(
        isinstance(item, dict) and all(_same(item.get(steps[0]), value) for steps, value in sign.items())
        for sign in telling
    )


def _at(value: Any, steps: Steps, before: Steps, indexes: Assigned) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, here = steps[0], (*before, steps[0])
    if isinstance(step, int):
        for index in indexes.get(here, ()):
            if isinstance(value, list) and index < len(value):
                yield from _at(value[index], steps[1:], here, indexes)
    elif isinstance(value, Mapping) and step in value:
        yield from _at(value[step], steps[1:], here, indexes)
