"""The rows of a spreadsheet (XLSX), one at a time; openpyxl keeps its shared strings in memory.

Formulas are never computed: a cell has the value it was last saved with. What a file may be is bounded before it is
opened: a spreadsheet is a ZIP archive, and XML from anybody (openpyxl reads it through defusedxml).
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.tables.table import Flaw, Row, Style, Table, TableRefused, check_headings, row_of, text_of, titles_of

MAX_UNPACKED_BYTES = 2_000_000_000
MAX_PACKING = 200
"""Unpacked octets for one packed, over the whole archive: a spreadsheet has ten or twenty."""
MAX_SHARED_STRINGS_BYTES = 200_000_000
"""They are held in memory while the sheet is read."""
ABOUT_SHEET = "tidewaiter"
"""A hidden sheet of this name makes a workbook an error sheet of ours: see error_sheet.py."""
OUR_COLUMNS = 4
"""row, column, value, what was expected; the row itself follows."""
MAX_ROW_DIGITS = 10


@contextmanager
def workbook(path: Path, style: Style) -> Iterator[Table]:
    import openpyxl

    _check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of extensions that openpyxl leaves out: no cell is among them
        with _spreadsheet_errors(path):
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            with _spreadsheet_errors(path):
                table = _sheet(path, book, style)
            yield table
        finally:
            book.close()


@contextmanager
def _spreadsheet_errors(path: Path) -> Iterator[None]:
    """What openpyxl and the XML parser raise at a damaged file, as TableRefused."""
    from xml.etree.ElementTree import ParseError

    try:
        yield
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, IndexError, AttributeError,
            ParseError) as error:  # fmt: skip
        raise TableRefused(
            detail=f"{path} cannot be read as a spreadsheet ({type(error).__name__}: {error})."
        ) from None


def _sheet(path: Path, book: Any, style: Style) -> Table:
    about = None
    wanted, header_row = style.sheet, style.header_row
    if ABOUT_SHEET in book.sheetnames:
        pairs = book[ABOUT_SHEET].iter_rows(values_only=True, max_col=2)
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
    rows = sheet.iter_rows(values_only=True)
    while True:
        with _spreadsheet_errors(path):
            values = next(rows, None)
        if values is None:
            return
        yield values


def _xlsx_rows(rows: Iterator[Sequence[object]], labels: Sequence[str], style: Style, header_row: int) -> Iterator[Row]:
    for number, values in enumerate(rows, header_row + 1):
        row = row_of(number, [text_of(value, style.decimal) for value in values], labels, "XML")
        if row is not None:
            yield row


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise TableRefused(detail=f"{path} is not an XLSX file: save it as “Excel workbook (.xlsx)”.") from None
    unpacked, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES or unpacked > MAX_PACKING * max(packed, 10_000):
        raise TableRefused(detail=f"{path} unpacks to {unpacked} bytes: no table is read from such an archive.")
    for entry in entries:
        if entry.filename.lower().endswith("sharedstrings.xml") and entry.file_size > MAX_SHARED_STRINGS_BYTES:
            raise TableRefused(
                detail=f"{path} holds too many different texts for a spreadsheet: save it as CSV and load that."
            )


def _error_rows(rows: Iterator[Sequence[object]], labels: Sequence[str], style: Style) -> Iterator[Row]:
    """Rows of an error sheet: the first column has the row's number in the table, our other columns are passed over."""
    for number, values in enumerate(rows, 2):
        texts = [text_of(value, style.decimal) for value in values]
        row = row_of(number, texts[OUR_COLUMNS:], labels, "XML")
        if row is None:
            continue
        if texts[0].isdigit() and len(texts[0]) < MAX_ROW_DIGITS:
            yield replace(row, number=int(texts[0]))
        else:
            yield replace(row, flaws=(*row.flaws, Flaw("another-row", gaps={"found": texts[0]})))
