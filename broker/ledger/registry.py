"""Members, keys, groups, subscriptions: loading the snapshot, and the changes. Changes run inside `Ledger.changing`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import AlreadyThere, Fault, NotFound, RegistryRefused
from broker.ledger import tables as t
from broker.ledger.deliveries import state_is
from broker.ledger.wakes import RELAYS, touch
from broker.members import (
    HUB,
    INBOX,
    OPERATOR_PREFIX,
    ROTATION_OVERLAP,
    Group,
    Key,
    KeyRequest,
    Member,
    MemberType,
    Registry,
    Subscription,
)
from broker.routing import EVERYTHING, parse_filter

MAX_SUBSCRIPTIONS = 64
"""Of one member, its inbox not counted: every process keeps all filters of all members in memory."""


async def version(c: AsyncConnection) -> int:
    return int((await c.execute(select(t.registry.c.version))).scalar_one())


async def load(c: AsyncConnection) -> Registry:
    """The whole registry as one snapshot. O(members + keys + groups + subscriptions)."""
    number = await version(c)
    rows = {
        table: (await c.execute(select(table))).mappings().all()
        for table in (t.members, t.keys, t.groups, t.group_members)
    }
    within: dict[str, set[str]] = {}
    for row in rows[t.group_members]:
        within.setdefault(row["group_name"], set()).add(row["member"])
    found = (
        (
            await c.execute(
                select(t.subscriptions, t.queues.c.amqp_name)
                .join(t.queues, t.queues.c.id == t.subscriptions.c.id)
                .where(t.subscriptions.c.removed_at.is_(None))
                .order_by(t.subscriptions.c.created_at, t.subscriptions.c.id)
            )
        )
        .mappings()
        .all()
    )
    all_subscriptions = [_subscription(row) for row in found]
    return Registry(
        version=number,
        members={r["id"]: Member(r["id"], r["type"], r["name"], r["active"], r["rilo"]) for r in rows[t.members]},
        keys={r["kid"]: _key(r) for r in rows[t.keys]},
        groups={
            r["name"]: Group(r["name"], r["owner"], frozenset(within.get(r["name"], ())), r["starts_at"], r["ends_at"])
            for r in rows[t.groups]
        },
        subscriptions=tuple(s for s in all_subscriptions if s.name != INBOX),
        inboxes={s.member: s for s in all_subscriptions if s.name == INBOX},
    )


def _key(row: RowMapping) -> Key:
    return Key(
        row["kid"],
        row["owner"],
        row["use"],
        json.loads(row["jwk"]),
        row["not_before"],
        row["not_after"],
        row["revoked_at"],
    )


def _subscription(row: RowMapping) -> Subscription:
    wanted = parse_filter(json.loads(row["filter"])) if row["filter"] else EVERYTHING
    return Subscription(row["id"], row["member"], row["name"], row["delivery"], wanted, row["amqp_name"])


async def add_member(c: AsyncConnection, id: str, type: MemberType, name: str, now: datetime) -> None:
    """Add a member with its inbox. Raises AlreadyThere."""
    if (await c.execute(select(t.members.c.id).where(t.members.c.id == id))).first():
        raise AlreadyThere(Fault("/id", "member-exists", found=id))
    await c.execute(insert(t.members).values(id=id, type=type, name=name, active=True, changed_at=now))
    if id != HUB:
        await _add_queue(c, id, INBOX, "pull", "", now)


async def set_active(c: AsyncConnection, member: str, active: bool, now: datetime) -> None:
    """Suspend or reactivate. A suspension has the wire's connections closed. Raises NotFound."""
    await _must_exist(c, member)
    await c.execute(update(t.members).where(t.members.c.id == member).values(active=active, changed_at=now))
    if not active:
        await close_connections(c, member, "suspended", now)
    else:  # what is still being repeated would close the connections of a member that may connect again
        await c.execute(delete(t.closings).where(t.closings.c.member == member, t.closings.c.reason == "suspended"))


async def set_office(c: AsyncConnection, member: str, rilo: str | None, now: datetime) -> None:
    """Which liaison office a member reports through; None for none. Raises NotFound, RegistryRefused."""
    await _must_exist(c, member)
    if rilo is not None:
        await _must_exist(c, rilo)
        found = (await c.execute(select(t.members.c.type).where(t.members.c.id == rilo))).scalar_one()
        if found != "rilo":
            raise RegistryRefused(Fault("/office", "not-an-office", found=rilo))
    await c.execute(update(t.members).where(t.members.c.id == member).values(rilo=rilo, changed_at=now))


async def close_connections(c: AsyncConnection, member: str, reason: str, now: datetime) -> None:
    """Order the relay to close the member's connections to RabbitMQ."""
    await c.execute(insert(t.closings).values(member=member, reason=reason, at=now))
    touch(c, [RELAYS])


async def enrol_key(c: AsyncConnection, request: KeyRequest, now: datetime, not_after: datetime | None = None) -> None:
    """Bind a key to its owner from now on; a rotation ends the old key's window after ROTATION_OVERLAP.

    Raises AlreadyThere (whoever it is bound to: a key belongs to one owner for ever), NotFound for an unknown member.
    """
    if not request.owner.startswith(OPERATOR_PREFIX):
        await _must_exist(c, request.owner)
    if (await c.execute(select(t.keys.c.kid).where(t.keys.c.kid == request.kid))).first():
        raise AlreadyThere(Fault("/kid", "key-exists", found=request.kid))
    await c.execute(
        insert(t.keys).values(
            kid=request.kid,
            owner=request.owner,
            use="sign",
            jwk=json.dumps(dict(request.jwk)),
            not_before=now,
            not_after=not_after,
        )
    )
    if request.rotates:
        end = now + ROTATION_OVERLAP
        await c.execute(
            update(t.keys)
            .where(t.keys.c.kid == request.rotates, (t.keys.c.not_after.is_(None)) | (t.keys.c.not_after > end))
            .values(not_after=end)
        )


async def revoke_key(c: AsyncConnection, kid: str, reason: str, now: datetime) -> str:
    """Revoke at once; the owner's connections to RabbitMQ are closed. Returns the owner. Raises NotFound."""
    owner = (await c.execute(select(t.keys.c.owner).where(t.keys.c.kid == kid))).scalar_one_or_none()
    if owner is None:
        raise NotFound(Fault("/kid", "key-unknown", found=kid))
    await c.execute(
        update(t.keys).where(t.keys.c.kid == kid, t.keys.c.revoked_at.is_(None)).values(revoked_at=now, reason=reason)
    )
    if not owner.startswith(OPERATOR_PREFIX):
        await close_connections(c, owner, "key-revoked", now)
    return str(owner)


async def add_group(
    c: AsyncConnection, name: str, owner: str | None, starts_at: datetime | None, ends_at: datetime | None
) -> None:
    """Add a group; with a start or an end it is an operation. Raises AlreadyThere, NotFound (owner)."""
    if owner:
        await _must_exist(c, owner)
    if (await c.execute(select(t.groups.c.name).where(t.groups.c.name == name))).first():
        raise AlreadyThere(Fault("/name", "group-exists", found=name))
    await c.execute(insert(t.groups).values(name=name, owner=owner, starts_at=starts_at, ends_at=ends_at, ended=False))


async def join(c: AsyncConnection, group: str, member: str, now: datetime) -> None:
    """Put a member into a group; twice is once. Raises NotFound, RegistryRefused for members of type hub: ECHO in a
    group would be shown what is actual."""
    await _must_exist(c, member)
    if (await c.execute(select(t.members.c.type).where(t.members.c.id == member))).scalar_one() == "hub":
        raise RegistryRefused(Fault("/member", "hub-in-group", found=member))
    if not (await c.execute(select(t.groups.c.name).where(t.groups.c.name == group))).first():
        raise NotFound(Fault("/group", "group-unknown", found=group))
    there = select(t.group_members.c.member).where(
        t.group_members.c.group_name == group, t.group_members.c.member == member
    )
    if not (await c.execute(there)).first():
        await c.execute(insert(t.group_members).values(group_name=group, member=member, joined_at=now))


async def leave(c: AsyncConnection, group: str, member: str) -> None:
    """Take a member out of a group. What this revokes is decided by `hand_over.lapse`. Raises NotFound."""
    gone = await c.execute(
        delete(t.group_members).where(t.group_members.c.group_name == group, t.group_members.c.member == member)
    )
    if gone.rowcount == 0:
        raise NotFound(Fault("/member", "not-in-group", found=member))


async def add_subscription(
    c: AsyncConnection, member: str, name: str, delivery: str, wanted: Mapping[str, Any], now: datetime
) -> Subscription:
    """Add a subscription and its queue. Raises Invalid (filter), AlreadyThere, NotFound."""
    await _must_exist(c, member)
    parsed = parse_filter(wanted, "/filter")
    s = t.subscriptions.c
    own = select(func.count()).select_from(t.subscriptions).where(s.member == member, s.removed_at.is_(None))
    if (await c.execute(own)).scalar_one() > MAX_SUBSCRIPTIONS:
        raise RegistryRefused(Fault("/name", "too-many-subscriptions", allowed=(str(MAX_SUBSCRIPTIONS),)))
    if name == INBOX or (await c.execute(_named(member, name))).first():
        raise AlreadyThere(Fault("/name", "subscription-exists", found=name))
    id, amqp_name = await _add_queue(c, member, name, delivery, json.dumps(wanted), now)
    return Subscription(id, member, name, delivery, parsed, amqp_name)  # type: ignore[arg-type]  # checked by the caller


async def change_filter(c: AsyncConnection, member: str, name: str, wanted: Mapping[str, Any]) -> None:
    """Replace the filter of a subscription. Not retroactive. Raises Invalid, NotFound."""
    parse_filter(wanted, "/filter")
    changed = await c.execute(
        update(t.subscriptions)
        .where(
            t.subscriptions.c.member == member, t.subscriptions.c.name == name, t.subscriptions.c.removed_at.is_(None)
        )
        .where(t.subscriptions.c.name != INBOX)
        .values(filter=json.dumps(wanted))
    )
    if changed.rowcount == 0:
        raise NotFound(Fault("/name", "subscription-unknown", found=name))


async def remove_subscription(c: AsyncConnection, member: str, name: str, now: datetime) -> str:
    """End a subscription: what was not handed over becomes revoked. Returns its id. Raises NotFound, RegistryRefused."""
    if name == INBOX:
        raise RegistryRefused(Fault("/name", "inbox-stays"))
    id = (await c.execute(_named(member, name))).scalar_one_or_none()
    if id is None:
        raise NotFound(Fault("/name", "subscription-unknown", found=name))
    await c.execute(update(t.subscriptions).where(t.subscriptions.c.id == id).values(removed_at=now))
    await c.execute(
        update(t.deliveries)
        .where(t.deliveries.c.queue == id, or_(state_is("ready"), state_is("leased")))
        .values(state="revoked", reason="subscription removed", lease_id=None, lease_until=None, changed_at=now)
    )
    await c.execute(update(t.queues).where(t.queues.c.id == id, t.queues.c.declared).values(drain=True))
    return str(id)


def _named(member: str, name: str) -> Any:
    s = t.subscriptions.c
    return select(s.id).where(s.member == member, s.name == name, s.removed_at.is_(None))


async def _add_queue(
    c: AsyncConnection, member: str, name: str, delivery: str, wanted: str, now: datetime
) -> tuple[str, str | None]:
    id = secrets.token_hex(8)
    amqp_name = secrets.token_urlsafe(16) if delivery == "amqp" else None
    await c.execute(
        insert(t.subscriptions).values(
            id=id, member=member, name=name, delivery=delivery, filter=wanted, created_at=now
        )
    )
    await c.execute(
        insert(t.queues).values(id=id, last_sequence=0, amqp_name=amqp_name, generation=1, declared=False, drain=False)
    )
    return id, amqp_name


async def _must_exist(c: AsyncConnection, member: str) -> None:
    if not (await c.execute(select(t.members.c.id).where(t.members.c.id == member))).first():
        raise NotFound(Fault("/member", "unknown-member", found=member))
