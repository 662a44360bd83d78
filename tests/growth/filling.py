"""A ledger as it is after years, written in minutes: rows of true shape and size, straight into the tables.

Forty members, one subscription each (even ones by RabbitMQ, odd ones by lease) and an inbox. Message `i` is released to
five of them, to a group of twelve, or to all; five queues get it. Its text is random: nothing about it compresses. What
was delivered long ago is settled, or `published` for ever where the member never acknowledges. Two queues are stuck:
member 38's RabbitMQ queue is full, member 39 never asks. The last messages of every filling are still on their way.

No signature holds: what is stored is never verified again. Everything that the hub decides by is as it would write it.
"""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Table, make_url, text

from broker import administer
from broker.delivery import LEASE_SECONDS
from broker.ledger import open_ledger, relays
from broker.ledger import tables as t
from broker.ledger.tables import EPOCH
from tests.region import Region

CUSTOMS, RILOS, PARTNERS = 30, 6, 4
MEMBERS = (
    [f"C{n:02}" for n in range(CUSTOMS)] + [f"RILO-{n}" for n in range(RILOS)] + [f"P{n}" for n in range(PARTNERS)]
)
REGIONAL = MEMBERS[:12]
STUCK_WIRE, STUCK_PULL = 38, 39
QUIET = "C99"
"""A member that neither sends nor gets anything."""
STEP = timedelta(days=365) / 1_000_000
"""A million messages a year: 2,740 a day."""
BLOCK = 200
"""Corrections stay within a block, so that every filling of whole blocks is complete in itself."""
TAIL = 400
"""The last messages of a filling: not yet handed over, or leased."""
JWS, RECEIPT, RECORD, ACKNOWLEDGEMENT = 2_060, 860, 213, 411
"""Characters; the means of the examples in schemas/examples, posted."""

Row = tuple[Any, ...]
COLUMNS = {
    t.messages: (
        "position", "originator", "id", "kind", "version", "status", "tlp", "heading", "jws", "digest", "payload_digest",
        "accepted_at", "expires_at", "acknowledge_by", "chain", "superseded_by", "withdrawn_by", "withdraws", "release",
        "warnings", "receipt", "record", "salt", "audience_salt",
    ),
    t.audience: ("member", "position", "rule"),
    t.identifiers: ("position", "value", "scheme"),
    t.deliveries: (
        "queue", "sequence", "position", "member", "rule", "duties", "clause", "state", "round", "count", "attempt",
        "redrives", "handed_at", "lease_id", "lease_until", "changed_at", "reason",
    ),
    t.acknowledgements: ("position", "member", "state", "at", "jws"),
}  # fmt: skip


async def populate(r: Region, began: datetime) -> int:
    """Members, keys, the group and the subscriptions of the world, at the moment it began. The number of its relay."""
    stand(r, began)
    await r.enrol(*MEMBERS[:CUSTOMS], QUIET)
    await r.enrol(*MEMBERS[CUSTOMS : CUSTOMS + RILOS], type="rilo")
    await r.enrol(*MEMBERS[CUSTOMS + RILOS :], type="partner")
    await r.enrol("operator:ana")
    await r.group("regional", *REGIONAL)
    for number, member in enumerate(MEMBERS):
        how = "pull" if number % 2 else "amqp"
        await administer.subscribe(r.hub.ledger, member, "desk", how, {}, r.clock(), wire=True)
    async with r.hub.ledger.accepting() as c:
        relay = await relays.enlist(c)
        await relays.go_round(c, relay)
    return relay


def stand(r: Region, now: datetime) -> None:
    """Set the hub's clock."""
    r.clock.ahead = now - datetime.now(UTC)


@dataclass
class World:
    """What has been filled so far. `began`: when message 0 was accepted."""

    r: Region
    url: str
    began: datetime
    relay: int
    """The number of the one that holds every queue of RabbitMQ's."""
    messages: int = 0
    _text: str = field(default_factory=lambda: base64.urlsafe_b64encode(os.urandom(3 << 20)).decode(), repr=False)
    _cut: int = 0

    async def grow(self, messages: int) -> None:
        """Fill up to `messages` in all; the clock stands a minute after the last."""
        assert messages % BLOCK == 0, "whole blocks"
        filling = await self._begin(messages)
        await (self._into_sqlite if self.url.startswith("sqlite") else self._into_postgres)(filling)
        self.messages = messages
        stand(self.r, self.began + STEP * messages + timedelta(minutes=1))

    def random_text(self, characters: int) -> str:
        """Another piece each time; some of it comes again after megabytes, which no compression looks back to."""
        self._cut = (self._cut + 7_919) % (len(self._text) - 4_096)
        return self._text[self._cut : self._cut + characters]

    async def _begin(self, messages: int) -> _Filling:
        """What has lain about since the last filling is settled; numbers go on from where the hub is."""
        registry = await administer.snapshot(self.r.hub.ledger)
        own = {q.member: q.id for q in registry.subscriptions}
        queues = [own[member] for member in MEMBERS]
        stuck = (queues[STUCK_WIRE], queues[STUCK_PULL])
        async with self.r.hub.ledger.writing.begin() as c:
            await c.execute(
                text("UPDATE deliveries SET state = 'settled', lease_until = NULL WHERE state IN ('ready', 'leased')"
                     " AND queue NOT IN (:a, :b)"), {"a": stuck[0], "b": stuck[1]},
            )  # fmt: skip
            head = int((await c.execute(text("SELECT position FROM head"))).scalar_one())
            last: dict[str, int] = dict((await c.execute(text("SELECT id, last_sequence FROM queues"))).all())
        return _Filling(self, range(self.messages, messages), head + 1 - self.messages, queues, last)

    async def _into_postgres(self, filling: _Filling) -> None:
        ledger = open_ledger(self.url, pool_size=1)
        async with ledger.writing.connect() as c:
            raw: Any = (await c.get_raw_connection()).driver_connection
            await raw.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            for table, rows in filling.chunks():
                await raw.copy_records_to_table(table.name, records=rows, columns=COLUMNS[table])
            await raw.execute("SET session_replication_role = origin")
            await raw.executemany(*filling.ends("$1", "$2"))
            await raw.execute(f"UPDATE head SET position = {filling.end}")
            await raw.execute("UPDATE queues SET empty_at = $1 WHERE id <> $2", filling.now, filling.stuck)
            for table in COLUMNS:
                await raw.execute(f"VACUUM (ANALYZE) {table.name}")
            await raw.execute("CHECKPOINT")
        await ledger.close()

    async def _into_sqlite(self, filling: _Filling) -> None:
        with sqlite3.connect(make_url(self.url).database or "") as c:
            c.execute("PRAGMA synchronous=OFF")
            for table, rows in filling.chunks():
                names = COLUMNS[table]
                marks = ", ".join("?" * len(names))
                c.executemany(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", map(_plain, rows))
            statement, ends = filling.ends("?1", "?2")
            c.executemany(statement, ends)
            c.execute(f"UPDATE head SET position = {filling.end}")
            c.execute("UPDATE queues SET empty_at = ? WHERE id <> ?", _plain((filling.now, filling.stuck)))
        c.close()


def _plain(row: Row) -> Row:
    """Times as SQLite keeps them."""
    return tuple((v - EPOCH) // timedelta(microseconds=1) if isinstance(v, datetime) else v for v in row)


@dataclass
class _Filling:
    world: World
    numbers: range
    shift: int
    """Position of a message = its number + this."""
    queues: list[str]
    last: dict[str, int]

    @property
    def end(self) -> int:
        return self.numbers.stop - 1 + self.shift

    @property
    def now(self) -> datetime:
        """When it is over: queues of RabbitMQ's were seen empty then, but for the stuck one."""
        return self.world.began + STEP * self.numbers.stop

    @property
    def stuck(self) -> str:
        return self.queues[STUCK_WIRE]

    def ends(self, last: str, id: str) -> tuple[str, Sequence[tuple[int, str]]]:
        return f"UPDATE queues SET last_sequence = {last} WHERE id = {id}", [(n, q) for q, n in self.last.items()]

    def chunks(self, size: int = 5_000) -> Iterator[tuple[Table, list[Row]]]:
        for start in range(self.numbers.start, self.numbers.stop, size):
            part = range(start, min(start + size, self.numbers.stop))
            rows: dict[Table, list[Row]] = {table: [] for table in COLUMNS}
            for number in part:
                self._message(number, rows)
            yield from rows.items()

    def _message(self, i: int, rows: dict[Table, list[Row]]) -> None:
        world, position, at = self.world, i + self.shift, self.world.began + STEP * i
        sender, recipients, audience, rule, tlp, release = _release(i)
        original = _original(i)
        withdraws = i % 100 == 50
        if original is not None:
            sender = _release(original)[0]
        withdrawn_by = position if withdraws else i + 30 + self.shift if i % 100 == 20 else None
        due = at + timedelta(days=2)
        rows[t.messages].append((
            position, MEMBERS[sender], f"2026-{i:08}", "alert", "1.0", "actual", tlp, "tobacco" if i % 3 else "drugs",
            self._jws(), world.random_text(43), os.urandom(32), at, at + timedelta(days=7) if i % 10 == 0 else None,
            due if i % 20 == 0 and i > self.numbers.stop - 5_480 else None,
            (i if original is None else original) + self.shift, i + 5 + self.shift if i % 40 == 2 else None, withdrawn_by,
            withdraws, None if withdraws else release, "[]", world.random_text(RECEIPT), os.urandom(RECORD), os.urandom(32),
            os.urandom(32),
        ))  # fmt: skip
        rule = "holder" if withdraws else rule
        rows[t.audience] += [(MEMBERS[m], position, rule) for m in audience]
        rows[t.identifiers] += [
            (position, f"MSCU{(i * 7 + n) % 4_000_000:07}", "container" if n else "bill") for n in range(2)
        ]
        for place, m in enumerate(recipients):
            rows[t.deliveries].append(self._delivery(i, place, m, position, rule, at))
            if m % 4 == 2 and m != STUCK_WIRE:
                rows[t.acknowledgements].append(
                    (position, MEMBERS[m], "received", at, world.random_text(ACKNOWLEDGEMENT))
                )

    def _jws(self) -> str:
        """Of the size of one, read by nobody but who previews: its payload is `{}`."""
        return f"{self.world.random_text(160)}.e30.{self.world.random_text(JWS - 165)}"

    def _delivery(self, i: int, place: int, m: int, position: int, rule: str, at: datetime) -> Row:
        queue = self.queues[m]
        self.last[queue] += 1
        sequence = self.last[queue]
        state = _state(i, place, m, sequence, i >= self.numbers.stop - TAIL)
        seen = state in ("published", "settled", "leased", "dead")
        lease = None
        if state == "leased":  # half of them have just ended
            lease = (
                self.world.began + STEP * self.numbers.stop + timedelta(seconds=LEASE_SECONDS[1] * (2 if i % 2 else 0))
            )
        reason = state if state in ("dead", "revoked", "expired", "withdrawn") else None
        return (
            queue, sequence, position, MEMBERS[m], rule, "information", 0, state, 1, int(seen), int(seen and m % 2 == 0), 0,
            at if seen else None, self.world.random_text(32) if state in ("leased", "settled") and m % 2 else None, lease,
            at, reason,
        )  # fmt: skip


def _original(i: int) -> int | None:
    """The number of the message that `i` amends or withdraws."""
    return i - 30 if i % 100 == 50 else i - 5 if i % 40 == 7 else None


def _release(i: int) -> tuple[int, list[int], Sequence[int], str, str, str]:
    """(sender, who gets a delivery, who is decided for, rule, marking, the release as JSON)."""
    if i % 20 < 14:
        recipients = [(i * 7 + 9 * k) % 40 for k in range(5)]
        named = ", ".join(f'{{"member": "{MEMBERS[m]}"}}' for m in recipients)
        return (i * 7 + 4) % 40, recipients, recipients, "to", "AMBER", f'{{"to": [{named}]}}'
    if i % 20 < 19:
        sender = (i + 6) % 12
        others = [m for m in range(12) if m != sender]
        return sender, [(i + k) % 12 for k in range(5)], others, "group:regional", "AMBER", '{"groups": ["regional"]}'
    sender, everybody = (i * 7 + 6) % 36, range(CUSTOMS + RILOS)
    recipients = [(i * 7 + 7 * k) % 36 for k in range(5)]
    return sender, recipients, [m for m in everybody if m != sender], "all", "GREEN", '{"all": true}'


def _state(i: int, place: int, m: int, sequence: int, recent: bool) -> str:
    """What has become of a delivery."""
    if m == STUCK_PULL or (m == STUCK_WIRE and sequence > 500):
        return "ready"
    if recent:
        return "leased" if m % 2 and i % 10 == 0 else "ready"
    odd = (i + place) % 1_000
    if odd < 10:
        return (
            "dead",
            "dead",
            "revoked",
            "revoked",
            "expired",
            "expired",
            "expired",
            "expired",
            "withdrawn",
            "withdrawn",
        )[odd]
    return "published" if m % 4 == 0 else "settled"


def everything() -> list[str]:
    """The tables that grow."""
    return [table.name for table in chain(COLUMNS, (t.refusals, t.used_assertions, t.closings))]
