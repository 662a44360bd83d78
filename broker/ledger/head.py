"""The head of the ledger: under its lock messages and queues' sequences are numbered without gaps."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import tables as t

_LOCKED = (
    select(t.head.c.position, t.registry.c.version)
    .join_from(t.head, t.registry, t.registry.c.id == t.head.c.id)  # one row each, of the same id
    .with_for_update(of=t.head)
)


async def lock(c: AsyncConnection) -> tuple[int, int]:
    """Take the lock, inside an `accepting` transaction: (last position given out, version of the registry).

    Two answers for one round trip: who accepts needs both, and the registry holds still from before this statement.
    """
    position, version = (await c.execute(_LOCKED)).one()
    return int(position), int(version)
