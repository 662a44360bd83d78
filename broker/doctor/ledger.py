"""The ledger as a hub needs it, and what waits in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, text

from broker import jws, startup_checks
from broker.clock import Clock
from broker.doctor import Finding, fail, ok, span, warn
from broker.errors import Fault, SetupRefused
from broker.ledger import Ledger, migrate, relays
from broker.ledger import registry as ledger_registry
from broker.ledger import tables as t
from broker.ledger.deliveries import state_is
from broker.members import HUB, Registry

OLDEST_POSTGRESQL = 150_000
WAITS_ON_THE_WIRE = timedelta(minutes=1)
"""A relay publishes within a second; what waits longer waits for something."""
WAITS_FOR_A_MEMBER = timedelta(days=1)
NAMED = 3

d = t.deliveries.c


async def reached(ledger: Ledger, ledger_url: str) -> Finding:
    """Raises SetupRefused when we are not let in, LedgerAway."""
    file = startup_checks.sqlite_file(ledger_url)
    if file is not None and not file.exists():  # to open it would make it
        return fail(
            "ledger",
            f"There is no ledger at {file}.",
            "Run `tidewaiter init`, or set TIDEWAITER_HOME to where the hub is.",
        )
    with startup_checks.let_in(ledger_url):
        return await _version(ledger)


async def _version(ledger: Ledger) -> Finding:
    async with ledger.reading() as c:
        if ledger.is_sqlite:
            version = (await c.execute(text("SELECT sqlite_version()"))).scalar_one()
            return ok("ledger", f"SQLite {version} answers")
        version, number = (
            await c.execute(text("SELECT current_setting('server_version'), current_setting('server_version_num')"))
        ).one()
    if int(number) < OLDEST_POSTGRESQL:
        return warn("ledger", f"PostgreSQL {version} answers; 15 is the oldest that was tried.", "Upgrade PostgreSQL.")
    return ok("ledger", f"PostgreSQL {version} answers")


async def rights(ledger_url: str) -> Finding:
    """Raises SetupRefused, LedgerAway."""
    await startup_checks.allowed(ledger_url)
    return ok("rights", "the hub may do in the ledger what it needs")


async def migrations(ledger: Ledger) -> Finding:
    """Raises SetupRefused, LedgerAway."""
    async with ledger.reading() as c:
        found = await migrate.revision(c)
    if found != migrate.newest():
        raise SetupRefused(Fault("/ledger_url", "migrations", found=found or "none", allowed=(migrate.newest(),)))
    return ok("migrations", f"at {found}, which this version needs")


async def clock(ledger: Ledger, now: Clock) -> Finding:
    """Raises SetupRefused, LedgerAway."""
    ahead = (await startup_checks.clocks(ledger, now)).total_seconds()
    if ledger.is_sqlite:
        return ok("clock", "it does not lie before the newest message")
    return ok("clock", f"it agrees with the ledger's{f' to {abs(ahead):.1f} s' if abs(ahead) > 0.05 else ''}")


async def durable(ledger: Ledger) -> Finding:
    """What has a receipt must be on the disk."""
    if ledger.is_sqlite:
        wanted: dict[str, Any] = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        async with ledger.reading() as c:
            found = {name: (await c.execute(text(f"PRAGMA {name}"))).scalar_one() for name in wanted}
        next = "Move the ledger to a local file system: a write-ahead log needs shared memory, which network ones lack."
    else:
        wanted = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
        async with ledger.reading() as c:
            found = {name: (await c.execute(text(f"SHOW {name}"))).scalar_one() for name in wanted}
        if found["synchronous_commit"] == "remote_apply":  # stronger still
            found["synchronous_commit"] = "on"
        next = "Turn them on, in postgresql.conf or by ALTER ROLE, as deploy/postgres does: a receipt promises it."
    off = ", ".join(f"{name} is {found[name]}" for name, value in wanted.items() if found[name] != value)
    if off:
        return warn("durability", f"What was accepted could be lost with the power: {off}.", next)
    return ok("durability", ", ".join(f"{name} {value}" for name, value in found.items()))


async def snapshot(ledger: Ledger) -> Registry:
    async with ledger.reading() as c:
        return await ledger_registry.load(c)


def hub_key(registry: Registry, key: jws.PrivateKey, path: str, now: datetime) -> Finding:
    """Raises SetupRefused when the ledger does not know it, or knows it as revoked."""
    known = registry.keys.get(jws.thumbprint(jws.public_jwk(key)))
    if known is None:
        raise SetupRefused(Fault("/home", "hub-key-unknown", found=path))
    if known.state(now) != "active":
        raise SetupRefused(Fault("/home", "hub-key-not-in-force", found=path))
    members = sum(member.active for member in registry.members.values() if member.id != HUB)
    return ok("hub key", f"the ledger knows it; {members} members are active")


# ── what waits ──


async def relays_alive(ledger: Ledger, running: bool) -> Finding:
    """`running`: a hub answers on this machine."""
    async with ledger.reading() as c:
        alive = await relays.any_alive(c)
    if alive:
        return ok("relays", "connected to RabbitMQ")
    text_ = "No relay is connected to RabbitMQ: deliveries by amqp wait in the ledger."
    if running:
        return fail("relays", text_, "Look for `wire.away` in the hub's log, or start `tidewaiter serve --only relay`.")
    return warn("relays", text_, "Start the hub: `tidewaiter serve`.")


async def parked(ledger: Ledger, registry: Registry) -> Finding:
    async with ledger.reading() as c:
        found = await relays.parked(c)
    if not found:
        return ok("parked queues", "none")
    named = [f"{_name(registry, queue)}: {why}" for queue, why in found.items()]
    return warn(
        "parked queues",
        f"{_some(named)}.",
        "RabbitMQ fails for these alone and they are tried again; look at the queue there.",
    )


async def waiting(ledger: Ledger, registry: Registry, now: datetime) -> Finding:
    """The oldest delivery that is ready: by amqp a relay's business, else the member's."""
    m = t.messages.c
    query = (
        select(d.queue, func.count(), func.min(m.accepted_at))
        .join(t.messages, m.position == d.position)
        .where(state_is("ready"), or_(d.available_at.is_(None), d.available_at <= now))
        .group_by(d.queue)
    )
    async with ledger.reading() as c:
        rows = (await c.execute(query)).all()
    ages = {queue: now - oldest for queue, _, oldest in rows if _active(registry, queue)}
    wire = [q for q, age in ages.items() if registry.queues[q].delivery == "amqp" and age > WAITS_ON_THE_WIRE]
    late = [q for q, age in ages.items() if registry.queues[q].delivery != "amqp" and age > WAITS_FOR_A_MEMBER]
    total = sum(number for _, number, _ in rows)
    named = [
        f"{_name(registry, q)} since {span(ages[q].total_seconds())}"
        for q in sorted(wire or late, key=ages.__getitem__, reverse=True)
    ]
    if wire:
        return warn(
            "waiting",
            f"Deliveries wait for RabbitMQ: {_some(named)}.",
            "Are relays alive, is a queue parked, or does the member not consume? `tidewaiter operator queues` shows each.",
        )
    if late:
        return warn("waiting", f"Nobody fetches: {_some(named)}.", "Ring the member: its system may have stopped.")
    oldest = max((age.total_seconds() for age in ages.values()), default=0)
    return ok("waiting", f"{total} deliveries, the oldest for {span(max(oldest, 0))}" if ages else "nothing")


async def dead_letters(ledger: Ledger) -> Finding:
    async with ledger.reading() as c:
        number = (await c.execute(select(func.count()).select_from(t.deliveries).where(state_is("dead")))).scalar_one()
    if number:
        return warn(
            "dead letters",
            f"{number} deliveries need somebody.",
            "`tidewaiter operator dead-letters` has the reasons, `operator redrive` offers them again.",
        )
    return ok("dead letters", "none")


def _active(registry: Registry, queue: str) -> bool:
    """A suspended member's deliveries wait by right."""
    return queue in registry.queues and registry.is_active(registry.queues[queue].member)


def _name(registry: Registry, queue: str) -> str:
    found = registry.queues.get(queue)
    return queue if found is None else f"{found.member}/{found.name}"


def _some(named: list[str]) -> str:
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return "; ".join(named[:NAMED]) + more
