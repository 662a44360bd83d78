"""Which fault comes when: the same seed makes the same plan."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from random import Random

from tests.torture.faults import FAULTS
from tests.torture.faults.disk import NotHere
from tests.torture.world import World

AT_ONCE = 2
"""Faults under way at the same time, if they do not hold the same things."""
PAUSE = (0.2, 2.0)
"""Between two faults of one worker, in times of `world.pace`."""


def plan(seed: int, names: list[str]) -> Iterator[tuple[str, Random]]:
    """Every fault once, in a new order each time round, each with chance of its own. Every second time round
    everything is restarted in the state that each fault makes."""
    rng = Random(f"{seed} plan")
    number = 0
    while True:
        for name in rng.sample(names, len(names)):
            number += 1
            yield name, Random(f"{seed} fault {number}")
        for name in rng.sample(names, len(names) if "restart_all" in names else 0):
            number += 1
            yield f"{name}+restart_all", Random(f"{seed} fault {number}")


async def run(world: World, seed: int, names: list[str], stop: asyncio.Event, *, once: bool) -> None:
    """Fault after fault until told to stop, or until each has been there once; what is broken then is mended first."""
    coming = plan(seed, names)
    if once:
        coming = itertools.islice(coming, len(names))

    async def work(number: int) -> None:
        rng = Random(f"{seed} worker {number}")
        for name, chance in coming:
            await one(world, name, chance)
            await asyncio.sleep(rng.uniform(*PAUSE) * world.pace)
            if stop.is_set():
                return

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(work(number))


async def one(world: World, name: str, rng: Random) -> None:
    """One fault, or one and everything restarted in its midst."""
    if name in world.evidence.skipped:
        return
    first, _, restarted = name.partition("+")
    fault, holds = FAULTS[first]
    for component in sorted(holds):
        await world.busy[component].acquire()
    try:
        world.evidence.faults[name] += 1
        began = time.monotonic() - world.evidence.began
        async with asyncio.TaskGroup() as group:
            group.create_task(fault(world, rng))
            if restarted:
                await asyncio.sleep(rng.uniform(0, 0.5) * world.pace)
                group.create_task(FAULTS["restart_all"][0](world, rng))
        world.evidence.timeline.append((round(began, 2), round(time.monotonic() - world.evidence.began, 2), name))
    except* NotHere as why:
        world.evidence.skipped[name] = str(why.exceptions[0])
        del world.evidence.faults[name]
    finally:
        for component in holds:
            world.busy[component].release()
