"""Grow a ledger in stages; at each, do every operation some times and keep what it took and what the database did."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from broker.ledger import open_ledger
from tests.growth.filling import World, everything, populate
from tests.growth.operations import OPERATIONS, Operation
from tests.growth.plans import Seen, watching
from tests.region import region

TIMES = 9
"""PostgreSQL may keep a plan from the sixth call of a statement on: enough for it to do so."""


@asynccontextmanager
async def world(url: str) -> AsyncIterator[World]:
    """An empty one, with one connection to PostgreSQL."""
    async with region(url) as r:
        began = datetime.now(UTC) - timedelta(days=500)
        relay = await populate(r, began)
        if not r.hub.ledger.is_sqlite:
            await r.hub.ledger.close()
            r.hub.ledger = open_ledger(url, pool_size=1)
        yield World(r, url, began, relay)


async def measure(w: World, operation: Operation, times: int = TIMES) -> dict[str, Any]:
    """Milliseconds (median), rows or steps visited, blocks, and the heaviest statement with its plan."""
    took = []
    for _ in range(1 if operation.once else times):
        call = await operation.prepare(w)
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1000)
    call = await operation.prepare(w)
    async with watching(w.r.hub.ledger) as seen:
        await call()
    return {"name": operation.name, "ms": statistics.median(took), "most_ms": max(took), **_told(seen)}


def _told(seen: Seen) -> dict[str, Any]:
    heaviest = seen.heaviest
    return {
        "work": seen.work,
        "blocks": seen.blocks,
        "scans": sorted(seen.scans()),
        "sql": heaviest.sql if heaviest else "",
        "plan": heaviest.plan if heaviest else "",
        "all": [[s.sql, s.visited, s.blocks, list(s.scanned), s.plan] for s in seen.statements][:60],
    }


async def stages(w: World, sizes: Sequence[int], only: str | None = None) -> AsyncIterator[dict[str, Any]]:
    """For each size: how long it took to fill, what the tables weigh, and every operation."""
    for size in sizes:
        began = time.perf_counter()
        await w.grow(size)
        w.r._tokens.clear()
        filled = time.perf_counter() - began
        done = []
        for operation in OPERATIONS:
            if only is None or only in operation.name:
                done.append(await measure(w, operation))
                print(f"  {size:>9,} {operation.name:<40}{done[-1]['ms']:>10.1f} ms{done[-1]['work']:>10,}", flush=True)
        yield {"messages": size, "fill_seconds": filled, "bytes": await weights(w), "operations": done}


async def weights(w: World) -> dict[str, int]:
    """Bytes of each table that grows, of its text kept apart, and of each index."""
    async with w.r.hub.ledger.reading() as c:
        if w.r.hub.ledger.is_sqlite:
            pages = (await c.execute(text("PRAGMA page_count"))).scalar_one()
            return {"file": pages * (await c.execute(text("PRAGMA page_size"))).scalar_one()}
        found: dict[str, int] = {}
        for table in everything():
            rows = await c.execute(text(
                "SELECT pg_table_size(oid), pg_indexes_size(oid), coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)"
                f" FROM pg_class WHERE oid = '{table}'::regclass"
            ))  # fmt: skip
            whole, indexes, toast = rows.one()
            found |= {table: whole, f"{table} (its texts, out of line)": toast, f"{table} (indexes)": indexes}
            found |= {
                f"index {name}": size
                for name, size in await c.execute(text(
                    f"SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index"
                    f" WHERE indrelid = '{table}'::regclass"
                ))
            }  # fmt: skip
        return found
