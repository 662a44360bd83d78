"""What the relay asks and tells the ledger: claims, confirms, dead letters, drains, lost queues."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.delivery import at_hand_over
from broker.ledger import tables as t
from broker.ledger.deliveries import LIMIT_REASON, UNSETTLED, move, standing, state_is, take, with_standing
from broker.members import Registry

d = t.deliveries.c
q = t.queues.c
_COPY = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})\.([0-9]{1,9})\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy in RabbitMQ, named by its `message_id`: `<queue>-<sequence>.<round>.<attempt>`."""

    queue: str
    sequence: int
    round: int
    attempt: int

    @property
    def message_id(self) -> str:
        return f"{self.queue}-{self.sequence}.{self.round}.{self.attempt}"

    @staticmethod
    def read(message_id: str | None) -> Copy | None:
        """None for what is not ours."""
        found = _COPY.fullmatch(message_id or "")
        return None if found is None else Copy(found[1], int(found[2]), int(found[3]), int(found[4]))


def _queues() -> Select[Any]:
    """Queues with their subscription; `waiting`: something is ready, for a member that may be handed it."""
    s, m = t.subscriptions.c, t.members.c
    ready = exists().where(d.queue == q.id, state_is("ready"))
    return (
        select(t.queues, s.member, s.name, s.removed_at, t.holdings.c.relay, and_(m.active, ready).label("waiting"))
        .join(t.subscriptions, s.id == q.id)
        .join(t.members, m.id == s.member)
        .outerjoin(t.holdings, t.holdings.c.queue == q.id)
    )


async def amqp_queues(c: AsyncConnection) -> Sequence[RowMapping]:
    """Every queue that lives, or must still be drained, in RabbitMQ."""
    s = t.subscriptions.c
    query = _queues().where(q.amqp_name.is_not(None), (s.removed_at.is_(None)) | q.declared).order_by(s.created_at)
    rows: Sequence[RowMapping] = (await c.execute(query)).mappings().all()
    return rows


async def set_queue(c: AsyncConnection, queue: str, **values: Any) -> None:
    await c.execute(update(t.queues).where(q.id == queue).values(**values))


async def queue_row(c: AsyncConnection, queue: str) -> RowMapping:
    row: RowMapping = (await c.execute(_queues().where(q.id == queue))).mappings().one()
    return row


async def outbox(c: AsyncConnection) -> int:
    """How many deliveries wait for RabbitMQ."""
    ready = select(func.count()).select_from(t.deliveries).join(t.queues, q.id == d.queue)
    return int((await c.execute(ready.where(state_is("ready"), q.amqp_name.is_not(None)))).scalar_one())


async def owner_of(c: AsyncConnection, amqp_name: str) -> RowMapping | None:
    """member, drain, removed_at of the queue with that name in RabbitMQ."""
    s = t.subscriptions.c
    query = select(s.member, s.removed_at, q.drain).join(t.queues, q.id == s.id).where(q.amqp_name == amqp_name)
    return (await c.execute(query)).mappings().first()


async def claim(
    c: AsyncConnection, registry: Registry, queue: str, relay: int, limit: int, now: datetime
) -> list[RowMapping]:
    """Deliveries about to be published by the relay that holds the queue. From here on the member counts as a holder:
    a crash after the publish must not forget that it has it. Each row's `attempt` is the one before; the copy to publish
    has `attempt + 1`. Raises Held.
    """
    row = await queue_row(c, queue)
    if row["drain"] or row["relay"] != relay:
        return []
    rows, _ = await take(c, registry, queue, limit, now)
    await move(
        c, queue, [r["sequence"] for r in rows], "ready", now,
        attempt=d.attempt + 1, handed_at=func.coalesce(d.handed_at, bindparam("handed", now, type_=d.handed_at.type)),
    )  # fmt: skip
    return rows


async def confirmed(c: AsyncConnection, copies: Sequence[Copy], now: datetime) -> None:
    """RabbitMQ has these durably. A delivery that lapsed meanwhile stays lapsed.

    A clock that has gone back, or another relay's, must not date them before the moment when their queue was last seen
    empty: they would be taken for gone should the queue be lost.
    """
    if copies:
        queues = {x.queue for x in copies}
        await c.execute(update(t.queues).where(q.id.in_(queues), q.empty_at > now).values(empty_at=now))
        alike: dict[tuple[str, int], list[int]] = defaultdict(list)
        for copy in copies:
            alike[copy.queue, copy.attempt].append(copy.sequence)
        for (queue, attempt), sequences in alike.items():  # nearly always one: all for the first time
            await c.execute(
                update(t.deliveries)
                .where(d.queue == queue, d.sequence.in_(sequences), d.attempt == attempt, d.state == "ready")
                .values(state="published", count=d.count + 1, changed_at=now)
            )


async def _current(c: AsyncConnection, copies: Sequence[Copy]) -> dict[Copy, RowMapping]:
    """Those copies that still are their delivery: same round and attempt, not settled or lapsed meanwhile."""
    if not copies:
        return {}
    sequences: dict[str, list[int]] = defaultdict(list)
    for x in copies:
        sequences[x.queue].append(x.sequence)
    where = or_(*(and_(d.queue == queue, d.sequence.in_(theirs)) for queue, theirs in sequences.items()))
    query = with_standing().where(where).with_for_update(of=t.deliveries)
    rows = {(r["queue"], r["sequence"]): r for r in (await c.execute(query)).mappings()}
    found = {}
    for copy in copies:
        row = rows.get((copy.queue, copy.sequence))
        if (
            row is not None
            and (row["round"], row["attempt"]) == (copy.round, copy.attempt)
            and row["state"] in ("published", "ready")
        ):
            found[copy] = row
    return found


async def dead_lettered(c: AsyncConnection, copy: Copy, reason: str, now: datetime) -> str | None:
    """A copy came back as a dead letter. Returns the delivery's new state, or None if the copy was outdated.

    `rejected` is dead; `expired` is expired; `delivery_limit` returns once as ready, then it is dead.
    """
    row = (await _current(c, [copy])).get(copy)
    if row is None:
        return None
    state = "dead"
    values: dict[str, Any] = {"reason": "rejected by the consumer" if reason == "rejected" else reason}
    if reason == "expired":
        state = "expired"
    elif reason == "delivery_limit":
        values = {"reason": LIMIT_REASON}
        if row["redrives"] == 0:  # the raised attempt outdates this letter: it may come twice
            state, values = "ready", {"reason": None, "redrives": 1, "attempt": d.attempt + 1}
    await move(c, copy.queue, [copy.sequence], row["state"], now, state=state, **values)
    return state


async def drained(c: AsyncConnection, registry: Registry, copies: Sequence[Copy], now: datetime) -> None:
    """Copies taken out of a queue: still allowed → ready (neither a redrive nor a round), else their tombstone."""
    moves: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for copy, row in (await _current(c, copies)).items():
        verdict = at_hand_over(standing(row), registry, now)
        state: str = "ready" if verdict in ("offer", "hold") else verdict
        moves[copy.queue, row["state"], state].append(copy.sequence)
    for (queue, was, becomes), sequences in moves.items():
        back = {"count": d.count - 1} if was == "published" else {}
        reason = None if becomes == "ready" else becomes
        await move(c, queue, sequences, was, now, state=becomes, reason=reason, **back)


async def lost(c: AsyncConnection, queue: str, since: datetime | None, now: datetime) -> int:
    """The queue is gone from RabbitMQ: what was published since it was last seen empty becomes ready again."""
    done = await c.execute(
        update(t.deliveries)
        .where(d.queue == queue, state_is("published"), UNSETTLED, *([d.changed_at >= since] if since else []))
        .values(state="ready", changed_at=now)
    )
    return int(done.rowcount)


async def removed(c: AsyncConnection, queue: str, now: datetime) -> None:
    """The queue of a removed subscription is gone from RabbitMQ; what was not handed over never will be."""
    await c.execute(
        update(t.deliveries)
        .where(d.queue == queue, state_is("ready"))
        .values(state="revoked", reason="subscription removed", changed_at=now)
    )
    await set_queue(c, queue, declared=False, drain=False)


async def closings(c: AsyncConnection) -> Sequence[RowMapping]:
    return (await c.execute(select(t.closings).order_by(t.closings.c.number))).mappings().all()


async def closed(c: AsyncConnection, acted: Sequence[int], done: Sequence[int], now: datetime) -> None:
    """These orders have been acted upon; those of them that are `done` need not be repeated."""
    k = t.closings.c
    await c.execute(delete(t.closings).where(k.number.in_(done)))
    await c.execute(update(t.closings).where(k.number.in_(acted), k.acted_at.is_(None)).values(acted_at=now))
