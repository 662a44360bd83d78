"""What every verb of the hub is given: ledger, language, the hub's own key, the clock, and who waits for what."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, jws
from broker.language.kinds import Language
from broker.ledger import Ledger
from broker.ledger import registry as ledger_registry
from broker.members import Registry


class Wakes:
    """Who sleeps until a queue gets something. A wake-up is a hint: the ledger alone says what there is."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def listening(self, queue: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever `queue` may have something new."""
        event = asyncio.Event()
        self._waiting[queue].add(event)
        try:
            yield event
        finally:
            self._waiting[queue].discard(event)
            if not self._waiting[queue]:
                del self._waiting[queue]

    def wake(self, queues: Iterable[str]) -> None:
        for queue in queues:
            for event in self._waiting.get(queue, ()):
                event.set()

    def wake_all(self) -> None:
        self.wake(list(self._waiting))


@dataclass
class Hub:
    """`public_url` is the audience of every token and the `ce-source` of every message on the wire."""

    ledger: Ledger
    language: Language
    key: jws.PrivateKey
    public_url: str
    now: clock.Clock = clock.now
    wakes: Wakes = field(default_factory=Wakes)
    closing: bool = False
    """Set when the hub is told to stop: who waits for something is answered at once."""
    _registry: Registry | None = None

    @cached_property
    def cursor_key(self) -> bytes:
        """32 bytes for AES-SIV (RFC 5297), derived from the hub's own key: every gateway of a hub has the same."""
        return hashlib.sha256(b"tidewaiter cursor\0" + str(self.key.as_dict(private=True)["d"]).encode()).digest()

    async def registry(self, c: AsyncConnection) -> Registry:
        """The registry as it is inside this transaction; loaded anew only if its version rose."""
        cached = self._registry
        if cached is None or cached.version != await ledger_registry.version(c):
            cached = await ledger_registry.load(c)
            if self._registry is None or self._registry.version < cached.version:
                self._registry = cached
        return cached

    async def registry_now(self) -> Registry:
        """A recent snapshot for steps that are decided again inside a transaction."""
        if self._registry is None:
            async with self.ledger.reading() as c:
                return await self.registry(c)
        return self._registry
