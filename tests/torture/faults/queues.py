"""RabbitMQ short of memory, and single queues that are deleted, full, or silent."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from urllib.parse import quote

from broker.errors import SetupRefused
from broker.rabbit.topology import is_dead_queue
from tests.torture.world import World


async def memory_alarm(world: World, rng: Random) -> None:
    """One node has no memory left: nobody publishes to any of them. It ends by itself."""
    n = rng.choice(sorted(world.rabbit.up))
    lasting = int(rng.uniform(0.5, 2) * world.pace * 1000)
    await asyncio.to_thread(
        world.rabbit.ctl, "eval",
        "ok = vm_memory_monitor:set_vm_memory_high_watermark(0.0001), {ok, _} = "
        f'timer:apply_after({lasting}, vm_memory_monitor, set_vm_memory_high_watermark, [{{absolute, "1GB"}}]).', on=n,
    )  # fmt: skip
    await asyncio.sleep(lasting / 1000)


async def delete_queue(world: World, rng: Random) -> None:
    """A member's queue, or the dead letters', with all that is in it."""
    name = rng.choice([*world.amqp_names, *await asyncio.to_thread(_dead, world)])
    await asyncio.to_thread(_api, world, "DELETE", f"/api/queues/%2F/{quote(name, safe='')}")


async def fill_queue(world: World, rng: Random) -> None:
    """A policy leaves a queue no room: it refuses what is published to it."""
    name = rng.choice(world.amqp_names)
    policy = {"pattern": f"^{name}$", "definition": {"max-length": 3}, "apply-to": "queues"}
    world.harmful_until = float("inf")
    try:
        await asyncio.to_thread(_api, world, "PUT", "/api/policies/%2F/small", policy)
        await asyncio.sleep(rng.uniform(0.5, 2) * world.pace)
    finally:
        while not await asyncio.to_thread(_api, world, "DELETE", "/api/policies/%2F/small"):
            await asyncio.sleep(0.3)
        world.harmful_until = time.monotonic()


async def stop_queue(world: World, rng: Random) -> None:
    """The leader of a queue does not answer. It goes on by itself."""
    name = rng.choice([*world.amqp_names, *await asyncio.to_thread(_dead, world)])
    try:
        leader, _ = await asyncio.to_thread(world.rabbit.members_of, name)
    except (OSError, SetupRefused, json.JSONDecodeError):
        return  # deleted a moment ago, or nobody to ask
    lasting = int(rng.uniform(0.5, 3) * world.pace * 1000)
    nodes = [n for n, node in enumerate(world.rabbit.nodes) if node.name == leader and n in world.rabbit.up]
    for n in nodes:
        await asyncio.to_thread(
            world.rabbit.ctl, "eval",
            f"P = whereis('%2F_{name}'), ok = sys:suspend(P), {{ok, _}} = timer:apply_after({lasting}, sys, resume, [P]).",
            on=n,
        )  # fmt: skip
        await asyncio.sleep(lasting / 1000)


def _dead(world: World) -> list[str]:
    """The queue of dead letters, as whichever node answers has it. Blocking. Empty: none answered, or it was deleted."""
    for n in sorted(world.rabbit.up):
        try:
            status, answer = world.rabbit.nodes[n].api("GET", "/api/queues/%2F?columns=name")
        except (OSError, SetupRefused):
            continue
        if status == 200:
            return [queue["name"] for queue in json.loads(answer) if is_dead_queue(queue["name"])]
    return []


def _api(world: World, method: str, path: str, body: object = None) -> bool:
    """A call of the management API, of whichever node answers. Blocking. False: none did."""
    for n in sorted(world.rabbit.up):
        try:
            status, _ = world.rabbit.nodes[n].api(method, path, body)
        except (OSError, SetupRefused):
            continue
        if status < 300 or status == 404:
            return True
    return False
