"""The schema that the migrations make is the schema that the code speaks of, on both databases."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from broker.app import open_ledger_checked
from broker.config import Config, read_config
from broker.errors import LedgerAway, SetupRefused
from broker.ledger import migrate, open_ledger, tables


def difference(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata))


DEFINITIONS = {
    "postgresql": """
        SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
            JOIN pg_class t ON t.oid = i.indrelid WHERE t.relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname,
            concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END, attidentity, attgenerated,
                      pg_get_expr(adbin, adrelid), '--', col_description(attrelid, attnum))
            FROM pg_attribute JOIN pg_class t ON t.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'table', relname, obj_description(oid) FROM pg_class
            WHERE relkind IN ('r', 'S', 'v') AND relnamespace = 'public'::regnamespace""",
    "sqlite": """
        SELECT type, name, sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL
        UNION ALL SELECT 'column', t.name || '.' || c.name,
            c.type || ' ' || c."notnull" || ' ' || coalesce(c.dflt_value, '') || ' ' || c.pk || ' ' || c.hidden
            FROM sqlite_master t JOIN pragma_table_xinfo(t.name) c WHERE t.type = 'table'""",
}
"""What each database itself has written down: predicates and all, types to the last number, and comments."""


def definitions(connection: Connection) -> list[tuple[str, ...]]:
    rows = connection.execute(text(DEFINITIONS[connection.dialect.name]))
    return sorted(
        (kind, name, " ".join(str(said).split())) for kind, name, said in rows if "alembic_version" not in name
    )


def plain(described: Any) -> Any:
    """What SQLAlchemy found out, as plain values that can be compared."""
    if isinstance(described, dict):
        return sorted((name, plain(value)) for name, value in described.items())
    return sorted(map(plain, described)) if isinstance(described, list) else str(described)


def everything(connection: Connection) -> dict[str, Any]:
    """Tables with columns, keys, indexes and checks, as the database itself describes them."""
    seen = inspect(connection)
    questions = {
        "columns": seen.get_columns,
        "indexes": seen.get_indexes,
        "unique": seen.get_unique_constraints,
        "foreign": seen.get_foreign_keys,
        "checks": seen.get_check_constraints,
        "primary": seen.get_pk_constraint,
    }
    names = sorted(set(seen.get_table_names()) - {"alembic_version"})
    return {name: {what: plain(ask(name)) for what, ask in questions.items()} for name in names}


async def test_upgrade_gives_the_schema_of_the_code(ledger_url: str) -> None:
    """Nothing to add, nothing to remove, no type that differs."""
    await migrate.upgrade(ledger_url)
    ledger = open_ledger(ledger_url)
    try:
        async with ledger.reading() as c:
            assert await c.run_sync(difference) == []
            assert await migrate.revision(c) == migrate.newest()
    finally:
        await ledger.close()


async def test_migrated_and_created_are_the_same(ledger_url: str) -> None:
    """A database that was migrated reads, to the last index and check, as one made from the tables directly."""
    await migrate.upgrade(ledger_url)
    ledger = open_ledger(ledger_url)
    try:
        async with ledger.writing.begin() as c:
            migrated, written = await c.run_sync(everything), await c.run_sync(definitions)
            await c.execute(text("DROP TABLE alembic_version"))
            await c.run_sync(tables.metadata.drop_all)
            await c.run_sync(tables.metadata.create_all)
            created, wanted = await c.run_sync(everything), await c.run_sync(definitions)
    finally:
        await ledger.close()

    assert migrated.keys() == created.keys()
    for name in created:
        assert migrated[name] == created[name]
    assert written == wanted


async def test_upgrading_again_changes_nothing(ledger_url: str) -> None:
    """Neither the schema nor the rows that the first run put there."""

    async def state() -> tuple[Any, ...]:
        ledger = open_ledger(ledger_url)
        try:
            async with ledger.reading() as c:
                rows = [
                    [tuple(row) for row in await c.execute(table.select())] for table in (tables.head, tables.registry)
                ]
                return await c.run_sync(everything), await migrate.revision(c), rows
        finally:
            await ledger.close()

    await migrate.upgrade(ledger_url)
    first = await state()
    assert [len(rows) for rows in first[2]] == [1, 1]
    await migrate.upgrade(ledger_url)

    assert await state() == first


def config(ledger_url: str, home: Path) -> Config:
    return read_config({"TIDEWAITER_HOME": str(home), "TIDEWAITER_LEDGER_URL": ledger_url})


async def test_an_unmigrated_ledger_is_refused(ledger_url: str, tmp_path: Path) -> None:
    """The start says which revision there is and which one is needed; after the upgrade it opens."""
    with pytest.raises(SetupRefused) as refused:
        await open_ledger_checked(config(ledger_url, tmp_path))
    (fault,) = refused.value.faults
    assert (fault.rule, fault.found, fault.allowed) == ("migrations", "none", (migrate.newest(),))

    await migrate.upgrade(ledger_url)
    ledger = await open_ledger_checked(config(ledger_url, tmp_path))
    await ledger.close()


async def test_a_ledger_of_another_version_is_refused(ledger_url: str, tmp_path: Path) -> None:
    """Also one that is ahead of the code: an old gateway must not write into a new schema."""
    await migrate.upgrade(ledger_url)
    ledger = open_ledger(ledger_url)
    async with ledger.writing.begin() as c:
        await c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await ledger.close()

    with pytest.raises(SetupRefused) as refused:
        await open_ledger_checked(config(ledger_url, tmp_path))
    assert refused.value.faults[0].found == "9999"


async def test_a_ledger_that_is_away_is_said_to_be_away(tmp_path: Path) -> None:
    """No server there: not a stack trace of the driver."""
    with pytest.raises(LedgerAway):
        await open_ledger_checked(config("postgresql://nobody@127.0.0.1:1/nothing", tmp_path))


async def test_a_new_file_that_somebody_else_begins_just_now_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself does not wait there: whoever sets the journal mode while another writes is told at once that the
    database is locked."""
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    migrating = asyncio.create_task(migrate.upgrade(f"sqlite:///{path}"))
    await asyncio.sleep(0.3)
    assert not migrating.done()
    other.rollback()
    other.close()

    await asyncio.wait_for(migrating, 60)
    ledger = await migrate.open_checked(f"sqlite:///{path}")
    await ledger.close()


@pytest.mark.parametrize("readers", [1, 3])
async def test_who_is_ended_while_a_file_is_opened_leaves_it_open_to_others(tmp_path: Path, readers: int) -> None:
    """A connection that is not in the pool yet is closed with its task, or it would keep the file locked for good."""
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    ledger = open_ledger(f"sqlite:///{path}")

    async def read() -> None:
        async with ledger.reading() as c:
            await c.execute(text("SELECT 1"))

    reading = [asyncio.create_task(read()) for _ in range(readers)]
    await asyncio.sleep(0.2)
    for task in reading:
        task.cancel()
    await asyncio.sleep(0.1)
    other.execute("CREATE TABLE of_the_other (x)")
    other.execute("COMMIT")
    other.close()
    assert await asyncio.gather(*reading, return_exceptions=True) != [None] * readers

    await asyncio.wait_for(read(), 30)
    await ledger.close()
    gc.collect()  # a connection that was left behind says so now


async def test_a_ledger_is_closed_when_all_was_given_back(tmp_path: Path) -> None:
    """Whoever was ended gives its connection back a moment later; one that nobody closes says so."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    inside = asyncio.Event()

    async def read() -> None:
        async with ledger.reading() as c:
            await c.execute(text("SELECT 1"))
            inside.set()
            await asyncio.sleep(0.3)

    reading = asyncio.create_task(read())
    await inside.wait()
    await ledger.close()
    assert reading.done()
    await reading
    gc.collect()
