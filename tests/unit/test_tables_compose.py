"""A row becomes the same payload each time; what is wrong is told at its cell, and a fault of the hub at its column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.tables import judge
from adapters.tables.compose import Composed, compose, digest, digest_id, is_ignored, with_id
from adapters.tables.mapping import TableMapping
from adapters.tables.read_mapping import read_mapping
from adapters.tables.rows import open_table
from adapters.tables.table import Row
from adapters.tables.tree import columns_of
from broker.clock import now
from tests import tables
from tests.region import LANGUAGE


def mapping_of(folder: Path, put: str, more: str = "", table: str = "{time_zone: UTC}") -> TableMapping:
    text = f'name: m\nkind: seizure\nversion: "1.0"\ntable: {table}\nid: {{digest: row}}\n{more}\nmessage:\n{put}'
    return read_mapping(tables.mapping_file(folder, text, "m.yaml"))


def composed(mapping: TableMapping, /, **cells: str) -> Composed:
    return compose(mapping, Row(2, cells), "CL")


def body(mapping: TableMapping, /, **cells: str) -> dict[str, Any]:
    found: dict[str, Any] = composed(mapping, **cells).payload["body"]
    return found


@pytest.fixture
def national(tmp_path: Path) -> TableMapping:
    return read_mapping(tables.mapping_file(tmp_path))


def test_the_same_row_gives_the_same_octets(national: TableMapping, tmp_path: Path) -> None:
    """Whether it stands in a CSV, a spreadsheet or JSON: that is what makes a second load a repeat."""
    made = [one for one in tables.rows(3, 60) if not one.rules]
    told = []
    for write in (tables.write_csv, tables.write_xlsx, tables.write_json):
        with open_table(write(tmp_path / f"t.{write.__name__[6:]}", made), national.style) as table:
            told.append([with_id(compose(national, row, "CL"), digest(national, row)) for row in table.rows])

    assert len(told[0]) == len(made)
    assert told[0] == told[1] == told[2]


def test_every_row_is_what_its_maker_said(national: TableMapping, tmp_path: Path) -> None:
    """2,000 rows with the defects of real ones: each is valid, or breaks exactly the rule that was meant."""
    made = list(tables.rows(11, 2_000))
    wrong = 0
    with open_table(tables.write_csv(tmp_path / "t.csv", made), national.style) as table:
        for row, one in zip(table.rows, made, strict=True):
            found = compose(national, row, "CL")
            payload = json.loads(with_id(found, "x"))
            rules = {bad.rule for bad in found.wrong} or {
                str(error["rule"]) for error in judge.offline(LANGUAGE, payload, now(), "en")[0]
            }
            assert rules == one.rules, (row.number, one.cells)
            wrong += bool(rules)

    assert 200 < wrong < 400


def test_all_that_is_wrong_with_a_row_is_told(national: TableMapping) -> None:
    row = Row(2, {"fecha": "ayer", "lugar": "Arica", "país": "Varios", "producto": "Cigarrillos", "peso (kg)": "1.5"})
    found = judge.of_row(compose(national, row, "CL"), "es")

    assert {(told.columns, told.found, told.rule) for told in found} == {
        (("fecha",), "ayer", "not-a-date"), (("país",), "Varios", "not-in-table"), (("peso (kg)",), "1.5", "not-a-number"),
    }  # fmt: skip
    assert all(("“" in told.expected and "aquí" in told.expected) or "tabla" in told.expected for told in found)


def test_items_move_up_where_one_is_absent(tmp_path: Path) -> None:
    """The numbers of a mapping name items; they are not indexes."""
    mapping = mapping_of(tmp_path, """\
  - when: {given: D}
    put: {/body/goods/3/side: declared, /body/goods/3/description: {column: D}}
  - put: {/body/goods/7/side: found, /body/goods/7/description: {column: F}}
""")  # fmt: skip

    assert [line["side"] for line in body(mapping, d="eels", f="pangolins")["goods"]] == ["declared", "found"]
    assert [line["side"] for line in body(mapping, d="", f="pangolins")["goods"]] == ["found"]
    found = composed(mapping, d="", f="pangolins")
    assert columns_of("/body/goods/0/description", found.feeds) == (("f",), False)
    assert columns_of("/body/goods/0/side", found.feeds) == ((), True)


def test_each_piece_of_a_cell_is_an_item(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, """\
  - put: {/body/route/0/role: origin, /body/route/0/name: {column: O}}
  - each: {column: V, split: [",", ";"]}
    put:
      /body/route/1/role: via
      /body/route/1/name: {column: item}
      /body/route/1/confirmed: {column: C, values: {y: true}, default: false}
""")  # fmt: skip
    route = body(mapping, o="CN", v="AE, ; BR,CL", c="Y")["route"]

    assert [(leg["role"], leg["name"], leg.get("confirmed")) for leg in route] == [
        ("origin", "CN", None), ("via", "AE", True), ("via", "BR", True), ("via", "CL", True)]  # fmt: skip
    feeds = composed(mapping, o="CN", v="AE,BR").feeds
    assert columns_of("/body/route/2/name", feeds) == (("v",), False)
    assert columns_of("/body/route/2", feeds) == (("v", "c"), False)


def test_the_first_section_that_gives_a_value_counts(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, "  - put: {/body/remarks: {column: A}}\n  - put: {/body/remarks: {column: B}}\n")

    assert body(mapping, a="x", b="y") == {"remarks": "x"}
    assert body(mapping, a="", b="y") == {"remarks": "y"}
    assert columns_of("/body/remarks", composed(mapping, a="", b="y").feeds) == (("b",), False)


@pytest.mark.parametrize(("cell", "policy", "value"), [
    ("By road", "error", "road"), ("nowhere", "skip", None), ("nowhere", "keep", "nowhere"), ("nowhere", "other", "other"),
    ("nowhere", "withheld", "withheld"), ("In luggage", "error", None), ("", "error", None),
])  # fmt: skip
def test_what_a_word_stands_for(cell: str, policy: str, value: str | None, tmp_path: Path) -> None:
    source = f"{{column: M, values: {{In luggage: null}}, codelist: modes, unknown: {policy}}}"
    mapping = mapping_of(tmp_path, f"  - put: {{/body/transport/mode: {source}}}\n")

    assert body(mapping, m=cell) == ({} if value is None else {"transport": {"mode": value}})


def test_what_is_withheld_is_said_to_be(tmp_path: Path) -> None:
    """Where the code list has no such code, the body's `not_given` names the field; and the message is valid."""
    mapping = mapping_of(tmp_path, """\
  - put: {/body/place/country: CL, /body/place/type: {column: T, codelist: place-types, unknown: withheld}}
  - put: {/body/detection/0: {column: D, codelist: detection, unknown: withheld}}
""")  # fmt: skip

    assert body(mapping, t="our secret hangar", d="our source") == {
        "place": {"country": "CL"},
        "not_given": [{"field": "/place/type", "why": "withheld"}, {"field": "/detection", "why": "withheld"}],
    }
    assert body(mapping, t="Airport", d="K9") == {"place": {"country": "CL", "type": "airport"}, "detection": ["dog"]}


def test_an_unknown_word_is_told_with_what_was_probably_meant(tmp_path: Path) -> None:
    mapping = mapping_of(
        tmp_path, "  - put: {/body/place/country: {column: C, values: {China - Hong Kong: HK, Viet Nam: VN}}}\n"
    )
    (told,) = judge.of_row(composed(mapping, c="Hongkong"), "en")

    assert (told.columns, told.rule) == (("c",), "not-in-table")
    assert told.expected == "“Hongkong” is not known here. Known or meant: China - Hong Kong, Viet Nam."


@pytest.mark.parametrize(("when", "cells", "holds"), [
    ("{given: A}", {"a": "x"}, True), ("{given: A}", {"a": " "}, False), ("{given: [A, B]}", {"b": "x"}, True),
    ("{blank: [A, B]}", {"b": "x"}, False), ("{blank: [A, B]}", {}, True), ("{column: A, is: [x, '']}", {}, True),
    ("{column: A, is: X}", {"a": "x"}, True), ("{column: A, not: ['', Y]}", {"a": "y"}, False),
    ("{column: A, matches: '^[0-9]'}", {"a": "12 kg"}, True), ("{column: A, matches: '^[0-9]'}", {"a": "Y"}, False),
    ("[{given: A}, {given: B}]", {"a": "x"}, False), ("{given: A}", {"a": "n/a"}, False),
])  # fmt: skip
def test_when_a_section_holds(when: str, cells: Mapping[str, str], holds: bool, tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, f"  - when: {when}\n    put: {{/body/form: long}}\n", table="{blank: [N/A]}")

    assert ("form" in body(mapping, **cells)) is holds


def test_a_row_that_is_not_taken_and_one_that_is_left_out(tmp_path: Path) -> None:
    more = "require: {column: T, is: Seizure, say: something was seized}\nignore: {column: T, matches: ^TOTAL}"
    mapping = mapping_of(tmp_path, "  - put: {/body/form: long}\n", more)

    (told,) = judge.of_row(composed(mapping, t="Trial"), "en")
    assert (told.rule, told.columns) == ("row-not-taken", ("t",))
    assert told.expected == "Rows are taken only if something was seized; this one has “Trial”."
    assert is_ignored(mapping, Row(9, {"t": "TOTAL 12"}))
    assert not is_ignored(mapping, Row(9, {"t": "Seizure"}))


def test_numbers_factors_and_cuts(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, """\
  - put:
      /body/goods/0/quantity/value: {column: Q, as: decimal, times: "3.785411784"}
      /body/persons/count: {column: N, as: integer}
      /body/remarks: {column: R, cut: 10}
""")  # fmt: skip

    assert body(mapping, q="2", n="3.0", r="0123456789abc") == {
        "goods": [{"quantity": {"value": "7.570824"}}], "persons": {"count": 3}, "remarks": "012345678…"}  # fmt: skip
    assert [bad.rule for bad in composed(mapping, n="3.5").wrong] == ["not-whole"]


def test_controls_and_line_ends_do_not_travel(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, "  - put: {/body/remarks: {column: R}}\n")

    assert body(mapping, r="a\x00b\r\nc\td") == {"remarks": "a b\nc\td"}


# ── ids ──


def test_an_id_of_columns(tmp_path: Path) -> None:
    text = 'name: m\nkind: seizure\nversion: "1.0"\nid: {prefix: ADU-, columns: [No, Year]}\nmessage: [{put: {/body/form: long}}]\n'
    mapping = read_mapping(tables.mapping_file(tmp_path, text, "m.yaml"))

    assert composed(mapping, no="12/ 7", year="2020").payload["header"]["id"] == "ADU-12-7-2020"
    assert [bad.rule for bad in composed(mapping, no="12", year="").wrong] == ["id-needed"]
    assert [bad.rule for bad in composed(mapping, no="x" * 70, year="1").wrong] == ["id-too-long"]


def test_a_digest_is_of_the_cells_and_neither_of_spaces_nor_of_their_order(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, "  - put: {/body/form: long}\n")
    rows = [Row(1, {"a": "x  y", "b": ""}), Row(7, {"a": " x y "}), Row(1, {"b": " ", "a": "x y"})]

    assert len({digest(mapping, row) for row in rows}) == 1
    assert digest(mapping, Row(1, {"a": "x", "b": "y"})) != digest(mapping, Row(1, {"a": "y", "b": "x"}))
    assert [digest_id(mapping, "d", n) for n in (1, 2)] == ["d", "d-2"]


# ── a fault of the hub, at its column ──


def test_a_fault_is_told_at_the_column_that_feeds_its_place(national: TableMapping) -> None:
    row = Row(2, {"fecha": "2020", "lugar": "Arica", "país": "", "producto": "Cigarrillos", "declarado como": "Baldosas",
                  "contenedores": "CSQU3054383, CSQU3054384", "transporte": "Por mar"})  # fmt: skip
    found = compose(national, row, "CL")

    def columns(pointer: str, rule: str = "x", **more: Any) -> tuple[tuple[str, ...], str]:
        (told,) = judge.of_errors(
            [{"pointer": pointer, "rule": rule, "detail": "D.", **more}], found, row, national, "en"
        )
        return told.columns, told.expected

    assert columns("/body/transport/containers/1/value", allowed=["CSQU3054383"]) == (
        ("contenedores",),
        "D. → CSQU3054383",
    )
    assert columns("/body/goods/1/description") == (("producto",), "D.")
    assert columns("/body/goods/0/description") == (("declarado como",), "D.")
    assert columns("/body/goods/1/hs") == (("producto",), "D.")
    assert columns("/body/place/country", "required") == (("país",), "A value is needed here.")
    assert columns("/body/place")[0] == ("lugar", "tipo de lugar")
    assert columns("/body/form") == ((), "/body/form: D. The mapping itself sets it.")
    assert columns("/body/agency", "required") == ((), "/body/agency: D. No column of the mapping gives it.")
    assert columns("/header/handling/release/all") == (
        (),
        "/header/handling/release/all: D. The mapping itself sets it.",
    )
    assert columns("", "conflict") == ((), "D.")


def test_what_a_row_withholds_stays_its_own(tmp_path: Path) -> None:
    """A constant `not_given` of the mapping is there for every row, and none adds to that of the next."""
    mapping = mapping_of(tmp_path, """
  - put:
      /body/not_given: {constant: [{field: /route, why: not-asked}]}
      /body/transport/mode: {column: Mode, values: {Sea: sea}, unknown: withheld}
""")  # fmt: skip
    wanted = [{"field": "/route", "why": "not-asked"}, {"field": "/transport/mode", "why": "withheld"}]

    assert [body(mapping, mode="x")["not_given"] for _ in range(3)] == [wanted] * 3
    assert body(mapping, mode="Sea")["not_given"] == wanted[:1]


def test_no_number_is_too_long_to_be_converted(national: TableMapping) -> None:
    """Thirty digits times twenty: the hub says that it is too large; the rows after it are read."""
    found = composed(national, unidades="9" * 30)

    assert [wrong for wrong in found.wrong if wrong.columns == ("unidades",)] == []
    assert found.payload["body"]["goods"][0]["second_quantity"]["value"] == "1" + "9" * 29 + "80"


def test_a_digest_is_that_of_the_cell_in_an_error_sheet(national: TableMapping) -> None:
    """Which cannot hold control characters: a row that comes back in one must keep its id."""
    assert digest(national, Row(2, {"nota": "a\x00b\x1b"})) == digest(national, Row(2, {"nota": "a b "}))
