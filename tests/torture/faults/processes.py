"""Processes that die by SIGKILL, at any line they are at, and come back; and those that are told to end."""

from __future__ import annotations

import asyncio
from random import Random

from tests.torture.world import Service, World


async def kill_gateway(world: World, rng: Random) -> None:
    await _killed(world, rng.choice(world.gateways), rng)


async def kill_relay(world: World, rng: Random) -> None:
    await _killed(world, rng.choice(world.relays), rng)


async def _killed(world: World, service: Service, rng: Random) -> None:
    service.kill()
    await asyncio.sleep(rng.uniform(0, 2 * world.pace))
    service.start()


async def kill_rabbit_node(world: World, rng: Random) -> None:
    """One of three: what the other two have is the truth."""
    n = rng.randrange(len(world.rabbit.nodes))
    await asyncio.to_thread(world.rabbit.kill, n)
    await asyncio.sleep(rng.uniform(0, 2 * world.pace))
    await asyncio.to_thread(world.rabbit.restart, n)


async def kill_postgres(world: World, rng: Random) -> None:
    """Master and all its processes."""
    await asyncio.to_thread(world.postgres.kill)
    await asyncio.sleep(rng.uniform(0, 2 * world.pace))
    await asyncio.to_thread(world.postgres.run)


async def stop_politely(world: World, rng: Random) -> None:
    """SIGTERM: what is being answered is finished, and its end is clean."""
    service = rng.choice(world.services)
    if not service.process.running:
        return
    service.wanted = False
    status = await service.process.terminate(within_seconds=30)
    if status and "hub.started" in service.said():  # before that nobody listens to signals
        world.evidence.surprise(
            "ended badly", f"{service.name}: status {status} after SIGTERM: {service.said()[-600:]}"
        )
    await asyncio.sleep(rng.uniform(0, world.pace))
    service.start()
