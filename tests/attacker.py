"""A member that attacks: what the tests of RabbitMQ's door share. Plain pika, frame by frame, in threads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pika  # type: ignore[import-untyped]  # it has none

from broker.rabbit.topology import dead_queue
from tests.engines import Rabbit, own_vhost
from tests.region import Region, to, wired_region
from tests.wire import amqp_queue, published

Channel: TypeAlias = Any
"""pika's blocking channel."""


@dataclass
class Scene:
    """PE attacks. It has a queue with a message, and so has AR, whom it would like to read."""

    r: Region
    rabbit: Rabbit
    own: str
    foreign: str
    count: int = 0

    @property
    def dead(self) -> str:
        """The queue of dead letters, whose name no member knows: here it does."""
        return dead_queue(self.r.hub.dead_letters)

    async def another(self) -> str:
        """A member that no other test uses."""
        self.count += 1
        await self.r.enrol(f"X{self.count}")
        return f"X{self.count}"


@asynccontextmanager
async def set_scene(server: Rabbit, home: Path) -> AsyncIterator[Scene]:
    async with own_vhost(server) as rabbit, wired_region(rabbit, f"sqlite:///{home}/ledger.sqlite", home) as r:
        await r.enrol("CL", "PE", "AR", "operator:ana")
        made = Scene(r, rabbit, await amqp_queue(r, "PE"), await amqp_queue(r, "AR"))
        await r.send("CL", "mine", to("PE"))
        await r.send("CL", "secret", to("AR"))
        await published(r, 1)
        await published(r, 1, "AR")
        yield made


def login(rabbit: Rabbit, user: str, password: str, vhost: str | None = None) -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            rabbit.host, rabbit.port, vhost or rabbit.vhost, credentials, blocked_connection_timeout=5, stack_timeout=10
        )
    )


@contextmanager
def channel(rabbit: Rabbit, user: str, password: str) -> Iterator[Channel]:
    connection = login(rabbit, user, password)
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def standing(scene: Scene) -> tuple[object, ...]:
    """What is in the virtual host: queues, exchanges, bindings, policies; and each queue holds what it held."""
    status, answer = scene.rabbit.api("GET", f"/api/definitions/{scene.rabbit.vhost}")
    assert status == 200
    there = json.loads(answer)
    with channel(scene.rabbit, scene.rabbit.user, scene.rabbit.password) as hub:
        depths = {
            q: hub.queue_declare(q, passive=True).method.message_count for q in (scene.own, scene.foreign, scene.dead)
        }
    assert (depths[scene.own], depths[scene.foreign], depths[scene.dead]) == (1, 1, 0)
    return tuple(sorted(map(str, there[kind])) for kind in ("queues", "exchanges", "bindings", "policies"))
