"""Where messages meet: which others name the same thing, and which may report the same event.

Candidates alone: who may see them is decided by `broker.links`. Everything is capped, so that a container that everybody
names costs no more than one that two name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import RowMapping, and_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import tables as t

VALUES = 40
"""Identifiers of one message that are looked up: those with the fewest digits say the least, but any order will do."""
EACH = 60
"""Other messages looked at for one of them, the newest."""
EVENTS = 60
"""Other messages looked at for the same event."""
AROUND = timedelta(days=3)
"""Two countries date one event differently: by the find, the report, or the court."""

OF_A_SORT = ("cas", "gtin")
"""Schemes that name a substance or an article, not one thing: searched for, but two reports do not meet by them."""

_M = t.messages.c
COLUMNS = (
    _M.position, _M.originator, _M.id, _M.kind, _M.version, _M.status, _M.tlp, _M.heading, _M.digest, _M.accepted_at,
    _M.expires_at, _M.chain, _M.superseded_by, _M.withdrawn_by, _M.withdraws, _M.release, _M.event_at,
)  # fmt: skip


async def sharing(c: AsyncConnection, position: int) -> list[tuple[str, str, int]]:
    """(scheme, value, position of another message) for the identifiers of this one, the newest others first."""
    i = t.identifiers.c
    mine = (
        await c.execute(
            select(i.scheme, i.value).where(i.position == position, i.scheme.not_in(OF_A_SORT)).limit(VALUES)
        )
    ).all()
    if not mine:
        return []
    parts = [
        select(
            select(i.scheme, i.value, i.position)
            .where(i.value == value, i.scheme == scheme, i.position != position)
            .order_by(i.position.desc())
            .limit(EACH)
            .subquery()
        )
        for scheme, value in mine
    ]
    return [(scheme, value, other) for scheme, value, other in await c.execute(union_all(*parts))]


async def visible(c: AsyncConnection, member: str, positions: Sequence[int]) -> dict[int, RowMapping]:
    """position -> the message with the member's `rule`, of those it sent (rule null) or was decided for."""
    a = t.audience.c
    found: dict[int, RowMapping] = {}
    for start in range(0, len(positions), EACH * 5):
        part = positions[start : start + EACH * 5]
        query = select(*COLUMNS, a.rule).select_from(
            t.messages.outerjoin(t.audience, and_(a.position == _M.position, a.member == member))
        )
        for row in (await c.execute(query.where(_M.position.in_(part)))).mappings():
            if row["rule"] is not None or row["originator"] == member:
                found[row["position"]] = row
    return found


async def around(c: AsyncConnection, row: RowMapping) -> list[int]:
    """Positions of other originators' messages of the same kind, heading, status and country within AROUND of it."""
    if row["country"] is None or row["event_at"] is None:
        return []
    query = (
        select(_M.position)
        .where(
            _M.country == row["country"],
            _M.event_at.between(row["event_at"] - AROUND, row["event_at"] + AROUND),
            _M.kind == row["kind"],
            _M.status == row["status"],
            _M.heading == row["heading"],
            _M.originator != row["originator"],
            _M.withdraws.is_(False),
        )
        .order_by(_M.event_at)
        .limit(EVENTS)
    )
    return list((await c.execute(query)).scalars())
