"""One row by a mapping -> a payload, or every cell that is wrong.

Pure: text in, values out. The same row under the same mapping gives the same payload, octet for octet: that is what
makes a second load repeat the first. What the hub would say of the payload is asked elsewhere (judge.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cached_property
from typing import Any

from adapters.tables.codes import folded
from adapters.tables.mapping import Condition, Ref, Section, Source, TableMapping
from adapters.tables.table import NOT_IN_XML, Flaw, Row, number_text
from adapters.tables.tree import Feed, Path, finished, path_of, place_of, set_at
from adapters.tables.view import Bad, Cells, Wrong, holds, plain_number, split

ID_MAX = 64
DECIMAL_PLACES = Decimal("0.000001")
"""What a converted quantity is rounded to: the schemas allow six places."""
LARGE = Context(prec=100)
"""Whatever number a cell holds (60 digits), times whatever factor (`read_mapping.FACTORS`), is a number: the schemas say
which are too large."""
NOT_FOR_IDS = re.compile(r"[^A-Za-z0-9._-]+")
WITHHELD = object()
"""In a value's place: it is known, and not passed on; the body's `not_given` says so."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Composed:
    """`payload` lacks its id if the row's number is not known yet (an id by digest): see `with_id`."""

    payload: dict[str, Any]
    wrong: tuple[Wrong, ...]
    fed: Sequence[tuple[Path, tuple[str, ...], bool]]
    indexes: Mapping[Path, int]

    @cached_property
    def feeds(self) -> tuple[Feed, ...]:
        """What each place was made of, in the mapping's order; looked for only when something is wrong."""
        return tuple(Feed(place_of(path, self.indexes), columns, blank) for path, columns, blank in self.fed)


def compose(mapping: TableMapping, row: Row, originator: str) -> Composed:
    """The payload of a row; every cell that is wrong is told, not only the first."""
    return _Composer(mapping, row).compose(originator)


def with_id(composed: Composed, id: str) -> bytes:
    """The payload's octets, signed as they are: compact JSON, the id first."""
    header = {"id": id, **{name: value for name, value in composed.payload["header"].items() if name != "id"}}
    return json.dumps(
        {"header": header, "body": composed.payload["body"]}, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8", "replace")


def is_ignored(mapping: TableMapping, row: Row) -> bool:
    """Is this a row that the mapping leaves out (a total, a note)?"""
    cells = Cells(mapping, row.cells)
    try:
        return any(holds(condition, cells) for condition in mapping.ignore)
    except Bad:
        return False


def digest(mapping: TableMapping, row: Row) -> str:
    """Twenty hex digits of SHA-256 over the cells that the id is made of, spaces aside."""
    refs = mapping.id.digest or ()
    cells = Cells(mapping, row.cells)
    named = (
        [(ref.label, cells.raw(ref.label)) for ref in refs]
        if refs
        else [(label, text) for label, text in row.cells.items() if text.strip()]
    )
    # as the cells come back in an error sheet
    told = [[label, " ".join(text.translate(NOT_IN_XML).split())] for label, text in sorted(named)]
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:20]


def digest_id(mapping: TableMapping, of_row: str, occurrence: int) -> str:
    """The id of the nth of equal rows."""
    return f"{mapping.id.prefix}{of_row}" + (f"-{occurrence}" if occurrence > 1 else "")


class _Composer:
    def __init__(self, mapping: TableMapping, row: Row) -> None:
        self.mapping = mapping
        self.row = row
        self.cells = Cells(mapping, row.cells)
        self.wrong: dict[tuple[tuple[str, ...], str, str], Wrong] = {}
        self.tree: dict[Any, Any] = {}
        self.withheld: list[Path] = []
        self.fed: list[tuple[Path, tuple[str, ...], bool]] = []

    def bad(self, wrong: Wrong) -> None:
        self.wrong.setdefault((wrong.columns, wrong.rule, wrong.found), wrong)

    def compose(self, originator: str) -> Composed:
        for flaw in self.row.flaws:
            self.bad(_of_flaw(flaw))
        for condition in self.mapping.require:
            self._require(condition)
        for section in self.mapping.sections:
            try:
                if all(holds(condition, self.cells) for condition in section.when):
                    self._section(section)
            except Bad as error:
                self.bad(error.wrong)
        header = {
            "kind": self.mapping.kind,
            "version": self.mapping.version,
            "originator": originator,
            "status": "actual",
        }
        indexes: dict[Path, int] = {}
        told = finished(self.tree, (), indexes)
        if self.mapping.id.columns:
            header = {"id": self._id(), **header}
        if self.withheld:
            body = told.setdefault("body", {})
            said = body.get("not_given") or []  # maybe a constant of the mapping, which all rows share
            fields = dict.fromkeys(place_of(path, indexes).removeprefix("/body") for path in self.withheld)
            if isinstance(said, list):
                body["not_given"] = [*said, *({"field": field, "why": "withheld"} for field in fields)]
        payload = {"header": header | told.get("header", {}), "body": told.get("body", {})}
        return Composed(payload, tuple(self.wrong.values()), self.fed, indexes)

    def _require(self, condition: Condition) -> None:
        try:
            if holds(condition, self.cells):
                return
        except Bad as error:
            self.bad(error.wrong)
            return
        columns = tuple(ref.label for ref in condition.refs)
        self.bad(Wrong(columns, self.cells.raw(columns[0]), "row-not-taken", {"allowed": condition.say}))

    def _id(self) -> str:
        texts = []
        for ref in self.mapping.id.columns:
            text = self._text_or_bad(ref)
            if text == "":
                self.bad(Wrong((ref.label,), "", "id-needed"))
            texts.append(text or "")
        made = self.mapping.id.prefix + NOT_FOR_IDS.sub("-", "-".join(texts))
        if len(made) > ID_MAX:
            self.bad(
                Wrong(tuple(ref.label for ref in self.mapping.id.columns), made, "id-too-long", {"allowed": ID_MAX})
            )
        return made

    def _text_or_bad(self, ref: Ref) -> str | None:
        try:
            return self.cells.text(ref)
        except Bad as error:
            self.bad(error.wrong)
            return None

    def _section(self, section: Section) -> None:
        if section.each is None:
            self._put(section, 0)
            return
        cell = self._text_or_bad(section.each.ref) or ""
        self.cells.item_of = section.each.ref.label
        for piece, text in enumerate(split(cell, section.each.separators)):
            self.cells.item = text
            self._put(section, piece)
        self.cells.item = self.cells.item_of = ""

    def _put(self, section: Section, piece: int) -> None:
        for source in section.put:
            path = path_of(source.steps, piece)
            if source.fixed:
                set_at(self.tree, path, source.constant)
                self.fed.append((path, (), False))
                continue
            columns = tuple(dict.fromkeys(self.cells.column(ref) for ref in source.refs))
            try:
                given, value = self._value(source, columns)
            except Bad as error:
                self.bad(error.wrong)
                continue
            self.fed.append((path, columns, not given))
            if given:
                set_at(self.tree, path, value)
            elif value is WITHHELD:
                self.withheld.append(path)

    def _value(self, source: Source, columns: tuple[str, ...]) -> tuple[bool, Any]:
        """Whether there is a value, and which. Raises Bad."""
        if source.template is not None:
            gaps = source.gaps or {}
            text = source.template.fill(lambda gap: self.cells.text(gaps[gap])).strip()
        else:
            assert source.ref is not None
            text = self.cells.text(source.ref)
        if text and source.values is not None:
            word = folded(text)
            code = source.values.codes.get(word)
            if code is not None:
                return True, code
            if word in source.values.codes or source.unknown == "skip":
                text = ""
            elif source.unknown == "error":
                raise Bad(Wrong(columns, text, "not-in-table", {"allowed": source.values.nearest(text)}))
            elif source.withholds:
                return False, WITHHELD
            elif source.unknown != "keep":
                return True, source.unknown
        if not text:
            return source.has_default, source.default
        if source.kind != "text":
            return True, self._number(source, text, columns)
        text = CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
        if source.cut is not None and len(text) > source.cut:
            text = text[: source.cut - 1].rstrip() + "…"
        return True, text

    def _number(self, source: Source, text: str, columns: tuple[str, ...]) -> str | int:
        style = self.mapping.style
        plain = plain_number(text, style.decimal, style.thousands)
        if plain is None:
            shown = f"1234{style.decimal}5" + (f", 1{style.thousands}234{style.decimal}5" if style.thousands else "")
            raise Bad(Wrong(columns, text, "not-a-number", {"allowed": shown}))
        if source.kind == "integer":
            if "." in plain and plain.partition(".")[2].strip("0"):
                raise Bad(Wrong(columns, text, "not-whole"))
            return int(plain.partition(".")[0])
        if source.times is not None:
            with localcontext(LARGE):
                plain = number_text((Decimal(plain) * source.times).quantize(DECIMAL_PLACES), ".")
        return plain


def _of_flaw(flaw: Flaw) -> Wrong:
    return Wrong((flaw.label,) if flaw.label else (), flaw.gaps.get("found", ""), flaw.rule, flaw.gaps)
