"""Who waits for a wake-up can be ended at any moment, also at the very one when it comes."""

from __future__ import annotations

import asyncio

import pytest

from broker.ledger.wakes import Wakes


async def test_woken_or_not() -> None:
    wakes = Wakes()
    with wakes.listening("a") as waiter:
        assert not await waiter.wait(0.01)
        wakes.wake(["a"])
        assert await waiter.wait(0)


@pytest.mark.parametrize("ticks", range(5))
async def test_an_end_that_comes_with_the_wake_up_is_an_end(ticks: int) -> None:
    """`asyncio.wait_for` forgot it before Python 3.12: a relay's task lived on in a session that was over."""
    wakes = Wakes()
    ended: list[bool] = []

    async def waits() -> None:
        with wakes.listening("a") as waiter:
            ended.append(await waiter.wait(10))

    task = asyncio.create_task(waits())
    await asyncio.sleep(0.01)
    wakes.wake(["a"])
    for _ in range(ticks):
        await asyncio.sleep(0)
    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended
    else:
        assert ended == [True]
