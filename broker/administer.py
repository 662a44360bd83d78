"""Changes of the registry with all they entail, each in one transaction, with the hub running or not.

Used by the command line (on the ledger directly) and by members for their own subscriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from broker.errors import Fault, Invalid, RegistryRefused, quote
from broker.ledger import Ledger, lapses, touch
from broker.ledger import deliveries as ledger_deliveries
from broker.ledger import registry as ledger
from broker.ledger import tables as t
from broker.members import HUB, MEMBER_ID, NAME, KeyRequest, MemberType, Registry, Subscription

MEMBER_TYPES = ("customs", "rilo", "partner", "hub")


async def snapshot(ledger_: Ledger) -> Registry:
    async with ledger_.reading() as c:
        return await ledger.load(c)


async def add_member(ledger_: Ledger, id: str, type: str, name: str, now: datetime) -> None:
    """Raises Invalid, AlreadyThere."""
    faults = []
    if not MEMBER_ID.fullmatch(id) and id != HUB:
        faults.append(Fault("/id", "member-id", found=quote(id)))
    if type not in MEMBER_TYPES:
        faults.append(Fault("/type", "enum", found=quote(type), allowed=MEMBER_TYPES))
    if faults:
        raise Invalid(*faults)
    member_type: MemberType = type  # type: ignore[assignment]  # checked above
    async with ledger_.changing() as c:
        await ledger.add_member(c, id, member_type, name, now)


async def set_active(ledger_: Ledger, member: str, active: bool, now: datetime) -> None:
    """Suspend or reactivate; whoever comes back is decided for anew at once. The hub itself cannot be suspended."""
    if member == HUB:
        raise RegistryRefused(Fault("/member", "hub-stays"))
    async with ledger_.changing() as c:
        await ledger.set_active(c, member, active, now)
        registry = await ledger.load(c)
        if active:
            await lapses.lapse_member(c, registry, member, now)
        else:
            await ledger_deliveries.end_leases(c, member, now)
        touch(c, _queues_of(registry, member))


async def set_office(ledger_: Ledger, member: str, rilo: str | None, now: datetime) -> None:
    """Which liaison office may know the quality of a member's reports. Raises NotFound, RegistryRefused."""
    async with ledger_.changing() as c:
        await ledger.set_office(c, member, rilo, now)


def _queues_of(registry: Registry, member: str) -> list[str]:
    """Who waits at one of them must look whether it still may, or what it may again."""
    return [id for id, queue in registry.queues.items() if queue.member == member]


async def enrol(ledger_: Ledger, request: KeyRequest, now: datetime, not_after: datetime | None = None) -> None:
    async with ledger_.changing() as c:
        await ledger.enrol_key(c, request, now, not_after)


async def revoke(ledger_: Ledger, kid: str, reason: str, now: datetime) -> str:
    async with ledger_.changing() as c:
        owner = await ledger.revoke_key(c, kid, reason, now)
        touch(c, _queues_of(await ledger.load(c), owner))
        return owner


async def add_group(
    ledger_: Ledger, name: str, owner: str | None, starts_at: datetime | None = None, ends_at: datetime | None = None
) -> None:
    """Raises Invalid, AlreadyThere, NotFound."""
    if not NAME.fullmatch(name):
        raise Invalid(Fault("/name", "name", found=quote(name)))
    if starts_at and ends_at and ends_at <= starts_at:
        raise Invalid(Fault("/ends_at", "ends-before-start"))
    async with ledger_.changing() as c:
        await ledger.add_group(c, name, owner, starts_at, ends_at)


async def join(ledger_: Ledger, group: str, member: str, now: datetime) -> None:
    async with ledger_.changing() as c:
        await ledger.join(c, group, member, now)


async def leave(ledger_: Ledger, group: str, member: str, now: datetime) -> None:
    """Leave a group: what only it admitted and was not handed over is revoked in the same transaction; what is in
    RabbitMQ is drained by the relay."""
    async with ledger_.changing() as c:
        await ledger.leave(c, group, member)
        await lapses.lapse_group(c, await ledger.load(c), group, [member], now)


async def end_groups(ledger_: Ledger, now: datetime) -> list[str]:
    """Act on operations whose end has passed. Returns their names."""
    g = t.groups.c
    due = select(g.name).where(g.ends_at <= now, g.ended.is_(False))
    async with ledger_.reading() as c:
        if not (await c.execute(due)).first():
            return []
    async with ledger_.changing() as c:
        names = list((await c.execute(due)).scalars())
        registry = await ledger.load(c)
        for name in names:
            await lapses.lapse_group(c, registry, name, registry.groups[name].members, now)
        await c.execute(update(t.groups).where(g.name.in_(names)).values(ended=True))
    return names


async def subscribe(
    ledger_: Ledger, member: str, name: str, delivery: str, wanted: Mapping[str, Any], now: datetime, *, wire: bool
) -> Subscription:
    """Raises Invalid (name, delivery, filter), AlreadyThere, NotFound. `wire`: a RabbitMQ is configured."""
    faults = []
    if not NAME.fullmatch(name):
        faults.append(Fault("/name", "name", found=quote(name)))
    allowed = ("amqp", "pull", "stream") if wire else ("pull", "stream")
    if delivery not in allowed:
        faults.append(Fault("/delivery", "enum", found=quote(delivery), allowed=allowed))
    if faults:
        raise Invalid(*faults)
    async with ledger_.changing() as c:
        return await ledger.add_subscription(c, member, name, delivery, wanted, now)


async def change_filter(ledger_: Ledger, member: str, name: str, wanted: Mapping[str, Any]) -> None:
    async with ledger_.changing() as c:
        await ledger.change_filter(c, member, name, wanted)


async def unsubscribe(ledger_: Ledger, member: str, name: str, now: datetime) -> None:
    async with ledger_.changing() as c:
        touch(c, [await ledger.remove_subscription(c, member, name, now)])
