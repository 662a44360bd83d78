"""Starting and ending: a hub that cannot do what it promises does not start, and says in a sentence what to do.

The hub is a process of its own here, the command `tidewaiter serve`; RabbitMQ is real, and wrong on purpose.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from broker import app, upkeep
from broker.config import Config
from broker.errors import WireRefused
from broker.rabbit import topology
from broker.rabbit.connections import opened
from broker.rabbit.private_node import free_port
from tests import engines
from tests.engines import Rabbit
from tests.faults import process, proxy
from tests.region import to
from tests.wire import SERVE, amqp_queue, hub_process, initialise, post_many, published, settings


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


@pytest.mark.parametrize("what", ["dead letters", "queue", "policy"])
async def test_queues_with_other_arguments_are_refused(what: str, rabbit: Rabbit, tmp_path: Path) -> None:
    """A queue that would drop what we take as delivered is found at start, and named."""
    home = tmp_path / "hub"
    home.mkdir()
    url = f"sqlite:///{home}/ledger.sqlite"
    if what == "dead letters":
        named = topology.DEAD
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
            assert (await r.http.get("/readyz")).json()["status"] == "degraded"
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
        posts = [asyncio.create_task(post_many(r, 300, to("PE"), f"p{n}")) for n in range(3)]
        waiting = asyncio.create_task(r.call("PE", "POST", "/v1/queues/inbox/lease", {"wait_seconds": 20}))
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
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await app.serve(config)


async def test_a_refused_wire_surfaces_as_itself(rabbit: Rabbit, tmp_path: Path) -> None:
    """Not in a group of groups: the command line tells it in a sentence."""
    config = replace(config_of(rabbit, tmp_path), management_url=f"http://127.0.0.1:{free_port()}")
    await app.init(config)
    async with asyncio.timeout(20):
        with pytest.raises(WireRefused):
            await app.serve(config)


def config_of(rabbit: Rabbit, home: Path) -> Config:
    url = f"http://127.0.0.1:{rabbit.hub_port}"
    ledger = f"sqlite:///{home}/ledger.sqlite"
    return Config(home, ledger, url, "127.0.0.1", rabbit.hub_port, rabbit.amqp_url, rabbit.management_url, "json")
