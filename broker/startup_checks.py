"""What must be so on this machine and in the ledger before a hub serves; else it does not start, and says what to do.

    1  room on the disk                              disk-full
    2  it is let in, with all rights it needs        ledger-login, ledger-rights; SQLite: ledger-file, ledger-damaged
    3  migrations                                    migrations (broker.ledger.migrate)
    4  the clock                                     clock-apart, clock-behind

`tidewaiter doctor` asks the same functions. What RabbitMQ must be like: broker.rabbit.startup.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, jws
from broker.errors import BrokerError, Fault, SetupRefused
from broker.ledger import Ledger, migrate, open_ledger, rights
from broker.ledger import tables as t
from broker.logs import log

MEGABYTE = 2**20
LEAST_FREE_BYTES = 256 * MEGABYTE
"""Below this a hub does not start: a ledger that cannot grow accepts nothing, and may not even end a lease."""
LOW_FREE_BYTES = 1024 * MEGABYTE
APART_SECONDS = 5.0
"""Between this machine's clock and the PostgreSQL server's: leases and signing times are judged by both."""
BEHIND = timedelta(minutes=5)
"""So far the clock may lie before the newest message: two gateways' clocks differ, a clock that was set back lies."""
LOOKED_AT = 200
"""So many of the newest messages: a batch of them may have been signed long before it was posted."""
SHOWN = 8
NOT_LET_IN = ("28", "3D", "42501")
"""SQLSTATEs: no such role or a wrong password, no such database, no right to connect."""


async def open_proved(home: Path, ledger_url: str, now: clock.Clock) -> Ledger:
    """The ledger, once all four hold. Raises SetupRefused, LedgerAway."""
    for folder in folders(home, ledger_url):
        free = room(folder)
        if free < LOW_FREE_BYTES:
            log.warning("disk.low", folder=str(folder), free_megabytes=free // MEGABYTE)
    with let_in(ledger_url):
        await allowed(ledger_url)
        ledger = await migrate.open_checked(ledger_url)
    try:
        await clocks(ledger, now)
    except BrokerError:
        await ledger.close()
        raise
    return ledger


@contextmanager
def let_in(ledger_url: str) -> Iterator[None]:
    """Who is not let in, or finds no database there, is told so. Raises SetupRefused."""
    try:
        yield
    except DBAPIError as error:
        if (file := sqlite_file(ledger_url)) is not None:
            raise SetupRefused(
                Fault("/ledger_url", "ledger-damaged", str(file), more={"why": str(error.orig)})
            ) from None
        if str(getattr(error.orig, "sqlstate", "")).startswith(NOT_LET_IN):
            why = str(error.orig).rpartition(": ")[2]
            raise SetupRefused(Fault("/ledger_url", "ledger-login", found=why)) from None
        raise


def sqlite_file(ledger_url: str) -> Path | None:
    """The file of a SQLite ledger."""
    url = make_url(ledger_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def folders(home: Path, ledger_url: str) -> list[Path]:
    """Where the hub writes on this machine."""
    file = sqlite_file(ledger_url)
    return list(dict.fromkeys([home] if file is None else [home, file.parent]))


def room(folder: Path) -> int:
    """Step 1: octets that are free for this user. Raises SetupRefused below LEAST_FREE_BYTES."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SetupRefused(detail=f"{folder} cannot be looked at: {error.strerror}.") from None
    if free < LEAST_FREE_BYTES:
        needed = f"{LEAST_FREE_BYTES // MEGABYTE} MB"
        raise SetupRefused(
            Fault("/home", "disk-full", f"{free // MEGABYTE} MB", (needed,), more={"folder": str(folder)})
        )
    return free


async def allowed(ledger_url: str) -> None:
    """Step 2. Before the migrations are read: that takes a right, too. Raises SetupRefused, LedgerAway."""
    file = sqlite_file(ledger_url)
    if file is not None:
        for path in (
            [file.parent, file] if os.path.exists(file) else [file.parent]
        ):  # the write-ahead log lies beside it
            if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                raise SetupRefused(Fault("/ledger_url", "ledger-file", found=str(path), more={"user": user()}))
        return
    ledger = open_ledger(ledger_url)
    try:
        async with ledger.reading() as c:
            lacking, role = await rights.lacking(c), await rights.role(c)
    finally:
        await ledger.close()
    if lacking:
        shown = lacking[:SHOWN] + ([f"{len(lacking) - SHOWN} more"] if len(lacking) > SHOWN else [])
        raise SetupRefused(Fault("/ledger_url", "ledger-rights", found=role, allowed=tuple(shown)))


async def clocks(ledger: Ledger, now: clock.Clock) -> timedelta:
    """Step 4: how far the ledger's clock is ahead of ours, beyond what asking took. Raises SetupRefused, LedgerAway."""
    async with ledger.reading() as c:
        newest = await _newest(c)
        before = now()
        theirs: datetime = before
        if not ledger.is_sqlite:
            theirs = (await c.execute(select(func.clock_timestamp()))).scalar_one()
        after = now()
    ahead = theirs - min(max(theirs, before), after)
    if abs(ahead.total_seconds()) > APART_SECONDS:
        found, most = f"{abs(ahead.total_seconds()):.1f}", f"{APART_SECONDS:.0f}"
        raise SetupRefused(Fault("/ledger_url", "clock-apart", found=found, allowed=(most,)))
    if newest is not None and newest - after > BEHIND:
        raise SetupRefused(Fault("/home", "clock-behind", clock.text(after), more={"newest": clock.text(newest)}))
    return ahead


async def _newest(c: AsyncConnection) -> datetime | None:
    """A moment that certainly was: when a message was accepted, and not before its sender signed it by a clock of its own.
    What a hub accepted while its clock was ahead refuses nobody's start once that is mended. Notices are signed by hubs."""
    m = t.messages.c
    query = select(m.accepted_at, m.jws).where(m.kind != "notice").order_by(m.position.desc()).limit(LOOKED_AT)
    moments = []
    for accepted_at, token in (await c.execute(query)).all():
        signed = jws.read(token.encode(), typ=jws.TYP_MESSAGE, max_bytes=len(token)).iat or 0
        moments.append(min(accepted_at, datetime.fromtimestamp(signed, UTC)))
    return max(moments, default=None)


def user(number: int | None = None) -> str:
    """The name of a user, by default of who runs this."""
    number = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(number)
