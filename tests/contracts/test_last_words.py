"""What PostgreSQL says on its way down to somebody who has asked nothing: the ledger is away then, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import make_url, text

from broker.errors import LedgerAway
from broker.ledger import Ledger, listen, open_ledger
from tests.faults import Proxy, proxy
from tests.wire import until

FATAL = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash of another server process\0\0"
LAST_WORDS = b"E" + (len(FATAL) + 4).to_bytes(4, "big") + FATAL
"""PostgreSQL's protocol 3.0, ErrorResponse (documentation, chapter "Message Formats"). That the connection is closed after
it is not seen yet."""


@pytest.fixture
async def between(postgres_url: str) -> AsyncIterator[Proxy]:
    url = make_url(postgres_url)
    async with proxy(url.host or "127.0.0.1", url.port or 5432) as between:
        yield between


@pytest.fixture
async def ledger(postgres_url: str, between: Proxy) -> AsyncIterator[Ledger]:
    url = make_url(postgres_url).set(host="127.0.0.1", port=between.port)
    ledger = open_ledger(url.render_as_string(hide_password=False), pool_size=1)
    yield ledger
    await ledger.close()


async def one(ledger: Ledger) -> int:
    async with ledger.reading() as c:
        return int((await c.execute(text("SELECT 1"))).scalar_one())


async def test_last_words_on_a_waiting_connection_are_a_ledger_that_is_away(ledger: Ledger, between: Proxy) -> None:
    assert await one(ledger) == 1
    between.say(LAST_WORDS)
    await asyncio.sleep(0.1)
    with pytest.raises(LedgerAway):
        await one(ledger)
    assert await one(ledger) == 1
    assert between.accepted > 1


async def test_last_words_while_listening_end_nobody(
    ledger: Ledger, between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is made anew, and hears what is committed from then on."""
    monkeypatch.setattr(listen, "ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(listen, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(listen, "AGAIN_SECONDS", 0.02)
    listening = asyncio.create_task(listen.listen(ledger))

    async def heard(sessions: int) -> bool:
        assert not listening.done(), listening.exception()
        return between.accepted >= sessions and between.connections > 0

    try:
        await until(lambda: heard(1))
        await asyncio.sleep(0.3)
        between.say(LAST_WORDS)
        await until(lambda: heard(2))
    finally:
        listening.cancel()
        await asyncio.wait([listening])
