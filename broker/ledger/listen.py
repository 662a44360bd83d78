"""Hearing what other processes committed: PostgreSQL's NOTIFY, or on SQLite a look at `PRAGMA data_version`.

With SQLite there is one hub process; what the command line changes besides it is always the registry.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from broker.errors import LedgerAway
from broker.ledger import registry, silent
from broker.ledger.core import APPLICATION, BUSY_SECONDS, Ledger, away
from broker.ledger.wakes import CHANNEL
from broker.logs import log

LOOK_SECONDS = 0.25
"""SQLite: how often `data_version` is looked at."""
ALIVE_SECONDS = 15.0
"""PostgreSQL: how often the listening session is asked, which is a sign of life; a half-open connection says nothing."""
PAUSE_SECONDS = 1.0
"""Between two questions at least, while transactions come to nothing."""
AGAIN_SECONDS = 1.0


async def listen(ledger: Ledger) -> None:
    """Wake this process's sleepers for ever. Whoever may have missed a word is woken when listening begins again."""
    while True:
        try:
            if ledger.is_sqlite:
                await _look(ledger)
            else:
                await _hear(ledger)
        except LedgerAway as gone:
            log.warning("ledger.not-heard", detail=gone.detail, again_seconds=AGAIN_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)


async def _hear(ledger: Ledger) -> None:
    """One session of its own, until it is lost (LedgerAway). Not for a pooler that changes sessions under it."""
    lost = asyncio.Event()

    def ended(_: Any) -> None:
        lost.set()
        ledger.kept_waiting.set()

    def told(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        ledger.wakes.wake(payload.split(" "))

    engine = create_async_engine(
        ledger.writing.url,
        poolclass=NullPool,
        connect_args={
            "timeout": BUSY_SECONDS,
            "command_timeout": BUSY_SECONDS,
            "server_settings": {"application_name": f"{APPLICATION} listens"},
        },
    )
    try:
        async with away(), engine.connect() as c:
            session: Any = (await c.get_raw_connection()).driver_connection
            session.add_termination_listener(ended)
            await session.add_listener(CHANNEL, told)
            ledger.wakes.wake_all()
            while not lost.is_set():
                await silent.end(session)
                await _happens(lost, PAUSE_SECONDS)
                ledger.kept_waiting.clear()
                if not lost.is_set():
                    await _happens(ledger.kept_waiting, ALIVE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:  # of the bare session
        raise LedgerAway(detail=type(error).__name__) from error
    finally:
        await engine.dispose()
    raise LedgerAway(detail="the listening session ended")


async def _happens(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _look(ledger: Ledger) -> None:
    """`data_version` differs once another connection has committed (SQLite, PRAGMA data_version): our own, mostly."""
    seen = version = -1
    async with away(), ledger.reading_engine.connect() as c:
        while True:
            now = (await c.execute(text("PRAGMA data_version"))).scalar_one()
            if now != seen:
                seen = now
                risen = await registry.version(c)
                if risen != version:
                    version = risen
                    ledger.wakes.wake_all()
            await c.rollback()  # else the next look would see the same snapshot
            await asyncio.sleep(LOOK_SECONDS)
