"""Queues to be broken, and a healthy one beside them that must notice nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.rabbit.private_node import Node
from tests import engines
from tests.engines import Rabbit
from tests.region import Region, to, wired_region
from tests.wire import (
    Collector,
    Server,
    collecting,
)

WAITED_SECONDS = 4
"""Who waited that long waited for somebody else's queue. Nothing about speed: a busy machine takes a second or two."""


@pytest.fixture
async def wired(rabbit: Rabbit, tmp_path: Path) -> AsyncIterator[Region]:
    """CL posts; PE's queue is to be broken, AR's is healthy."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE", "AR", "operator:ana")
        yield r


@pytest.fixture
async def own(hub_port: int, tmp_path: Path) -> AsyncIterator[tuple[Node, Region]]:
    """The same with a RabbitMQ that may be killed."""
    async with engines.private_rabbit(engines.auth_url(hub_port)) as node:
        server: Any = OwnNode(node, hub_port)
        async with wired_region(server, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
            await r.enrol("CL", "PE", "AR")
            yield node, r


class OwnNode:
    def __init__(self, node: Node, hub_port: int) -> None:
        self.amqp_url, self.management_url, self.hub_port = node.amqp_url, node.management_url, hub_port


class Slowest:
    """The longest wait for one message, posted to its arrival."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.messages = 0


@asynccontextmanager
async def undisturbed(r: Region, rabbit: Server, queue: str) -> AsyncIterator[Slowest]:
    """As long as it lasts, messages for AR arrive, each of them once, in order, and none waits for the sick queue."""
    slowest, stop = Slowest(), asyncio.Event()

    async def talk(collector: Collector) -> None:
        while not stop.is_set():
            began, number = time.monotonic(), slowest.messages
            await r.send("CL", f"healthy-{number}", to("AR"))
            while len(collector.all) <= number:
                await asyncio.sleep(0.005)
            slowest.seconds = max(slowest.seconds, time.monotonic() - began)
            slowest.messages += 1
            await asyncio.sleep(0.03)

    async with collecting(r, rabbit, "AR", queue) as collector:
        task = asyncio.create_task(talk(collector))
        yield slowest
        stop.set()
        async with asyncio.timeout(15):
            await task
        assert collector.addresses == [f"CL:healthy-{n}" for n in range(slowest.messages)]
        assert collector.duplicates == 0
        assert {one.attempt for one in collector.all} == {1}
    assert slowest.messages > 5
    assert slowest.seconds < WAITED_SECONDS, slowest.seconds
