"""Replay: what a queue has handed over is offered again, under today's rights. Read in pieces: that may be millions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.delivery import REPLAYABLE, at_hand_over
from broker.ledger import tables as t
from broker.ledger.deliveries import standing, standings
from broker.members import Registry

d = t.deliveries.c
PIECE = 1_000
CLOCKS_DIFFER = timedelta(minutes=5)
"""Sequences and times of acceptance rise together, but for what the clocks of several gateways differ."""


@dataclass(frozen=True, slots=True)
class Replay:
    """From where a queue is replayed: exactly one of the three."""

    since: datetime | None = None
    sequence: int | None = None
    message: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not offered again, and why: a final state, or one that is no longer allowed."""

    sequence: int
    state: str


async def replay(
    c: AsyncConnection, registry: Registry, queue: str, wanted: Replay, now: datetime
) -> tuple[int, list[Skipped]]:
    """settled, dead, published → ready: round + 1, count 0. Returns (replayed, skipped)."""
    if wanted.message is not None:
        return await _offer(c, registry, queue, await _of_message(c, queue, *wanted.message), now)
    query, after = standings().where(d.queue == queue), (wanted.sequence or 1) - 1
    if wanted.since is not None:
        query = query.where(t.messages.c.accepted_at >= wanted.since)
        after = await _before(c, queue, wanted.since - CLOCKS_DIFFER)
    replayed, skipped, more = 0, list[Skipped](), True
    while more:
        piece = query.where(d.sequence > after).order_by(d.sequence).limit(PIECE)
        rows = (await c.execute(piece.with_for_update(of=t.deliveries))).mappings().all()
        number, others = await _offer(c, registry, queue, rows, now)
        replayed += number
        skipped += others
        more = len(rows) == PIECE
        after = rows[-1]["sequence"] if rows else after
    return replayed, skipped


async def _of_message(c: AsyncConnection, queue: str, originator: str, id: str) -> Sequence[RowMapping]:
    """By its position: a queue's past is not read for one message."""
    m = t.messages.c
    position = select(m.position).where(m.originator == originator, m.id == id).scalar_subquery()
    query = standings().where(d.position == position).with_for_update(of=t.deliveries)
    return [row for row in (await c.execute(query)).mappings() if row["queue"] == queue]


async def _offer(
    c: AsyncConnection, registry: Registry, queue: str, rows: Sequence[RowMapping], now: datetime
) -> tuple[int, list[Skipped]]:
    again, skipped = [], []
    for row in rows:
        if row["state"] in REPLAYABLE and at_hand_over(standing(row), registry, now) == "offer":
            again.append(row["sequence"])
        elif row["state"] not in ("ready", "leased"):
            state = "not-entitled" if row["state"] in REPLAYABLE else row["state"]
            skipped.append(Skipped(row["sequence"], state))
    if again:
        await c.execute(
            update(t.deliveries)
            .where(d.queue == queue, d.sequence.in_(again), d.state.in_(REPLAYABLE))
            .values(state="ready", round=d.round + 1, count=0, redrives=0, reason=None, lease_id=None, available_at=None,
                    changed_at=now)
        )  # fmt: skip
    return len(again), skipped


async def _before(c: AsyncConnection, queue: str, since: datetime) -> int:
    """A sequence up to which everything was accepted before `since`. Some twenty looks, however long the queue's past."""
    low, high = 0, (await c.execute(select(func.max(d.sequence)).where(d.queue == queue))).scalar_one() or 0
    accepted = select(t.messages.c.accepted_at).join(t.deliveries, d.position == t.messages.c.position)
    while low < high:
        middle = (low + high + 1) // 2
        at = await c.execute(accepted.where(d.queue == queue, d.sequence == middle))
        if (found := at.scalar_one_or_none()) is None or found < since:  # purged, or before
            low = middle
        else:
            high = middle - 1
    return low
