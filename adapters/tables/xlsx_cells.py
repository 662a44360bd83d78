"""A sheet's rows, cell by cell: openpyxl's parser, except that one bad cell or number is not the end of the table.

What openpyxl raises at one cell becomes an `Unreadable` in its place. A row whose number is none, or goes back, is the
next one (openpyxl passes over it in silence). Nothing is remembered of a row that has been handed on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from openpyxl.utils.cell import coordinate_to_tuple
from openpyxl.worksheet._reader import VALUE_TAG, WorkSheetParser

MAX_ROWS = 1_048_576
"""The most that a sheet can have."""
CELL = "}c"


class Unreadable(str):
    """What stands in a cell that is not what it says it is."""


class Cells(WorkSheetParser):  # type: ignore[misc] # openpyxl has no types
    def parse_row(self, row: Any) -> tuple[int, list[dict[str, Any]]]:
        self.row_counter: int = max(self.row_counter + 1, _row_number(row.get("r")))
        self.col_counter = 0
        return self.row_counter, [self.parse_cell(cell) for cell in row if cell.tag.endswith(CELL)]

    def parse_cell(self, element: Any) -> dict[str, Any]:
        column = _column(element.get("r")) or self.col_counter + 1
        self.col_counter = column - 1
        written = element.findtext(VALUE_TAG)
        try:
            cell: dict[str, Any] = super().parse_cell(element)
            if _holds(cell, element.get("t", "n"), written):
                return cell
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            pass
        self.col_counter = column
        return {"column": column, "value": Unreadable(written or "".join(element.itertext()))}


def _row_number(written: str | None) -> int:
    """0 for what is none; some programs write 7.0."""
    try:
        number = float(written or "")
    except ValueError:
        return 0
    return int(number) if number.is_integer() and 0 < number <= MAX_ROWS else 0


def _column(reference: str | None) -> int | None:
    """None for what is no place."""
    try:
        return int(coordinate_to_tuple(reference)[1])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _holds(cell: dict[str, Any], kind: str, written: str | None) -> bool:
    """Whether the value is what was written: no endless number, no date that is none, no text counted from the end."""
    if isinstance(cell["value"], float) and not math.isfinite(cell["value"]):
        return False
    if kind == "s" and written and not written.strip().isdecimal():
        return False
    return kind == "e" or cell["data_type"] != "e"


def rows(sheet: Any) -> Iterator[Sequence[object]]:
    """The values of every row from the first on, blank ones included. `sheet`: read-only, of openpyxl."""
    book = sheet.parent
    with sheet._get_source() as source:
        parser = Cells(source, sheet._shared_strings, data_only=True, epoch=book.epoch,
                       date_formats=book._date_formats, timedelta_formats=book._timedelta_formats)  # fmt: skip
        reached = 0
        for number, cells in parser.parse():
            for _ in range(reached + 1, number):
                yield ()
            reached = number
            values: list[object] = [None] * max((cell["column"] for cell in cells), default=0)
            for cell in cells:
                before, value = values[cell["column"] - 1], cell["value"]
                both = f"{before} {value}" if value is not None else before
                values[cell["column"] - 1] = value if before is None else Unreadable(both)  # two cells in one place
            yield values
