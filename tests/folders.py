"""A team's folder with an agent that works in it, against a hub in this process: nothing between them is replaced.

Faults are made at the borders: `Frail` counts the effects of the disk, the memory and the way to the hub, and lets any
one of them fail, before or after it takes place; with `Died` it fails as a killed process does, and nothing is caught.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from adapters.folder import agent
from adapters.folder.disk import Disk
from adapters.folder.parts import Parts
from adapters.folder.received import Received
from broker.client import Client
from tests.region import URL, Region


class Died(BaseException):
    """The process is gone at this line."""


@dataclass
class Frail:
    """Counts effects, of disk and hub together, and lets number `at` fail: `after` it took place, or before."""

    at: int = -1
    after: bool = False
    error: type[BaseException] = Died
    effects: list[str] = field(default_factory=list)

    @contextmanager
    def effect(self, name: str) -> Iterator[None]:
        due = len(self.effects) == self.at
        self.effects.append(name)
        if due and not self.after:
            raise self._error(name)
        yield
        if due and self.after:
            raise self._error(name)

    def _error(self, name: str) -> BaseException:
        if self.error is OSError and name.startswith("/"):
            return httpx2.ConnectError("the hub is away")
        return OSError(errno.ENOSPC, "no space left on device") if self.error is OSError else self.error(name)


class FrailDisk(Disk):
    def __init__(self, frail: Frail) -> None:
        self._frail = frail

    def write(self, path: Path, octets: bytes) -> None:
        with self._frail.effect(f"write {path.name}"):
            super().write(path, octets)

    def move(self, source: Path, target: Path) -> None:
        with self._frail.effect(f"move {source.name}"):
            super().move(source, target)

    def remove(self, path: Path) -> None:
        with self._frail.effect(f"remove {path.name}"):
            super().remove(path)


class FrailMemory(Received):
    def __init__(self, frail: Frail, memory: Received) -> None:
        super().__init__(memory._connection, memory._path)
        self._frail = frail

    def remember(self, address: str, round: int, digest: str, now: datetime) -> None:
        with self._frail.effect(f"remember {address}"):
            super().remember(address, round, digest, now)


class Way(httpx2.AsyncBaseTransport):
    """To `hub`, which may be replaced by something else on the way."""

    def __init__(self, frail: Frail, hub: httpx2.AsyncBaseTransport) -> None:
        self._frail, self.hub = frail, hub

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        with self._frail.effect(request.url.path):
            return await self.hub.handle_async_request(request)


@dataclass
class Team:
    """Member `member`'s folder. `told` has every event of every agent that worked in it; `way` is the last one's."""

    region: Region
    root: Path
    member: str = "CL"
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    way: Way = field(init=False)

    def drop(self, name: str, content: Any, folder: str = "out") -> Path:
        """A file of the team's, whole at once."""
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        octets = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
        path.write_bytes(octets)
        return path

    def files(self, folder: str) -> list[str]:
        """Names of the files there, without what is below."""
        return sorted(path.name for path in (self.root / folder).iterdir() if path.is_file())

    def json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text("utf-8"))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [facts for event, facts in self.told if event == name]

    @property
    def hub(self) -> httpx2.AsyncBaseTransport:
        return self.region.http._transport

    def client(self, frail: Frail | None = None, language: str = "en") -> Client:
        client = Client(URL, self.member, self.region.keys[self.member], language=language)
        client.door.transport = self.way = Way(frail or Frail(), self.hub)
        client.door.pause_seconds = (0.001, 0.002)
        return client

    @contextmanager
    def agent(
        self, queues: Sequence[str] = ("inbox",), frail: Frail | None = None, language: str = "en", **settings: Any
    ) -> Iterator[Parts]:
        disk = FrailDisk(frail) if frail else None
        settings = {"unchanged_seconds": 0, "now": self.region.clock, **settings}
        with agent.opened(
            self.root, self.client(frail, language), queues, lambda *said: self.told.append(said), disk=disk, **settings
        ) as parts:
            yield replace(parts, received=FrailMemory(frail, parts.received)) if frail else parts

    async def once(
        self, queues: Sequence[str] = ("inbox",), frail: Frail | None = None, language: str = "en", **settings: Any
    ) -> dict[str, int]:
        """What `tidewaiter agent --once` does."""
        with self.agent(queues, frail, language, **settings) as parts:
            return await agent.once(parts, queues)


def under_way(root: Path) -> list[Path]:
    """What an agent has in hand, or left half done: at rest, nothing."""
    resting = ("lock", "received.sqlite")
    own = [path for path in (root / ".agent").rglob("*") if path.is_file() and path.name not in resting]
    return [*own, *(root / "sending").iterdir(), *root.rglob(".tw-*")]
