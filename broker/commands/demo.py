"""`tidewaiter demo` and `tidewaiter run`."""

from __future__ import annotations

import typer


def add(app: typer.Typer) -> None:
    """Add the two commands."""

    @app.command()
    def demo() -> None:
        """A hub, a region of members, and the story of their messages; ends by itself."""
        from broker.demo.main import main

        raise typer.Exit(main())

    @app.command()
    def run() -> None:
        """As `demo`, and the hub stays running for you to try things on (Ctrl-C ends it)."""
        from broker.demo.main import main

        raise typer.Exit(main(stay=True))
