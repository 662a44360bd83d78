"""Who is calling: access tokens at the doors, client assertions at the token endpoint."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from broker import tokens
from broker.api import bodies, problems
from broker.api.bodies import hub_of
from broker.errors import BrokerError, Fault, Invalid, ScopeRefused, TokenRefused, quote
from broker.hub import Hub
from broker.ledger import tables as t
from broker.logs import log
from broker.tokens import SCOPES, Caller, Scope

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CACHE_TOKENS = 10_000

router = APIRouter()


async def the_hub(request: Request) -> Hub:
    """Not `hub_of` itself: FastAPI calls what is no coroutine in a thread, at every call of every door."""
    return hub_of(request)


TheHub = Annotated[Hub, Depends(the_hub)]


def require(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the Caller behind `Authorization: Bearer`, of exactly this scope. Raises TokenRefused, ScopeRefused,
    TooMany.

    A signature is checked once; key, member and expiry are checked at every call against the present registry.
    """

    async def caller(request: Request) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise TokenRefused(Fault("/authorization", "no-token"))
        hub = hub_of(request)
        known: dict[str, Caller] = request.app.state.tokens
        now = hub.now()
        found = known.get(token)
        if found is None:
            found = tokens.read_access(token.encode("ascii", "replace"), request.app.state.hub_jwk, hub.public_url, now)
            if len(known) >= CACHE_TOKENS:
                known.clear()
            known[token] = found
        async with hub.ledger.reading() as c:
            found.check(await hub.registry(c), now)
        if found.scope != scope:
            raise ScopeRefused(Fault("/scope", "scope-of-door", found=found.scope, allowed=(scope,)))
        hub.limits.calls.take(found.owner, 1, time.monotonic())
        return found

    return caller


Member = Annotated[Caller, Depends(require("api"))]
Operator = Annotated[Caller, Depends(require("admin"))]


@router.post("/v1/oauth/token")
async def token(request: Request, hub: TheHub) -> Response:
    """Client credentials by private_key_jwt (RFC 6749 §4.4, RFC 7523 §2.2)."""
    form = await bodies.form(request)
    try:
        granted, scope = await _grant(hub, form)
    except BrokerError as error:
        names = {"token": "invalid_client", "scope": "invalid_scope"}
        error.extra = {"error": names.get(error.code, "invalid_request")}
        raise
    body = {"access_token": granted, "token_type": "Bearer", "expires_in": tokens.TOKEN_SECONDS, "scope": scope}
    return problems.answer(request, body, headers={"pragma": "no-cache"})


async def _grant(hub: Hub, form: dict[str, str]) -> tuple[str, Scope]:
    faults = [
        Fault(f"/{name}", "parameter", found=quote(form.get(name)), allowed=(wanted,))
        for name, wanted in (("grant_type", "client_credentials"), ("client_assertion_type", ASSERTION_TYPE))
        if form.get(name) != wanted
    ]
    if faults:
        raise Invalid(*faults)
    wanted_scope = form.get("scope", "api")
    scope = next((s for s in SCOPES if s == wanted_scope), None)
    if scope is None:
        raise ScopeRefused(Fault("/scope", "enum", found=quote(wanted_scope), allowed=SCOPES))
    now = hub.now()
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
    assertion = tokens.read_assertion(
        form.get("client_assertion", "").encode("ascii", "replace"), registry, hub.public_url, now
    )
    hub.limits.tokens.take(assertion.owner, 1, time.monotonic())
    if form.get("client_id", assertion.owner) != assertion.owner:
        raise TokenRefused(Fault("/client_id", "iss-is-sub"))
    try:
        async with hub.ledger.accepting() as c:
            await c.execute(
                insert(t.used_assertions).values(
                    owner=assertion.owner, jti=assertion.jti, expires_at=assertion.expires_at
                )
            )
    except IntegrityError:
        raise TokenRefused(Fault("/jti", "jti-used")) from None
    granted = tokens.issue(assertion, scope, hub.key, hub.public_url, now)
    log.info("token.issued", owner=assertion.owner, scope=scope, kid=assertion.kid)
    return granted, scope
