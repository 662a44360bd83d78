"""Receiving: one lease (`pull`), a queue for good over AMQP or HTTPS (`consume`), and the member that echoes (`echo`)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from broker.commands import options
from broker.commands.speak import REFUSED, answer, clean, in_json, note, say, table

if TYPE_CHECKING:
    from broker.client import Client, Delivery
    from broker.consume import Consumed

BATCH = 20
WAIT_SECONDS = 20
LATER_SECONDS = 60
"""A message whose key is not in the directory is offered again after this: it may have been enrolled a moment ago."""
AWAY_SECONDS = (2.0, 30.0)

Amqp = Annotated[
    str | None,
    typer.Option(
        "--amqp-url", envvar="TIDEWAITER_AMQP", help="amqps://host, for a queue of delivery amqp; or TIDEWAITER_AMQP."
    ),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream", help="Over HTTPS by one request that stays open; of itself where the queue's delivery is stream."
    ),
]
Acknowledge = Annotated[str | None, typer.Option("--acknowledge", help="Sign an acknowledgement: received, read ...")]


async def work_off(
    client: Client,
    queue: str,
    handle: Callable[[Delivery], Awaitable[dict[str, Any]]],
    *,
    once: bool,
    lease_seconds: int = 120,
) -> None:
    """Lease, handle and settle until the queue is empty (`once`) or for ever; a hub that is away is waited for."""
    from broker.door import Unreachable

    pause = AWAY_SECONDS[0]
    while True:
        try:
            deliveries = await client.lease(queue, BATCH, lease_seconds, 0 if once else WAIT_SECONDS)
            if deliveries:
                await _work_through(client, queue, deliveries, handle, lease_seconds)
            elif once:
                return
            pause = AWAY_SECONDS[0]
        except Unreachable as error:
            if once:
                raise
            note(f"{clean(error)}: trying again")
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter, not a secret
            pause = min(2 * pause, AWAY_SECONDS[1])


async def _work_through(
    client: Client,
    queue: str,
    deliveries: Sequence[Delivery],
    handle: Callable[[Delivery], Awaitable[dict[str, Any]]],
    lease_seconds: int,
) -> None:
    """Handle each and settle them together. Whenever half of the lease is over, what is done is settled and the rest is
    kept for longer: a slow disk must not have everything come again until it is given up."""
    now = asyncio.get_running_loop().time
    done: list[dict[str, Any]] = []
    half = now() + lease_seconds / 2
    for place, delivery in enumerate(deliveries, start=1):
        done.append(await handle(delivery))
        if place == len(deliveries) or now() >= half:
            await settle(client, queue, done)
            done = []
            if rest := deliveries[place:]:
                await client.extend(queue, rest, lease_seconds)
            half = now() + lease_seconds / 2


async def follow(
    client: Client, queue: str, handle: Callable[[Delivery], Awaitable[dict[str, Any]]], *, lease_seconds: int = 120
) -> None:
    """Have the queue streamed, and handle and settle each delivery as it comes, for ever."""
    from contextlib import aclosing

    from broker.door import Unreachable

    def told(text: str) -> None:
        note(f"{clean(text)}: trying again")

    async with aclosing(client.stream(queue, BATCH, lease_seconds, told=told)) as deliveries:
        async for delivery in deliveries:
            try:
                await settle(client, queue, [await handle(delivery)])
            except Unreachable as error:
                note(f"{clean(error)}: {clean(delivery.delivery_id)} comes again when its lease ends")


async def settle(client: Client, queue: str, settlements: Sequence[dict[str, Any]]) -> bool:
    """Settle; an acknowledgement that a later one has overtaken is left out. False if something was not settled."""
    answers = await client.settle(queue, settlements)
    overtaken = [
        {name: value for name, value in settlement.items() if name != "acknowledgement"}
        for settlement, said in zip(settlements, answers, strict=True)
        if said.get("problem", {}).get("code") == "state-moves-back"
    ]
    if overtaken:
        again = await client.settle(queue, overtaken)
        answers = [a for a in answers if a.get("problem", {}).get("code") != "state-moves-back"] + again
    failed = [said for said in answers if said["status"] != 200]
    for said in failed:
        problem = said.get("problem", {})
        note(f"not settled: {clean(problem.get('title', said['status']))} {clean(problem.get('detail', ''))}")
    return not failed


async def acknowledge_leniently(client: Client, compact: str, state: str) -> None:
    """Acknowledge a message received over AMQP; a later acknowledgement that stands already is as good."""
    from broker import jws
    from broker.door import Problem

    header = jws.claims(jws.read(compact.encode("ascii", "replace"), typ=jws.TYP_MESSAGE))["header"]
    try:
        await client.acknowledge(f"{header['originator']}:{header['id']}", jws.digest(compact), state)
    except Problem as problem:
        if problem.code != "state-moves-back":
            raise


def pull(
    queue: Annotated[str, typer.Argument(metavar="QUEUE")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = BATCH,
    wait: Annotated[float, typer.Option("--wait", min=0, max=30, help="Seconds to wait for the first one.")] = 0,
    accept: Annotated[
        bool | None, typer.Option("--accept/--release", help="Settle them, or give them back (the default: a look).")
    ] = None,
    acknowledge: Acknowledge = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Lease once, verify, print, and settle. --acknowledge implies --accept."""
    if acknowledge and accept is False:
        raise options.Usage("--acknowledge goes with --accept only: who gives it back does not have it.")
    keeping = bool(accept) or acknowledge is not None

    async def work() -> bool:
        from broker import client as sdk
        from broker.errors import BrokerError

        async with options.client_of(url, member, key) as client:
            rows, settlements = [], []
            for delivery in await client.lease(queue, limit, wait_seconds=wait):
                try:
                    payload, believed = await client.believe(delivery.message), "yes"
                except BrokerError as error:
                    payload, believed = {}, f"NO: {error.rule}"
                rows.append(_row(delivery, payload, believed))
                if keeping and believed == "yes":
                    settlements.append(
                        sdk.accept(
                            delivery, client.acknowledgement(delivery.message, acknowledge) if acknowledge else None
                        )
                    )
                else:
                    settlements.append(sdk.release(delivery))
            columns = ("sequence", "address", "kind", "tlp", "duties", "rule", "round", "count", "verified")
            answer({"deliveries": rows}, table(rows, columns, empty="the queue is empty"), as_json)
            _flush()
            settled = await settle(client, queue, settlements) if settlements else True
            return settled and all(row["verified"] == "yes" for row in rows)

    if not options.run(work()):
        raise typer.Exit(REFUSED)
    if not keeping and not as_json:
        note("Given back; --accept settles them, --acknowledge STATE confirms them as well.")


def _row(delivery: Delivery, payload: dict[str, Any], believed: str) -> dict[str, Any]:
    header = payload.get("header", {})
    return {
        "sequence": delivery.sequence,
        "address": f"{header['originator']}:{header['id']}" if header else None,
        "kind": header.get("kind"),
        "tlp": header.get("handling", {}).get("tlp"),
        "duties": list(delivery.duties),
        "rule": delivery.rule,
        "round": delivery.round,
        "count": delivery.count,
        "accepted_at": delivery.accepted_at,
        "verified": believed,
        "message": delivery.message,
        "payload": payload,
    }


def _flush() -> None:
    import sys

    sys.stdout.flush()  # what was printed is out before anything is settled


async def way_of(
    client: Client, queue: str, amqp_url: str | None, *, stream: bool, once: bool
) -> tuple[Literal["amqp", "stream", "lease"], str]:
    """How a queue is received, and where its RabbitMQ is. Raises Usage."""
    if stream and once:
        raise options.Usage("--stream does not end: --once goes with leases alone.")
    own = next((one for one in await client.queues() if one["name"] == queue), {})
    if own.get("amqp_name"):
        if amqp_url is None:
            raise options.Usage(f"{queue} is a queue in RabbitMQ: give its address with --amqp-url.")
        return "amqp", amqp_url
    return ("stream" if stream or (own.get("delivery") == "stream" and not once) else "lease"), ""


async def over_amqp(
    client: Client, amqp_url: str, queue: str, handle: Callable[[Consumed], Awaitable[str]], acknowledge: str | None,
    limit: int | None = None,
) -> None:  # fmt: skip
    """Consume for ever (or `limit` deliveries); `handle` answers accept, release or reject. A hub that is away is waited for."""
    from contextlib import aclosing

    from broker import consume as wire
    from broker.door import Unreachable

    seen, number = wire.Seen(), 0
    name = await wire.amqp_name(client, queue)
    async with aclosing(wire.consume(client, amqp_url, name, told=lambda text: note(clean(text)))) as deliveries:
        async for delivery in deliveries:
            try:
                outcome = "accept" if delivery.key in seen else await handle(delivery)
                if outcome == "accept" and acknowledge:
                    await acknowledge_leniently(client, delivery.compact, acknowledge)
            except Unreachable as error:
                note(f"{clean(error)}: trying again")
                await asyncio.sleep(AWAY_SECONDS[0])
                outcome = "release"
            if outcome == "accept":
                number += delivery.key not in seen
                seen.add(delivery.key)
                await delivery.ack()
            else:
                note(f"{clean(delivery.address)}: {outcome}")
                await (delivery.requeue() if outcome == "release" else delivery.reject())
            if limit is not None and number >= limit:
                return


def consume(
    queue: Annotated[str, typer.Argument(metavar="QUEUE")],
    amqp_url: Amqp = None,
    acknowledge: Acknowledge = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Over AMQP, stop after so many.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Over HTTPS, stop when the queue is empty.")] = False,
    stream: Stream = False,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Print each verified delivery as one line of JSON, then settle it. Runs until stopped, over AMQP or HTTPS."""

    async def work() -> None:
        from broker import client as sdk
        from broker.errors import BrokerError

        async with options.client_of(url, member, key) as client:

            async def leased(delivery: Delivery) -> dict[str, Any]:
                try:
                    payload = await client.believe(delivery.message)
                except BrokerError as error:
                    note(f"{delivery.delivery_id}: not believed: {error.rule}")
                    if error.rule == "key-unknown":
                        return sdk.release(delivery, LATER_SECONDS)
                    return sdk.reject(delivery, f"not believed: {error.rule}")
                d = delivery
                _line(d.delivery_id, d.sequence, d.round, d.duties, d.rule, d.message, payload)
                return sdk.accept(
                    delivery, client.acknowledgement(delivery.message, acknowledge) if acknowledge else None
                )

            async def consumed(delivery: Consumed) -> str:
                try:
                    payload = await client.believe(delivery.compact)
                except BrokerError as error:
                    note(f"{clean(delivery.address)}: not believed: {error.rule}")
                    return "release" if error.rule == "key-unknown" else "reject"
                h = delivery.headers
                duties, rule = str(h.get("tw-duties")).split(","), h.get("tw-rule")
                _line(
                    h.get("tw-delivery"),
                    h.get("tw-sequence"),
                    h.get("tw-round"),
                    duties,
                    rule,
                    delivery.compact,
                    payload,
                )
                return "accept"

            way, broker = await way_of(client, queue, amqp_url, stream=stream, once=once)
            if way == "amqp":
                await over_amqp(client, broker, queue, consumed, acknowledge, limit)
            elif way == "stream":
                await follow(client, queue, leased)
            else:
                await work_off(client, queue, leased, once=once)

    options.run(work())


def _line(
    delivery: Any, sequence: Any, round: Any, duties: Sequence[str], rule: Any, message: str, payload: dict[str, Any]
) -> None:
    """One delivery on one line, the same over AMQP and HTTPS; out before anything is settled."""
    header = payload["header"]
    shown = {"address": f"{header['originator']}:{header['id']}", "delivery": delivery, "sequence": sequence, "round": round,
             "duties": list(duties), "rule": rule, "message": message, "payload": payload}  # fmt: skip
    say(in_json(shown))
    _flush()


def echo(
    once: Annotated[bool, typer.Option("--once", help="Stop when the queue is empty.")] = False,
    queue: Annotated[str, typer.Option("--queue")] = "inbox",
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Be ECHO: acknowledge whatever comes as received, and settle it. Runs until stopped."""
    echoed = 0

    async def work() -> None:
        from broker import client as sdk
        from broker.errors import BrokerError

        async with options.client_of(url, member, key) as client:

            async def one(delivery: Delivery) -> dict[str, Any]:
                nonlocal echoed
                try:
                    header = (await client.believe(delivery.message))["header"]
                except BrokerError as error:
                    return sdk.reject(delivery, f"not believed: {error.rule}")
                echoed += 1
                note(f"{clean(header['originator'])}:{clean(header['id'])} {clean(header['kind'])}")
                return sdk.accept(delivery, client.acknowledgement(delivery.message, "received"))

            await work_off(client, queue, one, once=once)

    options.run(work())
    answer({"echoed": echoed}, f"{echoed} acknowledged", as_json)


def add(app: typer.Typer) -> None:
    for name, command in (("pull", pull), ("consume", consume), ("echo", echo)):
        app.command(name)(command)
