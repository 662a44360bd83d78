"""The rows of a spreadsheet (XLSX), one at a time; openpyxl keeps its shared strings in memory.

Formulas are never computed: a cell has the value it was last saved with. What a file may be is bounded (archive.py): a
spreadsheet is a ZIP archive, and XML from anybody (openpyxl reads it through defusedxml).
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

from adapters.tables.archive import Archive
from adapters.tables.files import MAX_CELL_CHARACTERS
from adapters.tables.table import Flaw, Row, Style, Table, TableRefused, check_headings, row_of, text_of, titles_of

ABOUT_SHEET = "tidewaiter"
"""A hidden sheet of this name makes a workbook an error sheet of ours: see error_sheet.py."""
OUR_COLUMNS = 4
"""row, column, value, what was expected; the row itself follows."""
ABOUT_ROWS = 20
MAX_ROW_DIGITS = 10


@contextmanager
def workbook(path: Path, style: Style) -> Iterator[Table]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of extensions that openpyxl leaves out: no cell is among them
        with Archive(path) as archive:
            with _spreadsheet_errors(path):
                table = _sheet(path, _book(path, archive), style)
            yield table


def _book(path: Path, archive: Archive) -> Any:
    """What openpyxl.load_workbook gives, out of an archive that has bounds."""
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.xml.constants import SHARED_STRINGS

    with path.open("rb") as file:
        reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
    reader.archive = archive
    reader.read_manifest()
    strings = reader.package.find(SHARED_STRINGS)
    if strings is not None:
        archive.check_shared_strings(strings.PartName[1:])
    reader.read()
    return reader.wb


@contextmanager
def _spreadsheet_errors(path: Path) -> Iterator[None]:
    """What openpyxl and the XML parser raise at a damaged file, as TableRefused."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, EOFError, AttributeError, ArithmeticError,
            RuntimeError, OSError, SyntaxError) as error:  # fmt: skip
        # RuntimeError: it has a password; SyntaxError: no XML, whichever parser says so
        raise TableRefused(
            detail=f"{path} cannot be read as a spreadsheet ({type(error).__name__}: {error})."
        ) from None


def _sheet(path: Path, book: Any, style: Style) -> Table:
    about = None
    wanted, header_row = style.sheet, style.header_row
    if ABOUT_SHEET in book.sheetnames:
        pairs = islice(book[ABOUT_SHEET].iter_rows(values_only=True, max_col=2), ABOUT_ROWS)
        about = {str(row[0]): str(row[1]) for row in pairs if row and row[0] is not None and row[1] is not None}
        wanted, header_row = book.sheetnames[0], 1
    if wanted is not None and wanted not in book.sheetnames:
        raise TableRefused(detail=f"{path} has no sheet “{wanted}”; it has: {', '.join(book.sheetnames)}.")
    sheet = book[wanted or book.sheetnames[0]]
    total = sheet.max_row
    sheet.reset_dimensions()  # programs write them wrong; openpyxl would believe them
    rows = _values(path, sheet)
    headings: list[str] = []
    for _ in range(header_row):
        headings = [text_of(value, style.decimal) for value in next(rows, ())]
    while headings and not headings[-1].strip():
        headings.pop()
    check_headings(path, headings)
    if about is not None:
        titles = titles_of(headings[OUR_COLUMNS:])
        return Table(_error_rows(rows, tuple(titles), style), titles, total, about=about, fixed=False)
    titles = titles_of(headings)
    return Table(_xlsx_rows(rows, tuple(titles), style, header_row), titles, total)


def _values(path: Path, sheet: Any) -> Iterator[Sequence[object]]:
    from adapters.tables import xlsx_cells  # openpyxl takes a while to load

    rows = xlsx_cells.rows(sheet)
    for number in count(1):
        with _spreadsheet_errors(path):
            values = next(rows, None)
        if values is None:
            return
        if number > xlsx_cells.MAX_ROWS:
            raise TableRefused(
                detail=f"{path} has a row with a number above {xlsx_cells.MAX_ROWS}: no spreadsheet has so many."
            )
        yield values


def _xlsx_rows(rows: Iterator[Sequence[object]], labels: Sequence[str], style: Style, header_row: int) -> Iterator[Row]:
    for number, values in enumerate(rows, header_row + 1):
        row = _row(number, values, [text_of(value, style.decimal) for value in values], labels)
        if row is not None:
            yield row


def _row(number: int, values: Sequence[object], texts: Sequence[str], labels: Sequence[str]) -> Row | None:
    """As `row_of`; a cell that openpyxl cannot read is a flaw of it."""
    from adapters.tables.xlsx_cells import Unreadable

    row = row_of(number, texts, labels, "XML")
    bad = [Flaw("cell-form", one, {"found": text}) for one, value, text in zip(labels, values, texts, strict=False)
           if isinstance(value, Unreadable) and text.strip()]  # fmt: skip
    return row if row is None or not bad else replace(row, flaws=(*row.flaws, *bad))


def _error_rows(rows: Iterator[Sequence[object]], labels: Sequence[str], style: Style) -> Iterator[Row]:
    """Rows of an error sheet: the first column has the row's number in the table, our other columns are passed over."""
    for number, values in enumerate(rows, 2):
        texts = [text_of(value, style.decimal) for value in values]
        row = _row(number, values[OUR_COLUMNS:], texts[OUR_COLUMNS:], labels)
        if row is None:
            if not any(text.strip() for text in texts):
                continue
            # it could not be read, and nobody filled it in
            row = Row(number, dict.fromkeys(labels, ""), (Flaw("still-blank"),))
        cut = [Flaw("cut-in-sheet", one, {"allowed": str(MAX_CELL_CHARACTERS)}) for one, text in row.cells.items()
               if len(text) >= MAX_CELL_CHARACTERS]  # fmt: skip
        row = replace(row, flaws=(*row.flaws, *cut))
        if texts[0].isdecimal() and len(texts[0]) < MAX_ROW_DIGITS:
            yield replace(row, number=int(texts[0]))
        else:
            yield replace(row, flaws=(*row.flaws, Flaw("another-row", gaps={"found": texts[0]})))
