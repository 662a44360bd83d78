"""Operators: their keys on the ledger, and what they look at over HTTPS. No message content anywhere.

The calls need an operator's key: --member operator:NAME --key FILE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.commands import keys, options, registry
from broker.commands.speak import REFUSED, answer, table

Limit = Annotated[int, typer.Option("--limit", min=1, max=500)]


def operator_add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    file: Annotated[str, typer.Argument(metavar="KEYREQUEST", help="A key request for operator:NAME, or -.")],
    fingerprint: keys.Fingerprint = None,
    as_json: options.Json = False,
) -> None:
    """Enrol an operator's key, once its fingerprint was compared by voice."""
    from broker.members import OPERATOR_PREFIX, read_key_request

    asked = read_key_request(options.read_input(file, keys.REQUEST_BYTES))
    if asked.owner != OPERATOR_PREFIX + name:
        raise options.Usage(f"This request is for {asked.owner}, not for {OPERATOR_PREFIX}{name}.")
    keys.confirm(asked, fingerprint)
    answer(keys.enrol_request(asked), f"{asked.owner} may look after this hub.", as_json)


def operator_list(as_json: options.Json = False) -> None:
    """Operators and their keys."""
    from broker import clock
    from broker.members import OPERATOR_PREFIX

    now = clock.now()
    rows = [
        {"operator": k.owner, "kid": k.kid, "state": k.state(now), "not_before": clock.text(k.not_before)}
        for k in registry.snapshot().keys.values()
        if k.owner.startswith(OPERATOR_PREFIX)
    ]
    answer({"operators": rows}, table(rows, ("operator", "kid", "state", "not_before")), as_json)


def _ask(
    caller: tuple[str | None, str | None, Path | None],
    path: str,
    body: dict[str, Any] | None = None,
    **params: str | int | None,
) -> dict[str, Any]:
    """GET, or POST of `body`, below /v1/admin."""

    async def work() -> dict[str, Any]:
        async with options.client_of(*caller) as client:
            return await client.admin("GET" if body is None else "POST", path, body, **params)

    return options.run(work())


def status(
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False
) -> None:
    """How the hub is: ready or degraded, members, queues, what waits and what is dead."""

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            _, ready = await client.door.call("GET", "/readyz", scope=None)
            members, queues, outbox = [await client.admin("GET", path) for path in ("/members", "/queues", "/outbox")]
        depth: dict[str, int] = {}
        for queue in queues["queues"]:
            for state, number in queue["depth"].items():
                depth[state] = depth.get(state, 0) + number
        active = sum(m["active"] for m in members["members"])
        return {**ready, "members": len(members["members"]), "active": active, "queues": len(queues["queues"]),
                "deliveries": depth, "outbox": outbox}  # fmt: skip

    said = options.run(work())
    lines = [f"{'hub':<12} {said['status']}; ledger {said['ledger']}, wire {said['wire']}"]
    lines.append(f"{'members':<12} {said['members']}, {said['active']} of them active")
    deliveries = ", ".join(f"{n} {state}" for state, n in sorted(said["deliveries"].items())) or "none"
    lines += [f"{'queues':<12} {said['queues']}", f"{'deliveries':<12} {deliveries}"]
    answer(said, "\n".join(lines), as_json)


def queues(
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False
) -> None:
    """Every queue: depth by state, age of the oldest, drained or parked."""
    said = _ask((url, member, key), "/queues")
    columns = ("member", "name", "delivery", "last_sequence", "depth", "oldest_ready_seconds", "draining", "parked")
    answer(said, table(said["queues"], columns), as_json)


_DELIVERY = ("delivery", "member", "message", "kind", "state", "reason", "round", "count", "redrives", "changed_at")


def dead_letters(
    limit: Limit = 100,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """What needs somebody, with its reason."""
    said = _ask((url, member, key), "/dead-letters", limit=limit)
    answer(said, table(said["dead_letters"], _DELIVERY), as_json)


def deliveries(
    of: Annotated[str | None, typer.Option("--of", help="Of this member alone.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="ready, leased, published, settled, dead ...")] = None,
    limit: Limit = 100,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Deliveries by member and state, the latest change first."""
    said = _ask((url, member, key), "/deliveries", member=of, state=state, limit=limit)
    answer(said, table(said["deliveries"], _DELIVERY), as_json)


def redrive(
    delivery: Annotated[list[str], typer.Argument(metavar="DELIVERY...", help="As `operator dead-letters` names them.")],
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Offer dead letters again, at most three times in a round."""
    said = _ask((url, member, key), "/dead-letters/redrive", {"deliveries": delivery})
    answer(said, table(said["deliveries"], ("delivery", "status")), as_json)
    if any(one["status"] != 200 for one in said["deliveries"]):
        raise typer.Exit(REFUSED)


def refusals(
    of: Annotated[str | None, typer.Option("--of", help="Of this member alone.")] = None,
    limit: Limit = 100,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """What was refused although its signature held: member, digest, rule."""
    said = _ask((url, member, key), "/refusals", member=of, limit=limit)
    answer(said, table(said["refusals"], ("at", "member", "code", "rule", "digest")), as_json)


def outbox(
    limit: Limit = 100,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """What waits for RabbitMQ, and what is there without an acknowledgement."""
    said = _ask((url, member, key), "/outbox", limit=limit)
    rows = [{"state": state, **numbers} for state, numbers in said["states"].items()]
    wire = said["wire"]
    head = "No RabbitMQ is configured." if wire is None else "Connected." if wire["connected"] else "RabbitMQ is away."
    answer(said, head + "\n" + table(rows, ("state", "deliveries", "oldest_seconds")), as_json)


def add(app: typer.Typer) -> None:
    operators = typer.Typer(help="Looking after the hub; needs an operator's key.", no_args_is_help=True)
    for name, command in (
        ("add", operator_add), ("list", operator_list), ("status", status), ("queues", queues), ("deliveries", deliveries),
        ("dead-letters", dead_letters), ("redrive", redrive), ("refusals", refusals), ("outbox", outbox),
    ):  # fmt: skip
        operators.command(name)(command)
    app.add_typer(operators, name="operator")
