"""Deliveries: the outbox, the leases, and what becomes of what comes back.

Every function that hands something over takes the registry snapshot read in the same transaction and decides anew
(`delivery.at_hand_over`). Guards stand in the statements: a row that is no longer as it was is not changed.
"""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import metrics
from broker.delivery import MAX_COUNT, MAX_REDRIVES, REPLAYABLE, Standing, at_hand_over
from broker.envelope import Release
from broker.ledger import tables as t
from broker.ledger.wakes import RELAYS, touch
from broker.logs import log
from broker.members import Registry

d = t.deliveries.c
_latest = t.messages.alias("latest")

LIMIT_REASON = "delivery-limit"
TOKEN_CHARACTERS = 32
STREAM_MARK = "s"
"""First character of the lease token of a stream (`broker.stream`)."""
DRAIN = "drain"
"""Reason of an order to close connections: the member has lost a right, and a queue of its is to be drained."""


async def insert_rows(c: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Number the rows in their queues and write them. The caller holds the head lock.

    `rows` come without `sequence`; order within a queue is their order.
    """
    if not rows:
        return
    wanted: dict[str, int] = defaultdict(int)
    for row in rows:
        wanted[row["queue"]] += 1
    q = t.queues.c
    last = dict((await c.execute(select(q.id, q.last_sequence).where(q.id.in_(list(wanted))))).all())
    for row in rows:
        last[row["queue"]] += 1
        row["sequence"] = last[row["queue"]]
    await c.execute(
        update(t.queues).where(q.id == bindparam("queue")).values(last_sequence=bindparam("last")),
        [{"queue": queue, "last": last[queue]} for queue in wanted],
    )
    await c.execute(insert(t.deliveries), rows)


def new_row(
    queue: str, position: int, member: str, rule: str, duties: Iterable[str], clause: int | None, now: datetime
) -> dict[str, Any]:
    """A ready delivery, for `insert_rows`."""
    return {
        "queue": queue, "position": position, "member": member, "rule": rule, "duties": ",".join(duties), "clause": clause,
        "state": "ready", "round": 1, "count": 0, "attempt": 0, "redrives": 0, "changed_at": now,
    }  # fmt: skip


def _with_standing() -> Select[Any]:
    """Deliveries with their message and the latest version of its chain: all that `at_hand_over` asks."""
    m = t.messages.c
    return (
        select(
            t.deliveries, m.originator, m.id, m.kind, m.jws, m.digest, m.accepted_at, m.expires_at, m.warnings,
            m.withdrawn_by, m.withdraws, m.status, m.traceparent,
            _latest.c.release.label("latest_release"), _latest.c.tlp.label("latest_tlp"),
        )
        .join(t.messages, m.position == d.position)
        .join(_latest, and_(_latest.c.chain == m.chain, _latest.c.superseded_by.is_(None), _latest.c.withdraws.is_(False)))
    )  # fmt: skip


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
    """
    offered: list[RowMapping] = []
    lapsed_count = 0
    after = 0
    while len(offered) < limit:
        query = (
            _with_standing()
            .where(d.queue == queue, d.state == "ready", d.sequence > after)
            .where(or_(d.available_at.is_(None), d.available_at <= now))
            .order_by(d.sequence)
            .limit(limit - len(offered))
            .with_for_update(of=t.deliveries, skip_locked=True)
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
            lapsed_count += await _move(c, queue, sequences, "ready", now, state=state, reason=state)
    return offered, lapsed_count


async def _move(
    c: AsyncConnection, queue: str, sequences: Sequence[int], was: str, now: datetime, **values: Any
) -> int:
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
    await _move(
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
    query = select(func.count()).select_from(t.deliveries).where(d.queue == queue, d.state == "leased", held)
    return int((await c.execute(query)).scalar_one())


async def take_back(c: AsyncConnection, queue: str, token: str, sequence: int, now: datetime) -> int:
    """What a stream was sent after the lease `token.sequence` did not arrive: it returns, uncounted. How many."""
    later = or_(d.lease_id > token, and_(d.lease_id == token, d.sequence > sequence))
    query = _with_standing().where(d.queue == queue, d.state == "leased", later, d.lease_id <= token[:16] + "f" * 16)
    rows = (await c.execute(query.order_by(d.sequence).with_for_update(of=t.deliveries))).mappings().all()
    for row in rows:
        if await come_back(c, row, now) == "ready":
            await _move(c, queue, [row["sequence"]], "ready", now, count=d.count - 1)
    return len(rows)


async def next_offer(c: AsyncConnection, queue: str, now: datetime) -> datetime | None:
    """When a delayed or a leased delivery of a queue that offers nothing now may be offered again."""
    instants = (
        select(func.min(d.available_at)).where(d.queue == queue, d.state == "ready", d.available_at > now),
        select(func.min(d.lease_until)).where(d.queue == queue, d.state == "leased"),
    )
    return min(filter(None, [(await c.execute(instant)).scalar_one() for instant in instants]), default=None)


async def of_lease(c: AsyncConnection, queue: str, sequences: Sequence[int]) -> dict[int, RowMapping]:
    """Rows by sequence, locked, with standing: what extend and settle decide on."""
    query = _with_standing().where(d.queue == queue, d.sequence.in_(sequences)).with_for_update(of=t.deliveries)
    return {row["sequence"]: row for row in (await c.execute(query)).mappings()}


async def extend(c: AsyncConnection, queue: str, sequences: Sequence[int], until: datetime, now: datetime) -> None:
    await _move(c, queue, sequences, "leased", now, lease_until=until)


async def settle(c: AsyncConnection, queue: str, sequences: Sequence[int], now: datetime) -> None:
    await _move(c, queue, sequences, "leased", now, state="settled", lease_until=None)


async def reject(c: AsyncConnection, queue: str, sequence: int, reason: str, now: datetime) -> None:
    await _move(c, queue, [sequence], "leased", now, state="dead", lease_until=None, reason=reason)


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
    await _move(
        c, row["queue"], [row["sequence"]], "leased", now,
        state=state, reason=reason, lease_id=None, lease_until=None, available_at=available_at if state == "ready" else None,
    )  # fmt: skip
    return state


async def bring_back(c: AsyncConnection, now: datetime, limit: int, queue: str | None = None) -> list[tuple[str, str]]:
    """Deliveries whose lease has ended return, in one queue or in any: (queue, new state) of each, up to `limit`."""
    query = _with_standing().where(d.state == "leased", d.lease_until <= now).limit(limit)
    if queue is not None:
        query = query.where(d.queue == queue)
    rows = (await c.execute(query.with_for_update(of=t.deliveries, skip_locked=True))).mappings().all()
    came = [(str(row["queue"]), await come_back(c, row, now)) for row in rows]
    metrics.dead_letters.labels(LIMIT_REASON).inc(sum(state == "dead" for _, state in came))
    if came:
        touch(c, {queue for queue, _ in came})
        log.info("lease.ended", deliveries=len(came), dead=sum(state == "dead" for _, state in came))
    return came


async def end_leases(c: AsyncConnection, member: str, now: datetime) -> None:
    """All leases of a member end now, whatever time they had: it is suspended."""
    query = _with_standing().where(d.member == member, d.state == "leased").with_for_update(of=t.deliveries)
    for row in (await c.execute(query)).mappings().all():
        await come_back(c, row, now)


async def expire(c: AsyncConnection, now: datetime) -> int:
    """Ready deliveries of messages past `expires_at` become expired."""
    past = select(t.messages.c.position).where(t.messages.c.expires_at <= now)
    done = await c.execute(
        update(t.deliveries)
        .where(d.state == "ready", d.position.in_(past))
        .values(state="expired", reason="expired", changed_at=now)
    )
    return int(done.rowcount)


async def withdraw_chain(c: AsyncConnection, chain: int, now: datetime) -> None:
    """What was not handed over of any version becomes withdrawn; the withdrawal's own deliveries are not touched."""
    versions = select(t.messages.c.position).where(t.messages.c.chain == chain, t.messages.c.withdraws.is_(False))
    await c.execute(
        update(t.deliveries)
        .where(d.position.in_(versions), d.state == "ready")
        .values(state="withdrawn", reason="withdrawn", changed_at=now)
    )


async def lapse(c: AsyncConnection, registry: Registry, now: datetime, *where: Any) -> None:
    """Decide anew about deliveries that a change may have barred: ready becomes revoked, what may still be in
    RabbitMQ has its queue drained. `where` narrows to what the change touches. Rows are locked as they are read: a
    claim of the relay that has not committed yet is waited for, or it would be published unseen."""
    query = _with_standing().where(d.state.in_(("ready", "published")), *where).order_by(d.queue, d.sequence)
    rows = (await c.execute(query.with_for_update(of=t.deliveries))).mappings().all()
    revoked: dict[str, list[int]] = defaultdict(list)
    drains: dict[str, str] = {}
    for row in rows:
        if at_hand_over(standing(row), registry, now) != "revoked":
            continue
        if row["state"] == "ready":
            revoked[row["queue"]].append(row["sequence"])
        if row["attempt"]:
            drains[row["queue"]] = row["member"]
    for queue, sequences in revoked.items():
        await _move(c, queue, sequences, "ready", now, state="revoked", reason="revoked")
    if drains:
        await c.execute(update(t.queues).where(t.queues.c.id.in_(drains), t.queues.c.declared).values(drain=True))
        closings = [{"member": m, "reason": DRAIN, "at": now} for m in sorted(set(drains.values()))]
        await c.execute(insert(t.closings), closings)  # any relay can, should the one that holds the queue be dead
        touch(c, [*drains, RELAYS])


async def lapse_chain(c: AsyncConnection, registry: Registry, chain: int, now: datetime) -> None:
    """`lapse` for the versions of a chain, after an amendment."""
    await lapse(c, registry, now, t.messages.c.chain == chain, t.messages.c.withdraws.is_(False))


async def lapse_group(
    c: AsyncConnection, registry: Registry, group: str, members: Iterable[str], now: datetime
) -> None:
    """`lapse` for what the group may have admitted, after a leave or an operation's end.

    The latest release says so, not the delivery's rule: that is the first that admitted it, perhaps to another version.
    """
    named = _latest.c.release.contains(json.dumps(group), autoescape=True)
    await lapse(c, registry, now, named, d.member.in_(list(members)))


async def lapse_member(c: AsyncConnection, registry: Registry, member: str, now: datetime) -> None:
    """`lapse` for all that was held for a suspended member, now that it is active again."""
    await lapse(c, registry, now, d.member == member)


@dataclass(frozen=True, slots=True)
class Replay:
    """From where a queue is replayed: exactly one of the three."""

    since: datetime | None = None
    sequence: int | None = None
    message: tuple[str, str] | None = None


async def replay(
    c: AsyncConnection, registry: Registry, queue: str, wanted: Replay, now: datetime
) -> tuple[int, list[RowMapping]]:
    """settled, dead, published → ready: round + 1, count 0. Returns (replayed, skipped rows)."""
    query = _with_standing().where(d.queue == queue)
    if wanted.sequence is not None:
        query = query.where(d.sequence >= wanted.sequence)
    elif wanted.since is not None:
        query = query.where(t.messages.c.accepted_at >= wanted.since)
    elif wanted.message is not None:
        query = query.where(t.messages.c.originator == wanted.message[0], t.messages.c.id == wanted.message[1])
    rows = (await c.execute(query.order_by(d.sequence).with_for_update(of=t.deliveries))).mappings().all()
    again, skipped = [], []
    for row in rows:
        if row["state"] in REPLAYABLE and at_hand_over(standing(row), registry, now) == "offer":
            again.append(row["sequence"])
        elif row["state"] not in ("ready", "leased"):
            skipped.append(row)
    if again:
        await c.execute(
            update(t.deliveries)
            .where(d.queue == queue, d.sequence.in_(again), d.state.in_(REPLAYABLE))
            .values(state="ready", round=d.round + 1, count=0, redrives=0, reason=None, lease_id=None, available_at=None,
                    changed_at=now)
        )  # fmt: skip
    return len(again), skipped


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
        .where(d.position == position, d.member == member, d.state == "published")
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


async def depths(c: AsyncConnection, member: str | None = None) -> dict[str, Mapping[str, int]]:
    """queue -> {state: how many}, for one member or all."""
    query = select(d.queue, d.state, func.count()).group_by(d.queue, d.state)
    if member is not None:
        query = query.where(d.member == member)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for queue, state, number in await c.execute(query):
        found[queue][state] = number
    return dict(found)


async def oldest_ready(c: AsyncConnection, queue: str) -> datetime | None:
    """When the first ready delivery of the queue was accepted."""
    query = (
        select(t.messages.c.accepted_at)
        .join(t.deliveries, d.position == t.messages.c.position)
        .where(d.queue == queue, d.state == "ready")
        .order_by(d.sequence)
        .limit(1)
    )
    found: datetime | None = (await c.execute(query)).scalar_one_or_none()
    return found
