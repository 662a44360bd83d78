"""A file as rows: CSV, XLSX (xlsx_rows.py), JSON as an array of objects or one object a line (json_rows.py).

Nothing is kept but the row in hand. A row that cannot be read is a row with a flaw, and the next one follows.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.tables import json_rows
from adapters.tables.table import (
    MAX_COLUMNS,
    Flaw,
    Row,
    Style,
    Table,
    TableRefused,
    check_headings,
    label,
    printable,
    row_of,
    titles_of,
    unguarded,
)
from adapters.tables.xlsx_rows import workbook

FORMATS = ("csv", "xlsx", "json")
ENDINGS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".xlsx": "xlsx", ".xlsm": "xlsx", ".json": "json", ".jsonl": "json",
           ".ndjson": "json"}  # fmt: skip
MAX_LINE_CHARACTERS = 4_000_000
"""Of a CSV: a line is in memory as a whole."""


@contextmanager
def open_table(path: Path, style: Style) -> Iterator[Table]:
    """The rows of a file. Raises TableRefused, also while the rows are read; OSError if it is not there."""
    form = style.format or ENDINGS.get(path.suffix.lower())
    if form is None:
        raise TableRefused(detail=f"{path}: say in the mapping whether this is csv, xlsx or json (table: format: ...).")
    if not path.is_file():
        raise TableRefused(detail=f"There is no file {path}.")
    if path.suffix.lower() == ".xlsx" or form == "xlsx":
        with workbook(path, style) as table:
            yield table
        return
    try:
        with path.open(encoding=_encoding(style), errors="surrogateescape", newline="") as lines:
            if form == "csv":
                yield _csv(path, lines, style)
            else:
                yield _json(lines, style)
    except UnicodeError as error:
        raise TableRefused(detail=f"{path} is not text in {style.encoding}: {error}.") from None


def _encoding(style: Style) -> str:
    return "utf-8-sig" if style.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else style.encoding


# ── CSV ──


def _csv(path: Path, lines: Any, style: Style) -> Table:
    again = _Lines(lines)
    reader = csv.reader(again, delimiter=style.delimiter, strict=True)
    headings: list[str] = []
    try:
        for _ in range(style.header_row):
            headings = [unguarded(text) for text in next(reader)]
    except StopIteration:
        raise TableRefused(detail=f"{path} ends before its header row ({style.header_row}).") from None
    except csv.Error as error:
        raise TableRefused(detail=f"{path}: the header row cannot be read: {error}.") from None
    check_headings(path, headings, style.encoding)
    titles = titles_of(headings)
    return Table(_csv_rows(reader, again, tuple(titles), style), titles, total=_lines(path))


class _Lines:
    """The lines of a CSV; those of a row that cannot be read are gone over again, its first one aside: whoever opens a
    quote and does not close it means a row all the same, and csv takes all for one cell that comes before the next quote,
    the end of the file, or 131,072 characters."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self._row: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line: str = self._ahead.popleft() if self._ahead else self._lines.readline(MAX_LINE_CHARACTERS)
        if not line:
            raise StopIteration
        self._row.append(line)
        if len(line) == MAX_LINE_CHARACTERS and line[-1] not in "\r\n":
            while line and line[-1] not in "\r\n":
                line = self._lines.readline(MAX_LINE_CHARACTERS)
            raise csv.Error(f"its line has more than {MAX_LINE_CHARACTERS} characters")
        return line

    def next_row(self) -> None:
        self._row.clear()

    def go_back(self) -> None:
        """To the line after the first of this row."""
        self._ahead.extendleft(reversed(self._row[1:]))


def _csv_rows(reader: Any, lines: _Lines, labels: Sequence[str], style: Style) -> Iterator[Row]:
    number = style.header_row
    while True:
        number += 1
        lines.next_row()
        try:
            texts = [unguarded(text) for text in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            lines.go_back()  # one quote too many must not take the rows after it along
            yield Row(number, dict.fromkeys(labels, ""), (Flaw("unreadable", gaps={"found": str(error)}),))
            continue
        row = row_of(number, texts, labels, style.encoding)
        if row is not None:
            yield row


def _lines(path: Path) -> int:
    """About how many rows: line feeds are counted, those in cells too."""
    count = 0
    with path.open("rb") as file:
        while piece := file.read(65_536):
            count += piece.count(b"\n")
    return count


# ── JSON ──


def _json(lines: Any, style: Style) -> Table:
    titles: dict[str, str] = {}
    return Table(_json_table(lines, style, titles), titles, fixed=False)


def _json_table(lines: Any, style: Style, titles: dict[str, str]) -> Iterator[Row]:
    for number, found in enumerate(json_rows.objects(lines), 1):
        if isinstance(found, json_rows.NotARow):
            yield Row(number, {}, (Flaw("unreadable", gaps={"found": found.why}),))
            continue
        texts = {name: text.replace(".", style.decimal) if is_number else text for name, text, is_number in found}
        new = {label(name): printable(name) for name in texts if label(name) not in titles}
        if len(titles) + len(new) > MAX_COLUMNS:
            yield Row(
                number, {}, (Flaw("unreadable", gaps={"found": f"there are more than {MAX_COLUMNS} names by now"}),)
            )
            continue
        titles.update(new)
        row = row_of(number, list(texts.values()), [label(name) for name in texts], style.encoding)
        if row is not None:
            yield row
