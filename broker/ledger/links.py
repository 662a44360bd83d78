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
LOOK_AT = 80_000
"""Other messages, shared out among the values, that are looked through for those of the reader: who names few things is
not parted from its links by somebody who names one of them in message after message, for nobody to see."""
LOOK_AT_EVENTS = 2_000
"""And so many of the reader's own of one place and time."""
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


LATEST = (_M.superseded_by.is_(None), _M.withdrawn_by.is_(None), _M.withdraws.is_(False))
"""What was corrected is reached through its correction, and takes nobody's place."""


async def sharing(c: AsyncConnection, row: RowMapping, member: str) -> list[tuple[str, str, int]]:
    """(scheme, value, position) of other messages of the same status that `member` sent or was decided for and that name
    what this one names, the newest first. What it has nothing to do with takes nobody's place among them."""
    i, a, position = t.identifiers.c, t.audience.c, row["position"]
    mine = select(i.scheme, i.value).where(i.position == position, i.scheme.not_in(OF_A_SORT)).limit(VALUES)
    parts = []
    named_here = (await c.execute(mine)).all()
    for scheme, value in named_here:
        named = select(i.scheme, i.value, i.position).where(
            i.value == value, i.scheme == scheme, i.position != position
        )
        newest = named.order_by(i.position.desc()).limit(LOOK_AT // len(named_here)).subquery()
        decided = exists().where(a.member == member, a.position == newest.c.position)
        theirs = select(newest).join(t.messages, _M.position == newest.c.position)
        theirs = theirs.where(or_(_M.originator == member, decided), _M.status == row["status"], *LATEST)
        parts.append(select(theirs.order_by(newest.c.position.desc()).limit(EACH).subquery()))
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
        *LATEST,
        or_(_M.originator == member, decided),
    )
    found = (await c.execute(query.order_by(_M.event_at).limit(LOOK_AT_EVENTS))).all()
    nearest = sorted(found, key=lambda one: abs(one[1] - row["event_at"]))
    return [position for position, _ in nearest[:EVENTS]]
