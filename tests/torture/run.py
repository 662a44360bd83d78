"""The whole of it: the world is made, members post and read, faults strike, all is mended, and the judge speaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from broker.client import Client
from broker.errors import LedgerAway
from tests.torture import ledger as books
from tests.torture import people as registry
from tests.torture import plan, recipients, world
from tests.torture.evidence import Evidence
from tests.torture.faults import FAULTS
from tests.torture.judge import Judge
from tests.torture.load import Quota, post_all
from tests.torture.people import People
from tests.torture.world import World

SHORTEST_SECONDS = 40
"""However long the start took."""
OPERATOR_SECONDS = 45
"""Nothing has moved for so long: the operator looks whether some queue never had a leader."""
NO_PROGRESS_SECONDS = 150
"""When everything is mended and nothing has arrived for so long, what is missing is lost."""


@dataclass
class Wanted:
    """What a run shall be."""

    messages: int
    seed: int
    seconds: float = float("inf")
    """So long after the start of everything no more is posted, and no fault begins."""
    gateways: int = 2
    relays: int = 2
    pace: float = 2.0
    faults: list[str] = field(default_factory=lambda: list(FAULTS))
    once: bool = False
    """Each fault once, and then it is over, however many messages have been posted."""
    rest_seconds: float = 0.0
    """What a poster waits after each post: a machine that does something else besides."""
    logs: Path | None = None
    """A folder that keeps what all processes said."""
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: it ends now as it would have ended later."""


@dataclass
class Result:
    evidence: Evidence
    lost: list[str]
    seconds: dict[str, float]

    @property
    def good(self) -> bool:
        return not self.lost and not self.evidence.unexpected

    def table(self) -> dict[str, Any]:
        """What is printed and written down."""
        return {
            "accepted": self.evidence.accepted,
            "lost": len(self.lost),
            "duplicated": self.evidence.duplicates,
            "unexpected": sum(self.evidence.unexpected.values()),
            "arrivals": self.evidence.arrivals,
            "faults": dict(sorted(self.evidence.faults.items())),
            "skipped": self.evidence.skipped,
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
            "answers": dict(sorted(self.evidence.answers.items())),
            "unexpected of": dict(self.evidence.unexpected),
            "timeline": self.evidence.timeline,
            "samples": {"lost": self.lost[:50], **self.evidence.samples},
        }


async def run(wanted: Wanted) -> Result:
    for name in ("aio_pika", "aiormq", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # connections that break are what all of this is about
    began, seconds = time.monotonic(), {}
    evidence = Evidence()
    async with world.world(evidence, wanted.gateways, wanted.relays, wanted.pace, wanted.logs) as w:
        people = await registry.enrol(w.ledger)
        w.amqp_names = sorted(people.amqp_names.values())
        await world.up(w)
        await world.wait_for_queues(w, len(w.amqp_names) + 1)
        seconds["start"] = time.monotonic() - began
        began = time.monotonic()
        async with _reading(w, people, wanted.seed), _telling(w, people):
            await _tortured(w, people, wanted, max(wanted.seconds - seconds["start"], SHORTEST_SECONDS))
            seconds["torture"] = time.monotonic() - began
            began = time.monotonic()
            await registry.let_everybody_in(people, w.ledger, evidence)
            await _quiet(w)
            seconds["until quiet"] = time.monotonic() - began
        world.faults_of_ours(w)
        judge = Judge(people, evidence, await books.read(w.ledger))
        judge.judge()
        return Result(evidence, judge.lost, seconds)


async def _tortured(w: World, people: People, wanted: Wanted, longest_seconds: float) -> None:
    """Posts, changes and faults, until everything has been posted; then whatever is broken is mended."""
    quota, stop = Quota(wanted.messages), asyncio.Event()
    changing = asyncio.create_task(
        registry.keep_changing(people, w.ledger, w.evidence, Random(f"{wanted.seed} registry"))
    )
    try:
        async with asyncio.TaskGroup() as group:
            faults = group.create_task(plan.run(w, wanted.seed, wanted.faults, stop, once=wanted.once))
            posts = group.create_task(post_all(people, w.evidence, w.door_url, quota, wanted.seed, wanted.rest_seconds))
            enough = group.create_task(wanted.enough.wait())
            timeout = None if longest_seconds == float("inf") else longest_seconds
            await asyncio.wait([posts, faults, enough], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            enough.cancel()
            quota.left = 0
            stop.set()
            _, endless = await asyncio.wait([posts, faults], timeout=NO_PROGRESS_SECONDS)
            for task in endless:
                w.evidence.surprise("does not end", "posts" if task is posts else "faults")
                task.cancel()
    finally:
        changing.cancel()
        await asyncio.wait([changing])
    await world.up(w)


@contextlib.asynccontextmanager
async def _reading(w: World, people: People, seed: int) -> AsyncIterator[None]:
    """Every application, as long as it lasts."""
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for place in people.places:
            client = await stack.enter_async_context(Client(w.door_url, place[0], people.keys[place[0]]))
            client.door.attempts, client.door.pause_seconds = 1, (0.1, 0.3)
            app = recipients.Application(place, people, w.evidence, client, Random(f"{seed} {place}"))
            name = people.amqp_names.get(place)
            if name is not None:
                reads = recipients.consume(app, w.members_url, name)
            else:
                reads = recipients.follow(app) if place in registry.STREAMED else recipients.lease(app)
            tasks.append(asyncio.create_task(reads))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _quiet(w: World) -> None:
    """Until nothing waits any more and everything handed over has arrived, or nothing moves; not even once an operator
    has done what the runbook says."""
    moved_at, before = time.monotonic(), (-1, -1)
    asked_at = moved_at
    while time.monotonic() - moved_at < NO_PROGRESS_SECONDS:
        if time.monotonic() - max(moved_at, asked_at) > OPERATOR_SECONDS:
            asked_at = time.monotonic()
            w.evidence.answers["elections that an operator asked for"] += await world.ask_for_elections(w, w.amqp_names)
        with contextlib.suppress(LedgerAway):
            await books.let_time_pass(w.ledger)
            left = await books.waiting(w.ledger, ("ready", "leased"))
            if not left and not _missing(await books.read(w.ledger), w.evidence):
                return
            if (now := (left, w.evidence.arrivals)) != before:
                moved_at, before = time.monotonic(), now
        await asyncio.sleep(1)


def _missing(found: books.Books, evidence: Evidence) -> int:
    """Deliveries handed over that no application has."""
    missing = 0
    for place, rows in found.deliveries.items():
        had = {address for address, _ in evidence.keys[place]}
        missing += sum(address not in had for address, row in rows.items() if row.state not in books.TOMBSTONES)
    return missing


@contextlib.asynccontextmanager
async def _telling(w: World, people: People) -> AsyncIterator[None]:
    """A line every few seconds."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(5)
            left = -1
            with contextlib.suppress(LedgerAway, TimeoutError):
                left = await asyncio.wait_for(books.waiting(w.ledger, ("ready", "leased")), 3)
            e = w.evidence
            print(
                f"{time.monotonic() - e.began:6.0f} s  {e.accepted} accepted, {e.arrivals} arrivals, {e.duplicates} of them "
                f"twice, {left if left >= 0 else '?'} waiting, {e.faults.total()} faults, "
                f"{e.unexpected.total()} unexpected, {len(people.history)} registries",
                flush=True,
            )  # fmt: skip

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
