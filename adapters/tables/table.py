"""A table as a stream of rows of text: the types that readers fill, what columns are called, how typed cells read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

from adapters.tables.codes import folded
from broker.errors import SetupRefused

MAX_COLUMNS = 16_000
"""A sheet has 16,384, and an error sheet four of its own."""
START = r"(?:^|(?<=[,;\t\r\n]))"
"""Where a cell begins, for somebody: a spreadsheet that expects semicolons begins a new one within a cell of ours."""
FORMULA = r"(?=['\"]*[=+\-@\t\r＝＋－＠])"
GUARD, GUARDED = re.compile(START + FORMULA), re.compile(START + "'" + FORMULA)
"""A spreadsheet takes what begins so for a formula; in CSV we put an apostrophe before it, and take it off again."""


NOT_IN_XML = {
    n: " " for n in (*range(0x20), 0x7F, 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)) if n not in (0x09, 0x0A, 0x0D)
}


class TableRefused(SetupRefused):
    """A file that cannot be read as the mapping says, and what to do."""


@dataclass(frozen=True)
class Style:
    """How a table is written; `table:` of a mapping."""

    format: str | None = None
    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str | None = None
    header_row: int = 1
    blank: frozenset[str] = frozenset()
    decimal: str = "."
    thousands: str = ""


@dataclass(frozen=True)
class Flaw:
    """Why a row, or one cell of it, cannot be read: a key of `sentences` with its gaps."""

    rule: str
    label: str = ""
    gaps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """`number` as a spreadsheet shows it (JSON: which object, from 1); `cells` by label, in the table's order."""

    number: int
    cells: Mapping[str, str]
    flaws: tuple[Flaw, ...] = ()


@dataclass
class Table:
    """An open file. `titles`: label -> heading as written; of JSON it grows with the rows. `about`: of an error sheet.

    `total`: how many rows there may be, for a progress bar.
    """

    rows: Iterator[Row]
    titles: dict[str, str]
    total: int | None = None
    about: Mapping[str, str] | None = None
    fixed: bool = True
    """All columns are known from the start."""


def label(heading: str, nth: int = 1) -> str:
    """What a column is called here: its heading, spaces and case aside; `#2` for the second of one heading."""
    return folded(heading) + (f"#{nth}" if nth > 1 else "")


def guarded(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula."""
    return GUARD.sub("'", text)


def unguarded(text: str) -> str:
    """A CSV cell without the apostrophes that keep it from being a formula: `unguarded(guarded(text)) == text`."""
    return GUARDED.sub("", text) if "'" in text else text


def printable(text: str) -> str:
    """Without halves of characters (octets that are not in the table's encoding), which cannot be written anywhere."""
    return text.encode("utf-8", "replace").decode()


def text_of(value: object, decimal: str) -> str:
    """A typed cell as text; numbers in the table's own style, dates as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return number_text(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), decimal)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def number_text(value: Decimal, decimal: str) -> str:
    """A number without exponent and without idle zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace(".", decimal)


def titles_of(headings: Sequence[str]) -> dict[str, str]:
    """Label -> heading, for every column; a column without heading is called by its letters."""
    found: dict[str, str] = {}
    seen: dict[str, int] = {}
    for index, heading in enumerate(headings):
        title = heading.strip() or f"({column_letters(index)})"
        nth = seen[folded(title)] = seen.get(folded(title), 0) + 1
        found[label(title, nth)] = title
    return found


def column_letters(index: int) -> str:
    """0 -> A, 26 -> AA."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def row_of(number: int, texts: Sequence[str], labels: Sequence[str], encoding: str) -> Row | None:
    """None for a row of blanks."""
    if not any(text.strip() for text in texts):
        return None
    flaws: list[Flaw] = []
    more = [text for text in texts[len(labels) :] if text.strip()]
    if more:
        flaws.append(Flaw("cells", gaps={"found": str(len(texts)), "allowed": str(len(labels))}))
    cells = dict(zip(labels, (*texts, *("",) * (len(labels) - len(texts))), strict=False))
    for one, text in cells.items():
        if not text.isascii() and any("\ud800" <= ch <= "\udfff" for ch in text):
            flaws.append(Flaw("encoding", one, {"allowed": encoding}))
            cells[one] = printable(text)
    return Row(number, cells, tuple(flaws))


def check_headings(path: Path, headings: Sequence[str], encoding: str = "XML") -> None:
    if not any(heading.strip() for heading in headings):
        raise TableRefused(
            detail=f"{path}: the header row is blank. Which row has the headings? (table: header_row: ...)"
        )
    if len(headings) > MAX_COLUMNS:
        raise TableRefused(detail=f"{path} has {len(headings)} columns; at most {MAX_COLUMNS} are read.")
    for heading in headings:
        if printable(heading) != heading:
            raise TableRefused(
                detail=f"{path}: the heading “{printable(heading)}” is not text in {encoding}; is it cp1252? (table: encoding: ...)"
            )
