"""Opening the ledger, its locks, and the three kinds of transaction.

`accepting`  shared registry lock: accept, lease, settle, hand-over. Many at a time on PostgreSQL.
`changing`   exclusive registry lock: members, keys, groups, subscriptions; raises the registry's version.
`reading`    no lock.
On SQLite each of the first two is one immediate transaction, which does both. Nothing awaits the network inside.
All three commit when their block ends and are durable once it has ended (fsync on: WAL with synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import TextClause, event, text, update
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from broker.errors import Fault, Held, LedgerAway, SetupRefused
from broker.ledger import tables, wakes
from broker.ledger.wakes import Wakes

REGISTRY_LOCK = 0x7469_6465  # "tide": key of the PostgreSQL advisory lock
_SHARED = text("SELECT pg_advisory_xact_lock_shared(:key)")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(:key)")
BUSY_SECONDS = 10
SHORTLY_SECONDS = 0.02
"""Between two looks at what is over in milliseconds."""
GIVE_BACK_LOOKS = 50
"""So often the pool is looked at, before a ledger is closed although somebody still has a connection of it."""
IDLE_SECONDS = 10
"""PostgreSQL ends a transaction in which nothing is asked for so long: of a process that was stopped, not ended. Others
would wait for what it holds until it goes on. (Within a statement it does not: see `silent`.)"""
APPLICATION = "tidewaiter"
"""How PostgreSQL lists our sessions (`application_name`)."""
RETRY_AFTER_SECONDS = 2
PRAGMAS = f"""PRAGMA busy_timeout={BUSY_SECONDS * 1000}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"""
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's word for a row that `NOWAIT` found locked."""


@dataclass(frozen=True)
class Ledger:
    """One database. `writing` and `reading_engine` are the same on PostgreSQL; SQLite has one writer."""

    url: str
    writing: AsyncEngine
    reading_engine: AsyncEngine
    wakes: Wakes = field(default_factory=Wakes)
    kept_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    """A transaction came to nothing: by what another one holds, perhaps."""

    @property
    def is_sqlite(self) -> bool:
        return self.writing.dialect.name == "sqlite"

    @asynccontextmanager
    async def accepting(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that decides by the registry: it holds still until the block ends."""
        async with self._writing(_SHARED) as connection:
            yield connection

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes the registry; nobody decides by it meanwhile."""
        async with self._writing(_EXCLUSIVE) as connection:
            await connection.execute(update(tables.registry).values(version=tables.registry.c.version + 1))
            wakes.touch(connection, [wakes.REGISTRY])
            yield connection

    @asynccontextmanager
    async def _writing(self, lock: TextClause) -> AsyncIterator[AsyncConnection]:
        """What the transaction touched (`wakes.touch`) is announced with its commit and woken after it."""
        try:
            async with away(), self.writing.begin() as connection:
                touched = wakes.begun(connection)
                if not self.is_sqlite:
                    await connection.execute(lock, {"key": REGISTRY_LOCK})
                yield connection
                if touched and not self.is_sqlite:
                    await wakes.announce(connection, touched)
        except LedgerAway:
            self.kept_waiting.set()
            raise
        self.wakes.wake(touched)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view, nothing written."""
        async with away(), self.reading_engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Once whoever was ended has given back what it had: a connection that comes later would be closed by nobody."""
        for engine in (self.reading_engine, self.writing):
            for _ in range(GIVE_BACK_LOOKS):
                if not engine.pool.checkedout():  # type: ignore[attr-defined] # ours are queue pools
                    break
                await asyncio.sleep(SHORTLY_SECONDS)
            await engine.dispose()


@asynccontextmanager
async def away() -> AsyncIterator[None]:
    """Foreign errors become ours here and nowhere else: a ledger that does not answer is LedgerAway."""
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise LedgerAway(detail=type(error).__name__, retry_after=RETRY_AFTER_SECONDS) from error
    except DBAPIError as error:
        if _sqlstate(error) == LOCK_NOT_AVAILABLE:
            raise Held(detail="held by another transaction", retry_after=RETRY_AFTER_SECONDS) from error
        if error.connection_invalidated or _is_connection_loss(error):
            raise LedgerAway(detail=type(error).__name__, retry_after=RETRY_AFTER_SECONDS) from error
        raise


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _is_connection_loss(error: DBAPIError) -> bool:
    # connection, operator intervention, resources, not in that state, rolled back for a deadlock's sake; and what
    # PostgreSQL calls a fault of its system or its own: a full disk can be either (a login's "could not write init file")
    if _sqlstate(error)[:2] in ("08", "57", "53", "55", "40", "58", "XX"):
        return True
    # what asyncpg says when it is asked between PostgreSQL's last words and the end of the connection
    return isinstance(error.orig, AsyncAdapt_asyncpg_dbapi.InternalClientError)


def open_ledger(url: str, *, pool_size: int = 8) -> Ledger:
    """The Ledger at `sqlite:///path` or `postgresql://user@host/name`. Opens no connection yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(drivername="sqlite+aiosqlite")
        writing = create_async_engine(
            parsed, pool_size=1, max_overflow=0, pool_timeout=BUSY_SECONDS, hide_parameters=True
        )
        reading = create_async_engine(
            parsed, pool_size=4, max_overflow=4, pool_timeout=BUSY_SECONDS, hide_parameters=True
        )
        for engine, begin in ((writing, "BEGIN IMMEDIATE"), (reading, "BEGIN DEFERRED")):
            _prepare_sqlite(engine, begin)
        return Ledger(url, writing, reading)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+asyncpg")
        engine = create_async_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=0,  # a connection beyond the pool would be made and closed again for one statement
            pool_timeout=BUSY_SECONDS,
            hide_parameters=True,  # an error that reaches the log must not carry what a message says
            connect_args={
                "timeout": BUSY_SECONDS,
                "command_timeout": 60,
                "server_settings": {
                    "application_name": APPLICATION,
                    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
                },
            },
        )
        event.listen(engine.sync_engine, "checkout", _still_open)
        return Ledger(url, engine, engine)
    raise SetupRefused(Fault("/ledger_url", "ledger-url", allowed=("sqlite:///PATH", "postgresql://USER@HOST/NAME")))


def _still_open(connection: Any, _record: Any, _proxy: Any) -> None:
    """A connection that was closed from the other side is replaced before it is used. asyncpg knows of it; to ask the
    server (`pool_pre_ping`) would be three round trips more for every transaction."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's recipe: we say BEGIN ourselves
        try:
            _write_ahead(connection)
        except (Exception, asyncio.CancelledError):  # the pool has not got it yet, and it would keep the file locked
            connection.close()
            raise

    @event.listens_for(engine.sync_engine, "invalidate")
    def _(connection: Any, _record: Any, _error: Any) -> None:
        """Who is ended within a statement leaves its cursor behind, in a traceback perhaps, and SQLite keeps a connection
        with an open statement, and its lock, for as long as that lives. So it is rolled back before it is closed: by its
        own thread, after the statement, whatever becomes of us (through aiosqlite's queue, as SQLAlchemy does itself)."""
        driver = connection.driver_connection
        with suppress(ValueError):  # it is closed
            driver._tx.put_nowait((None, driver._conn.rollback))

    @event.listens_for(engine.sync_engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def _write_ahead(connection: Any) -> None:
    """The journal mode of the file, for good, and what holds for the connection. As a script, which leaves no statement
    open whatever becomes of who waits for it.

    Where several open a new file at once SQLite does not wait with the journal mode, whatever `busy_timeout` says: the
    one that loses would be told "database is locked".
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.run_async(lambda driver: driver.executescript(PRAGMAS))
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        await_only(asyncio.sleep(SHORTLY_SECONDS))
