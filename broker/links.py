"""Identifiers meet: what else that this reader may see names the same container, vessel, document; or the same event.

For a RILO with thousands of reports in view, two reports of one container are the whole point. For everybody, the rule
of promise 2 holds: a link leads only to what the reader may see now, and nothing tells how many others there are. Two
reports of one event are candidates; they are never merged. An exercise meets exercises alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, sight
from broker.ledger import links as ledger
from broker.members import Registry

EACH = 10
"""Links shown for one value: `GET /v1/messages?identifier=` has the rest."""


async def of_message(
    c: AsyncConnection, registry: Registry, row: RowMapping, member: str, now: datetime
) -> list[dict[str, Any]]:
    """Marked links of the message to others that `member` may see: `why` is "identifier" (with scheme and value) or
    "same-event" (with the hours between the two)."""
    shared = await ledger.sharing(c, row, member)
    events = await ledger.around(c, row, member)
    wanted = sorted({*(position for *_, position in shared), *events})
    found = {
        position: other
        for position, other in (await ledger.visible(c, member, wanted)).items()
        if other["chain"] != row["chain"] and await _shown(c, registry, other, member, now)
    }
    links: list[dict[str, Any]] = []
    count: dict[tuple[str, str], int] = {}
    for scheme, value, position in shared:
        key = (scheme, value)
        if position in found and count.get(key, 0) < EACH:
            count[key] = count.get(key, 0) + 1
            links.append({"why": "identifier", "scheme": scheme, "value": value} | _other(found[position]))
    for position in events:
        if position in found:
            apart = abs((found[position]["event_at"] - row["event_at"]).total_seconds()) / 3600
            links.append({"why": "same-event", "hours_apart": round(apart, 1)} | _other(found[position]))
    return links


async def _shown(c: AsyncConnection, registry: Registry, row: RowMapping, member: str, now: datetime) -> bool:
    """Current versions alone: an outdated one is reached through its successor."""
    if sight.state_of(row, now) != "current" or row["withdraws"]:
        return False
    return row["originator"] == member or await sight.may_see(c, registry, row, member, row["rule"], now)


def _other(row: RowMapping) -> dict[str, Any]:
    return {
        "address": f"{row['originator']}:{row['id']}",
        "kind": row["kind"],
        "tlp": row["tlp"],
        "accepted_at": clock.text(row["accepted_at"]),
    }
