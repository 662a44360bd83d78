"""A member's own subscriptions and queues, over HTTPS."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import answer, clean, table

Filter = Annotated[
    str, typer.Option("--filter", help="JSON, or @file. Everything actual, if left out.", metavar="JSON")
]


def subscribe(
    name: str,
    wanted: Filter = "{}",
    delivery: Annotated[str | None, typer.Option("--delivery", help="amqp, pull or stream; by default as the hub is set up.")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Subscribe: a filter, and a queue of what it matches from now on. A name that is there gets the new filter."""
    from broker.door import Problem

    parsed = options.json_object(wanted, "--filter")

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            try:
                return await client.subscribe(name, parsed, delivery)
            except Problem as problem:
                if problem.code != "already-there":
                    raise
            own = {s["name"]: s for s in await client.subscriptions()}
            if delivery not in (None, own.get(name, {}).get("delivery")):
                raise options.Declined(f"{name} is there with another delivery: unsubscribe first.")
            return own[name] | await client.change_filter(name, parsed)

    made = options.run(work())
    answer(made, f"{clean(made['name'])}: by {clean(made.get('delivery'))}", as_json)


def unsubscribe(
    name: str,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """End a subscription of yours. What waits in its queue is given up."""

    async def work() -> None:
        async with options.client_of(url, member, key) as client:
            await client.unsubscribe(name)

    options.run(work())
    answer({"name": name}, f"{clean(name)} has ended.", as_json)


def list_(
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False
) -> None:
    """Your subscriptions and their filters."""
    import json

    async def work() -> list[dict[str, Any]]:
        async with options.client_of(url, member, key) as client:
            return await client.subscriptions()

    found = options.run(work())
    rows = [{**s, "filter": json.dumps(s["filter"], ensure_ascii=False)} for s in found]
    answer({"subscriptions": found}, table(rows, ("name", "delivery", "filter")), as_json)


def preview(
    wanted: Filter = "{}",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """What a filter would have matched among what you may see."""
    parsed = options.json_object(wanted, "--filter")

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            return await client.preview(parsed, limit)

    said = options.run(work())
    text = table(said["matches"], ("address", "kind", "accepted_at", "rule", "clause"), empty="no match")
    answer(said, f"{text}\n{said['examined']} messages examined", as_json)


def queues(
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False
) -> None:
    """Your queues: depth by state, the oldest that waits, the name in RabbitMQ."""

    async def work() -> list[dict[str, Any]]:
        async with options.client_of(url, member, key) as client:
            return await client.queues()

    rows = options.run(work())
    answer(
        {"queues": rows},
        table(rows, ("name", "delivery", "last_sequence", "depth", "oldest_ready", "amqp_name")),
        as_json,
    )


def index(
    queue: str,
    after: Annotated[int, typer.Option("--after", min=0, help="From the sequence after this one.")] = 0,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """The index of a queue of yours: every sequence with its message and state, tombstones and dead letters included."""

    async def work() -> list[dict[str, Any]]:
        async with options.client_of(url, member, key) as client:
            return [delivery async for delivery in client.index(queue, after)]

    rows = options.run(work())
    columns = ("sequence", "state", "message", "kind", "duties", "rule", "round", "count", "reason")
    answer({"deliveries": rows}, table(rows, columns), as_json)


def replay(
    queue: str,
    since: Annotated[str | None, typer.Option("--since", help="RFC 3339, with offset.", metavar="TIME")] = None,
    sequence: Annotated[int | None, typer.Option("--sequence", min=1, help="From this one on.")] = None,
    message: Annotated[str | None, typer.Option("--message", help="This address alone.", metavar="ADDRESS")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Have deliveries of a queue of yours again, under today's rights."""
    if sum(wanted is not None for wanted in (since, sequence, message)) != 1:
        raise options.Usage("One of --since, --sequence and --message says from where.")

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            return await client.replay(queue, since=since, sequence=sequence, message=message)

    said = options.run(work())
    replayed = said["replayed"] if isinstance(said["replayed"], int) else len(said["replayed"])
    text = f"{replayed} are offered again."
    if said["skipped"]:
        text += "\nSkipped:\n" + table(said["skipped"], ("sequence", "state"))
    answer(said, text, as_json)


def add(app: typer.Typer) -> None:
    for name, command in (
        ("subscribe", subscribe), ("unsubscribe", unsubscribe), ("subscriptions", list_), ("preview", preview),
        ("queues", queues), ("index", index), ("replay", replay),
    ):  # fmt: skip
        app.command(name)(command)
