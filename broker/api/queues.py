"""Subscriptions and the queues behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from broker import administer, clock, preview, pull, stream
from broker.api import bodies, problems
from broker.api.auth import Member, TheHub
from broker.api.bodies import Body
from broker.delivery import LEASE_SECONDS
from broker.errors import BrokerError, Fault, Invalid, quote
from broker.hub import Hub
from broker.ledger import deliveries as ledger
from broker.ledger import replays, wire
from broker.members import Subscription

RECONNECT_MILLISECONDS = 1_000

router = APIRouter()


class NewSubscription(Body):
    name: str
    delivery: Literal["amqp", "pull", "stream"] | None = None
    filter: dict[str, Any] = Field(default_factory=dict)


class Filter(Body):
    filter: dict[str, Any]


class Preview(Body):
    filter: dict[str, Any]
    limit: int = Field(default=50, ge=1, le=200)


class Lease(Body):
    limit: int = 10
    lease_seconds: int = LEASE_SECONDS[1]
    wait_seconds: float = 0


class Extend(Body):
    lease_ids: list[str] = Field(min_length=1, max_length=pull.MAX_LEASE)
    lease_seconds: int = LEASE_SECONDS[1]


class Settlement(Body):
    lease_id: str
    outcome: str
    delay_seconds: int = 0
    reason: str | None = Field(default=None, max_length=500)
    acknowledgement: str | None = Field(default=None, max_length=8192)


class Settle(Body):
    settlements: list[Settlement] = Field(min_length=1, max_length=pull.MAX_LEASE)


class Replay(Body):
    since: str | None = None
    sequence: int | None = Field(default=None, ge=1)
    message: str | None = None


def _shown(subscription: Subscription, filters: dict[str, Any]) -> dict[str, Any]:
    shown = {"name": subscription.name, "delivery": subscription.delivery, "filter": filters.get(subscription.id, {})}
    return shown if subscription.amqp_name is None else shown | {"amqp_name": subscription.amqp_name}


@router.get("/v1/subscriptions")
async def list_subscriptions(request: Request, hub: TheHub, caller: Member) -> Response:
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        filters = await preview.filters_of(c, caller.owner)
    own = [s for s in registry.subscriptions if s.member == caller.owner]
    return problems.answer(request, {"subscriptions": [_shown(s, filters) for s in own]})


@router.post("/v1/subscriptions")
async def add_subscription(request: Request, hub: TheHub, caller: Member) -> Response:
    body = await bodies.model(request, NewSubscription)
    wire_there = request.app.state.door is not None
    delivery = body.delivery or ("amqp" if wire_there else "pull")
    made = await administer.subscribe(
        hub.ledger, caller.owner, body.name, delivery, body.filter, hub.now(), wire=wire_there
    )
    return problems.answer(request, _shown(made, {made.id: body.filter}), 201)


@router.patch("/v1/subscriptions/{name}")
async def change_subscription(request: Request, hub: TheHub, caller: Member, name: str) -> Response:
    body = await bodies.model(request, Filter)
    await administer.change_filter(hub.ledger, caller.owner, name, body.filter)
    return problems.answer(request, {"name": name, "filter": body.filter})


@router.delete("/v1/subscriptions/{name}")
async def remove_subscription(request: Request, hub: TheHub, caller: Member, name: str) -> Response:
    await administer.unsubscribe(hub.ledger, caller.owner, name, hub.now())
    return Response(status_code=204)


@router.post("/v1/subscriptions/preview")
async def preview_subscription(request: Request, hub: TheHub, caller: Member) -> Response:
    """What a filter would have matched among what the caller may see."""
    body = await bodies.model(request, Preview)
    return problems.answer(request, await preview.preview(hub, caller, body.filter, body.limit))


@router.get("/v1/queues")
async def list_queues(request: Request, hub: TheHub, caller: Member) -> Response:
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        own = [q for q in registry.queues.values() if q.member == caller.owner]
        depths = await ledger.depths(c, [q.id for q in own])
        oldest = await ledger.oldest_ready(c, [q.id for q in own])
        queues = []
        for q in own:
            row = await wire.queue_row(c, q.id)
            queues.append({
                "name": q.name, "delivery": q.delivery, "amqp_name": q.amqp_name, "generation": row["generation"],
                "last_sequence": row["last_sequence"], "depth": depths.get(q.id, {}),
                "oldest_ready": clock.text(oldest[q.id]) if q.id in oldest else None,
            })  # fmt: skip
    return problems.answer(request, {"queues": queues})


@router.get("/v1/queues/{queue}/deliveries")
async def list_deliveries(
    request: Request,
    hub: TheHub,
    caller: Member,
    queue: str,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The index, tombstones included: sequence, message, digest, duties, rule, state."""
    async with hub.ledger.reading() as c:
        own = pull.own_queue(await hub.registry(c), caller, queue)
        rows = await ledger.index(c, own.id, after, limit)
    return problems.answer(request, {"deliveries": [_delivery(own, row) for row in rows]})


def _delivery(queue: Subscription, row: Any) -> dict[str, Any]:
    shown = {
        "sequence": row["sequence"],
        "state": row["state"],
        "reason": row["reason"],
        "changed_at": clock.text(row["changed_at"]),
    }
    if row["state"] == "revoked" or (row["state"] in ("withdrawn", "expired") and row["handed_at"] is None):
        return shown  # a tombstone: it was removed unseen, and stays unseen
    return shown | {
        "message": f"{row['originator']}:{row['id']}",
        "digest": row["digest"],
        "kind": row["kind"],
        "duties": row["duties"].split(","),
        "rule": row["rule"],
        "match": None if row["clause"] is None else {"subscription": queue.name, "clause": row["clause"]},
        "round": row["round"],
        "count": row["count"],
    }


@router.post("/v1/queues/{queue}/lease")
async def lease(request: Request, hub: TheHub, caller: Member, queue: str) -> Response:
    body = await bodies.model(request, Lease)
    leased = await pull.lease(
        hub, caller, queue, limit=body.limit, lease_seconds=body.lease_seconds, wait_seconds=body.wait_seconds
    )
    return problems.answer(request, {"deliveries": leased})


@router.post("/v1/queues/{queue}/extend")
async def extend(request: Request, hub: TheHub, caller: Member, queue: str) -> Response:
    body = await bodies.model(request, Extend)
    return problems.answer(
        request, {"leases": await pull.extend(hub, caller, queue, body.lease_ids, body.lease_seconds)}
    )


@router.post("/v1/queues/{queue}/settle")
async def settle(request: Request, hub: TheHub, caller: Member, queue: str) -> Response:
    body = await bodies.model(request, Settle)
    settlements = [pull.Settlement(**s.model_dump()) for s in body.settlements]
    return problems.answer(request, {"settlements": await pull.settle(hub, caller, queue, settlements)})


@router.get("/v1/queues/{queue}/stream")
async def stream_queue(
    request: Request,
    hub: TheHub,
    caller: Member,
    queue: str,
    limit: Annotated[int, Query()] = pull.MAX_LEASE,
    lease_seconds: Annotated[int, Query()] = LEASE_SECONDS[1],
) -> Response:
    """Server-sent events (HTML Living Standard §9.2): `delivery` as a lease shows it, its id the lease id; `end`."""
    opened = await stream.open_stream(
        hub, caller, queue, limit=limit, lease_seconds=lease_seconds, last_event_id=request.headers.get("last-event-id")
    )
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(_events(request, opened), media_type="text/event-stream", headers=headers)


async def _events(request: Request, opened: stream.Stream) -> AsyncIterator[bytes]:
    language = problems.language_of(request)
    yield format_sse_event(retry=RECONNECT_MILLISECONDS)
    try:
        async with aclosing(stream.deliveries(opened)) as deliveries:
            async for one in deliveries:
                if one is None:
                    yield KEEPALIVE_COMMENT
                    continue
                data = problems.octets(one, language).decode()
                yield format_sse_event(event="delivery", data_str=data, id=one["lease_id"])
    except BrokerError as error:  # too late for a status
        yield format_sse_event(event="end", data_str=problems.octets(error, language).decode())


@router.post("/v1/queues/{queue}/replay")
async def replay(request: Request, hub: TheHub, caller: Member, queue: str) -> Response:
    """From a time, a sequence, or one message by its address."""
    body = await bodies.model(request, Replay)
    return problems.answer(request, await pull.replay(hub, caller, queue, _replay(hub, body)))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 east of Greenwich lies before time begins
        pass
    raise Invalid(Fault("/since", "date-time", found=quote(text)))


def _replay(hub: Hub, body: Replay) -> replays.Replay:
    given = [name for name in ("since", "sequence", "message") if getattr(body, name) is not None]
    if len(given) != 1:
        raise Invalid(Fault("", "one-of", found=", ".join(given), allowed=("since", "sequence", "message")))
    if body.since is not None:
        return replays.Replay(since=_moment(body.since))
    if body.message is not None:
        originator, _, id = body.message.partition(":")
        return replays.Replay(message=(originator, id))
    return replays.Replay(sequence=body.sequence)
