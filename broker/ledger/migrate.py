"""Migrations (Alembic), shipped with the package. One way only: forward."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import BrokerError, Fault, SetupRefused
from broker.ledger.core import Ledger, open_ledger

FOLDER = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`, in one transaction. Does nothing if it is there already."""

    def run(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    ledger = open_ledger(url)
    try:
        async with ledger.writing.begin() as c:
            await c.run_sync(run)
    finally:
        await ledger.close()


@cache
def newest() -> str:
    """The revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def revision(c: AsyncConnection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    return await c.run_sync(lambda connection: MigrationContext.configure(connection).get_current_revision())


async def open_checked(url: str) -> Ledger:
    """The ledger at `url`, if it is at the newest revision. Raises SetupRefused, LedgerAway."""
    ledger = open_ledger(url)
    try:
        async with ledger.reading() as c:
            found = await revision(c)
        if found != newest():
            raise SetupRefused(Fault("/ledger_url", "migrations", found=found or "none", allowed=(newest(),)))
    except BrokerError:
        await ledger.close()
        raise
    return ledger
