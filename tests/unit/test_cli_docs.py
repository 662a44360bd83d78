"""docs/commands.md has every command with every option, in the words of --help.

`python -m tests.unit.test_cli_docs` writes the part below the mark anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from broker.cli import OWN_OCCASION, make_app
from broker.commands import speak

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
MARK = "<!-- below:"
SHARED = {"url": "TIDEWAITER_URL", "member": "TIDEWAITER_MEMBER", "key": "TIDEWAITER_KEY", "as_json": None}
"""Described once, at the top of the page."""


def commands() -> dict[str, Any]:
    """Full name → command, in the order of --help; without those of other people's occasion."""
    found: dict[str, Any] = {}

    def walk(name: str, command: Any) -> None:
        for child_name, child in getattr(command, "commands", {}).items():
            walk(f"{name} {child_name}".strip(), child)
        if not hasattr(command, "commands") and f"broker.commands.{OWN_OCCASION[0]}" != command.callback.__module__:
            found[name] = command

    walk("", typer.main.get_command(make_app()))
    return found


def is_shared(parameter: Any) -> bool:
    return (
        parameter.name in SHARED
        and parameter.envvar == SHARED[parameter.name]
        and parameter.param_type_name == "option"
    )


def section(name: str, command: Any) -> str:
    """A command as the page has it."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["tidewaiter", name, *(_argument(p) for p in arguments)])
    lines = [f"### {name}", f"`{usage}`", "", " ".join(command.help.split())]
    rows = [(f"`{_metavar(p)}`", p.help) for p in arguments if p.help]
    rows += [(_option(p), p.help or "") for p in command.params if p.param_type_name == "option" and not is_shared(p)]
    if rows:
        lines += ["", "| | |", "|---|---|", *(f"| {_cell(left)} | {_cell(right)} |" for left, right in rows)]
    return "\n".join(lines) + "\n"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _argument(parameter: Any) -> str:
    return _metavar(parameter) if parameter.required else f"[{_metavar(parameter)}]"


def _option(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else " " + (parameter.metavar or "VALUE")
    return f"`{names}{value}`" + (", needed" if parameter.required else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def test_the_page_has_every_command_in_the_words_of_help() -> None:
    """Neither one that is missing nor one that is gone, nor an old word."""
    written = PAGE.read_text("utf-8").partition(MARK)[2]
    expected = {name: section(name, command) for name, command in commands().items()}
    there = {part.splitlines()[0]: "### " + part for part in written.split("\n### ")[1:]}

    assert there.keys() == expected.keys()
    for name, text in expected.items():
        assert there[name].strip() == text.strip()


def test_every_command_takes_json_and_explains_itself() -> None:
    for name, command in commands().items():
        assert any(p.name == "as_json" for p in command.params), name
        assert command.help, name
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in ("kind", "heading", "limit", "queue"):
                assert parameter.help, (name, parameter.name)


def test_the_page_has_every_exit_code() -> None:
    text = PAGE.read_text("utf-8")

    for code in (speak.OK, speak.REFUSED, speak.USAGE, speak.UNREACHABLE):
        assert f"| {code} |" in text


def sections() -> Iterator[str]:
    for name, command in commands().items():
        yield section(name, command)


if __name__ == "__main__":
    head, mark, rest = PAGE.read_text("utf-8").partition(MARK)
    PAGE.write_text(head + mark + rest.splitlines()[0] + "\n\n" + "\n".join(sections()), "utf-8")
