"""How complete and how timely a member's reports are: for the member and its office, and for nobody else."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker import administer
from broker.cli import main
from broker.clock import text
from broker.commands.registry import snapshot
from broker.errors import NotFound, RegistryRefused
from broker.language.outline import completeness
from tests.region import SEIZURE, Region, to

LEAST: dict[str, Any] = SEIZURE
FULLER: dict[str, Any] = SEIZURE | {
    "procedure": "import", "transport": {"mode": "sea"}, "concealment": ["in-cargo"], "detection": ["scanner"],
    "route": [{"country": "CN", "confirmed": True}],
}  # fmt: skip


async def region_with_offices(here: Region) -> Region:
    """Chile and Peru report through the office of the south, Mexico through that of the centre, Argentina through none."""
    await here.enrol("CL", "PE", "MX", "AR")
    await here.enrol("RILO-SA", "RILO-CA", type="rilo")
    for member, office in (("CL", "RILO-SA"), ("PE", "RILO-SA"), ("MX", "RILO-CA")):
        await administer.set_office(here.hub.ledger, member, office, here.clock())
    return here


async def report(here: Region, originator: str, id: str, body: dict[str, Any], at: datetime, **changes: Any) -> str:
    body = body | {"place": {"country": originator}}
    return await here.send(originator, id, to("RILO-SA"), kind="seizure", body=body, event_at=text(at), **changes)


async def asked(here: Region, reader: str, query: str = "") -> dict[str, Any]:
    answer = await here.call(reader, "GET", f"/v1/quality{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def score(here: Region, body: dict[str, Any]) -> int:
    found = completeness(here.hub.language.kinds["seizure", "1.0"].outline, body)
    assert found is not None
    return found.score


# --- who may know ------------------------------------------------------------------------------------------------


async def test_a_member_and_its_office_know_the_same(here: Region) -> None:
    """One row for one heading and month, the same for both."""
    await region_with_offices(here)
    await report(here, "CL", "s-1", LEAST, here.clock() - timedelta(hours=12))
    own = await asked(here, "CL")

    assert own["member"] == "CL"
    assert len(own["rows"]) == 1
    assert (await asked(here, "RILO-SA", "?member=CL"))["rows"] == own["rows"]
    assert (await asked(here, "CL", "?member=CL"))["rows"] == own["rows"]


@pytest.mark.parametrize("reader", ["PE", "AR", "RILO-CA", "CL"])
async def test_for_anybody_else_there_is_no_such_member(here: Region, reader: str) -> None:
    """A neighbour, a stranger, another office; and a member about its office: as if nobody of that name were there."""
    await region_with_offices(here)
    about = "CL" if reader != "CL" else "RILO-SA"
    await report(here, "CL", "s-1", LEAST, here.clock() - timedelta(hours=12))

    refused = await here.call(reader, "GET", f"/v1/quality?member={about}")
    unknown = await here.call(reader, "GET", "/v1/quality?member=ZZ")
    assert refused.status_code == unknown.status_code == 404
    one, other = ({k: v for k, v in a.json().items() if k != "request_id"} for a in (refused, unknown))
    assert str(one).replace(about, "ZZ") == str(other)


async def test_an_office_that_changes_knows_from_then_on_and_the_old_one_no_more(here: Region) -> None:
    """And a member that reports through none is known to itself."""
    await region_with_offices(here)
    await report(here, "CL", "s-1", LEAST, here.clock() - timedelta(hours=12))
    await administer.set_office(here.hub.ledger, "CL", "RILO-CA", here.clock())

    assert len((await asked(here, "RILO-CA", "?member=CL"))["rows"]) == 1
    assert (await here.call("RILO-SA", "GET", "/v1/quality?member=CL")).status_code == 404
    await administer.set_office(here.hub.ledger, "CL", None, here.clock())
    assert (await here.call("RILO-CA", "GET", "/v1/quality?member=CL")).status_code == 404
    assert len((await asked(here, "CL"))["rows"]) == 1


async def test_a_message_tells_its_completeness_to_its_originator_and_its_office_alone(here: Region) -> None:
    """Other recipients get the message, and no mark beside it."""
    await region_with_offices(here)
    body = LEAST | {"place": {"country": "CL"}}
    address = await here.send("CL", "s-1", to("RILO-SA", "RILO-CA", "PE"), kind="seizure", body=body)
    alert = await here.send("CL", "a-1", to("RILO-SA"))

    async def said(reader: str, about: str) -> dict[str, Any]:
        found: dict[str, Any] = (await here.call(reader, "GET", f"/v1/messages/{about}")).json()
        return found

    for reader in ("CL", "RILO-SA"):
        assert (await said(reader, address))["completeness"] == score(here, body)
        assert "completeness" not in await said(reader, alert)
    for reader in ("RILO-CA", "PE"):
        assert "completeness" not in await said(reader, address)
    listed = (await here.call("PE", "GET", "/v1/messages")).json()["messages"]
    assert not [one for one in listed if "completeness" in one]


# --- what is counted ---------------------------------------------------------------------------------------------


async def test_reports_are_counted_by_heading_and_by_the_month_of_the_event(here: Region) -> None:
    """Means of completeness and of days to report; how many came within three days, when the route can still be acted
    on. The month is UTC's."""
    await region_with_offices(here)
    now = here.clock()
    this = now.replace(day=15, hour=12) if now.day > 15 else (now.replace(day=1) - timedelta(days=1)).replace(day=15)
    month, before = f"{this:%Y-%m}", f"{this.replace(day=1) - timedelta(days=1):%Y-%m}"
    last = this.replace(day=1, hour=0, minute=30, second=0)  # still the month before, three hours west
    wine = LEAST | {"heading": "alcohol", "goods": [{"side": "found", "quantity": {"value": "9", "unit": "LTR"}}]}
    await report(here, "CL", "s-1", LEAST, this)
    await report(here, "CL", "s-2", FULLER, this)
    await report(here, "CL", "s-3", LEAST, last - timedelta(hours=1))
    await report(here, "CL", "s-4", LEAST, last)
    await report(here, "CL", "s-5", wine, now - timedelta(hours=1))
    await report(here, "PE", "s-1", LEAST, this)
    rows = {(row["heading"], row["month"]): row for row in (await asked(here, "RILO-SA", "?member=CL"))["rows"]}

    assert list(rows) == sorted(
        [("alcohol", f"{now - timedelta(hours=1):%Y-%m}"), ("tobacco", before), ("tobacco", month)]
    )
    tobacco = rows["tobacco", month]
    days = [(now - at).total_seconds() / 86_400 for at in (this, this, last)]
    assert tobacco["reports"] == 3
    assert tobacco["completeness"] == round((2 * score(here, LEAST) + score(here, FULLER)) / 3)
    assert tobacco["days_to_report"] == pytest.approx(sum(days) / 3, abs=0.11)
    assert tobacco["within_three_days"] == sum(day <= 3 for day in days)
    assert rows["alcohol", f"{now - timedelta(hours=1):%Y-%m}"]["within_three_days"] == 1
    assert rows["tobacco", before]["reports"] == 1


async def test_an_amendment_counts_once_and_as_it_now_is(here: Region) -> None:
    """Who completes a report is not counted twice for it, nor by what it said first."""
    await region_with_offices(here)
    at = here.clock() - timedelta(hours=12)
    await report(here, "CL", "s-1", LEAST, at)
    here.clock.advance(days=5)
    await report(here, "CL", "s-2", FULLER, at, supersedes="CL:s-1")
    (row,) = (await asked(here, "CL"))["rows"]

    assert (row["reports"], row["completeness"]) == (1, score(here, FULLER))


async def test_exercises_tests_withdrawals_and_what_is_no_report_count_for_nothing(here: Region) -> None:
    """An exercise must not improve the month, nor a mistake spoil it."""
    await region_with_offices(here)
    at = here.clock() - timedelta(hours=12)
    for status in ("exercise", "test"):
        await report(here, "CL", status, FULLER, at, status=status)
    mistake = await report(here, "CL", "mistake", LEAST, at)
    await here.send("CL", "a-1", to("RILO-SA"))
    assert [row["reports"] for row in (await asked(here, "CL"))["rows"]] == [1]

    answer = await here.post(here.sign(here.withdrawal(mistake, kind="seizure")))
    assert answer.status_code == 201, answer.text
    assert (await asked(here, "CL"))["rows"] == []


async def test_only_what_was_accepted_since_then_is_counted(here: Region) -> None:
    """By the hub's clock; without `since`, two years."""
    await region_with_offices(here)
    await report(here, "CL", "s-1", LEAST, here.clock() - timedelta(hours=12))
    here.clock.advance(minutes=2)
    since = text(here.clock())
    await report(here, "CL", "s-2", FULLER, here.clock() - timedelta(hours=12))

    def reports(found: dict[str, Any]) -> int:
        return sum(row["reports"] for row in found["rows"])

    found = await asked(here, "CL", f"?since={since.replace('+', '%2B')}")
    assert (reports(found), found["since"]) == (1, since)
    assert reports(await asked(here, "CL")) == 2
    assert (await here.call("CL", "GET", "/v1/quality?since=2026-11-20T12:00:00")).status_code == 422
    here.clock.advance(days=731)
    here._tokens.clear()
    assert reports(await asked(here, "CL")) == 0


async def test_late_entry_is_counted_as_late(here: Region) -> None:
    """Three days to the hour are within three days; the time is that of the event, whatever its offset."""
    await region_with_offices(here)
    now = here.clock()
    for number, hours in enumerate((1, 71.9, 72.2, 240)):
        await report(here, "CL", f"s-{number}", LEAST, now - timedelta(hours=hours))
    rows = (await asked(here, "CL"))["rows"]

    assert sum(row["within_three_days"] for row in rows) == 2
    mean = sum(row["days_to_report"] * row["reports"] for row in rows) / 4
    assert mean == pytest.approx((1 + 71.9 + 72.2 + 240) / 24 / 4, abs=0.1)


# --- who says which office ---------------------------------------------------------------------------------------


async def test_an_office_is_a_member_of_that_type(here: Region) -> None:
    """Nobody else can be made the judge of a country's reports; nor is there an office for nobody."""
    await region_with_offices(here)

    with pytest.raises(RegistryRefused, match="not-an-office"):
        await administer.set_office(here.hub.ledger, "CL", "PE", here.clock())
    for member, office in (("CL", "ZZ"), ("ZZ", "RILO-SA")):
        with pytest.raises(NotFound):
            await administer.set_office(here.hub.ledger, member, office, here.clock())
    assert (await here.call("RILO-SA", "GET", "/v1/quality?member=CL")).status_code == 200


def test_an_operator_says_which_office_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tidewaiter member office CL RILO-SA`; without an office, none; with a wrong one, a sentence and no change."""
    for name, value in (("HOME", str(tmp_path)), ("LEDGER_URL", None), ("LEDGER", None)):
        monkeypatch.delenv(f"TIDEWAITER_{name}", raising=False)
        if value:
            monkeypatch.setenv(f"TIDEWAITER_{name}", value)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    assert run("init")[0] == 0
    for member, kind in (("CL", "customs"), ("PE", "customs"), ("RILO-SA", "rilo")):
        assert run("member", "add", member, "--type", kind, "--name", member)[0] == 0

    assert run("member", "office", "CL", "RILO-SA") == (0, "CL reports through RILO-SA.\n", "")
    assert json.loads(run("member", "office", "PE", "RILO-SA", "--json")[1]) == {"id": "PE", "office": "RILO-SA"}
    assert run("member", "office", "PE") == (0, "PE reports through no office.\n", "")
    code, out, err = run("member", "office", "CL", "PE")
    assert (code != 0, out) == (True, "")
    assert "PE" in err
    assert snapshot().members["CL"].rilo == "RILO-SA"
    assert snapshot().members["PE"].rilo is None
