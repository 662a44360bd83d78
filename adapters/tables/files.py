"""Files for others: written whole or not at all, for their owner's eyes, and never with a formula in a cell.

Texts go into spreadsheets as string cells; in CSV a cell that a spreadsheet would take for a formula gets an apostrophe.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from adapters.tables.table import NOT_IN_XML, guarded
from broker.errors import SetupRefused

ENDINGS = (".csv", ".xlsx")
MAX_CELL_CHARACTERS = 32_767
"""What a spreadsheet's cell can hold."""
MAX_WIDTH = 60

Cell = str | int
WriteRow = Callable[[Sequence[Cell]], None]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well; durable then. Mode 0600."""
    temporary = path.with_name(f".tw-{os.getpid()}-{path.name}"[:245] + ".part")
    temporary.unlink(missing_ok=True)  # of a process that was killed; nobody else's file is ever written into
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield temporary
        for name in (temporary, path.parent):
            if name is temporary or name.is_dir():
                _sync(name)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_ending(path: Path) -> None:
    """Raises SetupRefused for anything but .csv and .xlsx."""
    if path.suffix.lower() not in ENDINGS:
        raise SetupRefused(detail=f"{path}: tables are written as .csv or .xlsx.")


@contextmanager
def csv_rows(file: TextIO, delimiter: str = ",") -> Iterator[WriteRow]:
    """Write rows to an open text file (newline="")."""
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")

    def write(cells: Sequence[Cell]) -> None:
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in cells])

    yield write


class Workbook:
    """A spreadsheet that is written row by row: nothing is kept in memory but the row in hand."""

    def __init__(self) -> None:
        import openpyxl

        self._book = openpyxl.Workbook(write_only=True)

    def sheet(self, title: str, widths: Sequence[int] = (), *, hidden: bool = False, freeze: str = "A2") -> Any:
        """A new sheet. Excel allows 31 characters in a title, and none of []:*?/\\."""
        from openpyxl.utils import get_column_letter

        made = self._book.create_sheet("".join(" " if ch in "[]:*?/\\" else ch for ch in title)[:31] or "rows")
        for number, width in enumerate(widths, 1):
            made.column_dimensions[get_column_letter(number)].width = min(width, MAX_WIDTH)
        made.freeze_panes = None if hidden else freeze
        if hidden:
            made.sheet_state = "hidden"
        return made

    def row(
        self, sheet: Any, cells: Sequence[Cell], *, bold: bool = False, marked: frozenset[int] = frozenset()
    ) -> None:
        """Append a row; `marked` cells (by index) are shaded."""
        sheet.append([self._cell(sheet, cell, bold, index in marked) for index, cell in enumerate(cells)])

    def save(self, path: Path) -> None:
        self._book.save(path)

    def _cell(self, sheet: Any, value: Cell, bold: bool, shaded: bool) -> Any:
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Alignment, Font, PatternFill

        if not bold and not shaded and (value == "" or isinstance(value, int)):
            return value if value != "" else None
        cell = WriteOnlyCell(sheet, value=value if isinstance(value, int) else None)
        if isinstance(value, str):
            cell.value = value.translate(NOT_IN_XML)[:MAX_CELL_CHARACTERS]
            cell.data_type = "s"  # whatever it begins with
            cell.number_format = "@"  # and what is typed over it stays text
        if bold:
            cell.font = Font(bold=True)
        if shaded:
            cell.fill = PatternFill("solid", fgColor="FFE0B2")
        if isinstance(value, str) and "\n" in value:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
        return cell
