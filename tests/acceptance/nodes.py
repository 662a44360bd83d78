"""RabbitMQ with the very files of deploy/rabbitmq: a single node, or a cluster; only ports, paths and names are changed."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from broker.rabbit.private_node import Node, free_port, installed, prepare
from tests.cluster import RabbitCluster
from tests.engines import missing

DEPLOY = Path(__file__).parents[2] / "deploy"
RABBITMQ = DEPLOY / "rabbitmq"


@asynccontextmanager
async def booted(
    folder: Path, number: int, hub: str = "http://hub:8700"
) -> AsyncIterator[tuple[RabbitCluster, list[int]]]:
    """`number` nodes with the files as they stand, which ask `hub`; and the ports of their figures."""
    if installed() is None:
        missing("RabbitMQ", "none is installed, and this test boots its own")
    secrets = folder / "secrets"
    await asyncio.to_thread(subprocess.run, [DEPLOY / "make-secrets.sh", secrets], check=True)
    password = (secrets / "amqp_url").read_text().removeprefix("amqp://tidewaiter:").partition("@")[0]
    definitions = folder / "definitions"
    definitions.mkdir()
    shutil.copy(RABBITMQ / "definitions/10-wire.json", definitions)
    shutil.copy(secrets / "rabbitmq_user.json", definitions / "20-hub-user.json")
    nodes: list[Node] = []
    figures = [free_port() for _ in range(number)]
    for n in range(number):
        nodes.append(prepare(folder / str(n), beside=nodes[0] if nodes else None))
        nodes[n].user, nodes[n].password = "tidewaiter", password
    for node, port in zip(nodes, figures, strict=True):
        text = configuration(node, definitions, port, nodes if number > 1 else [])
        text = text.replace("http://hub:8700", hub)
        (node.folder / "rabbitmq.conf").write_text(text)
        shutil.copy(RABBITMQ / "enabled_plugins", node.folder)
    cluster = RabbitCluster(nodes)
    try:
        await asyncio.to_thread(cluster.run)
        yield cluster, figures
    finally:
        await asyncio.to_thread(cluster.stop)


def configuration(node: Node, definitions: Path, figures: int, nodes: Sequence[Node]) -> str:
    """rabbitmq.conf, and with `nodes` cluster.conf, for one node on loopback."""
    changes = {
        "listeners.tcp.default": f"127.0.0.1:{node.port}",
        "management.tcp.port": f"{node.management_port}\nmanagement.tcp.ip = 127.0.0.1",
        "prometheus.tcp.port": f"{figures}\nprometheus.tcp.ip = 127.0.0.1",
        "load_definitions": str(definitions),
        "disk_free_limit.absolute": "50MB",  # of this machine, not of the deployment's
    }
    changes |= {f"cluster_formation.classic_config.nodes.{n}": one.name for n, one in enumerate(nodes, 1)}
    text = (RABBITMQ / "rabbitmq.conf").read_text("utf-8")
    if nodes:
        text += (RABBITMQ / "cluster.conf").read_text("utf-8")
    for key, value in changes.items():
        text, found = re.subn(rf"^({re.escape(key)}\s*=).*$", rf"\1 {value}", text, flags=re.MULTILINE)
        assert found == 1, key
    return text
