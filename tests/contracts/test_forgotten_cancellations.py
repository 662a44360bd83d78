"""aiormq may forget that a task was told to end (`asyncio.wait_for` before Python 3.12): the relay's session ends all the
same, whatever ended it, and another begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker import relay
from broker.ledger.wakes import RELAYS
from broker.rabbit import dead_letters
from broker.rabbit.member_queue import MemberQueue
from tests.engines import Rabbit
from tests.region import to, wired_region
from tests.wire import amqp_queue, collecting, until

pytestmark = pytest.mark.long


def forgetful(original: Callable[..., Any], asleep: asyncio.Event, forgotten: list[str]) -> Callable[..., Any]:
    """Once, when it is told to end, it goes on as if nothing had been said."""

    async def call(*given: Any, **named: Any) -> Any:
        if forgotten:
            return await original(*given, **named)
        asleep.set()
        try:
            return await asyncio.sleep(3600)
        except asyncio.CancelledError:
            forgotten.append(original.__name__)
            return await original(*given, **named)

    return call


@pytest.mark.parametrize(
    ("owner", "method"), [(MemberQueue, "step"), (dead_letters, "_consumed"), (relay._Session, "_close_barred")]
)
async def test_a_session_ends_although_somebody_was_not_told(
    owner: Any, method: str, rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, go_round = relay._Session.run, relay._Session._go_round
    sessions, failing, asleep, forgotten = 0, False, asyncio.Event(), list[str]()

    async def connecting(session: Any, management: Any) -> None:
        nonlocal sessions
        sessions += 1
        await connect(session, management)

    async def going_round(*given: Any) -> None:
        nonlocal failing
        if failing:
            failing = False
            raise ConnectionError("broken on purpose")
        await go_round(*given)

    monkeypatch.setattr(relay._Session, "run", connecting)
    monkeypatch.setattr(relay._Session, "_go_round", going_round)
    monkeypatch.setattr(dead_letters, "LOOK_AGAIN_SECONDS", 0.3)
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE")
        name = await amqp_queue(r, "PE")
        monkeypatch.setattr(owner, method, forgetful(getattr(owner, method), asleep, forgotten))
        r.hub.wakes.wake_all()
        async with asyncio.timeout(30):
            await asleep.wait()
        if owner is relay._Session:  # which is the one that would fail
            await asyncio.to_thread(rabbit.api, "DELETE", f"/api/connections/username/{rabbit.user}")
        else:
            failing = True
            r.hub.wakes.wake([RELAYS])

        async def again() -> bool:
            return sessions == 2

        await until(again, 30)
        assert forgotten == [method]
        async with collecting(r, rabbit, "PE", name) as collector:
            await collector.has({await r.send("CL", "next", to("PE"))})
