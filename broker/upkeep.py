"""Time passing: leases that end, messages that expire, operations that end, reminders that fall due.

One sweep does everything that is due now and is safe to run at any moment, twice, or by several processes: every
statement is guarded by the state it changes. Recovery after a crash is the next sweep.
"""

from __future__ import annotations

import asyncio

from sqlalchemy import delete

from broker import administer, metrics, notices
from broker.accept import Batch, inbox_recipients, matched_recipients
from broker.entitlement import RULE_NOTICE
from broker.errors import LedgerAway
from broker.hub import Hub
from broker.ledger import deliveries as ledger
from broker.ledger import messages as ledger_messages
from broker.ledger import registry as ledger_registry
from broker.ledger import tables as t
from broker.logs import log

SWEEP_SECONDS = 1.0
BATCH = 500


async def run(hub: Hub) -> None:
    """Sweep for ever; a ledger that is away is tried again, any other error ends the process that runs us."""
    while True:
        try:
            await sweep(hub)
        except LedgerAway as away:
            log.warning("ledger.away", detail=away.detail)
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(hub: Hub) -> None:
    """All that is due at `hub.now()`."""
    await _leases(hub)
    now = hub.now()
    async with hub.ledger.accepting() as c:
        expired = await ledger.expire(c, now)
        await c.execute(delete(t.used_assertions).where(t.used_assertions.c.expires_at < now))
    if expired:
        log.info("delivery.expired", deliveries=expired)
    for name in await administer.end_groups(hub.ledger, now):
        log.info("operation.ended", group=name)
    await _reminders(hub)


async def _leases(hub: Hub) -> None:
    while True:
        now = hub.now()
        async with hub.ledger.accepting() as c:
            rows = await ledger.ended_leases(c, now, BATCH)
            states = [await ledger.come_back(c, row, now) for row in rows]
        if rows:
            metrics.dead_letters.labels("delivery-limit").inc(states.count("dead"))
            log.info("lease.ended", deliveries=len(rows), dead=states.count("dead"))
            hub.wakes.wake({row["queue"] for row in rows})
        if len(rows) < BATCH:
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
    hub.wakes.wake(batch.touched)


async def watch_registry(hub: Hub, changed: asyncio.Event, seconds: float = 0.25) -> None:
    """Notice changes that another process made (the command line): wake everybody who decides by the registry."""
    seen = -1
    while True:
        try:
            async with hub.ledger.reading() as c:
                version = await ledger_registry.version(c)
                if version != seen:
                    await hub.registry(c)
            if version != seen:
                seen = version
                changed.set()
                hub.wakes.wake_all()
        except LedgerAway:
            pass
        await asyncio.sleep(seconds)
