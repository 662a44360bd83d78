"""What a load remembers, beside the file: an SQLite database, durable after each `commit`.

    rows         the digest of each row of the table, for the number of equal ones; written anew by each pass
    corrections  the digest of a row that came corrected in an error sheet, and its number among equal ones
    messages     the signed octets before they are posted, and the receipt afterwards
    refused      what is wrong with which row, in this pass

It holds messages: it is made for its owner's eyes alone, and one load at a time may have it open. A journal that is
lost costs nothing but time: ids and payloads are the same again, and the hub answers with the first receipts.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.errors import SetupRefused

TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (row INTEGER PRIMARY KEY, digest TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rows_digest ON rows (digest);
CREATE TABLE IF NOT EXISTS corrections (row INTEGER PRIMARY KEY, digest TEXT NOT NULL, occurrence INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS corrections_digest ON corrections (digest, occurrence);
CREATE TABLE IF NOT EXISTS messages (
  hub TEXT NOT NULL, address TEXT NOT NULL, row INTEGER NOT NULL, payload TEXT NOT NULL, compact TEXT NOT NULL, receipt TEXT,
  PRIMARY KEY (hub, address));
CREATE TABLE IF NOT EXISTS refused (n INTEGER PRIMARY KEY, row INTEGER NOT NULL, cells TEXT NOT NULL, faults TEXT NOT NULL);
"""
VERSION = "1"


@dataclass(frozen=True)
class Told:
    """One thing that is wrong with a row, as the error sheet says it. `columns`: headings' labels."""

    columns: tuple[str, ...]
    found: str
    rule: str
    expected: str


@dataclass(frozen=True)
class Kept:
    """A message of an earlier pass: `payload` is the digest of its octets; `receipt` None: its answer never came."""

    payload: str
    compact: str
    receipt: str | None


@dataclass(frozen=True)
class Refused:
    row: int
    cells: Mapping[str, str]
    faults: tuple[Told, ...]


class Journal:
    """An open journal. See `open_journal`."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db

    def commit(self) -> None:
        """Durable once it returns."""
        self._db.commit()

    def about(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def remember(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    # ── the number of equal rows ──

    def begin(self, table: str | None) -> None:
        """A new pass over a table, or over its error sheet (None), which leaves the table's rows as they are."""
        self._db.execute("DELETE FROM refused")
        if table is not None:
            self._db.execute("DELETE FROM rows")
            self.remember("whole", "no")
            self.remember("table", table)

    def whole(self) -> None:
        """The pass came to the table's end."""
        self.remember("whole", "yes")

    def occurrence(self, row: int, digest: str) -> int:
        """The how-manieth of equal rows this one is, from the table's beginning."""
        before = self._db.execute("SELECT count(*) FROM rows WHERE digest = ?", (digest,)).fetchone()[0]
        self._db.execute("INSERT INTO rows VALUES (?, ?)", (row, digest))
        return int(before) + 1

    def corrected(self, row: int, digest: str) -> int:
        """The same for a corrected row: after the equal rows of the table, and as before if it was seen before. So the
        ids are those of a table in which the row is corrected in its place, whichever is loaded first."""
        own = self._db.execute("SELECT digest FROM rows WHERE row = ?", (row,)).fetchone()
        if own is not None and own[0] == digest:  # as it was, or corrected in the table too
            counted = self._db.execute(
                "SELECT count(*) FROM rows WHERE digest = ? AND row <= ?", (digest, row)
            ).fetchone()
            return int(counted[0])
        known = self._db.execute("SELECT digest, occurrence FROM corrections WHERE row = ?", (row,)).fetchone()
        if known is not None and known[0] == digest:
            return int(known[1])
        inside = self._db.execute("SELECT count(*) FROM rows WHERE digest = ?", (digest,)).fetchone()[0]
        most = self._db.execute("SELECT max(occurrence) FROM corrections WHERE digest = ?", (digest,)).fetchone()[0]
        occurrence = max(int(inside), int(most or 0)) + 1
        self._db.execute("INSERT OR REPLACE INTO corrections VALUES (?, ?, ?)", (row, digest, occurrence))
        return occurrence

    def has_row(self, row: int) -> bool:
        return self._db.execute("SELECT 1 FROM rows WHERE row = ?", (row,)).fetchone() is not None

    # ── messages and receipts ──

    def message(self, hub: str, address: str) -> Kept | None:
        found = self._db.execute(
            "SELECT payload, compact, receipt FROM messages WHERE hub = ? AND address = ?", (hub, address)
        )
        row = found.fetchone()
        return None if row is None else Kept(*row)

    def keep_signed(self, hub: str, address: str, row: int, payload: str, compact: str) -> None:
        """Before it is posted. What has its receipt is never replaced by this."""
        self._db.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (hub, address) DO UPDATE SET row = excluded.row,"
            " payload = excluded.payload, compact = excluded.compact WHERE receipt IS NULL",
            (hub, address, row, payload, compact),
        )

    def keep_receipt(self, hub: str, address: str, payload: str, compact: str, receipt: str) -> None:
        """The octets that the receipt is about, and the receipt."""
        self._db.execute(
            "UPDATE messages SET payload = ?, compact = ?, receipt = ? WHERE hub = ? AND address = ? AND receipt IS NULL",
            (payload, compact, receipt, hub, address),
        )

    def receipts(self, hub: str) -> Iterator[tuple[str, str, str]]:
        """(address, message, receipt) of everything that was accepted."""
        yield from self._db.execute(
            "SELECT address, compact, receipt FROM messages WHERE hub = ? AND receipt IS NOT NULL ORDER BY row", (hub,)
        )

    # ── what was refused ──

    def refuse(self, row: int, cells: Mapping[str, str], faults: Sequence[Told]) -> None:
        told = [[list(fault.columns), fault.found, fault.rule, fault.expected] for fault in faults]
        self._db.execute(
            "INSERT INTO refused (row, cells, faults) VALUES (?, ?, ?)",
            (row, json.dumps(dict(cells)), json.dumps(told)),  # in ASCII: half a character is no text for a database
        )

    def refused(self) -> Iterator[Refused]:
        for row, cells, faults in self._db.execute("SELECT row, cells, faults FROM refused ORDER BY row, n"):
            told = tuple(Told(tuple(columns), found, rule, said) for columns, found, rule, said in json.loads(faults))
            yield Refused(row, json.loads(cells), told)


@contextmanager
def open_journal(path: Path, *, must_exist: bool = False) -> Iterator[Journal]:
    """Raises SetupRefused when it is no journal, somebody else has it open, or it is not there and must be."""
    if must_exist and not path.is_file():
        raise SetupRefused(
            detail=f"There is no journal {path}. It was written when the table itself was loaded; name it with --journal."
        )
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise SetupRefused(
            detail=f"The journal {path} cannot be written ({error.strerror}); name another with --journal."
        ) from None
    db = sqlite3.connect(path, timeout=1)
    try:
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA temp_store = FILE")
            db.executescript(TABLES)
            journal = Journal(path, db)
            if journal.about("version") not in (None, VERSION):
                raise SetupRefused(detail=f"{path} was written by another version; move it away, and load again.")
            journal.remember("version", VERSION)
            journal.commit()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise SetupRefused(detail=f"Another load has the journal {path} open.") from None
        yield journal
    except sqlite3.DatabaseError as error:
        raise SetupRefused(
            detail=f"The journal {path} cannot be used ({error}); move it away, and load again."
        ) from None
    finally:
        db.close()
