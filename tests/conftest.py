"""Fixtures for everybody: real ledgers of one's own, and a region on each kind of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.logs import configure
from tests.engines import summary_lines
from tests.region import Region, region

pytest_plugins = ["tests.engines"]
configure("json")


_said: set[str] = set()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of a parallel run hands its engine lines to the process that prints the summary."""
    _said.update(summary_lines())
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["engines"] = sorted(_said)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    _said.update(getattr(node, "workeroutput", {}).get("engines", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in sorted(_said | set(summary_lines())):
        terminalreporter.write_line(line)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger of one's own, empty, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def here(ledger_url: str) -> AsyncIterator[Region]:
    """A region, once on SQLite and once on PostgreSQL: the same tests hold on both."""
    async with region(ledger_url) as r:
        yield r


@pytest.fixture
async def sqlite_here(tmp_path: Path) -> AsyncIterator[Region]:
    """A region on SQLite alone, for what does not depend on the ledger."""
    async with region(f"sqlite:///{tmp_path}/ledger.sqlite") as r:
        yield r


@pytest.fixture
async def postgres_here(postgres_url: str) -> AsyncIterator[Region]:
    """A region on PostgreSQL alone, for transactions that meet."""
    async with region(postgres_url) as r:
        yield r
