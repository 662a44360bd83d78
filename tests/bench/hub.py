"""What is measured: a real `tidewaiter serve` over a ledger with the members of a bench.

Members are enrolled and subscribed in the ledger before anything runs. Of the recipients, five have queues that nobody
reads (so that posts alone are measured), five pull, five have queues in RabbitMQ. Every message goes to one such five.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from broker import administer, clock, jws, members
from broker.ledger import open_ledger
from broker.ledger import tables as t
from tests.faults import Process, process
from tests.region import new_key
from tests.wire import SERVE, Server, initialise, settings, until

RECIPIENTS = 5
"""Deliveries a message."""
UNREAD = tuple(f"UNREAD-{n}" for n in range(RECIPIENTS))
PULLING = tuple(f"PULLING-{n}" for n in range(RECIPIENTS))
WIRED = tuple(f"WIRED-{n}" for n in range(RECIPIENTS))
QUEUE = "bench"
STOP_SECONDS = 20
"""A hub that was told to stop has ended by then."""

Keys = Mapping[str, jws.PrivateKey]


@dataclass(frozen=True)
class Bench:
    """A ledger with its members; a hub may serve it, with RabbitMQ and without, one after the other."""

    home: Path
    ledger_url: str
    port: int
    keys: Keys

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self, rabbit: Server | None = None) -> AsyncIterator[Process]:
        env = settings(self.home, self.ledger_url, self.port, rabbit)
        async with process(*SERVE, output=self.home / "said", env=env, ready=f"{self.url}/readyz") as hub:
            yield hub
            status = await hub.terminate(within_seconds=STOP_SECONDS)
            assert status == 0, f"the hub ended with {status}:\n{hub.said()[-2000:]}"

    async def wired(self, *, declared: bool = True) -> list[tuple[str, str]]:
        """(id, name in RabbitMQ) of the queues of WIRED, in that order; once a relay has made them."""
        s, q = t.subscriptions.c, t.queues.c
        query = select(q.id, q.amqp_name, q.declared).join(t.subscriptions, s.id == q.id).order_by(s.member)
        ledger = open_ledger(self.ledger_url)

        async def rows() -> Sequence[Row[*tuple[Any, ...]]]:
            async with ledger.reading() as c:
                return (await c.execute(query.where(q.amqp_name.is_not(None)))).all()

        async def made() -> bool:
            return all(row.declared for row in await rows())

        try:
            if declared:
                await until(made)
            return [(row.id, row.amqp_name) for row in await rows()]
        finally:
            await ledger.close()


async def enrolled(home: Path, ledger_url: str, port: int, originators: Keys) -> Bench:
    """A fresh hub: its ledger migrated, members enrolled, recipients subscribed to everything."""
    home.mkdir()
    await initialise(home, ledger_url, port)
    keys = {**originators, **{member: new_key() for member in (*UNREAD, *PULLING, *WIRED)}}
    now = clock.now()
    ledger = open_ledger(ledger_url)
    try:
        for member, key in keys.items():
            await administer.add_member(ledger, member, "customs", f"Customs of {member}", now)
            request = members.read_key_request(members.make_key_request(member, key, clock.text(now)).encode())
            await administer.enrol(ledger, request, now)
        for recipients, delivery in ((UNREAD, "pull"), (PULLING, "pull"), (WIRED, "amqp")):
            for member in recipients:
                await administer.subscribe(ledger, member, QUEUE, delivery, {}, now, wire=True)
    finally:
        await ledger.close()
    return Bench(home, ledger_url, port, keys)
