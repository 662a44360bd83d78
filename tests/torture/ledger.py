"""What PostgreSQL says when all is over: read past the product, for the judge alone."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update

from broker import clock, jws
from broker.ledger import Ledger
from broker.ledger import tables as t
from broker.members import HUB
from tests.torture.evidence import Place

TOMBSTONES = {"withdrawn", "revoked", "expired"}


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery."""

    sequence: int
    state: str
    rule: str
    duties: tuple[str, ...]


@dataclass
class Books:
    """address -> (digest, SHA-256 of the receipt); place -> address -> its delivery; notice -> what it is about."""

    messages: dict[str, tuple[str, str]]
    deliveries: dict[Place, dict[str, Row]]
    last_sequence: dict[Place, int]
    notices: dict[str, str]
    twice: list[str]
    """A message that stands twice in one queue."""


async def read(ledger: Ledger) -> Books:
    m, d, s = t.messages.c, t.deliveries.c, t.subscriptions.c
    books = Books({}, defaultdict(dict), {}, {}, [])
    async with ledger.reading() as c:
        for originator, id, digest, receipt in await c.execute(select(m.originator, m.id, m.digest, m.receipt)):
            books.messages[f"{originator}:{id}"] = (digest, hashlib.sha256(receipt.encode()).hexdigest())
        for id, compact in await c.execute(select(m.id, m.jws).where(m.originator == HUB)):
            books.notices[f"{HUB}:{id}"] = json.loads(jws.unb64(compact.split(".")[1]))["body"]["about"]
        for member, name, last in await c.execute(
            select(s.member, s.name, t.queues.c.last_sequence).join(t.queues, t.queues.c.id == s.id)
        ):
            books.last_sequence[member, name] = last
        query = select(s.member, s.name, m.originator, m.id, d.sequence, d.state, d.rule, d.duties)
        query = query.join(t.messages, m.position == d.position).join(t.subscriptions, s.id == d.queue)
        for member, name, originator, id, sequence, state, rule, duties in await c.execute(query):
            of_place, address = books.deliveries[member, name], f"{originator}:{id}"
            if address in of_place:
                books.twice.append(f"{address} in {member}/{name}")
            of_place[address] = Row(sequence, state, rule, tuple(duties.split(",")))
    return books


async def let_time_pass(ledger: Ledger) -> None:
    """What a wrong clock put hours ahead (leases that end, deliveries released for later) falls due."""
    d, now = t.deliveries.c, clock.now()
    late = now + timedelta(minutes=1)
    async with ledger.accepting() as c:
        await c.execute(update(t.deliveries).where(d.available_at > late).values(available_at=now))
        await c.execute(update(t.deliveries).where(d.lease_until > late, d.state == "leased").values(lease_until=now))


async def waiting(ledger: Ledger, states: tuple[str, ...]) -> int:
    """How many deliveries are in one of these states."""
    d = t.deliveries.c
    async with ledger.reading() as c:
        return int((await c.execute(select(func.count()).where(d.state.in_(states)))).scalar_one())
