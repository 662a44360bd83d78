"""What every verb of the hub is given: ledger, language, the hub's own key, the clock and its alarm."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, jws
from broker.language.kinds import Language
from broker.ledger import Ledger
from broker.ledger import registry as ledger_registry
from broker.ledger.tables import EPOCH
from broker.ledger.wakes import Wakes
from broker.limits import Limits
from broker.members import Registry


class Alarm:
    """The next instant at which something falls due: a lease's end, an expiry, an operation's end, a reminder."""

    def __init__(self) -> None:
        self._next: datetime | None = None
        self._moved = asyncio.Event()

    def at(self, instant: datetime | None) -> None:
        """Something falls due then; an earlier instant stays."""
        if instant is not None and (self._next is None or instant < self._next):
            self._next = instant
            self._moved.set()

    def ring(self) -> None:
        """Now, whatever was set."""
        self._next = datetime.min.replace(tzinfo=UTC)
        self._moved.set()

    async def wait(self, now: clock.Clock, seconds: float) -> None:
        """Until the instant has come, or for so long. Forgets the instant: what is due then is the sweep's to find."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if self._next is not None:
                left = min(left, (self._next - now()).total_seconds())
            if left <= 0:
                break
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._moved.wait()
        self._next = None


@dataclass(repr=False)
class Hub:
    """`public_url` is the audience of every token and the `ce-source` of every message on the wire. Without a `repr`: its
    language alone would take 2.5 MB, and asyncio shows the results of tasks."""

    ledger: Ledger
    language: Language
    key: jws.PrivateKey
    public_url: str
    now: clock.Clock = clock.now
    alarm: Alarm = field(default_factory=Alarm)
    limits: Limits = field(default_factory=Limits)
    closing: bool = False
    """Set when the hub is told to stop: who waits for something is answered at once."""
    expired_until: datetime | None = None
    """Deliveries of messages that expired until then have been swept by this process."""
    expired_all: datetime = EPOCH
    """When it last looked at all that ever expired."""
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """One reader of a queue looks at a time: the others would find held what it is about to take."""
    _registry: Registry | None = None

    @property
    def wakes(self) -> Wakes:
        return self.ledger.wakes

    @cached_property
    def cursor_key(self) -> bytes:
        """32 bytes for AES-SIV (RFC 5297), derived from the hub's own key: every gateway of a hub has the same."""
        return self._derived("cursor")

    @cached_property
    def probe_password(self) -> str:
        """With which a relay has RabbitMQ ask the hub about a stranger; every process of the hub knows it."""
        return self._derived("probe").hex()

    @cached_property
    def dead_letters(self) -> str:
        """128 bits in base64url, of which RabbitMQ's queue of dead letters has its name: every relay of the hub knows them,
        and no member."""
        return jws.b64(self._derived("dead letters")[:16])

    def _derived(self, purpose: str) -> bytes:
        secret = str(self.key.as_dict(private=True)["d"])
        return hashlib.sha256(f"tidewaiter {purpose}\0{secret}".encode()).digest()

    async def registry(self, c: AsyncConnection, version: int | None = None) -> Registry:
        """The registry as it is inside this transaction; loaded anew only if its version rose. `version`: of whoever has
        just read it."""
        cached = self._registry
        if cached is None or cached.version != (version or await ledger_registry.version(c)):
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
