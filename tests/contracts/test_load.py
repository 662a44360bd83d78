"""Tables through a real hub: every row is a message or a line of the error sheet, whatever is killed or lost meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from sqlalchemy import text as sql

from broker import jws, keyfiles
from broker.client import Client
from broker.clock import now, text
from broker.demo.engines import Stage, enrol_member, stage
from broker.offline import verify_receipt
from tests import tables
from tests.faults import process, proxy

pytestmark = pytest.mark.long

COMMAND = (sys.executable, "-m", "broker.cli")
ROWS = 240
SEED = 20


@dataclass
class Office:
    """A hub with the members CL and PE, and a folder in which CL loads its tables."""

    here: Stage
    folder: Path

    async def run(self, *arguments: str, code: int = 0, member: str = "CL", url: str = "", language: str = "en") -> Any:
        """The JSON that the command answered; it must end with `code`."""
        environment = {
            "TIDEWAITER_URL": url or self.here.url, "TIDEWAITER_MEMBER": member, "PATH": "/usr/bin:/bin",
            "TIDEWAITER_KEY": str(self.here.keys / f"{member}.pem"), "TIDEWAITER_LANGUAGE": language,
            "PYTHONPATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8",
        }  # fmt: skip
        child = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, "--json", env=environment, cwd=self.folder, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(child.communicate(), 120)
        assert child.returncode == code, f"{arguments}: {child.returncode}\n{out.decode()}\n{err.decode()}"
        return json.loads(out or err.splitlines()[-1])

    async def load(self, name: str = "t.csv", *more: str, mapping: str = "nacional.yaml", **how: Any) -> Any:
        return await self.run("load", name, "--mapping", mapping, *more, **how)

    async def ids(self) -> set[str]:
        """Every id of CL at the hub."""
        async with self.here.ledger.reading() as c:
            return set((await c.execute(sql("SELECT id FROM messages WHERE originator = 'CL'"))).scalars())

    async def count(self) -> int:
        async with self.here.ledger.reading() as c:
            return int((await c.execute(sql("SELECT count(*) FROM messages WHERE originator = 'CL'"))).scalar_one())

    def journal(self, name: str = "t.csv", mapping: str = "nacional") -> list[tuple[str, str, str]]:
        """(address, message, receipt) as the journal has them."""
        db = sqlite3.connect(self.folder / f"{name}.{mapping}.journal")
        try:
            return db.execute("SELECT address, compact, receipt FROM messages WHERE receipt IS NOT NULL").fetchall()
        finally:
            db.close()


@pytest.fixture(scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("hub") / "stage", wire=False) as here:
        for id in ("CL", "PE"):
            await enrol_member(here, id, "customs", f"Customs of {id}")
        yield here


@pytest.fixture
def office(hub: Stage, tmp_path: Path) -> Office:
    tables.mapping_file(tmp_path)
    return Office(hub, tmp_path)


_seed = iter(range(1_000, 2_000))


def fresh(count: int = ROWS, *, bad: bool = True) -> list[tables.Made]:
    """Rows that no other test has: their ids are made of their cells."""
    return list(tables.rows(next(_seed), count, bad=bad))


def good(made: list[tables.Made]) -> int:
    return sum(1 for one in made if not one.rules)


async def test_every_row_is_a_message_or_a_line_of_the_error_sheet(office: Office) -> None:
    """And loading again changes nothing: all that is there is there already, all that was refused is refused."""
    made = fresh()
    tables.write_csv(office.folder / "t.csv", made)
    before = await office.ids()
    dry = await office.load("t.csv", "--dry-run", code=1)
    assert await office.ids() == before
    first = await office.load(code=1)
    after = await office.ids()
    second = await office.load(code=1)

    assert (first["rows"], first["accepted"], first["refused"]) == (len(made), good(made), len(made) - good(made))
    assert len(after - before) == good(made)
    assert (second["accepted"], second["repeated"], second["refused"]) == (0, good(made), len(made) - good(made))
    assert await office.ids() == after
    assert first["rules"] == second["rules"] == dry["rules"] == Counter(rule for one in made for rule in one.rules)
    sheet = openpyxl.load_workbook(office.folder / first["errors"]).worksheets[0]
    assert [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)] == [
        n for n, one in enumerate(made, 2) if one.rules
    ]


async def test_the_error_sheet_is_corrected_and_loaded(office: Office) -> None:
    """What the hub says stands at the column that feeds the place, in Spanish; each correction becomes one message."""
    cells = list(next(one.cells for one in fresh(50) if not one.rules and one.canonical))
    cells[8], cells[9] = "Por mar", "CSQU3054384, MSKU9070323"
    late = [*cells[:9], "", *cells[10:15], "late"]
    late[0] = "1/1/2099"
    tables.write_csv(office.folder / "t.csv", [tables.Made(tuple(cells)), tables.Made(tuple(late))])
    first = await office.load(code=1, language="es")
    assert first["rules"] == {"check-digit": 1, "event-in-future": 1}
    book = openpyxl.load_workbook(office.folder / first["errors"])
    sheet = book.worksheets[0]
    said = [[cell.value for cell in row[:4]] for row in sheet.iter_rows(min_row=2)]
    assert said[0][:3] == [2, "Contenedores", "CSQU3054384, MSKU9070323"]
    assert "CSQU3054383" in said[0][3]  # the fix
    assert "dígito" in said[0][3]
    assert said[1][:3] == [3, "Fecha", "1/1/2099"]

    sheet.cell(2, 4 + 10).value = "CSQU3054383, MSKU9070323"
    sheet.cell(3, 4 + 1).value = "1/1/2019"
    book.save(office.folder / first["errors"])
    corrected = await office.load(first["errors"])
    again = await office.load(first["errors"])
    assert (corrected["accepted"], corrected["refused"], again["accepted"], again["repeated"]) == (2, 0, 0, 2)


async def test_a_lost_journal_costs_time_and_nothing_else(office: Office) -> None:
    """The hub answers with the first receipts; the octets that they are about are fetched, so that evidence is whole."""
    made = fresh(60, bad=False)
    tables.write_csv(office.folder / "t.csv", made)
    await office.load()
    kept = office.journal()
    (office.folder / "t.csv.nacional.journal").unlink()
    again = await office.load()

    assert (again["accepted"], again["repeated"], again["refused"]) == (0, len(made), 0)
    assert office.journal() == kept


async def test_receipts_and_messages_are_written_as_evidence(office: Office) -> None:
    made = fresh(5, bad=False)
    tables.write_csv(office.folder / "t.csv", made)
    await office.load("t.csv", "--receipts", "kept")
    async with Client(office.here.url, "CL", keyfiles.load(office.here.keys / "CL.pem")) as client:
        keys = await client.keys()
    receipts = sorted((office.folder / "kept").glob("*.receipt.jws"))

    assert len(receipts) == len(made)
    for receipt in receipts:
        message = receipt.with_name(receipt.name.replace(".receipt.jws", ".jws"))
        assert all(
            check.holds for check in verify_receipt(receipt.read_text().strip(), message.read_text().strip(), keys)
        )


async def test_a_load_that_is_killed_is_gone_on_with(office: Office) -> None:
    """kill -9 in the middle, again and again: in the end every good row is at the hub once, with its receipt kept, and the
    error sheet is the one of an undisturbed load."""
    made = fresh(700)
    tables.write_csv(office.folder / "t.csv", made)
    before = await office.ids()
    environment = {
        "TIDEWAITER_URL": office.here.url, "TIDEWAITER_MEMBER": "CL", "TIDEWAITER_KEY": str(office.here.keys / "CL.pem"),
    }  # fmt: skip
    load = (*COMMAND, "load", str(office.folder / "t.csv"), "--mapping", str(office.folder / "nacional.yaml"))
    seen = [len(before)]
    for _ in range(3):
        async with process(*load, output=office.folder / "load.log", env=environment) as child, asyncio.timeout(60):
            while await office.count() <= seen[-1] and child.running:
                await asyncio.sleep(0.002)
            child.kill9()
        seen.append(await office.count())
        if seen[-1] - len(before) == good(made):
            break
    assert len(before) < seen[1] < len(before) + good(made), "it was not killed in the middle"
    assert not list(office.folder.glob("*.errors.xlsx")) or seen[-1] - len(before) == good(made)
    last = await office.load(code=1)

    assert last["accepted"] + last["repeated"] == good(made)
    assert len(await office.ids() - before) == good(made)
    assert len(office.journal()) == good(made)
    for _, message, receipt in office.journal():
        claims = json.loads(jws.unb64(receipt.split(".")[1]))
        assert claims["digest"] == jws.digest(message)
    undisturbed = office.folder / "beside"
    undisturbed.mkdir()
    shutil.copy(office.folder / "t.csv", undisturbed / "t.csv")
    beside = await office.load("beside/t.csv", code=1)
    assert beside["repeated"] == good(made)
    sheets = [list(openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)) for path in
              (office.folder / "t.errors.xlsx", undisturbed / "t.errors.xlsx")]  # fmt: skip
    assert sheets[0] == sheets[1]


async def test_octets_whose_answer_never_came_are_posted_again_as_they_are(office: Office) -> None:
    """The hub accepts and the answer is lost; the load is killed. The next one posts the very same octets."""
    made = fresh(40, bad=False)
    tables.write_csv(office.folder / "t.csv", made)
    before = await office.ids()
    async with proxy("127.0.0.1", int(office.here.url.rpartition(":")[2])) as door:
        url = f"http://127.0.0.1:{door.port}"
        environment = {
            "TIDEWAITER_URL": url,
            "TIDEWAITER_MEMBER": "CL",
            "TIDEWAITER_KEY": str(office.here.keys / "CL.pem"),
        }
        load = (*COMMAND, "load", str(office.folder / "t.csv"), "--mapping", str(office.folder / "nacional.yaml"))
        door.delay_seconds = 1.0
        async with process(*load, output=office.folder / "load.log", env=environment) as child, asyncio.timeout(60):
            while len(await office.ids() - before) < len(made):
                await asyncio.sleep(0.005)
            child.kill9()  # what it asked is done, and the answer waits in the proxy
        door.delay_seconds = 0
        assert office.journal() == []
        again = await office.load(url=url)

    assert (again["accepted"], again["repeated"]) == (0, len(made))
    assert all(json.loads(jws.unb64(r.split(".")[1]))["digest"] == jws.digest(m) for _, m, r in office.journal())
    assert len(await office.ids() - before) == len(made)


async def test_a_hub_that_is_away_says_nothing_about_any_row(office: Office) -> None:
    tables.write_csv(office.folder / "t.csv", fresh(5, bad=False))
    said = await office.load(url="http://127.0.0.1:9", code=3)

    assert (said["rows"], said["accepted"], said["refused"]) == (5, 0, 0)
    assert not (office.folder / "t.errors.xlsx").exists()


async def test_a_key_that_may_not_sign_stops_the_load_and_blames_no_row(office: Office) -> None:
    tables.write_csv(office.folder / "t.csv", fresh(5, bad=False))
    keyfiles.save(office.folder / "other.pem", keyfiles.generate(), None)
    said = await office.load("t.csv", "--key", str(office.folder / "other.pem"), code=1)

    assert (said["rows"], said["refused"], said["errors"]) == (5, 0, None)


async def test_a_row_that_was_changed_is_a_conflict_at_its_id(office: Office) -> None:
    """Under an id of columns a changed row never becomes another event, nor a silent correction."""
    text = tables.MAPPING.replace("id: {prefix: NAC-, digest: row}", "id: {prefix: EXP-, columns: [nota]}")
    tables.mapping_file(office.folder, text)
    one = next(made for made in fresh(50) if not made.rules and made.canonical)
    tables.write_csv(office.folder / "t.csv", [one])
    await office.load()
    changed = list(one.cells)
    changed[5] = "7,5"
    tables.write_csv(office.folder / "t.csv", [tables.Made(tuple(changed))])
    said = await office.load(code=1)
    assert (said["refused"], said["rules"]) == (1, {"conflict": 1})


async def test_a_mapping_or_a_table_that_cannot_be_used_posts_nothing(office: Office) -> None:
    tables.write_csv(
        office.folder / "t.csv", fresh(5, bad=False), tuple(h.replace("País", "Pais") for h in tables.HEADINGS)
    )
    before = await office.ids()
    said = await office.load(code=2)
    assert re.match(
        r"nacional.yaml, line [0-9]+: t.csv has no column “pais”. It has: Fecha, Lugar, Pais", said["error"]["detail"]
    )
    assert "There is no file" in (await office.load("absent.csv", code=2))["error"]["detail"]
    tables.mapping_file(office.folder, tables.MAPPING.replace("kind:", "kin:"))
    assert "“kin” is no key" in (await office.load(code=2))["error"]["detail"]
    assert await office.ids() == before


async def test_the_other_way_from_the_hub(office: Office) -> None:
    """What PE may see becomes a table, counts, and a watch list; a withdrawn message is in none of them."""
    made, since = fresh(30, bad=False), ("--since", text(now()))
    tables.write_csv(office.folder / "t.csv", made)
    assert (await office.load())["accepted"] == len(made)
    exported = await office.run("export", "--mapping", "nacional.yaml", "--to", "out.xlsx", *since, member="PE")
    counted = await office.run("statistics", "--to", "s.csv", "--to", "s.xlsx", *since, member="PE")
    watched = await office.run("watchlist", "--to", "w.csv", member="PE")
    refused = await office.run(
        "watchlist", "--to", "w.csv", "--include", "exercise", member="PE", code=1, language="es"
    )

    assert (exported["rows"], exported["marking_not_in_table"]) == (len(made), {"GREEN": len(made)})
    assert counted["events"] + counted["aggregate_records"] == len(made)
    assert (watched["alerts"], watched["rows"]) == (0, 0)
    assert refused["error"]["detail"].startswith("Un ejercicio nunca llega a una lista de vigilancia")
    async with Client(office.here.url, "CL", keyfiles.load(office.here.keys / "CL.pem")) as client:
        listed = [message async for message in client.messages("sent", since=since[1])]
        await client.post(_withdrawal(client, listed[0]["address"]))
    after = await office.run("export", "--mapping", "nacional.yaml", "--to", "out.csv", *since, member="PE")
    assert (after["rows"], after["left_out"]) == (len(made) - 1, {"withdrawn": 1})


def _withdrawal(client: Client, of: str) -> str:
    from broker.client import sign

    header = {"id": "W-1", "kind": "seizure", "version": "1.0", "originator": "CL", "status": "actual", "withdraws": of,
              "event_at": "2026-01-01T00:00:00Z", "handling": {"tlp": "GREEN", "release": None}}  # fmt: skip
    return sign(
        {"header": header, "body": {"reason_code": "mistaken", "text": "Entered twice"}}, client.door.signing_key
    )
