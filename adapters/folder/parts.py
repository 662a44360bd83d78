"""What every part of the agent is given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from adapters.folder.disk import Disk
from adapters.folder.layout import Layout
from adapters.folder.received import Received
from adapters.folder.status import Status
from broker.client import Client
from broker.clock import Clock


@dataclass(frozen=True, slots=True)
class Parts:
    """`unchanged_seconds`: how long a file must not have changed before it is taken."""

    layout: Layout
    client: Client
    disk: Disk
    received: Received
    status: Status
    now: Clock
    unchanged_seconds: float = 2.0
    lease_seconds: int = 120
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def language(self) -> str:
        return self.client.door.language
