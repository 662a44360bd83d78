"""A mapping file -> TableMapping, or one sentence with the line: what is wrong, and what would do.

The language is told in docs/tables.md, every key with an example. A place in a message is checked against the schema of
its kind where this installation has it: a pointer that leads nowhere is found here, not at ten thousand rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from adapters.tables import dates, schemas
from adapters.tables.codes import Values, codelist, codelist_names, folded, make_values, together
from adapters.tables.mapping import (
    ITEM,
    Condition,
    DateParts,
    Each,
    IdRule,
    Parts,
    PatternParts,
    Ref,
    Section,
    Source,
    Step,
    Steps,
    TableMapping,
    pointer,
)  # fmt: skip
from adapters.tables.read_style import read_style
from adapters.tables.table import label
from adapters.tables.words import Words
from adapters.tables.xlsx_rows import ABOUT_SHEET
from adapters.tables.yaml_tree import Items, Members, Node, Scalar, constant, read_yaml

TOP = (
    "name",
    "kind",
    "version",
    "originator",
    "table",
    "columns",
    "values",
    "parts",
    "id",
    "require",
    "ignore",
    "message",
)
SECTION = ("when", "each", "put")
SOURCE = ("column", "text", "values", "codelist", "unknown", "as", "times", "default", "cut")
CONDITION = ("given", "blank", "column", "is", "not", "matches", "say")
SET_BY_LOADER = ("id", "kind", "version", "originator")
TESTS: tuple[Literal["given", "blank", "is", "not", "matches"], ...] = ("given", "blank", "is", "not", "matches")
WITHHELD, NOT_GIVEN = "withheld", "not_given"
KINDS = ("text", "decimal", "integer")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
PREFIX = re.compile(r"[A-Za-z0-9._-]{0,32}")
INDEX = re.compile(r"0|[1-9][0-9]{0,3}")
SHOWN_MEMBERS = 20
FACTORS = Decimal("0.000000001"), Decimal(1_000_000_000)


def read_mapping(path: Path) -> TableMapping:
    """Raises MappingRefused; OSError when the file is not there."""
    return _Reader(path.name).mapping(read_yaml(path.read_bytes(), path.name))


class _Reader(Words):
    """Holds the file's name and what of the mapping other parts refer to."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.named: dict[str, tuple[str, str]] = {}  # a name of `columns` -> (label, heading)
        self.headings: dict[str, str] = {}
        self.tables: dict[str, Values] = {}
        self.parts: dict[str, Parts] = {}
        self.zone: Any = None
        self.withholds = False  # has the body a member `not_given`?

    def ref(self, name: str, line: int, *, item: bool = False) -> Ref:
        """A column by name, `name.part`, or within `each` the item."""
        if item and name == "item":
            return Ref(ITEM, "", name, line)
        base, dot, part = name.rpartition(".")
        if dot and self._label(base) in self.parts and name not in self.named:
            parts = self.parts[self._label(base)]
            known = parts.pattern.groups if isinstance(parts, PatternParts) else dates.PARTS
            if part not in known:
                raise self.no(line, f"“{base}” has no part “{part}”; it has {', '.join(known)}.")
            if part == "at" and isinstance(parts, DateParts) and self.zone is None:
                raise self.no(line, f"“{name}” needs a time zone: say which one the table has (table: time_zone: ...).")
            return Ref(self._label(base), part, name, line)
        if not name.strip():
            raise self.no(line, "a column must have a name.")
        return Ref(self._label(name), "", name, line)

    def _label(self, name: str) -> str:
        """The label of a column, noted among the headings."""
        found, heading = self.named.get(name, (label(name), name))
        self.headings.setdefault(found, " ".join(heading.split()))
        return found

    def refs(self, node: Node, what: str) -> tuple[Ref, ...]:
        return tuple(self.ref(name, node.line) for name in self.words(node, what))

    # ── the whole ──

    def mapping(self, node: Node) -> TableMapping:
        top = self.members(node, TOP, "a mapping").members
        for key in ("name", "kind", "version", "id", "message"):
            if key not in top:
                raise self.no(node, f"the mapping has no “{key}”.")
        name = self.word(top["name"], "name")
        if not NAME.fullmatch(name):
            raise self.no(top["name"], "name: small letters, digits and hyphens, at most 40.")
        if name == ABOUT_SHEET:
            raise self.no(top["name"], f"“{name}” is the name of a sheet that error sheets have: choose another.")
        style, self.zone = read_style(self, top.get("table"))
        self.columns(top.get("columns"))
        self.value_tables(top.get("values"))
        self.all_parts(top.get("parts"))
        kind, version = self.word(top["kind"], "kind"), self.word(top["version"], "version")
        body = schemas.body_schema(kind, version)
        self.withholds = body is not None and NOT_GIVEN in (schemas.members_at(body, ()) or ())
        require = self.conditions(top.get("require"), say=True)
        ignore = self.conditions(top.get("ignore"), say=False)
        id_rule = self.id_rule(top["id"])
        sections = self.sections(top["message"], kind, version)
        return TableMapping(
            self.file, name, kind, version, self.word(top["originator"], "originator") if "originator" in top else None,
            style, self.zone, self.headings, self.parts, id_rule, require, ignore, sections,
        )  # fmt: skip

    def columns(self, node: Node | None) -> None:
        for name, member in self.members(node, None, "columns").members.items() if node is not None else ():
            if isinstance(member, Members):
                given = self.members(member, ("heading", "nth"), "a column").members
                if "heading" not in given:
                    raise self.no(member, f"“{name}” has no heading.")
                heading = self.word(given["heading"], "heading")
                nth = self.word(given["nth"], "nth") if "nth" in given else "1"
                if not re.fullmatch(r"[1-9][0-9]?", nth):
                    raise self.no(member, "nth says which of the columns with the same heading, from 1.")
            else:
                heading, nth = self.word(member, "the heading of a column"), "1"
            self.named[name] = (label(heading, int(nth)), heading)
            self._label(name)

    def value_tables(self, node: Node | None) -> None:
        for name, member in self.members(node, None, "values").members.items() if node is not None else ():
            self.tables[name] = self.value_table(member)

    def value_table(self, node: Node) -> Values:
        pairs: dict[str, str | bool | int | None] = {}
        seen: dict[str, str] = {}
        for word, member in self.members(node, None, "a value table").members.items():
            code = constant(member)
            if not isinstance(code, str | bool | int | None):
                raise self.no(member, f"“{word}” must stand for a single code, or for nothing.")
            if folded(word) in seen:
                raise self.no(
                    member, f"“{word}” and “{seen[folded(word)]}” are the same word here; case makes no difference."
                )
            seen[folded(word)] = word
            pairs[word] = code
        return make_values(pairs)

    def all_parts(self, node: Node | None) -> None:
        for name, member in self.members(node, None, "parts").members.items() if node is not None else ():
            self.parts[self._label(name)] = self.parts_of(member, name)

    def parts_of(self, node: Node, name: str) -> Parts:
        given = self.members(node, ("pattern", "text", "formats", "language"), "parts of a column").members
        if ("pattern" in given) is ("formats" in given):
            raise self.no(node, f"the parts of “{name}” are made by a pattern, or by formats of dates.")
        if "pattern" in given:
            pattern = self.pattern(given["pattern"])
            if not pattern.groups:
                raise self.no(given["pattern"], "the pattern names no part: (?P<name>...).")
            text = self.template(given["text"]) if "text" in given else None
            if text is not None and set(text.gaps) - set(pattern.groups):
                raise self.no(
                    given["text"], f"the text may use the pattern's parts alone: {', '.join(pattern.groups)}."
                )
            return PatternParts(pattern, text)
        shown = self.words(given["formats"], "formats")
        formats = []
        for text_format in (*shown, *dates.ISO):
            try:
                formats.append(dates.read_format(text_format))
            except dates.FormatRefused as error:
                raise self.no(given["formats"], f"the format “{text_format}” {error}.") from None
        language = self.one_of(given["language"], tuple(dates.MONTHS), "language") if "language" in given else "en"
        return DateParts(tuple(formats), shown, language)

    def id_rule(self, node: Node) -> IdRule:
        given = self.members(node, ("prefix", "columns", "digest"), "id").members
        prefix = self.word(given["prefix"], "prefix") if "prefix" in given else ""
        if not PREFIX.fullmatch(prefix):
            raise self.no(given["prefix"], "prefix: letters, digits, dot, underscore and hyphen, at most 32.")
        if ("columns" in given) is ("digest" in given):
            raise self.no(
                node, "the id is made of columns, or of a digest: `columns: [...]`, `digest: row` or `digest: [...]`."
            )
        if "columns" in given:
            return IdRule(prefix, columns=self.refs(given["columns"], "columns"))
        of = given["digest"]
        return IdRule(prefix, digest=() if isinstance(of, Scalar) and of.text == "row" else self.refs(of, "digest"))

    # ── conditions ──

    def conditions(self, node: Node | None, *, say: bool) -> tuple[Condition, ...]:
        """One condition, or a list of them."""
        if node is None:
            return ()
        return tuple(self.condition(one, say) for one in (node.items if isinstance(node, Items) else (node,)))

    def condition(self, node: Node, say: bool) -> Condition:
        given = self.members(node, CONDITION if say else CONDITION[:-1], "a condition").members
        tests = [test for test in TESTS if test in given]
        if len(tests) != 1 or ("column" in given) is (tests[0] in ("given", "blank")):
            raise self.no(
                node, "a condition is `given: COLUMN`, `blank: COLUMN`, or `column: COLUMN` with is, not or matches."
            )
        (test,) = tests
        words: tuple[str, ...] = ()
        pattern = None
        refs = self.refs(given[test if test in ("given", "blank") else "column"], "a column")
        if test in ("is", "not"):
            words = self.words(given[test], test)
        elif test == "matches":
            pattern = self.pattern(given[test], anywhere=True)
        names = ", ".join(ref.name for ref in refs)
        said = self.word(given["say"], "say") if "say" in given else f"{names} {test} {', '.join(words)}".strip()
        return Condition(test, refs, words, frozenset(map(folded, words)), pattern, said)

    # ── the message ──

    def sections(self, node: Node, kind: str, version: str) -> tuple[Section, ...]:
        if not isinstance(node, Items):
            raise self.no(node, "message must be a list of sections, each with `put`.")
        places: dict[Steps, int] = {}
        found = tuple(self.section(one, kind, version, places) for one in node.items)
        numbered: dict[Steps, bool] = {}
        for steps, line in places.items():
            for length in range(1, len(steps)):
                above, is_number = steps[:length], isinstance(steps[length], int)
                if numbered.setdefault(above, is_number) is not is_number:
                    raise self.no(
                        line, f"{pointer(above)} has both names and numbers below it; a list has numbers alone."
                    )
                if steps[:length] in places:
                    raise self.no(line, f"{pointer(steps)} stands within {pointer(steps[:length])}, which line "
                                        f"{places[steps[:length]]} puts as a whole.")  # fmt: skip
        return found

    def section(self, node: Node, kind: str, version: str, places: dict[Steps, int]) -> Section:
        given = self.members(node, SECTION, "a section").members
        if "put" not in given:
            raise self.no(node, "a section without `put` does nothing.")
        each = self.each(given["each"]) if "each" in given else None
        put = []
        members = self.members(given["put"], None, "put")
        for place, member in members.members.items():
            steps = self.steps(place, members.lines[place], kind, version)
            if each is not None and not any(isinstance(step, int) for step in steps):
                raise self.no(member, f"{place}: within `each` a pointer has the number of the item that is repeated.")
            places.setdefault(steps, members.lines[place])
            put.append(self.source(steps, member, item=each is not None))
        return Section(self.conditions(given.get("when"), say=False), each, tuple(put))

    def each(self, node: Node) -> Each:
        given = self.members(node, ("column", "split"), "each").members
        if given.keys() != {"column", "split"}:
            raise self.no(node, 'each needs a column and what splits it: `each: {column: X, split: ","}`.')
        separators = self.words(given["split"], "split")
        if not all(separators):
            raise self.no(given["split"], "nothing cannot split a cell.")
        return Each(self.ref(self.word(given["column"], "column"), node.line), separators)

    def steps(self, place: str, line: int, kind: str, version: str) -> Steps:
        parts = place.split("/")
        if len(parts) < 3 or parts[0] or parts[1] not in ("header", "body"):
            raise self.no(line, f"“{place}” is no place in a message: /header/... or /body/...")
        if parts[1] == "header" and parts[2] in SET_BY_LOADER:
            raise self.no(line, f"{place} is set by `{parts[2]}` of the mapping.")
        steps: list[Step] = [parts[1]]
        schema = schemas.envelope() if parts[1] == "header" else schemas.body_schema(kind, version)
        for number, text in enumerate(parts[2:], 2):
            if schema is not None:
                before = [str(step) for step in steps[1:]]
                known = schemas.members_at(schema, ["header", *before] if parts[1] == "header" else before)
                self._known(place, line, known, "/".join(parts[:number]), text)
            steps.append(int(text) if INDEX.fullmatch(text) else text.replace("~1", "/").replace("~0", "~"))
        return tuple(steps)

    def _known(self, place: str, line: int, known: Sequence[str] | None, above: str, text: str) -> None:
        if known is None:
            raise self.no(line, f"{place}: there is nothing below {above}.")
        if known == schemas.ITEMS and not INDEX.fullmatch(text):
            raise self.no(line, f"{place}: {above} is a list; name the item by a number, such as {above}/0.")
        if known and known != schemas.ITEMS and text not in known:
            shown = ", ".join(sorted(known)[:SHOWN_MEMBERS])
            raise self.no(line, f"{place}: {above} has no “{text}”; it has {shown}.")

    def source(self, steps: Steps, node: Node, *, item: bool) -> Source:
        if not isinstance(node, Members):
            return Source(steps, fixed=True, constant=constant(node))
        if node.members.keys() == {"constant"}:
            return Source(steps, fixed=True, constant=constant(node.members["constant"]))
        given = self.members(node, SOURCE, "a source (or `constant` alone)").members
        if ("column" in given) is ("text" in given):
            raise self.no(node, "a source has a `column`, or a `text` with gaps; `constant` stands alone.")
        made: dict[str, Any] = {"steps": steps}
        if "column" in given:
            made["ref"] = self.ref(self.word(given["column"], "column"), given["column"].line, item=item)
        else:
            template = made["template"] = self.template(given["text"])
            made["gaps"] = {gap: self.ref(gap, given["text"].line, item=item) for gap in template.gaps}
        self._values(given, node, made)
        if "as" in given:
            made["kind"] = self.one_of(given["as"], KINDS, "as")
        if "times" in given:
            made["times"] = self._factor(given["times"], made.get("kind"))
        if "default" in given:
            made["has_default"], made["default"] = True, constant(given["default"])
        if "cut" in given:
            if not re.fullmatch(r"[1-9][0-9]{0,4}", self.word(given["cut"], "cut")):
                raise self.no(given["cut"], "cut is the most characters that are kept.")
            made["cut"] = int(self.word(given["cut"], "cut"))
        return Source(**made)

    def _values(self, given: dict[str, Node], node: Node, made: dict[str, Any]) -> None:
        found: Values | None = None
        if "values" in given:
            table = given["values"]
            if isinstance(table, Members):
                found = self.value_table(table)
            elif (name := self.word(table, "values")) in self.tables:
                found = self.tables[name]
            else:
                raise self.no(
                    table, f"there is no value table “{name}”; there are: {', '.join(self.tables) or 'none'}."
                )
        if "codelist" in given:
            name = self.word(given["codelist"], "codelist")
            listed = codelist(name)
            if listed is None:
                raise self.no(
                    given["codelist"], f"there is no code list “{name}”; there are: {', '.join(codelist_names())}."
                )
            found = listed if found is None else together(found, listed)
        made["values"] = found
        if "unknown" not in given:
            return
        if found is None:
            raise self.no(given["unknown"], "unknown goes with values or codelist.")
        policy = constant(given["unknown"])
        if not isinstance(policy, str | bool | int):
            raise self.no(given["unknown"], "unknown is a single word: error, skip, keep, or a code of this table.")
        if (
            policy == WITHHELD
            and policy not in set(found.codes.values())
            and made["steps"][0] == "body"
            and self.withholds
        ):
            made["withholds"] = True
        elif policy not in ("error", "skip", "keep") and policy not in set(found.codes.values()):
            raise self.no(
                given["unknown"], f"unknown is error, skip, keep, or a code of this table, and not “{policy}”."
            )
        made["unknown"] = policy

    def _factor(self, node: Node, kind: str | None) -> Decimal:
        try:
            factor = Decimal(self.word(node, "times"))
        except InvalidOperation:
            factor = Decimal(0)
        if kind != "decimal" or not factor.is_finite() or factor <= 0:
            raise self.no(node, "times is a number above zero, and goes with `as: decimal`.")
        if not FACTORS[0] <= factor <= FACTORS[1]:
            raise self.no(node, f"times lies between {FACTORS[0]} and {FACTORS[1]}.")
        return factor
