"""What the hub does all day, each as one thing to measure: prepared first, then called.

Everything goes the way it goes in the product: through the gateway where there is a door, through the same functions as
relay and upkeep where there is none. What is done is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from broker import administer, upkeep
from broker.clock import text
from broker.ledger import wire
from broker.ledger.wire import Copy
from tests.growth.filling import MEMBERS, QUIET, REGIONAL, STUCK_PULL, STUCK_WIRE, World
from tests.region import to

Call = Callable[[], Awaitable[Any]]


@dataclass
class Operation:
    """`once`: changes too much to be repeated."""

    name: str
    prepare: Callable[[World], Awaitable[Call]]
    once: bool = False


OPERATIONS: list[Operation] = []


def operation(name: str, *, once: bool = False) -> Callable[[Any], Any]:
    def keep(prepare: Callable[[World], Awaitable[Call]]) -> Callable[[World], Awaitable[Call]]:
        OPERATIONS.append(Operation(name, prepare, once))
        return prepare

    return keep


def asking(owner: str, method: str, path: str, body: Any = None) -> Callable[[World], Awaitable[Call]]:
    """A call of one of the gateway's doors, with the token at hand."""

    async def prepare(w: World) -> Call:
        await w.r.token(owner, "admin" if owner.startswith("operator:") else "api")

        async def call() -> None:
            answer = await w.r.call(owner, method, path, body)
            assert answer.status_code == 200, answer.text[:500]

        return call

    return prepare


async def queue_of(w: World, member: str) -> str:
    registry = await administer.snapshot(w.r.hub.ledger)
    return next(q.id for q in registry.subscriptions if q.member == member)


# ── in ──


def _signed(w: World, count: int) -> list[str]:
    made = []
    for n in range(count):
        recipients = [MEMBERS[(n * 7 + 9 * k) % 36] for k in range(5)]
        made.append(
            w.r.sign(w.r.payload(MEMBERS[(n * 7 + 4) % 36], f"g-{w.messages}-{next(_numbers)}", to(*recipients)))
        )
    return made


_numbers = iter(range(1, 1 << 30))


@operation("accept 50 messages")
async def accept_fifty(w: World) -> Call:
    lines = "\n".join(f'"{token}"' for token in _signed(w, 50))

    async def call() -> None:
        kind = {"content-type": "application/x-ndjson"}
        answer = await w.r.http.post("/v1/messages/batch", content=lines, headers=kind)
        assert answer.text.count('"status":201') == 50, answer.text[:500]

    return call


@operation("accept a repeat")
async def accept_repeat(w: World) -> Call:
    (token,) = _signed(w, 1)
    assert (await w.r.post(token)).status_code == 201
    return lambda: w.r.post(token)


async def _corrected(w: World) -> str:
    """The address of a message that five members got, three of whom have it."""
    payload = w.r.payload("C04", f"c-{w.messages}-{next(_numbers)}", to("C00", "C01", "C03", "C09", "C12"))
    assert (await w.r.post(w.r.sign(payload))).status_code == 201
    return f"C04:{payload['header']['id']}"


@operation("amend")
async def amend(w: World) -> Call:
    address = await _corrected(w)
    token = w.r.sign(
        w.r.payload("C04", f"a-{w.messages}-{next(_numbers)}", to("C00", "C01", "C03"), supersedes=address)
    )
    return lambda: w.r.post(token)


@operation("withdraw")
async def withdraw(w: World) -> Call:
    address = await _corrected(w)
    token = w.r.sign(w.r.withdrawal(address, id=f"w-{w.messages}-{next(_numbers)}"))
    return lambda: w.r.post(token)


# ── out ──


@operation("lease 10")
async def lease(w: World) -> Call:
    await _something_for(w, "C01")
    return lambda: w.r.lease("C01", "desk", limit=10)


async def _something_for(w: World, member: str) -> None:
    """At least ten are ready for it."""
    sender = next(m for m in MEMBERS if m != member)
    tokens = [w.r.sign(w.r.payload(sender, f"s-{w.messages}-{next(_numbers)}", to(member))) for _ in range(10)]
    for answer in await asyncio.gather(*(w.r.post(token) for token in tokens)):
        assert answer.status_code == 201, answer.text[:500]


@operation("lease from an empty queue")
async def lease_nothing(w: World) -> Call:
    while leased := await w.r.lease("C05", "desk"):
        await w.r.settle("C05", "desk", *({"lease_id": one["lease_id"], "outcome": "accept"} for one in leased))
    return lambda: w.r.lease("C05", "desk", limit=10)


@operation("settle 10")
async def settle(w: World) -> Call:
    await _something_for(w, "C07")
    leased = await w.r.lease("C07", "desk", limit=10)
    accepted = [{"lease_id": one["lease_id"], "outcome": "accept"} for one in leased]
    return lambda: w.r.settle("C07", "desk", *accepted)


@operation("claim and confirm 200")
async def claim(w: World) -> Call:
    return await _claiming(w, MEMBERS[STUCK_WIRE], 200)


@operation("claim from an empty queue")
async def claim_nothing(w: World) -> Call:
    call = await _claiming(w, "C08", 10_000)
    await call()
    return call


async def _claiming(w: World, member: str, limit: int) -> Call:
    """As the relay does: look at the queue, claim, mark."""
    queue, hub = await queue_of(w, member), w.r.hub

    async def call() -> None:
        async with hub.ledger.reading() as c:
            await wire.queue_row(c, queue)
        async with hub.ledger.accepting() as c:
            rows = await wire.claim(c, await hub.registry(c), queue, w.relay, limit, hub.now())
        copies = [Copy(queue, row["sequence"], row["round"], row["attempt"] + 1) for row in rows]
        async with hub.ledger.accepting() as c:
            await wire.confirmed(c, copies, hub.now())

    return call


@operation("the relay looks at its queues")
async def look(w: World) -> Call:
    async def call() -> None:
        async with w.r.hub.ledger.reading() as c:
            await wire.amqp_queues(c)

    return call


@operation("drain 500")
async def drain(w: World) -> Call:
    queue, hub = await queue_of(w, MEMBERS[STUCK_WIRE]), w.r.hub
    copies = [Copy(queue, sequence, 1, 1) for sequence in range(1, 501)]

    async def call() -> None:
        async with hub.ledger.accepting() as c:
            await wire.drained(c, await hub.registry(c), copies, hub.now())

    return call


@operation("acknowledge")
async def acknowledge(w: World) -> Call:
    await _something_for(w, "C09")
    (newest,) = (await w.r.call("C09", "GET", "/v1/messages?box=received&limit=1")).json()["messages"]
    compact = (await w.r.call("C09", "GET", f"/v1/messages/{newest['address']}")).json()["message"]
    return lambda: w.r.acknowledge("C09", newest["address"], compact=compact)


# ── time ──


@operation("sweep")
async def sweep(w: World) -> Call:
    await w.r.sweep()
    return lambda: upkeep.sweep(w.r.hub)


# ── lists and counts ──

OPERATIONS += [
    Operation("page of what was received", asking("C11", "GET", "/v1/messages?box=received")),
    Operation("page of what was sent", asking("C11", "GET", "/v1/messages?box=sent")),
    Operation("page of what was received, nothing", asking(QUIET, "GET", "/v1/messages?box=received")),
    Operation("page of what was sent, nothing", asking(QUIET, "GET", "/v1/messages?box=sent")),
    Operation("page by kind, none there", asking("C11", "GET", "/v1/messages?box=received&kind=seizure")),
    Operation("page by identifier", asking("C11", "GET", "/v1/messages?box=received&identifier=MSCU0000077")),
    Operation("own queues", asking("C04", "GET", "/v1/queues")),
    Operation("own queues, stuck", asking("P3", "GET", "/v1/queues")),
    Operation("index of a queue", asking("C11", "GET", "/v1/queues/desk/deliveries?after=1000&limit=100")),
    Operation("preview", asking("C11", "POST", "/v1/subscriptions/preview", {"filter": {}})),
    Operation("operators: queues", asking("operator:ana", "GET", "/v1/admin/queues")),
    Operation("operators: dead letters", asking("operator:ana", "GET", "/v1/admin/dead-letters")),
    Operation("operators: outbox", asking("operator:ana", "GET", "/v1/admin/outbox")),
    Operation("operators: deliveries of a member", asking("operator:ana", "GET", "/v1/admin/deliveries?member=C04")),
    Operation(
        "operators: settled of a member", asking("operator:ana", "GET", "/v1/admin/deliveries?member=C11&state=settled")
    ),
    Operation("operators: published", asking("operator:ana", "GET", "/v1/admin/deliveries?state=published")),
]


@operation("page since an hour")
async def page_since(w: World) -> Call:
    since = text(w.r.clock() - timedelta(hours=1))
    return await asking("C11", "GET", f"/v1/messages?box=received&since={since}")(w)


async def _received(w: World) -> str:
    shown = (await w.r.call("C11", "GET", "/v1/messages?box=received&limit=50")).json()["messages"]
    return str(shown[-1]["address"])


@operation("get a message")
async def get_message(w: World) -> Call:
    return await asking("C11", "GET", f"/v1/messages/{await _received(w)}")(w)


@operation("who has it")
async def who_has_it(w: World) -> Call:
    address = await _received(w)
    return await asking(address.partition(":")[0], "GET", f"/v1/messages/{address}/deliveries")(w)


@operation("count the outbox")
async def count_outbox(w: World) -> Call:
    async def call() -> None:
        async with w.r.hub.ledger.reading() as c:
            await wire.outbox(c)

    return call


# ── rights that are lost, and replay ──


def _leaving(member: str) -> Callable[[World], Awaitable[Call]]:
    async def prepare(w: World) -> Call:
        ledger = w.r.hub.ledger
        if member not in (await administer.snapshot(ledger)).groups["regional"].members:
            await administer.join(ledger, "regional", member, w.r.clock())
        return lambda: administer.leave(ledger, "regional", member, w.r.clock())

    return prepare


def _coming_back(member: str) -> Callable[[World], Awaitable[Call]]:
    async def prepare(w: World) -> Call:
        await administer.set_active(w.r.hub.ledger, member, False, w.r.clock())
        return lambda: administer.set_active(w.r.hub.ledger, member, True, w.r.clock())

    return prepare


OPERATIONS += [
    Operation("leave a group, by lease", _leaving(REGIONAL[3])),
    Operation("leave a group, never acknowledged", _leaving(REGIONAL[4])),
    Operation("active again, never acknowledged", _coming_back("C12")),
    Operation("active again, never asked", _coming_back(MEMBERS[STUCK_PULL])),
    Operation("replay one message", asking("C09", "POST", "/v1/queues/desk/replay", {"message": "C04:2026-00000000"})),
]


@operation("suspend")
async def suspend(w: World) -> Call:
    await administer.set_active(w.r.hub.ledger, "P0", True, w.r.clock())
    return lambda: administer.set_active(w.r.hub.ledger, "P0", False, w.r.clock())


@operation("replay an hour", once=True)
async def replay_an_hour(w: World) -> Call:
    since = text(w.r.clock() - timedelta(hours=1))
    return await asking("C15", "POST", "/v1/queues/desk/replay", {"since": since})(w)


@operation("replay the last 100", once=True)
async def replay_last(w: World) -> Call:
    queues = (await w.r.call("C17", "GET", "/v1/queues")).json()["queues"]
    last = next(q["last_sequence"] for q in queues if q["name"] == "desk")
    return await asking("C17", "POST", "/v1/queues/desk/replay", {"sequence": max(1, last - 100)})(w)


@operation("lost queue, seen empty an hour ago", once=True)
async def lost(w: World) -> Call:
    queue, hub = await queue_of(w, "C16"), w.r.hub

    async def call() -> None:
        async with hub.ledger.accepting() as c:
            await wire.lost(c, queue, hub.now() - timedelta(hours=1), hub.now())

    return call


@operation("remove a subscription", once=True)
async def remove(w: World) -> Call:
    ledger = w.r.hub.ledger

    async def call() -> None:
        await administer.unsubscribe(ledger, "C19", "desk", w.r.clock())
        await administer.subscribe(ledger, "C19", "desk", "pull", {}, w.r.clock(), wire=True)

    return call
