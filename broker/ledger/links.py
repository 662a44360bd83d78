"""Where messages meet: which others name the same thing, and which may report the same event.

Candidates alone: who may see them is decided by `broker.links`. Everything is capped, so that a container that everybody
names costs no more than one that two name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import RowMapping, and_, exists, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import tables as t

VALUES = 40
"""Identifiers of one message that are looked up: those with the fewest digits say the least, but any order will do."""
LOOK_AT = 2_000
"""Other messages of one value, or of one place and time, that are looked through for those of the reader."""
EACH = 60
"""Of these so many for one value, the newest."""
EVENTS = 60
"""And so many for the same event, the nearest."""
AROUND = timedelta(days=3)
"""Two countries date one event differently: by the find, the report, or the court."""

OF_A_SORT = ("cas", "gtin")
"""Schemes that name a substance or an article, not one thing: searched for, but two reports do not meet by them."""

_M = t.messages.c
COLUMNS = (
    _M.position, _M.originator, _M.id, _M.kind, _M.version, _M.status, _M.tlp, _M.heading, _M.digest, _M.accepted_at,
    _M.expires_at, _M.chain, _M.superseded_by, _M.withdrawn_by, _M.withdraws, _M.release, _M.event_at,
)  # fmt: skip


async def sharing(c: AsyncConnection, position: int, member: str) -> list[tuple[str, str, int]]:
    """(scheme, value, position) of other messages that `member` sent or was decided for and that name what this one
    names, the newest first. What it has nothing to do with takes nobody's place among them."""
    i, a = t.identifiers.c, t.audience.c
    mine = select(i.scheme, i.value).where(i.position == position, i.scheme.not_in(OF_A_SORT)).limit(VALUES)
    parts = []
    for scheme, value in (await c.execute(mine)).all():
        named = select(i.scheme, i.value, i.position).where(
            i.value == value, i.scheme == scheme, i.position != position
        )
        newest = named.order_by(i.position.desc()).limit(LOOK_AT).subquery()
        decided = exists().where(a.member == member, a.position == newest.c.position)
        theirs = select(newest).join(t.messages, _M.position == newest.c.position)
        theirs = theirs.where(or_(_M.originator == member, decided)).order_by(newest.c.position.desc()).limit(EACH)
        parts.append(select(theirs.subquery()))
    if not parts:
        return []
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


async def around(c: AsyncConnection, row: RowMapping, member: str) -> list[int]:
    """Positions of other originators' messages of the same kind, heading, status and country within AROUND of it that
    `member` sent or was decided for, the nearest in time first."""
    if row["country"] is None or row["event_at"] is None:
        return []
    a = t.audience.c
    decided = exists().where(a.member == member, a.position == _M.position)
    query = select(_M.position, _M.event_at).where(
        _M.country == row["country"],
        _M.event_at.between(row["event_at"] - AROUND, row["event_at"] + AROUND),
        _M.kind == row["kind"],
        _M.status == row["status"],
        _M.heading == row["heading"],
        _M.originator != row["originator"],
        _M.withdraws.is_(False),
        or_(_M.originator == member, decided),
    )
    found = (await c.execute(query.order_by(_M.event_at).limit(LOOK_AT))).all()
    nearest = sorted(found, key=lambda one: abs(one[1] - row["event_at"]))
    return [position for position, _ in nearest[:EVENTS]]
