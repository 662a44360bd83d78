"""The release before: its schema, rows as it writes them, and (where the history is at hand) its very processes.

"Before" is the revision below the newest migration; its code is the commit before that migration came.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Column, DateTime, Integer, LargeBinary, MetaData, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import migrate
from tests.engines import missing

ROOT = Path(__file__).parents[1]
ROWS = 8
"""In each table: one for every state of a delivery."""
STATES = ("ready", "leased", "published", "settled", "dead", "withdrawn", "expired", "revoked")
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


def revisions() -> list[str]:
    """All of them, the oldest first."""
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    config.set_main_option("path_separator", "os")
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def steps() -> list[tuple[str, str]]:
    """(revision before, revision), for each but the first."""
    known = revisions()
    return list(pairwise(known))


# ── rows of any schema ──


async def schema(c: AsyncConnection) -> MetaData:
    """The tables as the database describes them now; Alembic's own left out."""
    found = MetaData()
    await c.run_sync(lambda connection: found.reflect(connection))
    found.remove(found.tables["alembic_version"])
    return found


async def write_rows(c: AsyncConnection, known: MetaData, start: int) -> None:
    """ROWS rows into each table of that schema, numbered from `start`, in the order that their references ask for.

    Tables of one row only, which the first migration fills, are left as they are.
    """
    for table in known.sorted_tables:
        if not _has_one_row(table):
            await c.execute(insert(table), [_row(table, number) for number in range(start, start + ROWS)])


def _has_one_row(table: Table) -> bool:
    return any("one_row" in str(check.name) for check in table.constraints)


def _row(table: Table, number: int) -> dict[str, Any]:
    by_hand = {"state": STATES[number % len(STATES)]} if table.name == "deliveries" else {}
    return {column.name: by_hand.get(column.name, _value(column, number)) for column in table.columns}


def _value(column: Column[Any], number: int) -> Any:
    """Another value for each number; where it refers to a row, that of the row of that number."""
    for key in column.foreign_keys:
        return _value(key.column, number)
    kind = column.type
    if isinstance(kind, DateTime):
        return BEGAN + timedelta(seconds=number)
    if isinstance(kind, Boolean):
        return number % 2 == 0
    if isinstance(kind, Integer):
        return number
    if isinstance(kind, LargeBinary):
        return number.to_bytes(32)
    length = getattr(kind, "length", None) or 40
    return f"{number:04}{column.table.name}.{column.name}"[:length] if length > 4 else str(number)[-length:]


async def rows_of(c: AsyncConnection, known: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, with the columns of that schema."""
    return {table.name: sorted(map(tuple, await c.execute(select(table))), key=repr) for table in known.sorted_tables}


async def counts(c: AsyncConnection, known: MetaData) -> Mapping[str, int]:
    return {t.name: (await c.execute(select(func.count()).select_from(t))).scalar_one() for t in known.sorted_tables}


# ── the code ──


def code(folder: Path) -> tuple[Path, str]:
    """The release before, laid out in `folder`, and the revision that it needs. Skips (or fails, where all is required)
    without the history for it."""
    newest = max(migrate.FOLDER.glob("versions/*.py"))
    came = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest.relative_to(ROOT)))
    if came is None:
        missing("the release before", "the project's history is not at hand")
    commit = came.decode().strip()
    before = _git("archive", f"{commit}^" if commit else "HEAD", "broker", "schemas")
    if before is None:
        missing("the release before", "the project's history is not at hand")
    with tarfile.open(fileobj=io.BytesIO(before)) as archive:
        archive.extractall(folder, filter="data")
    return folder, max((folder / "broker/ledger/migrations/versions").glob("*.py")).name.partition("_")[0]


def _git(*arguments: str) -> bytes | None:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


async def tidewaiter(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run one command to its end, which comes within a minute: (exit code, all it said)."""
    made = await asyncio.create_subprocess_exec(
        *command(*arguments), env={**os.environ, **environment}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(made.communicate(), 60)
    except TimeoutError:
        made.kill()
        raise
    return made.returncode or 0, said.decode()


def command(*arguments: str) -> Sequence[str]:
    """`tidewaiter ...` of the tree that `environment` names."""
    return [sys.executable, "-P", "-c", "import sys; from broker.cli import main; sys.exit(main())", *arguments]


def environment(tree: Path, home: Path, ledger_url: str, port: int) -> dict[str, str]:
    return {
        "PYTHONPATH": str(tree), "TIDEWAITER_HOME": str(home), "TIDEWAITER_LEDGER_URL": ledger_url,
        "TIDEWAITER_LISTEN": f"127.0.0.1:{port}", "TIDEWAITER_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
