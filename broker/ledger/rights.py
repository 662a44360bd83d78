"""What a hub must be allowed in PostgreSQL: exactly what deploy/postgres/grants.sql gives to `tidewaiter_hub`.

A table that a migration brings is added here and there. What the operator's commands need beyond it is not asked here.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger.tables import metadata

INSERT = (
    "messages", "audience", "identifiers", "deliveries", "acknowledgements", "refusals", "subscriptions", "queues",
    "closings", "used_assertions", "relays", "holdings",
)  # fmt: skip
DELETE = ("closings", "used_assertions", "relays", "holdings")
UPDATE = {
    "messages": ("superseded_by", "withdrawn_by", "acknowledge_by"),
    "audience": ("fetched_at",),
    "deliveries": ("state", "round", "count", "attempt", "redrives", "handed_at", "available_at", "lease_id", "lease_until",
                   "changed_at", "reason"),
    "head": ("position",),
    "registry": ("version",),
    "subscriptions": ("filter", "removed_at"),
    "queues": ("last_sequence", "generation", "declared", "drain", "empty_at"),
    "groups": ("ended",),
    "members": ("changed_at",),
    "closings": ("acted_at",),
    "relays": ("until",),
    "holdings": ("relay", "parked"),
}  # fmt: skip
SEQUENCES = ("refusals_number_seq", "closings_number_seq", "relays_number_seq")

_LACKING = """
SELECT n.verb, n.name, n.part
  FROM unnest(CAST(:verbs AS text[]), CAST(:names AS text[]), CAST(:parts AS text[])) AS n (verb, name, part)
  JOIN pg_class k ON k.oid = to_regclass(n.name)
  LEFT JOIN pg_attribute a ON a.attrelid = k.oid AND a.attname = n.part AND NOT a.attisdropped
 WHERE CASE WHEN k.relkind = 'S' THEN NOT has_sequence_privilege(k.oid, n.verb)
            WHEN n.part = '' THEN NOT has_table_privilege(k.oid, n.verb)
            ELSE NOT has_column_privilege(k.oid, a.attnum, n.verb) END
 ORDER BY n.name, n.verb, n.part
"""


def needed() -> list[tuple[str, str, str]]:
    """(verb, table or sequence, column or "") of everything."""
    everything = [("SELECT", name, "") for name in (*metadata.tables, "alembic_version")]
    everything += [("INSERT", name, "") for name in INSERT] + [("DELETE", name, "") for name in DELETE]
    everything += [("UPDATE", name, column) for name, columns in UPDATE.items() for column in columns]
    return everything + [("USAGE", name, "") for name in SEQUENCES]


async def role(c: AsyncConnection) -> str:
    return str((await c.execute(text("SELECT current_user"))).scalar_one())


async def lacking(c: AsyncConnection) -> list[str]:
    """The rights that the role of this connection lacks, as GRANT writes them. What is not there yet is not missed: the
    migrations are."""
    if (await c.execute(text("SELECT current_schema()"))).scalar_one() is None:
        return ["USAGE ON SCHEMA public"]
    verbs, names, parts = zip(*needed(), strict=True)
    rows = await c.execute(text(_LACKING), {"verbs": list(verbs), "names": list(names), "parts": list(parts)})
    return [f"{verb} ({part}) ON {name}" if part else f"{verb} ON {name}" for verb, name, part in rows]
