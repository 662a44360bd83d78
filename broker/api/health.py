"""For machines that watch: alive, ready, and the numbers. And RabbitMQ's questions about who may do what."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import State
from starlette.responses import PlainTextResponse, Response

from broker import metrics
from broker.api import bodies, problems
from broker.api.auth import TheHub
from broker.errors import LedgerAway
from broker.hub import Hub
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
    look = _look(request.app.state, hub)
    done, _ = await asyncio.wait([look], timeout=READY_SECONDS)
    connected = look.result() if done else LedgerAway(retry_after=READY_SECONDS)
    if isinstance(connected, LedgerAway):
        raise connected
    wire = "none" if request.app.state.door is None else "connected" if connected else "away"
    return problems.answer(
        request, {"status": "degraded" if wire == "away" else "ready", "ledger": "ready", "wire": wire}
    )


def _look(state: State, hub: Hub) -> asyncio.Task[bool | LedgerAway]:
    """The look at the ledger that is under way, or a new one. It is nobody's to break off: a statement that is cancelled
    half way costs its connection. And there is one at a time: a ledger that hangs takes one connection, not all."""
    under_way: asyncio.Task[bool | LedgerAway] | None = getattr(state, "look", None)
    if under_way is None or under_way.done():
        under_way = state.look = asyncio.create_task(_a_relay_lives(hub))
    return under_way


async def _a_relay_lives(hub: Hub) -> bool | LedgerAway:
    """LedgerAway is returned, not raised: there may be nobody left to hear of it."""
    try:
        async with hub.ledger.reading() as c:
            return await relays.any_alive(c)
    except LedgerAway as away:
        return away


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
