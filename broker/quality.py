"""The quality of a member's reports: for its own eyes, and for those of the liaison office it reports through.

A score is how much of what counts in a kind (`x-weight` in its schema) a message gives. It refuses nothing and nobody
else ever sees it: a report that knows little is worth having, and a country that is told so in public sends none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from broker import clock
from broker.errors import Fault, NotFound, quote
from broker.hub import Hub
from broker.ledger import quality as ledger
from broker.members import Registry
from broker.tokens import Caller

LOOK_BACK = timedelta(days=730)
"""Without `since`."""


def may_know(registry: Registry, reader: str, member: str) -> bool:
    """Whether `reader` is that member, or its office."""
    found = registry.members.get(member)
    return found is not None and reader in (member, found.rilo)


async def quality(hub: Hub, caller: Caller, member: str | None, since: datetime | None) -> dict[str, Any]:
    """Completeness and timeliness of `member` (default: the caller) by heading and month. Raises NotFound for whoever
    is neither that member nor its office: the same answer as for a member that there is not."""
    about = member or caller.owner
    now = hub.now()
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        if not may_know(registry, caller.owner, about):
            raise NotFound(Fault("/member", "unknown-member", found=quote(about)))
        rows = await ledger.by_heading_and_month(c, about, since or now - LOOK_BACK)
    return {
        "member": about,
        "since": clock.text(since or now - LOOK_BACK),
        "rows": [
            {
                "heading": row["heading"],
                "month": row["month"],
                "reports": row["reports"],
                "completeness": round(row["completeness"]),
                "days_to_report": round(row["days"], 1),
                "within_three_days": row["soon"],
            }
            for row in rows
        ],
    }
