"""`make demo` and `make run`: the stage, the region, the story; then the end, or a hub to try things on."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from broker.demo.engines import NOT_AS_NEEDED, Stage, echo, stage
from broker.demo.region import enrol_everybody
from broker.demo.story import tell
from broker.errors import BrokerError
from broker.phrases import render

PORT = 8700


def say(line: str) -> None:
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


async def demo(folder: Path, *, stay: bool) -> bool:
    """True if all was as promised. `stay`: leave everything running until interrupted."""
    async with stage(folder, port=PORT if stay else None) as here:
        where = f"Ledger: SQLite ({here.folder.name}/hub/ledger.sqlite). Wire: "
        say(where + (here.wire or f"none, everybody pulls over HTTPS: {here.why}."))
        if here.wire is None:
            say(
                "Not shown: delivery through RabbitMQ. Install rabbitmq-server (or set TIDEWAITER_AMQP_URL) and do it again."
            )
        elif here.why.startswith(NOT_AS_NEEDED):
            say(f"({here.why}; a private node was started instead.)")
        fingerprints = await enrol_everybody(here)
        async with echo(here):
            good = await tell(here, say, fingerprints)
            say("")
            say("Everything was as promised." if good else "NOT everything was as promised.")
            if stay:
                await _stay(here)
        return good


async def _stay(here: Stage) -> None:
    say(f"\nThe hub is running at {here.url}; stop it with Ctrl-C. In another terminal, from this folder:")
    say(f"  export TIDEWAITER_URL={here.url} TIDEWAITER_MEMBER=CL TIDEWAITER_KEY={here.keys / 'CL.pem'}")
    for command in (
        "messages --box received",
        "check schemas/examples/09-cl-precursor-acetic-anhydride.json",
        'preview --filter \'{"any": [{"heading": ["tobacco"]}]}\'',
        "show CL:2026-000118",
        "audience CL:2026-000118",
    ):
        say(f"  .venv/bin/tidewaiter {command}")
    say("As an operator:")
    say(f"  .venv/bin/tidewaiter operator queues --member operator:demo --key {here.keys / 'operator-demo.pem'}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def main(*, stay: bool = False, folder: Path = Path("var/demo")) -> int:
    """The exit code: 0 as promised, 1 not so, 2 could not start."""
    try:
        return 0 if asyncio.run(demo(folder.absolute(), stay=stay)) else 1
    except BrokerError as error:
        say(f"{render('title.' + error.code, 'en')} {error.detail or ''}")
        for fault in error.faults:
            say(
                f"  {fault.pointer} {render('rule.' + fault.rule, 'en', found=fault.found, allowed=fault.allowed, **fault.more)}"
            )
        return 2


if __name__ == "__main__":
    raise SystemExit(main(stay="--stay" in sys.argv))
