"""`tidewaiter` with a clock that can be moved: the entry point of every hub process that the harness starts.

`python -m tests.torture.shifted serve ...`: the file named by TIDEWAITER_TORTURE_CLOCK says by how many seconds the
system's time is wrong. The product knows nothing of it: its only call to the system clock is replaced before anything
else of it is imported.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from broker import clock

LOOK_SECONDS = 0.05
"""The file is read at most so often."""

_true_now = clock.now
_file = Path(os.environ["TIDEWAITER_TORTURE_CLOCK"])
_looked_at, _ahead = float("-inf"), timedelta()


def now() -> datetime:
    """The system's time, wrong by what the file says."""
    global _looked_at, _ahead
    if time.monotonic() - _looked_at > LOOK_SECONDS:
        _looked_at = time.monotonic()
        _ahead = timedelta(seconds=float(_file.read_text() or 0))
    return _true_now() + _ahead


if __name__ == "__main__":
    clock.now = now
    from broker.cli import main

    main()
