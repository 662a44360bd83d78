"""Code lists: CSV files with their source, edition, date and policy in the head.

A list's policy says what a code that is not in it means: `error` (the list is closed) or `warning` (the list is a
sample, such as our UN/LOCODEs). A code is compared as it stands; an alias or a title never passes, it only makes the
answer better ("GB", not "UK"): what is signed and routed is one spelling.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.errors import Fault, SetupRefused, quote

POLICIES = ("error", "warning")
HEAD = ("source", "edition", "date", "policy")
COLUMNS = ("code", "title_en", "title_es", "aliases")
ALLOWED_MAX_CODES = 48
"""A longer list is not recited in an answer: the nearest codes are named instead."""
NEAREST_CODES = 8


@dataclass(frozen=True)
class Code:
    """One row. `more` holds the list's own further columns, such as `chapters` of the headings."""

    code: str
    titles: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CodeList:
    """A whole list; `codes` is in the order of the file."""

    name: str
    source: str
    edition: str
    date: str
    policy: str
    codes: Mapping[str, Code]
    by_alias: Mapping[str, str]

    def __contains__(self, code: object) -> bool:
        return code in self.codes


def unknown_code(codelist: CodeList, found: str, pointer: str, *, guess: bool = True) -> Fault:
    """The Fault for `found`, with the code that was probably meant, or what would do. `guess` False: without, since
    looking for the nearest codes of a long list costs a millisecond."""
    return Fault(
        pointer,
        "unknown-code",
        quote(found),
        nearest(codelist, found) if guess else (),
        {"list": codelist.name, "edition": codelist.edition},
    )


def nearest(codelist: CodeList, found: str) -> tuple[str, ...]:
    """The code that `found` is an alias or a title of; else every code of a short list; else the most similar ones."""
    meant = codelist.by_alias.get(found.casefold())
    if meant is not None:
        return (meant,)
    if len(codelist.codes) <= ALLOWED_MAX_CODES:
        return tuple(codelist.codes)
    return tuple(difflib.get_close_matches(found[:64], codelist.codes, n=NEAREST_CODES, cutoff=0.5))


def load_codelists(folder: Path) -> dict[str, CodeList]:
    """Every `*.csv` in `folder`, by its file name without the ending.

    Raises SetupRefused for a list without head, with a wrong header line, or with a code or alias that occurs twice.
    """
    return {path.stem: read_codelist(path) for path in sorted(folder.glob("*.csv"))}


def read_codelist(path: Path) -> CodeList:
    """One list from its file; UTF-8, comment lines first."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SetupRefused(detail=f"{path}: {error}") from error
    head = dict(_head_line(line) for line in lines if line.startswith("#"))
    rows = csv.reader(line for line in lines if line.strip() and not line.startswith("#"))
    columns = next(rows, [])
    if any(not head.get(name) for name in HEAD) or head["policy"] not in POLICIES:
        raise SetupRefused(detail=f"{path.name}: the head must state {', '.join(HEAD)}, policy one of {POLICIES}")
    if tuple(columns[: len(COLUMNS)]) != COLUMNS:
        raise SetupRefused(detail=f"{path.name}: the first columns must be {', '.join(COLUMNS)}")
    codes: dict[str, Code] = {}
    for row in rows:
        if len(row) != len(columns) or not row[0] or row[0] in codes:
            raise SetupRefused(detail=f"{path.name}: row {row} is incomplete, or its code occurs twice")
        codes[row[0]] = _code(dict(zip(columns, row, strict=True)))
    return CodeList(
        path.stem, head["source"], head["edition"], head["date"], head["policy"], codes, _by_alias(path.stem, codes)
    )


def _head_line(line: str) -> tuple[str, str]:
    name, _, value = line.lstrip("# ").partition(":")
    return name.strip(), value.strip()


def _code(row: Mapping[str, str]) -> Code:
    titles = {name.removeprefix("title_"): text for name, text in row.items() if name.startswith("title_") and text}
    more = {name: _parts(text) for name, text in row.items() if name not in COLUMNS and not name.startswith("title_")}
    return Code(row["code"], titles, _parts(row["aliases"]), more)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)


def _by_alias(name: str, codes: Mapping[str, Code]) -> dict[str, str]:
    """Whatever people may write for a code, in lower case: the code itself, its aliases, its title in any language.

    Raises SetupRefused for an alias of two codes. A title that two codes share means neither.
    """
    found: dict[str, str] = {code.casefold(): code for code in codes}
    for code in codes.values():
        for alias in code.aliases:
            if found.setdefault(alias.casefold(), code.code) != code.code:
                raise SetupRefused(detail=f"{name}: alias {alias} stands for two codes")
    titled: dict[str, set[str]] = {}
    for code in codes.values():
        for title in code.titles.values():
            titled.setdefault(title.casefold(), set()).add(code.code)
    return {**{title: only for title, (only, *others) in titled.items() if not others}, **found}
