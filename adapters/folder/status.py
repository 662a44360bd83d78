"""What the agent is doing: one line an event, and `status.json` with counts, the last contact and the last trouble.

No content and no secret: names, addresses, codes and moments alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from broker import clock
from broker.clock import Clock

COUNTED = ("sent", "refused", "received", "repeated", "unverified", "acknowledged", "unsettled")


class Tell(Protocol):
    def __call__(self, event: str, facts: dict[str, Any], /) -> None:
        """One thing happened. `facts` are JSON values."""


class Status:
    """Counts since the start; what is in trouble now; and what was told last."""

    def __init__(self, about: dict[str, Any], now: Clock, tell: Tell) -> None:
        self._about = about | {"process": os.getpid(), "started_at": clock.text(now())}
        self._now = now
        self._tell = tell
        self._counts: Counter[str] = Counter()
        self._troubles: dict[str, dict[str, Any]] = {}
        self._last: dict[str, Any] | None = None
        self._contact: str | None = None
        self.waiting: dict[str, int] = {}
        """Folder -> files that wait in it, at the last look."""
        self.ignored: dict[str, int] = {}
        """Folder -> entries that will never be taken from it, at the last look."""
        self.version = 0
        """Raised by each change."""

    def count(self, event: str) -> int:
        return self._counts[event]

    def tell(self, event: str, **facts: Any) -> None:
        """Something happened: count it, and say so."""
        self._counts[event] += 1
        self.version += 1
        self._tell(event, {"at": clock.text(self._now()), **facts})

    def contact(self) -> None:
        """The hub has answered."""
        self._contact = clock.text(self._now())
        self.version += 1

    def wait(self, folder: str, files: int) -> None:
        """So many files wait in a folder."""
        if self.waiting.get(folder) != files:
            self.waiting[folder] = files
            self.version += 1

    def ignore(self, folder: str, names: Sequence[str]) -> None:
        """These entries of a folder will not be taken; said when their number has changed."""
        if len(names) != self.ignored.get(folder, 0):
            self.ignored[folder] = len(names)
            self.version += 1
            if names:
                self.tell("ignored", folder=folder, files=len(names), one=names[0])

    def trouble(self, part: str, why: str) -> None:
        """`part` could not go on; said each time it is tried."""
        self._last = {"at": clock.text(self._now()), "part": part, "why": why}
        self._troubles[part] = self._last
        self.tell("trouble", part=part, why=why)

    def in_trouble(self, part: str, why: str) -> bool:
        """That was told last of `part`, and still holds."""
        return part in self._troubles and self._troubles[part]["why"] == why

    def well(self, part: str) -> None:
        """`part` goes on."""
        if self._troubles.pop(part, None) is not None:
            self.tell("well-again", part=part)

    def shown(self, state: str) -> dict[str, Any]:
        """`status.json`. state: running, or stopped; `ok` if no part is in trouble now."""
        return {
            "state": state,
            "ok": not self._troubles,
            "written_at": clock.text(self._now()),
            **self._about,
            "last_contact": self._contact,
            "troubles": list(self._troubles.values()),
            "last_trouble": self._last,
            "counts": {name: self._counts[name] for name in COUNTED},
            "waiting": self.waiting,
            "ignored": self.ignored,
        }
