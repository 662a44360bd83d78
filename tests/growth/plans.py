"""What the database did for one thing that the hub did: every statement with its plan, as it was really run.

PostgreSQL tells of each statement itself (auto_explain), so that a plan that its server has kept from earlier calls is
seen as such. SQLite is asked for the plan of each statement afterwards, and its machine's steps are counted meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import Ledger

EXPLAIN = {
    "log_min_duration": "0", "log_analyze": "on", "log_buffers": "on", "log_timing": "off", "log_format": "json",
    "log_level": "notice",
}  # fmt: skip
STEPS = 100
"""SQLite's steps are counted in so many."""


@dataclass(frozen=True)
class Statement:
    """`visited`: rows that were looked at, whether they were wanted or not. `scanned`: tables read from end to end."""

    sql: str
    visited: int
    blocks: int
    scanned: tuple[str, ...]
    plan: str


@dataclass
class Seen:
    """What one operation cost. `work`: rows visited on PostgreSQL; hundreds of machine steps on SQLite."""

    statements: list[Statement] = field(default_factory=list)
    steps: int = 0

    @property
    def work(self) -> int:
        return self.steps or sum(s.visited for s in self.statements)

    @property
    def blocks(self) -> int:
        return sum(s.blocks for s in self.statements)

    @property
    def heaviest(self) -> Statement | None:
        return max(self.statements, key=lambda s: s.visited + s.blocks, default=None)

    def scans(self) -> set[str]:
        return {table for s in self.statements for table in s.scanned}


@asynccontextmanager
async def watching(ledger: Ledger) -> AsyncIterator[Seen]:
    """What runs on this ledger inside the block. On PostgreSQL the ledger has a pool of one connection."""
    seen = Seen()
    async with (_sqlite if ledger.is_sqlite else _postgres)(ledger, seen):
        yield seen


@asynccontextmanager
async def _postgres(ledger: Ledger, seen: Seen) -> AsyncIterator[None]:
    def noticed(_connection: Any, notice: Any) -> None:
        said, _, plan = notice.message.partition("plan:")
        if said.startswith("duration:"):
            seen.statements.append(_read(json.loads(plan)))

    async with ledger.writing.connect() as c:
        raw: Any = (await c.get_raw_connection()).driver_connection
        await raw.execute("LOAD 'auto_explain'")
        await raw.execute("; ".join(f"SET auto_explain.{name} = {value}" for name, value in EXPLAIN.items()))
    raw.add_log_listener(noticed)
    try:
        yield
    finally:
        await raw.execute("SET auto_explain.log_min_duration = -1")
        raw.remove_log_listener(noticed)


def _read(said: dict[str, Any]) -> Statement:
    root = said["Plan"]
    nodes = list(_nodes(root))
    scanned = {n["Relation Name"] for n in nodes if n["Node Type"].endswith("Seq Scan") and n["Actual Loops"]}
    blocks = int(root.get("Shared Hit Blocks", 0)) + int(root.get("Shared Read Blocks", 0))
    return Statement(said["Query Text"], sum(map(_visited, nodes)), blocks, tuple(sorted(scanned)), json.dumps(root))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _visited(node: dict[str, Any]) -> int:
    if "Scan" not in node["Node Type"]:
        return 0
    rows = sum(node.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return int(rows * node["Actual Loops"])


@asynccontextmanager
async def _sqlite(ledger: Ledger, seen: Seen) -> AsyncIterator[None]:
    """Counts on every connection that is handed out; plans are asked for at the end."""
    ran: list[tuple[str, Any]] = []
    counted = [0]
    raws: list[Any] = []

    def count() -> int:
        counted[0] += 1
        return 0

    def executed(_c: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        ran.append((sql, parameters[0] if many else parameters))

    engines = (ledger.writing.sync_engine, ledger.reading_engine.sync_engine)
    for engine in (ledger.writing, ledger.reading_engine):
        async with engine.connect() as c:
            raws.append((await c.get_raw_connection()).driver_connection)
            await raws[-1].set_progress_handler(count, STEPS)
    for one in engines:
        event.listen(one, "before_cursor_execute", executed)
    try:
        yield
    finally:
        for one in engines:
            event.remove(one, "before_cursor_execute", executed)
        for raw in raws:
            await raw.set_progress_handler(None, STEPS)
    seen.steps = counted[0]
    async with ledger.reading() as c:
        for sql, parameters in dict.fromkeys((sql, tuple(p)) for sql, p in ran):
            seen.statements.append(await _asked(c, sql, parameters))


async def _asked(c: AsyncConnection, sql: str, parameters: tuple[Any, ...]) -> Statement:
    rows = (await c.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)).all()
    plan = [str(row[-1]) for row in rows]
    scanned = {line.split()[1] for line in plan if line.startswith("SCAN ") and "USING" not in line}
    return Statement(sql, 0, 0, tuple(sorted(scanned)), "\n".join(plan))
