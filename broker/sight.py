"""May this member see this version of a message now? The one answer for every way to read.

Decided at acceptance (the audience's rule), and again by the latest version's release. What is withdrawn, superseded or
expired is shown to its holders alone.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import entitlement
from broker.envelope import Release
from broker.ledger import messages as ledger
from broker.members import Registry


def state_of(row: RowMapping, now: datetime) -> str:
    """current, superseded, withdrawn or expired."""
    if row["withdraws"]:
        return "current"
    if row["withdrawn_by"] is not None:
        return "withdrawn"
    if row["superseded_by"] is not None:
        return "superseded"
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= now else "current"


async def may_see(
    c: AsyncConnection, registry: Registry, row: RowMapping, member: str, rule: str | None, now: datetime
) -> bool:
    """May a recipient see this version now? Decided at acceptance (rule), and again by the latest version's release.

    What is withdrawn, superseded or expired is shown to its holders alone.
    """
    if rule is None or not registry.is_active(member):
        return False
    holder_only = state_of(row, now) != "current"
    if holder_only or rule in (entitlement.RULE_HOLDER, entitlement.RULE_NOTICE):
        return await ledger.is_holder(c, row["chain"], member) or rule in (
            entitlement.RULE_HOLDER,
            entitlement.RULE_NOTICE,
        )
    latest = row if "release" in row and row["superseded_by"] is None else await ledger.latest(c, row["chain"])
    if latest["release"] is None:
        return False
    release = Release.read(json.loads(latest["release"]))
    return entitlement.admits(member, release, latest["tlp"], row["originator"], registry, now) is not None
