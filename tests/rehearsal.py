"""The cluster of deploy/cluster without Docker: `python -m tests.rehearsal`, a minute or two, where HAProxy is installed.

The same processes with the same files: three RabbitMQ nodes (rabbitmq.conf and cluster.conf), PostgreSQL with its roles,
HAProxy with TLS and client certificates, two gateways, two relays; only ports and paths are changed. Messages go in over
HTTPS and come out over AMQPS while a gateway, a relay and a RabbitMQ node are killed in turn; then it is counted.
The torture (`python -m tests.torture`) looks for what breaks; this shows that the delivered files hold together.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aio_pika
import httpx2

from broker import app, keyfiles
from broker.config import Config
from broker.hub import Hub
from broker.ledger import open_ledger
from broker.logs import configure
from broker.rabbit.private_node import free_port
from tests.acceptance.front import Front, free_ports, front
from tests.acceptance.nodes import booted
from tests.cluster import RabbitCluster
from tests.engines import private_postgres
from tests.faults import Process, process
from tests.region import LANGUAGE, MovableClock, Region, address_of, to
from tests.roles import HubDatabase
from tests.wire import amqp_queue

NAMES = ("gateway-1", "gateway-2", "relay-1", "relay-2")
CALM_SECONDS = 12
"""Between one fault and the next."""


@dataclass
class Traffic:
    """One member posts, one consumes; everything is remembered with its time."""

    f: Front
    r: Region
    queue: str
    posted: dict[str, float] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    copies: int = 0
    stopped: bool = False

    async def post(self) -> None:
        """Five messages a second, each until it is accepted."""
        async with httpx2.AsyncClient(base_url=self.r.hub.public_url, verify=self.f.tls("CL"), timeout=5) as http:
            number = 0
            while not self.stopped:
                compact = self.r.sign(self.r.payload("CL", f"m-{number}", to("PE", "AR")))
                while True:
                    with contextlib.suppress(httpx2.TransportError):
                        answer = await http.post(
                            "/v1/messages", content=compact, headers={"content-type": "application/jose"}
                        )
                        if answer.status_code in (200, 201):
                            break
                        assert answer.status_code == 503, answer.text
                    await asyncio.sleep(0.2)
                self.posted[f"CL:m-{number}"] = time.monotonic()
                number += 1
                await asyncio.sleep(0.2)

    async def consume(self) -> None:
        """Come back whatever happens, with a fresh token."""
        while True:
            with contextlib.suppress(aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError, KeyError):
                self.r._tokens.pop(("PE", "amqp"), None)
                token = await self.r.token("PE", "amqp")
                async with await aio_pika.connect(
                    host="localhost", port=self.f.ports["amqps"], login="PE", password=token, ssl=True,
                    ssl_context=self.f.tls("CL"), timeout=5,
                ) as connection:  # fmt: skip
                    channel = await connection.channel(publisher_confirms=False)
                    await channel.set_qos(prefetch_count=50)
                    async with (await channel.get_queue(self.queue, ensure=False)).iterator() as messages:
                        async for message in messages:
                            self.copies += 1
                            self.arrived.setdefault(str(message.headers["tw-address"]), time.monotonic())
                            await message.ack()
            await asyncio.sleep(0.3)

    def pause(self, since: float, seen: dict[str, float]) -> float:
        """The longest time without anything new since then."""
        moments = sorted(moment for moment in seen.values() if moment >= since - 1)
        return max((b - a for a, b in pairwise(moments)), default=float("nan"))


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[tuple[Front, Region, RabbitCluster, dict[str, Process]]]:
    """Everything that deploy/cluster/docker-compose.yml starts, but Prometheus."""
    async with AsyncExitStack() as stack:
        ports, own = free_ports(), {name: free_port() for name in NAMES}
        (folder / "rabbit").mkdir()
        hub = f"http://127.0.0.1:{ports['questions']}"
        began = time.monotonic()
        cluster, _ = await stack.enter_async_context(booted(folder / "rabbit", 3, hub))
        told(f"three RabbitMQ nodes, one cluster: {time.monotonic() - began:.1f} s")
        database = HubDatabase(await stack.enter_async_context(private_postgres()))
        await asyncio.to_thread(database.make)
        url = f"https://localhost:{ports['https']}"
        home = folder / "home"
        await app.init(Config(home, database.url("owner"), url, "127.0.0.1", 1, None, None, "json"))
        await asyncio.to_thread(database.grant)
        gateways = [own["gateway-1"], own["gateway-2"]]
        f = await stack.enter_async_context(front(folder, ports, {
            "gateways": gateways, "unready": gateways, "answers": list(own.values()),
            "rabbitmq": [node.port for node in cluster.nodes],
            "management": [node.management_port for node in cluster.nodes],
        }))  # fmt: skip
        user, password = cluster.nodes[0].user, cluster.nodes[0].password
        env = {
            "TIDEWAITER_HOME": str(home),
            "TIDEWAITER_PUBLIC_URL": url,
            "TIDEWAITER_LEDGER_URL": database.url("hub"),
            "TIDEWAITER_AMQP_URL": f"amqp://{user}:{password}@127.0.0.1:{ports['wire']}/",
            "TIDEWAITER_RABBITMQ_MANAGEMENT_URL": f"http://127.0.0.1:{ports['management']}",
        }
        running = {}
        for name, port in own.items():
            command = [sys.executable, "-m", "broker.cli", "serve", "--only", name.partition("-")[0]]
            running[name] = await stack.enter_async_context(process(
                *command, output=folder / name, env=env | {"TIDEWAITER_LISTEN": f"127.0.0.1:{port}"},
                ready=f"http://127.0.0.1:{port}/readyz",
            ))  # fmt: skip
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=url, verify=f.tls("CL"), trust_env=False, timeout=30)
        )
        await _answers(http)
        registrar = open_ledger(database.url("registrar"))
        stack.push_async_callback(registrar.close)
        r = Region(Hub(registrar, LANGUAGE, keyfiles.load(home / "hub.key", None), url), http, MovableClock())
        await r.enrol("CL", "PE", "AR")
        yield f, r, cluster, running


async def _answers(http: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/healthz")).status_code != 200:
            await asyncio.sleep(0.2)


def told(line: str) -> None:
    print(line, flush=True)


async def rehearse(folder: Path) -> bool:
    """Whether everything that was accepted has arrived."""
    async with deployed(folder) as (f, r, cluster, running):
        traffic = Traffic(f, r, await amqp_queue(r, "PE"))
        leader, members = cluster.members_of(traffic.queue)
        told(f"PE's queue: {len(members)} replicas, leader {leader}")
        posting, consuming = asyncio.create_task(traffic.post()), asyncio.create_task(traffic.consume())
        await asyncio.sleep(CALM_SECONDS)
        node = next(n for n, one in enumerate(cluster.nodes) if one.name == leader)
        faults: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
            ("gateway-1", running["gateway-1"].kill9, running["gateway-1"].start),
            ("relay-1", running["relay-1"].kill9, running["relay-1"].start),
            ("relay-2", running["relay-2"].kill9, running["relay-2"].start),
            ("the queue's leader", lambda: cluster.kill(node), lambda: cluster.restart(node)),
        ]
        for name, kill, again in faults:
            since = time.monotonic()
            await asyncio.to_thread(kill)
            await asyncio.sleep(CALM_SECONDS)
            told(
                f"{name} killed: longest pause {traffic.pause(since, traffic.posted):.1f} s in accepting, "
                f"{traffic.pause(since, traffic.arrived):.1f} s in arriving (one message every 0.2 s)"
            )
            await asyncio.to_thread(again)
            await asyncio.sleep(CALM_SECONDS / 2)
        traffic.stopped = True
        await posting
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                while set(traffic.posted) - set(traffic.arrived):
                    await asyncio.sleep(0.2)
        consuming.cancel()
        pulled: set[str] = set()
        while taken := await r.lease("AR"):
            pulled |= {address_of(one["message"]) for one in taken}
        missing = sorted(set(traffic.posted) - set(traffic.arrived)), sorted(set(traffic.posted) - pulled)
        told(f"{len(traffic.posted)} accepted; AR pulled {len(pulled)} by HTTPS")
        told(f"PE took {len(traffic.arrived)} by AMQP, in {traffic.copies} copies")
        told(f"missing: {json.dumps(missing)}")
        return not any(missing)


if __name__ == "__main__":
    configure("json")
    with tempfile.TemporaryDirectory(prefix="tw-rehearsal-") as made:
        sys.exit(0 if asyncio.run(rehearse(Path(made))) else 1)
