"""What operators look at: the latest deliveries of a member or a queue, at a cost that the years do not raise.

What is not settled is found by `ix_deliveries_unsettled`, in the order of its changes. When something was settled has no
index, because every settle would have to write it: of that, the newest sequences of each queue are looked through.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from sqlalchemy import ColumnElement, Select, and_, bindparam, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.delivery import State
from broker.ledger import tables as t
from broker.ledger.deliveries import UNSETTLED, state_is

MAX_QUEUES = 100
"""Of a member: those that it has, and the latest of those that it had."""
SETTLED_SEQUENCES = 500
"""So many of the newest deliveries of a queue are looked through for settled ones."""

d = t.deliveries.c


async def queues_of(c: AsyncConnection, member: str) -> list[str]:
    """At most MAX_QUEUES, removed ones last."""
    s = t.subscriptions.c
    query = select(s.id).where(s.member == member).order_by(s.removed_at.is_not(None), s.created_at.desc())
    return list((await c.execute(query.limit(MAX_QUEUES))).scalars())


async def latest(
    c: AsyncConnection, queues: Sequence[str], state: State | None, limit: int
) -> ColumnElement[bool] | None:
    """A clause that is true of the deliveries of these queues that changed last, at most `limit`; None: there are none."""
    states = [state] if state else get_args(State)
    query = union_all(*(select(_of_one_queue(one).subquery()) for one in states))
    found: list[tuple[datetime, str, int]] = []
    for queue in queues:
        found += [tuple(row) for row in await c.execute(query, {"of": queue, "most": limit})]
        found = heapq.nlargest(limit, found)
    chosen: dict[str, list[int]] = defaultdict(list)
    for _, queue, sequence in found:
        chosen[queue].append(sequence)
    of_each = [and_(d.queue == queue, d.sequence.in_(mine)) for queue, mine in chosen.items()]
    return or_(*of_each) if of_each else None


def _of_one_queue(state: State) -> Select[tuple[datetime, str, int]]:
    """The latest :most of queue :of."""
    query = select(d.changed_at, d.queue, d.sequence).where(d.queue == bindparam("of"), state_is(state))
    if state == "settled":
        last = select(t.queues.c.last_sequence).where(t.queues.c.id == bindparam("of")).scalar_subquery()
        query = query.where(d.sequence > last - SETTLED_SEQUENCES)
    else:
        query = query.where(UNSETTLED)
    return query.order_by(d.changed_at.desc()).limit(bindparam("most"))
