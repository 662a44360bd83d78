"""deploy/postgres, proved: a hub serves as a role without DDL, and can neither rewrite nor drop what it has accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from broker import administer, keyfiles
from broker.clock import text
from broker.hub import Hub
from broker.ledger import open_ledger
from tests.engines import Rabbit, private_postgres
from tests.faults import process
from tests.region import LANGUAGE, MovableClock, Region, to
from tests.roles import HubDatabase
from tests.wire import SERVE, amqp_queue, consumer, initialise, published, receive, settings, states, until


@pytest.fixture(scope="module")
async def database() -> AsyncIterator[HubDatabase]:
    """Set up in the documented order: roles by the superuser, the schema by the owner, then the grants."""
    async with private_postgres() as cluster:
        made = HubDatabase(cluster)
        await asyncio.to_thread(made.make)
        yield made


@pytest.fixture(scope="module")
async def home(database: HubDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's folder, its ledger initialised by the owner."""
    folder = tmp_path_factory.mktemp("home")
    await initialise(folder, database.url("owner"), 8700)
    await asyncio.to_thread(database.grant)
    return folder


async def test_a_hub_serves_as_the_restricted_role(database: HubDatabase, home: Path, rabbit: Rabbit) -> None:
    """Posts, leases, acknowledgements, corrections, a group, expiry, a drain: the hub as tidewaiter_hub, the operator's
    commands as tidewaiter_registrar. A statement that lacked a right would end the process or answer 500."""
    url = f"http://127.0.0.1:{rabbit.hub_port}"
    env = settings(home, database.url("hub"), rabbit.hub_port, rabbit)
    registrar = open_ledger(database.url("registrar"))
    async with (
        process(*SERVE, output=home / "said", env=env, ready=f"{url}/readyz") as hub,
        httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        r = Region(Hub(registrar, LANGUAGE, keyfiles.load(home / "hub.key", None), url), http, MovableClock())
        await r.enrol("CL", "PE", "AR", "RILO-SA", "operator:ana")
        await r.group("OP-X", "CL", "PE", "AR")
        await r.group("OP-Y", "CL", "AR", ends_at=r.clock() + timedelta(seconds=5))
        name = await amqp_queue(r, "PE")

        await r.send("CL", "one", to("AR", PE="action"))
        assert (await r.call("AR", "GET", "/v1/messages/CL:one")).status_code == 200
        assert await r.take("AR") == ["CL:one"]
        assert (await r.acknowledge("AR", "CL:one")).status_code == 200
        await r.send("CL", "two", to("AR", "PE"), supersedes="CL:one")
        await r.withdraw("CL:two")
        await r.send("CL", "grouped", {"groups": ["OP-X"]})
        await r.send("CL", "short", to("RILO-SA"), expires_at=text(r.clock() + timedelta(seconds=2)))
        await published(r, 2)
        async with consumer(r, rabbit, "PE", name) as queue:
            await receive(queue, 1)
        refused = await r.post(r.sign(r.payload("CL", "wide", {"all": True}, tlp="RED")))
        assert refused.status_code == 422
        admin = await r.call("operator:ana", "GET", "/v1/admin/refusals")
        assert len(admin.json()["refusals"]) == 1

        await administer.leave(registrar, "OP-X", "PE", r.clock())  # drains PE's queue
        await administer.subscribe(registrar, "AR", "more", "amqp", {}, r.clock(), wire=True)
        await administer.unsubscribe(registrar, "AR", "more", r.clock())
        await administer.set_active(registrar, "PE", False, r.clock())
        await administer.set_active(registrar, "PE", True, r.clock())
        kid = next(k.kid for k in (await administer.snapshot(registrar)).keys.values() if k.owner == "AR")
        await administer.revoke(registrar, kid, "test", r.clock())

        async def drained_expired_and_ended() -> bool:
            async with registrar.reading() as c:
                waiting = (await c.execute(sql("SELECT count(*) FROM queues WHERE drain"))).scalar_one()
                open_ = (
                    await c.execute(sql("SELECT count(*) FROM groups WHERE name = 'OP-Y' AND NOT ended"))
                ).scalar_one()
                orders = (await c.execute(sql("SELECT count(*) FROM closings"))).scalar_one()
            return waiting == open_ == orders == 0 and await states(r, "RILO-SA", "inbox") == ["expired"]

        await until(drained_expired_and_ended, 60)
        assert (await r.call("PE", "DELETE", "/v1/subscriptions/wire")).status_code == 204
        assert hub.running, hub.said()
        assert "InsufficientPrivilege" not in hub.said()
    await registrar.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE messages",
        "TRUNCATE messages, audience, identifiers, deliveries, acknowledgements",
        "DELETE FROM messages",
        "DELETE FROM acknowledgements",
        "DELETE FROM deliveries",
        "DELETE FROM refusals",
        "UPDATE messages SET receipt = ''",
        "UPDATE messages SET jws = ''",
        "UPDATE messages SET accepted_at = now()",
        "UPDATE messages SET release = NULL",
        "UPDATE acknowledgements SET state = 'refused'",
        "UPDATE deliveries SET member = 'PE'",
        "UPDATE keys SET jwk = ''",
        "UPDATE members SET active = true",
        "INSERT INTO keys VALUES ('x', 'CL', 'sign', '{}', now(), NULL, NULL, NULL)",
        "INSERT INTO members VALUES ('XX', 'customs', 'X', true, now())",
        "INSERT INTO group_members SELECT name, 'PE', now() FROM groups",
        "UPDATE alembic_version SET version_num = '0000'",
        "ALTER TABLE messages ADD COLUMN x int",
        "CREATE TABLE x (y int)",
        "CREATE TEMPORARY TABLE x (y int)",
        "CREATE SCHEMA x",
        "SET ROLE tidewaiter_owner",
        "COPY messages TO PROGRAM 'cat'",
    ],
)
async def test_the_hub_cannot(database: HubDatabase, home: Path, statement: str) -> None:
    """Refused for want of a right (42501), not for any other reason."""
    assert await refusal_of(database, "hub", statement) == "42501"


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("registrar", "DELETE FROM messages"),
        ("registrar", "UPDATE messages SET withdrawn_by = 1"),
        ("registrar", "UPDATE keys SET owner = 'PE'"),
        ("registrar", "DROP TABLE keys"),
        ("backup", "DELETE FROM messages"),
        ("backup", "CREATE TABLE x (y int)"),
        ("monitor", "SELECT jws FROM messages"),
        ("monitor", "SELECT originator FROM messages"),
        ("monitor", "SELECT * FROM keys"),
        ("monitor", "SELECT * FROM acknowledgements"),
    ],
)
async def test_nor_can_the_others(database: HubDatabase, home: Path, role: str, statement: str) -> None:
    """42501, or for a role that only reads, 25006 (read-only transaction)."""
    assert await refusal_of(database, role, statement) in ("42501", "25006")


async def test_the_monitor_counts_and_the_backup_reads(database: HubDatabase, home: Path) -> None:
    """What a dashboard asks for, and what pg_dump needs, is there."""
    counted = "--command=SELECT state, count(*) FROM deliveries GROUP BY state"
    await asyncio.to_thread(database.psql, counted, user="tidewaiter_monitor")
    read = await asyncio.to_thread(database.psql, "--command=SELECT count(jws) FROM messages", user="tidewaiter_backup")

    assert read.strip().isdigit()


async def test_roles_and_grants_may_be_repeated(database: HubDatabase, home: Path) -> None:
    """Run again they change nothing and complain of nothing."""
    asked = (
        "--command=SELECT grantee, table_name, column_name, privilege_type FROM information_schema.column_privileges"
    )
    before = await asyncio.to_thread(database.psql, asked)
    await asyncio.to_thread(database.psql, f"--file={Path('deploy/postgres/roles.sql').absolute()}")
    await asyncio.to_thread(database.grant)

    assert sorted((await asyncio.to_thread(database.psql, asked)).splitlines()) == sorted(before.splitlines())


async def refusal_of(database: HubDatabase, role: str, statement: str) -> str | None:
    """The SQLSTATE with which PostgreSQL refuses, or None when it does not."""
    url = database.url(role).replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url)
    try:
        async with engine.begin() as c:
            try:
                await c.execute(sql(statement))
            except DBAPIError as error:
                return str(getattr(error.orig, "sqlstate", error))
            return None
    finally:
        await engine.dispose()


async def test_vacuum_comes_by_what_has_happened(database: HubDatabase, home: Path) -> None:
    """Set by the grants, once: what an operator has decided for a table stays, and the owner alone can change it."""
    options = "SELECT reloptions FROM pg_class WHERE oid = '{}'::regclass"
    ours = "{autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=50000}\n"
    for table in ("deliveries", "messages"):
        assert database.psql(f"--command={options.format(table)}") == ours
    theirs = "ALTER TABLE messages RESET (autovacuum_vacuum_scale_factor), SET (autovacuum_vacuum_threshold = 7)"
    database.psql(f"--command={theirs}", user="tidewaiter_owner")
    database.grant()

    assert database.psql(f"--command={options.format('messages')}") == "{autovacuum_vacuum_threshold=7}\n"
    with pytest.raises(AssertionError, match="must be owner"):
        database.psql(f"--command={theirs}", user="tidewaiter_hub")
