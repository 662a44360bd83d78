"""`tidewaiter doctor`: an installation from the ground up, whether the hub is running or not.

What rests on something that fails is left out: its finding would only say the same again.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import httpx2
from sqlalchemy.exc import DBAPIError

from broker import clock, jws, keyfiles, startup_checks
from broker.config import Config
from broker.doctor import Finding, fail, front, ledger, machine, refused, wire
from broker.errors import BrokerError, LedgerAway
from broker.hub import Hub
from broker.language.kinds import load_language
from broker.ledger import Ledger, open_ledger
from broker.members import Registry
from broker.rabbit.management import Management


async def look(language: str, check: str, work: Callable[[], Finding | Awaitable[Finding]]) -> Finding:
    """A check's finding; what it raises becomes one."""
    try:
        found = work()
        return await found if inspect.isawaitable(found) else found
    except LedgerAway as error:
        next = "Is the database running, and is TIDEWAITER_LEDGER_URL right?"
        return fail(check, f"The ledger does not answer ({error.detail}).", next)
    except BrokerError as error:
        return refused(check, error, language)
    except httpx2.HTTPError as error:
        found_ = f"RabbitMQ's management API fails: {error or type(error).__name__}."
        return fail(check, found_, "See RabbitMQ's own log.")


async def examine(config: Config, language: str, now: clock.Clock = clock.now) -> AsyncIterator[Finding]:
    """Every finding, as it is found."""
    looked = partial(look, language)
    yield machine.settings(config)
    yield (speaks := await looked("schemas", lambda: machine.schemas(config.schemas)))
    for folder in startup_checks.folders(config.home, config.ledger_url):
        yield (found := machine.folder(folder, config.ledger_url))
        if found.outcome != "fail" or folder.is_dir():
            yield await looked("disk", lambda: machine.room(folder))  # noqa: B023 - called at once
    yield machine.open_files(config)
    yield (found := await looked("key file", lambda: machine.key(config.hub_key)))
    key = keyfiles.load(config.hub_key, None) if found.outcome == "ok" else None

    process, running = await front.running(config)
    yield process
    if key is not None:
        yield await front.public(config, key, running)
    if certificate := await front.certificate(config.public_url, now()):
        yield certificate

    opened = open_ledger(config.ledger_url)
    try:
        async for found in _ledger(config, opened, key, running, language, now, speaks=speaks.outcome == "ok"):
            yield found
    except DBAPIError as error:
        yield fail(
            "ledger", f"It fails: {error.orig}.", "See the database's own log; restore a backup if it is damaged."
        )
    except LedgerAway as error:
        yield fail("ledger", f"It went away meanwhile ({error.detail}).", "Run this again.")
    finally:
        await opened.close()


async def _ledger(
    config: Config,
    opened: Ledger,
    key: jws.PrivateKey | None,
    running: bool,
    language: str,
    now: clock.Clock,
    *,
    speaks: bool,
) -> AsyncIterator[Finding]:
    looked = partial(look, language)
    for check, work in (
        ("ledger", lambda: ledger.reached(opened, config.ledger_url)),
        ("rights", lambda: ledger.rights(config.ledger_url)),
        ("migrations", lambda: ledger.migrations(opened)),
    ):
        yield (found := await looked(check, work))
        if found.outcome == "fail":
            return
    yield await looked("clock", lambda: ledger.clock(opened, now))
    yield await looked("durability", lambda: ledger.durable(opened))
    registry = await ledger.snapshot(opened)
    if key is not None:
        yield await looked("hub key", lambda: ledger.hub_key(registry, key, str(config.hub_key), now()))
    if config.amqp_url is not None:
        if key is not None and speaks:
            hub = Hub(opened, load_language(config.schemas), key, config.public_url, now)
            async for found in _wire(config, hub, registry, running, language):
                yield found
        yield await ledger.relays_alive(opened, running)
        yield await ledger.parked(opened, registry)
    yield await ledger.waiting(opened, registry, now())
    yield await ledger.dead_letters(opened)


async def _wire(config: Config, hub: Hub, registry: Registry, running: bool, language: str) -> AsyncIterator[Finding]:
    assert config.amqp_url is not None
    assert config.management_url is not None
    amqp_url, management_url = config.amqp_url, config.management_url
    queues = [queue.amqp_name for queue in registry.queues.values() if queue.amqp_name]
    looked = partial(look, language)
    yield (found := await looked("RabbitMQ", lambda: wire.reached(amqp_url)))
    if found.outcome == "fail":
        return
    async with Management(management_url, amqp_url) as management:
        yield (found := await looked("management", lambda: wire.managed(management, management_url)))
        if found.outcome == "ok":
            yield await looked("version", lambda: wire.version(management))
            yield await looked("wire rights", lambda: wire.rights(management, queues))
            yield await looked("queues", lambda: wire.arguments(management, queues))
            yield await looked("alarms", lambda: wire.alarms(management))
    yield await looked("back end", lambda: wire.back_end(hub, amqp_url, running))
