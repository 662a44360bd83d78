"""Where it is measured: private engines that wait for the disk, a hub's ledger on each, and the floor's beside them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.rabbit.private_node import Node
from tests import engines
from tests.bench import surroundings
from tests.bench.hub import Bench, enrolled
from tests.bench.load import Load
from tests.bench.postgres import Durable, durable_postgres


@dataclass(frozen=True)
class Lab:
    """`hub` and `floor` on PostgreSQL, `sqlite` a hub of its own. Nothing serves yet."""

    folder: Path
    postgres: Durable
    rabbit: Node
    hub: Bench
    floor: Bench
    sqlite: Bench
    load: Load

    def pids(self, hub: int, *, wire: bool) -> dict[str, int]:
        """The processes that work for a measurement; RabbitMQ only where something travels by it."""
        engines = {"postgresql": self.postgres.pid} | ({"rabbitmq": self.rabbit.pid} if wire else {})
        return {"hub": hub, **engines}


@asynccontextmanager
async def laboratory() -> AsyncIterator[Lab]:
    """Ten seconds on a machine of one's own. Raises SetupRefused where nothing would wait for a disk."""
    load, port = Load(), engines.free_port()
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as name:
        folder = Path(name).resolve()
        surroundings.on_disk(folder)
        async with durable_postgres() as postgres, engines.private_rabbit(engines.auth_url(port)) as rabbit:
            hub = await enrolled(folder / "hub", await postgres.fresh(), port, load.keys)
            floor = await enrolled(folder / "floor", await postgres.fresh(), port, load.keys)
            sqlite = await enrolled(folder / "sqlite", f"sqlite:///{folder}/sqlite/ledger.sqlite", port, load.keys)
            async with hub.serving(rabbit):
                await hub.wired()
            yield Lab(folder, postgres, rabbit, hub, floor, sqlite, load)
