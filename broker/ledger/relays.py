"""Which relay holds which queue. A relay lives as long as it says so in time; the ledger's own clock decides.

A relay's number is that of one pair of connections to RabbitMQ: who takes over from a dead one closes those first
(`broker.holding`), and only then forgets it here, which frees its queues. Who finds itself forgotten starts anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.ledger import tables as t
from broker.ledger.wakes import RELAYS, touch

LIVES_SECONDS = 6.0
"""A relay that has not said for so long that it lives is taken for dead."""
RELAYS_LOCK = 0x7469_6466
"""Key of the PostgreSQL advisory lock under which queues are shared out."""


@dataclass(frozen=True, slots=True)
class Round:
    """`mine`: queues that I hold. `surplus`: those of them that another relay should have. `dead`: relays to bury."""

    mine: frozenset[str]
    surplus: Sequence[str]
    dead: Sequence[int]


async def _clock(c: AsyncConnection) -> datetime:
    """The ledger's: one for all processes. With SQLite there is one process."""
    if c.dialect.name == "sqlite":
        return clock.now()
    moment: datetime = (await c.execute(select(func.clock_timestamp()))).scalar_one()
    return moment


async def _lock(c: AsyncConnection) -> None:
    if c.dialect.name != "sqlite":
        await c.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": RELAYS_LOCK})


async def enlist(c: AsyncConnection) -> int:
    """A new relay's number. On SQLite whatever stood here before is dead: there is one hub process."""
    if c.dialect.name == "sqlite":
        await c.execute(delete(t.relays))
    until = await _clock(c) + timedelta(seconds=LIVES_SECONDS)
    touch(c, [RELAYS])
    return int((await c.execute(insert(t.relays).values(until=until).returning(t.relays.c.number))).scalar_one())


async def go_round(c: AsyncConnection, number: int) -> Round | None:
    """Say that relay `number` lives, and take its fair share of the queues that nobody holds. None: it is forgotten."""
    await _lock(c)
    now = await _clock(c)
    until = now + timedelta(seconds=LIVES_SECONDS)
    if not (await c.execute(update(t.relays).where(t.relays.c.number == number).values(until=until))).rowcount:
        return None
    relays = dict((await c.execute(select(t.relays.c.number, t.relays.c.until))).all())
    q, s, h = t.queues.c, t.subscriptions.c, t.holdings.c
    queues = (
        select(q.id, h.relay)
        .join(t.subscriptions, s.id == q.id)
        .outerjoin(t.holdings, h.queue == q.id)
        .where(q.amqp_name.is_not(None), s.removed_at.is_(None) | q.declared)
        .order_by(s.created_at, q.id)
    )
    holders = (await c.execute(queues)).all()
    mine = [queue for queue, relay in holders if relay == number]
    share = math.ceil(len(holders) / sum(until > now for until in relays.values()))
    taken = [queue for queue, relay in holders if relay is None][: max(share - len(mine), 0)]
    if taken:
        await c.execute(insert(t.holdings), [{"queue": queue, "relay": number} for queue in taken])
    dead = [other for other, until in relays.items() if until <= now]
    return Round(frozenset(mine + taken), mine[share:], dead)


async def give_back(c: AsyncConnection, number: int, queues: Iterable[str]) -> None:
    """Hold these no longer: their tasks have ended."""
    await c.execute(delete(t.holdings).where(t.holdings.c.relay == number, t.holdings.c.queue.in_(list(queues))))
    touch(c, [RELAYS])


async def bury(c: AsyncConnection, number: int) -> bool:
    """Forget a dead relay, whose connections have been closed: its queues are free. False if it lives after all."""
    done = await c.execute(delete(t.relays).where(t.relays.c.number == number, t.relays.c.until <= await _clock(c)))
    touch(c, [RELAYS])
    return bool(done.rowcount)


async def die(c: AsyncConnection, number: int) -> None:
    """The relay has lost RabbitMQ, and RabbitMQ may not have noticed: whoever can is to bury it."""
    await c.execute(update(t.relays).where(t.relays.c.number == number).values(until=t.EPOCH))
    touch(c, [RELAYS])


async def resign(c: AsyncConnection, number: int) -> None:
    """The relay ends by itself, its connections closed."""
    await c.execute(delete(t.relays).where(t.relays.c.number == number))
    touch(c, [RELAYS])


async def park(c: AsyncConnection, queue: str, why: str | None) -> None:
    """The queue fails and is left alone for a while; None: it works again."""
    await c.execute(update(t.holdings).where(t.holdings.c.queue == queue).values(parked=why))


async def parked(c: AsyncConnection) -> dict[str, str]:
    """queue -> why, of all relays."""
    h = t.holdings.c
    return dict((await c.execute(select(h.queue, h.parked).where(h.parked.is_not(None)))).all())


async def any_alive(c: AsyncConnection) -> bool:
    """Whether some relay is connected to RabbitMQ."""
    return (await c.execute(select(t.relays.c.number).where(t.relays.c.until > await _clock(c)))).first() is not None
