"""Promise 1: a receipt is issued only after the message and its deliveries are committed together. Kill any process at
any line: no accepted message is missing, none loses a recipient that was decided for it.

Hub, RabbitMQ and PostgreSQL are processes that die by SIGKILL at random moments in the middle of batches. What has a
receipt is then looked for in the ledger, in the queues of RabbitMQ and at the pull members' doors. TIDEWAITER_ROUNDS makes
the killing longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from broker import jws
from broker.ledger import tables as t
from tests import engines
from tests.engines import Rabbit
from tests.faults import Process
from tests.region import Region, to
from tests.wire import (
    Collector,
    amqp_queue,
    collecting,
    database_of,
    hub_process,
    until,
)

ROUNDS = int(os.environ.get("TIDEWAITER_ROUNDS", "1"))
LINES = 20


@dataclass
class Posting:
    """Clients that post batches as long as it lasts, and keep every receipt. A batch without an answer is repeated."""

    r: Region
    stream: int
    release: dict[str, Any]
    receipts: dict[str, str] = field(default_factory=dict)
    refusals: list[tuple[int, str | None]] = field(default_factory=list)
    """(status, Retry-After) of answers that accepted nothing."""

    async def run(self) -> None:
        batch = 0
        while True:
            batch += 1
            ids = [f"s{self.stream}-{batch}-{line}" for line in range(LINES)]
            lines = [json.dumps(self.r.sign(self.r.payload("CL", id, self.release))) for id in ids]
            while not await self._answered("\n".join(lines)):
                await asyncio.sleep(0.05)

    async def _answered(self, lines: str) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            answer = await self.r.http.post(
                "/v1/messages/batch", content=lines, headers={"content-type": "application/x-ndjson"}
            )
            if answer.status_code != 200:
                self.refusals.append((answer.status_code, answer.headers.get("retry-after")))
                return False
            for told in map(json.loads, answer.text.splitlines()):
                if told["status"] not in (200, 201):
                    self.refusals.append((told["status"], None))
                    return False
                claims = jws.claims(jws.read(told["receipt"].encode(), typ=jws.TYP_RECEIPT))
                self.receipts[claims["message"]] = claims["digest"]
            return True
        return False


@asynccontextmanager
async def posting(r: Region, streams: int = 3) -> AsyncIterator[list[Posting]]:
    releases = [to("PE", "AR"), {"to": [{"member": "PE"}], "groups": ["OP"]}, {"groups": ["OP"]}]
    posts = [Posting(r, n, releases[n % 3]) for n in range(streams)]
    tasks = [asyncio.create_task(post.run()) for post in posts]
    try:
        yield posts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        assert task.cancelled(), task.exception()


async def a_region(r: Region) -> str:
    """CL posts; PE reads by AMQP, AR and BR lease; OP are PE and BR. Returns PE's queue in RabbitMQ."""
    await r.enrol("CL", "PE", "AR", "BR")
    await r.group("OP", "CL", "PE", "BR")
    for member in ("AR", "BR"):
        await r.subscribe(member, "pulled")
    return await amqp_queue(r, "PE")


def decided(posts: list[Posting]) -> dict[str, set[str]]:
    """member -> addresses with a receipt that the releases above give it."""
    who = {0: {"PE", "AR"}, 1: {"PE", "BR"}, 2: {"PE", "BR"}}
    wanted: dict[str, set[str]] = {"PE": set(), "AR": set(), "BR": set()}
    for post in posts:
        for member in who[post.stream % 3]:
            wanted[member] |= set(post.receipts)
    return wanted


async def nothing_is_lost(r: Region, posts: list[Posting], collector: Collector | None) -> None:
    """Every receipt's message is in the ledger, with the digest that it names and every recipient decided for it;
    consumers get all of it, pull members lease all of it, in gap-free sequence."""
    wanted = decided(posts)
    digests = {address: digest for post in posts for address, digest in post.receipts.items()}
    assert len(digests) > LINES, "nothing was accepted at all"
    m, d = t.messages.c, t.deliveries.c
    async with r.hub.ledger.reading() as c:
        stored = {f"{o}:{i}": x for o, i, x in await c.execute(select(m.originator, m.id, m.digest))}
        rows = (await c.execute(select(d.member, d.queue, d.sequence, m.originator, m.id).join(t.messages))).all()
    assert digests.items() <= stored.items()
    for member, addresses in wanted.items():
        assert addresses <= {f"{row.originator}:{row.id}" for row in rows if row.member == member}, member
    for queue in {row.queue for row in rows}:
        sequences = sorted(row.sequence for row in rows if row.queue == queue)
        assert sequences == list(range(1, len(sequences) + 1)), "a gap in a queue's sequence"
    for member in ("AR", "BR"):
        taken: set[str] = set()
        while more := await r.take(member, "pulled"):
            taken |= set(more)
        assert wanted[member] <= taken, member
    if collector is not None:
        await collector.has(wanted["PE"])
        assert len(collector.addresses) == len(set(collector.addresses)), "one round, one address, one message"
        firsts = [one.sequence for one in collector.all if one.attempt == 1 and not one.redelivered]
        assert firsts == sorted(set(firsts)), "first offers in the queue's sequence"
        print(f"{len(digests)} receipts; {len(collector.all)} on the wire, {collector.duplicates} of them twice")


async def more_accepted(posts: list[Posting]) -> None:
    """Wait for a receipt that was not there before."""
    before = sum(len(post.receipts) for post in posts)

    async def more() -> bool:
        return sum(len(post.receipts) for post in posts) > before

    await until(more)


async def killed_and_back(hub: Process) -> None:
    hub.kill9()
    await asyncio.sleep(random.uniform(0, 0.3))
    hub.start()


@pytest.mark.long
async def test_a_hub_killed_in_the_middle_of_batches(ledger_url: str, rabbit: Rabbit, tmp_path: Path) -> None:
    """SIGKILL at random moments, several times; clients repeat what was not answered."""
    async with hub_process(tmp_path, ledger_url, rabbit.hub_port, rabbit) as (hub, r):
        queue = await a_region(r)
        async with collecting(r, rabbit, "PE", queue) as collector:
            async with posting(r) as posts:
                for _ in range(2 * ROUNDS):
                    await asyncio.sleep(random.uniform(0.3, 1.2))
                    await killed_and_back(hub)
                    await hub.answers(f"{r.hub.public_url}/readyz")
                await asyncio.sleep(0.3)
            await nothing_is_lost(r, posts, collector)


@pytest.mark.long
async def test_a_rabbitmq_killed_in_the_middle_of_batches_and_both(hub_port: int, tmp_path: Path) -> None:
    """RabbitMQ dies by SIGKILL, then RabbitMQ and the hub together; posts are accepted while RabbitMQ is away."""
    async with (
        engines.private_rabbit(engines.auth_url(hub_port)) as node,
        hub_process(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", hub_port, node) as (hub, r),
    ):
        queue = await a_region(r)
        await asyncio.sleep(2)  # 3.10 may bring a queue back without a leader that was declared just before a kill
        async with collecting(r, node, "PE", queue) as collector:
            async with posting(r) as posts:
                for both in [False, True] * ROUNDS:
                    await asyncio.sleep(random.uniform(0.2, 1.0))
                    node.kill()
                    if both:
                        await killed_and_back(hub)
                    await hub.answers(f"{r.hub.public_url}/readyz")
                    await more_accepted(posts)  # while RabbitMQ is away
                    await asyncio.to_thread(node.restart)
            await nothing_is_lost(r, posts, collector)


@pytest.mark.long
async def test_a_postgresql_killed_in_the_middle_of_batches(hub_port: int, tmp_path: Path) -> None:
    """Without its ledger the hub accepts nothing (503 with Retry-After), loses nothing, and recovers by itself."""
    async with (
        engines.private_postgres() as cluster,
        hub_process(tmp_path, database_of(cluster), hub_port, None) as (hub, r),
    ):
        await r.enrol("CL", "PE", "AR", "BR")
        await r.group("OP", "CL", "PE", "BR")
        for member in ("PE", "AR", "BR"):
            await r.subscribe(member, "pulled")
        async with posting(r) as posts:
            for _ in range(2 * ROUNDS):
                await asyncio.sleep(random.uniform(0.3, 1.0))
                await asyncio.to_thread(cluster.kill)
                ready = await r.http.get("/readyz")
                await asyncio.sleep(0.3)
                assert (ready.status_code, "retry-after" in ready.headers) == (503, True)
                await asyncio.to_thread(cluster.run)
                await more_accepted(posts)
        refused = [told for post in posts for told in post.refusals]
        assert hub.running
        assert refused
        assert {status for status, _ in refused} == {503}
        assert all(after is not None for _, after in refused)
        await r.hub.ledger.close()  # its connections are those of before
        await nothing_is_lost(r, posts, None)
