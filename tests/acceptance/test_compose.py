"""docker-compose.yml, without Docker: each of our services' command and environment, run against local engines."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.engines import Rabbit
from tests.faults import process

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
OURS = "tidewaiter:"


def services() -> dict[str, Any]:
    """The services that run our image, by name."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return {name: service for name, service in found.items() if str(service.get("image", "")).startswith(OURS)}


def environment(service: dict[str, Any], secrets: Path, home: Path, port: int) -> dict[str, str]:
    """As the container would have it, but for the folders, and for the one address that only a container may bind."""
    given = {name: str(value) for name, value in service["environment"].items()}
    for name, value in given.items():
        if value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in service["secrets"], name
            given[name] = value.replace("/run/secrets", str(secrets))
    assert given["TIDEWAITER_LISTEN"].startswith("0.0.0.0:")
    return given | {
        "TIDEWAITER_HOME": str(home),
        "TIDEWAITER_LISTEN": f"127.0.0.1:{port}",
        "TIDEWAITER_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }


async def test_migrate_then_gateway_come_up_with_the_environment_of_the_compose_file(
    tmp_path: Path, postgres_url: str, rabbit: Rabbit
) -> None:
    """`migrate` ends with 0, twice; `gateway` is then ready, its relay connected; the health check of the image passes."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "ledger_url").write_text(postgres_url.replace("postgresql+asyncpg://", "postgresql://"))
    (secrets / "amqp_url").write_text(rabbit.amqp_url + "\n")
    ours = services()
    assert ours.keys() == {"migrate", "gateway"}
    given = {name: environment(service, secrets, tmp_path / "home", rabbit.hub_port) for name, service in ours.items()}
    # Found by itself on the usual port there; the test's node has another.
    given["gateway"]["TIDEWAITER_RABBITMQ_MANAGEMENT_URL"] = rabbit.management_url

    for _ in range(2):
        assert await _run(given["migrate"], *ours["migrate"]["command"]) == 0

    command = [sys.executable, "-m", "broker.cli", *ours["gateway"]["command"]]
    url = f"http://127.0.0.1:{rabbit.hub_port}"
    async with process(*command, output=tmp_path / "gateway.log", env=given["gateway"], ready=f"{url}/healthz"):
        async with httpx2.AsyncClient(base_url=url) as http, asyncio.timeout(20):
            while (await http.get("/readyz")).json() != {"status": "ready", "ledger": "ready", "wire": "connected"}:
                await asyncio.sleep(0.1)
        assert await _run(given["gateway"], *_health_check()) == 0


def _health_check() -> list[str]:
    """The HEALTHCHECK of the Dockerfile, without its leading `tidewaiter`."""
    lines = (COMPOSE.parent / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    (line,) = [one for one in lines if one.startswith("HEALTHCHECK")]
    words = shlex.split(line.partition("CMD")[2].strip().strip("[]").replace(",", " "))
    assert words[0] == "tidewaiter"
    return words[1:]


async def _run(given: dict[str, str], *arguments: str) -> int:
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "broker.cli", *arguments, env=given)
    return await asyncio.wait_for(child.wait(), 60)
