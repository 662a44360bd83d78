"""What one caller, and all together, may ask of a process: rates, open requests, octets and messages in hand.

All of it is counted in this process alone and lost with it: N gateways grant N times as much. What is over a limit is
told so at once and costs next to nothing; nothing waits in a queue that has no end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from broker.errors import Busy, Fault, TooMany

CALLS_PER_SECOND = 200
"""Calls with a token, of one member."""
TOKENS_PER_SECOND = 5
"""Access tokens of one member: each costs a signature check and a row."""
BURST_SECONDS = 30
"""So many seconds' worth may come at once."""
MAX_OPEN = 100
"""Streams and waiting leases of one member, open at a time."""
MAX_MESSAGES_IN_HAND = 10_000
"""Messages that are being verified or wait for the ledger."""
MAX_OCTETS_IN_HAND = 128_000_000
"""Octets of request bodies held in memory: with what is made of them a process stays below about 1 GB."""
BUSY_RETRY_SECONDS = 1
MESSAGES_IN_HAND = Fault("", "messages-in-hand", allowed=(str(MAX_MESSAGES_IN_HAND),))
OCTETS_IN_HAND = Fault("", "octets-in-hand", allowed=(str(MAX_OCTETS_IN_HAND),))


class Rate:
    """A token bucket for each caller: `per_second`, and BURST_SECONDS' worth at once.

    A batch is admitted whole while something is left, and paid for afterwards: it may leave a debt.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left: dict[str, tuple[float, float]] = {}
        """caller -> (what is left, when that was so)"""

    def take(self, caller: str, number: int, now: float) -> None:
        """`now`: seconds of a monotonic clock. Raises TooMany, with the seconds until something is left again."""
        most = self._per_second * BURST_SECONDS
        left, then = self._left.get(caller, (most, now))
        left = min(most, left + (now - then) * self._per_second)
        if left <= 0:
            self._left[caller] = (left, now)
            raise TooMany(
                Fault("", "rate", allowed=(f"{self._per_second:g}",)), retry_after=1 + int(-left / self._per_second)
            )
        self._left[caller] = (left - number, now)


@dataclass
class InHand:
    """How much of something a process holds at a time, in all."""

    most: int
    fault: Fault
    now: int = 0

    def take(self, number: int) -> None:
        """Raises Busy, unless nothing at all is in hand: whatever is allowed alone gets its turn."""
        if self.now and self.now + number > self.most:
            raise Busy(self.fault, retry_after=BUSY_RETRY_SECONDS)
        self.now += number

    def give(self, number: int) -> None:
        self.now -= number

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        self.take(number)
        try:
            yield
        finally:
            self.give(number)


class Seats:
    """Requests of each caller that stay open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """Raises TooMany."""
        if self._open[caller] >= MAX_OPEN:
            raise TooMany(Fault("", "open-requests", allowed=(str(MAX_OPEN),)), retry_after=BUSY_RETRY_SECONDS)
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]


@dataclass
class Limits:
    """One process's. `messages_per_second`: posts of one originator."""

    messages_per_second: float = 1_000
    messages: Rate = field(init=False)
    calls: Rate = field(default_factory=lambda: Rate(CALLS_PER_SECOND))
    tokens: Rate = field(default_factory=lambda: Rate(TOKENS_PER_SECOND))
    seats: Seats = field(default_factory=Seats)
    messages_in_hand: InHand = field(default_factory=lambda: InHand(MAX_MESSAGES_IN_HAND, MESSAGES_IN_HAND))
    octets_in_hand: InHand = field(default_factory=lambda: InHand(MAX_OCTETS_IN_HAND, OCTETS_IN_HAND))

    def __post_init__(self) -> None:
        self.messages = Rate(self.messages_per_second)
