"""The RASFF reader restores what the file lost, and finds exactly what was counted in it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import jsonschema_rs
import pytest

from broker import schemafiles
from tests import rasff

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture(scope="module")
def rows() -> list[rasff.Notification]:
    if not rasff.DATABASE.exists():
        pytest.skip(f"the RASFF notifications are not here: {rasff.DATABASE}")
    return rasff.read()


@pytest.fixture(scope="module")
def alerts(rows: list[rasff.Notification]) -> list[tuple[rasff.Payload, rasff.Expected]]:
    return list(rasff.alerts(rows))


@pytest.mark.parametrize(
    ("stored", "restored"),
    [(2024.9652, "2024.9652"), (2024.965, "2024.9650"), (2024.5, "2024.5000"), (2025.12345, "2025.12345")],
)
def test_reference(stored: float, restored: str) -> None:
    """The reference was stored as a float: 2024.9650 became 2024.965."""
    assert rasff.reference(stored) == restored


def test_names() -> None:
    """A list is split at its commas, trimmed, and the comma inside a name is minded."""
    assert rasff.names(" Aruba,Bonaire, Sint Eustatius and Saba,  Peru") == (
        "Aruba",
        "Bonaire, Sint Eustatius and Saba",
        "Peru",
    )
    assert rasff.names(None) == ()


def test_hazards() -> None:
    """A comma between digits belongs to a chemical's name."""
    assert rasff.hazards("lead  migration,1,4-dioxane  ,2-CE") == ("lead migration", "1,4-dioxane", "2-CE")


def test_rows_and_notifiers(rows: list[rasff.Notification]) -> None:
    """There are 8,413 rows by 31 notifiers; 45 come from the European Commission, which is in no list."""
    notifiers = Counter(row.notifier for row in rows)

    assert (len(rows), len(notifiers), notifiers["European Commission"]) == (8413, 31, 45)
    assert not any("European Commission" in row.duties for row in rows)


def test_entries(rows: list[rasff.Notification]) -> None:
    """190 names have 23,270 entries: one for each name in a row, its three lists merged."""
    entries = Counter(name for row in rows for name in row.duties)

    assert (len(entries), entries.total()) == (190, 23_270)


def test_entries_as_counted_in_the_readme(rows: list[rasff.Notification]) -> None:
    """The README's 191 names and 23,281 entries are those of who does not mind the comma inside the one name."""
    entries = Counter(part.strip() for row in rows for name in row.duties for part in name.split(","))

    assert (len(entries), entries.total()) == (191, 23_281)
    assert entries["Sint Eustatius and Saba"] == 23_281 - 23_270


def test_members(rows: list[rasff.Notification]) -> None:
    """Two spellings of a place are one member, and no row has both: 188 members, as many entries."""
    members = Counter(member for row in rows for member in row.to)

    assert (len(members), members.total()) == (188, 23_270)
    assert all(row.to.keys() == {rasff.MEMBER_IDS[name] for name in row.duties} for row in rows)


def test_rows_by_their_lists(rows: list[rasff.Notification]) -> None:
    """1,162 rows name nobody, 3,768 have a name in several lists, 5,070 name the notifier."""
    nobody = sum(not row.duties for row in rows)
    several = sum(any(len(duties) > 1 for duties in row.duties.values()) for row in rows)
    own = sum(row.notifier in row.duties for row in rows)

    assert (nobody, several, own) == (1162, 3768, 5070)


def test_repeats_and_amendments(
    rows: list[rasff.Notification], alerts: list[tuple[rasff.Payload, rasff.Expected]]
) -> None:
    """27 references occur twice: 9 are repeats, 18 are amendments, so there are 8,404 messages."""
    references = Counter(row.reference for row in rows)
    outcomes = Counter(expected.outcome for _, expected in alerts)

    assert Counter(references.values())[2] == 27
    assert max(references.values()) == 2
    assert outcomes == {"new": 8386, "amendment": 18, "repeat": 9}
    assert outcomes["new"] + outcomes["amendment"] == 8404


def test_addresses(alerts: list[tuple[rasff.Payload, rasff.Expected]]) -> None:
    """A repeat has the very octets of the first; every other message has an address of its own."""
    stored: dict[str, bytes] = {}
    for payload, expected in alerts:
        octets = rasff.octets(payload)

        assert stored.get(expected.address) == (octets if expected.outcome == "repeat" else None)
        assert expected.supersedes is None or (expected.supersedes in stored and expected.address.endswith("-2"))
        stored[expected.address] = octets

    assert len(stored) == 8404


@pytest.mark.parametrize("name", ["envelope", "messages/alert"])
def test_payloads_are_valid(name: str, alerts: list[tuple[rasff.Payload, rasff.Expected]]) -> None:
    """Every row makes a valid envelope and a valid alert."""
    schema = jsonschema_rs.validator_for(
        schemafiles.bundled(name, json.loads((SCHEMAS / f"{name}/1.0.json").read_text()), schemafiles.parts(SCHEMAS)),
        offline=True,
    )
    values = [payload if name == "envelope" else payload["body"] for payload, _ in alerts]

    assert [str(fault) for value in values for fault in schema.iter_errors(value)] == []


@pytest.mark.parametrize(("codelist", "used"), [("risks", set(rasff.RISKS.values())), ("headings", {"food"})])
def test_codes(codelist: str, used: set[str]) -> None:
    """The codes that stand for RASFF's words are listed."""
    lines = (SCHEMAS / f"codelists/{codelist}.csv").read_text().splitlines()
    codes = {row["code"] for row in csv.DictReader(line for line in lines if not line.startswith("#"))}

    assert used <= codes


def test_release(alerts: list[tuple[rasff.Payload, rasff.Expected]]) -> None:
    """A member in several lists is named once, with all its duties, in their order."""
    for payload, expected in alerts:
        to = payload["header"]["handling"]["release"]["to"]

        assert {entry["member"]: tuple(entry["duties"]) for entry in to} == expected.to
        assert len(to) == len(expected.to)


def test_worked_example(alerts: list[tuple[rasff.Payload, rasff.Expected]]) -> None:
    """2024.9652: the Netherlands notify, eight are informed, five are to attend and six are to follow up."""
    payload, expected = alerts[0]
    duties = Counter(duty for member in expected.to.values() for duty in member)

    assert expected.address == "NL:RASFF-2024.9652"
    assert payload["header"]["event_at"] == "2024-12-31T16:50:10Z"
    assert duties == {"information": 8, "attention": 5, "action": 6}
    assert expected.to["PL"] == ("action", "attention", "information")
