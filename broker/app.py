"""The composition root: Config → ledger, wire, loops, gateway; and the start-up checks that refuse with a sentence."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import uvicorn
from fastapi import FastAPI
from starlette.routing import Route

from broker import administer, clock, jws, keyfiles, startup_checks, upkeep
from broker.api import admin, auth, directory, health, messages, problems, queues
from broker.api.middleware import Around
from broker.api.protocol import Protocol
from broker.config import Config
from broker.errors import AlreadyThere, Fault, SetupRefused
from broker.hub import Hub
from broker.language.kinds import load_language
from broker.ledger import Ledger, open_ledger
from broker.ledger import migrate as migrations
from broker.ledger.listen import listen
from broker.limits import Limits
from broker.logs import configure, log
from broker.members import HUB, KeyRequest
from broker.rabbit.access import Door
from broker.rabbit.management import vhost_of
from broker.relay import Relay
from broker.submit import GroupCommit

Only = Literal["gateway", "relay"]
"""What a process is, where it is not both."""
GRACE_SECONDS = 10
"""A stopping hub finishes what it is answering for at most this long."""


async def migrate(config: Config) -> None:
    """Bring the ledger's schema to what this version needs."""
    _home(config)
    with startup_checks.let_in(config.ledger_url):
        await migrations.upgrade(config.ledger_url)


async def init(config: Config) -> None:
    """Folder, hub key, migrations, the hub as a member with its key. Safe to repeat."""
    _home(config)
    if not config.hub_key.exists():
        keyfiles.save(config.hub_key, keyfiles.generate("Ed25519"), None)
    await migrate(config)
    ledger = open_ledger(config.ledger_url)
    try:
        with suppress(AlreadyThere):
            await administer.add_member(ledger, HUB, "hub", "Tidewaiter hub", clock.now())
        jwk = jws.public_jwk(keyfiles.load(config.hub_key, None))
        with suppress(AlreadyThere):
            await administer.enrol(ledger, KeyRequest(HUB, jwk, jws.thumbprint(jwk)), clock.now())
    finally:
        await ledger.close()


def _home(config: Config) -> None:
    config.home.mkdir(parents=True, exist_ok=True, mode=0o700)


async def open_ledger_checked(config: Config) -> Ledger:
    """The ledger, if its migrations are those of this version. Raises SetupRefused, LedgerAway."""
    return await migrations.open_checked(config.ledger_url)


async def open_hub(config: Config, now: clock.Clock = clock.now) -> Hub:
    """The hub with its ledger and key. Raises SetupRefused."""
    if not config.hub_key.exists():
        raise SetupRefused(Fault("/home", "no-hub-key", found=str(config.hub_key)))
    key = keyfiles.load(config.hub_key, None)
    language = load_language(config.schemas)
    ledger = await startup_checks.open_proved(config.home, config.ledger_url, now)
    hub = Hub(ledger, language, key, config.public_url, now)
    hub.limits = Limits(config.messages_per_second)
    kept = (await administer.snapshot(ledger)).keys.get(jws.thumbprint(jws.public_jwk(hub.key)))
    if kept is None:
        await ledger.close()
        raise SetupRefused(Fault("/home", "hub-key-unknown", found=str(config.hub_key)))
    if kept.state(now()) != "active":
        await ledger.close()
        raise SetupRefused(Fault("/home", "hub-key-not-in-force", found=str(config.hub_key)))
    return hub


def make_app(hub: Hub, door: Door | None = None, only: Only | None = None) -> FastAPI:
    """The gateway over a hub; of a relay alone, what watches it and what RabbitMQ asks. Holds no loop: `serve` runs
    those. `door`: a RabbitMQ is configured."""
    app = FastAPI(
        title="Tidewaiter",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # one address a door: a redirect would repeat a signed body or a token
    )
    app.state.hub = hub
    app.state.hub_jwk = jws.public_jwk(hub.key)
    app.state.committer = GroupCommit(hub)
    app.state.tokens = {}
    app.state.door = door
    app.include_router(health.router)
    if only != "relay":
        app.router.routes.append(Route("/v1/messages", messages.post_message, methods=["POST"]))
        app.router.routes.append(Route("/v1/messages/batch", messages.post_batch, methods=["POST"]))
        for module in (auth, messages, queues, directory, admin):
            app.include_router(module.router)
    problems.install(app)
    app.add_middleware(Around)
    return app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: those end the process before the rest of us has finished."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Running:
    """A hub that serves: what `serve` and the tests hold."""

    hub: Hub
    app: FastAPI
    server: uvicorn.Server


async def serve(config: Config, only: Only | None = None) -> None:
    """Serve until told to stop. Raises SetupRefused, WireRefused; a loop that dies stops the process."""
    configure(config.log)
    with _only_hub(config):
        async with running(config, only=only) as hub:
            gc.collect()
            gc.freeze()  # modules, schemas and code lists live as long as we: looking through them takes 50 ms each time
            log.info(
                "hub.started",
                ledger=hub.hub.ledger.writing.dialect.name,
                wire=config.amqp_url is not None,
                only=only,
                url=config.public_url,
            )
            await _stopped()
    log.info("hub.stopped")


@asynccontextmanager
async def running(config: Config, now: clock.Clock = clock.now, only: Only | None = None) -> AsyncIterator[Running]:
    """A hub with gateway, upkeep and (where RabbitMQ is configured) relay, or one of the two; ends all of them, in
    order, at the end. Raises what ended a loop, which ends the block."""
    hub = await open_hub(config, now)
    door = relay = None
    if config.amqp_url and config.management_url:
        door = Door(hub, vhost_of(config.amqp_url))
        if only != "gateway":
            relay = Relay(hub, config.amqp_url, config.management_url)
    elif only == "relay":
        raise SetupRefused(Fault("/amqp_url", "required"))
    app = make_app(hub, door, only)
    server = _Server(
        uvicorn.Config(
            app, config.host, config.port, log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS, timeout_keep_alive=30,
            http=type("Protocol", (Protocol,), {"max_connections": config.max_connections}),
        )
    )  # fmt: skip
    run = Running(hub, app, server)
    serving = asyncio.create_task(_serve_http(server))
    try:
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(_until(serving)),
                group.create_task(listen(hub.ledger)),
                group.create_task(upkeep.run(hub)),
                group.create_task(upkeep.follow_registry(hub)),
            ]
            while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
                await asyncio.sleep(0.01)
            relaying = None if relay is None else group.create_task(relay.run())
            yield run
            await _end_http(run, serving)
            if relay is not None and relaying is not None:
                relay.stop()
                await asyncio.wait([relaying], timeout=GRACE_SECONDS)
                relaying.cancel()
            for loop in loops:
                loop.cancel()
    except BaseExceptionGroup as group_:
        raise _cause(group_) from group_
    finally:
        await _end_http(run, serving)
        await hub.ledger.close()


async def _end_http(run: Running, serving: asyncio.Task[None]) -> None:
    """Answer what is being asked, take nothing new, and let what was handed in be decided."""
    run.hub.closing = True
    run.hub.wakes.wake_all()
    run.server.should_exit = True
    await asyncio.wait([serving])
    await run.app.state.committer.close()


async def _until(serving: asyncio.Task[None]) -> None:
    """For ever, or until the server ends with an error."""
    await asyncio.shield(serving)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error itself; it has ended all the others."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve_http(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit:  # uvicorn's way to say that the port is taken
        raise SetupRefused(Fault("/listen", "port-taken", found=f"{server.config.host}:{server.config.port}")) from None


async def _stopped() -> None:
    """Until SIGTERM or SIGINT; the second time they do what they always do."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await stopped.wait()


@contextmanager
def _only_hub(config: Config) -> Iterator[None]:
    """With SQLite one hub process only: a second would wake nobody in the first."""
    if not config.ledger_url.startswith("sqlite"):
        yield
        return
    _home(config)
    with (config.home / "hub.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupRefused(Fault("/ledger_url", "second-hub", found=file.name)) from None
        yield
