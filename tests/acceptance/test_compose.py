"""The compose files, without Docker: each of our services' command and environment, run against local engines, in the
order that `depends_on` gives; PostgreSQL has the roles of deploy/postgres."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from broker import keyfiles
from broker.hub import Hub
from broker.ledger import open_ledger
from broker.rabbit.private_node import free_port
from tests.engines import Rabbit, private_postgres
from tests.faults import process
from tests.region import LANGUAGE, MovableClock, Region, to
from tests.roles import HubDatabase
from tests.wire import amqp_queue, consumer, receive

TREE = Path(__file__).parents[2]
SINGLE = TREE / "docker-compose.yml"
CLUSTER = TREE / "deploy/cluster/docker-compose.yml"
OURS = "tidewaiter:"


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[HubDatabase]:
    async with private_postgres() as made:
        yield HubDatabase(made)


def services(compose: Path) -> dict[str, Any]:
    """The services that run our image, by name."""
    found: dict[str, Any] = yaml.safe_load(compose.read_text("utf-8"))["services"]
    return {name: service for name, service in found.items() if str(service.get("image", "")).startswith(OURS)}


def environment(service: dict[str, Any], folder: Path, port: int, public_url: str) -> dict[str, str]:
    """As the container would have it, but for the folders, and for the one address that only a container may bind."""
    given = {name: str(value) for name, value in service["environment"].items()}
    for name, value in given.items():
        if value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in service["secrets"], name
            given[name] = value.replace("/run/secrets", str(folder / "secrets"))
    assert given["TIDEWAITER_LISTEN"].startswith("0.0.0.0:")
    return given | {
        "TIDEWAITER_HOME": str(folder / "home"),
        "TIDEWAITER_LISTEN": f"127.0.0.1:{port}",
        "TIDEWAITER_PUBLIC_URL": public_url,
    }


@pytest.mark.parametrize(
    ("compose", "serving"),
    [(SINGLE, ["gateway"]), (CLUSTER, ["gateway-1", "gateway-2", "relay-1", "relay-2"])],
    ids=["single", "cluster"],
)
async def test_the_processes_come_up_with_the_environment_of_the_compose_file(
    compose: Path, serving: list[str], tmp_path: Path, cluster: HubDatabase, rabbit: Rabbit
) -> None:
    """`migrate` ends with 0, twice, and so do the grants; what serves is ready, and passes the image's health check; the
    operator's commands work; a message that the first gateway accepts is leased at the last and consumed by AMQP."""
    database = HubDatabase(cluster.cluster, f"tidewaiter_{len(serving)}")
    await asyncio.to_thread(database.make)
    _write_secrets(tmp_path / "secrets", database, rabbit)
    ours = services(compose)
    assert ours.keys() == {"migrate", "registrar", *serving}
    ports = {name: free_port() for name in ours} | {serving[0]: rabbit.hub_port}  # RabbitMQ asks the first
    url = f"http://127.0.0.1:{ports[serving[0]]}"
    given = {name: environment(service, tmp_path, ports[name], url) for name, service in ours.items()}
    for name in serving:  # found by itself on the usual port there; the test's node has another
        given[name]["TIDEWAITER_RABBITMQ_MANAGEMENT_URL"] = rabbit.management_url

    for _ in range(2):
        assert await _run(given["migrate"], *ours["migrate"]["command"]) == 0
        await asyncio.to_thread(database.grant)
    assert await _run(given["registrar"], "member", "add", "XX", "--type", "customs", "--name", "X") == 0

    registrar = open_ledger(database.url("registrar"))
    async with AsyncExitStack() as stack:
        for name in serving:
            command = [sys.executable, "-m", "broker.cli", *ours[name]["command"]]
            ready = f"http://127.0.0.1:{ports[name]}/healthz"
            await stack.enter_async_context(
                process(*command, output=tmp_path / name, env=given[name], ready=ready),
            )
        http = [
            await stack.enter_async_context(
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports[n]}", trust_env=False, timeout=30)
            )
            for n in serving
        ]
        for name, client in zip(serving, http, strict=True):
            await _ready(client)
            assert await _run(given[name], *_health_check()) == 0

        hub = Hub(registrar, LANGUAGE, keyfiles.load(tmp_path / "home/hub.key", None), url)
        r = Region(hub, http[0], MovableClock())
        await r.enrol("CL", "PE", "AR")
        queue = await amqp_queue(r, "PE")
        await r.send("CL", "one", to("PE", "AR"))
        async with consumer(r, rabbit, "PE", queue) as wire:
            await receive(wire, 1)
        last = max(n for n in serving if n.startswith("gateway"))
        elsewhere = Region(hub, http[serving.index(last)], MovableClock(), r.keys)
        assert await elsewhere.take("AR") == ["CL:one"]
    await registrar.close()


def _write_secrets(folder: Path, database: HubDatabase, rabbit: Rabbit) -> None:
    folder.mkdir()
    for role in ("owner", "hub", "registrar"):
        (folder / f"ledger_url_{role}").write_text(database.url(role))
    (folder / "amqp_url").write_text(rabbit.amqp_url + "\n")


async def _ready(http: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while (said := (await http.get("/readyz")).json())["status"] != "ready" or said["ledger"] != "ready":
            await asyncio.sleep(0.1)


def _health_check() -> list[str]:
    """The HEALTHCHECK of the Dockerfile, without its leading `tidewaiter`."""
    lines = (TREE / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    (line,) = [one for one in lines if one.startswith("HEALTHCHECK")]
    words = shlex.split(line.partition("CMD")[2].strip().strip("[]").replace(",", " "))
    assert words[0] == "tidewaiter"
    return words[1:]


async def _run(given: dict[str, str], *arguments: str) -> int:
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "broker.cli", *arguments, env=given)
    return await asyncio.wait_for(child.wait(), 60)
