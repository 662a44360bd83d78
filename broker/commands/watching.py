"""`watch`: a queue into a folder. A message is acknowledged and settled only once its files are on disk.

Killed at any point nothing is lost: what was not settled is leased again, and writing the same message again changes
nothing. The files of a message: `<originator>_<id>.jws` the signed octets (written last: where it is, the others are),
`.json` the payload, `.txt` a page to read.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.commands import options, receiving
from broker.commands.speak import answer, clean, note

if TYPE_CHECKING:
    from broker.client import Client, Delivery

TEMPORARY = ".tw-"
STALE_TEMPORARY_SECONDS = 3_600


def write_durably(path: Path, octets: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone; durable once it returns."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}"[:245] + ".part")  # nobody's `*.jws` finds it
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def file_name(payload: dict[str, Any]) -> str | None:
    """`<originator>_<id>`, or None if they are not what they must be: no path is ever made of anything else."""
    import re

    header = payload.get("header")
    originator, id = (header.get("originator"), header.get("id")) if isinstance(header, dict) else (None, None)
    good = isinstance(originator, str) and re.fullmatch(r"hub|[A-Z][A-Z0-9-]{0,31}", originator)
    return f"{originator}_{id}" if good and isinstance(id, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", id) else None


class Refused(Exception):
    """A message that cannot be kept, with the reason for its dead letter."""


def keep(folder: Path, compact: str, payload: dict[str, Any], language: str) -> Path:
    """Write the three files of a verified message; durable once it returns. Raises Refused."""
    import json

    from broker import show

    name = file_name(payload)
    if name is None:
        raise Refused("originator or id cannot be a file name")
    signed = folder / f"{name}.jws"
    if signed.exists() and signed.read_text("ascii", "replace").strip() != compact:
        raise Refused(f"{signed.name} is there with other octets")
    write_durably(folder / f"{name}.json", json.dumps(payload, ensure_ascii=False, indent=2).encode())
    write_durably(folder / f"{name}.txt", (show.page(payload, language) + "\n").encode())
    write_durably(signed, (compact + "\n").encode())
    return signed


def sweep(folder: Path) -> None:
    """Remove what an earlier watch left half written when it was killed."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):  # another watch has just given it its name
            if path.stat().st_mtime < time.time() - STALE_TEMPORARY_SECONDS:
                path.unlink()


def watch(
    queue: Annotated[str, typer.Argument(metavar="QUEUE")],
    into: Annotated[Path, typer.Option("--into", help="The folder; it is made if need be.", metavar="DIR")],
    once: Annotated[bool, typer.Option("--once", help="Stop when the queue is empty.")] = False,
    acknowledge: Annotated[str | None, typer.Option("--acknowledge", help="Sign an acknowledgement: received, read ...")] = None,
    amqp_url: receiving.Amqp = None,
    stream: receiving.Stream = False,
    language: Annotated[str | None, typer.Option("--language", help="Of the pages: en or es.")] = None,
    lease_seconds: Annotated[int, typer.Option("--lease-seconds", min=1, help="For writing twenty messages.")] = 120,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Write each message of a queue into a folder, then settle it. Runs until stopped."""
    from broker.commands.failures import language as of_locale

    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    sweep(into)
    tongue = language or of_locale()
    kept: list[str] = []

    async def work() -> None:
        from broker.client import accept, reject, release
        from broker.errors import BrokerError

        async with options.client_of(url, member, key) as client:

            async def one(compact: str) -> tuple[str, str]:
                """accept, release or reject, and why."""
                try:
                    path = keep(into, compact, await client.believe(compact), tongue)
                except BrokerError as error:
                    return ("release" if error.rule == "key-unknown" else "reject"), f"not believed: {error.rule}"
                except Refused as refused:
                    return "reject", str(refused)
                if once:
                    kept.append(path.name)
                note(path.name)
                return "accept", ""

            async def leased(delivery: Delivery) -> dict[str, Any]:
                outcome, why = await one(delivery.message)
                if outcome == "accept":
                    return accept(
                        delivery, client.acknowledgement(delivery.message, acknowledge) if acknowledge else None
                    )
                note(f"{delivery.delivery_id}: {clean(why)}")
                return release(delivery, receiving.LATER_SECONDS) if outcome == "release" else reject(delivery, why)

            way, broker = await receiving.way_of(client, queue, amqp_url, stream=stream, once=once)
            if way == "amqp":
                await _consume(client, broker, queue, one, acknowledge)
            elif way == "stream":
                await receiving.follow(client, queue, leased, lease_seconds=lease_seconds)
            else:
                await receiving.work_off(client, queue, leased, once=once, lease_seconds=lease_seconds)

    options.run(work())
    answer({"kept": kept}, f"{len(kept)} messages in {into}", as_json)


async def _consume(client: Client, amqp_url: str, queue: str, one: Any, acknowledge: str | None) -> None:
    from broker.commands.receiving import over_amqp

    async def handle(compact: str) -> str:
        outcome, why = await one(compact)
        if why:
            note(clean(why))
        return str(outcome)

    await over_amqp(client, amqp_url, queue, lambda delivery: handle(delivery.compact), acknowledge)


def add(app: typer.Typer) -> None:
    app.command("watch")(watch)
