"""The only call to the system clock. Everywhere else time is an argument: aware datetimes in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """The present, UTC, microsecond resolution."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """RFC 3339 §5.6 with `Z`, milliseconds: `2026-11-19T22:10:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
