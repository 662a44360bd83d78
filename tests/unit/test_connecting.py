"""docs/connecting.md and its Spanish twin: whoever integrates finds every refusal, and the command that tries the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker import errors

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "connecting.md", DOCS / "es" / "conexion.md"]
OURS = {"internal", "wire", "setup"}
"""What the hub says of itself, to whoever runs it."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_refusal_that_a_member_can_get_is_explained(page: Path) -> None:
    """Each code with its status, and none that does not exist."""
    rows = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", page.read_text("utf-8"), re.MULTILINE)
    known: list[type[errors.BrokerError]] = [*errors.BrokerError.__subclasses__(), errors.Held]
    wanted = {(str(error.status), error.code) for error in known}

    assert set(rows) == {(status, code) for status, code in wanted if code not in OURS}
    assert rows == sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_who_connects_is_told_of_the_command_that_tries_the_whole_way(page: Path) -> None:
    """Beside ECHO, which answers it."""
    (section,) = (part for part in page.read_text("utf-8").split("\n## ") if part.startswith("9. ECHO"))

    assert "`tidewaiter doctor --member`" in section
