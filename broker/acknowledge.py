"""Acknowledgements: a recipient's own signed statement that it has a message. Settling is transport, this is evidence.

received < read < acted; `refused` may follow received or read; refused and acted are final; moving back is refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, jws, metrics
from broker.errors import Fault, Invalid, KeyRefused, NotFound, SignatureRefused, StateMovesBack, quote
from broker.hub import Hub
from broker.language.schema import json_type
from broker.ledger import deliveries as ledger_deliveries
from broker.ledger import messages as ledger_messages
from broker.ledger import tables as t
from broker.logs import log
from broker.members import Registry, check_may_sign
from broker.tokens import Caller

RANK = {"received": 0, "read": 1, "acted": 2, "refused": 2}
MAX_REASON_CHARACTERS = 500


async def post(hub: Hub, caller: Caller, address: str, token: bytes) -> dict[str, Any]:
    """The answer to a posted acknowledgement."""
    now = hub.now()
    async with hub.ledger.accepting() as c:
        registry = await hub.registry(c)
        caller.check(registry, now)
        return await record(c, registry, caller, address, token, now)


async def record(
    c: AsyncConnection, registry: Registry, caller: Caller, address: str, token: bytes, now: datetime
) -> dict[str, Any]:
    """Check and keep an acknowledgement inside the caller's transaction; settles what was published.

    Raises NotFound for who is no holder (whether or not the message exists), SignatureRefused, KeyRefused, Invalid,
    StateMovesBack.
    """
    originator, _, id = address.partition(":")
    row = await ledger_messages.find(c, originator, id)
    if row is None or not await ledger_messages.is_holder(c, row["chain"], caller.owner):
        raise NotFound(Fault("", "message-unknown"))
    claims = _read(token, registry, caller, now)
    faults = []
    if claims["message"] != address:
        faults.append(Fault("/message", "acknowledges-another", found=quote(claims["message"]), allowed=(address,)))
    if claims["digest"] != row["digest"]:
        faults.append(Fault("/digest", "digest-differs", found=quote(claims["digest"])))
    if faults:
        raise Invalid(*faults)

    one_at_a_time = select(t.members.c.id).where(t.members.c.id == caller.owner).with_for_update(key_share=True)
    await c.execute(one_at_a_time)  # two that arrive together: the second finds the first
    kept = (await c.execute(select(t.acknowledgements).where(
        t.acknowledgements.c.position == row["position"], t.acknowledgements.c.member == caller.owner
    ))).mappings().all()  # fmt: skip
    state = claims["state"]
    first = next((k for k in kept if k["state"] == state), None)
    if first is not None:
        await ledger_deliveries.settle_published(c, row["position"], caller.owner, now)  # of a later round
        return {"message": address, "state": state, "at": clock.text(first["at"])}
    highest = max((RANK[k["state"]] for k in kept), default=-1)
    if RANK[state] <= highest:
        raise StateMovesBack(
            Fault("/state", "state-moves-back", found=state, allowed=tuple(s for s, r in RANK.items() if r > highest))
        )
    await c.execute(
        insert(t.acknowledgements).values(
            position=row["position"],
            member=caller.owner,
            state=state,
            at=now,
            jws=token.decode("ascii"),
            reason=claims.get("reason"),
        )
    )
    await ledger_deliveries.settle_published(c, row["position"], caller.owner, now)
    metrics.acknowledgements.labels(state).inc()
    log.info("message.acknowledged", member=caller.owner, message=address, state=state)
    return {"message": address, "state": state, "at": clock.text(now)}


def _read(token: bytes, registry: Registry, caller: Caller, now: datetime) -> dict[str, Any]:
    acknowledgement = jws.read(token, typ=jws.TYP_ACKNOWLEDGEMENT, max_bytes=8192)
    key = registry.keys.get(acknowledgement.kid)
    if key is None:
        raise SignatureRefused(Fault("/kid", "key-unknown"))
    jws.verify(acknowledgement, key.jwk)
    if key.owner != caller.owner:
        raise KeyRefused(Fault("/kid", "key-of-another-member"))
    check_may_sign(key, signed_at=now, now=now)
    claims = jws.claims(acknowledgement)
    faults = []
    required, optional = {"message", "digest", "at", "state"}, {"sequence", "reason"}
    if not required <= claims.keys() <= required | optional:
        faults.append(
            Fault("", "claims", found=quote(", ".join(sorted(claims))), allowed=tuple(sorted(required | optional)))
        )
    if str(claims.get("state")) not in RANK:
        faults.append(Fault("/state", "enum", found=quote(claims.get("state")), allowed=tuple(RANK)))
    if not isinstance(claims.get("at"), str) or not _is_moment(claims["at"]):
        faults.append(Fault("/at", "date-time", found=quote(claims.get("at"))))
    if type(claims.get("sequence", 1)) is not int:
        faults.append(Fault("/sequence", "type", found=json_type(claims.get("sequence")), allowed=("integer",)))
    reason = claims.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_REASON_CHARACTERS or "\0" in reason:
        faults.append(Fault("/reason", "type", allowed=(f"string of at most {MAX_REASON_CHARACTERS} characters",)))
    elif claims.get("state") == "refused" and not reason:
        faults.append(Fault("/reason", "required"))
    if faults:
        raise Invalid(*faults)
    return claims


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
