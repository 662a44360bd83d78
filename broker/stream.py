"""Streaming: a queue's deliveries as they come, each with a lease, over one request that stays open.

A stream has at most `limit` deliveries unsettled at a time and takes a few a turn, so that many readers of one queue
share it fairly. It is resumed by the lease id of the last delivery that arrived (`Last-Event-ID`): what had been sent
after that one is taken back and offered at once, uncounted; what had arrived keeps its lease. It ends when the token
that opened it does, or when the hub stops: the reader comes back with a fresh one.

A lease of a stream is named `s`, 15 digits for the stream, 16 for the turn (hexadecimal), so that "after that one" is
an order among lease ids.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from broker.delivery import LEASE_SECONDS
from broker.errors import Fault, Invalid, quote
from broker.hub import Hub
from broker.ledger import deliveries as ledger
from broker.ledger import touch
from broker.members import Subscription
from broker.pull import leasable, lease_once, read_lease
from broker.tokens import Caller

HEARTBEAT_SECONDS = 15.0
"""A silent stream says at least so often that it is alive; proxies give up after a minute, mostly."""
TURN = 10
"""Deliveries that one reader takes before another one's turn."""
MARK = ledger.STREAM_MARK
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Stream:
    """An opened stream: what `deliveries` needs."""

    hub: Hub
    caller: Caller
    queue: Subscription
    limit: int
    lease_seconds: int
    name: str


async def open_stream(
    hub: Hub, caller: Caller, queue_name: str, *, limit: int, lease_seconds: int, last_event_id: str | None
) -> Stream:
    """Raises Invalid, NotFound, RegistryRefused, TokenRefused, TooMany: before anything is sent."""
    queue = await leasable(hub, queue_name, caller, limit=limit, lease_seconds=lease_seconds)
    with hub.limits.seats.one(caller.owner):
        pass
    name = MARK + secrets.token_hex(8)[1:]
    if last_event_id is not None:
        await _resume(hub, caller, queue, last_event_id)
    return Stream(hub, caller, queue, limit, lease_seconds, name)


async def _resume(hub: Hub, caller: Caller, queue: Subscription, last_event_id: str) -> None:
    last = read_lease(last_event_id)
    if last is None or not last[0].startswith(MARK) or len(last[0]) != ledger.TOKEN_CHARACTERS:
        raise Invalid(Fault("/last-event-id", "lease-id", found=quote(last_event_id)))
    now = hub.now()
    async with hub.ledger.accepting() as c:
        caller.check(await hub.registry(c), now)
        if await ledger.take_back(c, queue.id, *last, now):
            touch(c, [queue.id])


async def deliveries(stream: Stream) -> AsyncGenerator[dict[str, Any] | None, None]:
    """Deliveries as `pull.lease` shows them; None for a heartbeat. Raises what ends it: TokenRefused, LedgerAway ..."""
    with stream.hub.limits.seats.one(stream.caller.owner):
        async with aclosing(_deliveries(stream)) as found:
            async for one in found:
                yield one


async def _deliveries(stream: Stream) -> AsyncGenerator[dict[str, Any] | None, None]:
    hub, loop = stream.hub, asyncio.get_running_loop()
    turn = unsettled = 0
    silent_since = loop.time()
    while not hub.closing:
        if unsettled >= stream.limit and (unsettled := await _room_again(stream, silent_since)) >= stream.limit:
            yield None
            silent_since = loop.time()
            continue
        turn += 1
        wanted = min(TURN, stream.limit - unsettled)
        with hub.wakes.listening(stream.queue.id) as waiter:
            token = f"{stream.name}{turn:016x}"
            leased, again_seconds = await _whole(
                lease_once(hub, stream.caller, stream.queue, wanted, stream.lease_seconds, token)
            )
            if len(leased) == wanted:
                waiter.found()
            elif not leased and not hub.closing:
                left = silent_since + HEARTBEAT_SECONDS - loop.time()
                await waiter.wait(min(again_seconds, left))
        unsettled += len(leased)
        for delivery in leased:
            yield delivery
        if leased:
            silent_since = loop.time()
        elif loop.time() - silent_since >= HEARTBEAT_SECONDS:
            yield None
            silent_since = loop.time()


async def _room_again(stream: Stream, silent_since: float) -> int:
    """Wait until something of a full stream is settled, at most until its heartbeat is due: how many are unsettled."""
    hub, loop = stream.hub, asyncio.get_running_loop()
    with hub.wakes.listening(stream.name) as settled:
        while True:
            settled.clear()
            unsettled = await _whole(_unsettled(stream))
            left = silent_since + HEARTBEAT_SECONDS - loop.time()
            if unsettled < stream.limit or left <= 0 or hub.closing:
                return unsettled
            await settled.wait(min(left, LEASE_SECONDS[0]))


async def _unsettled(stream: Stream) -> int:
    async with stream.hub.ledger.reading() as c:
        stream.caller.check(await stream.hub.registry(c), stream.hub.now())
        return await ledger.unsettled(c, stream.queue.id, stream.name)


async def _whole(transaction: Coroutine[Any, Any, Result]) -> Result:
    """A transaction runs to its end although the reader goes: a connection to SQLite that is given up in the middle of
    one keeps its lock until it is collected, and nobody else can write for ten seconds and more."""
    task = asyncio.ensure_future(transaction)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, though the reader has gone
    return await asyncio.shield(task)
