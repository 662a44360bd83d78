"""`make demo-real`: 8,413 real alerts, posted over HTTP by their notifiers, released as their three lists say.

Every member gets exactly what the lists say, with the right duties: nothing missing, nothing extra. Repeats give the
first receipt, amendments keep both versions and reach the holders. Twice: on SQLite, everybody pulling; on PostgreSQL
with RabbitMQ, everybody consuming from a queue of its own. The alerts stay where they are: nothing is copied.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker import administer, jws, keyfiles
from broker.client import Client, Posted, accept
from broker.clock import now
from broker.consume import Seen, amqp_name, consume
from broker.demo.engines import Stage, enrol_member, stage
from broker.errors import BrokerError
from tests import engines, rasff
from tests.region import payload_of

Got = tuple[str, str]
"""What a member received: (address, duties), or ("notice", the address that it speaks of)."""
BATCH = 1_000


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass
class Season:
    """What is to be posted, and what everybody must have in the end."""

    posts: list[tuple[rasff.Payload, rasff.Expected]]
    wanted: dict[str, Counter[Got]] = field(default_factory=lambda: defaultdict(Counter))
    members: set[str] = field(default_factory=set)


def season(rows: list[rasff.Notification]) -> Season:
    made = Season(list(rasff.alerts(rows)))
    first: dict[str, rasff.Expected] = {}
    for payload, expected in made.posts:
        made.members |= {payload["header"]["originator"], *expected.to}
        if expected.outcome == "repeat":
            continue
        first[expected.address] = expected
        for member, duties in expected.to.items():
            made.wanted[member][expected.address, ",".join(duties)] += 1
        if expected.supersedes:
            for member in first[expected.supersedes].to.keys() - expected.to.keys():
                made.wanted[member]["notice", expected.supersedes] += 1
    return made


@dataclass
class Run:
    """One run: clients of all members and what each has received so far."""

    here: Stage
    season: Season
    delivery: str
    clients: dict[str, Client] = field(default_factory=dict)
    got: dict[str, Counter[Got]] = field(default_factory=lambda: defaultdict(Counter))
    receipts: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    again: int = 0
    """Received more than once over the wire, recognised by address and round."""

    def note(self, member: str, compact: str, duties: str) -> None:
        payload = payload_of(compact)
        header = payload["header"]
        if header["kind"] == "notice":
            self.got[member]["notice", payload["body"]["about"]] += 1
        else:
            self.got[member][f"{header['originator']}:{header['id']}", duties] += 1

    def has(self, member: str, address: str) -> bool:
        return any(got == address for got, _ in self.got[member])


async def run(here: Stage, made: Season, delivery: str) -> bool:
    """Post the season on one hub and compare. True if everything is exactly as the lists say."""
    one = Run(here, made, delivery)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        for id in sorted(made.members):
            await enrol_member(here, id, "customs", f"RASFF contact point {id}")
            await administer.subscribe(here.ledger, id, "alerts", delivery, {}, now(), wire=delivery == "amqp")
            key = keyfiles.load(here.keys / f"{id}.pem", None)
            one.clients[id] = await stack.enter_async_context(Client(here.url, id, key))
        say(f"  {len(made.members)} members enrolled and subscribed ({delivery}) in {time.monotonic() - began:.1f} s")
        if delivery == "amqp":
            for id in sorted(made.members):
                await stack.enter_async_context(_consumer(one, id))
        began = time.monotonic()
        await _post_all(one)
        posted = time.monotonic()
        await _everything_arrived(one)
        say(
            f"  posted in {posted - began:.1f} s (lap for amendments included), all received after {time.monotonic() - began:.1f} s"
        )
        return await _compare(one)


async def _post_all(one: Run) -> None:
    batch: list[tuple[str, rasff.Expected]] = []
    for number, (payload, expected) in enumerate(one.season.posts, 1):
        key = one.clients[payload["header"]["originator"]].key
        assert key is not None
        token = jws.sign(rasff.octets(payload), key, typ=jws.TYP_MESSAGE, iat=int(time.time()))
        if expected.outcome == "amendment":
            await _post(one, batch)
            batch = []
            await _wait_for_holders(one, str(expected.supersedes))
        batch.append((token, expected))
        if len(batch) == BATCH or number == len(one.season.posts):
            await _post(one, batch)
            batch = []


async def _post(one: Run, batch: list[tuple[str, rasff.Expected]]) -> None:
    """Each notifier posts its own; what they post together does not depend on each other."""
    by_notifier: dict[str, list[tuple[str, rasff.Expected]]] = defaultdict(list)
    for token, expected in batch:
        by_notifier[expected.address.partition(":")[0]].append((token, expected))
    for notifier, own in by_notifier.items():
        answers = await one.clients[notifier].post_batch([token for token, _ in own])
        _note_answers(one, [expected for _, expected in own], answers)


def _note_answers(one: Run, posts: list[rasff.Expected], answers: list[Posted]) -> None:
    for posted, expected in zip(answers, posts, strict=True):
        if posted.receipt is None:
            one.outcomes[f"refused {posted.problem}"] += 1
            continue
        known = one.receipts.setdefault(expected.address, posted.receipt.compact)
        right = (
            (posted.status == 200 and known == posted.receipt.compact)
            if expected.outcome == "repeat"
            else posted.status == 201
        )
        one.outcomes[expected.outcome if right else f"{expected.outcome} answered {posted.status}"] += 1


async def _wait_for_holders(one: Run, address: str) -> None:
    """An amendment must find holders: wait until everybody who was named has the version before."""
    expected = next(e for _, e in one.season.posts if e.address == address)
    if one.delivery == "pull":
        await asyncio.gather(*(_pull(one, member) for member in expected.to))
    async with asyncio.timeout(60):
        while not all(one.has(member, address) for member in expected.to):
            await asyncio.sleep(0.05)


async def _everything_arrived(one: Run) -> None:
    if one.delivery == "pull":
        for member in sorted(one.clients):
            await _pull(one, member)
        return
    wanted = sum(c.total() for c in one.season.wanted.values())
    async with asyncio.timeout(300):
        while sum(c.total() for c in one.got.values()) < wanted:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)  # what is too much would come now


async def _pull(one: Run, member: str) -> None:
    client = one.clients[member]
    for queue in ("alerts", "inbox"):
        while deliveries := await client.lease(queue, limit=100):
            for delivery in deliveries:
                one.note(member, delivery.message, ",".join(delivery.duties))
            await client.settle(queue, [accept(delivery) for delivery in deliveries])


@asynccontextmanager
async def _consumer(one: Run, member: str) -> AsyncIterator[None]:
    """The member's own consumer. It comes back by itself when the hub closes its connection (a right was lost)."""
    client = one.clients[member]
    name = await amqp_name(client, "alerts")
    seen = Seen()

    async def receive() -> None:
        async for delivery in consume(client, one.here.member_amqp_url, name):
            if delivery.key in seen:
                one.again += 1
            else:
                one.note(member, delivery.compact, str(delivery.headers["tw-duties"]))
                seen.add(delivery.key)
            await delivery.ack()

    task = asyncio.create_task(receive())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _compare(one: Run) -> bool:
    good = True
    deliveries = sum(c.total() for c in one.got.values())
    for member in sorted(one.season.members):
        missing = one.season.wanted[member] - one.got[member]
        extra = one.got[member] - one.season.wanted[member]
        if missing or extra:
            good = False
            say(f"  {member}: missing {list(missing)[:3]}, too much {list(extra)[:3]}")
    outcomes = dict(sorted(one.outcomes.items()))
    good &= outcomes.keys() <= {"new", "repeat", "amendment"}
    notices = sum(n for c in one.got.values() for (what, _), n in c.items() if what == "notice")
    say(
        f"  answers: {outcomes}; received {deliveries - notices} alerts and {notices} notices of supersession; "
        f"{one.again} came twice and were recognised"
    )
    say(f"  {'exactly' if good else 'NOT'} what the lists say, member by member, with their duties")
    good &= await _both_versions(one)
    return good


async def _both_versions(one: Run) -> bool:
    """Both versions of every amended alert are kept; the earlier one says that it is superseded."""
    checked = 0
    for payload, expected in one.season.posts:
        if expected.outcome != "amendment":
            continue
        client = one.clients[payload["header"]["originator"]]
        states = [(await client.get(address))["state"] for address in (str(expected.supersedes), expected.address)]
        if states != ["superseded", "current"]:
            say(f"  {expected.address}: {states}")
            return False
        checked += 1
    say(f"  both versions of all {checked} amended alerts are kept, the earlier marked superseded")
    return True


def counts(rows: list[rasff.Notification]) -> bool:
    """Print what was counted beside what the data's README says. Two of its figures split a name at its own comma."""
    readme = (rasff.DATA / "data" / "README.md").read_text("utf-8")
    entries = sum(len(row.duties) for row in rows)
    split = sum(rasff.WITH_COMMA in row.duties for row in rows)
    names = {name for row in rows for name in row.duties}
    outcomes = Counter(expected.outcome for _, expected in rasff.alerts(rows))
    figures = [
        ("notifications", len(rows), r"\| ([\d,]+) \| reference stored"),
        ("notifiers", len({row.notifier for row in rows}), r"([\d,]+) notifiers"),
        ("recipient names, split at every comma", len(names) + (rasff.WITH_COMMA in names), r"([\d,]+) recipient names"),
        ("recipient entries, split at every comma", entries + split, r"([\d,]+) recipient entries"),
        ("rows that name nobody", sum(not row.duties for row in rows), r"([\d,]+) rows that name nobody"),
        ("rows with a name in several lists", sum(any(len(d) > 1 for d in row.duties.values()) for row in rows),
         r"([\d,]+) rows with a name in several"),
        ("rows that name the notifier", sum(row.notifier in row.duties for row in rows), r"([\d,]+) rows that name the notifier"),
        ("repeats", outcomes["repeat"], r"([\d,]+) are repeats"),
        ("amendments", outcomes["amendment"], r"([\d,]+) are amendments"),
        ("messages", outcomes["new"] + outcomes["amendment"], r"so ([\d,]+) messages"),
    ]  # fmt: skip
    same = True
    say("Counted, and as the data's own README says:")
    for what, counted, pattern in figures:
        found = re.search(pattern, readme)
        stated = int(found.group(1).replace(",", "")) if found else None
        same &= counted == stated
        beside = "?" if stated is None else f"{stated:,}"
        say(f"  {what:42} {counted:>7,} {beside:>7} {'' if counted == stated else '  DIFFERS'}")
    say(f"  (one name holds a comma, in {split} rows: truly {len(names)} names and {entries:,} entries)")
    return same


async def main() -> int:
    if not rasff.DATABASE.exists():
        say(f"The real alerts are not here: no {rasff.DATABASE.name} below TIDEWAITER_TESTDATA (default ../shared).")
        say("`make test` proves the same with a generated season and an independent model.")
        return 0
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # closed connections are part of the story
    rows = rasff.read()
    good = counts(rows)
    made = season(rows)
    say("\n1. SQLite; everybody pulls over HTTPS")
    async with stage(Path("var/demo-real").absolute(), wire=False) as here:
        good &= await run(here, made, "pull")
    say("\n2. PostgreSQL and RabbitMQ; everybody consumes from a queue of its own")
    async with _postgres() as ledger_url:
        if ledger_url is None:
            say("  left out: no PostgreSQL answers and none is installed")
            return 0 if good else 1
        async with stage(Path("var/demo-real").absolute(), ledger_url=ledger_url) as here:
            if here.wire is None:
                say(f"  left out: {here.why}")
            else:
                say(f"  {here.wire}")
                good &= await run(here, made, "amqp")
    say("\nEverything is exactly as the lists say." if good else "\nNOT everything is as the lists say.")
    return 0 if good else 1


@asynccontextmanager
async def _postgres() -> AsyncIterator[str | None]:
    server = await engines.standing_postgres()
    if server is not None:
        url = await engines.fresh_database(server.render_as_string(hide_password=False))
        try:
            yield _plain(url)
        finally:
            await engines.drop_database(url)
        return
    try:
        async with engines.private_postgres() as cluster:
            yield _plain(cluster.url)
    except (pytest.skip.Exception, BrokerError):
        yield None


def _plain(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://")


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
