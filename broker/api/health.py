"""For machines that watch: alive, ready, and the numbers. And RabbitMQ's questions about who may do what."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from broker import metrics
from broker.api import bodies, problems
from broker.api.auth import TheHub
from broker.errors import LedgerAway
from broker.ledger import relays
from broker.rabbit.access import Door

READY_SECONDS = 3

router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def readyz(request: Request, hub: TheHub) -> Response:
    """503 without the ledger; 200 `degraded` without RabbitMQ (no relay is connected to it), because messages
    are still accepted."""
    try:
        async with asyncio.timeout(READY_SECONDS), hub.ledger.reading() as c:
            connected = await relays.any_alive(c)
    except TimeoutError:
        raise LedgerAway(retry_after=READY_SECONDS) from None
    wire = "none" if request.app.state.door is None else "connected" if connected else "away"
    return problems.answer(
        request, {"status": "degraded" if wire == "away" else "ready", "ledger": "ready", "wire": wire}
    )


@router.get("/metrics")
async def metrics_(request: Request) -> Response:
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.post("/v1/rabbitmq/auth/{question}", include_in_schema=False)
async def rabbitmq(request: Request, question: str) -> Response:
    """allow or deny, as RabbitMQ's HTTP authentication back end reads it."""
    door: Door | None = request.app.state.door
    form = await bodies.form(request)
    allowed = False
    if door is not None:
        if question == "user":
            allowed = await door.user(form)
        elif question == "vhost":
            allowed = await door.vhost(form)
        elif question == "resource":
            allowed = await door.resource(form)
    return PlainTextResponse("allow" if allowed else "deny")
