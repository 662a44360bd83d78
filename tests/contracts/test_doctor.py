"""`tidewaiter doctor` on installations that are well, and on each that is broken in one way."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from sqlalchemy import insert

from broker import administer, app, jws, keyfiles, startup_checks
from broker.config import Config, read_config
from broker.doctor import Finding, front, hub, ledger, machine, span, wire
from broker.ledger import open_ledger, relays
from broker.ledger import tables as t
from broker.rabbit import topology
from broker.rabbit.management import Management
from broker.rabbit.private_node import free_port
from tests import engines
from tests.engines import Rabbit, private_postgres
from tests.region import MovableClock, Region, to
from tests.roles import HubDatabase
from tests.wire import amqp_queue, hub_process, initialise, settings

pytestmark = pytest.mark.long

LEDGER = ["ledger", "rights", "migrations", "clock", "durability", "hub key"]
WIRE = ["RabbitMQ", "management", "version", "wire rights", "queues", "alarms", "back end", "relays", "parked queues"]
ALL = [
    "settings",
    "schemas",
    "folder",
    "disk",
    "open files",
    "key file",
    "process",
    "public URL",
    *LEDGER,
    *WIRE,
    "waiting",
    "dead letters",
]


def config_of(home: Path, ledger_url: str | None = None, port: int | None = None, rabbit: Any = None) -> Config:
    url = ledger_url or f"sqlite:///{home}/ledger.sqlite"
    return read_config(settings(home, url, port or free_port(), rabbit))


async def examined(config: Config) -> dict[str, Finding]:
    """Check → finding. A check that is made twice is there once: the worse of the two."""
    found: dict[str, Finding] = {}
    async for one in hub.examine(config, "en"):
        if one.check not in found or one.outcome != "ok":
            found[one.check] = one
    return found


def only(found: dict[str, Finding], **wrong: str) -> None:
    """What is not well, and nothing else: name → outcome."""
    named = {name.replace("_", " "): outcome for name, outcome in wrong.items()}
    assert {name: one.outcome for name, one in found.items() if one.outcome != "ok"} == named, found
    assert all(one.next for one in found.values() if one.outcome != "ok"), found


async def command(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code of `tidewaiter doctor`, and what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "broker.cli", "doctor", *arguments,
        env={"PATH": "/usr/bin:/bin", **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode is not None
    return child.returncode, out.decode()


# ── well, running or not ──


async def test_a_hub_that_is_well(rabbit: Rabbit, tmp_path: Path) -> None:
    """Every check, in order, while it runs; then, stopped, the same without what only a running hub shows."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    env = settings(tmp_path, url, rabbit.hub_port, rabbit)
    async with hub_process(tmp_path, url, rabbit.hub_port, rabbit) as (process, r):
        await r.enrol("PE")
        await amqp_queue(r, "PE")
        code, said = await command(env, "--json")
        whole = json.loads(said)
        assert code == 0, said
        assert [(one["check"], one["outcome"]) for one in whole["findings"]] == [(name, "ok") for name in ALL]
        assert (whole["failed"], whole["warned"]) == (0, 0)
        assert await process.terminate() == 0

        code, said = await command(env)
    assert code == 0, said
    marks = {
        line[6:19].strip(): line[:5].strip() for line in said.splitlines() if line[:5].strip() in ("OK", "WARN", "FAIL")
    }
    assert {name for name, mark in marks.items() if mark == "WARN"} == {"process", "public URL", "back end", "relays"}
    assert "FAIL" not in marks.values()
    assert said.count("→") == 4
    assert said.splitlines()[-1] == "25 checks: 0 failed, 4 to look at."
    assert rabbit.password not in said


async def test_settings_that_cannot_be_used_end_it(tmp_path: Path) -> None:
    code, said = await command(settings(tmp_path, "sqlite:///x", 1, None) | {"TIDEWAITER_PUBLIC_URL": "nowhere"})

    assert code == 2
    assert "/public_url" in said
    assert "Traceback" not in said


# ── this machine ──


async def test_a_place_without_a_hub(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    found = await examined(config_of(tmp_path / "nowhere"))

    only(found, folder="fail", key_file="fail", process="warn", ledger="fail")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A hub that is set up and does not run."""
    tmp_path.chmod(0o700)
    await initialise(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", 8700)
    return tmp_path


STOPPED = {"process": "warn", "public_URL": "warn"}


@pytest.mark.parametrize(
    ("folder_mode", "key_mode", "wrong"),
    [
        (0o700, 0o600, {}),
        (0o701, 0o600, {"folder": "fail"}),
        (0o750, 0o600, {"folder": "fail"}),
        (0o700, 0o640, {"key_file": "fail"}),
    ],
)
async def test_what_others_may_read(folder_mode: int, key_mode: int, wrong: dict[str, str], home: Path) -> None:
    """The ledger is written for all eyes that get at it, so nobody else's may."""
    (home / "ledger.sqlite").chmod(0o644)
    home.chmod(folder_mode)
    (home / "hub.key").chmod(key_mode)
    expected = STOPPED | wrong
    if "key_file" in wrong:  # without it nobody can be asked
        del expected["public_URL"]

    only(await examined(config_of(home)), **expected)


async def test_a_folder_that_is_open_and_shows_nothing(home: Path) -> None:
    """The ledger is elsewhere: worth a word."""
    home.chmod(0o755)
    found = machine.folder(home, "postgresql://hub@127.0.0.1/hub")

    assert (found.outcome, found.next) == ("warn", f"chmod 700 {home}")


async def test_a_disk_that_fills(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First a word, then what `serve` says."""
    free = startup_checks.room(home)
    monkeypatch.setattr(startup_checks, "LOW_FREE_BYTES", free + 2**40)
    only(await examined(config_of(home)), disk="warn", **STOPPED)
    monkeypatch.setattr(startup_checks, "LEAST_FREE_BYTES", free + 2**40)
    found = await examined(config_of(home))
    only(found, disk="fail", **STOPPED)
    assert "Make room" in found["disk"].found


async def test_too_few_open_files_and_a_url_in_clear(home: Path) -> None:
    config = replace(config_of(home), max_connections=10_000_000, public_url="http://hub.invalid")
    found = await examined(config)

    only(found, settings="warn", open_files="warn", **STOPPED)
    assert "ulimit -n" in found["open files"].next


# ── the ledger ──


async def test_a_ledger_that_is_away_behind_or_forbidden(home: Path) -> None:
    """Each is told once, and nothing that rests on it is looked at."""
    found = await examined(config_of(home, f"postgresql://hub@127.0.0.1:{free_port()}/hub"))
    only(found, ledger="fail", **STOPPED)
    assert "hub key" not in found
    async with private_postgres() as cluster:
        database = HubDatabase(cluster)
        await asyncio.to_thread(database.make)
        only(await examined(config_of(home, database.url("nobody"))), ledger="fail", **STOPPED)
        only(await examined(config_of(home, database.url("hub"))), migrations="fail", **STOPPED)
        await initialise(home, database.url("owner"), 8700)
        found = await examined(config_of(home, database.url("hub")))
        only(found, rights="fail", **STOPPED)
        assert "grants.sql" in found["rights"].found
        await asyncio.to_thread(database.grant)
        found = await examined(config_of(home, database.url("hub")))
        only(found, durability="warn", **STOPPED)  # a private cluster does not wait for the disk
        assert "fsync is off" in found["durability"].found
        await asyncio.to_thread(database.psql, "--command=ALTER ROLE tidewaiter_hub SET synchronous_commit = off")
        assert "synchronous_commit is off" in (await examined(config_of(home, database.url("hub"))))["durability"].found


async def test_a_key_that_the_ledger_does_not_know(home: Path) -> None:
    (home / "hub.key").unlink()
    keyfiles.save(home / "hub.key", keyfiles.generate(), None)

    only(await examined(config_of(home)), hub_key="fail", **STOPPED)


async def test_a_key_that_is_revoked(home: Path) -> None:
    opened = open_ledger(f"sqlite:///{home}/ledger.sqlite")
    kid = jws.thumbprint(jws.public_jwk(keyfiles.load(home / "hub.key", None)))
    await administer.revoke(opened, kid, "stolen", datetime.now(UTC))
    await opened.close()
    found = await examined(config_of(home))

    only(found, hub_key="fail", **STOPPED)
    assert "revoked" in found["hub key"].found


async def test_a_clock_that_was_set_back(home: Path, postgres_url: str) -> None:
    """Seen by the very function that `serve` asks."""
    await initialise(home, postgres_url, 8700)
    clock = MovableClock()
    clock.advance(seconds=-20)
    found = [one async for one in hub.examine(config_of(home, postgres_url), "es", clock)]

    assert [one.found.split(":")[0] for one in found if one.check == "clock" and one.outcome == "fail"]
    assert "NTP" in next(one.found for one in found if one.check == "clock")


# ── what waits ──


async def test_what_waits_is_named(here: Region) -> None:
    """Not what a suspended member has, nor what was put off; the wire's sooner than a member's own affair."""
    await here.enrol("CL", "PE", "AR")
    await here.subscribe("AR", "mine", {"any": [{"originator": ["CL"]}]})
    now = here.clock()

    async def at(**later: float) -> Finding:
        return await ledger.waiting(here.hub.ledger, await ledger.snapshot(here.hub.ledger), now + timedelta(**later))

    assert (await at()).found == "nothing"
    await here.send("CL", release=to("PE", "AR"))
    assert (await at()).outcome == "ok"
    assert (await at(hours=23)).found == "2 deliveries, the oldest for 23 hours"
    found = await at(days=3)
    assert (found.outcome, sorted(found.found.removeprefix("Nobody fetches: ").removesuffix(".").split("; "))) == (
        "warn", ["AR/mine since 3 days", "PE/inbox since 3 days"],
    )  # fmt: skip
    await administer.set_active(here.hub.ledger, "PE", False, now)
    assert (await at(days=3)).found == "Nobody fetches: AR/mine since 3 days."
    (delivery,) = await here.lease("AR", "mine")
    off = {"lease_id": delivery["lease_id"], "outcome": "release", "delay_seconds": 86_400}
    await here.settle("AR", "mine", off)
    assert (await at(hours=23)).found == "nothing"

    await administer.subscribe(here.hub.ledger, "AR", "wire", "amqp", {}, now, wire=True)
    await here.send("CL", release=to("AR"))
    assert (await at(seconds=50)).outcome == "ok"
    found = await at(minutes=3)
    assert (found.outcome, found.found) == ("warn", "Deliveries wait for RabbitMQ: AR/wire since 3 minutes.")


async def test_dead_letters_are_counted(here: Region) -> None:
    await here.enrol("CL", "PE")
    assert (await ledger.dead_letters(here.hub.ledger)).outcome == "ok"
    await here.send("CL", release=to("PE"))
    (delivery,) = await here.lease("PE")
    await here.settle("PE", "inbox", {"lease_id": delivery["lease_id"], "outcome": "reject", "reason": "no"})
    found = await ledger.dead_letters(here.hub.ledger)

    assert (found.outcome, found.found) == ("warn", "1 deliveries need somebody.")


async def test_queues_that_are_parked_and_relays_that_are_not(here: Region) -> None:
    await here.enrol("PE")
    registry = await ledger.snapshot(here.hub.ledger)
    (queue,) = registry.queues
    for running, outcome in ((True, "fail"), (False, "warn")):
        assert (await ledger.relays_alive(here.hub.ledger, running)).outcome == outcome
    async with here.hub.ledger.accepting() as c:
        number = await relays.enlist(c)
        await c.execute(insert(t.holdings).values(queue=queue, relay=number, parked="it has no leader"))

    assert (await ledger.relays_alive(here.hub.ledger, True)).outcome == "ok"
    assert (await ledger.parked(here.hub.ledger, registry)).found == "PE/inbox: it has no leader."


def test_a_duration_is_told_as_people_say_it() -> None:
    assert [span(s) for s in (5, 119, 180, 7200, 3 * 86_400)] == [
        "5 seconds",
        "119 seconds",
        "3 minutes",
        "2 hours",
        "3 days",
    ]


# ── RabbitMQ ──


async def test_a_rabbitmq_that_is_wrong(rabbit: Rabbit, home: Path) -> None:
    """Away, not letting us in, without management, with a queue that would lose messages."""
    config = config_of(home, rabbit=rabbit)
    away = replace(config, amqp_url=f"amqp://127.0.0.1:{free_port()}/")
    rest = STOPPED | {"relays": "warn"}
    only(await examined(away), RabbitMQ="fail", **rest)
    found = await examined(replace(config, amqp_url=rabbit.amqp_url_for(rabbit.user, "not-the-password")))
    only(found, RabbitMQ="fail", **rest)
    assert "not-the-password" not in found["RabbitMQ"].found
    without = replace(config, management_url=f"http://127.0.0.1:{free_port()}")
    only(await examined(without), management="fail", back_end="warn", **rest)
    rabbit.api(
        "PUT",
        f"/api/queues/{rabbit.vhost}/{topology.dead_queue('x')}",
        {"durable": True, "arguments": {"x-queue-type": "classic"}},
    )
    found = await examined(config)
    only(found, queues="fail", back_end="warn", **rest)
    assert topology.dead_queue("x") in found["queues"].found


async def test_a_rabbitmq_with_an_alarm(tmp_path: Path) -> None:
    """Raised by a real node that may have next to no memory."""
    async with (
        engines.private_rabbit(None, extra_conf="vm_memory_high_watermark.absolute = 1MB\n") as node,
        Management(node.management_url, node.amqp_url) as management,
    ):
        async with asyncio.timeout(20):
            while (found := await wire.alarms(management)).outcome == "ok":
                await asyncio.sleep(0.2)
        assert found.outcome == "fail"
        assert "memory on " in found.found
        assert (await wire.version(management)).outcome == "ok"


def test_versions_of_rabbitmq() -> None:
    assert [wire.version_of(v).outcome for v in ("3.9.29", "3.10.8", "3.13.7", "4.1.0")] == ["warn", "ok", "ok", "ok"]
    assert "was not run" in wire.version_of("4.1.0").found
    down = [{"name": "a", "running": True}, {"name": "b", "running": False}]
    assert (wire.alarms_of(down).outcome, "b" in wire.alarms_of(down).found) == ("warn", True)


# ── what stands in front ──


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Config]:
    """A hub that runs."""
    home = tmp_path_factory.mktemp("served")
    home.chmod(0o700)
    config = config_of(home)
    await app.init(config)
    async with app.running(config):
        yield config


async def test_the_public_url_leads_to_this_hub(served: Config) -> None:
    """By its key: not to another one, not to one that calls itself otherwise, and not to just anything."""
    key = keyfiles.load(served.hub_key, None)
    assert (await front.running(served))[1]
    assert (await front.public(served, key, True)).outcome == "ok"
    found = await front.public(served, keyfiles.generate(), True)
    assert (found.outcome, "another key" in found.found) == ("fail", True)
    found = await front.public(
        replace(served, public_url=served.public_url.replace("127.0.0.1", "localhost")), key, True
    )
    assert (found.outcome, "otherwise" in found.found) == ("fail", True)
    nobody = replace(served, public_url=f"http://127.0.0.1:{free_port()}")
    assert [(await front.public(nobody, key, here)).outcome for here in (True, False)] == ["fail", "warn"]


async def test_what_answers_may_be_no_hub(served: Config) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", port := free_port())
    async with server:
        other = replace(served, public_url=f"http://127.0.0.1:{port}", port=port)
        found = await front.public(other, keyfiles.load(served.hub_key, None), True)
        assert (found.outcome, "403" in found.found) == ("warn", True)
        assert (await front.running(other))[0].outcome == "fail"


def certified(folder: Path, name: str, days: float) -> ssl.SSLContext:
    """A server's context, with a certificate of its own that ends in so many days."""
    key = generate_private_key(SECP256R1())
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    ends = datetime.now(UTC) + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder(called, called, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=400))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    (folder / "trusted.pem").write_bytes(certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@asynccontextmanager
async def tls(context: ssl.SSLContext) -> AsyncIterator[str]:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port := free_port(), ssl=context)
    async with server:
        yield f"https://localhost:{port}"


@pytest.mark.parametrize(
    ("name", "days", "trusted", "outcome", "said"),
    [
        ("localhost", 90, True, "ok", "is good until"),
        ("localhost", 29, True, "warn", "for 29 days more"),
        ("localhost", -1, True, "fail", "has expired"),
        ("localhost", 90, False, "warn", "does not trust"),
        ("elsewhere.example", 90, True, "fail", "not made out to localhost"),
    ],
)
async def test_certificates(
    name: str, days: float, trusted: bool, outcome: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real handshake; what members would find is found first."""
    context = certified(tmp_path, name, days + 0.01)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with tls(context) as url:
        found = await front.certificate(url, datetime.now(UTC))

    assert found is not None
    assert (found.outcome, said in found.found) == (outcome, True), found


async def test_a_url_without_tls_has_no_certificate_and_one_that_only_says_so_fails(served: Config) -> None:
    assert await front.certificate(served.public_url, datetime.now(UTC)) is None
    found = await front.certificate(served.public_url.replace("http:", "https:"), datetime.now(UTC))

    assert found is not None
    assert (found.outcome, "does not speak TLS" in found.found) == ("fail", True)
