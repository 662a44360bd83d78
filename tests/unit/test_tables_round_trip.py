"""Row → payload → row: what is mapped comes back, what is not is counted, and a lost marking is never silent."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tables.compose import compose, with_id
from adapters.tables.export import Exported, export
from adapters.tables.extract import extract, general, leaves
from adapters.tables.mapping import TableMapping
from adapters.tables.read_mapping import read_mapping
from adapters.tables.rows import open_table
from adapters.tables.sources import Message
from adapters.tables.table import Row, guarded, label, unguarded
from broker.errors import SetupRefused
from tests import tables

HANDLING = {"/header/handling/tlp", "/header/handling/release/all"}
FORMULAS = (
    "=1+1",
    "+1",
    "-2",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "=cmd|' /C calc'!A0",
    "＝1+1",
    "＋1",
    "－2",
    "＠SUM(A1)",
    "'=1",
)


@pytest.fixture
def national(tmp_path: Path) -> TableMapping:
    return read_mapping(tables.mapping_file(tmp_path))


def payloads(mapping: TableMapping, folder: Path, made: list[tables.Made]) -> list[tuple[Row, dict[str, Any]]]:
    with open_table(tables.write_csv(folder / "rows.csv", made), mapping.style) as table:
        return [(row, json.loads(with_id(compose(mapping, row, "CL"), f"x-{row.number}"))) for row in table.rows]


async def messages(found: Iterable[dict[str, Any]]) -> AsyncIterator[Message]:
    for payload in found:
        yield Message(f"{payload['header']['originator']}:{payload['header']['id']}", payload)


def test_every_mapped_column_comes_back(national: TableMapping, tmp_path: Path) -> None:
    """1,000 rows: those in the mapping's own spelling come back letter for letter, the others as rows that say the same."""
    made = [one for one in tables.rows(5, 1_000) if not one.rules]
    canonical = 0
    for (row, payload), one in zip(payloads(national, tmp_path, made), made, strict=True):
        found = extract(national, payload)
        again = compose(national, Row(row.number, found.cells), "CL")

        assert (found.added, again.wrong) == ((), ())
        assert set(found.lost) == HANDLING | {"/header/id"}
        assert again.payload["body"] == payload["body"]
        if one.canonical:
            assert {name: text for name, text in found.cells.items() if text} == {
                n: t for n, t in row.cells.items() if t
            }
            canonical += 1
    assert canonical > 400


async def test_an_exported_table_loads_as_the_same_messages(national: TableMapping, tmp_path: Path) -> None:
    """In CSV with the mapping's delimiter, in a spreadsheet, with its headings in their order, one of them twice."""
    made = [one for one in tables.rows(6, 120) if not one.rules]
    wanted = [payload for _, payload in payloads(national, tmp_path, made)]
    for name in ("out.csv", "out.xlsx"):
        done = Exported()
        await export(national, messages(wanted), tmp_path / name, done)
        with open_table(tmp_path / name, national.style) as table:
            assert list(table.titles.values()) == list(tables.HEADINGS)
            again = [compose(national, row, "CL").payload["body"] for row in table.rows]

        assert again == [payload["body"] for payload in wanted]
        assert (done.rows, done.added) == (len(made), {})


async def test_what_the_table_cannot_carry_is_counted_and_a_lost_marking_always_told(
    national: TableMapping, tmp_path: Path
) -> None:
    """A constant of the mapping that equals the message's marking does not help: the table does not show it."""
    found = [
        payload for _, payload in payloads(national, tmp_path, [one for one in tables.rows(6, 30) if not one.rules])
    ]
    found[0]["header"]["handling"] = {"tlp": "AMBER", "caveats": ["no court"], "release": {"to": [{"member": "PE"}]}}
    found[1]["header"]["grading"] = {"scheme": "admiralty", "source": "B", "information": "2"}
    found[2]["body"]["goods"].append({"side": "found", "description": "A second line"})
    done = Exported()
    await export(national, messages(found), tmp_path / "out.xlsx", done)

    assert done.rows == len(found)
    assert done.markings == {"GREEN": len(found) - 1, "AMBER": 1}
    assert done.lost["/header/handling/tlp"] == len(found)
    assert done.lost["/header/handling/caveats/*"] == done.lost["/header/handling/release/to/*/member"] == 1
    assert done.lost["/header/grading/source"] == done.lost["/body/goods/*/description"] == 1
    with open_table(tmp_path / "out.xlsx", national.style) as table:
        assert all(row.cells["lugar"] and row.cells["fecha"] for row in table.rows)  # what it can carry, it carries


async def test_a_marking_with_a_column_of_its_own_is_not_lost(tmp_path: Path) -> None:
    text = tables.MAPPING.replace("/header/handling/tlp: GREEN", "/header/handling/tlp: {column: Marca TLP}")
    text = text.replace("/header/handling/release/all: true", "/header/handling/release/groups/0: {column: Grupo}")
    mapping = read_mapping(tables.mapping_file(tmp_path, text))
    row = Row(
        2,
        {
            "fecha": "2020",
            "lugar": "Arica",
            "país": "Chile",
            "producto": "Cigarrillos",
            "marca tlp": "AMBER",
            "grupo": "RILO-SA",
        },
    )
    payload = json.loads(with_id(compose(mapping, row, "CL"), "x"))
    done = Exported()
    await export(mapping, messages([payload]), tmp_path / "out.csv", done)

    assert (done.markings, dict(done.lost)) == ({}, {"/header/id": 1})


async def test_a_message_of_another_shape_is_told_in_full(national: TableMapping, tmp_path: Path) -> None:
    """What the row would say beside the message is told, too."""
    payload = {"header": {"id": "1", "kind": "seizure", "version": "1.0", "originator": "PE", "status": "exercise",
                          "event_at": "2020-01-01T00:00:00Z", "handling": {"tlp": "RED", "release": {"to": []}}},
               "body": {"form": "simplified", "heading": "drugs", "place": {"country": "PE"}, "goods": []}}  # fmt: skip
    found = extract(national, payload)

    assert {
        "/header/status",
        "/header/handling/tlp",
        "/header/handling/release/to",
        "/body/form",
        "/body/heading",
    } <= set(found.lost)
    assert {"/body/procedure", "/header/handling/release/all"} <= set(found.added)
    assert found.cells["país"] == "Perú"


def test_an_instant_in_another_offset_is_the_same(national: TableMapping) -> None:
    payload = {"header": {"id": "1", "kind": "seizure", "version": "1.0", "originator": "CL", "status": "actual",
                          "event_at": "2020-06-01T12:30:00Z", "handling": {}}, "body": {"precision": "minute"}}  # fmt: skip
    found = extract(national, payload)

    assert found.cells["fecha"] == "1/6/2020 08:30"
    assert "/header/event_at" not in found.lost


def test_leaves_and_general_places() -> None:
    assert dict(leaves({"a": [{"b": 1}, {}], "c": None})) == {"/a/0/b": 1, "/a/1": {}, "/c": None}
    assert general("/body/goods/12/hs") == "/body/goods/*/hs"


# ── formulas ──


async def test_no_cell_that_is_written_is_a_formula(tmp_path: Path) -> None:
    """In CSV it gets an apostrophe, which a load takes off; in a spreadsheet it is a text cell."""
    mapping = read_mapping(tables.mapping_file(tmp_path, 'name: m\nkind: seizure\nversion: "1.0"\nid: {digest: row}\n'
                                               "message: [{put: {/body/remarks: {column: Note}}}]\n"))  # fmt: skip
    found = [
        {"header": {"id": "1", "originator": "CL", "handling": {"tlp": "CLEAR"}}, "body": {"remarks": text}}
        for text in FORMULAS
    ]
    await export(mapping, messages(found), tmp_path / "out.csv", Exported())
    await export(mapping, messages(found), tmp_path / "out.xlsx", Exported())

    with (tmp_path / "out.csv").open(newline="") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert cells == [guarded(text) for text in FORMULAS]
    assert all(cell.startswith("'") for cell in cells)
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").worksheets[0]
    written = [(cell.data_type, str(cell.value).strip()) for (cell,) in sheet.iter_rows(min_row=2)]
    assert written == [("s", text.replace("\r", " ").strip()) for text in FORMULAS]
    with open_table(tmp_path / "out.csv", mapping.style) as table:
        assert [row.cells["note"] for row in table.rows] == list(FORMULAS)
    assert [guarded(text) for text in ("x=1", "", "1-2", "a, -b")] == ["x=1", "", "1-2", "a, -b"]


def test_no_formula_begins_where_somebody_elses_cell_does() -> None:
    """A table with commas that is opened where semicolons are expected: what stands behind one in our cell is a cell there."""
    assert guarded("x;=1+1") == "x;'=1+1"
    assert guarded("x\n=1,-2\t@a") == "x\n'=1,'-2\t'@a"
    assert guarded('x;"=1+1"') == 'x;\'"=1+1"'


@given(st.text(alphabet="'\"=;,\t\r\na-＝ ", max_size=8))
def test_an_apostrophe_is_taken_off_where_it_was_put(text: str) -> None:
    """And nowhere else: whatever a cell is, a load of what was written reads the same cell."""
    written = guarded(text)

    assert unguarded(written) == text
    assert not re.search("(^|[,;\t\r\n])[=＝-]", written)
    assert written[:1] not in ("\t", "\r")


def test_no_message_of_somebody_elses_stops_an_export(national: TableMapping, tmp_path: Path) -> None:
    """A day before the year 1 in our zone, a number that no cell holds: lost and counted, as anything that has no cell."""
    made = next(one for one in tables.rows(5, 50) if not one.rules and one.canonical and one.cells[6])
    ((_, payload),) = payloads(national, tmp_path, [made])
    payload["header"]["event_at"] = "0001-01-01T00:00:00+00:00"
    payload["body"]["goods"][-1]["second_quantity"]["value"] = "1e99999"
    found = extract(national, payload)

    assert (found.cells["fecha"], found.cells["unidades"]) == ("", "")
    assert {"/header/event_at", "/body/goods/*/second_quantity/value"} < set(found.lost)


async def test_characters_that_the_encoding_lacks_are_counted(tmp_path: Path) -> None:
    mapping = read_mapping(tables.mapping_file(tmp_path, 'name: m\nkind: seizure\nversion: "1.0"\ntable: {encoding: latin-1}\n'
                                               "id: {digest: row}\nmessage: [{put: {/body/remarks: {column: Note}}}]\n"))  # fmt: skip
    done = Exported()
    found = [{"header": {"id": "1", "originator": "CL"}, "body": {"remarks": text}} for text in ("ñandú", "穿山甲")]
    await export(mapping, messages(found), tmp_path / "out.csv", done)

    assert (done.rows, done.unencodable) == (2, 1)
    assert (tmp_path / "out.csv").read_bytes().splitlines() == [b"Note", "ñandú".encode("latin-1"), b"???"]


async def test_a_table_is_written_whole_or_not_at_all(national: TableMapping, tmp_path: Path) -> None:
    """Something breaks after the first row: the file that was there is still there, and nothing else is."""
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "t.csv"
    path.write_text("before")

    async def breaks() -> AsyncIterator[Message]:
        for _, payload in payloads(national, tmp_path, [one for one in tables.rows(6, 5) if not one.rules]):
            yield Message("CL:1", payload)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await export(national, breaks(), path, Exported())
    assert [file.name for file in path.parent.iterdir()] == ["t.csv"]
    assert path.read_text() == "before"
    with pytest.raises(SetupRefused, match=r"written as \.csv or \.xlsx"):
        await export(national, breaks(), tmp_path / "t.ods", Exported())


def test_headings_are_told_apart_by_case_and_spaces_alone() -> None:
    assert label("  C/UC ") == label("c/uc") != label("C/UC", 2)
