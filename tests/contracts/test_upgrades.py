"""From one release to the next, forward and under load.

The rule (broker/ledger/migrate.py): a migration adds. What the release before writes and reads goes on working: its
processes serve on until they are stopped; only their next start is refused, with a sentence. Nothing is lost.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import client, clock, keyfiles, members
from broker.errors import LedgerAway
from broker.ledger import Ledger, migrate, open_ledger
from tests import previous
from tests.engines import free_port
from tests.faults import Process, process
from tests.region import ALERT, address_of, to

pytestmark = pytest.mark.long


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    ledger = open_ledger(url)
    try:
        yield ledger
    finally:
        await ledger.close()


async def at_revision(url: str) -> str | None:
    async with opened(url) as ledger, ledger.reading() as c:
        return await migrate.revision(c)


# ── the schema ──


@pytest.mark.parametrize(("before", "after"), previous.steps())
async def test_every_revision_keeps_the_rows_of_the_one_before(ledger_url: str, before: str, after: str) -> None:
    """Rows in every table, deliveries in every state: all there afterwards, octet for octet."""
    await migrate.upgrade(ledger_url, before)
    async with opened(ledger_url) as ledger, ledger.writing.begin() as c:
        known = await previous.schema(c)
        await previous.write_rows(c, known, 1)
        written = await previous.rows_of(c, known)
    assert all(len(rows) in (1, previous.ROWS) for rows in written.values())

    await migrate.upgrade(ledger_url, after)
    async with opened(ledger_url) as ledger, ledger.reading() as c:
        assert await previous.rows_of(c, known) == written


@pytest.mark.parametrize(("before", "after"), previous.steps())
async def test_a_migrated_ledger_takes_what_the_release_before_writes(ledger_url: str, before: str, after: str) -> None:
    """Inserts and updates that name the columns of before and no others: so writes a process that is still running."""
    await migrate.upgrade(ledger_url, before)
    async with opened(ledger_url) as ledger, ledger.writing.begin() as c:
        known = await previous.schema(c)
        await previous.write_rows(c, known, 1)

    await migrate.upgrade(ledger_url, after)
    async with opened(ledger_url) as ledger, ledger.writing.begin() as c:
        await previous.write_rows(c, known, 101)
        for table in known.sorted_tables:
            changed = await c.execute(table.update().values({k.name: k for k in table.columns}))
            assert changed.rowcount in (1, 2 * previous.ROWS), table.name


# ── its locks, on PostgreSQL ──


async def every_table(c: AsyncConnection) -> MetaData:
    """Read a row of each: a report that runs for hours holds them so, or a dump."""
    if c.dialect.name == "postgresql":  # ours are ended when they are idle so long
        await c.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    known = await previous.schema(c)
    for table in known.sorted_tables:
        await c.execute(table.select().limit(1))
    return known


ENDS = (previous.steps()[0], previous.steps()[-1])
"""The first migration, which takes locks, and the last."""


@pytest.mark.parametrize(("before", "after"), ENDS)
async def test_whoever_works_is_not_kept_waiting_by_a_migration_that_waits(
    postgres_url: str, before: str, after: str
) -> None:
    """A report holds every table, so that the migration cannot begin. Everybody else gets through meanwhile, since it
    stands back after each try; and when the report ends it goes on by itself."""
    await migrate.upgrade(postgres_url, before)
    async with opened(postgres_url) as ledger, ledger.writing.connect() as report:
        known = await every_table(report)
        migrating = asyncio.create_task(migrate.upgrade(postgres_url, after))
        for number in range(1, 6):
            await asyncio.sleep(0.5)
            async with asyncio.timeout(10), ledger.writing.begin() as c:
                await previous.write_rows(c, known, 100 * number)
        assert not migrating.done()
        assert await at_revision(postgres_url) == before

        await report.rollback()
        await migrating
    assert await at_revision(postgres_url) == after


@pytest.mark.parametrize(("before", "after"), ENDS)
async def test_a_migration_that_cannot_begin_says_who_is_in_the_way(postgres_url: str, before: str, after: str) -> None:
    """After its patience has run out; nothing has changed, and it may be run again."""
    await migrate.upgrade(postgres_url, before)
    async with opened(postgres_url) as ledger, ledger.writing.connect() as report:
        await every_table(report)
        pid = (await report.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        with pytest.raises(LedgerAway) as blocked:
            async with asyncio.timeout(60):
                await migrate.upgrade(postgres_url, after, patience_seconds=0)
        assert f"process {pid}" in str(blocked.value)
        assert await at_revision(postgres_url) == before
        await report.rollback()

    await migrate.upgrade(postgres_url, after)
    assert await at_revision(postgres_url) == after


async def test_three_who_migrate_at_once_do_it_once(ledger_url: str, tmp_path: Path) -> None:
    """Processes of a new release start together: one does it, the others find it done."""
    environment = previous.environment(previous.ROOT, tmp_path, ledger_url, free_port())
    ends = await asyncio.gather(*(previous.tidewaiter(environment, "migrate") for _ in range(3)))

    assert [code for code, _ in ends] == [0, 0, 0], ends
    assert await at_revision(ledger_url) == migrate.newest()


async def somebody_waits(ledger: Ledger) -> bool:
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with ledger.reading() as c:
        return (await c.execute(text(waits))).first() is not None


async def test_a_migration_that_is_killed_leaves_a_whole_revision(postgres_url: str, tmp_path: Path) -> None:
    """In the middle, with locks asked for: the next run finishes it."""
    before, _ = previous.steps()[-1]
    await migrate.upgrade(postgres_url, before)
    environment = previous.environment(previous.ROOT, tmp_path, postgres_url, free_port())
    async with opened(postgres_url) as ledger, ledger.writing.connect() as report:
        await every_table(report)
        async with process(*previous.command("migrate"), output=tmp_path / "said", env=environment) as migrating:
            async with asyncio.timeout(60):
                while not await somebody_waits(ledger):
                    assert migrating.running, migrating.said()
                    await asyncio.sleep(0.02)
            migrating.kill9()
        await report.rollback()

    assert await at_revision(postgres_url) == before
    await migrate.upgrade(postgres_url)
    assert await at_revision(postgres_url) == migrate.newest()


# ── a hub of the release before, at work ──


@dataclass
class Traffic:
    """What a member sent and another took. Any answer but a good one ends it with an error."""

    url: str
    keys: dict[str, Any]
    receipts: dict[str, client.Receipt] = field(default_factory=dict)
    """By the message as it was sent."""
    settled: list[str] = field(default_factory=list)
    ending: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def member(self, id: str) -> client.Client:
        door = client.Client(self.url, id, self.keys[id])
        door.door.attempts = 1  # an answer that asks to try again counts as none
        return door

    async def send(self, door: client.Client, **header: Any) -> client.Receipt:
        header = {
            "id": f"n-{next(self._numbers)}", "kind": "alert", "version": "1.0", "originator": "CL", "status": "actual",
            "event_at": clock.text(clock.now()), "handling": {"tlp": "AMBER", "release": to("PE")},
        } | header  # fmt: skip
        compact = client.sign({"header": header, "body": ALERT}, self.keys["CL"])
        self.receipts[compact] = receipt = await door.post(compact)
        return receipt

    async def post(self) -> None:
        """Until it is told to end."""
        async with self.member("CL") as door:
            while not self.ending:
                await self.send(door)
                await asyncio.sleep(0.02)

    async def take(self, *, once: bool = False) -> None:
        """Lease, acknowledge and settle, until it is told to end; or until there is nothing more."""
        async with self.member("PE") as door:
            while once or not self.ending:
                leased = await door.lease("inbox", limit=20)
                if leased:
                    accepted = [client.accept(d, door.acknowledgement(d.message, "received")) for d in leased]
                    answers = await door.settle("inbox", accepted)
                    assert {answer["status"] for answer in answers} == {200}, answers
                    self.settled += [address_of(d.message) for d in leased]
                elif once:
                    return
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Meanwhile; what was begun is ended. Raises what has ended either."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.post())
            group.create_task(self.take())
            yield
            self.ending = True

    async def more(self, messages: int) -> None:
        """Until so many more have been accepted, and something more was settled."""
        wanted, taken = len(self.receipts) + messages, len(self.settled)
        async with asyncio.timeout(60):
            while len(self.receipts) < wanted or len(self.settled) == taken:
                await asyncio.sleep(0.02)


async def set_up(environment: dict[str, str], keys: dict[str, Any], folder: Path) -> None:
    """By the commands of that release: a hub with these members."""

    async def add(id: str) -> None:
        request = members.make_key_request(id, keys[id], clock.text(clock.now()))
        (folder / id).write_text(request)
        fingerprint = members.fingerprint(members.read_key_request(request.encode()).kid)
        for command in (
            ("member", "add", id, "--type", "customs", "--name", id),
            ("key", "enrol", str(folder / id), "--fingerprint", fingerprint),
        ):
            code, said = await previous.tidewaiter(environment, *command)
            assert code == 0, said

    code, said = await previous.tidewaiter(environment, "init")
    assert code == 0, said
    await asyncio.gather(*map(add, keys))


def serving(environment: dict[str, str], output: Path) -> Any:
    url = environment["TIDEWAITER_PUBLIC_URL"]
    return process(*previous.command("serve"), output=output, env=environment, ready=f"{url}/healthz")


async def migrated_under(traffic: Traffic, environment: dict[str, str], ledger_url: str, old: Process) -> None:
    """`tidewaiter migrate` of this release while the other's process works. On PostgreSQL a report is in its way, too."""
    async with opened(ledger_url) as ledger, ledger.reading_engine.connect() as report:
        await every_table(report)
        migrating = asyncio.create_task(previous.tidewaiter(environment, "migrate"))
        await traffic.more(25)
        await report.rollback()
        code, said = await migrating
    assert code == 0, said
    assert old.running, old.said()


async def test_a_hub_of_the_release_before_works_on_through_a_migration(ledger_url: str, tmp_path: Path) -> None:
    """Posts, leases, acknowledgements and settles go on before, during and after. Then it is stopped; its next start is
    refused with a sentence; this release starts, knows every receipt, and has every delivery that was not settled."""
    tree, needed = previous.code(tmp_path / "before")
    before = previous.environment(tree, tmp_path / "home", ledger_url, free_port())
    now = previous.environment(previous.ROOT, tmp_path / "home", ledger_url, int(before["TIDEWAITER_LISTEN"][10:]))
    keys = {id: keyfiles.generate("Ed25519") for id in ("CL", "PE")}
    await set_up(before, keys, tmp_path)
    traffic = Traffic(before["TIDEWAITER_PUBLIC_URL"], keys)

    async with serving(before, tmp_path / "old") as old:
        async with traffic.running():
            await traffic.more(25)
            await migrated_under(traffic, now, ledger_url, old)
            assert await at_revision(ledger_url) == migrate.newest()
            await traffic.more(25)
        assert await old.terminate() == 0
        assert '"level": "error"' not in old.said()
    code, said = await previous.tidewaiter(before, "serve")
    assert code == 2
    assert migrate.newest() in said
    assert needed in said

    async with serving(now, tmp_path / "new"):
        async with traffic.member("CL") as door:
            for answer in await door.post_batch(traffic.receipts):
                assert answer.receipt is not None, answer.problem
                assert (answer.receipt.repeat, answer.receipt.compact) == (True, traffic.receipts[answer.token].compact)
        await traffic.take(once=True)
    addresses = [receipt.message for receipt in traffic.receipts.values()]
    assert sorted(traffic.settled) == sorted(addresses)
    assert len(set(addresses)) == len(addresses) > 75


def test_the_steps_are_in_one_line() -> None:
    """No branches: each revision has one before it and one after it."""
    known = previous.revisions()
    assert known == sorted(known)
    assert known[-1] == migrate.newest()
