"""Disks without room: PostgreSQL's, really full; RabbitMQ's, by its own alarm."""

from __future__ import annotations

import asyncio
from random import Random

from tests.torture.world import DISK_MEGABYTES, World, disk_used, mount_again


class NotHere(Exception):
    """A fault that this machine does not allow; the sentence says why."""


async def disk_full(world: World, rng: Random) -> None:
    """The file system of PostgreSQL's data shrinks to what is on it and a little more, and grows again."""
    if world.mount is None:
        raise NotHere("no file system may be mounted here (that takes root)")
    room = rng.choice([0, 64, 256, 1024]) * 1024
    if not mount_again(world, disk_used(world) + 4096 + room):
        raise NotHere("the file system does not shrink")
    try:
        await asyncio.sleep(rng.uniform(1, 3) * world.pace)
    finally:
        mount_again(world, DISK_MEGABYTES * 1024 * 1024)
    if not world.postgres.running:  # without room for its log it ends itself
        world.evidence.answers["postgres ended: no room"] += 1
        await asyncio.to_thread(world.postgres.restart)


async def disk_alarm(world: World, rng: Random) -> None:
    """One node says that its disk is full: nobody publishes to any of them. It ends by itself."""
    n = rng.choice(sorted(world.rabbit.up))
    lasting = int(rng.uniform(0.5, 2) * world.pace * 1000)
    await asyncio.to_thread(
        world.rabbit.ctl, "eval",
        'ok = rabbit_disk_monitor:set_disk_free_limit("100000GB"), '
        f'{{ok, _}} = timer:apply_after({lasting}, rabbit_disk_monitor, set_disk_free_limit, ["50MB"]).', on=n,
    )  # fmt: skip
    await asyncio.sleep(lasting / 1000)
