"""How complete and how timely a member's reports are, counted in the database: by heading and month of the event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Float, RowMapping, case, cast, extract, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import tables as t

ROWS = 2_000
"""Headings times months: eleven years of every heading."""
MICROSECONDS = 1e6
DAY_SECONDS = 86_400.0
SOON_DAYS = 3
"""A report within three days can still be acted upon along the route."""


async def by_heading_and_month(c: AsyncConnection, member: str, since: datetime) -> Sequence[RowMapping]:
    """heading, month (YYYY-MM, UTC), reports, completeness (mean per cent), days (mean, from event to acceptance), soon
    (reports within SOON_DAYS); of the current, actual messages accepted since then, in that order."""
    m = t.messages.c
    seconds: Any
    month: Any
    if c.dialect.name == "sqlite":  # integers of microseconds: see tables.Utc
        seconds = (cast(m.accepted_at, Float) - cast(m.event_at, Float)) / MICROSECONDS
        month = func.strftime("%Y-%m", cast(m.event_at, Float) / MICROSECONDS, "unixepoch")
    else:
        seconds = cast(extract("epoch", m.accepted_at) - extract("epoch", m.event_at), Float)
        month = func.to_char(func.timezone("UTC", m.event_at), "YYYY-MM")
    query = (
        select(
            m.heading,
            month.label("month"),
            func.count().label("reports"),
            func.avg(cast(m.completeness, Float)).label("completeness"),
            (func.avg(seconds) / DAY_SECONDS).label("days"),
            func.sum(case((seconds <= SOON_DAYS * DAY_SECONDS, 1), else_=0)).label("soon"),
        )
        .where(
            m.originator == member,
            m.completeness.is_not(None),
            m.status == "actual",
            m.accepted_at >= since,
            m.superseded_by.is_(None),
            m.withdrawn_by.is_(None),
            m.withdraws.is_(False),
        )
        .group_by(m.heading, month)
        .order_by(m.heading, month)
        .limit(ROWS)
    )
    return (await c.execute(query)).mappings().all()
