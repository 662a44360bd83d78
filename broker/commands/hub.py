"""The hub itself: set it up, bring its ledger up to date, serve, and ask whether it is well."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from broker.commands import options
from broker.commands.speak import UNREACHABLE, answer, note

HEALTH_SECONDS = 4
Only = Annotated[
    Literal["gateway", "relay"] | None,
    typer.Option(help="A gateway without relay, or a relay without gateway; any number of both share one PostgreSQL."),
]


def init(as_json: options.Json = False) -> None:
    """Make the hub's folder, key and ledger, and the hub itself a member. Safe to repeat."""
    from broker import app

    config = options.config()
    options.run(app.init(config))
    answer({"home": str(config.home)}, f"The hub in {config.home} is set up.", as_json)


def migrate(as_json: options.Json = False) -> None:
    """Bring the ledger's schema to what this version needs. Forward only."""
    from broker import app

    options.run(app.migrate(options.config()))
    answer({"migrated": True}, "The ledger is up to date.", as_json)


def serve(only: Only = None, as_json: options.Json = False) -> None:
    """Serve until told to stop (SIGTERM, SIGINT). Settings come from the environment."""
    import asyncio
    import sys

    from broker import app

    if sys.platform == "win32":
        loop = None
    else:
        from uvloop import new_event_loop as loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(app.serve(options.config(), only))


def health(as_json: options.Json = False) -> None:
    """Ask the hub on this machine whether it is ready. For a container's HEALTHCHECK."""
    import json
    import urllib.error
    import urllib.request

    config = options.config()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}.get(config.host, config.host)  # noqa: S104 - read, not bound
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{config.port}/readyz", timeout=HEALTH_SECONDS) as response:
            said = json.load(response)
    except (OSError, ValueError, urllib.error.URLError) as error:
        note(f"The hub on {host}:{config.port} is not ready: {error}")
        raise typer.Exit(UNREACHABLE) from None
    answer(said, ", ".join(f"{name} {value}" for name, value in said.items()), as_json)


def add(app: typer.Typer) -> None:
    app.command("init")(init)
    app.command("migrate")(migrate)
    app.command("serve")(serve)
    app.command("health")(health)
