"""A mapping as the program sees it: frozen, whole, checked when it was read (read_mapping.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Literal

from adapters.tables.codes import Values
from adapters.tables.dates import Format
from adapters.tables.patterns import Pattern
from adapters.tables.table import Style
from adapters.tables.template import Template
from adapters.tables.yaml_tree import Constant

ITEM = "\0item"
"""The label of what `each` takes out of a cell, one at a time."""
Step = str | int
Steps = tuple[Step, ...]
"""A JSON Pointer: member names, and numbers for the items of arrays. A number is a name for "the same item": where an
item is absent the ones behind it move up."""


@dataclass(frozen=True)
class Ref:
    """A column by its label, or a part of one; `name` as the mapping wrote it."""

    label: str
    part: str
    name: str
    line: int


@dataclass(frozen=True)
class PatternParts:
    """Parts of a cell by a pattern's named groups; `text` makes the cell of them again."""

    pattern: Pattern
    text: Template | None


@dataclass(frozen=True)
class DateParts:
    """Parts of a date (`dates.PARTS`); `shown` names the forms, for what is said."""

    formats: tuple[Format, ...]
    shown: tuple[str, ...]
    language: str


Parts = PatternParts | DateParts


@dataclass(frozen=True)
class Condition:
    """`given`: one of the columns is; `blank`: all are; `is` and `not`: one of `words`; `matches`: the pattern does."""

    test: Literal["given", "blank", "is", "not", "matches"]
    refs: tuple[Ref, ...]
    words: tuple[str, ...]
    folds: frozenset[str]
    """The words as they are compared."""
    pattern: Pattern | None
    say: str
    """In words, for who has a row that is not taken."""


@dataclass(frozen=True)
class Source:
    """Where the value at one pointer comes from: a column, a text of several, or the mapping itself (`fixed`)."""

    steps: Steps
    ref: Ref | None = None
    template: Template | None = None
    gaps: Mapping[str, Ref] | None = None
    fixed: bool = False
    constant: Constant = None
    values: Values | None = None
    unknown: str | bool | int = "error"
    withholds: bool = False
    """`unknown: withheld` where the list has no such code: the field is named in the body's `not_given`."""
    kind: Literal["text", "decimal", "integer"] = "text"
    times: Decimal | None = None
    has_default: bool = False
    default: Constant = None
    cut: int | None = None

    @property
    def refs(self) -> tuple[Ref, ...]:
        if self.ref is not None:
            return (self.ref,)
        return tuple(self.gaps.values()) if self.gaps else ()


@dataclass(frozen=True)
class Each:
    """Once for every piece of a cell."""

    ref: Ref
    separators: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    when: tuple[Condition, ...]
    each: Each | None
    put: tuple[Source, ...]


@dataclass(frozen=True)
class IdRule:
    """The id: `prefix` and the cells of `columns`, or a digest of the cells of `digest` (empty: of the whole row)."""

    prefix: str
    columns: tuple[Ref, ...] = ()
    digest: tuple[Ref, ...] | None = None


@dataclass(frozen=True)
class TableMapping:
    """`headings`: label -> heading of every column that is named, in the order in which rows are written."""

    file: str
    name: str
    kind: str
    version: str
    originator: str | None
    style: Style
    zone: tzinfo | None
    headings: Mapping[str, str]
    parts: Mapping[str, Parts]
    id: IdRule
    require: tuple[Condition, ...]
    ignore: tuple[Condition, ...]
    sections: tuple[Section, ...]

    def refs(self) -> Iterator[Ref]:
        """Every column that is named anywhere, those of each's items aside."""
        for condition in (*self.require, *self.ignore):
            yield from condition.refs
        yield from self.id.columns
        yield from self.id.digest or ()
        for section in self.sections:
            for condition in section.when:
                yield from condition.refs
            if section.each is not None:
                yield section.each.ref
            for source in section.put:
                yield from (ref for ref in source.refs if ref.label != ITEM)


def pointer(steps: Steps) -> str:
    """RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
