"""What the story is told with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from broker.client import Client
from broker.demo.engines import Stage

Say = Callable[[str], None]


class Told:
    """The members at their desks: clients, what each has received, what was posted, and what was not as promised.

    `posted`: address -> (compact message, compact receipt).
    """

    def __init__(self, stage: Stage, say: Say) -> None:
        self.stage, self.say = stage, say
        self.clients: dict[str, Client] = {}
        self.received: dict[str, list[str]] = defaultdict(list)
        self.posted: dict[str, tuple[str, str]] = {}
        self.failures: list[str] = []

    def expect(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.failures.append(sentence)
            self.say(f"  NOT SO: {sentence}")
