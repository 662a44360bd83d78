"""What the harness writes down while it runs: what was sent, what was seen, what nobody had foreseen."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests import model

Place = tuple[str, str]
"""(member, queue)"""

SAMPLES = 20
"""Of each sort of the unexpected so many are told in full."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What many messages have in common: everything but their id. Compared by identity."""

    header: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def attributes(self) -> dict[str, set[str]]:
        return model.attributes_of(self.body)


@dataclass(slots=True)
class Sent:
    """One message, from its first post to its receipt."""

    address: str
    originator: str
    shape: Shape
    corrects: str | None
    """The address that it amends or withdraws."""
    withdraws: bool
    began: float
    answered: float = 0.0
    """When its receipt came; 0: not yet. Times are `time.monotonic()`."""
    digest: str = ""
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """One arrival at a recipient's application."""

    address: str
    round: int
    sequence: int
    first: bool
    """The first copy that was ever sent out, as far as its headers tell."""
    digest: str
    asked: float
    """When the connection was opened, or the lease asked for."""
    at: float


@dataclass
class Evidence:
    sent: dict[str, Sent] = field(default_factory=dict)
    seen: dict[Place, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[Place, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    """(address, round) that an application knows already: what it deduplicates by."""
    broken_streams: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When a stream was opened that broke: what it was sent last may not have arrived, and is offered again uncounted."""
    duplicates: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """How the doors answered: a status, or the name of what went wrong."""
    unexpected: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    faults: Counter[str] = field(default_factory=Counter)
    timeline: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, to, which fault), in seconds since the beginning."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Faults that this machine does not allow, and why."""
    began: float = field(default_factory=time.monotonic)

    def surprise(self, sort: str, what: str) -> None:
        """Something that must not be; counted, and the first few are told at once."""
        self.unexpected[sort] += 1
        if len(self.samples[sort]) < SAMPLES:
            self.samples[sort].append(f"{time.monotonic() - self.began:.1f} s: {what}"[:1000])
            print(f"{sort}: {self.samples[sort][-1]}", flush=True)

    def arrived(self, place: Place, one: Seen) -> bool:
        """Write an arrival down. True if the application has not had it before."""
        self.seen[place].append(one)
        known = (one.address, one.round) in self.keys[place]
        self.keys[place].add((one.address, one.round))
        self.duplicates += known
        return not known

    @property
    def accepted(self) -> int:
        return sum(1 for one in self.sent.values() if one.answered)

    @property
    def arrivals(self) -> int:
        return sum(map(len, self.seen.values()))
