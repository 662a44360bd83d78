"""Files as rows: whatever stands in one row, the next one is read; whatever a file is, nothing is computed or unpacked."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from adapters.tables import archive, json_rows
from adapters.tables.rows import open_table
from adapters.tables.table import MAX_COLUMNS, Flaw, Row, Style, TableRefused, column_letters, label, text_of
from tests import tables

SEMICOLON = Style(delimiter=";")


def read(path: Path, style: Style = SEMICOLON) -> list[Row]:
    with open_table(path, style) as table:
        return list(table.rows)


def csv_file(folder: Path, octets: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(octets)
    return path


def sheet(folder: Path, *rows: list[Any], name: str = "t.xlsx", title: str = "hoja") -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(folder / name)
    return folder / name


@pytest.mark.parametrize("write", [tables.write_csv, tables.write_xlsx, tables.write_json])
def test_the_three_formats_give_the_same_cells(write: Any, tmp_path: Path) -> None:
    """A heading that occurs twice is two columns; row numbers are those that a spreadsheet shows (JSON: the object's)."""
    made = list(tables.rows(7, 40))
    path = write(tmp_path / f"t.{write.__name__[6:]}", made)
    found = read(path)
    labels = [label(name, tables.HEADINGS[: n + 1].count(name)) for n, name in enumerate(tables.HEADINGS)]

    assert [[row.cells.get(one, "") for one in labels] for row in found] == [list(one.cells) for one in made]
    assert [row.number for row in found][:3] == ([1, 2, 3] if path.suffix == ".json" else [2, 3, 4])


def test_json_lines_are_read_like_an_array(tmp_path: Path) -> None:
    made = list(tables.rows(7, 40))
    array, lines = (
        tables.write_json(tmp_path / f"{name}.json", made, lines=name == "lines") for name in ("array", "lines")
    )

    assert read(array) == read(lines)


def test_a_bad_row_of_a_csv_does_not_stop_the_next(tmp_path: Path) -> None:
    """Too many cells, octets that are no UTF-8, a quote in the wrong place: each is told at its row, and only there."""
    path = csv_file(tmp_path, b'A;B\n1;2\n3;4;5\n6;\xff\n"7"x;8\n9;\n;\n10;11\n')
    found = read(path)

    assert [(row.number, row.cells["a"]) for row in found] == [
        (2, "1"),
        (3, "3"),
        (4, "6"),
        (5, ""),
        (6, "9"),
        (8, "10"),
    ]
    assert [[flaw.rule for flaw in row.flaws] for row in found] == [[], ["cells"], ["encoding"], ["unreadable"], [], []]


def test_a_quote_that_nobody_closes_is_one_bad_row(tmp_path: Path) -> None:
    """It would take all rows after it along, to the end of the file or of the longest cell: they are gone over again."""
    rows = b"".join(b"%d;x\n" % n for n in range(100))
    found = read(csv_file(tmp_path, b'A;B\n1;"open\n' + rows + b'2;"y\nz"\n3;"open\n' + rows))
    assert [row.number for row in found] == list(range(2, 205))
    assert [row.number for row in found if row.flaws] == [2, 104]
    many = b"".join(b"%d;x\n" % n for n in range(40_000))
    found = read(csv_file(tmp_path, b'A;B\n1;"open\n' + many))
    assert (len(found), [row.number for row in found if row.flaws]) == (40_001, [2])


def test_a_line_without_end_is_never_held_in_memory(tmp_path: Path) -> None:
    path = csv_file(tmp_path, b"A;B\n1;2\n" + b"x" * 20_000_000 + b"\n3;4\n")
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [(row.number, row.cells["a"], bool(row.flaws)) for row in found] == [
        (2, "1", False), (3, "", True), (4, "3", False)]  # fmt: skip
    assert peak < 18_000_000


def test_headings_in_another_encoding_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(TableRefused, match=r"“Pa\?s” is not text in utf-8; is it cp1252"):
        read(csv_file(tmp_path, "País;X\nPerú;1\n".encode("cp1252")))


def test_more_columns_than_an_error_sheet_can_hold_are_refused(tmp_path: Path) -> None:
    """In JSON it is the row that brings them; those before it and after it are read."""
    names = [f"c{n}" for n in range(MAX_COLUMNS + 1)]
    with pytest.raises(TableRefused, match="at most 16000 are read"):
        read(csv_file(tmp_path, ";".join(names).encode() + b"\n1\n"))
    (tmp_path / "t.json").write_text(json.dumps([{"a": 1}, dict.fromkeys(names, 1), {"a": 2, "\ud800": 3}]))
    found = read(tmp_path / "t.json")
    assert [[flaw.rule for flaw in row.flaws] for row in found] == [[], ["unreadable"], []]


def test_cells_with_line_feeds_are_one_row(tmp_path: Path) -> None:
    assert [row.cells["b"] for row in read(csv_file(tmp_path, b'A;B\r\n1;"x\ny"\r\n2;z\r\n'))] == ["x\ny", "z"]


def test_an_encoding_and_a_byte_order_mark(tmp_path: Path) -> None:
    (row,) = read(csv_file(tmp_path, "País;X\nPerú;1\n".encode("cp1252")), Style(delimiter=";", encoding="cp1252"))
    assert row.cells == {"país": "Perú", "x": "1"}
    (row,) = read(csv_file(tmp_path, "\ufeffPaís;X\nPerú;1\n".encode()))
    assert row.cells == {"país": "Perú", "x": "1"}


def test_the_apostrophe_that_keeps_a_cell_from_being_a_formula_is_taken_off(tmp_path: Path) -> None:
    (row,) = read(csv_file(tmp_path, b"A;B;C\n'=1+1;'-33.5;'x\n"))
    assert list(row.cells.values()) == ["=1+1", "-33.5", "'x"]


@pytest.mark.parametrize(("octets", "sentence"), [
    (b"", "ends before its header row"), (b"\n1;2\n", "the header row is blank"), (b'"A;B\n', "cannot be read"),
])  # fmt: skip
def test_a_csv_without_headings_is_refused(octets: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(TableRefused, match=sentence):
        read(csv_file(tmp_path, octets))


def test_what_is_not_there_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableRefused, match="There is no file"):
        read(tmp_path / "absent.csv")
    (tmp_path / "t.dbf").write_bytes(b"x")
    with pytest.raises(TableRefused, match="csv, xlsx or json"):
        read(tmp_path / "t.dbf")


# ── JSON ──


@pytest.mark.parametrize(("text", "rows", "why"), [
    ('[{"a":1},2,{"a":3}]', 3, "no object"),
    ('[{"a":1},{"a":1,"a":2},{"a":3}]', 3, "stands in it twice"),
    ('[{"a":1},{"a":', 2, "not JSON"),
    ('[{"a":1}', 2, "cut off"),
    ('[{"a":1},{"a":oops},{"a":3}]', 2, "nothing after it could be read"),
    ('{"a":1}\n{"a":\n{"a":3}', 3, "not JSON"),
    ('{"a":1}\n{"a":2} x\n{"a":3}', 3, "more follows"),
    ('{"a":1}\n' + '{"a":' * 20_000 + '\n{"a":3}', 3, "not JSON"),
])  # fmt: skip
def test_what_is_no_row_in_json_is_said_in_its_place(text: str, rows: int, why: str) -> None:
    found = list(json_rows.objects(io.StringIO(text)))

    assert len(found) == rows
    assert found[0] == [("a", "1", True)]
    (bad,) = (one for one in found if isinstance(one, json_rows.NotARow))
    assert why in bad.why


def test_numbers_keep_their_digits_and_nested_objects_their_names() -> None:
    (row,) = json_rows.objects(
        io.StringIO('[{"a": 1.50, "b": {"c": true, "d": null}, "e": [1, "x"], "f": 12345678901234567890}]')
    )

    assert row == [("a", "1.50", True), ("b.c", "true", False), ("b.d", "", False), ("e", '["1", "x"]', False),
                   ("f", "12345678901234567890", True)]  # fmt: skip


def test_objects_are_found_wherever_the_pieces_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read three characters at a time, an array is the same array."""
    wanted = [[("a", str(n), True), ("b", "x,]} ", False)] for n in range(5)]
    text = json.dumps([{"a": n, "b": "x,]} "} for n in range(5)], indent=1)
    monkeypatch.setattr(json_rows, "PIECE_CHARACTERS", 3)

    assert list(json_rows.objects(io.StringIO(text))) == wanted


def test_a_row_without_end_is_given_up() -> None:
    found = list(json_rows.objects(io.StringIO('[{"a": "' + "x" * 3_000_000)))
    assert [type(one) for one in found] == [json_rows.NotARow]
    found = list(json_rows.objects(io.StringIO('{"a": "' + "x" * 3_000_000)))
    assert [type(one) for one in found] == [json_rows.NotARow]


def test_a_numbers_mark_follows_the_table(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"a": 1.5, "b": "1.5"}]')
    (row,) = read(tmp_path / "t.json", Style(decimal=","))

    assert row.cells == {"a": "1,5", "b": "1.5"}


# ── XLSX ──


def test_typed_cells_read_as_text_in_the_tables_style(tmp_path: Path) -> None:
    path = sheet(
        tmp_path,
        ["A", "B", "C", "D", None, "E"],
        [1, 2.50, datetime(2000, 3, 15), datetime(2000, 3, 15, 10, 20), "x", True],
        [0.1 + 0.2, 1e-7, 10**15, "=1+1"],
    )
    first, second = read(path, Style(decimal=","))

    assert list(first.cells.values()) == ["1", "2,5", "2000-03-15", "2000-03-15T10:20:00", "x", "true"]
    assert list(first.cells)[4] == "(e)"
    assert list(second.cells.values())[:4] == ["0,3", "0,0000001", "1000000000000000", ""]  # never computed
    assert text_of(None, ".") == ""
    assert [column_letters(n) for n in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]


def test_a_sheet_and_a_header_row_further_down(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["A report"], [None], ["A", "B"], [1, 2], [None, None], [3, 4])
    found = read(path, Style(sheet="hoja", header_row=3))
    assert [(row.number, row.cells["b"]) for row in found] == [(4, "2"), (6, "4")]
    with pytest.raises(TableRefused, match="it has: hoja"):
        read(path, Style(sheet="blatt"))


def test_an_archive_that_unpacks_to_too_much_is_never_opened(tmp_path: Path) -> None:
    """A ZIP bomb: ten megabytes of nothing in ten kilobytes."""
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("xl/worksheets/sheet1.xml", b"\0" * 10_000_000)
    with pytest.raises(TableRefused, match="no table is read from such an archive"):
        read(path)


def test_xml_that_declares_entities_is_not_read(tmp_path: Path) -> None:
    """A billion laughs in the sheet: openpyxl reads through defusedxml, which refuses it."""
    path, evil = sheet(tmp_path, ["A"], ["x"]), tmp_path / "evil.xlsx"
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(evil, "w") as made:
        for entry in good.namelist():
            octets = good.read(entry)
            if entry == "xl/worksheets/sheet1.xml":
                octets = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + octets.replace(b"x</t>", b"&b;</t>")
            made.writestr(entry, octets)
    with pytest.raises(TableRefused, match="cannot be read as a spreadsheet"):
        read(evil)


def remade(folder: Path, part: str, old: bytes, new: bytes) -> Path:
    """A good spreadsheet with other octets in one of its parts, and with so much noise that the packing looks right."""
    path, evil = sheet(folder, ["A"], *([n] for n in range(9))), folder / "evil.xlsx"
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(evil, "w", zipfile.ZIP_DEFLATED) as made:
        for entry in good.namelist():
            octets = good.read(entry)
            assert entry != part or old in octets
            made.writestr(entry, octets.replace(old, new, 1) if entry == part else octets)
        made.writestr("noise", random.Random(1).randbytes(500_000))
    return evil


SHEET, STYLES = "xl/worksheets/sheet1.xml", "xl/styles.xml"


@pytest.mark.parametrize(("part", "old", "new", "sentence"), [
    (SHEET, b'<row r="5"', b'<row r="1048576"', "a number above 1048576"),
    (SHEET, b'<row r="5"', b'<row r="5">' + b"<c/>" * 400_000 + b'</row><row r="6"', "a row or a part of more than"),
    (STYLES, b"<fonts", b"<fonts>" + b"<b/>" * 400_000 + b"</fonts><fonts", "a row or a part of more than"),
], ids=["a row number", "a row", "a part"])  # fmt: skip
def test_a_spreadsheet_that_would_take_time_or_memory_without_end(
    part: str, old: bytes, new: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_WHOLE_BYTES", 1_000_000)
    with pytest.raises(TableRefused, match=sentence):
        read(remade(tmp_path, part, old, new))


BAD_CELLS = {
    "no number": (b"<v>4</v>", b"<v>NaN</v>", "NaN"),
    "an endless number": (b"<v>4</v>", b"<v>1e999</v>", "1e999"),
    "a word": (b"<v>4</v>", b"<v>four</v>", "four"),
    "no such text": (b'<c r="A6" t="n"><v>4</v>', b'<c r="A6" t="s"><v>999</v>', "999"),
    "no such style": (b'<c r="A6" t="n">', b'<c r="A6" s="x" t="n">', "4"),
    "no date": (b'<c r="A6" t="n"><v>4</v>', b'<c r="A6" t="d"><v>2026-02-31</v>', "2026-02-31"),
    "no place": (b'<c r="A6"', b'<c r="6A"', "4"),
    "a text counted from the end": (b'<c r="A6" t="n"><v>4</v>', b'<c r="A6" t="s"><v>-1</v>', "-1"),
    "two in one place": (
        b'<c r="A6" t="n"><v>4</v></c>',
        b'<c r="A6" t="n"><v>4</v></c><c r="A6" t="n"><v>9</v></c>',
        "4 9",
    ),
    "two, of which one is none": (b'<c r="A6" t="n">', b'<c r="A6"><v>z</v></c><c r="A6" t="n">', "z 4"),
}


@pytest.mark.parametrize(("old", "new", "found"), BAD_CELLS.values(), ids=BAD_CELLS)
def test_a_bad_cell_of_a_spreadsheet_stops_no_other(old: bytes, new: bytes, found: str, tmp_path: Path) -> None:
    """It is a flaw of its row, with what stands there; the rows around it are read."""
    rows = read(remade(tmp_path, SHEET, old, new))

    assert [row.number for row in rows] == list(range(2, 11))
    assert [row.cells["a"] for row in rows] == ["0", "1", "2", "3", found, *"5678"]
    assert [flaw for row in rows for flaw in row.flaws] == [Flaw("cell-form", "a", {"found": found})]


@pytest.mark.parametrize(
    "number", [b"x", b"2", b"6.5", b"1000000000000000", b"1048577", b"-1", b"", b" 6 ", b"6.0", b"nan"]
)
def test_a_row_without_its_number_is_the_next_one(number: bytes, tmp_path: Path) -> None:
    """openpyxl would pass over one whose number goes back, and end at one that is none."""
    rows = read(remade(tmp_path, SHEET, b'<row r="6"', b'<row r="' + number + b'"'))

    assert [(row.number, row.cells["a"]) for row in rows] == [(n + 2, str(n)) for n in range(9)]


def test_shared_strings_are_bounded_whatever_they_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """openpyxl finds them by their content type, and so must the bound."""
    monkeypatch.setattr(archive, "MAX_SHARED_STRINGS_BYTES", 1_000)
    kind = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    declared = b'<Override PartName="/xl/x.xml" ContentType="' + kind + b'" /></Types>'
    path = remade(tmp_path, "[Content_Types].xml", b"</Types>", declared)
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("xl/x.xml", b"<sst>" + b"<si><t>x</t></si>" * 100 + b"</sst>")
    with pytest.raises(TableRefused, match="too many different texts"):
        read(path)


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 97)], ids=["a password", "an unknown compression"])
def test_an_archive_that_cannot_be_unpacked_is_refused_in_one_sentence(at: int, value: int, tmp_path: Path) -> None:
    path = sheet(tmp_path, ["A"], ["x"])
    octets = bytearray(path.read_bytes())
    entry = -1
    while (entry := octets.find(b"PK\x01\x02", entry + 1)) >= 0:
        octets[entry + at] |= value
    path.write_bytes(octets)
    with pytest.raises(TableRefused, match="cannot be read as a spreadsheet"):
        read(path)


@pytest.mark.parametrize("cut", [0, 100, 2_000, 4_500])
def test_a_damaged_spreadsheet_is_refused_in_one_sentence(cut: int, tmp_path: Path) -> None:
    path = sheet(tmp_path, ["A"], *(["x" * n] for n in range(50)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TableRefused, match=r"not an XLSX file|cannot be read"):
        read(path)


def test_an_old_excel_file_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "old.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
    with pytest.raises(TableRefused, match="save it as"):
        read(tmp_path / "old.xlsx")


# ── memory ──


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_rows_are_read_one_at_a_time(kind: str, tmp_path: Path) -> None:
    """Ten times the rows take the same memory."""
    peaks = []
    for count in (300, 3_000):
        made = list(tables.rows(1, count))
        path = (tables.write_csv if kind == "csv" else tables.write_json)(tmp_path / f"{count}.{kind}", made)
        tracemalloc.start()
        with open_table(path, SEMICOLON) as table:
            assert sum(1 for _ in table.rows) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] + 400_000
