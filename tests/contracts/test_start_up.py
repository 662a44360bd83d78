"""Starting and ending: a hub that cannot do what it promises does not start, and says in a sentence what to do.

The hub is a process of its own here, the command `tidewaiter serve`; RabbitMQ is real, and wrong on purpose.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url

from broker import administer, app, jws, keyfiles, startup_checks, upkeep
from broker.clock import text
from broker.config import Config
from broker.errors import SetupRefused, WireRefused
from broker.hub import Hub
from broker.ledger import open_ledger
from broker.rabbit import startup, topology
from broker.rabbit.connections import opened
from broker.rabbit.private_node import free_port
from tests import engines
from tests.engines import Rabbit
from tests.faults import process, proxy
from tests.region import LANGUAGE, MovableClock, Region, to
from tests.roles import HubDatabase
from tests.wire import SERVE, amqp_queue, hub_process, initialise, post_many, published, settings, until

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Wrong:
    """A RabbitMQ by the addresses that a hub is told."""

    amqp_url: str
    management_url: str


async def ended(home: Path, port: int, rabbit: Any, within: float = 30) -> tuple[int, str]:
    """Start a hub that will not stay: its exit code and what it said."""
    await initialise(home, f"sqlite:///{home}/ledger.sqlite", port)
    env = settings(home, f"sqlite:///{home}/ledger.sqlite", port, rabbit)
    async with process(*SERVE, output=home / "said", env=env) as hub:
        async with asyncio.timeout(within):
            while hub.running:
                await asyncio.sleep(0.05)
        code = await hub.terminate()
    return code, hub.said()


def one_sentence(said: str, *words: str) -> None:
    assert "Traceback" not in said
    for word in words:
        assert word in said, said


async def test_a_rabbitmq_that_asks_nobody_is_refused(tmp_path: Path) -> None:
    """No HTTP authentication back end: members could not be told apart."""
    async with engines.private_rabbit(None) as node:
        code, said = await ended(tmp_path, free_port(), node)
    assert code == 2, said
    one_sentence(said, "rabbitmq_auth_backend_http", "auth_backends.2 = http")


async def test_a_rabbitmq_that_asks_another_hub_is_refused(rabbit: Rabbit, tmp_path: Path) -> None:
    """Its back end asks a port where this hub does not listen."""
    code, said = await ended(tmp_path, free_port(), rabbit)
    assert code == 2, said
    one_sentence(said, "did not ask this hub")


async def test_a_rabbitmq_without_management_is_refused(rabbit: Rabbit, tmp_path: Path) -> None:
    """Nobody listens there, or somebody else."""
    code, said = await ended(tmp_path, rabbit.hub_port, Wrong(rabbit.amqp_url, f"http://127.0.0.1:{free_port()}"))
    assert code == 2, said
    one_sentence(said, "rabbitmq_management", "TIDEWAITER_RABBITMQ_MANAGEMENT_URL")


async def test_the_standing_node_is_refused_if_it_is_not_ours(tmp_path: Path) -> None:
    """The RabbitMQ of this machine has neither; whatever it lacks first is told."""
    try:
        async with opened("amqp://guest:guest@127.0.0.1:5672/"):
            pass
    except OSError:
        engines.missing("RabbitMQ (standing)", "none answers on 127.0.0.1:5672")
    standing = Wrong("amqp://guest:guest@127.0.0.1:5672/", "http://127.0.0.1:15672")
    code, said = await ended(tmp_path, free_port(), standing)
    assert code == 2, said
    one_sentence(said, "RabbitMQ")


async def test_a_login_that_rabbitmq_refuses_is_told(rabbit: Rabbit, tmp_path: Path) -> None:
    """Wrong password; a virtual host that is not there. The password is not in the sentence."""
    wrong = Wrong(rabbit.amqp_url_for(rabbit.user, "not-the-password"), rabbit.management_url)
    code, said = await ended(tmp_path, rabbit.hub_port, wrong)
    assert code == 2, said
    one_sentence(said, "TIDEWAITER_AMQP_URL")
    assert "not-the-password" not in said
    nowhere = replace(rabbit, vhost="nowhere")
    code, said = await ended(tmp_path, rabbit.hub_port, nowhere)
    assert code == 2, said
    one_sentence(said, "nowhere", "TIDEWAITER_AMQP_URL")
    assert rabbit.password not in said


async def test_a_user_who_may_not_administer_is_refused(rabbit: Rabbit, tmp_path: Path) -> None:
    """The hub closes connections through the management API."""
    rabbit.api("PUT", "/api/users/tw-plain", {"password": "plain", "tags": ""})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    rabbit.api("PUT", f"/api/permissions/{rabbit.vhost}/tw-plain", everything)
    try:
        plain = Wrong(rabbit.amqp_url_for("tw-plain", "plain"), rabbit.management_url)
        code, said = await ended(tmp_path, rabbit.hub_port, plain)
    finally:
        rabbit.api("DELETE", "/api/users/tw-plain")
    assert code == 2, said
    one_sentence(said, "administrator")


@pytest.mark.parametrize(
    ("right", "pattern", "named"),
    [("configure", "^tw[.]", startup.ANY_QUEUE), ("write", "^tw[.]dead$", "amq.default"), ("read", "", "tw.dead")],
)
async def test_a_user_without_a_right_in_the_virtual_host_is_refused(
    right: str, pattern: str, named: str, rabbit: Rabbit, tmp_path: Path
) -> None:
    """To declare, publish or consume: found before anything is tried, and named with the command that gives it."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    rabbit.api("PUT", "/api/users/tw-narrow", {"password": "narrow", "tags": "administrator"})
    rabbit.api("PUT", f"/api/permissions/{rabbit.vhost}/tw-narrow", everything | {right: pattern})
    try:
        narrow = Wrong(rabbit.amqp_url_for("tw-narrow", "narrow"), rabbit.management_url)
        code, said = await ended(tmp_path, rabbit.hub_port, narrow)
    finally:
        rabbit.api("DELETE", "/api/users/tw-narrow")
    assert code == 2, said
    one_sentence(said, right, named, "rabbitmqctl set_permissions", rabbit.vhost)


@pytest.mark.parametrize("what", ["dead letters", "queue", "policy"])
async def test_queues_with_other_arguments_are_refused(what: str, rabbit: Rabbit, tmp_path: Path) -> None:
    """A queue that would drop what we take as delivered is found at start, and named."""
    home = tmp_path / "hub"
    home.mkdir()
    url = f"sqlite:///{home}/ledger.sqlite"
    if what == "dead letters":
        named = topology.dead_queue("x")
        await declare(rabbit, named, {"x-queue-type": "classic"})
    else:
        async with hub_process(home, url, rabbit.hub_port, rabbit) as (hub, r):
            await r.enrol("PE")
            named = await amqp_queue(r, "PE")
            assert await hub.terminate() == 0
        if what == "queue":
            rabbit.api("DELETE", f"/api/queues/{rabbit.vhost}/{named}")
            await declare(rabbit, named, dict(topology.MEMBER_QUEUE) | {"x-delivery-limit": 3})
        else:
            policy = {"pattern": f"^{named}$", "definition": {"message-ttl": 1000}, "apply-to": "queues"}
            rabbit.api("PUT", f"/api/policies/{rabbit.vhost}/hasty", policy)
            await asyncio.sleep(0.5)
        (home / "said").unlink()
    code, said = await ended(home, rabbit.hub_port, rabbit)
    assert code == 2, said
    one_sentence(said, named, "x-queue-type=quorum")


async def declare(rabbit: Rabbit, name: str, arguments: dict[str, Any]) -> None:
    async with opened(rabbit.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments=arguments)


async def test_a_rabbitmq_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """Away at start, and cut off in the middle of being looked at: degraded, never refused."""
    port = free_port()
    async with engines.private_rabbit(engines.auth_url(port)) as node, proxy("127.0.0.1", node.port) as between:
        through = Wrong(node.amqp_url.replace(f":{node.port}", f":{between.port}"), node.management_url)
        between.refuse()
        async with hub_process(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", port, through) as (hub, r):

            async def degraded() -> bool:  # a relay counts from when it begins to try
                return bool((await r.http.get("/readyz")).json()["status"] == "degraded")

            await until(degraded)
            for _ in range(3):
                await between.heal()
                taken = between.accepted
                while between.accepted == taken:
                    await asyncio.sleep(0.005)
                between.cut()
                between.refuse()
                await asyncio.sleep(0.1)
            assert hub.running, hub.said()
            await between.heal()
            async with asyncio.timeout(20):
                while (await r.http.get("/readyz")).json()["status"] != "ready":
                    await asyncio.sleep(0.05)


# ── the ledger and this machine ──


async def test_a_role_without_a_right_is_refused(tmp_path: Path) -> None:
    """No grant at all, then all but one: named, before anything fails in the middle of a night."""
    async with engines.private_postgres() as cluster:
        database = HubDatabase(cluster)
        await asyncio.to_thread(database.make)
        url, port = database.url("owner"), free_port()
        await initialise(tmp_path, url, port)
        env = settings(tmp_path, database.url("hub"), port, None)
        code, said = await refused(env, tmp_path / "without")
        assert code == 2, said
        one_sentence(said, "tidewaiter_hub", "SELECT ON", "grants.sql")

        await asyncio.to_thread(database.grant)
        await asyncio.to_thread(database.psql, "--command=REVOKE UPDATE (position) ON head FROM tidewaiter_hub")
        code, said = await refused(env, tmp_path / "all-but-one")
        assert code == 2, said
        one_sentence(said, "tidewaiter_hub lacks rights in PostgreSQL: UPDATE (position) ON head. Run")

        await asyncio.to_thread(database.psql, "--command=REVOKE USAGE ON SCHEMA public FROM tidewaiter_hub")
        code, said = await refused(env, tmp_path / "nothing")
        assert code == 2, said
        one_sentence(said, "USAGE ON SCHEMA public")


async def refused(env: dict[str, str], output: Path, *command: str) -> tuple[int, str]:
    """The exit code of a hub that will not stay (or of another command), and what it said."""
    async with process(*SERVE[:-1], *(command or ("serve",)), output=output, env=env) as hub:
        async with asyncio.timeout(30):
            while hub.running:
                await asyncio.sleep(0.05)
        return await hub.terminate(), hub.said()


@pytest.mark.parametrize("what", ["role", "database", "file"])
async def test_a_ledger_that_lets_nobody_in_is_told(what: str, postgres_url: str, tmp_path: Path) -> None:
    """No such role, no such database, a file that is none: a sentence, and where to look."""
    port = free_port()
    await initialise(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", port)
    url = make_url(postgres_url).set(drivername="postgresql")
    if what == "file":
        (tmp_path / "ledger.sqlite").write_text("Not a database, but long enough to have a header " * 20)
        ledger_url, words = f"sqlite:///{tmp_path}/ledger.sqlite", ("ledger.sqlite", "no SQLite database")
    else:
        wrong = url.set(username="tw-nobody") if what == "role" else url.set(database="tw-nothing")
        ledger_url = wrong.render_as_string(hide_password=False)
        words = ("TIDEWAITER_LEDGER_URL", "tw-no")
    for command in (("serve",), ("migrate",), ("member", "list")):
        output = tmp_path / command[0]
        code, said = await refused(settings(tmp_path, ledger_url, port, None), output, *command)
        assert code == 2, said
        one_sentence(said, *words)


def embedded(home: Path, ledger_url: str) -> Config:
    port = free_port()
    return Config(home, ledger_url, f"http://127.0.0.1:{port}", "127.0.0.1", port, None, None, "json")


async def test_a_clock_apart_from_the_ledgers_is_refused(postgres_url: str, tmp_path: Path) -> None:
    """Leases and signing times are judged by both; some seconds are nothing, in either direction."""
    config = embedded(tmp_path, postgres_url)
    await app.init(config)
    await asyncio.sleep(2.2)  # the hub's key is in force from then on
    for seconds in (-2, 3):
        clock = MovableClock()
        clock.advance(seconds=seconds)
        async with app.running(config, clock):
            pass
    for seconds in (-7, 7):
        clock = MovableClock()
        clock.advance(seconds=seconds)
        with pytest.raises(SetupRefused) as told:
            async with app.running(config, clock):
                pass
        assert told.value.rule == "clock-apart"
        assert 5 < float(told.value.faults[0].found or 0) < 9  # less or more what the question took


@asynccontextmanager
async def region_ahead(config: Config, clock: MovableClock) -> AsyncIterator[Region]:
    """With CL and PE, by a clock that is wrong; nothing of it runs on."""
    await app.init(config)
    hub = Hub(open_ledger(config.ledger_url), LANGUAGE, keyfiles.load(config.hub_key, None), config.public_url, clock)
    gateway = app.make_app(hub)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway), base_url=config.public_url) as http:
        r = Region(hub, http, clock)
        await r.enrol("CL", "PE")
        yield r
    await gateway.state.committer.close()
    await hub.ledger.close()


async def test_what_was_accepted_while_the_clock_was_ahead_refuses_no_start(ledger_url: str, tmp_path: Path) -> None:
    """Its sender signed it by a clock that was right; what the hub itself signed then says nothing."""
    config, clock = embedded(tmp_path, ledger_url), MovableClock()
    async with region_ahead(config, clock) as r:
        clock.advance(hours=2)
        soon = text(clock() + timedelta(minutes=1))
        compact = r.sign(r.payload("CL", release=to(PE="action"), acknowledge_by=soon), iat=int(time.time()))
        assert (await r.post(compact)).status_code == 201
        clock.advance(minutes=2)
        await r.sweep()
        assert len(await r.take("CL")) == 1, "the notice that PE is late"
        clock.advance(hours=-2, minutes=-2)

    async with app.running(config, clock):
        pass


async def test_a_clock_that_was_set_back_is_refused(ledger_url: str, tmp_path: Path) -> None:
    """It lies before what was accepted last. On either ledger: PostgreSQL's own clock may have been set back with it."""
    config, clock = embedded(tmp_path, ledger_url), MovableClock()
    clock.advance(minutes=6)
    async with region_ahead(config, clock) as r:
        await r.send("CL", release=to("PE"))

    with pytest.raises(SetupRefused) as told:
        async with app.running(config):
            pass
    assert told.value.rule == "clock-behind"
    if ledger_url.startswith("sqlite"):
        clock.advance(seconds=-295)
        async with app.running(config, clock):  # five minutes behind it are none
            pass


async def test_a_full_disk_is_refused_and_a_filling_one_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever the hub writes. The disk is real; what is asked of it is what the test changes."""
    (tmp_path / "ledger").mkdir()
    config = embedded(tmp_path / "home", f"sqlite:///{tmp_path}/ledger/ledger.sqlite")
    await app.init(config)
    free = startup_checks.room(tmp_path)
    monkeypatch.setattr(startup_checks, "LOW_FREE_BYTES", free + 2**40)
    async with app.running(config):
        pass
    told = [record.msg["folder"] for record in caplog.records if "'disk.low'" in str(record.msg)]  # type: ignore[index]
    assert told == [str(tmp_path / "home"), str(tmp_path / "ledger")]

    monkeypatch.setattr(startup_checks, "LEAST_FREE_BYTES", free + 2**40)
    with pytest.raises(SetupRefused) as refused:
        async with app.running(config):
            pass
    assert (refused.value.rule, refused.value.faults[0].more["folder"]) == ("disk-full", str(tmp_path / "home"))


async def test_a_ledger_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """As when the hub was once started by root: told at start, not as an error of every post."""
    config = embedded(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite")
    await app.init(config)
    (tmp_path / "ledger.sqlite").chmod(0o400)
    with somebody_else(), pytest.raises(SetupRefused) as told:
        await startup_checks.allowed(config.ledger_url)

    assert told.value.rule == "ledger-file"


@contextmanager
def somebody_else() -> Iterator[None]:
    """Not root, to whom no mode matters."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


async def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it, and nothing left open behind."""
    port = free_port()
    await initialise(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", port)
    (tmp_path / "hub.key").chmod(0o644)
    code, said = await refused(settings(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", port, None), tmp_path / "said")
    assert code == 2, said
    one_sentence(said, "mode 0644", "chmod 600")
    assert "ResourceWarning" not in said


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """Exit code 2 and one sentence."""
    port = free_port()
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port)
    async with server:
        code, said = await ended(tmp_path, port, None)
    assert code == 2, said
    one_sentence(said, f"127.0.0.1:{port}")


async def test_sigterm_finishes_what_is_under_way(rabbit: Rabbit, tmp_path: Path) -> None:
    """Answers in flight come, exit code 0; what has a receipt is there after the next start, and is published."""
    async with hub_process(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", rabbit.hub_port, rabbit) as (hub, r):
        await r.enrol("CL", "PE")
        await amqp_queue(r, "PE")
        waiting = asyncio.create_task(r.call("PE", "POST", "/v1/queues/inbox/lease", {"wait_seconds": 20}))
        await r.call("PE", "GET", "/v1/queues")  # asked later and answered: the other one waits there
        posts = [asyncio.create_task(post_many(r, 300, to("PE"), f"p{n}")) for n in range(3)]
        await asyncio.sleep(0.4)
        assert await hub.terminate() == 0, hub.said()
        answers = await asyncio.gather(*posts, waiting, return_exceptions=True)
        assert "Traceback" not in hub.said()
        accepted = {address for answer in answers if isinstance(answer, list) for address in answer}
        assert not [a for a in answers if isinstance(a, AssertionError)]
        assert not isinstance(answers[-1], BaseException), "a waiting reader is answered"
        hub.start()
        await hub.answers(f"{r.hub.public_url}/readyz")
        await published(r, len(accepted))


async def test_a_loop_that_dies_ends_the_hub(rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw ends everything, with that very error; it is never a hub that only looks alive."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    config = config_of(rabbit, tmp_path)
    await app.init(config)
    monkeypatch.setattr(upkeep, "_leases", broken)
    async with asyncio.timeout(60):
        with pytest.raises(ZeroDivisionError):
            await app.serve(config)


async def test_a_refused_wire_surfaces_as_itself(rabbit: Rabbit, tmp_path: Path) -> None:
    """Not in a group of groups: the command line tells it in a sentence."""
    config = replace(config_of(rabbit, tmp_path), management_url=f"http://127.0.0.1:{free_port()}")
    await app.init(config)
    async with asyncio.timeout(60):
        with pytest.raises(WireRefused):
            await app.serve(config)


async def test_a_hub_that_is_stopped_while_rabbitmq_is_proved_ends_well(rabbit: Rabbit, tmp_path: Path) -> None:
    """What is proved then is that nobody answers RabbitMQ's questions any more: that refuses nothing."""
    config = replace(config_of(rabbit, tmp_path), port=free_port())
    await app.init(config)
    async with asyncio.timeout(60), app.running(config):
        pass


def config_of(rabbit: Rabbit, home: Path) -> Config:
    url = f"http://127.0.0.1:{rabbit.hub_port}"
    ledger = f"sqlite:///{home}/ledger.sqlite"
    return Config(home, ledger, url, "127.0.0.1", rabbit.hub_port, rabbit.amqp_url, rabbit.management_url, "json")


async def test_a_hub_whose_own_key_was_revoked_does_not_start(tmp_path: Path) -> None:
    """It would sign receipts that nobody may believe."""
    config = embedded(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite")
    await app.init(config)
    hub = await app.open_hub(config)
    kid = jws.thumbprint(jws.public_jwk(hub.key))
    await administer.revoke(hub.ledger, kid, "copied", hub.now())
    await hub.ledger.close()

    with pytest.raises(SetupRefused) as refused:
        await app.open_hub(config)

    assert refused.value.rule == "hub-key-not-in-force"
