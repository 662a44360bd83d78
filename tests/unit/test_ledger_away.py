"""What PostgreSQL says when it cannot work is a ledger that is away, and nothing else is."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, IntegrityError

from broker.errors import LedgerAway
from broker.ledger.core import away


class Said(Exception):
    """An error of the driver, with the SQLSTATE that PostgreSQL gave."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    "sqlstate",
    [
        "08006",  # connection failure
        "57P03",  # cannot connect now
        "53100",  # disk full
        "58030",  # I/O error
        "XX000",  # a login on a full disk: "could not write init file"
    ],
)
async def test_a_server_that_cannot_work_is_a_ledger_that_is_away(sqlstate: str) -> None:
    with pytest.raises(LedgerAway):
        async with away():
            raise DBAPIError("SELECT 1", None, Said(sqlstate))


async def test_a_driver_that_is_asked_after_the_servers_last_words_has_none_any_more() -> None:
    said = "cannot switch to state 11; another operation (2) is in progress"
    lost = AsyncAdapt_asyncpg_dbapi.InternalClientError(said)  # type: ignore[no-untyped-call]
    with pytest.raises(LedgerAway):
        async with away():
            raise DBAPIError("SELECT 1", None, lost)


@pytest.mark.parametrize("sqlstate", ["42P01", "22001", "42501"])
async def test_a_statement_of_ours_that_is_wrong_is_our_fault(sqlstate: str) -> None:
    with pytest.raises(DBAPIError):
        async with away():
            raise DBAPIError("SELECT 1", None, Said(sqlstate))


async def test_a_row_that_stands_already_is_for_the_caller() -> None:
    with pytest.raises(IntegrityError):
        async with away():
            raise IntegrityError("INSERT", None, Said("23505"))
