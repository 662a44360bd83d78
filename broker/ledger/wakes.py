"""Who sleeps until something happens, and the word that wakes them, in every process of the hub.

A transaction says what it touched (`touch`); with its commit goes a NOTIFY (PostgreSQL), and who sleeps in this very
process is woken. A wake-up is a hint: the ledger alone says what there is, and one may be lost or come for nothing.

Of those who wait at one queue the first is woken; who found something goes to the end of the line and wakes the next.
A message costs one look at the ledger then, however many wait, and they get their share in turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CHANNEL = "tidewaiter"
REGISTRY = "registry"
"""Topic: members, keys, groups or subscriptions have changed."""
RELAYS = "relays"
"""Topic: a relay came, went or gave a queue back; or connections of a member are to be closed."""
EVERYBODY = frozenset({REGISTRY, RELAYS})
"""Topics that wake all who listen, not the first of a line."""
PAYLOAD_BYTES = 7_500
"""NOTIFY takes less than 8,000 bytes (PostgreSQL, NOTIFY)."""

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")
_TOUCHED = "tidewaiter.touched"


def touch(c: AsyncConnection, topics: Iterable[str]) -> None:
    """Say, inside an `accepting` or `changing` transaction, whom its commit is to wake: queue ids and topics."""
    c.info.setdefault(_TOUCHED, set()).update(topics)


def begun(c: AsyncConnection) -> set[str]:
    """A transaction begins: nothing is touched. Returns the set that `touch` will fill."""
    touched: set[str] = set()
    c.info[_TOUCHED] = touched
    return touched


async def announce(c: AsyncConnection, touched: Iterable[str]) -> None:
    """Have PostgreSQL tell all processes when this transaction commits; nothing is told if it does not."""
    for payload in _payloads(sorted(touched)):
        await c.execute(_NOTIFY, {"channel": CHANNEL, "payload": payload})


def _payloads(topics: list[str]) -> Iterator[str]:
    part: list[str] = []
    size = 0
    for topic in topics:
        if size + len(topic) >= PAYLOAD_BYTES:
            yield " ".join(part)
            part, size = [], 0
        part.append(topic)
        size += len(topic) + 1
    if part:
        yield " ".join(part)


class Waiter:
    """A place in one line or several. `clear` before a look, `wait` after a look that found nothing, `found` after one
    that may not have found all."""

    def __init__(self, wakes: Wakes, topics: tuple[str, ...]) -> None:
        self._wakes = wakes
        self._topics = topics
        self._event = asyncio.Event()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self, seconds: float) -> bool:
        """True if woken within so long."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._event.wait()
        except TimeoutError:
            return False
        return True

    def found(self) -> None:
        """To the end of the line, and wake whoever is first now."""
        self._wakes.to_the_end(self, self._topics)
        self._wakes.wake(self._topics)

    def wake(self) -> None:
        self._event.set()

    @property
    def awake(self) -> bool:
        return self._event.is_set()


class Wakes:
    """The lines of one process."""

    def __init__(self) -> None:
        self._lines: dict[str, OrderedDict[Waiter, None]] = defaultdict(OrderedDict)

    @contextmanager
    def listening(self, *topics: str) -> Iterator[Waiter]:
        """A place in the line of a queue (its id), or among those who follow the topics."""
        waiter = Waiter(self, topics)
        for topic in topics:
            self._lines[topic][waiter] = None
        try:
            yield waiter
        except BaseException:
            waiter.wake()  # whatever it was: others may have to look for themselves
            raise
        finally:
            for topic in topics:
                del self._lines[topic][waiter]
                if not self._lines[topic]:
                    del self._lines[topic]
            if waiter.awake:  # leaves without having looked again
                self.wake(topic for topic in topics if topic not in EVERYBODY)

    def to_the_end(self, waiter: Waiter, topics: Iterable[str]) -> None:
        for topic in topics:
            self._lines[topic].move_to_end(waiter)

    def wake(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for waiter in self._lines.get(topic, ()):
                if waiter.awake:
                    continue
                waiter.wake()
                if topic not in EVERYBODY:
                    break

    def wake_all(self) -> None:
        """Everybody: words may have been missed, or the hub stops."""
        for line in self._lines.values():
            for waiter in line:
                waiter.wake()
