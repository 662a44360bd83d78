"""A connection to PostgreSQL that was closed from the other side is noticed before it is used, without a round trip."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from broker.ledger import open_ledger
from tests.region import Region, to


async def test_nobody_is_refused_because_the_server_closed_idle_connections(postgres_here: Region) -> None:
    """As after a restart of the server, or of a proxy before it: whoever comes next has a new one."""
    r = postgres_here
    await r.enrol("CL", "PE")

    theirs: list[Any] = []

    async def held() -> None:
        async with r.hub.ledger.reading() as c:
            theirs.append((await c.get_raw_connection()).driver_connection)
            await c.execute(text("SELECT pg_sleep(0.2)"))

    await asyncio.gather(*(held() for _ in range(4)))
    administrator = open_ledger(r.hub.ledger.url.replace("+asyncpg", ""))
    async with administrator.reading() as c:
        ended = await c.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert len(ended.all()) >= 4
    await administrator.close()
    async with asyncio.timeout(20):
        while not all(one.is_closed() for one in theirs):
            await asyncio.sleep(0.01)

    for number in range(5):
        await r.send("CL", f"m-{number}", to("PE"))
    assert len(await r.take("PE")) == 5


async def test_a_transaction_asks_nothing_but_what_it_is_for(
    postgres_here: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question to the server whether it is there would be three round trips."""
    r = postgres_here
    asked: list[object] = []
    await r.enrol("CL", "PE")
    monkeypatch.setattr(r.hub.ledger.writing.sync_engine.dialect, "do_ping", asked.append)
    await r.send("CL", "m", to("PE"))

    assert asked == []
