"""Several processes of one hub over one PostgreSQL and one RabbitMQ: what is done at one holds at all, at once; each
queue is held by one relay, and another takes over when it dies, or merely stops.

Nobody looks unasked more often than every 30 seconds, so that what happens sooner was told by the ledger.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import administer, app, relay
from broker.config import Config
from broker.ledger import relays as ledger_relays
from broker.ledger import tables as t
from broker.rabbit.private_node import free_port
from tests.engines import Rabbit
from tests.faults import Process, process
from tests.region import MovableClock, Region, address_of, to, wired_region
from tests.wire import (
    SERVE,
    amqp_queue,
    closed_within,
    collecting,
    connected,
    hub_process,
    post_many,
    published,
    settings,
    states,
    until,
)

pytestmark = pytest.mark.long

TAKEN_OVER_SECONDS = 30
"""Generous: six seconds of silence, a round, and a machine with other things to do."""


@pytest.fixture
async def two(postgres_url: str, tmp_path: Path) -> AsyncIterator[tuple[Region, Region]]:
    """Two gateways of one hub; CL and PE. The second has members' keys and tokens of the first."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = Config(
        home=tmp_path, ledger_url=postgres_url, public_url=url, host="127.0.0.1", port=port, amqp_url=None,
        management_url=None, log="json",
    )  # fmt: skip
    await app.init(config)
    regions = []
    async with AsyncExitStack() as stack:
        for here in (config, replace(config, port=free_port())):
            run = await stack.enter_async_context(app.running(here))
            at = f"http://127.0.0.1:{here.port}"
            http = await stack.enter_async_context(httpx2.AsyncClient(base_url=at, trust_env=False, timeout=30))
            regions.append(Region(run.hub, http, MovableClock()))
        first, second = regions
        second.keys = first.keys
        second._tokens = first._tokens
        await first.enrol("CL", "PE")
        yield first, second


async def test_a_lease_taken_at_one_is_settled_at_the_other(two: tuple[Region, Region]) -> None:
    """Once, whichever gateway is asked: the second settle of another outcome is stale at both."""
    here, there = two
    await here.send("CL")
    (delivery,) = await here.lease("PE")
    assert await there.lease("PE") == []
    accept = {"lease_id": delivery["lease_id"], "outcome": "accept"}
    assert [a["status"] for a in await there.settle("PE", "inbox", accept)] == [200]
    assert [a["status"] for a in await here.settle("PE", "inbox", accept | {"outcome": "reject"})] == [409]


async def test_who_waits_at_one_is_woken_by_what_is_accepted_at_the_other(two: tuple[Region, Region]) -> None:
    here, there = two
    waiting = asyncio.create_task(there.lease("PE", wait_seconds=25))
    await there.call("PE", "GET", "/v1/queues")
    address = await here.send("CL")
    async with asyncio.timeout(10):
        assert [address_of(d["message"]) for d in await waiting] == [address]


async def test_who_waits_at_one_is_woken_by_what_is_given_back_at_the_other(two: tuple[Region, Region]) -> None:
    """At once; and with a delay when that is over, by itself."""
    here, there = two
    await here.send("CL")
    for delay in (0, 1):
        (delivery,) = await here.lease("PE")
        waiting = asyncio.create_task(there.lease("PE", wait_seconds=25, lease_seconds=10))
        await there.call("PE", "GET", "/v1/queues")
        given_back = {"lease_id": delivery["lease_id"], "outcome": "release", "delay_seconds": delay}
        await here.settle("PE", "inbox", given_back)
        async with asyncio.timeout(10):
            (again,) = await waiting
        await there.settle("PE", "inbox", {"lease_id": again["lease_id"], "outcome": "release"})


async def test_a_lease_of_a_dead_gateway_ends_at_the_other(two: tuple[Region, Region]) -> None:
    """Who waits at the other knows when the lease ends, although the one that gave it is not asked."""
    here, there = two
    await here.send("CL")
    await here.lease("PE", lease_seconds=1)
    here.hub.alarm.at = lambda instant: None  # type: ignore[method-assign]  # it has forgotten
    async with asyncio.timeout(15):
        (again,) = await there.lease("PE", wait_seconds=25)
    assert again["count"] == 2


async def test_a_suspension_and_a_revoked_key_hold_at_both(two: tuple[Region, Region]) -> None:
    """Whoever changes the registry: the next call, and whoever waits, is refused at every gateway."""
    here, there = two
    await there.lease("PE")
    waiting = asyncio.create_task(there.call("PE", "POST", "/v1/queues/inbox/lease", {"limit": 1, "wait_seconds": 25}))
    await there.call("PE", "GET", "/v1/queues")
    await administer.set_active(here.hub.ledger, "PE", False, here.clock())
    async with asyncio.timeout(10):
        assert (await waiting).status_code == 401
    assert (await there.call("PE", "GET", "/v1/queues")).status_code == 401
    await administer.set_active(here.hub.ledger, "PE", True, here.clock())
    assert (await there.call("PE", "GET", "/v1/queues")).status_code == 200
    (kid,) = [k.kid for k in (await there.hub.registry_now()).keys.values() if k.owner == "CL"]
    await administer.revoke(there.hub.ledger, kid, "lost", here.clock())
    for region in two:
        assert (await region.post(region.sign(region.payload("CL", release=to("PE"))))).status_code == 403


async def test_a_listening_session_that_is_lost_is_made_anew(two: tuple[Region, Region]) -> None:
    """Its end is noticed; who waited is woken when it listens again."""
    here, there = two
    listening = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidewaiter listens'"

    async def both() -> bool:
        async with here.hub.ledger.reading() as c:
            return bool((await c.exec_driver_sql(f"SELECT count(*) {listening}")).scalar() == 2)

    await until(both)
    async with here.hub.ledger.reading() as c:
        assert (await c.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {listening}")).rowcount == 2
    waiting = asyncio.create_task(there.lease("PE", wait_seconds=25))
    await there.call("PE", "GET", "/v1/queues")
    address = await here.send("CL")
    async with asyncio.timeout(15):
        assert [address_of(d["message"]) for d in await waiting] == [address]


# ── relays ──


@dataclass
class Relays:
    """A gateway at which RabbitMQ asks, and relays that are processes of their own."""

    r: Region
    rabbit: Rabbit
    env: dict[str, str]
    home: Path

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[Process]:
        port = free_port()
        env = self.env | {"TIDEWAITER_LISTEN": f"127.0.0.1:{port}"}
        said = self.home / name
        async with process(
            *SERVE, "--only", "relay", output=said, env=env, ready=f"http://127.0.0.1:{port}/readyz"
        ) as it:
            await until(lambda: self._says(it, "wire.connected"))
            yield it

    async def _says(self, relay: Process, word: str) -> bool:
        return word in relay.said()

    async def holders(self) -> list[int]:
        """The relay of each queue that one holds."""
        async with self.r.hub.ledger.reading() as c:
            return list((await c.execute(select(t.holdings.c.relay))).scalars())

    async def held_by(self, number: int) -> None:
        """Wait until so many relays share the two queues."""

        async def so() -> bool:
            found = await self.holders()
            return len(found) == 2 and len(set(found)) == number

        await until(so, TAKEN_OVER_SECONDS)


@pytest.fixture
async def relays(postgres_url: str, rabbit: Rabbit, tmp_path: Path) -> AsyncIterator[Relays]:
    env = settings(tmp_path, postgres_url, rabbit.hub_port, rabbit)
    env |= {"TIDEWAITER_PUBLIC_URL": f"http://127.0.0.1:{rabbit.hub_port}"}
    async with hub_process(tmp_path, postgres_url, rabbit.hub_port, rabbit, "--only", "gateway") as (_, r):
        await r.enrol("CL", "PE", "AR")
        yield Relays(r, rabbit, env, tmp_path)


async def test_queues_are_shared_out_and_handed_over_without_a_double(relays: Relays) -> None:
    """A second relay gets its half while messages flow; when it is told to stop the first has both again."""
    r = relays.r
    async with relays.one("first"):
        names = {member: await amqp_queue(r, member) for member in ("PE", "AR")}
        wanted: list[str] = []
        async with (
            collecting(r, relays.rabbit, "PE", names["PE"]) as pe,
            collecting(r, relays.rabbit, "AR", names["AR"]) as ar,
        ):
            async with relays.one("second") as second:
                wanted += await post_many(r, 100, to("PE", "AR"), "a")
                await relays.held_by(2)
                wanted += await post_many(r, 100, to("PE", "AR"), "b")
                assert await second.terminate() == 0
            wanted += await post_many(r, 100, to("PE", "AR"), "c")
            await relays.held_by(1)
            for collector in (pe, ar):
                await collector.has(set(wanted))
                assert [one.sequence for one in collector.all] == list(range(1, 301)), "in order, none twice"


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_relay_that_dies_or_stops_is_replaced_within_seconds(relays: Relays, how: str) -> None:
    """Everything arrives, first offers in order; one that was merely stopped finds itself replaced and joins again."""
    r = relays.r
    async with relays.one("first") as first:
        names = {member: await amqp_queue(r, member) for member in ("PE", "AR")}
        async with (
            relays.one("second"),
            collecting(r, relays.rabbit, "PE", names["PE"]) as pe,
            collecting(r, relays.rabbit, "AR", names["AR"]) as ar,
        ):
            await relays.held_by(2)
            wanted = await post_many(r, 1, to("PE", "AR"), "first")
            for collector in (pe, ar):  # whose login was asked about at a relay that is stopped would wait for it
                await collector.has(set(wanted))
            wanted += await post_many(r, 100, to("PE", "AR"), "a")
            if how == "killed":
                first.kill9()
            else:
                os.kill(first.pid, signal.SIGSTOP)
            wanted += await post_many(r, 100, to("PE", "AR"), "b")
            await relays.held_by(1)
            wanted += await post_many(r, 100, to("PE", "AR"), "c")
            for collector in (pe, ar):
                await collector.has(set(wanted))
            if how == "stopped":
                os.kill(first.pid, signal.SIGCONT)
                await relays.held_by(2)
                wanted += await post_many(r, 100, to("PE", "AR"), "d")
            for collector in (pe, ar):
                await collector.has(set(wanted))
                assert sorted(collector.addresses) == sorted(wanted)
                firsts = list(dict.fromkeys(one.sequence for one in collector.all))
                assert firsts == sorted(firsts)


async def test_a_right_lost_while_its_relay_is_stopped(relays: Relays) -> None:
    """The other relay closes the member's connections at once, takes over, and drains: what is barred is gone."""
    r = relays.r
    await r.group("OP", "CL", "PE")
    async with relays.one("first") as first:
        await amqp_queue(r, "PE")
        await post_many(r, 5, {"groups": ["OP"]}, "grouped")
        await post_many(r, 5, to("PE"), "named")
        await published(r, 10)
        async with relays.one("second"), connected(r, relays.rabbit, "PE") as connection:
            os.kill(first.pid, signal.SIGSTOP)
            try:
                await administer.leave(r.hub.ledger, "OP", "PE", r.clock())
                await closed_within(connection, TAKEN_OVER_SECONDS)

                async def drained() -> bool:
                    return await states(r, "PE") == ["revoked"] * 5 + ["published"] * 5

                await until(drained, TAKEN_OVER_SECONDS)
            finally:
                os.kill(first.pid, signal.SIGCONT)


@pytest.mark.parametrize("listed", [True, False])
async def test_who_loses_rabbitmq_is_replaced_once_its_connections_can_be_found(
    postgres_url: str, rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """They may be half open in RabbitMQ, which lists a connection some seconds after it was opened: until then nobody can
    close it by its name, and nobody is told that its queues may be taken."""
    monkeypatch.setattr(relay, "LISTED_SECONDS", 0 if listed else 3600)
    die, died = ledger_relays.die, list[int]()

    async def dying(c: AsyncConnection, number: int) -> None:
        died.append(number)
        await die(c, number)

    monkeypatch.setattr(ledger_relays, "die", dying)
    async with wired_region(rabbit, postgres_url, tmp_path) as r:
        await r.enrol("CL", "PE")
        name = await amqp_queue(r, "PE")

        async def holder() -> int:
            async with r.hub.ledger.reading() as c:
                return int((await c.execute(select(func.coalesce(func.max(t.holdings.c.relay), 0)))).scalar_one())

        first = await holder()
        await asyncio.to_thread(rabbit.api, "DELETE", f"/api/connections/username/{rabbit.user}")

        async def taken_over() -> bool:
            return await holder() not in (0, first)

        await until(taken_over, TAKEN_OVER_SECONDS)
        assert died == ([first] if listed else [])
        async with collecting(r, rabbit, "PE", name) as collector:
            await collector.has({await r.send("CL", "next", to("PE"))})
