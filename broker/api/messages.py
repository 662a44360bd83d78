"""Posting, checking, reading and acknowledging messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from broker import acknowledge, check, jws, quality, read, strictjson
from broker.accept import Accepted, Outcome
from broker.api import bodies, problems
from broker.api.auth import Member, TheHub
from broker.api.bodies import hub_of
from broker.errors import BrokerError, Fault, Invalid, Malformed, TooLarge
from broker.language.identifiers import spellings
from broker.ledger.messages import Listing
from broker.submit import accept_batch

MAX_BATCH_LINES = 1_000
MAX_BATCH_BYTES = 10_000_000

router = APIRouter()


async def post_message(request: Request) -> Response:
    """201 with a receipt, 200 for a repeat. The signature is the credential: no token is asked for.

    A plain Starlette route: FastAPI's machinery would cost as much as the signature check.
    """
    kind = bodies.media_type(request, "application/jose", "application/jose+json")
    body = await bodies.read(request, jws.MAX_TOKEN_BYTES)
    token = jws.from_flattened(body) if kind == "application/jose+json" else body.strip()
    (outcome,) = await _accept(request, [token])
    if isinstance(outcome, BrokerError):
        raise outcome
    return problems.answer(request, _receipt(outcome), 200 if outcome.repeat else 201)


async def post_batch(request: Request) -> Response:
    """One line of newline-delimited JSON an answer, in the order of the lines posted."""
    bodies.media_type(request, "application/x-ndjson")
    body = await bodies.read(request, MAX_BATCH_BYTES)
    lines = body.split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    if not 1 <= len(lines) <= MAX_BATCH_LINES:
        raise TooLarge(Fault("", "batch-lines", found=str(len(lines)), allowed=(f"1..{MAX_BATCH_LINES}",)))
    tokens: list[bytes | BrokerError] = [_line(line) for line in lines]
    accepted = iter(await _accept(request, [token for token in tokens if isinstance(token, bytes)]))
    outcomes = [next(accepted) if isinstance(token, bytes) else token for token in tokens]
    language = problems.language_of(request)
    answers = (orjson.dumps(_line_answer(number, outcome, language)) for number, outcome in enumerate(outcomes, 1))
    return Response(b"\n".join(answers) + b"\n", media_type="application/x-ndjson")


async def _accept(request: Request, tokens: Sequence[bytes]) -> list[Outcome]:
    return await accept_batch(hub_of(request), request.app.state.committer, tokens, request.scope["traceparent"])


def _line(line: bytes) -> bytes | BrokerError:
    try:
        value = strictjson.parse(line, max_bytes=jws.MAX_TOKEN_BYTES, max_depth=2)
        if isinstance(value, str):
            return value.encode("ascii", "replace")
        if isinstance(value, dict):
            return jws.compact_of(value)
        raise Malformed(Fault("", "batch-line"))
    except BrokerError as error:
        return error


def _line_answer(number: int, outcome: Outcome, language: str) -> dict[str, Any]:
    if isinstance(outcome, Accepted):
        warnings = [problems.fault_object(w, language) for w in outcome.warnings]
        return {
            "line": number,
            "status": 200 if outcome.repeat else 201,
            "receipt": outcome.receipt,
            "warnings": warnings,
        }
    return {
        "line": number,
        "status": outcome.status,
        "problem": problems.problem_object(outcome, language),
        "warnings": [],
    }


def _receipt(outcome: Accepted) -> dict[str, Any]:
    return {"receipt": outcome.receipt, "warnings": outcome.warnings}


@router.post("/v1/messages/check")
async def post_check(request: Request, hub: TheHub, caller: Member) -> Response:
    """Everything but storing."""
    bodies.media_type(request, "application/json", "application/jose", "application/jose+json")
    return problems.answer(request, await check.check(hub, caller, await bodies.read(request, jws.MAX_TOKEN_BYTES)))


@router.get("/v1/messages")
async def list_messages(
    request: Request,
    hub: TheHub,
    caller: Member,
    box: Literal["sent", "received"] = "received",
    kind: Annotated[str | None, Query(max_length=32)] = None,
    heading: Annotated[str | None, Query(max_length=64)] = None,
    since: datetime | None = None,
    identifier: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=read.MAX_PAGE)] = read.PAGE,
) -> Response:
    """What one sent, or is entitled to, newest first."""
    if since is not None:
        since = _utc(since)
    before = read.read_cursor(hub, cursor) if cursor else None
    wanted = Listing(box, kind, heading, since, spellings(identifier) if identifier else None, before, limit)
    return problems.answer(request, await read.page(hub, caller, wanted))


def _utc(since: datetime) -> datetime:
    try:
        if since.tzinfo is not None:
            return since.astimezone(UTC)
    except OverflowError:  # the year 1 east of Greenwich lies before time begins
        pass
    raise Invalid(Fault("/since", "date-time", found=since.isoformat()))


@router.get("/v1/quality")
async def get_quality(
    request: Request,
    hub: TheHub,
    caller: Member,
    member: Annotated[str | None, Query(max_length=32)] = None,
    since: datetime | None = None,
) -> Response:
    """Completeness and timeliness of one's own reports, or (for its liaison office) of a member's."""
    return problems.answer(request, await quality.quality(hub, caller, member, None if since is None else _utc(since)))


@router.get("/v1/messages/{address}")
async def get_message(request: Request, hub: TheHub, caller: Member, address: str) -> Response:
    return problems.answer(request, await read.message(hub, caller, address))


@router.get("/v1/messages/{address}/receipt")
async def get_receipt(request: Request, hub: TheHub, caller: Member, address: str) -> Response:
    return problems.answer(request, await read.receipt(hub, caller, address))


@router.get("/v1/messages/{address}/deliveries")
async def get_deliveries(request: Request, hub: TheHub, caller: Member, address: str) -> Response:
    return problems.answer(request, await read.deliveries(hub, caller, address))


@router.get("/v1/messages/{address}/audience")
async def get_audience(request: Request, hub: TheHub, caller: Member, address: str) -> Response:
    return problems.answer(request, await read.audience(hub, caller, address))


@router.post("/v1/messages/{address}/acknowledgement")
async def post_acknowledgement(request: Request, hub: TheHub, caller: Member, address: str) -> Response:
    bodies.media_type(request, "application/jose")
    token = (await bodies.read(request, 8192)).strip()
    return problems.answer(request, await acknowledge.post(hub, caller, address, token))
