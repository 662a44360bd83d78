"""What members may know of each other, and what a valid message looks like."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from broker import clock
from broker.api import catalogue, problems
from broker.api.auth import Member, TheHub
from broker.errors import Fault, NotFound, quote
from broker.members import OPERATOR_PREFIX, Key

router = APIRouter()


def key_object(key: Key, hub_now: Any) -> dict[str, Any]:
    """A public key with its window: what a stranger needs to check a signature of that time."""
    return {
        "kid": key.kid,
        "use": key.use,
        "jwk": dict(key.jwk),
        "state": key.state(hub_now),
        "not_before": clock.text(key.not_before),
        "not_after": clock.text(key.not_after) if key.not_after else None,
        "revoked_at": clock.text(key.revoked_at) if key.revoked_at else None,
    }


@router.get("/v1/members")
async def members(request: Request, hub: TheHub, caller: Member) -> Response:
    """The directory, with public keys past and present: `verify` works from this answer offline."""
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
    now = hub.now()
    keys: dict[str, list[dict[str, Any]]] = {}
    for key in registry.keys.values():
        if not key.owner.startswith(OPERATOR_PREFIX):
            keys.setdefault(key.owner, []).append(key_object(key, now))
    shown = [
        {"id": m.id, "type": m.type, "name": m.name, "active": m.active, "keys": keys.get(m.id, [])}
        for m in sorted(registry.members.values(), key=lambda m: m.id)
    ]
    return problems.answer(request, {"hub": hub.public_url, "members": shown})


@router.get("/v1/groups")
async def groups(request: Request, hub: TheHub, caller: Member) -> Response:
    """Own groups alone. Who else is in one shows only in a `check` of a release to it."""
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
    shown = [
        {
            "name": g.name,
            "owner": g.owner,
            "starts_at": clock.text(g.starts_at) if g.starts_at else None,
            "ends_at": clock.text(g.ends_at) if g.ends_at else None,
            "running": g.holds(caller.owner, hub.now()),
        }
        for g in registry.groups.values()
        if caller.owner in g.members
    ]
    return problems.answer(request, {"groups": shown})


@router.get("/v1/schemas")
async def schemas(request: Request, hub: TheHub) -> Response:
    """Kinds and versions with titles, whether they are scored, and what they need of the header."""
    return catalogue.answer(request, catalogue.of(request, hub.language).kinds())


@router.get("/v1/schemas/{kind}/{version}")
async def schema(request: Request, hub: TheHub, kind: str, version: str) -> Response:
    """A kind's JSON Schema, which stands alone; `envelope` is the payload around every kind."""
    found = catalogue.of(request, hub.language).kind(kind, version)
    if found is None:
        raise NotFound(Fault("", "unknown-kind", found=quote(f"{kind} {version}")))
    return catalogue.answer(request, found)


@router.get("/v1/codelists")
async def codelists(request: Request, hub: TheHub) -> Response:
    """The code lists with source, edition, date, policy and how many codes."""
    return catalogue.answer(request, catalogue.of(request, hub.language).codelists())


@router.get("/v1/codelists/{name}")
async def codelist(request: Request, hub: TheHub, name: str) -> Response:
    """A list's codes: titles in all languages, aliases, further columns."""
    found = catalogue.of(request, hub.language).codelist(name)
    if found is None:
        raise NotFound(Fault("", "unknown-codelist", found=quote(name)))
    return catalogue.answer(request, found)
