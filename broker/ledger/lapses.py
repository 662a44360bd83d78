"""Deciding anew about what a change may have barred: a leave, an operation's end, an amendment, a return from suspension.

Looked at is what can still be taken back, never a queue's whole past: ready deliveries, and of the published ones those
that RabbitMQ may still hold, which are younger than the moment when the queue was last seen empty. A consumer that never
acknowledges has a past of published deliveries without end. What waits is read in pieces: that may be millions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.delivery import at_hand_over, barred_by_amendment
from broker.ledger import tables as t
from broker.ledger.deliveries import DRAIN, UNSETTLED, latest, move, standing, standings, state_is
from broker.ledger.wakes import RELAYS, touch
from broker.members import Registry

d = t.deliveries.c
PIECE = 1_000
"""Ready deliveries decided about at a time."""


async def lapse_chain(c: AsyncConnection, registry: Registry, chain: int, now: datetime) -> None:
    """What is out of a chain, after an amendment."""
    out = or_(state_is("ready"), state_is("published"))
    query = standings().where(t.messages.c.chain == chain, t.messages.c.withdraws.is_(False), out)
    barred: dict[str, list[int]] = defaultdict(list)
    for row in (await c.execute(query)).mappings():
        if barred_by_amendment(standing(row), registry, now):
            barred[row["queue"]].append(row["sequence"])
    for queue in sorted(barred):  # only these are locked: who is still entitled is not held up
        theirs = standings().where(d.queue == queue, d.sequence.in_(barred[queue]), out).order_by(d.sequence)
        if await _revoke(c, queue, await _locked(c, theirs), now):
            await _drain(c, queue, now)


async def lapse_group(
    c: AsyncConnection, registry: Registry, group: str, members: Iterable[str], now: datetime
) -> None:
    """What the group may have admitted, after a leave or an operation's end.

    The latest release says so, not the delivery's rule: that is the first that admitted it, perhaps to another version.
    """
    await _lapse(c, registry, members, now, latest.c.release.contains(json.dumps(group), autoescape=True))


async def lapse_member(c: AsyncConnection, registry: Registry, member: str, now: datetime) -> None:
    """All that was held for a suspended member, now that it is active again."""
    await _lapse(c, registry, [member], now)


async def _lapse(c: AsyncConnection, registry: Registry, members: Iterable[str], now: datetime, *where: Any) -> None:
    """ready becomes revoked; a queue of which a barred copy may be in RabbitMQ is drained. Rows are locked as they are
    read: a claim of the relay that has not committed yet is waited for, or it would be published unseen."""
    q, s = t.queues.c, t.subscriptions.c
    queues = select(q.id, q.empty_at).join(t.subscriptions, s.id == q.id).where(s.member.in_(list(members)))
    for queue, empty_at in (await c.execute(queues.order_by(q.id))).all():
        drain, after, more = False, 0, True
        while more:
            query = standings().where(d.queue == queue, state_is("ready"), d.sequence > after, *where)
            rows = await _locked(c, query.order_by(d.sequence).limit(PIECE))
            barred = [row for row in rows if at_hand_over(standing(row), registry, now) == "revoked"]
            drain |= await _revoke(c, queue, barred, now)
            more = len(rows) == PIECE
            after = rows[-1]["sequence"] if rows else after
        if not drain:
            held = standings().where(d.queue == queue, state_is("published"), UNSETTLED, *where)
            rows = await _locked(c, held if empty_at is None else held.where(d.changed_at >= empty_at))
            drain = any(at_hand_over(standing(row), registry, now) == "revoked" for row in rows)
        if drain:
            await _drain(c, queue, now)


async def _locked(c: AsyncConnection, query: Select[Any]) -> Sequence[RowMapping]:
    rows: Sequence[RowMapping] = (await c.execute(query.with_for_update(of=t.deliveries))).mappings().all()
    return rows


async def _revoke(c: AsyncConnection, queue: str, barred: Sequence[RowMapping], now: datetime) -> bool:
    """True if a copy of one of them may be in RabbitMQ."""
    ready = [row["sequence"] for row in barred if row["state"] == "ready"]
    await move(c, queue, ready, "ready", now, state="revoked", reason="revoked")
    return any(row["attempt"] for row in barred)


async def _drain(c: AsyncConnection, queue: str, now: datetime) -> None:
    """The queue is to be closed and drained, and the member's connections closed: any relay can do that, should the one
    that holds the queue be dead."""
    q, s = t.queues.c, t.subscriptions.c
    await c.execute(update(t.queues).where(q.id == queue, q.declared).values(drain=True))
    member = (await c.execute(select(s.member).where(s.id == queue))).scalar_one()
    await c.execute(insert(t.closings).values(member=member, reason=DRAIN, at=now))
    touch(c, [queue, RELAYS])
