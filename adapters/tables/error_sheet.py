"""What was refused, as a spreadsheet that is corrected and loaded: what is wrong on the left, the whole row on the right.

Row 1 has the headings, and each refused row is one row: its number in the table, the columns concerned, what stands in
them, what was expected (a line for each fault), then the row as it was read, the cells concerned shaded. A hidden sheet
says which table and which journal it belongs to: `load` needs both to give corrected rows their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from adapters.tables.files import Workbook, replacing
from adapters.tables.journal import Journal, Refused
from adapters.tables.mapping import TableMapping
from adapters.tables.sentences import say
from adapters.tables.xlsx_rows import ABOUT_SHEET
from broker.errors import SetupRefused

WHAT = "error sheet"
VERSION = "1"
WIDTHS = (7, 24, 24, 60)
COLUMN_WIDTH = 18


def default_path(table: Path, journal: Journal, of: Path) -> Path:
    """Where the sheet of `table` goes: the first name that is free, or that holds a sheet which nobody has changed.

    `of`: the file that is being loaded, which is never written over."""
    for number in range(1, 1000):
        path = table.with_name(f"{table.stem}.errors{f'-{number}' if number > 1 else ''}.xlsx")
        if path != of and (not path.exists() or journal.about(f"sheet:{path.name}") == _digest(path)):
            return path
    raise SetupRefused(detail=f"There are too many error sheets of {table} already; name one with --errors.")


def check_unchanged(path: Path, journal: Journal) -> None:
    """Raises SetupRefused for a file that somebody has worked on, or that is no sheet of this journal."""
    if path.exists() and journal.about(f"sheet:{path.name}") != _digest(path):
        raise SetupRefused(detail=f"{path} is there already, and would be written over: name another with --errors.")


def write(
    path: Path, journal: Journal, mapping: TableMapping, titles: Mapping[str, str], *, table: str, tongue: str
) -> None:
    """Write the sheet whole; durable once it returns. `titles`: label -> heading of every column of the table."""
    book = Workbook()
    sheet = book.sheet(mapping.name, (*WIDTHS, *(COLUMN_WIDTH for _ in titles)), freeze="B2")
    labels = list(titles)
    ours = [say(f"sheet-{name}", tongue) for name in ("row", "column", "value", "expected")]
    book.row(sheet, [*ours, *titles.values()], bold=True)
    for refused in journal.refused():
        _row(book, sheet, refused, labels, titles)
    about = book.sheet(ABOUT_SHEET, hidden=True)
    for pair in _about(mapping, journal, table):
        book.row(about, pair)
    book.row(about, ["", say("sheet-hint", tongue)])
    with replacing(path) as temporary:
        book.save(temporary)
    journal.remember(f"sheet:{path.name}", _digest(path))
    journal.commit()


def _row(book: Workbook, sheet: object, refused: Refused, labels: list[str], titles: Mapping[str, str]) -> None:
    faults = refused.faults
    named = [", ".join(titles.get(label, label) for label in fault.columns) for fault in faults]
    cells = ["\n".join(lines) for lines in (named, [f.found for f in faults], [f.expected for f in faults])]
    concerned = {label for fault in faults for label in fault.columns}
    marked = frozenset(len(WIDTHS) + index for index, label in enumerate(labels) if label in concerned)
    book.row(sheet, [refused.row, *cells, *(refused.cells.get(label, "") for label in labels)], marked=marked)


def _about(mapping: TableMapping, journal: Journal, table: str) -> list[list[str]]:
    return [
        ["what", WHAT],
        ["version", VERSION],
        ["mapping", mapping.name],
        ["journal", journal.path.name],
        ["table", table],
    ]


def check(about: Mapping[str, str], path: Path, mapping: TableMapping) -> None:
    """Raises SetupRefused for a sheet of another mapping or version."""
    names = [about.get("journal"), about.get("table")]
    plain = all(name and Path(name).name == name for name in names)  # beside the sheet, and nowhere else
    if about.get("what") != WHAT or about.get("version") != VERSION or not plain:
        raise SetupRefused(detail=f"{path} has a sheet “{ABOUT_SHEET}”, but is no error sheet that this version reads.")
    if about.get("mapping") != mapping.name:
        raise SetupRefused(
            detail=f"{path} is an error sheet of the mapping “{about.get('mapping')}”, not “{mapping.name}”."
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
