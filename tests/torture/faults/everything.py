"""Everything restarted, in whatever state it is: while PostgreSQL is full, a queue is silent, a clock is wrong."""

from __future__ import annotations

import asyncio
from random import Random

from tests.torture.world import World


async def restart_all(world: World, rng: Random) -> None:
    """SIGKILL to all of it within a second, in any order; started at the same time. What another fault holds stays, and
    every other time RabbitMQ does: three nodes are long in coming."""
    wanted = ["gateways", "relays", "postgres", "rabbit"] if rng.random() < 0.5 else ["gateways", "relays", "postgres"]
    taken = [name for name in wanted if not world.busy[name].locked()]
    for name in taken:
        await world.busy[name].acquire()
    try:
        await _killed(world, taken, rng)
        await asyncio.sleep(rng.uniform(0, world.pace))
        await _started(world, taken)
    finally:
        for name in taken:
            world.busy[name].release()


async def _killed(world: World, taken: list[str], rng: Random) -> None:
    ends = []
    if "gateways" in taken:
        ends += [service.kill for service in world.gateways]
    if "relays" in taken:
        ends += [service.kill for service in world.relays]
    if "postgres" in taken:
        ends.append(world.postgres.kill)
    rng.shuffle(ends)
    for end in ends:
        await asyncio.to_thread(end)
        await asyncio.sleep(rng.uniform(0, 0.1))
    if "rabbit" in taken:
        for n in rng.sample(range(len(world.rabbit.nodes)), len(world.rabbit.nodes)):
            await asyncio.to_thread(world.rabbit.kill, n)


async def _started(world: World, taken: list[str]) -> None:
    starts = []
    if "postgres" in taken:
        starts.append(asyncio.to_thread(world.postgres.run))
    if "rabbit" in taken:
        starts.append(asyncio.to_thread(world.rabbit.run))
    for name, services in (("gateways", world.gateways), ("relays", world.relays)):
        if name in taken:
            for service in services:
                service.start()
    await asyncio.gather(*starts)
