"""deploy/backup, rehearsed: a ledger is backed up while it is written to, restored, compared, served again; and what a
restore forgets comes back from those who hold the receipts."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text as sql

from broker import jws, keyfiles
from broker.hub import Hub
from broker.ledger import open_ledger
from broker.rabbit.private_node import free_port
from broker.rabbit.topology import dead_queue
from tests.engines import Rabbit, private_postgres
from tests.faults import process
from tests.region import LANGUAGE, MovableClock, Region, to
from tests.roles import HubDatabase, program
from tests.wire import SERVE, amqp_queue, consumer, initialise, published, receive, settings, states

SCRIPTS = Path(__file__).parents[2] / "deploy/backup"


def run(script: str, *arguments: str | Path, env: Mapping[str, str]) -> str:
    """What the script says; AssertionError with its complaint."""
    done = attempt(script, *arguments, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def attempt(script: str, *arguments: str | Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Without the caller's environment, but with our `tidewaiter` and Python first on the PATH."""
    path = f"{Path(sys.executable).parent}:{os.defpath}"
    env = {"PATH": path, "LC_ALL": "C.UTF-8", **env}
    return subprocess.run([SCRIPTS / script, *arguments], env=env, capture_output=True, text=True, check=False)


@dataclass
class Store:
    """A ledger of one kind: how its hub, its backup and its restore reach it."""

    hub_url: str
    registrar_url: str
    backup: dict[str, str]
    backup_of: tuple[str, ...] = ()


@pytest.fixture(scope="module")
async def database() -> AsyncIterator[HubDatabase]:
    async with private_postgres() as cluster:
        for name in ("psql", "pg_dump", "pg_restore", "createdb", "dropdb"):
            program(cluster, name)
        yield HubDatabase(cluster)


@pytest.fixture(params=["sqlite", "postgresql"])
def cluster(request: pytest.FixtureRequest) -> HubDatabase | None:
    """None for SQLite."""
    found: HubDatabase | None = None if request.param == "sqlite" else request.getfixturevalue("database")
    return found


@pytest.fixture
async def store(cluster: HubDatabase | None, tmp_path: Path) -> Store:
    """An empty ledger with its hub's folder, tmp_path/home; on PostgreSQL with its roles."""
    home = tmp_path / "home"
    if cluster is None:
        file = home / "ledger.sqlite"
        await initialise(home, f"sqlite:///{file}", 8700)
        return Store(f"sqlite:///{file}", f"sqlite:///{file}", {}, (str(file),))
    made = await fresh(cluster, tmp_path.name)
    await initialise(home, made.url("owner"), 8700)
    await asyncio.to_thread(made.grant)
    return Store(made.url("hub"), made.url("registrar"), made.environment("tidewaiter_backup"))


async def fresh(database: HubDatabase, name: str) -> HubDatabase:
    """A database with the roles, and no tables."""
    made = HubDatabase(database.cluster, re.sub(r"\W", "_", name).lower()[-60:])
    await asyncio.to_thread(made.make)
    return made


@asynccontextmanager
async def serving(
    home: Path, store: Store, keys: dict[str, jws.PrivateKey] | None = None, rabbit: Rabbit | None = None
) -> AsyncIterator[Region]:
    """A hub on that ledger."""
    port = free_port() if rabbit is None else rabbit.hub_port
    url = f"http://127.0.0.1:{port}"
    ledger = open_ledger(store.registrar_url)
    env = settings(home, store.hub_url, port, rabbit)
    async with (
        process(*SERVE, output=home / f"said-{port}", env=env, ready=f"{url}/readyz"),
        httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        hub = Hub(ledger, LANGUAGE, keyfiles.load(home / "hub.key", None), url)
        yield Region(hub, http, MovableClock(), keys or {})
    await ledger.close()


async def test_a_backup_under_load_is_restored_and_serves(
    store: Store, cluster: HubDatabase | None, tmp_path: Path
) -> None:
    """What the manifest counts is what comes back; the hub serves from it with its own key; what was accepted before is
    a repeat, with the same receipt; what was accepted after is forgotten, and accepted again when it is posted again."""
    home, backups = tmp_path / "home", tmp_path / "backups"
    receipts: dict[str, str] = {}
    signed: dict[str, str] = {}
    async with serving(home, store) as r:
        await r.enrol("CL", "PE")

        async def post(id: str) -> None:
            signed[id] = r.sign(r.payload("CL", id, to("PE")))
            receipts[id] = (await r.post(signed[id])).json()["receipt"]

        async def keep_posting() -> None:
            for n in range(1_000_000):
                await post(f"during-{n}")

        for n in range(20):
            await post(f"before-{n}")
        assert (await r.lease("PE", limit=5))[0]["sequence"] == 1
        load = asyncio.create_task(keep_posting())
        await asyncio.sleep(0.2)
        said = await asyncio.to_thread(run, "backup.sh", backups, *store.backup_of, env=store.backup)
        await asyncio.sleep(0.2)
        load.cancel()
        await asyncio.wait([load])
        await post("after")

    backup = Path(said.strip())
    manifest = (backup / "manifest").read_text()
    counted = {line.split()[1]: int(line.split()[2]) for line in manifest.splitlines() if line.startswith("table ")}
    assert 20 <= counted["messages"] < len(receipts)
    assert f"position {counted['messages']}\n" in manifest
    assert {file.stat().st_mode & 0o777 for file in backup.iterdir()} == {0o600}
    assert backup.stat().st_mode & 0o777 == 0o700
    assert list(backups.iterdir()) == [backup]

    restored = await restore(cluster, backup, tmp_path)
    async with serving(home, restored, r.keys) as again:
        assert (await again.post(signed["before-0"])).status_code == 200
        assert (await again.post(signed["before-0"])).json()["receipt"] == receipts["before-0"]
        forgotten = await again.post(signed["after"])
        assert forgotten.status_code == 201
        assert forgotten.json()["receipt"] != receipts["after"]
        async with again.hub.ledger.reading() as c:
            kept = set((await c.execute(sql("SELECT id FROM messages"))).scalars())
        assert len(kept) == counted["messages"] + 1
        answers = [(await again.post(signed[id])).status_code for id in signed if id not in kept]
        assert set(answers) <= {201}  # by posting everything once more all of it is there again
        assert sorted(d["sequence"] for d in await again.index("PE")) == list(range(1, len(signed) + 1))


async def restore(cluster: HubDatabase | None, backup: Path, folder: Path) -> Store:
    """By restore.sh, into an empty ledger. A second time it is refused."""
    arguments, env = [backup], dict[str, str]()
    if cluster is None:
        file = folder / "restored.sqlite"
        arguments.append(file)
        result = Store(f"sqlite:///{file}", f"sqlite:///{file}", {}, (str(file),))
    else:
        made = await fresh(cluster, f"{folder.name}_restored")
        env = made.environment("tidewaiter_owner")
        result = Store(made.url("hub"), made.url("registrar"), made.environment("tidewaiter_backup"))
    said = await asyncio.to_thread(run, "restore.sh", *arguments, env=env)
    assert said.endswith("restored, and as the manifest says\n")
    again = await asyncio.to_thread(attempt, "restore.sh", *arguments, env=env)
    assert again.returncode == 1
    assert "already" in again.stderr
    if cluster is not None:
        await asyncio.to_thread(made.grant)
    return result


async def test_after_a_restore_the_emptied_wire_is_filled_from_the_ledger(tmp_path: Path, rabbit: Rabbit) -> None:
    """What was in RabbitMQ at the moment of the backup is published again, what was posted later once it is posted again;
    no copy of the time in between is taken for a delivery that now has its name."""
    home, file = tmp_path / "home", tmp_path / "home/ledger.sqlite"
    store = Store(f"sqlite:///{file}", f"sqlite:///{file}", {}, (str(file),))
    await initialise(home, store.hub_url, rabbit.hub_port)
    async with serving(home, store, rabbit=rabbit) as r:
        await r.enrol("CL", "PE")
        queue = await amqp_queue(r, "PE")
        before = [await r.send("CL", f"before-{n}", to("PE")) for n in range(3)]
        await published(r, 3)
        backup = (await asyncio.to_thread(run, "backup.sh", tmp_path / "b", file, env={})).strip()
        lost = r.sign(r.payload("CL", "lost", to("PE")))
        assert (await r.post(lost)).status_code == 201
        await published(r, 4)

    restored = await restore(None, Path(backup), tmp_path)
    for name in (queue, dead_queue(r.hub.dead_letters)):  # as `delete_vhost` does, for the one that this test has
        assert rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{name}")[0] == 204
    async with serving(home, restored, r.keys, rabbit) as again:
        await again.send("CL", "new", to("PE"))
        assert (await again.post(lost)).status_code == 201
        await published(again, 5)  # who was connected before the queue stood again is not any more
        async with consumer(again, rabbit, "PE", queue) as wire:
            arrived = [message.headers["tw-address"] for message in await receive(wire, 5)]
        assert sorted(map(str, arrived)) == sorted([*before, "CL:lost", "CL:new"])
        assert await states(again, "PE") == ["published"] * 5
        assert [row["sequence"] for row in await again.index("PE", "wire")] == [1, 2, 3, 4, 5]


async def test_the_rehearsal_restores_the_latest_backup_and_says_how_long_it_took(
    store: Store, cluster: HubDatabase | None, tmp_path: Path
) -> None:
    """Into a scratch ledger, migrated and read by the program; nothing is left of it."""
    backups = tmp_path / "backups"
    env = {} if store.backup_of else store.backup | {"PGUSER": "postgres"}
    await asyncio.to_thread(run, "backup.sh", backups, *store.backup_of, env=store.backup)
    before = databases(cluster)

    said = await asyncio.to_thread(run, "rehearse.sh", backups, env=env)

    assert re.findall(r"^(restore|migrate|read) +\d+\.\d\d s$", said, re.MULTILINE) == ["restore", "migrate", "read"]
    assert "table messages 0 0\n" in said
    assert said.endswith("can be restored\n")
    assert before == databases(cluster)


def databases(cluster: HubDatabase | None) -> list[str]:
    if cluster is None:
        return []
    return cluster.psql("--dbname=postgres", "--command=SELECT datname FROM pg_database ORDER BY 1").splitlines()


async def test_a_backup_is_encrypted_on_its_way_to_the_disk(store: Store, tmp_path: Path) -> None:
    """For a key that this machine does not have; it is restored with that key, and not without."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await asyncio.to_thread(key_pair, key, certificate)
    cms = "openssl cms -{} -binary -{}form DER"
    there = cms.format("encrypt -stream -aes256", "out") + f" {certificate}"
    back = cms.format("decrypt", "in") + f" -inkey {key}"
    env = store.backup | {"TIDEWAITER_BACKUP_THROUGH": there}
    await asyncio.to_thread(run, "backup.sh", tmp_path / "b", *store.backup_of, env=env)

    (backup,) = (tmp_path / "b").iterdir()
    assert not (backup / "ledger").read_bytes().startswith((b"PGDMP", b"SQLite format 3"))
    reading = {} if store.backup_of else store.backup | {"PGUSER": "postgres"}
    assert (await asyncio.to_thread(attempt, "rehearse.sh", tmp_path / "b", env=reading)).returncode == 1
    await asyncio.to_thread(run, "rehearse.sh", tmp_path / "b", env=reading | {"TIDEWAITER_RESTORE_THROUGH": back})


def key_pair(key: Path, certificate: Path) -> None:
    """RSA, and a certificate of it."""
    made = ("-newkey", "rsa:2048", "-nodes", "-subj", "/CN=backups", "-keyout", key, "-out", certificate)
    subprocess.run(["openssl", "req", "-x509", *made], check=True, capture_output=True)


async def test_a_backup_that_was_changed_is_not_restored(tmp_path: Path) -> None:
    """One octet of the ledger, one figure of the manifest, one message under its digest: each is noticed."""
    home, backups = tmp_path / "home", tmp_path / "backups"
    file = home / "ledger.sqlite"
    store = Store(f"sqlite:///{file}", f"sqlite:///{file}", {}, (str(file),))
    await initialise(home, store.hub_url, 8700)
    async with serving(home, store) as r:
        await r.enrol("CL", "PE")
        await r.send("CL", "one", to("PE"))
    backup = Path(run("backup.sh", backups, file, env={}).strip())

    def refusal(name: str) -> str:
        done = attempt("restore.sh", tmp_path / name, tmp_path / f"{name}.sqlite", env={})
        assert done.returncode == 1
        assert not (tmp_path / f"{name}.sqlite").exists()
        return done.stderr

    shutil.copytree(backup, tmp_path / "octet")
    with (tmp_path / "octet/ledger").open("r+b") as ledger:
        ledger.seek(-1, os.SEEK_END)
        ledger.write(b"\xff")
    assert "is not the one of its manifest" in refusal("octet")

    shutil.copytree(backup, tmp_path / "figure")
    manifest = (backup / "manifest").read_text().replace("table messages 1", "table messages 2")
    (tmp_path / "figure/manifest").write_text(manifest)
    assert "differs from the manifest" in refusal("figure")

    changed = open_ledger(store.hub_url)
    async with changed.accepting() as c:
        await c.execute(sql("UPDATE messages SET jws = jws || 'x'"))
    await changed.close()
    forged = Path(run("backup.sh", tmp_path / "later", file, env={}).strip())
    forged.rename(tmp_path / "message")
    assert "broken CL:one" in refusal("message")


def test_a_backup_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not a folder that looks like a backup; the exit code tells a timer."""
    missing = attempt("backup.sh", tmp_path / "b", tmp_path / "no.sqlite", env={})
    nowhere = attempt("backup.sh", tmp_path / "b", env={"PGHOST": "127.0.0.1", "PGPORT": "1"})

    assert missing.returncode
    assert nowhere.returncode
    assert list((tmp_path / "b").iterdir()) == []
    assert not (tmp_path / "no.sqlite").exists()
