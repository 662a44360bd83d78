"""Time passing: leases that end, messages that expire, operations that end, reminders that fall due.

One sweep does everything that is due now and is safe to run at any moment, twice, or by several processes: every
statement is guarded by the state it changes. Recovery after a crash is the next sweep. A sweep runs when the next known
instant has come, and every SWEEP_SECONDS for what another process knew and took with it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from broker import administer, metrics, notices
from broker.accept import Batch, inbox_recipients, matched_recipients
from broker.entitlement import RULE_NOTICE
from broker.errors import LedgerAway
from broker.hub import Hub
from broker.ledger import deliveries as ledger
from broker.ledger import messages as ledger_messages
from broker.ledger import tables as t
from broker.ledger import wire as ledger_wire
from broker.ledger.wakes import REGISTRY
from broker.logs import log

SWEEP_SECONDS = 30.0
PAUSE_SECONDS = 0.2
"""Between two sweeps at least: leases that end one after another are swept together."""
AGAIN_SECONDS = 1.0
"""Before the next try while the ledger is away."""
BATCH = 500
EXPIRE_ALL = timedelta(hours=1)
OVERLAP = timedelta(minutes=5)
"""Looked back so far: what another process accepts with its own clock may be committed after a sweep of ours."""


async def run(hub: Hub) -> None:
    """Sweep for ever; a ledger that is away is tried again, any other error ends the process that runs us."""
    while True:
        seconds = SWEEP_SECONDS
        try:
            await sweep(hub)
            hub.alarm.at(await _next_instant(hub))
        except LedgerAway as away:
            log.warning("ledger.away", detail=away.detail)
            seconds = AGAIN_SECONDS
        await asyncio.sleep(PAUSE_SECONDS)
        await hub.alarm.wait(hub.now, seconds)


async def _next_instant(hub: Hub) -> datetime | None:
    """When something falls due that the ledger knows of."""
    now, m, d, g = hub.now(), t.messages.c, t.deliveries.c, t.groups.c
    instants = (
        select(func.min(d.lease_until)).where(ledger.state_is("leased")),
        select(func.min(m.expires_at)).where(m.expires_at > now),
        select(func.min(m.acknowledge_by)).where(m.acknowledge_by.is_not(None)),
        select(func.min(g.ends_at)).where(g.ended.is_(False)),
    )
    async with hub.ledger.reading() as c:
        found = [(await c.execute(instant)).scalar_one() for instant in instants]
    return min(filter(None, found), default=None)


async def sweep(hub: Hub) -> None:
    """All that is due at `hub.now()`, and the figures that only the ledger knows."""
    await _leases(hub)
    now = hub.now()
    async with hub.ledger.accepting() as c:
        expired = await ledger.expire(c, now, _expired_before(hub, now))
        await c.execute(delete(t.used_assertions).where(t.used_assertions.c.expires_at < now))
    hub.expired_until = now
    if expired:
        log.info("delivery.expired", deliveries=expired)
    for name in await administer.end_groups(hub.ledger, now):
        log.info("operation.ended", group=name)
    await _reminders(hub)
    async with hub.ledger.reading() as c:
        metrics.outbox.set(await ledger_wire.outbox(c))


def _expired_before(hub: Hub, now: datetime) -> datetime | None:
    """Messages that expired before this were swept by this process; None: look at all that ever expired, as after every
    start and now and then, for what became ready again long after."""
    done = hub.expired_until
    if done is None or now - hub.expired_all > EXPIRE_ALL or now < done:
        hub.expired_all = now
        return None
    return done - OVERLAP


async def _leases(hub: Hub) -> None:
    while True:
        async with hub.ledger.accepting() as c:
            came = await ledger.bring_back(c, hub.now(), BATCH)
        if len(came) < BATCH:
            return


async def _reminders(hub: Hub) -> None:
    now = hub.now()
    async with hub.ledger.reading() as c:
        if not await ledger_messages.overdue(c, now, 1):
            return
    async with hub.ledger.accepting() as c:
        batch = await Batch.begin(c, hub, [])
        for row in await ledger_messages.overdue(c, now, BATCH):
            late = await ledger_messages.unacknowledged(c, row["position"])
            if late and row["withdrawn_by"] is None:
                address, rules = f"{row['originator']}:{row['id']}", {row["originator"]: RULE_NOTICE}
                notice = notices.not_acknowledged(hub, row["originator"], address, late, now)
                recipients = matched_recipients(notice, rules, batch.registry)
                recipients += inbox_recipients(notice, rules, batch.registry, {r.member for r in recipients})
                batch.append(notice, rules, recipients, (), None)
            await ledger_messages.reminded(c, row["position"])
        await batch.flush()


async def follow_registry(hub: Hub) -> None:
    """Another process, or this one, has changed the registry: have the new one at hand, and learn of new instants."""
    with hub.wakes.listening(REGISTRY) as changed:
        while True:
            await changed.wait(SWEEP_SECONDS)
            changed.clear()
            with suppress(LedgerAway):
                async with hub.ledger.reading() as c:
                    await hub.registry(c)
            hub.alarm.ring()
