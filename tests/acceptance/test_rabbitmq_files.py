"""deploy/rabbitmq, booted: the very files of a single node; only ports and paths are changed.

Three nodes with cluster.conf take three times as long: `python -m tests.rehearsal` boots them.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import yaml

from broker.rabbit.connections import opened
from tests.acceptance.nodes import DEPLOY, booted
from tests.cluster import RabbitCluster
from tests.engines import AUTH_PATH


async def test_a_single_node_boots_with_these_files(tmp_path: Path) -> None:
    """The hub's user can log in, nobody else is there, its policy stands, and it asks the hub by its one name."""
    async with booted(tmp_path, 1) as (node, (figures,)):
        assert [user["name"] for user in told(node, "/api/users")] == ["tidewaiter"]
        assert [policy["name"] for policy in told(node, "/api/policies")] == ["leaders-spread"]
        async with await aio_pika.connect(node.nodes[0].amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
        with pytest.raises(aio_pika.exceptions.AMQPError):
            async with opened(f"amqp://guest:guest@127.0.0.1:{node.nodes[0].port}/"):
                pass
        effective = await asyncio.to_thread(node.ctl, "environment")
        assert f'"http://hub:8700{AUTH_PATH}/user"' in effective
        assert "{auth_mechanisms,['PLAIN']}" in effective

        for option in ("sndbuf,65536", "recbuf,65536", "buffer,65536", "backlog,128", "nodelay,true",
                       "linger,{true,0}", "exit_on_close,false"):  # fmt: skip
            assert f"{{{option}}}" in "".join(effective.split()), option

        for command in ("delete_vhost /", f"import_definitions {tmp_path}/definitions/10-wire.json",
                        f"import_definitions {tmp_path}/definitions/20-hub-user.json"):  # fmt: skip
            await asyncio.to_thread(node.ctl, *command.split())  # as the runbook empties the wire
        assert told(node, "/api/queues") == []
        assert [one["user"] for one in told(node, "/api/permissions")] == ["tidewaiter"]

        text = await asyncio.to_thread(scraped, figures)
        for name in sorted(rabbitmq_names()):
            assert re.search(rf"^{name}\b", text, re.MULTILINE), name


def told(cluster: RabbitCluster, path: str) -> Any:
    status, answer = cluster.api("GET", path)
    assert status == 200, path
    return json.loads(answer)


def rabbitmq_names() -> set[str]:
    """RabbitMQ's figures that the alerts ask for."""
    groups = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text("utf-8"))["groups"]
    asked = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    return set(re.findall(r"\brabbitmq_\w+", asked))


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text
