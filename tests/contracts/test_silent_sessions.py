"""A process that was stopped within a statement, not ended: what it held is free after a while, also where PostgreSQL's own
timeout does not count."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.ledger import listen, silent
from tests.faults import Process, process
from tests.region import Region, to
from tests.wire import until

STOPPED = """
import asyncio, os, signal, sys
from sqlalchemy import text
from broker.ledger import open_ledger

async def work():
    async with open_ledger(sys.argv[1]).accepting() as c:
        await c.execute(text("SELECT 1 FROM deliveries FOR UPDATE"))
        session = (await c.get_raw_connection()).driver_connection
        if sys.argv[2] == "prepared":
            await session.prepare("SELECT 1 + $1::int")
        else:
            session._transport.pause_reading()
            asyncio.ensure_future(session.fetch("SELECT repeat('x', 1000000) FROM generate_series(1, 30)"))
            await asyncio.sleep(0.5)
        print("stopped", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        print("goes on", flush=True)
        await c.execute(text("SELECT 1"))

asyncio.run(work())
"""
"""With the registry held still, as all who accept and hand over, and the deliveries locked."""


@asynccontextmanager
async def stopped(url: str, how: str, tmp_path: Path) -> AsyncIterator[Process]:
    async with process(sys.executable, "-c", STOPPED, url, how, output=tmp_path / "said") as child:

        async def so() -> bool:
            assert child.running, child.said()
            return "stopped" in child.said()

        await until(so)
        yield child


@pytest.mark.parametrize("how", ["prepared", "answered"])
async def test_what_it_held_is_free_after_a_while(
    postgres_here: Region, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers have what it held, and the registry may change; going on, it is told that its transaction is gone."""
    monkeypatch.setattr(silent, "IDLE_SECONDS", 2)
    monkeypatch.setattr(listen, "ALIVE_SECONDS", 1)
    r, url = postgres_here, postgres_here.hub.ledger.url.replace("+asyncpg", "")
    await r.enrol("CL", "PE")
    await r.send("CL", release=to("PE"))
    watching = asyncio.create_task(listen.listen(r.hub.ledger))
    try:
        async with stopped(url, how, tmp_path) as child, asyncio.timeout(30):
            changing = asyncio.create_task(r.group("OP", "CL", "PE"))
            assert len(await took(r)) == 1
            await changing
            os.kill(child.pid, signal.SIGCONT)
            while child.running:
                await asyncio.sleep(0.02)
            assert "goes on" in child.said()
            assert "LedgerAway" in child.said()
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def took(r: Region) -> list[dict[str, object]]:
    """As a member does who is told to come again."""
    while True:
        answer = await r.call("PE", "POST", "/v1/queues/inbox/lease", {})
        if answer.status_code == 200 and answer.json()["deliveries"]:
            return list(answer.json()["deliveries"])
        await asyncio.sleep(0.2)
