"""The processes of a production hub on this machine, and a proxy of ours on every way between them.

    posters, readers ──door──▶ gateways ──postgres-gateway-N──▶ PostgreSQL (on a file system of its own)
    members ──members──▶ three RabbitMQ nodes ◀──rabbit-relay-N, management-relay-N── relays ──postgres-relay-N──▶ PostgreSQL
                              └──auth──▶ relays

Who ends unasked is started again, as a service manager would do, and told. Everything is ended with the world.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from broker import app
from broker.config import Config
from broker.ledger import Ledger, open_ledger
from broker.rabbit.guard import Guard
from broker.rabbit.private_node import installed
from tests.cluster import NODES, RabbitCluster, private_cluster
from tests.engines import AUTH_PATH, Cluster, _postgres_binaries, free_port, private_postgres
from tests.faults import Process, Proxy
from tests.torture.evidence import Evidence

DISK_MEGABYTES = 4096
"""Of the file system that PostgreSQL has for itself: what is not written takes no memory."""
START_AGAIN_SECONDS = 0.3
READY_SECONDS = 120
STARTING_SECONDS = 20
"""On a busy machine a process may be so long at its start before it says what was wrong then."""
COMPONENTS = ("gateways", "relays", "postgres", "rabbit", "network", "clock", "queues")


@dataclass
class Service:
    """One hub process: `serve --only gateway` or `serve --only relay`."""

    name: str
    port: int
    process: Process
    clock: Path
    guard: Guard
    wanted: bool = False
    """Ended by nobody: if it does not run, it ended by itself."""
    said_before: int = 0

    def start(self) -> None:
        self.wanted = True
        with contextlib.suppress(FileNotFoundError):
            self.said_before = self.process.output.stat().st_size
        self.process.start()
        self.guard.watch(self.process.pid)

    def said(self) -> str:
        """What it has written since its last start: the end of it."""
        with self.process.output.open("rb") as output:
            output.seek(max(self.said_before, self.process.output.stat().st_size - 4000))
            return output.read().decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL; it stays down until it is started again."""
        self.wanted = False
        self.process.kill9()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class World:
    folder: Path
    evidence: Evidence
    postgres: Cluster
    rabbit: RabbitCluster
    gateways: list[Service]
    relays: list[Service]
    proxies: dict[str, Proxy]
    ledger: Ledger
    """The harness's own way to PostgreSQL: no proxy between."""
    guard: Guard
    """Ends the hub processes should the harness be killed."""
    mount: Path | None
    """The file system of PostgreSQL's data, if one could be mounted."""
    pace: float
    """Seconds that a fault lasts, about."""
    amqp_names: list[str] = field(default_factory=list)
    busy: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """One fault at a time for each component."""
    harmful_until: float = float("-inf")
    """A policy stands, or stood until then (`time.monotonic()`), with which a relay refuses to start, and says so."""
    clocks_wrong_until: float = float("-inf")
    """A clock is wrong, or was until then: who starts with it refuses, since PostgreSQL's differs, and says so."""

    @property
    def services(self) -> list[Service]:
        return [*self.gateways, *self.relays]

    @property
    def door_url(self) -> str:
        return f"http://127.0.0.1:{self.proxies['door'].port}"

    @property
    def members_url(self) -> str:
        return f"amqp://127.0.0.1:{self.proxies['members'].port}/"


def possible() -> str:
    """Why there can be no world on this machine; empty if there can."""
    if not installed():
        return "RabbitMQ is not installed"
    return "" if _postgres_binaries() else "PostgreSQL is not installed (initdb)"


@asynccontextmanager
async def world(
    evidence: Evidence, gateways: int, relays: int, pace: float, logs: Path | None = None
) -> AsyncIterator[World]:
    """A world whose engines answer, with an empty, migrated ledger. Its hub processes do not run yet.

    `logs`: a folder that keeps what all of them said.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tw-torture-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL runs as somebody else
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
            stack.callback(lambda: [shutil.copy(log, logs) for log in folder.glob("*.log")])
        mount = stack.enter_context(_file_system(folder / "disk"))
        proxies = {name: Proxy() for name in ("door", "members", "auth")}
        services = [f"gateway-{n}" for n in range(gateways)] + [f"relay-{n}" for n in range(relays)]
        proxies |= {f"{way}-{name}": Proxy() for name in services for way in ("postgres", "rabbit", "management")}
        for proxy in proxies.values():
            await proxy.accept()
            stack.push_async_callback(proxy.close)
        auth_url = f"http://127.0.0.1:{proxies['auth'].port}{AUTH_PATH}"
        postgres, rabbit = await _engines(stack, mount, auth_url)
        if logs is not None:
            stack.callback(_keep_logs, postgres, rabbit, logs)
        made = World(
            folder, evidence, postgres, rabbit, [], [], proxies,
            open_ledger(postgres.url.replace("+asyncpg", "")), Guard(folder), mount, pace,
        )  # fmt: skip
        stack.callback(made.guard.dismiss)
        stack.push_async_callback(made.ledger.close)
        for name in services:
            (made.gateways if name.startswith("gateway") else made.relays).append(_service(made, name))
        for service in made.services:
            stack.callback(service.kill)
        _connect(made)
        url = made.postgres.url.replace("+asyncpg", "")
        await app.init(Config(folder / "home", url, made.door_url, "127.0.0.1", 1, None, None, "json"))
        keeper = asyncio.create_task(_keep_running(made))
        stack.push_async_callback(_ended, keeper)
        yield made


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def _engines(
    stack: contextlib.AsyncExitStack, mount: Path | None, auth_url: str
) -> tuple[Cluster, RabbitCluster]:
    """Both at the same time: the cluster takes ten seconds."""
    cluster = asyncio.create_task(stack.enter_async_context(private_cluster(auth_url)))
    try:
        postgres = await stack.enter_async_context(private_postgres(mount))
    finally:
        await asyncio.wait([cluster])
    return postgres, await cluster


def _keep_logs(postgres: Cluster, rabbit: RabbitCluster, logs: Path) -> None:
    shutil.copy(postgres.folder / "log", logs / "postgres.log")
    for n, node in enumerate(rabbit.nodes):
        (logs / f"rabbit-{n}.log").write_bytes(
            b"".join(log.read_bytes() for log in sorted(node.folder.glob("node.log*"), reverse=True))
        )


@contextlib.contextmanager
def _file_system(folder: Path) -> Iterator[Path | None]:
    """A file system in memory, mounted at `folder`; None where that is not allowed."""
    folder.mkdir(mode=0o711)
    options = f"size={DISK_MEGABYTES}m,mode=0711"
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
    ).returncode
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], capture_output=True)


def _service(world: World, name: str) -> Service:
    """A hub process whose every way leads through proxies of its own."""
    port, at = free_port(), {way: world.proxies[f"{way}-{name}"].port for way in ("postgres", "rabbit", "management")}
    node, clock = world.rabbit.nodes[0], world.folder / f"{name}.clock"
    clock.write_text("0")
    env = {
        "HOME": str(world.folder / "home"),
        "LISTEN": f"127.0.0.1:{port}",
        "PUBLIC_URL": world.door_url,
        "LEDGER_URL": f"postgresql://postgres@127.0.0.1:{at['postgres']}/postgres",
        "AMQP_URL": f"amqp://{node.user}:{node.password}@127.0.0.1:{at['rabbit']}/",
        "RABBITMQ_MANAGEMENT_URL": f"http://127.0.0.1:{at['management']}",
        "TORTURE_CLOCK": str(clock),
        "LANGUAGE": "en",
    }
    command = [sys.executable, "-W", "error", "-m", "tests.torture.shifted", "serve", "--only", name.partition("-")[0]]
    process = Process(command, world.folder / f"{name}.log", {f"TIDEWAITER_{key}": value for key, value in env.items()})
    return Service(name, port, process, clock, world.guard)


def _connect(world: World) -> None:
    """Tell every proxy where its way leads."""
    local = "127.0.0.1"
    amqp = [(local, node.port) for node in world.rabbit.nodes]
    management = [(local, node.management_port) for node in world.rabbit.nodes]
    for name, proxy in world.proxies.items():
        way = name.partition("-")[0]
        if way == "door":
            proxy.targets = [(local, service.port) for service in world.gateways]
        elif way == "auth":
            proxy.targets = [(local, service.port) for service in world.relays]
        else:
            ways = {"postgres": [(local, world.postgres.port)], "management": management}
            proxy.targets = ways.get(way, amqp)


async def up(world: World) -> None:
    """Start what does not run; returns when gateways and relays answer. Who does not in time is told of."""
    for service in world.services:
        if not service.wanted:
            service.start()
    await asyncio.gather(*(_ready(world, service) for service in world.services))


async def _ready(world: World, service: Service) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS), httpx2.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(f"{service.url}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        world.evidence.surprise("not ready", f"{service.name}: {service.said()}")


def faults_of_ours(world: World) -> None:
    """What the product itself calls an internal error, in any process, is nothing that a fault excuses."""
    for service in world.services:
        with service.process.output.open(errors="replace") as output:
            for line in output:
                if '"code": "internal"' in line or line.startswith("Traceback"):
                    world.evidence.surprise("internal error", f"{service.name}: {line}")


async def _keep_running(world: World) -> None:
    """Start again whatever ended by itself; only a start that was refused in a sentence is nothing to wonder at."""
    while True:
        for service in world.services:
            if service.wanted and not service.process.running:
                said = service.said()
                service.process.kill9()
                excused = _excused(world, said)
                world.evidence.answers[f"{service.name.partition('-')[0]} ended: {excused or 'why?'}"] += 1
                if not excused:
                    world.evidence.surprise("ended by itself", f"{service.name}: {said}")
                await asyncio.sleep(START_AGAIN_SECONDS)
                if service.wanted and not service.process.running:
                    service.start()
        await asyncio.sleep(0.1)


def _excused(world: World, said: str) -> str:
    """Why a hub process may end by itself: it could not start without its ledger, or found a policy or a clock that it
    must refuse."""
    if "Traceback" in said:
        return ""
    if "(ledger-away)" in said:
        return "no ledger at its start"
    if time.monotonic() < world.harmful_until + STARTING_SECONDS and "(wire)" in said:
        return "a harmful policy"
    if time.monotonic() < world.clocks_wrong_until + STARTING_SECONDS and "The clock of this machine" in said:
        return "a wrong clock"
    return ""


async def ask_for_elections(world: World, names: list[str]) -> int:
    """What the runbook has the operator do for a queue that never had a leader and will have none (RabbitMQ 3.10, killed
    in the second after a declare): ask one of its members to stand for election. How many queues needed it."""
    listed = ", ".join(f'"{name}"' for name in names)
    code = (
        '[begin Id = {list_to_atom("%2F_" ++ Name), node()}, case catch ra:members(Id, 2000) of'
        " {ok, _, Leader} when Leader =/= undefined -> led; _ -> catch ra:trigger_election(Id), asked end end"
        f" || Name <- [{listed}]]."
    )
    return (await asyncio.to_thread(world.rabbit.ctl, "eval", code)).count("asked")


async def wait_for_queues(world: World, places: int, *, within_seconds: float = 60) -> None:
    """Until the hub has declared its queues, each with a replica on every node."""
    async with asyncio.timeout(within_seconds):
        while True:
            status, answer = await asyncio.to_thread(world.rabbit.api, "GET", "/api/queues/%2F")
            queues = json.loads(answer) if status == 200 else []
            if len(queues) == places and all(len(it.get("members", [])) == NODES for it in queues):
                return
            await asyncio.sleep(0.1)


def disk_used(world: World) -> int:
    """Bytes used on PostgreSQL's file system."""
    assert world.mount is not None
    it = os.statvfs(world.mount)
    return (it.f_blocks - it.f_bfree) * it.f_frsize


def mount_again(world: World, octets: int) -> bool:
    """Give PostgreSQL's file system another size. False where that is refused."""
    options = f"remount,size={octets}"
    return not subprocess.run(["mount", "-o", options, str(world.mount)], capture_output=True).returncode
