"""Ending what a process has in its hands that was stopped (SIGSTOP, a frozen virtual machine) and not ended.

PostgreSQL ends a transaction in which nothing is asked for IDLE_SECONDS, and counts only from one statement to the next.
Who is stopped within one (between its preparation and its execution, or while the answer is sent) would keep its locks for
as long as its connection stands, which is for ever. So every hub process looks for such sessions of hubs.
"""

from __future__ import annotations

from typing import Any

from broker.ledger.core import APPLICATION, IDLE_SECONDS
from broker.logs import log

_END = """
SELECT pid, extract(epoch FROM clock_timestamp() - state_change)::int AS seconds, pg_terminate_backend(pid) AS ended
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = $1 AND xact_start IS NOT NULL
AND state = 'active' AND wait_event_type = 'Client' AND clock_timestamp() - state_change > make_interval(secs => $2)
"""


async def end(session: Any) -> None:
    """End the sessions of hubs that have been waiting for their process, within a statement, for so long. Asked by a
    session of asyncpg's that is in no transaction; those of a pool may all be waiting for what such a session holds."""
    for found in await session.fetch(_END, APPLICATION, IDLE_SECONDS):
        log.warning("ledger.silent-session-ended", pid=found["pid"], seconds=found["seconds"])
