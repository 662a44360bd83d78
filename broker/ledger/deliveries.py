"""Deliveries: the outbox, the leases, and what becomes of what comes back.

Every function that hands something over takes the registry snapshot read in the same transaction and decides anew
(`delivery.at_hand_over`). Guards stand in the statements: a row that is no longer as it was is not changed.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import metrics
from broker.delivery import MAX_COUNT, MAX_REDRIVES, Standing, State, at_hand_over
from broker.envelope import Release
from broker.ledger import tables as t
from broker.ledger.wakes import touch
from broker.logs import log
from broker.members import Registry

d = t.deliveries.c
latest = t.messages.alias("latest")

LIMIT_REASON = "delivery-limit"
TOKEN_CHARACTERS = 32
STREAM_MARK = "s"
"""First character of the lease token of a stream (`broker.stream`)."""
DRAIN = "drain"
"""Reason of an order to close connections: the member has lost a right, and a queue of its is to be drained."""


def state_is(state: State) -> ColumnElement[bool]:
    """The state as a word of the statement, never as a parameter: a plan that the database keeps for whichever state may
    come has no use for the index of one, and reads the whole table instead."""
    return d.state == literal_column(f"'{state}'")


UNSETTLED = d.state != literal_column("'settled'")
"""As the index of that name has it. SQLite wants to read it in the statement."""


_RESERVE = {
    "postgresql": text(
        "UPDATE queues SET last_sequence = last_sequence + wanted.number"
        " FROM (SELECT key AS queue, CAST(value AS integer) AS number FROM json_each_text(CAST(:wanted AS json))) AS wanted"
        " WHERE queues.id = wanted.queue RETURNING queues.id, queues.last_sequence"
    ),
    "sqlite": text(
        "UPDATE queues SET last_sequence = last_sequence + wanted.value FROM json_each(:wanted) AS wanted"
        " WHERE queues.id = wanted.key RETURNING queues.id, queues.last_sequence"
    ),
}
"""Move the last sequences of these queues on by so many each. One parameter, one text: nothing is put together anew for
each message (a statement of as many parts as queues costs three times as much, and two of them five times)."""
_INSERT = insert(t.deliveries)


async def insert_rows(c: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Number the rows in their queues and write them. The caller holds the head lock.

    `rows` come without `sequence`; order within a queue is their order.
    """
    if not rows:
        return
    wanted = Counter(row["queue"] for row in rows)
    reserved = await c.execute(_RESERVE[c.dialect.name], {"wanted": json.dumps(wanted)})
    last = {queue: sequence - wanted[queue] for queue, sequence in reserved}
    for row in rows:
        last[row["queue"]] += 1
        row["sequence"] = last[row["queue"]]
    await c.execute(_INSERT, rows)


def new_row(
    queue: str, position: int, member: str, rule: str, duties: Iterable[str], clause: int | None, now: datetime
) -> dict[str, Any]:
    """A ready delivery, for `insert_rows`."""
    return {
        "queue": queue, "position": position, "member": member, "rule": rule, "duties": ",".join(duties), "clause": clause,
        "state": "ready", "round": 1, "count": 0, "attempt": 0, "redrives": 0, "changed_at": now,
    }  # fmt: skip


_m = t.messages.c
_WHOLE = (
    t.deliveries, _m.originator, _m.id, _m.kind, _m.version, _m.jws, _m.digest, _m.accepted_at, _m.expires_at, _m.warnings,
    _m.withdrawn_by, _m.withdraws, _m.status, _m.traceparent,
)  # fmt: skip
_LEAN = (
    d.queue, d.sequence, d.member, d.rule, d.state, d.attempt, _m.originator, _m.expires_at, _m.withdrawn_by, _m.withdraws,
)  # fmt: skip


def standings(columns: Sequence[Any] = _LEAN) -> Select[Any]:
    """Deliveries with what `at_hand_over` asks of their message and of the latest version of its chain; no texts."""
    return (
        select(*columns, latest.c.release.label("latest_release"), latest.c.tlp.label("latest_tlp"))
        .join_from(t.deliveries, t.messages, _m.position == d.position)
        .join(latest, and_(latest.c.chain == _m.chain, latest.c.superseded_by.is_(None), latest.c.withdraws.is_(False)))
    )


def with_standing() -> Select[Any]:
    """The same, with the message itself and all of the delivery."""
    return standings(_WHOLE)


def standing(row: RowMapping) -> Standing:
    release = row["latest_release"]
    return Standing(
        member=row["member"],
        rule=row["rule"],
        originator=row["originator"],
        withdrawn=row["withdrawn_by"] is not None,
        is_withdrawal=row["withdraws"],
        expires_at=row["expires_at"],
        latest_release=None if release is None else Release.read(json.loads(release)),
        latest_tlp=row["latest_tlp"],
    )


async def take(
    c: AsyncConnection, registry: Registry, queue: str, limit: int, now: datetime
) -> tuple[list[RowMapping], int]:
    """Up to `limit` ready deliveries that may be handed over now, in sequence order, locked for this transaction.

    What may not is turned into its tombstone. Returns (rows, how many lapsed). Marks nothing as handed over.
    What another transaction holds (a correction, another reader's lease) may come to nothing there: its successors must
    not be offered before it. It is neither passed over nor waited for, for its process may have been stopped: raises Held,
    to be tried again.
    """
    offered: list[RowMapping] = []
    lapsed_count = 0
    after = 0
    while len(offered) < limit:
        query = (
            with_standing()
            .where(d.queue == queue, state_is("ready"), d.sequence > after)
            .where(or_(d.available_at.is_(None), d.available_at <= now))
            .order_by(d.sequence)
            .limit(limit - len(offered))
            .with_for_update(of=t.deliveries, nowait=True)
        )
        rows = (await c.execute(query)).mappings().all()
        if not rows:
            break
        after = rows[-1]["sequence"]
        lapsed: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            verdict = at_hand_over(standing(row), registry, now)
            if verdict == "offer":
                offered.append(row)
            elif verdict != "hold":
                lapsed[verdict].append(row["sequence"])
        for state, sequences in lapsed.items():
            lapsed_count += await move(c, queue, sequences, "ready", now, state=state, reason=state)
    return offered, lapsed_count


async def move(c: AsyncConnection, queue: str, sequences: Sequence[int], was: str, now: datetime, **values: Any) -> int:
    """Change rows of one queue that are still in state `was`. Returns how many."""
    if not sequences:
        return 0
    done = await c.execute(
        update(t.deliveries)
        .where(d.queue == queue, d.sequence.in_(sequences), d.state == was)
        .values(changed_at=now, **values)
    )
    return int(done.rowcount)


async def lease(
    c: AsyncConnection, registry: Registry, queue: str, limit: int, token: str, lease_seconds: int, now: datetime
) -> list[RowMapping]:
    """Lease up to `limit` deliveries under `token` (32 characters); the public lease id is `token.sequence`."""
    rows, _ = await take(c, registry, queue, limit, now)
    await move(
        c, queue, [r["sequence"] for r in rows], "ready", now,
        state="leased", lease_id=token, lease_until=now + timedelta(seconds=lease_seconds), count=d.count + 1,
        handed_at=func.coalesce(d.handed_at, bindparam("handed", now, type_=d.handed_at.type)), available_at=None,
    )  # fmt: skip
    return rows


def new_token() -> str:
    """Of a lease that is no stream's: 31 random hexadecimal digits after a mark of its own."""
    return "l" + secrets.token_hex(16)[1:]


def stream_of(token: str) -> str:
    """The name of the stream that took a lease; empty for other leases."""
    return token[:16] if token.startswith(STREAM_MARK) else ""


async def unsettled(c: AsyncConnection, queue: str, stream: str) -> int:
    """How many deliveries a stream holds."""
    held = d.lease_id.between(stream + "0" * 16, stream + "f" * 16)
    query = select(func.count()).select_from(t.deliveries).where(d.queue == queue, state_is("leased"), UNSETTLED, held)
    return int((await c.execute(query)).scalar_one())


async def take_back(c: AsyncConnection, queue: str, token: str, sequence: int, now: datetime) -> int:
    """What a stream was sent after the lease `token.sequence` did not arrive: it returns, uncounted. How many."""
    later = or_(d.lease_id > token, and_(d.lease_id == token, d.sequence > sequence))
    mine = (d.queue == queue, state_is("leased"), UNSETTLED)
    query = with_standing().where(*mine, later, d.lease_id <= token[:16] + "f" * 16)
    rows = (await c.execute(query.order_by(d.sequence).with_for_update(of=t.deliveries))).mappings().all()
    for row in rows:
        if await come_back(c, row, now) == "ready":
            await move(c, queue, [row["sequence"]], "ready", now, count=d.count - 1)
    return len(rows)


async def next_offer(c: AsyncConnection, queue: str, now: datetime) -> datetime | None:
    """When a delayed or a leased delivery of a queue that offers nothing now may be offered again."""
    instants = (
        select(func.min(d.available_at)).where(d.queue == queue, state_is("ready"), d.available_at > now),
        select(func.min(d.lease_until)).where(d.queue == queue, state_is("leased"), UNSETTLED),
    )
    return min(filter(None, [(await c.execute(instant)).scalar_one() for instant in instants]), default=None)


async def of_lease(c: AsyncConnection, queue: str, sequences: Sequence[int]) -> dict[int, RowMapping]:
    """Rows by sequence, locked, with standing: what extend and settle decide on."""
    query = with_standing().where(d.queue == queue, d.sequence.in_(sequences)).with_for_update(of=t.deliveries)
    return {row["sequence"]: row for row in (await c.execute(query)).mappings()}


async def extend(c: AsyncConnection, queue: str, sequences: Sequence[int], until: datetime, now: datetime) -> None:
    await move(c, queue, sequences, "leased", now, lease_until=until)


async def settle(c: AsyncConnection, queue: str, sequences: Sequence[int], now: datetime) -> None:
    await move(c, queue, sequences, "leased", now, state="settled", lease_until=None)


async def reject(c: AsyncConnection, queue: str, sequence: int, reason: str, now: datetime) -> None:
    await move(c, queue, [sequence], "leased", now, state="dead", lease_until=None, reason=reason)


async def come_back(c: AsyncConnection, row: RowMapping, now: datetime, available_at: datetime | None = None) -> str:
    """A leased delivery returns: ready, or withdrawn, expired, or dead at the limit. Returns the new state."""
    if row["withdrawn_by"] is not None and not row["withdraws"]:
        state = "withdrawn"
    elif row["expires_at"] is not None and row["expires_at"] <= now:
        state = "expired"
    elif row["count"] >= MAX_COUNT:
        state = "dead"
    else:
        state = "ready"
    reason = {"ready": None, "dead": LIMIT_REASON}.get(state, state)
    await move(
        c, row["queue"], [row["sequence"]], "leased", now,
        state=state, reason=reason, lease_id=None, lease_until=None, available_at=available_at if state == "ready" else None,
    )  # fmt: skip
    return state


async def bring_back(c: AsyncConnection, now: datetime, limit: int, queue: str | None = None) -> list[tuple[str, str]]:
    """Deliveries whose lease has ended return, in one queue or in any: (queue, new state) of each, up to `limit`."""
    query = with_standing().where(state_is("leased"), d.lease_until <= now).limit(limit)
    if queue is not None:
        query = query.where(d.queue == queue, UNSETTLED)
    rows = (await c.execute(query.with_for_update(of=t.deliveries, skip_locked=True))).mappings().all()
    came = [(str(row["queue"]), await come_back(c, row, now)) for row in rows]
    metrics.dead_letters.labels(LIMIT_REASON).inc(sum(state == "dead" for _, state in came))
    if came:
        touch(c, {queue for queue, _ in came})
        log.info("lease.ended", deliveries=len(came), dead=sum(state == "dead" for _, state in came))
    return came


async def end_leases(c: AsyncConnection, member: str, now: datetime) -> None:
    """All leases of a member end now, whatever time they had: it is suspended."""
    query = with_standing().where(d.member == member, state_is("leased")).with_for_update(of=t.deliveries)
    for row in (await c.execute(query)).mappings().all():
        await come_back(c, row, now)


async def expire(c: AsyncConnection, now: datetime, since: datetime | None = None) -> int:
    """Ready deliveries of messages past `expires_at` become expired. `since`: of those that expired after it, alone."""
    m = t.messages.c
    past = select(m.position).where(m.expires_at <= now, *([m.expires_at > since] if since else []))
    done = await c.execute(
        update(t.deliveries)
        .where(state_is("ready"), d.position.in_(past))
        .values(state="expired", reason="expired", changed_at=now)
    )
    return int(done.rowcount)


async def withdraw_chain(c: AsyncConnection, chain: int, now: datetime) -> None:
    """What was not handed over of any version becomes withdrawn; the withdrawal's own deliveries are not touched."""
    versions = select(t.messages.c.position).where(t.messages.c.chain == chain, t.messages.c.withdraws.is_(False))
    await c.execute(
        update(t.deliveries)
        .where(d.position.in_(versions), state_is("ready"))
        .values(state="withdrawn", reason="withdrawn", changed_at=now)
    )


async def redrive(c: AsyncConnection, queue: str, sequence: int, now: datetime) -> bool:
    """dead → ready by an operator, at most MAX_REDRIVES times a round. True if it moved.

    Still the same round, so the count goes on: one try each for what died at the limit.
    """
    done = await c.execute(
        update(t.deliveries)
        .where(d.queue == queue, d.sequence == sequence, d.state == "dead", d.redrives < MAX_REDRIVES)
        .values(state="ready", redrives=d.redrives + 1, reason=None, lease_id=None, changed_at=now)
    )
    return bool(done.rowcount)


async def settle_published(c: AsyncConnection, position: int, member: str, now: datetime) -> None:
    """A signed acknowledgement settles every published delivery of the message to the member."""
    await c.execute(
        update(t.deliveries)
        .where(d.position == position, d.member == member, state_is("published"))
        .values(state="settled", changed_at=now)
    )


async def index(c: AsyncConnection, queue: str, after: int, limit: int) -> Sequence[RowMapping]:
    """The queue's index from a sequence on, tombstones included."""
    m = t.messages.c
    query = (
        select(d.sequence, d.duties, d.rule, d.state, d.round, d.count, d.reason, d.changed_at, d.clause,
               m.originator, m.id, m.digest, m.kind, d.handed_at)
        .join(t.messages, m.position == d.position)
        .where(d.queue == queue, d.sequence > after)
        .order_by(d.sequence)
        .limit(limit)
    )  # fmt: skip
    return (await c.execute(query)).mappings().all()


async def depths(c: AsyncConnection, queues: Iterable[str] | None = None) -> dict[str, Mapping[str, int]]:
    """queue -> {state: how many}, for these or all. What is settled is not counted: sequences have no gaps."""
    q = t.queues.c
    query = (
        select(q.id, q.last_sequence, d.state, func.count(d.queue))
        .outerjoin_from(t.queues, t.deliveries, and_(d.queue == q.id, UNSETTLED))
        .group_by(q.id, q.last_sequence, d.state)
    )
    if queues is not None:
        query = query.where(q.id.in_(list(queues)))
    found: dict[str, dict[str, int]] = {}
    for queue, last, state, number in await c.execute(query):
        counted = found.setdefault(queue, {"settled": last})
        if state is not None:
            counted[state] = number
            counted["settled"] -= number
    return {queue: {state: n for state, n in counted.items() if n} for queue, counted in found.items()}


async def oldest_ready(c: AsyncConnection, queues: Iterable[str]) -> dict[str, datetime]:
    """queue -> when its first ready delivery was accepted, for those that have one."""
    q = t.queues.c
    first = (
        select(d.position).where(d.queue == q.id, state_is("ready")).order_by(d.sequence).limit(1).correlate(t.queues)
    ).scalar_subquery()
    query = select(q.id, t.messages.c.accepted_at).join_from(t.queues, t.messages, t.messages.c.position == first)
    return dict((await c.execute(query.where(q.id.in_(list(queues))))).all())
