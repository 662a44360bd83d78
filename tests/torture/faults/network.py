"""What happens to connections: they are reset, slow, open one way only, or silent."""

from __future__ import annotations

import asyncio
from random import Random

from tests.faults import Proxy
from tests.torture.world import World


def _some(world: World, rng: Random) -> list[Proxy]:
    """One way or a few."""
    ways = sorted(world.proxies)
    return [world.proxies[way] for way in rng.sample(ways, rng.choice([1, 1, 2, 4]))]


async def cut(world: World, rng: Random) -> None:
    """Reset (RST), sometimes with nobody there for a while."""
    ways = _some(world, rng)
    away = rng.random() < 0.5
    for proxy in ways:
        if away:
            proxy.refuse()
        proxy.cut()
    await asyncio.sleep(rng.uniform(0, world.pace) if away else 0)
    for proxy in ways:
        await proxy.heal()


async def delay(world: World, rng: Random) -> None:
    """Every piece comes late."""
    ways = _some(world, rng)
    for proxy in ways:
        proxy.delay_seconds = rng.uniform(0.02, 0.3)
    await asyncio.sleep(2 * world.pace)
    for proxy in ways:
        await proxy.heal()


async def half_close(world: World, rng: Random) -> None:
    """FIN one way, the other stays open: whoever notices nothing goes on talking to somebody who heard the end."""
    ways = _some(world, rng)
    for proxy in ways:
        proxy.half_close("client" if rng.random() < 0.5 else "target")
    await asyncio.sleep(rng.uniform(0.5, 1) * world.pace)
    for proxy in ways:
        proxy.cut()


async def hang(world: World, rng: Random) -> None:
    """Connections stay open and nobody answers; then all goes on as if nothing had been, or all is reset."""
    ways = _some(world, rng)
    for proxy in ways:
        proxy.blackhole()
    await asyncio.sleep(rng.uniform(0.5, 3) * world.pace)
    for proxy in ways:
        if rng.random() < 0.5:
            proxy.cut()
        await proxy.heal()
