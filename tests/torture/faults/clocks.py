"""Clocks that are wrong: of one hub process, or of all of them, and put right again at once."""

from __future__ import annotations

import asyncio
import time
from random import Random

from tests.torture.world import World

JUMPS_SECONDS = (-1200, -240, -30, 30, 240, 3_000, 9_000)
"""Back: posts seem to come from the future. Ahead: leases end, tokens expire, everything looks old."""


async def jump_clock(world: World, rng: Random) -> None:
    services = [rng.choice(world.services)] if rng.random() < 0.6 else world.services
    seconds = rng.choice(JUMPS_SECONDS)
    world.clocks_wrong_until = float("inf")
    for service in services:
        service.clock.write_text(str(seconds))
    await asyncio.sleep(rng.uniform(0.5, 2) * world.pace)
    for service in services:
        service.clock.write_text("0")
    world.clocks_wrong_until = time.monotonic()
