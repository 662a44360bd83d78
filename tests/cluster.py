"""Three RabbitMQ nodes of one's own on loopback, one cluster: what a quorum queue is for.

Each node has its own name, ports and folder; they share a port mapper, a cookie and the hub's password. They start at
the same time and find each other by `classic_config`. Some twice the time of a single node on two cores, measured:
`python -m tests.cluster` starts one, declares a queue, kills each node in turn and says how long all of it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aio_pika

from broker.errors import SetupRefused
from broker.rabbit.private_node import Node, installed, prepare
from tests.engines import _folder, missing

NODES = 3
TRIES = 3


@dataclass
class RabbitCluster:
    """Running, killed, or some of each: `nodes[n]` tells. Its methods block: use a thread."""

    nodes: list[Node]
    up: set[int] = field(default_factory=set)
    """Those that answer, as far as we have done nothing to them since."""
    start_seconds: float = 0.0

    def run(self) -> None:
        """Start whatever does not run, at the same time; returns when all of it answers."""
        began = time.monotonic()
        down = [n for n in range(len(self.nodes)) if n not in self.up]
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            for running in [pool.submit(self.restart, n) for n in down]:
                running.result()
        self.start_seconds = time.monotonic() - began

    def kill(self, n: int) -> None:
        """SIGKILL to one node."""
        self.up.discard(n)
        self.nodes[n].kill()

    def restart(self, n: int) -> None:
        """Run a node again with its data; returns when it answers (alone it waits for the others).

        Nodes that start together may trip over each other (3.10: feature flags that another one is about to learn). Who
        ends while starting is started again, as its service manager would.
        """
        self.up.discard(n)
        for left in reversed(range(TRIES)):
            try:
                self.nodes[n].restart()
            except SetupRefused:
                if not left:
                    raise
            else:
                break
        self.up.add(n)

    def stop(self) -> None:
        """By SIGKILL, all of it, and the watching processes. May be called twice."""
        for n in range(len(self.nodes)):
            self.kill(n)
        for node in self.nodes:
            node.stop()

    def living(self) -> int:
        """A node that should answer. Raises SetupRefused when there is none."""
        if not self.up:
            raise SetupRefused(detail="no node of the cluster is up")
        return min(self.up)

    def api(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """The management API of a living node."""
        return self.nodes[self.living()].api(method, path, body)

    def ctl(self, *args: str, on: int | None = None) -> str:
        """`rabbitmqctl` against one node, or a living one."""
        return self.nodes[self.living() if on is None else on].ctl(*args)

    def members_of(self, queue: str, vhost: str = "/") -> tuple[str, list[str]]:
        """(leader, all nodes that hold a replica) of a quorum queue, by node names."""
        status, answer = self.api("GET", f"/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}")
        if status != 200:
            raise SetupRefused(detail=f"{queue}: the management API answers {status}")
        told: dict[str, Any] = json.loads(answer)
        return str(told.get("leader", "")), list(told.get("members", []))


def start_cluster(folder: Path, *, auth_url: str | None = None, extra_conf: str = "") -> RabbitCluster:
    """Three nodes below `folder`; returns when all of them answer and know each other. Blocking.

    Raises SetupRefused: not installed, or no answer.
    """
    nodes: list[Node] = []
    for n in range(NODES):
        beside = nodes[0] if nodes else None
        nodes.append(prepare(folder / str(n), auth_url=auth_url, extra_conf=extra_conf, beside=beside))
    names = {f"cluster_formation.classic_config.nodes.{n}": node.name for n, node in enumerate(nodes, 1)}
    formation = {
        "cluster_formation.peer_discovery_backend": "classic_config",
        "cluster_formation.discovery_retry_limit": 1,  # the first finds nobody and need not wait for who waits for it
        "cluster_formation.discovery_retry_interval": 100,
        **names,
    }
    for node in nodes:
        with (node.folder / "rabbitmq.conf").open("a") as conf:
            conf.writelines(f"{key} = {value}\n" for key, value in formation.items())
    cluster = RabbitCluster(nodes)
    try:
        cluster.run()
        known = {name for n in range(NODES) for name in _running_nodes(cluster, n)}
        if len(known) != NODES or any(len(_running_nodes(cluster, n)) != NODES for n in range(NODES)):
            raise SetupRefused(detail=f"three nodes, but no cluster: {sorted(known)}")
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _running_nodes(cluster: RabbitCluster, n: int) -> list[str]:
    return [it["name"] for it in json.loads(cluster.nodes[n].api("GET", "/api/nodes")[1]) if it["running"]]


@contextlib.asynccontextmanager
async def private_cluster(auth_url: str | None = None, *, extra_conf: str = "") -> AsyncIterator[RabbitCluster]:
    """A cluster of one's own; its folder goes with it."""
    if installed() is None:
        missing("RabbitMQ", "none is installed, and this test needs a cluster of its own")
    with _folder("tw-cluster-") as folder:
        cluster = await asyncio.to_thread(start_cluster, folder, auth_url=auth_url, extra_conf=extra_conf)
        try:
            yield cluster
        finally:
            await asyncio.to_thread(cluster.stop)


async def _measure() -> None:
    async with private_cluster() as cluster:
        print(f"up: {cluster.start_seconds:.1f} s")
        async with await aio_pika.connect(cluster.nodes[0].amqp_url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
        leader, members = cluster.members_of("q")
        print(f"a queue declared by its name alone: leader {leader}, {len(members)} replicas")
        for n in range(NODES):
            began = time.monotonic()
            await asyncio.to_thread(cluster.kill, n)
            await asyncio.to_thread(cluster.restart, n)
            print(f"node {n} killed and back: {time.monotonic() - began:.1f} s")
        for n in range(NODES):
            await asyncio.to_thread(cluster.kill, n)
        await asyncio.to_thread(cluster.run)
        print(f"all killed and back: {cluster.start_seconds:.1f} s")


if __name__ == "__main__":
    asyncio.run(_measure())
