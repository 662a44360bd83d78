"""`tidewaiter ...`: parses, prints, exits. Heavy modules are imported inside the commands.

Exit codes: 0 done · 1 refused, or a check failed · 2 the call or the set-up is wrong · 3 nobody answered, ask again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import typer

from broker.commands import failures, options

MODULES = (
    "hub", "doctor", "registry", "keys", "messages", "schema", "tables", "agent", "receiving", "watching", "subscriptions",
    "operators",
)  # fmt: skip
OWN_OCCASION = ("demo",)
"""Added when they are there: a wheel may leave them out."""

EPILOG = "Exit codes: 0 done; 1 refused; 2 usage or set-up; 3 the hub is unreachable. Every command takes --json."


def make_app() -> typer.Typer:
    """All commands, in the order of --help."""
    app = typer.Typer(
        name="tidewaiter", help="A secure message broker for customs intelligence.", epilog=EPILOG, no_args_is_help=True,
        rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
    )  # fmt: skip
    for name in MODULES:
        import_module(f"broker.commands.{name}").add(app)
    for name in OWN_OCCASION:
        if find_spec(f"broker.commands.{name}") is not None:
            import_module(f"broker.commands.{name}").add(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    asked = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in asked
    try:
        code = make_app()(args=asked, prog_name="tidewaiter", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:  # an unknown option, a missing argument; or no argument at all: the help
        text = error.format_message()
        if text.startswith("Usage:"):
            sys.stderr.write(text + "\n")
            return 2
        return failures.usage(text, as_json=as_json)
    except options.Usage as error:
        return failures.usage(str(error), as_json=as_json)
    except options.Declined as error:
        return failures.declined(str(error), as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has enough
        return 0
    except Exception as error:
        return failures.report(error, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
