"""A client that hangs up, and a relay that loses RabbitMQ, end what is in the middle of a transaction: nothing of it stays
behind, and the ledger is free for the next one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import Ledger, open_ledger
from broker.ledger import tables as t
from tests.region import Region

Begin = Callable[[Ledger], AbstractAsyncContextManager[AsyncConnection]]
STEPS = 40
"""Turns of the event loop after which a transaction is ended: more than it takes."""


async def write(begin: Begin, ledger: Ledger) -> None:
    """Statements with rows that nobody has fetched yet."""
    async with begin(ledger) as c:
        await c.execute(t.relays.insert().values(until=t.EPOCH).returning(t.relays.c.number))
        await c.execute(select(t.relays.c.number))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("begin", [Ledger.accepting, Ledger.changing], ids=["accepting", "changing"])
async def test_whoever_is_ended_leaves_no_lock(here: Region, begin: Begin, times: int) -> None:
    """At any moment, once and again on its way out, its traceback kept for as long as anybody likes."""
    ledger = open_ledger(here.hub.ledger.url)
    ended: list[BaseException | None] = []
    try:
        for steps in range(STEPS):
            tasks = [asyncio.create_task(write(begin, ledger)) for _ in range(2)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for _ in range(times):
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(0)
            ended += await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(8):
                await write(begin, ledger)
    finally:
        await ledger.close()
    assert any(isinstance(one, asyncio.CancelledError) for one in ended)
    assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended)
