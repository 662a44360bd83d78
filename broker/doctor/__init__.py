"""What is well and what is not, one finding a check: of a hub's installation (`hub`), or of a member's way to it (`member`).

A check looks and changes nothing; `member` sends an exercise, which is what it is for. Nothing here is imported by a hub
that serves. This file is all that the two sides share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from broker import phrases
from broker.errors import BrokerError

Outcome = Literal["ok", "warn", "fail"]
REFUSED_NEXT = {
    "wire": "deploy/ shows how RabbitMQ is set up. Until it is so the hub does not start.",
    "ledger-rights": "Look with the settings of the hub itself: an operator's role has other rights.",
}
"""By rule or code."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, a sentence, what to do next (always, unless it is ok), and how long it took."""

    check: str
    outcome: Outcome
    found: str
    next: str = ""
    milliseconds: float | None = None

    def after(self, seconds: float) -> Finding:
        """The same, with the time that it took."""
        return replace(self, milliseconds=round(seconds * 1000, 1))

    def shown(self) -> dict[str, Any]:
        """For --json; what there is nothing to say of is left out."""
        whole = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in whole.items() if value not in (None, "")}


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def warn(check: str, found: str, next: str) -> Finding:
    return Finding(check, "warn", found, next)


def fail(check: str, found: str, next: str) -> Finding:
    return Finding(check, "fail", found, next)


def refused(check: str, error: BrokerError, language: str) -> Finding:
    """A refusal of our own, with its sentences."""
    sentences = [
        phrases.render(f"rule.{f.rule}", language, found=f.found, allowed=f.allowed, **f.more) for f in error.faults
    ]
    found = " ".join(sentences) or error.detail or phrases.render(f"title.{error.code}", language)
    next = REFUSED_NEXT.get(error.rule) or REFUSED_NEXT.get(error.code, "Mend it, and run this again.")
    return fail(check, found, next)


def span(seconds: float) -> str:
    """A duration as people say it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
