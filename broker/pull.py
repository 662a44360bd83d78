"""Pulling: lease, extend, settle, replay, and the queue's index. A member only ever reaches its own queues.

The lease decides entitlement anew (promise 2); a settle with a stale lease is refused (promise 7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import acknowledge, clock, metrics
from broker.accept import read_warnings
from broker.delivery import LEASE_SECONDS, MAX_DELAY_SECONDS
from broker.errors import BrokerError, Fault, Held, Invalid, NotFound, RegistryRefused, StaleLease, quote
from broker.hub import Hub
from broker.ledger import deliveries as ledger
from broker.ledger import replays, touch
from broker.logs import log
from broker.members import Registry, Subscription
from broker.tokens import Caller

MAX_LEASE = 100
"""Most deliveries in one lease or settle call; bounds an answer to about 25 MB."""
MAX_WAIT_SECONDS = 30
HELD_SECONDS = 5.0
"""How long a reader tries to get at what another transaction holds. Milliseconds, unless a process was stopped: then
PostgreSQL ends its transaction (`ledger.core.IDLE_SECONDS`)."""
HELD_PAUSE_SECONDS = 0.01
LOOK_AGAIN_SECONDS = 30.0
"""A reader that nobody wakes looks again after so long: a word may have been lost."""


def own_queue(registry: Registry, caller: Caller, name: str) -> Subscription:
    """The caller's queue of that name. Raises NotFound: other members' queues do not exist for it."""
    queue = registry.queue(caller.owner, name)
    if queue is None:
        raise NotFound(Fault("/queue", "queue-unknown", found=quote(name)))
    return queue


async def lease(
    hub: Hub,
    caller: Caller,
    queue_name: str,
    *,
    limit: int = 10,
    lease_seconds: int = LEASE_SECONDS[1],
    wait_seconds: float = 0,
) -> list[dict[str, Any]]:
    """Lease up to `limit` deliveries in sequence order; wait up to `wait_seconds` for the first one."""
    queue = await leasable(hub, queue_name, caller, limit=limit, lease_seconds=lease_seconds, wait_seconds=wait_seconds)
    deadline = asyncio.get_running_loop().time() + wait_seconds
    seat = hub.limits.seats.one(caller.owner) if wait_seconds else nullcontext()
    with seat, hub.wakes.listening(queue.id) as waiter:
        while True:
            waiter.clear()
            leased, again_seconds = await lease_once(hub, caller, queue, limit, lease_seconds, ledger.new_token())
            if len(leased) == limit:
                waiter.found()
            remaining = deadline - asyncio.get_running_loop().time()
            if leased or remaining <= 0 or hub.closing:
                return leased
            await waiter.wait(min(remaining, again_seconds))


async def leasable(
    hub: Hub, queue_name: str, caller: Caller, *, limit: int, lease_seconds: int, wait_seconds: float = 0
) -> Subscription:
    """The caller's queue, if it can be leased so. Raises Invalid, NotFound, RegistryRefused."""
    faults = [
        Fault(f"/{name}", "range", found=str(value), allowed=(f"{low}..{high}",))
        for name, value, low, high in (
            ("limit", limit, 1, MAX_LEASE),
            ("lease_seconds", lease_seconds, LEASE_SECONDS[0], LEASE_SECONDS[2]),
            ("wait_seconds", wait_seconds, 0, MAX_WAIT_SECONDS),
        )
        if not low <= value <= high
    ]
    if faults:
        raise Invalid(*faults)
    async with hub.ledger.reading() as c:
        queue = own_queue(await hub.registry(c), caller, queue_name)
    if queue.delivery == "amqp":
        raise RegistryRefused(Fault("/queue", "queue-is-amqp", found=queue_name))
    return queue


async def lease_once(
    hub: Hub, caller: Caller, queue: Subscription, limit: int, lease_seconds: int, token: str
) -> tuple[list[dict[str, Any]], float]:
    """One look. Also, if it found nothing, in how many seconds something is known to be offered again, unasked.

    Raises Held if somebody else has what comes next, and has had it all the while.
    """
    give_up_at = asyncio.get_running_loop().time() + HELD_SECONDS
    while True:
        try:
            async with hub.turns.setdefault(queue.id, asyncio.Lock()):
                return await _look(hub, caller, queue, limit, lease_seconds, token)
        except Held:
            if hub.closing or asyncio.get_running_loop().time() > give_up_at:
                raise
        await asyncio.sleep(HELD_PAUSE_SECONDS)


async def _look(
    hub: Hub, caller: Caller, queue: Subscription, limit: int, lease_seconds: int, token: str
) -> tuple[list[dict[str, Any]], float]:
    now = hub.now()
    again_seconds = LOOK_AGAIN_SECONDS
    async with hub.ledger.accepting() as c:
        registry = await hub.registry(c)
        caller.check(registry, now)
        own_queue(registry, caller, queue.name)
        rows = await ledger.lease(c, registry, queue.id, limit, token, lease_seconds, now)
        if len(rows) < limit and await ledger.bring_back(c, now, limit, queue.id):
            rows += await ledger.lease(c, registry, queue.id, limit - len(rows), token, lease_seconds, now)
        if not rows and (instant := await ledger.next_offer(c, queue.id, now)):
            again_seconds = min(again_seconds, max(0.01, (instant - now).total_seconds()))
    if rows:
        hub.alarm.at(now + timedelta(seconds=lease_seconds))
        metrics.leased.inc(len(rows))
        log.info("delivery.leased", member=caller.owner, queue=queue.name, deliveries=len(rows))
    return _shown(queue, rows, token, now, lease_seconds), again_seconds


def _shown(
    queue: Subscription, rows: Sequence[RowMapping], token: str, now: datetime, lease_seconds: int
) -> list[dict[str, Any]]:
    until = clock.text(now + timedelta(seconds=lease_seconds))
    return [
        {
            "delivery_id": f"{row['queue']}-{row['sequence']}",
            "lease_id": f"{token}.{row['sequence']}",
            "lease_until": until,
            "sequence": row["sequence"],
            "round": row["round"],
            "count": row["count"] + 1,
            "duties": row["duties"].split(","),
            "rule": row["rule"],
            "match": None if row["clause"] is None else {"subscription": queue.name, "clause": row["clause"]},
            "accepted_at": clock.text(row["accepted_at"]),
            "warnings": read_warnings(row["warnings"]),
            "message": row["jws"],
        }
        for row in rows
    ]


def read_lease(lease_id: object) -> tuple[str, int] | None:
    """(token, sequence) of a public lease id; None for what is none."""
    token, _, sequence = lease_id.partition(".") if isinstance(lease_id, str) else ("", "", "")
    digits = sequence.isascii() and sequence.isdigit() and len(sequence) < 19
    return (token, int(sequence)) if digits and token else None


async def extend(
    hub: Hub, caller: Caller, queue_name: str, lease_ids: Sequence[str], lease_seconds: int
) -> list[dict[str, Any]]:
    """Keep leases for `lease_seconds` from now. One status an item: 200, or 409 for a stale one."""
    if not LEASE_SECONDS[0] <= lease_seconds <= LEASE_SECONDS[2]:
        allowed = (f"{LEASE_SECONDS[0]}..{LEASE_SECONDS[2]}",)
        raise Invalid(Fault("/lease_seconds", "range", found=str(lease_seconds), allowed=allowed))
    now = hub.now()
    until = now + timedelta(seconds=lease_seconds)
    async with hub.ledger.accepting() as c:
        registry = await hub.registry(c)
        caller.check(registry, now)
        queue = own_queue(registry, caller, queue_name)
        leases = [read_lease(lease_id) for lease_id in lease_ids]
        rows = await ledger.of_lease(c, queue.id, [sequence for _, sequence in filter(None, leases)])
        held = [one is not None and _holds(rows.get(one[1]), one[0], now) for one in leases]
        await ledger.extend(
            c, queue.id, [one[1] for one, ok in zip(leases, held, strict=True) if one and ok], until, now
        )
    hub.alarm.at(until)
    return [
        {"lease_id": lease_id, "status": 200, "lease_until": clock.text(until)}
        if ok
        else {"lease_id": lease_id, "status": 409, "problem": StaleLease(Fault("/lease_id", "stale-lease"))}
        for lease_id, ok in zip(lease_ids, held, strict=True)
    ]


def _holds(row: RowMapping | None, token: str, now: datetime) -> bool:
    return row is not None and row["state"] == "leased" and row["lease_id"] == token and row["lease_until"] > now


@dataclass(frozen=True, slots=True)
class Settlement:
    lease_id: str
    outcome: str
    delay_seconds: int = 0
    reason: str | None = None
    acknowledgement: str | None = None


async def settle(hub: Hub, caller: Caller, queue_name: str, settlements: Sequence[Settlement]) -> list[dict[str, Any]]:
    """accept, release or reject, each by its lease; one status an item. Item and acknowledgement stand or fall together."""
    now = hub.now()
    answers: list[dict[str, Any]] = []
    async with hub.ledger.accepting() as c:
        registry = await hub.registry(c)
        caller.check(registry, now)
        queue = own_queue(registry, caller, queue_name)
        leases = [read_lease(s.lease_id) for s in settlements]
        rows: Mapping[int, RowMapping] = await ledger.of_lease(c, queue.id, [one[1] for one in leases if one])
        done: dict[tuple[int, str], str] = {}
        accepted: list[int] = []
        for settlement, one in zip(settlements, leases, strict=True):
            try:
                row = rows.get(one[1]) if one else None
                if one is None or row is None:
                    raise StaleLease(Fault("/lease_id", "stale-lease"))
                state = await _settle_one(c, hub, caller, registry, settlement, row, one[0], done, accepted, now)
                answers.append({"lease_id": settlement.lease_id, "status": 200, "state": state})
                metrics.settled.labels(settlement.outcome).inc()
            except BrokerError as error:
                answers.append({"lease_id": settlement.lease_id, "status": error.status, "problem": error})
        await ledger.settle(c, queue.id, accepted, now)  # the usual outcome, in one statement; the rows are locked
        if any(state == "ready" for state in done.values()):
            touch(c, [queue.id])
        touch(c, {ledger.stream_of(token) for _, token in done if ledger.stream_of(token)})
    log.info("delivery.settled", member=caller.owner, queue=queue.name,
             settled=sum(a["status"] == 200 for a in answers), refused=sum(a["status"] != 200 for a in answers))  # fmt: skip
    return answers


_SETTLED_STATE = {"accept": "settled", "reject": "dead"}


async def _settle_one(
    c: AsyncConnection, hub: Hub, caller: Caller, registry: Registry, settlement: Settlement, row: RowMapping, token: str,
    done: dict[tuple[int, str], str], accepted: list[int], now: datetime,
) -> str:  # fmt: skip
    """The new state. What is accepted is only noted in `accepted`, for the caller to write."""
    sequence: int = row["sequence"]
    before = done.get((sequence, token)) or (row["state"] if row["lease_id"] == token else None)
    if before in ("settled", "dead") and before == _SETTLED_STATE.get(settlement.outcome):
        return str(before)  # the same settle again by the lease that settled
    if (sequence, token) in done or not _holds(row, token, now):
        raise StaleLease(Fault("/lease_id", "stale-lease"))
    if settlement.acknowledgement is not None and settlement.outcome != "accept":
        raise Invalid(Fault("/acknowledgement", "acknowledgement-only-with-accept", found=settlement.outcome))
    if settlement.outcome == "accept":
        if settlement.acknowledgement is not None:
            await acknowledge.record(
                c,
                registry,
                caller,
                f"{row['originator']}:{row['id']}",
                settlement.acknowledgement.encode("ascii", "replace"),
                now,
            )
        accepted.append(sequence)
        state = "settled"
    elif settlement.outcome == "release":
        if not 0 <= settlement.delay_seconds <= MAX_DELAY_SECONDS:
            raise Invalid(
                Fault(
                    "/delay_seconds", "range", found=str(settlement.delay_seconds), allowed=(f"0..{MAX_DELAY_SECONDS}",)
                )
            )
        later = now + timedelta(seconds=settlement.delay_seconds) if settlement.delay_seconds else None
        state = await ledger.come_back(c, row, now, later)
    elif settlement.outcome == "reject":
        await ledger.reject(c, row["queue"], sequence, (settlement.reason or "rejected")[:500], now)
        metrics.dead_letters.labels("rejected").inc()
        state = "dead"
    else:
        raise Invalid(
            Fault("/outcome", "enum", found=quote(settlement.outcome), allowed=("accept", "release", "reject"))
        )
    done[sequence, token] = state
    return state


async def replay(hub: Hub, caller: Caller, queue_name: str, wanted: replays.Replay) -> dict[str, Any]:
    """Have handed-over deliveries of one's own queue again, under today's rights."""
    now = hub.now()
    async with hub.ledger.accepting() as c:
        registry = await hub.registry(c)
        caller.check(registry, now)
        queue = own_queue(registry, caller, queue_name)
        replayed, skipped = await replays.replay(c, registry, queue.id, wanted, now)
        if replayed:
            touch(c, [queue.id])
    log.info("queue.replayed", member=caller.owner, queue=queue.name, replayed=replayed, skipped=len(skipped))
    return {
        "replayed": replayed,
        "skipped": [{"sequence": one.sequence, "state": one.state} for one in skipped],
    }
