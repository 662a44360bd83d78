"""`check`: everything but storing. A draft or one's own signed message: its problems, or who would receive it.

Shows entitled members and rules, never subscriptions: a member must not learn from it what others watch.
A recipient who posts here what it received learns nothing: the message must be the caller's own.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from broker import entitlement, jws, quotations, strictjson, verify
from broker.accept import addresses_in, correction_target
from broker.envelope import Envelope
from broker.errors import Conflict, Fault, Invalid, KeyRefused, Malformed, ReleaseRefused, quote
from broker.hub import Hub
from broker.ledger import messages as ledger_messages
from broker.members import Registry
from broker.tokens import Caller


async def check(hub: Hub, caller: Caller, octets: bytes) -> dict[str, Any]:
    """`octets`: a payload as JSON, or a compact or flattened JWS. Raises the error that a post would get."""
    now = hub.now()
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        envelope = _believe(hub, registry, caller, octets, now)
        known = await ledger_messages.known(c, addresses_in(envelope))
        quoted = await quotations.faults(c, registry, await quotations.held(c, [envelope]), envelope, now)
    already = known.get(envelope.address)
    if already is None:
        correction_target(envelope, known)
    elif hashlib.sha256(envelope.payload).digest() != already.payload_digest:
        raise Conflict(Fault("/header/id", "conflict", found=envelope.address))
    faults, warnings = entitlement.release_faults(envelope, registry, now)
    if faults:
        raise ReleaseRefused(*faults)
    if quoted:
        raise Invalid(*quoted)
    rules = entitlement.entitled(envelope, registry, now)
    if envelope.release is not None and not rules:
        warnings.append(Fault("/header/handling/release", "nobody"))
    return {
        "address": envelope.address,
        "signed": bool(envelope.compact),
        "recipients": [
            {"member": m, "rule": rule, "duties": list(entitlement.duties(m, envelope.release))}
            for m, rule in rules.items()
        ],
        "corrections": "to every holder" if envelope.supersedes or envelope.withdraws else None,
        "warnings": (*envelope.warnings, *warnings),
    }


def _believe(hub: Hub, registry: Registry, caller: Caller, octets: bytes, now: datetime) -> Envelope:
    body = octets.strip()
    if body[:1] != b"{":
        return _signed(hub, registry, caller, body, now)
    claims = strictjson.parse_object(body, max_bytes=jws.MAX_TOKEN_BYTES)
    if claims.keys() == {"protected", "payload", "signature"}:
        return _signed(hub, registry, caller, jws.compact_of(claims), now)
    header = claims.get("header")
    if not isinstance(header, dict):
        raise Malformed(Fault("/header", "required"))
    if header.get("originator") != caller.owner:
        raise Invalid(
            Fault("/header/originator", "not-your-own", found=quote(header.get("originator")), allowed=(caller.owner,))
        )
    return verify.read_content(claims, hub.language, now)


def _signed(hub: Hub, registry: Registry, caller: Caller, compact: bytes, now: datetime) -> Envelope:
    parsed = verify.read_message(compact)
    if parsed.originator != caller.owner:
        raise KeyRefused(
            Fault("/header/originator", "not-your-own", found=quote(parsed.originator), allowed=(caller.owner,))
        )
    signed = verify.who_signed(parsed, registry)
    verify.check_clock_and_key(signed, registry, now)
    return verify.check_content(signed, hub.language, now)
