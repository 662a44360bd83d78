"""A SQLite ledger, copied while a hub serves, and measured: what measure.sql and whole.sql are for PostgreSQL.

    sqlite_ledger.py copy LEDGER COPY     one consistent copy, by SQLite's online backup
    sqlite_ledger.py measure LEDGER       what it holds, one line a figure
    sqlite_ledger.py whole LEDGER         says nothing if the file and every message in it are whole

Needs Python's standard library alone.
"""

import base64
import hashlib
import os
import sqlite3
import sys
from pathlib import Path


def copy(source: str, target: str) -> None:
    """All pages in one step, from one snapshot; the hub goes on writing into its write-ahead log."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with _open(source) as ledger, sqlite3.connect(target) as into:
        ledger.backup(into)
        into.execute("PRAGMA journal_mode = DELETE")  # one file, that says all


def measure(path: str) -> None:
    with _open(path) as ledger:
        ledger.execute("BEGIN")
        for query in (
            "SELECT 'revision ' || version_num FROM alembic_version",
            "SELECT 'position ' || position FROM head",
            "SELECT 'registry ' || version FROM registry",
            "SELECT 'hub_key ' || kid FROM keys WHERE owner = 'HUB' AND revoked_at IS NULL ORDER BY not_before, kid",
        ):
            for (line,) in ledger.execute(query):
                print(line)
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        for (table,) in ledger.execute(tables).fetchall():
            rows = total = 0
            for row in ledger.execute(f'SELECT * FROM "{table}"'):
                rows += 1
                total += int(hashlib.sha256(repr(row).encode()).hexdigest()[:15], 16)
            print(f"table {table} {rows} {total}")


def whole(path: str) -> None:
    with _open(path) as ledger:
        for (line,) in ledger.execute("PRAGMA integrity_check"):
            if line != "ok":
                print(f"broken {line}")
        for row in ledger.execute("PRAGMA foreign_key_check"):
            print(f"broken reference {row}")
        for originator, id, jws, digest in ledger.execute("SELECT originator, id, jws, digest FROM messages"):
            found = base64.urlsafe_b64encode(hashlib.sha256(jws.encode()).digest()).decode().rstrip("=")
            if found != digest:
                print(f"broken {originator}:{id}")


def _open(path: str) -> sqlite3.Connection:
    """Never makes a file that is not there."""
    return sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", uri=True, timeout=30)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["copy", source, target]:
            copy(source, target)
        case ["measure", path]:
            measure(path)
        case ["whole", path]:
            whole(path)
        case _:
            sys.exit(__doc__)
