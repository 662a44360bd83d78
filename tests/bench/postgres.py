"""A private PostgreSQL that waits for the disk, as every real one does; the tests' own does not."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from broker.rabbit.guard import Guard
from tests import engines


class Durable(engines.Cluster):
    @property
    def pid(self) -> int:
        assert self._postmaster is not None, "not running"
        return self._postmaster.pid

    def _launch(self, program: str, *arguments: str) -> Any:
        last_word = ("-c", "fsync=on") if program == "postgres" else ()
        return super()._launch(program, *arguments, *last_word)

    async def fresh(self) -> str:
        """URL, as a hub wants it, of an empty database."""
        return (await engines.fresh_database(self.url)).replace("+asyncpg", "")


@asynccontextmanager
async def durable_postgres() -> AsyncIterator[Durable]:
    """A cluster of one's own; `surroundings.durability` has it say that it is durable."""
    binaries = engines._postgres_binaries()
    if binaries is None:
        engines.missing("PostgreSQL", "none is installed (initdb)")
    with engines._folder("tw-bench-") as folder:
        user = engines._ordinary_user() if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        cluster = Durable(folder, engines.free_port(), binaries, user, Guard(folder))
        try:
            await asyncio.to_thread(engines._initialise, cluster)
            await asyncio.to_thread(cluster.run)
            yield cluster
        finally:
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster._guard.dismiss)
