"""What the hub asks for at start is what deploy/postgres/grants.sql grants it, and each right that is missing is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.ledger import open_ledger, rights
from broker.ledger.tables import metadata
from tests.engines import private_postgres
from tests.roles import HubDatabase
from tests.unit.test_postgres_files import STATEMENTS, granted
from tests.wire import initialise

ROLE = "tidewaiter_hub"


@pytest.mark.parametrize("verb", ["INSERT", "UPDATE", "DELETE"])
def test_what_is_asked_for_is_what_is_granted(verb: str) -> None:
    """More would refuse a hub that is set up well; less would let one start that fails at its first statement."""
    asked: dict[str, set[str]] = {}
    for needed, name, column in rights.needed():
        if needed == verb:
            asked.setdefault(name, set()).add(column or "*")

    assert asked == granted(verb, ROLE)


def test_every_table_is_read_and_every_sequence_used() -> None:
    used = [one for one in STATEMENTS if one.startswith("GRANT USAGE ON SEQUENCE") and ROLE in one]

    assert {name for verb, name, _ in rights.needed() if verb == "SELECT"} == {*metadata.tables, "alembic_version"}
    assert sorted(one.split()[4] for one in used) == sorted(rights.SEQUENCES)


@pytest.mark.long
async def test_each_right_that_is_missing_is_named(tmp_path: Path) -> None:
    """Taken one by one from the role as it is set up; with all of them nothing is missed."""
    async with private_postgres() as cluster:
        database = HubDatabase(cluster)
        await asyncio.to_thread(database.make)
        await initialise(tmp_path, database.url("owner"), 8700)
        await asyncio.to_thread(database.grant)
        ledger = open_ledger(database.url("hub"))
        try:
            for verb, name, column in rights.needed():
                what = f"{verb} ({column})" if column else verb
                on = f"SEQUENCE {name}" if verb == "USAGE" else name
                await asyncio.to_thread(database.psql, f"--command=REVOKE {what} ON {on} FROM {ROLE}")
                async with ledger.reading() as c:
                    assert await rights.lacking(c) == [f"{what} ON {name}"]
                await asyncio.to_thread(database.psql, f"--command=GRANT {what} ON {on} TO {ROLE}")
            async with ledger.reading() as c:
                assert await rights.lacking(c) == []
                assert await rights.role(c) == ROLE
        finally:
            await ledger.close()
