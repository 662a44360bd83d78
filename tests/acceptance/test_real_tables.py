"""Two real tables through a real hub: every row is an accepted message or a line of the error sheet, and loading again
changes nothing. The rows stay where they are; only how many were refused, and why, is written down here."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import pytest

from adapters.tables.compose import compose, with_id
from adapters.tables.extract import HANDLING, extract
from adapters.tables.journal import open_journal
from adapters.tables.load import Request, Summary, load
from adapters.tables.posting import Posting
from adapters.tables.read_mapping import read_mapping
from adapters.tables.rows import open_table
from adapters.tables.sources import Left, Message
from adapters.tables.statistics import Statistics, count
from adapters.tables.table import Row
from broker import keyfiles
from broker.client import Client
from broker.demo.engines import Stage, enrol_member, stage
from tests.rasff import DATABASE
from tests.region import payload_of

DATA = DATABASE.parent
MAPPINGS = Path(__file__).parents[2] / "adapters" / "mappings"


@dataclass(frozen=True)
class Expected:
    """`rules`: rule → refused rows, each with its reason. `warnings`: rule → accepted messages that have it."""

    mapping: str
    file: str
    rows: int
    refused: int
    rules: dict[str, int]
    warnings: dict[str, int]
    aggregates: int
    once_more: int
    """Mapped cells that come back in another spelling for the same code."""


COLOMBIA = Expected(
    "colombia-police", "colombia_police_seizures_2018.json", 1_000,
    refused=0, rules={},  # every defect of this table is met by the mapping: text quantities, local time, national words
    warnings={},
    aggregates=0,
    once_more=12,  # TRAMO DE VIA and CARRETERA come back as VIAS PUBLICAS, SECTOR RESIDENCIAS as CASAS DE HABITACION: one code
)  # fmt: skip
PANGOLINS = Expected(
    "eia-pangolins", "eia_pangolin_seizures.xlsx", 1_104,
    refused=46,
    rules={
        # 12 Report, 9 Trial, 8 Arrests, 7 Information, 2 Arrest, Other, Poaching, Information/Trial: nothing was seized
        "row-not-taken": 41,
        # five countries "Various", three of them in rows that are no seizures either; "Dubai" where C or UC should stand
        "not-in-table": 6,
        # "60 -120" whole animals: a range is no number
        "not-a-number": 1,
        # "SPLIT 2014-2015" in the column of the day
        "not-a-date": 1,
    },
    # row 949 has two species in its cell, and animals alive and dead: neither one taxon nor one kind of specimen
    warnings={"block-missing": 1},
    aggregates=20,  # 9 with a range of years in the column of the year, 11 whose name speaks of seizures, YTD or various
    once_more=0,
)  # fmt: skip


@pytest.fixture(scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("tables") / "stage", wire=False) as here:
        await enrol_member(here, "PONAL", "partner", "Policía Nacional")
        await enrol_member(here, "EIA", "partner", "Environmental Investigation Agency")
        yield here


async def loaded(hub: Stage, member: str, expected: Expected, folder: Path) -> Summary:
    summary = Summary()
    request = Request(read_mapping(MAPPINGS / f"{expected.mapping}.yaml"), folder / expected.file, member)
    async with Client(hub.url, member, keyfiles.load(hub.keys / f"{member}.pem")) as client:
        await load(request, Posting(client), summary)
    return summary


@pytest.mark.parametrize(
    ("member", "expected"), [("PONAL", COLOMBIA), ("EIA", PANGOLINS)], ids=["colombia", "pangolins"]
)
async def test_every_row_is_an_accepted_message_or_a_line_of_the_error_sheet(
    hub: Stage, member: str, expected: Expected, tmp_path: Path
) -> None:
    if not (DATA / expected.file).exists():
        pytest.skip(f"test data is left out: no {expected.file} (TIDEWAITER_TESTDATA)")
    shutil.copy(DATA / expected.file, tmp_path)
    first = await loaded(hub, member, expected, tmp_path)
    print(f"{expected.file}: {first}")

    assert first.rows == expected.rows == first.accepted + first.refused
    assert (first.refused, first.repeated, first.ignored) == (expected.refused, 0, 0)
    assert dict(first.rules) == expected.rules
    assert dict(first.warnings) == expected.warnings
    lines = 0
    if first.errors is not None:
        sheet = openpyxl.load_workbook(first.errors).worksheets[0]
        lines = sum(1 for _ in sheet.iter_rows(min_row=2))
    assert lines == expected.refused

    assert first.journal is not None
    messages = kept(first.journal, hub.url)
    assert len(messages) == first.accepted
    second = await loaded(hub, member, expected, tmp_path)
    assert (second.accepted, second.repeated, second.refused) == (0, first.accepted, first.refused)
    first.journal.unlink()  # without its memory, too: the hub knows
    third = await loaded(hub, member, expected, tmp_path)
    assert (third.accepted, third.repeated, third.refused) == (0, first.accepted, first.refused)
    assert kept(first.journal, hub.url) == messages

    found, left = Statistics(), Left()
    await count(read(messages), found, left)
    assert (found.total_events + found.total_aggregates, found.total_aggregates) == (
        first.accepted,
        expected.aggregates,
    )


def kept(journal: Path, hub: str) -> list[str]:
    with open_journal(journal) as opened:
        return [compact for _, compact, _ in opened.receipts(hub)]


async def read(messages: list[str]) -> AsyncIterator[Message]:
    for compact in messages:
        payload = payload_of(compact)
        yield Message(f"{payload['header']['originator']}:{payload['header']['id']}", payload)


@pytest.mark.parametrize("expected", [COLOMBIA, PANGOLINS], ids=["colombia", "pangolins"])
def test_a_row_that_goes_out_and_in_again_says_the_same(expected: Expected) -> None:
    """Row → payload → row → payload: what the second payload lacks was told as lost, and a third way round loses no more."""
    if not (DATA / expected.file).exists():
        pytest.skip(f"test data is left out: no {expected.file} (TIDEWAITER_TESTDATA)")
    mapping = read_mapping(MAPPINGS / f"{expected.mapping}.yaml")
    spelled = 0
    with open_table(DATA / expected.file, mapping.style) as table:
        for row in table.rows:
            composed = compose(mapping, row, "XX")
            if composed.wrong:
                continue
            payload = {**composed.payload, "header": {"id": "x", **composed.payload["header"]}}
            out = extract(mapping, payload)
            again = compose(mapping, Row(row.number, out.cells), "XX")
            twice = extract(mapping, {**again.payload, "header": {"id": "x", **again.payload["header"]}})

            assert out.added == ()
            assert all(place.startswith((HANDLING, "/header/id", "/body/goods")) for place in out.lost), out.lost
            assert {place for place in out.lost if place.startswith(HANDLING)}, "a lost marking is always told"
            assert all(place.startswith((HANDLING, "/header/id")) for place in twice.lost), twice.lost
            assert with_id(compose(mapping, Row(row.number, twice.cells), "XX"), "x") == with_id(again, "x")
            spelled += sum(1 for name, text in out.cells.items() if text and text != row.cells.get(name, "").strip())
    if expected.once_more:
        assert spelled == expected.once_more
