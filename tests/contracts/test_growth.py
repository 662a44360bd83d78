"""What the hub does all day costs the same whether the ledger holds a month or years.

Twenty thousand messages, a hundred thousand deliveries; asserted are plans and rows visited, never times. The same world
at a million, and what everything costs there: docs/growth.md, `python -m tests.growth`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from broker import administer
from broker.ledger.migrate import newest
from tests.engines import drop_database, fresh_database, missing
from tests.growth.filling import MEMBERS, STUCK_PULL, World
from tests.growth.measure import world
from tests.growth.operations import OPERATIONS, Operation
from tests.growth.plans import watching

pytestmark = pytest.mark.long

MESSAGES = 20_000

HOT = {
    "accept 50 messages", "accept a repeat", "amend", "withdraw", "lease 10", "lease from an empty queue", "settle 10",
    "claim and confirm 200", "claim from an empty queue", "acknowledge", "page of what was received",
    "page of what was sent", "page of what was received, nothing", "page of what was sent, nothing", "page by identifier",
    "get a message", "who has it", "index of a queue", "replay one message", "replay an hour", "replay the last 100",
    "leave a group, by lease", "leave a group, never acknowledged", "active again, never acknowledged", "suspend",
    "lost queue, seen empty an hour ago", "operators: deliveries of a member", "operators: settled of a member",
}  # fmt: skip
"""Must not read a table that grows from end to end, nor more rows than MOST[...]."""
MOST = 2_500
"""Rows visited; an operation of 200 deliveries visits each three or four times."""
MOST_STEPS = (150, 600)
"""The same on SQLite, in hundreds of its machine's steps: for a few deliveries, and OF_MANY."""
OF_MANY = {"accept 50 messages", "claim and confirm 200"}
IN_PROPORTION = {"own queues", "own queues, stuck", "count the outbox"}
"""Count what is not settled: they grow with that, and visit nothing else."""
GROW = {"messages", "deliveries", "audience", "identifiers", "acknowledgements", "refusals"}


def named(name: str) -> Operation:
    return next(o for o in OPERATIONS if o.name == name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> str | None:
    """URL of the PostgreSQL server, or None for SQLite."""
    return request.getfixturevalue("postgres_server") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
async def grown(server: str | None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One of each kind for the whole file, filled."""
    if server is None:
        async with world(f"sqlite:///{tmp_path_factory.mktemp('grown')}/ledger.sqlite") as w:
            await w.grow(MESSAGES)
            yield w
        return
    url = await fresh_database(server)
    try:
        async with world(url) as w:
            if not await _explains(w):
                missing("PostgreSQL's auto_explain", "this server's user may not load it")
            await w.grow(MESSAGES)
            yield w
    finally:
        await drop_database(url)


async def _explains(w: World) -> bool:
    try:
        async with w.r.hub.ledger.reading() as c:
            await c.execute(text("LOAD 'auto_explain'"))
    except DBAPIError:
        return False
    return True


async def often(w: World, operation: Operation) -> None:
    """PostgreSQL keeps a plan from the sixth call of a statement on, one for whatever parameters may come: it is that
    one which counts."""
    for _ in range(1 if operation.once or w.r.hub.ledger.is_sqlite else 6):
        await (await operation.prepare(w))()


@pytest.mark.parametrize("name", sorted(HOT))
async def test_what_is_done_all_day_reads_no_table_from_end_to_end(grown: World, name: str) -> None:
    """No scan of a table that grows, in whichever plan the database has settled on, and few rows visited."""
    operation = named(name)
    await often(grown, operation)
    call = await operation.prepare(grown)
    async with watching(grown.r.hub.ledger) as seen:
        await call()

    assert not seen.scans() & GROW, [(s.sql, s.plan) for s in seen.statements if set(s.scanned) & GROW]
    if grown.r.hub.ledger.is_sqlite:
        assert seen.work <= (MOST_STEPS[1] if name in OF_MANY else MOST_STEPS[0]), [
            (s.sql, s.plan) for s in seen.statements
        ]
    else:
        assert seen.work <= MOST, sorted(((s.visited, s.sql) for s in seen.statements), reverse=True)[:3]


async def test_a_sweep_that_finds_nothing_visits_what_waits_and_nothing_else(grown: World) -> None:
    """Neither all that ever expired nor all that was ever leased."""
    await often(grown, named("sweep"))
    async with watching(grown.r.hub.ledger) as seen:
        await grown.r.sweep()
    waiting = await count(grown, "state IN ('ready', 'leased')")

    assert not seen.scans() & GROW
    most = MOST_STEPS[1] if grown.r.hub.ledger.is_sqlite else 2 * waiting + MOST
    assert seen.work <= most, sorted(((s.visited, s.sql) for s in seen.statements), reverse=True)[:3]


async def count(w: World, where: str) -> int:
    async with w.r.hub.ledger.reading() as c:
        return int((await c.execute(text(f"SELECT count(*) FROM deliveries WHERE {where}"))).scalar_one())


@pytest.mark.parametrize("name", sorted(IN_PROPORTION))
async def test_counting_visits_what_is_not_settled_and_nothing_else(grown: World, name: str) -> None:
    """The past of a queue is its last sequence less what is not settled."""
    operation = named(name)
    await often(grown, operation)
    call = await operation.prepare(grown)
    async with watching(grown.r.hub.ledger) as seen:
        await call()

    if not grown.r.hub.ledger.is_sqlite:
        assert seen.work <= 2 * await count(grown, "state <> 'settled'") + 2_000
    assert not seen.scans() & GROW


async def test_depths_are_what_counting_every_row_says(grown: World) -> None:
    """Of each queue and each state."""
    answer = await grown.r.call("operator:ana", "GET", "/v1/admin/queues")
    told = {q["queue"]: q["depth"] for q in answer.json()["queues"]}
    counted: dict[str, dict[str, int]] = {queue: {} for queue in told}
    async with grown.r.hub.ledger.reading() as c:
        for queue, state, number in await c.execute(
            text("SELECT queue, state, count(*) FROM deliveries GROUP BY 1, 2")
        ):
            if queue in counted:
                counted[queue][state] = number

    assert told == counted


async def test_for_whom_very_many_wait_can_be_taken_out_of_a_group(grown: World) -> None:
    """More deliveries than a statement takes parameters (32,767 on PostgreSQL): all are revoked, in one transaction."""
    r, member = grown.r, MEMBERS[STUCK_PULL]
    queue = next(q.id for q in (await administer.snapshot(r.hub.ledger)).subscriptions if q.member == member)
    release = json.dumps({"groups": ["watched"]})
    await administer.add_group(r.hub.ledger, "watched", None)
    await administer.join(r.hub.ledger, "watched", member, r.clock())
    async with r.hub.ledger.writing.begin() as c:
        await c.execute(text("UPDATE messages SET release = :r WHERE position <= 20000"), {"r": release})
        last = (await c.execute(text("SELECT last_sequence FROM queues WHERE id = :q"), {"q": queue})).scalar_one()
        await c.execute(text(
            "INSERT INTO deliveries (queue, sequence, position, member, rule, duties, state, round, count, attempt, redrives,"
            " changed_at) SELECT :q, :last + row_number() OVER (ORDER BY position, member), position, :m, 'group:watched',"
            " 'information', 'ready', 1, 0, 0, 0, accepted_at FROM (SELECT m.position, m.accepted_at, a.member FROM messages m"
            " JOIN audience a ON a.position = m.position WHERE m.superseded_by IS NULL AND NOT m.withdraws"
            " AND m.withdrawn_by IS NULL AND m.expires_at IS NULL LIMIT 33000) x"
        ), {"q": queue, "last": last, "m": member})  # fmt: skip
    mine = f"queue = '{queue}' AND sequence > {last}"
    assert await count(grown, f"{mine} AND state = 'ready'") == 33_000

    await administer.leave(r.hub.ledger, "watched", member, r.clock())

    assert await count(grown, f"{mine} AND state = 'revoked'") == 33_000


def test_the_figures_are_of_this_schema() -> None:
    """docs/growth.md says at which revision it was measured; whoever adds an index or a column measures again."""
    page = Path(__file__).parents[2] / "docs" / "growth.md"
    assert f"Schema {newest()}" in page.read_text("utf-8")
