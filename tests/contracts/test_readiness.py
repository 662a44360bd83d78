"""/readyz: whoever watches gets an answer in time, and costs the hub nothing, however often it asks a ledger that hangs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import event

from broker.api import health
from tests.region import Region

SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(1)",
}
"""About a second, in the ledger itself."""


async def test_a_ledger_that_answers_late_costs_no_connection(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 meanwhile to each of many who ask, for one look between them; what it looks with is whole afterwards."""
    engine = here.hub.ledger.reading_engine.sync_engine
    looks: list[float] = []
    lost: list[Any] = []
    assert (await here.http.get("/readyz")).status_code == 200
    monkeypatch.setattr(health, "READY_SECONDS", 0.05)

    def late(connection: Any) -> None:
        looks.append(time.monotonic())
        connection.exec_driver_sql(SLOW[engine.dialect.name])

    event.listen(engine, "begin", late)
    for what in ("close", "invalidate", "close_detached"):
        event.listen(engine, what, lambda *given: lost.append(given))
    answers = await asyncio.gather(*(here.http.get("/readyz") for _ in range(8)))
    event.remove(engine, "begin", late)

    assert {answer.status_code for answer in answers} == {503}
    assert len(looks) == 1
    async with asyncio.timeout(30):
        while (await here.http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)
    assert lost == []
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of the pools that count


async def test_a_ledger_that_is_gone_is_told_at_once(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """And looked at anew each time: it is ready again as soon as it is back."""
    engine = here.hub.ledger.reading_engine.sync_engine

    def gone(*_: Any) -> None:
        raise OSError("gone")

    event.listen(engine, "begin", gone)
    away = await here.http.get("/readyz")
    event.remove(engine, "begin", gone)

    assert (away.status_code, away.json()["code"]) == (503, "ledger-away")
    assert (await here.http.get("/readyz")).status_code == 200
