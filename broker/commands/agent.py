"""`agent`: a folder in which files become messages and messages become files, for as long as it runs."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import OK, REFUSED, answer, clean, note, say

NOT_WELL = ("refused", "unverified", "unsettled", "left")


def agent(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, as docs/agent.md has it; made if need be.")],
    queue: Annotated[list[str] | None, typer.Option("--queue", metavar="QUEUE", help="To receive; again for more. [inbox]")] = None,
    once: Annotated[bool, typer.Option("--once", help="Do what is there, and end.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.05, help="Seconds between two looks at out/ and acknowledge/.")] = 1,
    unchanged: Annotated[float, typer.Option("--unchanged", min=0, help="Seconds without a change, until a file is taken.")] = 2,
    lease_seconds: Annotated[int, typer.Option("--lease-seconds", min=1, help="For writing twenty messages.")] = 120,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Sign and post the files of a folder, and write what arrives into it. Runs until stopped, a line for each event."""
    queues = list(dict.fromkeys(queue or ["inbox"]))
    settings = {"unchanged_seconds": unchanged, "lease_seconds": lease_seconds}

    async def work() -> dict[str, int]:
        import asyncio
        import signal
        from importlib import import_module

        service = import_module("adapters.folder.agent")  # by name: the broker does not know the adapters
        tell = _for_people if once or not as_json else _for_machines
        async with options.client_of(url, member, key) as client:
            with service.opened(folder, client, queues, tell(note if once else _line), **settings) as parts:
                for number in (signal.SIGTERM, signal.SIGINT):
                    asyncio.get_running_loop().add_signal_handler(number, parts.stopping.set)
                if not once:
                    await service.run(parts, queues, every)
                    return {}
                try:
                    counts: dict[str, int] = await service.once(parts, queues)
                except service.Later as later:
                    raise options.Declined(str(later)) from None
                return counts

    counts = options.run(work())
    if once:
        done = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        answer(counts, done or "nothing to do", as_json)
        raise typer.Exit(REFUSED if any(counts[name] for name in NOT_WELL) else OK)


def _for_people(out: Any) -> Any:
    """Each event as a moment, a word, and what belongs to it."""

    def tell(event: str, facts: dict[str, Any]) -> None:
        told = [(name, _text(value)) for name, value in facts.items() if name != "at" and value not in (None, [], "")]
        out(clean(" ".join([facts["at"], event, *(f"{name}={value}" for name, value in told)])))

    return tell


def _text(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f'"{text}"' if " " in text else text


def _for_machines(out: Any) -> Any:
    """Each event as one line of JSON."""
    return lambda event, facts: out(json.dumps({"at": facts["at"], "event": event} | facts))


def _line(text: str) -> None:
    """What standard output has no letter for is replaced; if it is full or gone, the work goes on without a word."""
    encoding = sys.stdout.encoding
    with suppress(OSError):
        say(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()


def add(app: typer.Typer) -> None:
    app.command("agent")(agent)
