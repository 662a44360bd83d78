"""Regions that many refusals share: nothing that is refused leaves a trace, so that one hub does for a whole file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.engines import drop_database, fresh_database
from tests.region import Region, region, to


async def populated(r: Region) -> Region:
    """Chile sent CL:a-1 to Peru; Argentina has nothing to do with it. Ana operates."""
    await r.enrol("CL", "PE", "AR", "operator:ana")
    await r.send("CL", "a-1", to("PE"))
    return r


@pytest.fixture
async def fresh(here: Region) -> Region:
    """For a test that changes something; once on each kind of ledger."""
    return await populated(here)


@pytest.fixture
async def anew(sqlite_here: Region) -> Region:
    """For a test that changes something, and does not depend on the ledger."""
    return await populated(sqlite_here)


@pytest.fixture(scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Region]:
    """For what changes nothing and does not depend on the ledger: SQLite, one for the file."""
    async with region(f"sqlite:///{tmp_path_factory.mktemp('alone')}/ledger.sqlite") as r:
        yield await populated(r)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_server(request: pytest.FixtureRequest) -> str | None:
    """URL of the PostgreSQL server, or None for SQLite."""
    return request.getfixturevalue("postgres_server") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
async def shared(shared_server: str | None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Region]:
    """For what changes nothing, on each kind of ledger, one of each for the file."""
    if shared_server is None:
        async with region(f"sqlite:///{tmp_path_factory.mktemp('shared')}/ledger.sqlite") as r:
            yield await populated(r)
        return
    url = await fresh_database(shared_server)
    try:
        async with region(url) as r:
            yield await populated(r)
    finally:
        await drop_database(url)
