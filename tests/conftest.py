"""Fixtures for everybody: real ledgers of one's own, and a region on each kind of them."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.ledger import migrate
from broker.logs import configure
from tests.engines import drop_database, fresh_database, summary_lines
from tests.region import Region, region

IN_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 4_000_000_000

pytest_plugins = ["tests.engines"]
if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > NEEDED_BYTES:
    tempfile.tempdir = str(IN_MEMORY)  # processes are killed here, not machines: nothing need wait for a disk
configure("json")


_said: set[str] = set()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of a parallel run hands its engine lines to the process that prints the summary."""
    _said.update(summary_lines())
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["engines"] = sorted(_said)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "acceptance" in item.path.parts:
            item.add_marker(pytest.mark.long)


def pytest_collection_finish() -> None:
    """Modules, schemas and items live as long as the run: to look through them each time would stop everything for a
    quarter of a second."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated ledger, to be copied: migrating anew for each test costs as much as most tests."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    await migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
async def postgres_template(postgres_server: str) -> AsyncIterator[str]:
    """The same on PostgreSQL; nobody stays connected to it."""
    url = await fresh_database(postgres_server)
    await migrate.upgrade(url)
    yield url
    await drop_database(url)


@pytest.fixture
async def sqlite_here(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Region]:
    """A region on SQLite alone, for what does not depend on the ledger."""
    async with region(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'ledger.sqlite')}", migrated=True) as r:
        yield r


@pytest.fixture
async def postgres_here(postgres_server: str, postgres_template: str) -> AsyncIterator[Region]:
    """A region on PostgreSQL alone, for transactions that meet."""
    url = await fresh_database(postgres_server, template=postgres_template)
    try:
        async with region(url, migrated=True) as r:
            yield r
    finally:
        await drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def here(request: pytest.FixtureRequest) -> Region:
    """A region, once on SQLite and once on PostgreSQL: the same tests hold on both."""
    r: Region = request.getfixturevalue("sqlite_here" if request.param == "sqlite" else "postgres_here")
    return r
