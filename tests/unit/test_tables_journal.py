"""The journal: equal rows are told apart, and a row that comes corrected has the id it would have had in its place."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from adapters.tables.journal import Journal, Told, open_journal
from adapters.tables.load import Request, Summary, load
from adapters.tables.posting import Answer, DryRun, Work, write_receipts
from adapters.tables.read_mapping import read_mapping
from broker.clock import now
from broker.errors import SetupRefused
from tests import tables
from tests.region import LANGUAGE

GOOD = next(one.cells for one in tables.rows(1, 50) if not one.rules and one.canonical)


def changed(cells: tables.Cells, **columns: str) -> tables.Made:
    """A row with other cells: `país="Varios"`."""
    found = list(cells)
    for name, text in columns.items():
        found[[heading.casefold() for heading in tables.HEADINGS].index(name)] = text
    return tables.Made(tuple(found))


class Accepting:
    """A judge that accepts whatever is right by the schemas, and keeps the ids in their order."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._dry = DryRun(LANGUAGE, "en", now)

    async def answers(self, batch: Sequence[Work], journal: Journal) -> list[Answer]:
        found = await self._dry.answers(batch, journal)
        self.ids += [work.id for work, answer in zip(batch, found, strict=True) if answer.outcome == "accepted"]
        return found


async def ids_of(path: Path, **how: Any) -> tuple[list[str], Summary]:
    by, summary = Accepting(), Summary()
    mapping = read_mapping(tables.mapping_file(path.parent))
    await load(Request(mapping, path, "CL", **how), by, summary)
    return by.ids, summary


def correct(sheet: Path, row: int, heading: str, text: str) -> None:
    """What a person does: open the error sheet, write into a cell of the row on the right, save."""
    book = openpyxl.load_workbook(sheet)
    page = book.worksheets[0]
    column = [cell.value for cell in page[1]].index(heading, 4) + 1
    (at,) = [cells[0].row for cells in page.iter_rows(min_row=2) if cells[0].value == row]
    page.cell(at, column).value = text
    book.save(sheet)


async def test_equal_rows_are_as_many_events(tmp_path: Path) -> None:
    """Numbered in the order of the table, and the same in each load."""
    made = [changed(GOOD), changed(GOOD, nota="other"), changed(GOOD), changed(GOOD)]
    path = tables.write_csv(tmp_path / "t.csv", made)
    first, summary = await ids_of(path)

    assert [id.removeprefix(first[0]) for id in first if id.startswith(first[0])] == ["", "-2", "-3"]
    assert len(set(first)) == 4
    assert (await ids_of(path))[0] == first
    assert summary.rows == summary.accepted == 4


async def test_equal_rows_that_move_keep_their_ids(tmp_path: Path) -> None:
    """Sorted anew, with a row put in: the same ids as before, and one more."""
    made = [changed(GOOD, nota=str(n % 3)) for n in range(9)]
    before, _ = await ids_of(tables.write_csv(tmp_path / "t.csv", made))
    after, _ = await ids_of(tables.write_csv(tmp_path / "t.csv", [changed(GOOD, nota="new"), *reversed(made)]))

    assert set(before) < set(after)
    assert len(set(after)) == 10


@pytest.mark.parametrize("write", [tables.write_csv, tables.write_xlsx, tables.write_json])
async def test_a_corrected_row_gets_the_id_it_has_in_a_corrected_table(write: Any, tmp_path: Path) -> None:
    """Row 3 becomes equal to row 4 by its correction. Whether the sheet or the corrected table is loaded, or both, in
    either order and twice: the same ids, so no event is doubled and none swallowed."""
    made = [changed(GOOD), changed(GOOD, país="Varios"), changed(GOOD), changed(GOOD, nota="other")]
    path = write(tmp_path / f"t.{write.__name__[6:]}", made)
    first, summary = await ids_of(path)
    assert (summary.accepted, summary.refused, summary.errors) == (3, 1, tmp_path / "t.errors.xlsx")
    assert summary.errors is not None
    correct(summary.errors, 2 if path.suffix == ".json" else 3, "País", "Chile")
    from_sheet, summary = await ids_of(summary.errors)
    again, _ = await ids_of(tmp_path / "t.errors.xlsx")
    assert (summary.rows, summary.refused) == (1, 0)
    in_place, _ = await ids_of(write(path, [made[0], changed(GOOD), *made[2:]]))
    once_more, _ = await ids_of(tmp_path / "t.errors.xlsx")

    assert from_sheet == again == [f"{first[0]}-3"]
    assert set(in_place) == {*first, *from_sheet}
    assert set(once_more) <= set(in_place)


async def test_two_rows_corrected_alike_are_two_events(tmp_path: Path) -> None:
    """In any order of the sheet, and again."""
    made = [changed(GOOD), *(changed(GOOD, **{"peso (kg)": bad}) for bad in ("x", "z", "z"))]
    _, summary = await ids_of(tables.write_csv(tmp_path / "t.csv", made))
    assert summary.errors is not None
    for row in (3, 4, 5):
        correct(summary.errors, row, "Peso (kg)", GOOD[5])
    first, _ = await ids_of(summary.errors)
    again, _ = await ids_of(summary.errors)

    assert len(set(first)) == 3
    assert first == again


async def test_an_error_sheet_is_never_written_over_once_somebody_works_on_it(tmp_path: Path) -> None:
    """Loading again writes the same sheet anew as long as nobody has changed it; then the next one gets another name."""
    path = tables.write_csv(tmp_path / "t.csv", [changed(GOOD, país="Varios"), changed(GOOD, país="Nada")])
    assert [(await ids_of(path))[1].errors for _ in range(2)] == [tmp_path / "t.errors.xlsx"] * 2
    correct(tmp_path / "t.errors.xlsx", 2, "País", "Chile")
    assert (await ids_of(path))[1].errors == tmp_path / "t.errors-2.xlsx"
    _, rest = await ids_of(tmp_path / "t.errors.xlsx")
    assert (rest.accepted, rest.refused, rest.errors) == (1, 1, tmp_path / "t.errors-2.xlsx")
    correct(tmp_path / "t.errors-2.xlsx", 3, "País", "Chile")
    _, last = await ids_of(tmp_path / "t.errors-2.xlsx")

    assert (last.accepted, last.refused, last.errors) == (1, 0, None)
    assert (tmp_path / "t.errors.xlsx").exists()


async def test_an_error_sheet_says_what_is_wrong_and_carries_the_whole_row(tmp_path: Path) -> None:
    """One row a row: number, columns, values, what was expected; then the row, its faulty cells shaded."""
    made = [changed(GOOD, **{"país": "Varios", "peso (kg)": "abc", "nota": "=HYPERLINK(1)"})]
    _, summary = await ids_of(tables.write_csv(tmp_path / "t.csv", made), tongue="es")
    assert summary.errors is not None
    book = openpyxl.load_workbook(summary.errors)
    heads, row = (list(cells) for cells in book.worksheets[0].iter_rows())

    assert [cell.value for cell in heads] == ["fila", "columna", "valor", "lo que se esperaba", *tables.HEADINGS]
    assert (row[0].value, row[1].value, row[2].value) == (2, "País\nPeso (kg)", "Varios\nabc")
    assert str(row[3].value).splitlines()[1].startswith("“abc” no es un número")
    assert [cell.value or "" for cell in row[4:]] == list(made[0].cells)
    assert {tables.HEADINGS[n] for n, cell in enumerate(row[4:]) if cell.fill.fill_type} == {"País", "Peso (kg)"}
    assert row[-1].data_type == "s"  # and no formula
    assert book["tidewaiter"].sheet_state == "hidden"
    assert stat.S_IMODE(summary.errors.stat().st_mode) == 0o600


async def test_an_error_sheet_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    path = tables.write_csv(tmp_path / "t.csv", [changed(GOOD, país="Varios")])
    _, summary = await ids_of(path)
    assert summary.errors is not None
    assert summary.journal is not None
    other = read_mapping(
        tables.mapping_file(tmp_path, tables.MAPPING.replace("name: nacional", "name: other"), "o.yaml")
    )
    with pytest.raises(SetupRefused, match="of the mapping “nacional”, not “other”"):
        await load(Request(other, summary.errors, "CL"), Accepting(), Summary())
    book = openpyxl.load_workbook(summary.errors)
    pairs = {str(key.value): value for key, value in book["tidewaiter"].iter_rows(max_col=2, max_row=5)}
    pairs["journal"].value = "../elsewhere"
    book.save(tmp_path / "crafted.xlsx")
    with pytest.raises(SetupRefused, match="is no error sheet"):
        await ids_of(tmp_path / "crafted.xlsx")
    pairs["journal"].value = summary.journal.name
    book.worksheets[0].cell(2, 1).value = "seven"
    book.save(summary.errors)
    assert dict((await ids_of(summary.errors))[1].rules) == {"another-row": 1, "not-in-table": 1}
    summary.journal.unlink()
    with pytest.raises(SetupRefused, match="There is no journal"):
        await ids_of(summary.errors)


async def test_a_journal_of_a_table_that_was_not_read_to_its_end_numbers_no_corrections(tmp_path: Path) -> None:
    path = tables.write_csv(tmp_path / "t.csv", [changed(GOOD, país="Varios")])
    _, summary = await ids_of(path)
    assert summary.errors is not None
    assert summary.journal is not None
    with sqlite3.connect(summary.journal) as db:
        db.execute("UPDATE about SET value = 'no' WHERE name = 'whole'")
    db.close()
    with pytest.raises(SetupRefused, match="not loaded to its end"):
        await ids_of(summary.errors)


async def test_a_journal_that_has_seen_another_table_numbers_no_corrections(tmp_path: Path) -> None:
    """The rows that it counts equal ones among would be those of the other."""
    first = tables.write_csv(tmp_path / "a.csv", [changed(GOOD, país="Varios")])
    second = tables.write_csv(tmp_path / "b.csv", [changed(GOOD, país="Varios")])
    _, summary = await ids_of(first, journal=tmp_path / "j")
    await ids_of(second, journal=tmp_path / "j")
    assert summary.errors is not None
    with pytest.raises(SetupRefused, match=r"is that of b\.csv now: load .*a\.csv itself first"):
        await ids_of(summary.errors, journal=tmp_path / "j")


async def test_a_named_error_sheet_is_not_written_over_either(tmp_path: Path) -> None:
    """And that is said before anything is posted."""
    path, sheet = tables.write_csv(tmp_path / "t.csv", [changed(GOOD, país="Varios")]), tmp_path / "e.xlsx"
    assert [(await ids_of(path, errors=sheet))[1].errors for _ in range(2)] == [sheet, sheet]
    correct(sheet, 2, "País", "Chile")
    by, summary = Accepting(), Summary()
    with pytest.raises(SetupRefused, match="would be written over"):
        await load(Request(read_mapping(tmp_path / "nacional.yaml"), path, "CL", errors=sheet), by, summary)
    assert (by.ids, summary.rows) == ([], 0)


async def test_what_could_not_be_read_and_is_still_blank_is_still_refused(tmp_path: Path) -> None:
    """The error sheet of a row that nobody could read has nothing on its right: it is not taken for a row that is done."""
    path = tables.write_csv(tmp_path / "t.csv", [changed(GOOD)])
    with path.open("a") as file:
        file.write('"x"y;z\n')
    _, summary = await ids_of(path)
    assert (summary.accepted, dict(summary.rules)) == (1, {"unreadable": 1})
    assert summary.errors is not None
    _, again = await ids_of(summary.errors)
    assert (again.rows, dict(again.rules)) == (1, {"still-blank": 1})


async def test_a_cell_that_the_error_sheet_had_to_cut_is_corrected_in_the_table(tmp_path: Path) -> None:
    _, summary = await ids_of(tables.write_csv(tmp_path / "t.csv", [changed(GOOD, país="Varios", nota="x" * 40_000)]))
    assert summary.errors is not None
    correct(summary.errors, 2, "País", "Chile")
    ids, again = await ids_of(summary.errors)

    assert (ids, dict(again.rules)) == ([], {"cut-in-sheet": 1})


async def test_a_number_that_only_looks_like_one_is_none_of_the_tables(tmp_path: Path) -> None:
    _, summary = await ids_of(tables.write_csv(tmp_path / "t.csv", [changed(GOOD, país="Varios")]))
    assert summary.errors is not None
    book = openpyxl.load_workbook(summary.errors)
    book.worksheets[0].cell(2, 1).value = "²"
    book.save(summary.errors)

    assert "another-row" in (await ids_of(summary.errors))[1].rules


async def test_half_a_character_in_a_name_stops_no_load(tmp_path: Path) -> None:
    """JSON can spell what no file can hold; the row is refused for what is wrong with it, and the sheet is written."""
    path = tables.write_json(tmp_path / "t.json", [changed(GOOD, país="Varios"), changed(GOOD)])
    path.write_text(path.read_text().replace('"Nota"', '"\\ud800"', 1))
    ids, summary = await ids_of(path)

    assert (len(ids), dict(summary.rules)) == (1, {"not-in-table": 1})


def test_a_journal_is_for_one_load_and_one_pair_of_eyes(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with open_journal(path) as journal:
        journal.remember("x", "y")
        journal.commit()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(SetupRefused, match="Another load"), open_journal(path):
            raise AssertionError
    with open_journal(path) as journal:
        assert journal.about("x") == "y"


def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"a letter" * 200)
    with pytest.raises(SetupRefused, match="cannot be used"), open_journal(path):
        raise AssertionError
    assert path.read_bytes() == b"a letter" * 200
    with pytest.raises(SetupRefused, match="cannot be written"), open_journal(tmp_path / "absent" / "j"):
        raise AssertionError


def test_receipts_are_written_into_their_folder_alone(tmp_path: Path) -> None:
    """A journal that came along with somebody's error sheet may say anything."""
    with open_journal(tmp_path / "j") as journal:
        journal.keep_signed("hub", "../CL:1", 2, "digest", "octets")
        journal.keep_receipt("hub", "../CL:1", "digest", "octets", "receipt")
        journal.commit()
    with pytest.raises(SetupRefused, match="an address that no message has"):
        write_receipts(tmp_path / "j", "hub", tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j", "kept"]


def test_what_has_its_receipt_is_never_replaced(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.keep_signed("hub", "1", 2, "digest", "octets")
        journal.keep_signed("hub", "1", 2, "digest", "octets signed anew")
        journal.keep_receipt("hub", "1", "digest", "octets signed anew", "receipt")
        journal.keep_signed("hub", "1", 2, "other", "other octets")
        journal.keep_receipt("hub", "1", "other", "other octets", "another receipt")
        journal.refuse(2, {"a": "x"}, [Told(("a",), "x", "rule", "said")])
        journal.refuse(2, {"a": "y"}, [])

        assert list(journal.receipts("hub")) == [("1", "octets signed anew", "receipt")]
        assert journal.message("elsewhere", "1") is None
        assert [refused.cells["a"] for refused in journal.refused()] == ["x", "y"]
