"""Statistics count an event once, a watch list names what is in force today, and both say what they left out."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from adapters.tables import statistics, watchlist
from adapters.tables.sources import Left, Message, from_files
from broker import client
from broker.commands.watching import keep
from broker.errors import SetupRefused
from tests.region import new_key

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def message(id: str, kind: str = "seizure", originator: str = "CL", /, **more: Any) -> dict[str, Any]:
    """`more`: members of the header, `body` aside."""
    body = (
        {"heading": "tobacco", "place": {"country": "CL"}}
        if kind == "seizure"
        else {"subject": "s", "headings": ["tobacco"]}
    )
    body |= more.pop("body", {})
    header = {"id": id, "kind": kind, "version": "1.0", "originator": originator, "status": "actual",
              "event_at": "2026-03-31T22:00:00-03:00", "handling": {"tlp": "GREEN", "release": {"all": True}}}  # fmt: skip
    return {"header": header | more, "body": body}


def folder(at: Path, *payloads: dict[str, Any]) -> Path:
    """Some as a signed message, some as `watch` keeps them (signed and plain), some as a payload alone."""
    key = new_key()
    at.mkdir(exist_ok=True)
    for n, payload in enumerate(payloads):
        if n % 3 == 2:
            (at / f"{n}.json").write_text(json.dumps(payload))
        elif n % 3 == 1:
            keep(at, client.sign(payload, key), payload, "en")
        else:
            (at / f"{n}.jws").write_text(client.sign(payload, key))
    return at


async def read(*paths: Path, kind: str = "seizure") -> tuple[list[Message], Left]:
    left = Left()
    return [found async for found in from_files(paths, kind, left)], left


async def some(*payloads: dict[str, Any]) -> AsyncIterator[Message]:
    for payload in payloads:
        yield Message(f"{payload['header']['originator']}:{payload['header']['id']}", payload)


# ── which messages ──


async def test_a_chain_counts_once_with_its_latest_version(tmp_path: Path) -> None:
    """Superseded twice, withdrawn, withdrawn after an amendment, superseded by what was not released to us."""
    notice = message("n", "notice", "hub", body={"event": "superseded-not-released", "about": "PE:z", "text": "t"})
    found, left = await read(folder(
        tmp_path / "in", message("a1"), message("a2", supersedes="CL:a1"), message("a3", supersedes="CL:a2"), message("b1"),
        message("b2", withdraws="CL:b1"), message("c1"), message("c2", supersedes="CL:c1"), message("c3", withdraws="CL:c2"),
        message("z", "seizure", "PE"), notice, message("only"),
    ))  # fmt: skip

    assert sorted(one.address for one in found) == ["CL:a3", "CL:only"]
    assert left.reasons == {"superseded": 4, "withdrawn": 2}


async def test_nobody_ends_the_message_of_another(tmp_path: Path) -> None:
    found, left = await read(folder(tmp_path / "in", message("a"), message("b", "seizure", "PE", withdraws="CL:a")))

    assert ([one.address for one in found], left.reasons) == (["CL:a"], {})


async def test_files_that_are_no_messages_are_named(tmp_path: Path) -> None:
    """Receipts and other kinds are passed over; what cannot be read is told; a message that is there twice counts once."""
    path = folder(tmp_path / "in", message("a"), message("b"), message("c", "alert"))
    (path / "CL_a.receipt.jws").write_text("x.y.z")
    (path / "bad.json").write_text('{"header": {"id": 1, "id": 2}}')
    (path / "worse.jws").write_text("nonsense")
    (path / "again.json").write_text(json.dumps(message("b")))
    found, left = await read(path, path / "again.json")

    assert sorted(one.address for one in found) == ["CL:a", "CL:b"]
    assert left.reasons == {"unreadable": 2}
    assert sorted(Path(name.partition(":")[0]).name for name in left.unreadable) == ["bad.json", "worse.jws"]
    with pytest.raises(SetupRefused, match="There is no file or folder"):
        await read(tmp_path / "absent")


# ── statistics ──


async def counted(
    *payloads: dict[str, Any], by: str = "heading"
) -> tuple[dict[tuple[str, ...], tuple[int, int]], Left]:
    breakdown = statistics.read_breakdown(by)
    found, left = statistics.Statistics((breakdown,)), Left()
    await statistics.count(some(*payloads), found, left)
    return {key: (events, aggregates) for key, events, aggregates in statistics.lines(found, breakdown)}, left


async def test_exercises_and_tests_are_never_counted() -> None:
    found, left = await counted(message("a"), message("b", status="exercise"), message("c", status="test"))

    assert found == {("tobacco",): (1, 0)}
    assert left.reasons == {"exercise": 1, "test": 1}


async def test_a_record_of_several_seizures_is_no_event() -> None:
    """It is counted beside the events, never among them."""
    several = message("b", body={"aggregate": True, "period": {"from": "2026-01-01", "until": "2026-12-31"}})
    found, _ = await counted(message("a"), several)

    assert found == {("tobacco",): (1, 1)}


async def test_a_month_is_that_of_the_place_and_no_more_exact_than_the_report() -> None:
    """22:00 on 31 March in Chile is 1 April in UTC; a report that knows the year alone gives no month."""
    several = {"aggregate": True, "period": {"from": "2026-03-01", "until": "2026-03-31"}}
    found, _ = await counted(
        message("a"), message("b", body={"precision": "year"}), message("c", body=several), by="month"
    )

    assert found == {("2026",): (1, 0), ("2026-03",): (1, 1)}


async def test_route_detection_and_concealment() -> None:
    """Each means of detection counts; a leg counts in its part, with its country; what is not given is a line."""
    route = [{"role": "origin", "country": "CN"}, {"role": "origin", "country": "VN"}, {"role": "via", "country": "AE"},
             {"role": "destination", "name": "somewhere"}]  # fmt: skip
    first = message("a", body={"route": route, "detection": ["dog", "scanner"]})
    second = message("b")

    assert (await counted(first, second, by="origin"))[0] == {("CN",): (1, 0), ("VN",): (1, 0), ("not-given",): (1, 0)}
    assert (await counted(first, second, by="destination"))[0] == {("not-given",): (2, 0)}
    assert (await counted(first, second, by="detection,concealment"))[0] == {
        ("dog", "not-given"): (1, 0), ("scanner", "not-given"): (1, 0), ("not-given", "not-given"): (1, 0)}  # fmt: skip


async def test_statistics_are_written_as_csv_and_as_a_spreadsheet(tmp_path: Path) -> None:
    found, left = statistics.Statistics(), Left()
    await statistics.count(some(message("a"), message("b", body={"heading": "drugs"}), message("c"), message("d", status="test")),
                           found, left)  # fmt: skip
    statistics.write(tmp_path / "s.csv", found, left, "es")
    statistics.write(tmp_path / "s.xlsx", found, left, "es")

    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["heading"], row["events"]) for row in rows if row["by"] == "heading"] == [
        ("tobacco", "2"),
        ("drugs", "1"),
    ]
    assert [row["events"] for row in rows if row["by"] == "total"] == ["3"]
    book = openpyxl.load_workbook(tmp_path / "s.xlsx")
    assert list(book["heading"].iter_rows(values_only=True)) == [
        ("heading", "title", "events", "aggregate records"), ("tobacco", "Tabaco", 2, 0), ("drugs", "Drogas", 1, 0)]  # fmt: skip
    assert ("left out: test", 1) in list(book["about"].iter_rows(values_only=True))


@pytest.mark.parametrize("text", ["heading,heading", "colour", ""])
def test_a_breakdown_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SetupRefused, match="is no breakdown"):
        statistics.read_breakdown(text)


# ── watch list ──


async def listed(tmp_path: Path, *payloads: dict[str, Any]) -> tuple[list[dict[str, str]], Left]:
    left = Left()
    await watchlist.write(tmp_path / "w.csv", some(*payloads), NOW, left)
    with (tmp_path / "w.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), left


def alert(id: str, /, **more: Any) -> dict[str, Any]:
    body = {"transport": {"containers": [{"value": f"CSQU{id}"}]}} | more.pop("body", {})
    return message(id, "alert", body=body, **more)


async def test_everything_that_can_be_watched_for_is_a_row(tmp_path: Path) -> None:
    """With the standing of the identifier, the dates, the marking and the address; the nominal part stays out."""
    body = {
        "subject": "Two\nlines", "valid": {"from": "2026-11-01", "until": "2026-12-31"}, "requested_actions": ["hold", "scan"],
        "transport": {
            "containers": [{"value": "CSQU3054383", "as": "verified"}, {"value": "CSQU3054384", "as": "believed-false"}],
            "vessels": [{"name": "MV", "imo": {"value": "9074729"}, "mmsi": {"value": "123456789"}}],
            "flights": [{"value": "LA800"}], "awbs": [{"value": "020-81140743"}], "plates": [{"value": "AB-12"}],
            "vins": [{"value": "1M8GDM9AXKP042788"}], "documents": [{"type": "cmr", "number": {"value": "DOC-1"}}],
            "consignees": ["a" * 43], "modes": ["sea"],
        },
        "goods": [{"hs": "240220", "description": "x", "cas": {"value": "108-24-7"}}],
        "route": [{"role": "origin", "country": "CN", "confirmed": True}, {"role": "via", "locode": "AEJEA"}, {"name": "here"}],
        "nominal": {"persons": [{"passport": {"value": "SECRET"}}]},
    }  # fmt: skip
    rows, _ = await listed(
        tmp_path,
        message(
            "a", "alert", "RILO-SA", body=body, priority="urgent", expires_at="2026-12-15T00:00:00Z",
            handling={"tlp": "GREEN", "caveats": ["H2", "=not to carriers"], "release": {"all": True}},
        ),
    )  # fmt: skip

    assert {(row["type"], row["value"], row["standing"]) for row in rows} == {
        ("container", "CSQU3054383", "verified"), ("container", "CSQU3054384", "believed-false"), ("vessel-imo", "9074729", "found"),
        ("vessel-mmsi", "123456789", "found"), ("flight", "LA800", "found"), ("awb", "020-81140743", "found"),
        ("plate", "AB-12", "found"), ("vin", "1M8GDM9AXKP042788", "found"), ("document", "DOC-1", "found"),
        ("consignee-hash", "a" * 43, ""), ("hs", "240220", ""), ("cas", "108-24-7", "found"),
        ("route", "origin CN > via AEJEA > here", ""),
    }  # fmt: skip
    assert {key: rows[0][key] for key in watchlist.COLUMNS[3:]} == {
        "valid_from": "2026-11-01", "valid_until": "2026-12-15", "tlp": "GREEN", "caveats": "H2; =not to carriers",
        "originator": "RILO-SA", "address": "RILO-SA:a",
        "priority": "urgent", "headings": "tobacco", "actions": "hold scan", "subject": "Two lines",
    }  # fmt: skip


async def test_what_is_not_in_force_never_reaches_the_list(tmp_path: Path) -> None:
    """Scenario 11 of the domain: an exercise message reaches a watch-list export: must be refused."""
    rows, left = await listed(
        tmp_path, alert("1"), alert("2", status="exercise"), alert("3", status="test"), alert("4", expires_at="2026-11-28T11:59:59Z"),
        alert("5", body={"valid": {"from": "2026-01-01", "until": "2026-11-27"}}), alert("6", expires_at="whenever"),
        alert("7", body={"valid": {"from": "2026-11-29"}}), alert("8", body={"valid": {"from": "2026-11-28", "until": "2026-11-28"}}),
    )  # fmt: skip

    assert [row["address"] for row in rows] == ["CL:1", "CL:8"]
    assert left.reasons == {"exercise": 1, "test": 1, "expired": 3, "not-yet-valid": 1}
    assert watchlist.WHY_NEVER.keys() == set(watchlist.NEVER)


async def test_a_watch_list_has_no_formulas(tmp_path: Path) -> None:
    rows, _ = await listed(
        tmp_path, alert("=1", body={"subject": "=cmd|' /C calc'!A0", "transport": {"plates": [{"value": "+1"}]}})
    )

    assert [(row["value"], row["subject"]) for row in rows] == [("'+1", "'=cmd|' /C calc'!A0")]


async def test_an_end_that_nobody_can_read_is_an_end(tmp_path: Path) -> None:
    rows, left = await listed(
        tmp_path, alert("1", body={"valid": {"until": "whenever"}}), alert("2", body={"goods": 5})
    )

    assert [row["address"] for row in rows] == ["CL:2"]
    assert left.reasons == {"expired": 1}


async def test_what_has_no_marking_is_no_message(tmp_path: Path) -> None:
    """A file that somebody made by hand: named, and the others are read."""
    unmarked = message("b")
    del unmarked["header"]["handling"]
    found, left = await read(folder(tmp_path / "in", message("a"), message("c"), unmarked))

    assert [one.address for one in found] == ["CL:a", "CL:c"]
    assert (left.reasons["unreadable"], len(left.unreadable)) == (1, 1)


async def test_a_message_with_a_million_combinations_is_not_counted_one_by_one() -> None:
    legs = [{"role": role, "country": f"{n}"} for role in ("origin", "departure", "destination") for n in range(1_000)]
    with pytest.raises(SetupRefused, match="more than 1000000 combinations"):
        await counted(message("a", body={"route": legs}), by="origin,departure,destination")


async def test_files_are_their_owners_and_no_file_of_somebody_elses_is_written_into(tmp_path: Path) -> None:
    """Somebody who may write beside it lays a file of the temporary name, open to all: it is not the one that is used."""
    laid = tmp_path / f".tw-{os.getpid()}-w.csv.part"
    laid.write_text("")
    laid.chmod(0o666)
    await listed(tmp_path, alert("1"))

    assert stat.S_IMODE((tmp_path / "w.csv").stat().st_mode) == 0o600
