"""Messages: checked, signed, submitted, read, acknowledged; and the evidence about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import OK, REFUSED, answer, clean, colour, note, say, table

MESSAGE_BYTES = 262_144
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="originator:id")]
State = Annotated[str, typer.Option("--state", help="received, read, acted or refused.")]


def token(
    scope: Annotated[str | None, typer.Option("--scope", help="api, amqp or (operators) admin.")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Print an access token. It is a password for fifteen minutes: keep it out of logs and command lines."""

    async def work() -> str:
        async with options.client_of(url, member, key) as client:
            return await client.token(scope or client.door.scope)

    granted = options.run(work())
    answer({"access_token": granted}, granted, as_json)


def sign(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A payload in JSON, or -.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to; standard output, if left out.")] = None,
    key: options.KeyFile = None,
    as_json: options.Json = False,
) -> None:
    """Sign a payload, octet for octet, as a message (compact JWS). Works without network."""
    from broker import client, jws, strictjson

    payload = options.read_input(file, MESSAGE_BYTES).strip()
    strictjson.parse_object(payload, max_bytes=MESSAGE_BYTES)
    compact = client.sign(payload, options.load_key(options.given(key, "key")))
    if out is not None:
        out.write_text(compact + "\n", "ascii")
        answer({"file": str(out), "digest": jws.digest(compact)}, f"{out}", as_json)
    else:
        answer({"message": compact, "digest": jws.digest(compact)}, compact, as_json)


def show(
    what: Annotated[str, typer.Argument(metavar="FILE|ADDRESS", help="A message (.jws, .json) on disk or at the hub, or -.")],
    language: options.Language = None,
    html: Annotated[bool, typer.Option("--html", help="As one page of HTML, to print or pass on.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to; standard output, if left out.")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """A message as a page to read, its marking on top and bottom. A file's signature is not checked here: see `verify`."""
    from broker import show as pages

    found = None
    if what == "-" or Path(what).exists() or ":" not in what:
        payload = pages.read_payload(options.read_input(what, MESSAGE_BYTES))
    else:

        async def work() -> tuple[dict[str, Any], dict[str, Any]]:
            async with options.client_of(url, member, key) as client:
                found = await client.get(what)
                return found, await client.believe(found["message"])

        found, payload = options.run(work())
    tongue = options.tongue(language)
    if as_json:
        answer(payload, "", True)
        return
    painted = colour() and out is None
    shown = (
        pages.document(payload, tongue, answer=found)
        if html
        else pages.page(payload, tongue, answer=found, colour=painted)
    )
    if out is None:
        say(shown.rstrip("\n"))
    else:
        out.write_text(shown.rstrip("\n") + "\n", "utf-8")
        note(f"{out}")


def ack(
    address: Address,
    state: State,
    reason: Annotated[str | None, typer.Option("--reason", help="Needed for refused.")] = None,
    digest: Annotated[str | None, typer.Option("--digest", help="Of the message as received; fetched if left out.")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Post your signed acknowledgement of a message."""

    async def work() -> dict[str, Any]:
        from broker import jws

        async with options.client_of(url, member, key) as client:
            own = digest
            if own is None:
                compact = (await client.get(address))["message"]
                await client.believe(compact)
                own = jws.digest(compact)
            return await client.acknowledge(address, own, state, reason)

    said = options.run(work())
    answer(said, f"{clean(said['message'])}: {clean(said['state'])} at {clean(said['at'])}", as_json)


def verify(
    receipt_file: Annotated[str, typer.Argument(metavar="RECEIPT")],
    message_file: Annotated[str, typer.Argument(metavar="MESSAGE", help="The signed message (.jws).")],
    keys: Annotated[Path, typer.Option("--keys", help="A directory, as `tidewaiter directory` saved it.")],
    audience_file: Annotated[
        Path | None, typer.Option("--audience", help="What `tidewaiter audience ADDRESS --json` said.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check a receipt and its message without network. One line a check; 1 if any of them fails."""
    from broker import offline

    found = offline.read_directory(options.read_input(str(keys), offline.MAX_DIRECTORY_BYTES))
    receipt_octets = offline.unwrap_receipt(options.read_input(receipt_file, MESSAGE_BYTES))
    checks = offline.verify_receipt(receipt_octets, options.read_input(message_file, MESSAGE_BYTES), found)
    if audience_file is not None:
        checks.append(offline.audience_check(receipt_octets, options.read_input(str(audience_file), MESSAGE_BYTES)))
    shown = [{"check": c.name, "holds": c.holds, "found": c.found} for c in checks]
    holds = all(c.holds for c in checks)
    text = "\n".join(f"{'ok  ' if c.holds else 'FAIL'}  {c.name}: {clean(c.found)}" for c in checks)
    answer({"holds": holds, "checks": shown}, text, as_json)
    raise typer.Exit(OK if holds else REFUSED)


def directory(
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to; standard output, if left out.")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Members and their public keys, in JSON. Save it: `verify --keys` works from it."""
    import json

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            return await client.members()

    said = options.run(work())
    if out is None:
        answer(said, "", True)
        return
    out.write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", "utf-8")
    answer({"file": str(out), "members": len(said["members"])}, f"{out}: {len(said['members'])} members", as_json)


def receipt(
    address: Address,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Print the hub's receipt of a message (compact JWS)."""

    async def work() -> Any:
        async with options.client_of(url, member, key) as client:
            return await client.receipt(address)

    said = options.run(work())
    answer({"receipt": said.compact, "message": said.message, "accepted_at": said.accepted_at}, said.compact, as_json)


def messages(
    box: Annotated[str, typer.Option("--box", help="received or sent.")] = "received",
    kind: Annotated[str | None, typer.Option("--kind")] = None,
    heading: Annotated[str | None, typer.Option("--heading")] = None,
    since: Annotated[str | None, typer.Option("--since", help="RFC 3339, with offset.", metavar="TIME")] = None,
    identifier: Annotated[str | None, typer.Option("--identifier", help="A container, a vessel, a document number ...")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """What you sent, or are entitled to, newest first."""

    async def work() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with options.client_of(url, member, key) as client:
            wanted = {
                "kind": kind,
                "heading": heading,
                "since": since,
                "identifier": identifier,
                "limit": min(limit, 200),
            }
            async for message in client.messages(box, **wanted):
                found.append(message)
                if len(found) == limit:
                    break
        return found

    rows = options.run(work())
    columns = ("address", "kind", "tlp", "status", "heading", "state", "accepted_at")
    answer({"messages": rows}, table(rows, columns), as_json)


def deliveries(
    address: Address,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Who has your message, and who has confirmed it."""

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            return await client.deliveries(address)

    said = options.run(work())
    rows = [
        {**one, "confirmed": (one["acknowledgements"] or [{"state": None}])[-1]["state"]} for one in said["recipients"]
    ]
    answer(said, table(rows, ("member", "rule", "duties", "state", "handed_over", "confirmed", "changed_at")), as_json)


def audience(
    address: Address,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Who is entitled to your message, and by which rule."""

    async def work() -> dict[str, Any]:
        async with options.client_of(url, member, key) as client:
            return await client.audience(address)

    said = options.run(work())
    answer(said, table(said["members"], ("member", "rule", "delivery")), as_json)


def add(app: typer.Typer) -> None:
    from broker.commands import checking, submitting

    for name, command in (
        ("token", token), ("check", checking.check), ("sign", sign), ("submit", submitting.submit), ("show", show), ("ack", ack),
        ("messages", messages), ("deliveries", deliveries), ("audience", audience), ("receipt", receipt),
        ("directory", directory), ("verify", verify),
    ):  # fmt: skip
        app.command(name)(command)
