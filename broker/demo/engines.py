"""The processes of a demonstration: a hub, ECHO beside it, and where it is installed a private RabbitMQ.

Everything lives in one folder and on loopback, and ends with this process. Nothing of an earlier run is kept.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from broker import app, keyfiles, members
from broker.administer import add_member, enrol
from broker.clock import now, text
from broker.config import read_config
from broker.errors import SetupRefused
from broker.ledger import Ledger, open_ledger
from broker.rabbit import private_node

START_SECONDS = 30
STOP_SECONDS = 15
NOT_AS_NEEDED = "The RabbitMQ of TIDEWAITER_AMQP_URL is not as the hub needs it"


@dataclass
class Stage:
    """A running hub. `wire` says in a few words which RabbitMQ; None without one, and then `why` says why."""

    url: str
    folder: Path
    ledger: Ledger
    environment: dict[str, str]
    wire: str | None
    amqp_url: str | None
    why: str = ""

    @property
    def member_amqp_url(self) -> str:
        """Where members connect: the hub's own user and password left out."""
        assert self.amqp_url is not None
        scheme, _, rest = self.amqp_url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"


@asynccontextmanager
async def stage(
    folder: Path, *, port: int | None = None, ledger_url: str | None = None, wire: bool = True
) -> AsyncIterator[Stage]:
    """A hub on a fresh `folder`, with the RabbitMQ of TIDEWAITER_AMQP_URL if the hub accepts it, else with a private
    node where one is installed, else with none."""
    private_node.stop_stale(folder / "rabbitmq")
    shutil.rmtree(folder, ignore_errors=True)
    given = read_config()
    why = "no rabbitmq-server is installed and TIDEWAITER_AMQP_URL is not set"
    if not wire:
        why = "not asked for"
    elif given.amqp_url and given.management_url:
        there = _Wire("RabbitMQ (TIDEWAITER_AMQP_URL)", given.amqp_url, given.management_url)
        async with AsyncExitStack() as stack:
            try:
                here = await stack.enter_async_context(_hub(folder, given.port, ledger_url, there, ""))
            except SetupRefused as refused:
                why = f"{NOT_AS_NEEDED}: {refused.detail}"
            else:
                yield here
                return
    listen = port or private_node.free_port()
    async with AsyncExitStack() as stack:
        node_wire = None
        if wire and private_node.installed():
            auth_url = f"http://127.0.0.1:{listen}/v1/rabbitmq/auth"
            node = await asyncio.to_thread(private_node.start, folder / "rabbitmq", auth_url=auth_url)
            stack.push_async_callback(_end_node, node)
            node_wire = _Wire(f"RabbitMQ (private node, port {node.port})", node.amqp_url, node.management_url)
        yield await stack.enter_async_context(_hub(folder, listen, ledger_url, node_wire, why))


@dataclass(frozen=True)
class _Wire:
    name: str
    amqp_url: str
    management_url: str


@asynccontextmanager
async def _hub(folder: Path, port: int, ledger_url: str | None, wire: _Wire | None, why: str) -> AsyncIterator[Stage]:
    """A hub process that answers. Raises SetupRefused with what it said when it does not come up."""
    shutil.rmtree(folder / "hub", ignore_errors=True)
    shutil.rmtree(folder / "keys", ignore_errors=True)
    url = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWAITER_")} | {
        "TIDEWAITER_HOME": str(folder / "hub"),
        "TIDEWAITER_LISTEN": f"127.0.0.1:{port}",
        "TIDEWAITER_PUBLIC_URL": url,
    }
    if ledger_url:
        environment["TIDEWAITER_LEDGER_URL"] = ledger_url
    if wire:
        environment |= {"TIDEWAITER_AMQP_URL": wire.amqp_url, "TIDEWAITER_RABBITMQ_MANAGEMENT_URL": wire.management_url}
    await app.init(config := read_config(environment))
    (folder / "keys").mkdir(mode=0o700)
    ledger = open_ledger(config.ledger_url)
    here = Stage(url, folder, ledger, environment, wire.name if wire else None, wire.amqp_url if wire else None, why)
    try:
        async with _process(here, "hub", "serve") as process:
            await _answers(here, process, "connected" if wire else "none")
            yield here
    finally:
        await ledger.close()


@asynccontextmanager
async def echo(stage: Stage) -> AsyncIterator[None]:
    """ECHO's own process: acknowledges whatever it gets."""
    environment = {
        "TIDEWAITER_URL": stage.url,
        "TIDEWAITER_MEMBER": members.ECHO,
        "TIDEWAITER_KEY": str(stage.keys / "ECHO.pem"),
    }
    async with _process(stage, "echo", "echo", **environment):
        yield


async def enrol_member(stage: Stage, id: str, type: str, name: str) -> str:
    """A member with a key of its own in `stage.keys`, enrolled by its own request. Returns the key's fingerprint."""
    path = stage.keys / f"{id.replace(':', '-')}.pem"
    keyfiles.save(path, keyfiles.generate(), None)
    if not id.startswith(members.OPERATOR_PREFIX):
        await add_member(stage.ledger, id, type, name, now())
    request = members.read_key_request(members.make_key_request(id, keyfiles.load(path, None), text(now())).encode())
    await enrol(stage.ledger, request, now())
    return members.fingerprint(request.kid)


@asynccontextmanager
async def _process(
    stage: Stage, name: str, *arguments: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with (stage.folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "broker.cli", *arguments, env=stage.environment | environment, stdout=log, stderr=log,
            stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answers(stage: Stage, process: asyncio.subprocess.Process, wire: str) -> None:
    """Wait until the hub is ready and its wire is as wanted. Raises SetupRefused with what it said."""
    async with httpx2.AsyncClient(base_url=stage.url, timeout=5) as http:
        for _ in range(START_SECONDS * 10):
            if process.returncode is not None:
                break
            with suppress(httpx2.HTTPError):
                if (await http.get("/readyz")).json().get("wire") == wire:
                    return
            await asyncio.sleep(0.1)
    said = [line for line in (stage.folder / "hub.log").read_text().splitlines() if not line.startswith("{")]
    raise SetupRefused(detail=" ".join(" ".join(said[-8:]).split()) or "it did not start in time")


async def _end_node(node: private_node.Node) -> None:
    await asyncio.to_thread(node.kill)  # quick, and loses nothing that a quorum queue confirmed
    await asyncio.to_thread(node.stop)
