"""Migrations (Alembic), shipped with the package. One way only: forward, under load.

The rule, for every migration: it adds (tables, columns that may be left out, indexes). What the release before writes
and reads goes on working, so that its processes serve on until they are stopped; only their next start is refused. What
nobody uses any more is taken away one release later.

On PostgreSQL a migration never keeps others waiting: it asks for its locks for LOCK_SECONDS at a time, and stands back in
between. Each revision is a transaction of its own; an index of a table that grows is built outside of it (`add_index`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from alembic import command, op
from alembic import context as alembic_context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from broker.errors import BrokerError, Fault, LedgerAway, SetupRefused
from broker.ledger.core import BUSY_SECONDS, Ledger, away, open_ledger

FOLDER = Path(__file__).parent / "migrations"
MIGRATIONS_LOCK = 0x7469_6467
"""Key of the PostgreSQL advisory lock: one at a time migrates."""
LOCK_SECONDS = 0.5
"""Longest wait for a lock in one try. Whoever needs what we ask for stands in line behind us for so long at most. Below
PostgreSQL's `deadlock_timeout` (1 s): where two wait for each other it is we who give way, not the hub."""
PAUSE_SECONDS = 1.0
"""Between two tries: all that stood behind us gets through."""
PATIENCE_SECONDS = 120.0
_PATIENCE = "patience_seconds"
_IN_THE_WAY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected (PostgreSQL, appendix A)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


class _InTheWay(Exception):
    """Somebody holds a lock that a migration needs."""


async def upgrade(url: str, revision: str = "head", *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Bring the database at `url` to `revision`. Does nothing if it is there already.

    Raises LedgerAway: it does not answer, or others were in the way for `patience_seconds`. What it has reached is a
    whole revision; run it again.
    """
    deadline = time.monotonic() + patience_seconds
    ledger = open_ledger(url)
    try:
        while True:
            try:
                async with _connection(ledger) as c:
                    await c.run_sync(_run, revision, max(deadline - time.monotonic(), LOCK_SECONDS))
                return
            except _InTheWay:
                if time.monotonic() > deadline:
                    raise LedgerAway(detail=await _who_is_in_the_way(ledger)) from None
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await ledger.close()


@asynccontextmanager
async def _connection(ledger: Ledger) -> AsyncIterator[AsyncConnection]:
    """For one try. On SQLite inside one immediate transaction, on PostgreSQL outside of any."""
    if ledger.is_sqlite:
        async with away(), ledger.writing.begin() as c:
            yield c
        return
    # a statement may take its time: an index of millions of rows
    engine = create_async_engine(ledger.writing.url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
    async with away(), engine.connect() as c:
        yield c


def _run(connection: Connection, revision: str, patience_seconds: float) -> None:
    config = _config()
    config.attributes |= {"connection": connection, _PATIENCE: patience_seconds}
    try:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATIONS_LOCK})  # ends with the session
            connection.commit()
        command.upgrade(config, revision)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _IN_THE_WAY:
            raise _InTheWay from error
        raise


async def _who_is_in_the_way(ledger: Ledger) -> str:
    oldest = (
        "SELECT pid, application_name, state, xact_start FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
    )
    async with _connection(ledger) as c:
        row = (await c.execute(text(oldest))).first()
    said = "The migration could not have its locks; what had been reached stands."
    if row is None:
        return said
    name = f" ({row.application_name})" if row.application_name else ""
    return f"{said} The oldest transaction is that of process {row.pid}{name}, {row.state}, since {row.xact_start}."


def add_index(name: str, table: str, columns: Sequence[str], where: str | None = None) -> None:
    """For a migration: build an index of a table that grows, and keep nobody from writing meanwhile.

    Outside of any transaction, so it stands alone in its revision; what an earlier try has left is begun anew.
    """
    predicate = None if where is None else text(where)
    context = op.get_context()
    if context.dialect.name != "postgresql":
        op.create_index(name, table, columns, sqlite_where=predicate)
        return
    with context.autocommit_block():
        # it waits for every transaction that has begun before, and lets all of them and their successors write
        op.execute(f"SET lock_timeout = {alembic_context.config.attributes[_PATIENCE] * 1000:.0f}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.create_index(name, table, columns, postgresql_where=predicate, postgresql_concurrently=True)
        op.execute(f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}")


@cache
def newest() -> str:
    """The revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def revision(c: AsyncConnection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    return await c.run_sync(lambda connection: MigrationContext.configure(connection).get_current_revision())


async def open_checked(url: str) -> Ledger:
    """The ledger at `url`, if it is at the newest revision. Raises SetupRefused, LedgerAway."""
    ledger = open_ledger(url)
    try:
        async with ledger.reading() as c:
            found = await revision(c)
        if found != newest():
            raise SetupRefused(Fault("/ledger_url", "migrations", found=found or "none", allowed=(newest(),)))
    except BrokerError:
        await ledger.close()
        raise
    return ledger
