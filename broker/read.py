"""Reading: what a member sent or is entitled to, single and in lists; who has it, who confirmed, and why.

Default deny, and "not for you" reads exactly like "not there". Entitlement is decided anew at every GET; a fetch by a
recipient is recorded, because it makes a holder.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, links, quality, sight
from broker.accept import read_warnings
from broker.errors import BrokerError, Fault, Invalid, NotFound, quote
from broker.hub import Hub
from broker.jws import b64, unb64
from broker.ledger import messages as ledger
from broker.ledger import tables as t
from broker.ledger.messages import Listing
from broker.logs import log
from broker.members import Registry
from broker.tokens import Caller

PAGE = 50
MAX_PAGE = 200
LOOK_AT = 1_000
"""Most rows examined for one page: a page may be short and still have a next one."""
AT_ONCE = 100
"""Fewest rows asked for at a time. With pages of one, a cursor would tell of every ten that are not for the reader."""


async def message(hub: Hub, caller: Caller, address: str) -> dict[str, Any]:
    """One message with its state, and where it meets others. Raises NotFound."""
    now = hub.now()
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        row, rule = await _find(c, registry, caller, address, now)
    if row["originator"] != caller.owner:
        async with hub.ledger.accepting() as c:
            registry = await hub.registry(c)
            caller.check(registry, now)
            await ledger.hold_fetch(c, row["originator"], row["id"], caller.owner)
            row, rule = await _find(c, registry, caller, address, now)
            await ledger.record_fetch(c, row["position"], caller.owner, now)
        log.info("message.fetched", member=caller.owner, message=address)
    async with hub.ledger.reading() as c:
        links_of_it = await links.of_message(c, registry, row, caller.owner, now)
    answer = {
        **_summary(row, now),
        "rule": rule,
        "warnings": read_warnings(row["warnings"]),
        "editions": json.loads(row["editions"]) if row["editions"] else {},
        "links": links_of_it,
        "message": row["jws"],
    }
    if row["completeness"] is not None and quality.may_know(registry, caller.owner, row["originator"]):
        answer["completeness"] = row["completeness"]
    return answer


async def receipt(hub: Hub, caller: Caller, address: str) -> dict[str, Any]:
    """The hub's receipt, for originator and recipients."""
    async with hub.ledger.reading() as c:
        row, _ = await _find(c, await hub.registry(c), caller, address, hub.now())
    return {"receipt": row["receipt"], "warnings": read_warnings(row["warnings"])}


async def _find(
    c: AsyncConnection, registry: Registry, caller: Caller, address: str, now: datetime
) -> tuple[RowMapping, str | None]:
    originator, _, id = address.partition(":")
    row = await ledger.find(c, originator, id)
    if row is not None and originator == caller.owner:
        return row, None
    rule = None if row is None else await ledger.audience_rule(c, row["position"], caller.owner)
    if row is None or not await sight.may_see(c, registry, row, caller.owner, rule, now):
        raise NotFound(Fault("", "message-unknown"))
    return row, rule


def _summary(row: RowMapping, now: datetime) -> dict[str, Any]:
    return {
        "address": f"{row['originator']}:{row['id']}",
        "kind": row["kind"],
        "version": row["version"],
        "status": row["status"],
        "tlp": row["tlp"],
        "heading": row["heading"],
        "digest": row["digest"],
        "accepted_at": clock.text(row["accepted_at"]),
        "state": sight.state_of(row, now),
    }


async def page(hub: Hub, caller: Caller, wanted: Listing) -> dict[str, Any]:
    """A page of what the caller sent, or is entitled to, newest first. `next` is an opaque cursor or absent."""
    now = hub.now()
    shown: list[dict[str, Any]] = []
    before, seen = wanted.before, 0
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        while len(shown) < wanted.limit and seen < LOOK_AT:
            part = replace(wanted, before=before, limit=max(wanted.limit, AT_ONCE))
            found = await ledger.list_page(c, caller.owner, part)
            seen += max(len(found.rows), AT_ONCE)  # nor are windows without end in which nothing is wanted
            before = found.last
            for row in found.rows:
                if wanted.box == "sent" or await sight.may_see(c, registry, row, caller.owner, row["rule"], now):
                    shown.append(_summary(row, now) | ({} if wanted.box == "sent" else {"rule": row["rule"]}))
                    if len(shown) == wanted.limit:
                        before = row["position"]
                        break
            if before is None:
                break
    answer: dict[str, Any] = {"messages": shown}
    if before is not None:
        answer["next"] = write_cursor(hub, before)
    return answer


def write_cursor(hub: Hub, position: int) -> str:
    """Opaque and sealed: a position would tell everybody how many messages the hub has."""
    return b64(AESSIV(hub.cursor_key).encrypt(position.to_bytes(8), None))


def read_cursor(hub: Hub, cursor: str) -> int:
    """Raises Invalid for anything that this hub did not write."""
    try:
        return int.from_bytes(AESSIV(hub.cursor_key).decrypt(unb64(cursor), None))
    except (BrokerError, InvalidTag, ValueError):
        raise Invalid(Fault("/cursor", "cursor", found=quote(cursor))) from None


async def deliveries(hub: Hub, caller: Caller, address: str) -> dict[str, Any]:
    """For the originator: per recipient what was decided, what the hub did, and what the recipient signed."""
    async with hub.ledger.reading() as c:
        row = await _own(c, caller, address)
        d = t.deliveries.c
        rows = (await c.execute(select(d.member, d.rule, d.duties, d.state, d.handed_at, d.changed_at)
                                .where(d.position == row["position"]).order_by(d.member))).mappings().all()  # fmt: skip
        a = t.acknowledgements.c
        signed = (
            (await c.execute(select(t.acknowledgements).where(a.position == row["position"]).order_by(a.at)))
            .mappings()
            .all()
        )
        fetched = (await c.execute(select(t.audience.c.member, t.audience.c.rule, t.audience.c.fetched_at).where(
            t.audience.c.position == row["position"], t.audience.c.fetched_at.is_not(None)))).mappings().all()  # fmt: skip
    members: dict[str, dict[str, Any]] = {}
    for one in rows:  # several subscriptions of one member show as one: subscriptions are nobody else's business
        kept = members.get(one["member"])
        if kept is None or _ADVANCE[one["state"]] > _ADVANCE[kept["state"]]:
            members[one["member"]] = {
                "member": one["member"],
                "rule": one["rule"],
                "duties": one["duties"].split(","),
                "state": one["state"],
                "handed_over": one["handed_at"] is not None,
                "changed_at": clock.text(one["changed_at"]),
                "acknowledgements": [],
            }
    for one in fetched:
        members.setdefault(one["member"], {
            "member": one["member"], "rule": one["rule"], "duties": ["information"], "state": "fetched", "handed_over": True,
            "changed_at": clock.text(one["fetched_at"]), "acknowledgements": [],
        })["handed_over"] = True  # fmt: skip
    for one in signed:
        if one["member"] in members:
            members[one["member"]]["acknowledgements"].append(
                {
                    "state": one["state"],
                    "at": clock.text(one["at"]),
                    "reason": one["reason"],
                    "acknowledgement": one["jws"],
                }
            )
    return {"message": address, "digest": row["digest"], "recipients": list(members.values())}


_ADVANCE = {
    "revoked": 0,
    "withdrawn": 1,
    "expired": 2,
    "ready": 3,
    "dead": 4,
    "leased": 5,
    "published": 6,
    "settled": 7,
}


async def audience(hub: Hub, caller: Caller, address: str) -> dict[str, Any]:
    """For the originator: entitled members and the rule that admitted each, and the salt of the record's audience."""
    async with hub.ledger.reading() as c:
        row = await _own(c, caller, address)
        found = await c.execute(
            select(t.audience.c.member, t.audience.c.rule)
            .where(t.audience.c.position == row["position"])
            .order_by(t.audience.c.member)
        )
        delivered = (await c.execute(
            select(t.deliveries.c.member).where(t.deliveries.c.position == row["position"]).distinct().order_by(t.deliveries.c.member)
        )).scalars().all()  # fmt: skip
        members = [{"member": member, "rule": rule, "delivery": member in delivered} for member, rule in found]
    return {"message": address, "members": members, "audience_salt": b64(row["audience_salt"])}


async def _own(c: AsyncConnection, caller: Caller, address: str) -> RowMapping:
    originator, _, id = address.partition(":")
    row = await ledger.find(c, originator, id) if originator == caller.owner else None
    if row is None:
        raise NotFound(Fault("", "message-unknown"))
    return row
