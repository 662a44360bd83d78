"""What has come: (address, round) → digest, kept though the team takes the files away.

The same delivery again, or the same message in a second queue, is known by it and makes no second file. It is one
SQLite file, durable after each line. Losing it loses no message: what is unsettled then may come a second time.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from broker import clock
from broker.errors import SetupRefused

KEPT = timedelta(days=400)
"""A delivery that is offered again after longer than this makes its files anew."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS received (
    address TEXT NOT NULL, round INTEGER NOT NULL, digest TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (address, round)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS received_at ON received (at);
"""


class Received:
    """See the module. Raises OSError."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def digest(self, address: str) -> str | None:
        """Of the message as it came first; None if it has not come."""
        found = self._run("SELECT digest FROM received WHERE address = ? ORDER BY round LIMIT 1", address)
        return None if found is None else str(found[0])

    def has(self, address: str, round: int) -> bool:
        return self._run("SELECT 1 FROM received WHERE address = ? AND round = ?", address, round) is not None

    def remember(self, address: str, round: int, digest: str, now: datetime) -> None:
        """Durable once it returns."""
        self._run("INSERT OR IGNORE INTO received VALUES (?, ?, ?, ?)", address, round, digest, clock.text(now))
        self._run("DELETE FROM received WHERE at < ?", clock.text(now - KEPT))

    def _run(self, statement: str, *values: str | int) -> tuple[object, ...] | None:
        try:
            row: tuple[object, ...] | None = self._connection.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(self._path)) from None
        return row


@contextmanager
def opened(path: Path) -> Iterator[Received]:
    """The file, made if need be. Raises SetupRefused if it is damaged or of another make."""
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise SetupRefused(detail=f"{path} cannot be opened: {error}.") from None
    try:
        try:
            connection.execute("PRAGMA synchronous = EXTRA")  # the journal's end, too: a file removed is a commit
            connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            raise SetupRefused(detail=f"{path} cannot be used: {error}.") from None
        except sqlite3.DatabaseError as error:
            detail = f"{path} is damaged ({error}). Move it away: what is not settled yet may then come a second time."
            raise SetupRefused(detail=detail) from None
        yield Received(connection, path)
    finally:
        connection.close()
