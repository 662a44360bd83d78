"""Members, groups and subscriptions, changed on the ledger directly, whether or not the hub is running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import answer, table

if TYPE_CHECKING:
    from broker.ledger import Ledger
    from broker.members import Registry

Moment = Annotated[str | None, typer.Option(help="RFC 3339, with offset.", metavar="TIME")]


def change(work: Callable[[Ledger, datetime], Awaitable[Any]]) -> Any:
    """Run one of administer's changes on the ledger; its result."""
    from broker import clock

    async def whole() -> Any:
        ledger = await options.ledger()
        try:
            return await work(ledger, clock.now())
        finally:
            await ledger.close()

    return options.run(whole())


def snapshot() -> Registry:
    from broker import administer

    found: Registry = change(lambda ledger, now: administer.snapshot(ledger))
    return found


# ── members ──


def member_add(
    id: Annotated[str, typer.Argument(metavar="ID", help="Capital letters, digits, hyphens: CL, RILO-SA.")],
    type: Annotated[str, typer.Option("--type", help="customs, rilo, partner or hub.")],
    name: Annotated[str, typer.Option("--name", help="Its full name.")],
    as_json: options.Json = False,
) -> None:
    """Add a member, with its inbox. Its key is enrolled with `key enrol`."""
    from broker import administer

    change(lambda ledger, now: administer.add_member(ledger, id, type, name, now))
    answer({"id": id, "type": type, "name": name}, f"{id} is a member.", as_json)


def member_list(as_json: options.Json = False) -> None:
    """All members."""
    from broker import clock

    found, now = snapshot(), clock.now()
    rows = [
        {"id": m.id, "type": m.type, "name": m.name, "active": m.active,
         "keys": sum(k.owner == m.id and k.state(now) == "active" for k in found.keys.values())}
        for m in sorted(found.members.values(), key=lambda m: m.id)
    ]  # fmt: skip
    answer({"members": rows}, table(rows, ("id", "type", "name", "active", "keys")), as_json)


def member_suspend(id: Annotated[str, typer.Argument(metavar="ID")], as_json: options.Json = False) -> None:
    """Close a member's doors. It keeps its deliveries and is entitled to nothing meanwhile."""
    from broker import administer

    change(lambda ledger, now: administer.set_active(ledger, id, False, now))
    answer({"id": id, "active": False}, f"{id} is suspended.", as_json)


def member_reactivate(id: Annotated[str, typer.Argument(metavar="ID")], as_json: options.Json = False) -> None:
    """Open a suspended member's doors again."""
    from broker import administer

    change(lambda ledger, now: administer.set_active(ledger, id, True, now))
    answer({"id": id, "active": True}, f"{id} is active again.", as_json)


def member_office(
    id: Annotated[str, typer.Argument(metavar="ID")],
    office: Annotated[str | None, typer.Argument(metavar="[OFFICE]", help="A member of type rilo; none, if left out.")] = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Say which liaison office a member reports through: it may know how complete and timely its reports are."""
    from broker import administer

    change(lambda ledger, now: administer.set_office(ledger, id, office, now))
    answer({"id": id, "office": office}, f"{id} reports through {office or 'no office'}.", as_json)


# ── groups ──


def group_add(
    name: str,
    owner: Annotated[str | None, typer.Option("--owner", help="The member that runs it.")] = None,
    starts_at: Moment = None,
    ends_at: Moment = None,
    as_json: options.Json = False,
) -> None:
    """Add a closed user group; with a start or an end it is an operation."""
    from broker import administer

    starts, ends = _moment(starts_at, "starts-at"), _moment(ends_at, "ends-at")
    change(lambda ledger, now: administer.add_group(ledger, name, owner, starts, ends))
    answer({"name": name, "owner": owner}, f"The group {name} is there. Add its members with `group join`.", as_json)


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise options.Usage(
            f"--{option}: “{text}” is not a date and time with offset, such as 2026-11-19T22:10:00-03:00."
        )
    return found.astimezone(UTC)


def group_join(name: str, member: str, as_json: options.Json = False) -> None:
    """Put a member into a group."""
    from broker import administer

    change(lambda ledger, now: administer.join(ledger, name, member, now))
    answer({"group": name, "member": member}, f"{member} is in {name}.", as_json)


def group_leave(name: str, member: str, as_json: options.Json = False) -> None:
    """Take a member out of a group. What only the group let it see, and was not handed over, is revoked."""
    from broker import administer

    change(lambda ledger, now: administer.leave(ledger, name, member, now))
    answer({"group": name, "member": member}, f"{member} has left {name}.", as_json)


def group_list(as_json: options.Json = False) -> None:
    """All groups and who is in them."""
    from broker import clock

    rows = [
        {"name": g.name, "owner": g.owner, "members": sorted(g.members),
         "starts_at": clock.text(g.starts_at) if g.starts_at else None, "ends_at": clock.text(g.ends_at) if g.ends_at else None}
        for g in sorted(snapshot().groups.values(), key=lambda g: g.name)
    ]  # fmt: skip
    answer({"groups": rows}, table(rows, ("name", "owner", "starts_at", "ends_at", "members")), as_json)


# ── subscriptions ──


def subscription_add(
    member: str,
    name: str,
    wanted: Annotated[
        str, typer.Option("--filter", help="JSON, or @file. Everything actual, if left out.", metavar="JSON")
    ] = "{}",
    delivery: Annotated[
        str | None, typer.Option("--delivery", help="amqp or pull; amqp where a RabbitMQ is configured.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Add a subscription for a member, with its queue."""
    from broker import administer

    wire = options.config().amqp_url is not None
    chosen, parsed = delivery or ("amqp" if wire else "pull"), options.json_object(wanted, "--filter")
    made = change(lambda ledger, now: administer.subscribe(ledger, member, name, chosen, parsed, now, wire=wire))
    shown = {"member": member, "name": name, "delivery": chosen, "amqp_name": made.amqp_name}
    answer(shown, f"{member} is subscribed: {name}, by {chosen}.", as_json)


def subscription_list(member: Annotated[str | None, typer.Argument()] = None, as_json: options.Json = False) -> None:
    """Subscriptions, of one member or of all; inboxes included."""
    rows = [
        {"member": s.member, "name": s.name, "delivery": s.delivery, "amqp_name": s.amqp_name}
        for s in sorted(snapshot().queues.values(), key=lambda s: (s.member, s.name))
        if member in (None, s.member)
    ]
    answer({"subscriptions": rows}, table(rows, ("member", "name", "delivery", "amqp_name")), as_json)


def subscription_remove(member: str, name: str, as_json: options.Json = False) -> None:
    """End a subscription. What was not handed over is revoked."""
    from broker import administer

    change(lambda ledger, now: administer.unsubscribe(ledger, member, name, now))
    answer({"member": member, "name": name}, f"{member} is no longer subscribed: {name}.", as_json)


def add(app: typer.Typer) -> None:
    members = typer.Typer(help="Members of this hub.", no_args_is_help=True)
    members.command("add")(member_add)
    members.command("list")(member_list)
    members.command("suspend")(member_suspend)
    members.command("reactivate")(member_reactivate)
    members.command("office")(member_office)
    groups = typer.Typer(help="Closed user groups and operations.", no_args_is_help=True)
    groups.command("add")(group_add)
    groups.command("join")(group_join)
    groups.command("leave")(group_leave)
    groups.command("list")(group_list)
    subscriptions = typer.Typer(help="Members' subscriptions, set up for them.", no_args_is_help=True)
    subscriptions.command("add")(subscription_add)
    subscriptions.command("list")(subscription_list)
    subscriptions.command("remove")(subscription_remove)
    app.add_typer(members, name="member")
    app.add_typer(groups, name="group")
    app.add_typer(subscriptions, name="subscription")
