"""Answers that come late: a plug-in for pytest that finds the tests (and the code) that take an order for granted.

`python -m pytest -p tests.late ...` holds back one answer in some, from sockets and from threads, up to half a second, in
the order in which it came: what a busy machine does now and then, often. `TIDEWAITER_TEST_LATE` is the seed.

asyncio has no hook for this, so two of its functions are replaced: that is all that the type checker is told to ignore.
"""

from __future__ import annotations

import asyncio
import os
import random
from asyncio import base_events, selector_events
from collections.abc import Callable
from typing import Any

ONE_IN = 40
SECONDS = 0.5
FROM_THREADS = {"set_result", "set_exception", "_set_state"}
"""How a thread hands over what was awaited: aiosqlite's and `asyncio.to_thread`'s own names for it."""

_seed = os.environ.get("TIDEWAITER_TEST_LATE", "") or str(random.randrange(1_000_000))
_chance = random.Random(_seed)
_read_ready: Callable[[Any], None] = selector_events._SelectorSocketTransport._read_ready  # type: ignore[attr-defined]
_from_a_thread = base_events.BaseEventLoop.call_soon_threadsafe


def _late_socket(transport: Any) -> None:
    if _chance.randrange(ONE_IN):
        return _read_ready(transport)
    transport._loop._remove_reader(transport._sock_fd)

    def at_last() -> None:
        if transport.is_reading():
            transport._loop._add_reader(transport._sock_fd, transport._read_ready)
            _read_ready(transport)

    transport._loop.call_later(_chance.uniform(0, SECONDS), at_last)
    return None


def _late_thread(self: asyncio.AbstractEventLoop, callback: Any, *given: Any, **named: Any) -> asyncio.Handle:
    if getattr(callback, "__name__", "") in FROM_THREADS and not _chance.randrange(ONE_IN):
        return _from_a_thread(self, self.call_later, _chance.uniform(0, SECONDS), callback, *given, **named)  # type: ignore[arg-type]
    return _from_a_thread(self, callback, *given, **named)  # type: ignore[arg-type]


selector_events._SelectorSocketTransport._read_ready = _late_socket  # type: ignore[attr-defined]
base_events.BaseEventLoop.call_soon_threadsafe = _late_thread  # type: ignore[method-assign,assignment]


def pytest_report_header() -> str:
    return f"late: one answer in {ONE_IN}, up to {SECONDS} s (TIDEWAITER_TEST_LATE={_seed})"
