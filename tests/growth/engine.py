"""A PostgreSQL of one's own that waits for the disk, as in production: what is measured here is not to be flattered."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker.rabbit.guard import Guard
from tests.engines import Cluster, _initialise, _ordinary_user, _postgres_binaries, free_port, missing

SETTINGS = {"fsync": "on", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
"""The rest is as PostgreSQL comes: 128 MB of shared buffers."""


class DurableCluster(Cluster):
    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        more = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return super()._launch(program, *arguments, *(more if program == "postgres" else ()))  # the last word counts


@asynccontextmanager
async def durable_postgres(folder: Path) -> AsyncIterator[str]:
    """URL of its database; `folder` is made, and removed with all that is in it."""
    binaries = _postgres_binaries()
    if binaries is None:
        missing("PostgreSQL", "none is installed (initdb)")
    folder.mkdir(parents=True)
    user = _ordinary_user()
    shutil.chown(folder, user)
    cluster = DurableCluster(folder, free_port(), binaries, user, Guard(folder))
    try:
        await asyncio.to_thread(_initialise, cluster)
        await asyncio.to_thread(cluster.run)
        yield cluster.url
    finally:
        await asyncio.to_thread(cluster.stop)
        await asyncio.to_thread(cluster._guard.dismiss)
        shutil.rmtree(folder, ignore_errors=True)
