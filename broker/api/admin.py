"""The operators' doors: how it runs, never what is said. Every answer is metadata; no route reads a payload."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy import ColumnElement, RowMapping, and_, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from broker import clock
from broker.api import bodies, problems
from broker.api.auth import Operator, TheHub
from broker.api.bodies import Body
from broker.delivery import State
from broker.errors import Fault, Invalid, quote
from broker.ledger import deliveries as ledger
from broker.ledger import relays, touch, wire
from broker.ledger import tables as t
from broker.ledger.latest import latest, queues_of
from broker.logs import log

MAX_ROWS = 500

router = APIRouter(prefix="/v1/admin")
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]
d = t.deliveries.c


@router.get("/members")
async def members(request: Request, hub: TheHub, caller: Operator) -> Response:
    """Members with the state of their keys and how many queues they have."""
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
    now = hub.now()
    shown = [
        {
            "id": m.id,
            "type": m.type,
            "name": m.name,
            "active": m.active,
            "keys": [
                {"kid": k.kid, "state": k.state(now), "not_after": clock.text(k.not_after) if k.not_after else None}
                for k in registry.keys.values()
                if k.owner == m.id
            ],
            "queues": sum(q.member == m.id for q in registry.queues.values()),
        }
        for m in sorted(registry.members.values(), key=lambda m: m.id)
    ]
    return problems.answer(request, {"members": shown, "registry_version": registry.version})


@router.get("/queues")
async def queues(request: Request, hub: TheHub, caller: Operator) -> Response:
    """Every queue: depth by state, age of the oldest ready delivery, and what the relay says of it."""
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        parked = await relays.parked(c)
        depths = await ledger.depths(c)
        rows = {r["id"]: r for r in (await c.execute(select(t.queues))).mappings()}
        oldest = await ledger.oldest_ready(c, registry.queues)
    now = hub.now()
    shown = [
        {
            "queue": q.id,
            "member": q.member,
            "name": q.name,
            "delivery": q.delivery,
            "generation": rows[q.id]["generation"],
            "last_sequence": rows[q.id]["last_sequence"],
            "depth": depths.get(q.id, {}),
            "oldest_ready_seconds": _age(oldest.get(q.id), now),
            "draining": rows[q.id]["drain"],
            "parked": parked.get(q.id),
        }
        for q in registry.queues.values()
    ]
    return problems.answer(request, {"queues": shown})


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else round((now - moment).total_seconds(), 1)


@router.get("/deliveries")
async def deliveries(
    request: Request,
    hub: TheHub,
    caller: Operator,
    member: Annotated[str | None, Query(max_length=48)] = None,
    state: State | None = None,
    queue: Annotated[str | None, Query(max_length=16)] = None,
    limit: Limit = 100,
) -> Response:
    """Deliveries by member, state or queue, the latest change first. Of a member or a queue: of what is settled, what is
    among the newest deliveries of its queue."""
    async with hub.ledger.reading() as c:
        where: ColumnElement[bool] | None
        if member or queue:
            queues = await queues_of(c, member) if member else [str(queue)]
            where = await latest(c, [one for one in queues if not queue or one == queue], state, limit)
        else:
            where = and_(ledger.state_is(state), _indexed(state)) if state else true()
        rows = [] if where is None else await _rows(c, limit, where)
    return problems.answer(request, {"deliveries": _shown(rows, hub.now())})


def _indexed(state: State) -> ColumnElement[bool]:
    return true() if state == "settled" else ledger.UNSETTLED


@router.get("/dead-letters")
async def dead_letters(request: Request, hub: TheHub, caller: Operator, limit: Limit = 100) -> Response:
    """What needs somebody, with its reason."""
    async with hub.ledger.reading() as c:
        rows = await _rows(c, limit, ledger.state_is("dead"))
    return problems.answer(request, {"dead_letters": _shown(rows, hub.now())})


@router.get("/outbox")
async def outbox(request: Request, hub: TheHub, caller: Operator, limit: Limit = 100) -> Response:
    """What waits for RabbitMQ, and what is there without an acknowledgement."""
    async with hub.ledger.reading() as c:
        query = (
            select(d.state, func.count(), func.min(d.changed_at))
            .join(t.queues, t.queues.c.id == d.queue)
            .where(
                t.queues.c.amqp_name.is_not(None),
                or_(ledger.state_is("ready"), ledger.state_is("published")),
                ledger.UNSETTLED,
            )
            .group_by(d.state)
        )
        counts = (await c.execute(query)).all()
        connected, parked = await relays.any_alive(c), await relays.parked(c)
    now = hub.now()
    shown = {state: {"deliveries": number, "oldest_seconds": _age(oldest, now)} for state, number, oldest in counts}
    return problems.answer(
        request,
        {
            "wire": None if request.app.state.door is None else {"connected": connected, "parked": sorted(parked)},
            "states": shown,
        },
    )


@router.get("/refusals")
async def refusals(
    request: Request,
    hub: TheHub,
    caller: Operator,
    member: Annotated[str | None, Query(max_length=48)] = None,
    limit: Limit = 100,
) -> Response:
    """Refused although the signature held: member, digest, rule. No content was kept."""
    r = t.refusals.c
    query = select(r.at, r.member, r.digest, r.code, r.rule).order_by(r.number.desc()).limit(limit)
    async with hub.ledger.reading() as c:
        rows = (await c.execute(query.where(r.member == member) if member else query)).mappings().all()
    return problems.answer(
        request,
        {
            "refusals": [
                {
                    "at": clock.text(row["at"]),
                    "member": row["member"],
                    "digest": row["digest"],
                    "code": row["code"],
                    "rule": row["rule"],
                }
                for row in rows
            ]
        },
    )


class Redrive(Body):
    deliveries: list[str] = Field(min_length=1, max_length=MAX_ROWS)


@router.post("/dead-letters/redrive")
async def redrive(request: Request, hub: TheHub, caller: Operator) -> Response:
    """dead → ready, one status a delivery: 200, or 409 when it is not dead or was redriven too often in this round."""
    body = await bodies.model(request, Redrive)
    answers = []
    now = hub.now()
    async with hub.ledger.accepting() as c:
        caller.check(await hub.registry(c), now)
        for number, delivery in enumerate(body.deliveries):
            copy = wire.Copy.read(f"{delivery}.0.0")
            if copy is None:
                raise Invalid(Fault(f"/deliveries/{number}", "delivery-id", found=quote(delivery)))
            moved = await ledger.redrive(c, copy.queue, copy.sequence, now)
            answers.append({"delivery": delivery, "status": 200 if moved else 409})
            if moved:
                touch(c, [copy.queue])
    log.info(
        "delivery.redriven", operator=caller.owner, moved=sum(a["status"] == 200 for a in answers), asked=len(answers)
    )
    return problems.answer(request, {"deliveries": answers})


async def _rows(c: AsyncConnection, limit: int, where: ColumnElement[bool]) -> Sequence[RowMapping]:
    m = t.messages.c
    query = (
        select(d.queue, d.sequence, d.member, d.rule, d.state, d.round, d.count, d.redrives, d.reason, d.changed_at,
               m.originator, m.id, m.kind, m.digest)
        .join(t.messages, m.position == d.position)
        .where(where)
        .order_by(d.changed_at.desc())
        .limit(limit)
    )  # fmt: skip
    return (await c.execute(query)).mappings().all()


def _shown(rows: Sequence[RowMapping], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "delivery": f"{row['queue']}-{row['sequence']}",
            "member": row["member"],
            "message": f"{row['originator']}:{row['id']}",
            "kind": row["kind"],
            "digest": row["digest"],
            "rule": row["rule"],
            "state": row["state"],
            "reason": row["reason"],
            "round": row["round"],
            "count": row["count"],
            "redrives": row["redrives"],
            "changed_at": clock.text(row["changed_at"]),
            "age_seconds": _age(row["changed_at"], now),
        }
        for row in rows
    ]
