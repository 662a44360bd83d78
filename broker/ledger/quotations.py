"""What members quote, and by whose consent: of both, what is theirs or was decided for them. Nothing else is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import RowMapping, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger import tables as t

EACH = 100
"""Messages read in one statement: each brings its octets along, 256 kB at most."""

_M = t.messages.c
_A = t.audience.c
_COLUMNS = (
    _M.position, _M.originator, _M.id, _M.kind, _M.status, _M.tlp, _M.jws, _M.expires_at, _M.chain, _M.superseded_by,
    _M.withdrawn_by, _M.withdraws, _M.release, _A.member, _A.rule,
)  # fmt: skip


async def open_to(c: AsyncConnection, members: Sequence[str], addresses: Iterable[str]) -> list[RowMapping]:
    """The messages at `addresses` (`originator:id`) that one of `members` sent, or was decided for: a row for each of
    them who was, with its `rule`; if none was, one with `member` and `rule` null."""
    mine = and_(_A.position == _M.position, _A.member.in_(members))
    query = select(*_COLUMNS).select_from(t.messages.outerjoin(t.audience, mine))
    query = query.where(or_(_A.member.is_not(None), _M.originator.in_(members)))
    wanted, found = sorted(addresses), list[RowMapping]()
    for start in range(0, len(wanted), EACH):
        ids: dict[str, list[str]] = defaultdict(list)
        for originator, _, id in (address.partition(":") for address in wanted[start : start + EACH]):
            ids[originator].append(id)
        # by originator, never `(originator, id) IN`: SQLite reads the whole table for that
        part = or_(*(and_(_M.originator == who, _M.id.in_(theirs)) for who, theirs in ids.items()))
        found += (await c.execute(query.where(part))).mappings()
    return found
