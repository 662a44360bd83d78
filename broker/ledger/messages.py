"""Messages and their chains: what is known under an address, who holds it, who may list it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import tables as t

_IN_LIST = 400
"""Addresses asked for in one statement: below SQLite's and PostgreSQL's limits on parameters."""


@dataclass(slots=True)
class Known:
    """What the ledger holds under an address. Mutable: a batch keeps it true while it goes."""

    position: int
    originator: str
    id: str
    kind: str
    status: str
    digest: str
    payload_digest: bytes
    receipt: str
    warnings: str
    chain: int
    superseded_by: int | None
    withdrawn_by: int | None
    withdraws: bool

    @property
    def address(self) -> str:
        return f"{self.originator}:{self.id}"


_KNOWN = [t.messages.c[name] for name in Known.__dataclass_fields__]


_KNOWN_ONE = select(*_KNOWN).where(
    t.messages.c.originator == bindparam("originator"), t.messages.c.id == bindparam("id")
)


async def known(c: AsyncConnection, addresses: Iterable[tuple[str, str]]) -> dict[str, Known]:
    """`originator:id` -> Known, for those of `addresses` (originator, id) that exist."""
    wanted = list(dict.fromkeys(addresses))
    if len(wanted) == 1:  # most posts: a statement that is not put together anew
        originator, id = wanted[0]
        one = [Known(*row) for row in await c.execute(_KNOWN_ONE, {"originator": originator, "id": id})]
        return {item.address: item for item in one}
    found: dict[str, Known] = {}
    for start in range(0, len(wanted), _IN_LIST):
        part = wanted[start : start + _IN_LIST]
        ids: dict[str, list[str]] = defaultdict(list)
        for originator, id in part:
            ids[originator].append(id)
        # by originator, never `(originator, id) IN`: SQLite reads the whole table for that
        where = or_(*(and_(t.messages.c.originator == who, t.messages.c.id.in_(theirs)) for who, theirs in ids.items()))
        for row in await c.execute(select(*_KNOWN).where(where)):
            item = Known(*row)
            found[item.address] = item
    return found


_INSERTS = (insert(t.messages), insert(t.audience), insert(t.identifiers))
_HEAD = update(t.head).values(position=bindparam("last"))


async def insert_rows(
    c: AsyncConnection,
    messages: Sequence[Mapping[str, Any]],
    audience: Sequence[Mapping[str, Any]],
    identifiers: Sequence[Mapping[str, Any]],
) -> None:
    """Write what one accepting transaction decided (deliveries: see `deliveries.insert_rows`)."""
    for statement, rows in zip(_INSERTS, (messages, audience, identifiers), strict=True):
        if rows:
            await c.execute(statement, rows)


async def set_head(c: AsyncConnection, position: int) -> None:
    await c.execute(_HEAD, {"last": position})


async def supersede(c: AsyncConnection, old: int, new: int) -> None:
    await c.execute(update(t.messages).where(t.messages.c.position == old).values(superseded_by=new))


async def withdraw(c: AsyncConnection, chain: int, by: int) -> None:
    await c.execute(update(t.messages).where(t.messages.c.chain == chain).values(withdrawn_by=by))


async def hold_still(c: AsyncConnection, chain: int, entitled: Iterable[str]) -> None:
    """Wait for leases and fetches of this chain that are under way, and let no other begin before this commits:
    who gets a version in between would be forgotten by the correction (promise 8).

    Deliveries of the `entitled` stay free: the correction follows them in any case, and a lease that passes over
    what is locked would offer their successors first.
    """
    versions = select(t.messages.c.position).where(t.messages.c.chain == chain, t.messages.c.withdraws.is_(False))
    d, a = t.deliveries.c, t.audience.c
    waiting = select(d.sequence).where(d.position.in_(versions), d.state == "ready", d.handed_at.is_(None))
    waiting = waiting.where(d.member.not_in(list(entitled)))
    await c.execute(waiting.order_by(d.queue, d.sequence).with_for_update())
    unfetched = select(a.member).where(a.position.in_(versions), a.fetched_at.is_(None))
    await c.execute(unfetched.order_by(a.position, a.member).with_for_update())


@dataclass(slots=True)
class Carried:
    """What one member has, or is about to get, of a chain: the queues by which a version was handed over, those in
    which one still waits, and whether it fetched one by GET."""

    handed: set[str]
    waiting: set[str]
    fetched: bool = False

    @property
    def is_holder(self) -> bool:
        return self.fetched or bool(self.handed)


async def carried(c: AsyncConnection, chain: int) -> dict[str, Carried]:
    """member -> Carried. The chain's own withdrawal is no version and makes nobody a holder."""
    in_chain = and_(t.messages.c.chain == chain, t.messages.c.withdraws.is_(False))
    handed = t.deliveries.c.handed_at.is_not(None)
    by_delivery = (
        select(t.deliveries.c.member, t.deliveries.c.queue, handed)
        .join(t.messages, t.messages.c.position == t.deliveries.c.position)
        .where(in_chain, or_(handed, t.deliveries.c.state == "ready"))
        .distinct()
    )
    by_fetch = (
        select(t.audience.c.member)
        .join(t.messages, t.messages.c.position == t.audience.c.position)
        .where(in_chain, t.audience.c.fetched_at.is_not(None))
        .distinct()
    )
    found: dict[str, Carried] = {}
    for member, queue, was_handed in await c.execute(by_delivery):
        one = found.setdefault(member, Carried(set(), set()))
        (one.handed if was_handed else one.waiting).add(queue)
    for (member,) in await c.execute(by_fetch):
        found.setdefault(member, Carried(set(), set())).fetched = True
    return found


async def is_holder(c: AsyncConnection, chain: int, member: str) -> bool:
    """True if the member was handed, or has fetched, anything of the chain (its withdrawal included)."""
    d, a = t.deliveries.c, t.audience.c
    chained = select(t.messages.c.position).where(t.messages.c.chain == chain)
    handed = select(d.member).where(d.position.in_(chained), d.member == member, d.handed_at.is_not(None)).limit(1)
    fetched = select(a.member).where(a.position.in_(chained), a.member == member, a.fetched_at.is_not(None)).limit(1)
    return bool((await c.execute(handed)).first() or (await c.execute(fetched)).first())


async def find(c: AsyncConnection, originator: str, id: str) -> RowMapping | None:
    """The whole row, or None."""
    return (
        (await c.execute(select(t.messages).where(t.messages.c.originator == originator, t.messages.c.id == id)))
        .mappings()
        .first()
    )


async def latest(c: AsyncConnection, chain: int) -> RowMapping:
    """The latest version of a chain (its withdrawal is no version)."""
    m = t.messages.c
    where = (m.chain == chain, m.superseded_by.is_(None), m.withdraws.is_(False))
    return (await c.execute(select(t.messages).where(*where))).mappings().one()


async def audience_rule(c: AsyncConnection, position: int, member: str) -> str | None:
    """The rule by which the member was decided for at acceptance."""
    where = (t.audience.c.position == position, t.audience.c.member == member)
    found: str | None = (await c.execute(select(t.audience.c.rule).where(*where))).scalar_one_or_none()
    return found


async def hold_fetch(c: AsyncConnection, originator: str, id: str, member: str) -> None:
    """Taken before it is decided whether the member may fetch: a correction waits for us, or we for it."""
    position = select(t.messages.c.position).where(t.messages.c.originator == originator, t.messages.c.id == id)
    a = t.audience.c
    mine = select(a.rule).where(a.position == position.scalar_subquery(), a.member == member)
    await c.execute(mine.with_for_update())


async def record_fetch(c: AsyncConnection, position: int, member: str, now: datetime) -> None:
    """The member has fetched it: from now on it is a holder."""
    await c.execute(
        update(t.audience)
        .where(t.audience.c.position == position, t.audience.c.member == member, t.audience.c.fetched_at.is_(None))
        .values(fetched_at=now)
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """What `GET /v1/messages` asks for; `before` is the position of the last row of the page before."""

    box: str
    kind: str | None = None
    heading: str | None = None
    since: datetime | None = None
    identifier: tuple[str, ...] | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    """`last`: position of the last candidate that was looked at, shown or not; None when there are no more."""

    rows: Sequence[RowMapping]
    last: int | None


LOOK_AT = 1_000
"""Candidates looked at for one page that asks for something in particular: a page may be short, even empty, and still
have a next one. Whoever asks for what is rare must not have the whole table read."""


async def list_page(c: AsyncConnection, member: str, wanted: Listing) -> Page:
    """Candidates, newest first: the member's own, or those it was decided for. The caller decides anew (promise 2)."""
    m, a = t.messages.c, t.audience.c
    columns = (
        m.position, m.originator, m.id, m.kind, m.version, m.status, m.tlp, m.heading, m.digest, m.accepted_at,
        m.expires_at, m.chain, m.superseded_by, m.withdrawn_by, m.withdraws,
    )  # fmt: skip
    particular = wanted.kind is not None or wanted.heading is not None or wanted.since is not None
    limit = LOOK_AT if particular else wanted.limit
    query: Any
    if wanted.box == "sent":
        position = m.position
        query = select(*columns, m.release.label("rule")).where(m.originator == member)
    else:
        position = a.position
        query = select(a.position, a.rule, a.fetched_at).where(a.member == member)
    if wanted.identifier is not None:
        named = select(t.identifiers.c.position).where(t.identifiers.c.value.in_(wanted.identifier))
        query = query.where(position.in_(named))
    if wanted.before is not None:
        query = query.where(position < wanted.before)
    query = query.order_by(position.desc()).limit(limit)
    if wanted.box != "sent":  # the member's newest first, and only then the messages: in that order
        mine = query.subquery()
        query = select(*columns, mine.c.rule, mine.c.fetched_at).join(mine, mine.c.position == m.position)
        query = query.order_by(m.position.desc())
    rows = (await c.execute(query)).mappings().all()
    last = rows[-1]["position"] if len(rows) == limit else None
    return Page([row for row in rows if _is_wanted(row, wanted)] if particular else rows, last)


def _is_wanted(row: RowMapping, wanted: Listing) -> bool:
    return (
        wanted.kind in (None, row["kind"])
        and wanted.heading in (None, row["heading"])
        and (wanted.since is None or row["accepted_at"] >= wanted.since)
    )


async def overdue(c: AsyncConnection, now: datetime, limit: int) -> Sequence[RowMapping]:
    """Messages whose acknowledge_by has passed and whose sender has not been told, unless withdrawn."""
    m = t.messages.c
    query = select(m.position, m.originator, m.id, m.withdrawn_by).where(m.acknowledge_by <= now)
    return (await c.execute(query.order_by(m.acknowledge_by).limit(limit))).mappings().all()


async def unacknowledged(c: AsyncConnection, position: int) -> list[str]:
    """Members with a delivery of the message and no acknowledgement of any state, sorted."""
    acknowledged = select(t.acknowledgements.c.member).where(t.acknowledgements.c.position == position)
    query = (
        select(t.deliveries.c.member)
        .where(t.deliveries.c.position == position, t.deliveries.c.member.not_in(acknowledged))
        .where(or_(t.deliveries.c.state.not_in(("withdrawn", "revoked", "expired"))))
        .distinct()
    )
    return sorted((await c.execute(query)).scalars())


async def reminded(c: AsyncConnection, position: int) -> None:
    await c.execute(update(t.messages).where(t.messages.c.position == position).values(acknowledge_by=None))
