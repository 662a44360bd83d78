"""deploy/postgres: every table has its rights, and each right names a column that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.ledger.tables import metadata

POSTGRES = Path(__file__).parents[2] / "deploy/postgres"
GRANTS = "\n".join(
    line for line in (POSTGRES / "grants.sql").read_text("utf-8").splitlines() if not line.startswith("--")
)
STATEMENTS = [" ".join(one.split()) for one in GRANTS.split(";")]
NEVER_CHANGED = {
    "messages": {"position", "originator", "id", "jws", "digest", "payload_digest", "accepted_at", "receipt", "record",
                 "salt", "audience_salt", "release", "chain"},
    "deliveries": {"queue", "sequence", "position", "member", "rule", "duties", "clause"},
    "keys": {"kid", "owner", "use", "jwk", "not_before"},
    "audience": {"member", "position", "rule"},
}  # fmt: skip


def granted(verb: str, role: str) -> dict[str, set[str]]:
    """table -> columns ("*" for all of them) on which `role` is granted `verb`."""
    found: dict[str, set[str]] = {}
    for statement in STATEMENTS:
        match = re.fullmatch(r"GRANT (.+) ON (?!SEQUENCE|ALL)(.+) TO (.+)", statement)
        if match and role in match[3].split(", "):
            for one in re.findall(r"(\w+)(?: \(([^)]*)\))?", match[1]):
                if one[0] == verb:
                    for table in match[2].split(", "):
                        found.setdefault(table, set()).update(one[1].split(", ") if one[1] else {"*"})
    return found


def test_every_table_has_its_rights() -> None:
    """A table that a migration adds and nobody grants would stop the hub at the first statement."""
    named = {table for verb in ("INSERT", "UPDATE", "DELETE") for role in ("tidewaiter_hub", "tidewaiter_registrar")
             for table in granted(verb, role)}  # fmt: skip

    assert named == set(metadata.tables)


@pytest.mark.parametrize("role", ["tidewaiter_hub", "tidewaiter_registrar", "tidewaiter_monitor"])
def test_every_column_that_is_named_is_there(role: str) -> None:
    """One that was renamed would make the whole file fail at the next migration."""
    for verb in ("UPDATE", "SELECT"):
        for table, columns in granted(verb, role).items():
            if table != "alembic_version":
                assert columns - {"*"} <= set(metadata.tables[table].c.keys()), table


@pytest.mark.parametrize("role", ["tidewaiter_hub", "tidewaiter_registrar"])
def test_what_is_written_once_is_never_changed(role: str) -> None:
    """No UPDATE without a list of columns, and no list with what a receipt or a right stands on."""
    for table, columns in granted("UPDATE", role).items():
        assert "*" not in columns, table
        assert not columns & NEVER_CHANGED.get(table, set()), table
    assert set(granted("DELETE", role)) <= {"closings", "used_assertions", "group_members", "relays", "holdings"}


def test_the_monitor_sees_no_content() -> None:
    """Counts and ages: neither what a message says nor who sent it, nor whose a queue is."""
    seen = granted("SELECT", "tidewaiter_monitor")

    assert {table for table, columns in seen.items() if "*" in columns} == {"head", "registry", "alembic_version"}
    assert not {"jws", "release", "receipt", "originator", "member", "id", "digest"} & seen["messages"]
    assert "member" not in seen["deliveries"] | seen["subscriptions"] | seen["queues"]


def test_tables_that_grow_are_vacuumed_by_what_has_happened() -> None:
    """As docs/growth.md says it for who has no roles; each of them exists."""
    said = (POSTGRES.parents[1] / "docs/growth.md").read_text("utf-8")
    by_hand = dict(re.findall(r"ALTER TABLE (\w+) SET \((.+)\);", said))
    (statement,) = (one for one in STATEMENTS if "ALTER TABLE" in one)

    assert set(by_hand) <= set(metadata.tables)
    assert set(re.findall(r"tablename IN \((.+?)\)", statement)) == {", ".join(f"'{table}'" for table in by_hand)}
    assert all(f"SET ({options})" in statement for options in by_hand.values())
