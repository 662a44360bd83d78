"""What a filter would have matched among the last messages that the member may see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, jws, sight, strictjson, verify
from broker.envelope import Release
from broker.errors import BrokerError
from broker.hub import Hub
from broker.ledger import tables as t
from broker.ledger.messages import Listing, find, list_page
from broker.routing import Index, parse_filter
from broker.tokens import Caller

LOOK_AT = 1_000
"""Messages examined, newest first: bounds a preview to a few hundred milliseconds."""


async def preview(hub: Hub, caller: Caller, wanted: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Up to `limit` matches, newest first, and among how many that the caller may see. Raises Invalid for a filter that
    cannot be."""
    index = Index([(caller.owner, parse_filter(wanted, "/filter"))])
    now = hub.now()
    matches: list[dict[str, Any]] = []
    examined = 0
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        rows = (await list_page(c, caller.owner, Listing("received", limit=LOOK_AT))).rows
        for row in rows:
            if len(matches) == limit:
                break
            if not await sight.may_see(c, registry, row, caller.owner, row["rule"], now):
                continue
            examined += 1
            full = await find(c, row["originator"], row["id"])
            assert full is not None
            payload = strictjson.parse_object(jws.unb64(full["jws"].split(".")[1]), max_bytes=jws.MAX_TOKEN_BYTES)
            try:
                envelope = verify.read_content(payload, hub.language, now)
            except BrokerError:
                continue  # accepted under rules that have since become stricter
            named = (envelope.release or Release({}, (), False, frozenset())).to
            found = index.match(envelope.attributes, [caller.owner], named)
            if found:
                matches.append({"address": envelope.address, "kind": envelope.kind, "accepted_at": clock.text(row["accepted_at"]),
                                "rule": row["rule"], "clause": found[0].clause})  # fmt: skip
    return {"examined": examined, "matches": matches}


async def filters_of(c: AsyncConnection, member: str) -> dict[str, Any]:
    """subscription id -> filter as its member wrote it."""
    s = t.subscriptions.c
    rows = await c.execute(select(s.id, s.filter).where(s.member == member, s.removed_at.is_(None), s.filter != ""))
    return {id: json.loads(text) for id, text in rows}
