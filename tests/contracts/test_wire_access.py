"""What a member's token opens in RabbitMQ: its own queues, to read. Each attack is named after what it tries."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aio_pika
import httpx2
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError

from broker.rabbit.connections import opened
from tests.engines import Rabbit, own_vhost
from tests.region import Region, to, wired_region
from tests.wire import amqp_queue, connected, consumer, post_many, published, receive, states, url_of

AUTH = "/v1/rabbitmq/auth"


@dataclass
class Scene:
    r: Region
    rabbit: Rabbit
    own: str
    foreign: str


@pytest.fixture
async def scene(rabbit: Rabbit, tmp_path: Path) -> AsyncIterator[Scene]:
    """PE has a queue, AR has one too, and both have a message."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE", "AR", "operator:ana")
        made = Scene(r, rabbit, await amqp_queue(r, "PE"), await amqp_queue(r, "AR"))
        await r.send("CL", "secret", to("AR"))
        await published(r, 1, "AR")
        yield made


@asynccontextmanager
async def channel_of(scene: Scene, *, confirms: bool = False) -> AsyncIterator[AbstractChannel]:
    async with connected(scene.r, scene.rabbit, "PE") as connection:
        yield await connection.channel(publisher_confirms=confirms)


async def publish(channel: AbstractChannel, exchange: str, key: str, **headers: object) -> None:
    message = aio_pika.Message(b"forged", headers=headers or None, user_id=None)  # type: ignore[arg-type]
    target = channel.default_exchange if not exchange else await channel.get_exchange(exchange, ensure=False)
    await target.publish(message, key, timeout=20)


Attack = Callable[[AbstractChannel, Scene], Awaitable[object]]
ATTACKS: dict[str, Attack] = {
    "publish to the default exchange, into the foreign queue": lambda c, s: publish(c, "", s.foreign),
    "publish to the default exchange, into its own queue": lambda c, s: publish(c, "", s.own),
    "publish to the dead letters": lambda c, s: publish(c, "tw.dead", ""),
    "publish to amq.topic": lambda c, s: publish(c, "amq.topic", "x"),
    "publish with a CC header": lambda c, s: publish(c, "", s.own, CC=[s.foreign]),
    "publish with a BCC header": lambda c, s: publish(c, "", s.own, BCC=[s.foreign]),
    "consume the foreign queue": lambda c, s: consume(c, s.foreign),
    "get from the foreign queue": lambda c, s: get(c, s.foreign),
    "purge the foreign queue": lambda c, s: purge(c, s.foreign),
    "delete the foreign queue": lambda c, s: delete(c, s.foreign),
    "delete its own queue": lambda c, s: delete(c, s.own),
    "consume the dead letters": lambda c, s: consume(c, "tw.dead"),
    "purge the dead letters": lambda c, s: purge(c, "tw.dead"),
    "declare a queue": lambda c, s: c.declare_queue("mine", durable=True, timeout=20),
    "declare a queue that the server names": lambda c, s: c.declare_queue(exclusive=True, timeout=20),
    "declare the foreign queue": lambda c, s: c.declare_queue(s.foreign, durable=True, timeout=20),
    "declare an exchange": lambda c, s: c.declare_exchange("mine", timeout=20),
    "delete the dead letters' exchange": lambda c, s: c.exchange_delete("tw.dead", timeout=20),
    "bind its own queue to the dead letters": lambda c, s: bind(c, s.own, "tw.dead"),
    "bind its own queue to amq.topic": lambda c, s: bind(c, s.own, "amq.topic"),
    "bind amq.topic to the dead letters": lambda c, s: bind_exchange(c, "amq.topic", "tw.dead"),
    "ask for a queue by a guessed name": lambda c, s: c.declare_queue("A" * 22, passive=True, timeout=20),
}


async def consume(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).consume(asyncio.Queue[object]().put, timeout=20)


async def get(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).get(timeout=20)


async def purge(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).purge(timeout=20)


async def delete(channel: AbstractChannel, name: str) -> None:
    await channel.queue_delete(name, timeout=20)


async def bind(channel: AbstractChannel, name: str, exchange: str) -> None:
    await (await channel.get_queue(name, ensure=False)).bind(exchange, "#", timeout=20)


async def bind_exchange(channel: AbstractChannel, name: str, source: str) -> None:
    await (await channel.get_exchange(name, ensure=False)).bind(source, "#", timeout=20)


async def test_every_attack_on_the_channel_is_refused(scene: Scene) -> None:
    """RabbitMQ closes the channel on each of them, and nothing has moved."""
    for name, attack in ATTACKS.items():
        async with channel_of(scene, confirms="publish" in name) as channel:
            try:
                await attack(channel, scene)
            except AMQPError:
                continue
            pytest.fail(f"allowed: {name}")
    async with consumer(scene.r, scene.rabbit, "PE", scene.own) as queue:
        assert await queue.get(fail=False) is None
    async with consumer(scene.r, scene.rabbit, "AR", scene.foreign) as queue:
        (message,) = await receive(queue, 1)
        assert message.headers["tw-address"] == "CL:secret"
        assert await queue.get(fail=False) is None


async def test_a_member_reads_its_own_queue_in_every_way(scene: Scene) -> None:
    """consume, get, ack, reject, requeue, purge: its own loss, and the ledger still has it for a replay."""
    await post_many(scene.r, 5, to("PE"), "a")
    await published(scene.r, 5)
    async with channel_of(scene) as channel:
        queue = await channel.get_queue(scene.own, ensure=False)
        first = await queue.get()
        assert first is not None
        await first.reject(requeue=True)
        second = await queue.get()
        assert second is not None
        await second.ack()
        await queue.purge()
        assert await queue.get(fail=False) is None
    assert await states(scene.r, "PE") == ["published"] * 5
    answer = await scene.r.call("PE", "POST", "/v1/queues/wire/replay", {"sequence": 5})
    assert answer.json()["replayed"] == 1, answer.text
    async with channel_of(scene) as channel:
        (again,) = await receive(await channel.get_queue(scene.own, ensure=False), 1)
    assert (again.headers["tw-sequence"], again.headers["tw-round"]) == (5, 2)


async def test_the_depth_of_a_queue_whose_name_is_known_shows(scene: Scene) -> None:
    """RabbitMQ asks nobody about a passive declare: that is why queues have random names of 128 bits."""
    async with channel_of(scene) as channel:
        state = await channel.declare_queue(scene.foreign, passive=True)
    assert state.declaration_result.message_count == 1
    assert len(base64.urlsafe_b64decode(scene.foreign + "==")) == 16


async def let_in(scene: Scene, user: str, password: str, vhost: str | None = None) -> bool:
    url = url_of(scene.rabbit, quote(user, safe=""), quote(password, safe=""))
    if vhost is not None:
        url = url.rpartition("/")[0] + "/" + quote(vhost, safe="")
    try:
        async with opened(url):
            return True
    except AMQPError:
        return False


async def test_only_a_token_of_scope_amqp_of_that_very_member_lets_in(scene: Scene) -> None:
    """Not another scope, not another member's, not an expired one, no guess at RabbitMQ's own users."""
    r = scene.r
    token = await r.token("PE", "amqp")
    assert await let_in(scene, "PE", token)
    for user, password in (
        ("PE", await r.token("PE", "api")),
        ("PE", await r.token("AR", "amqp")),
        ("AR", token),
        ("CL", token),
        ("pe", token),
        ("PE ", token),
        ("hub", token),
        ("guest", token),
        ("operator:ana", await r.token("operator:ana", "admin")),
        ("PE", token[:-2]),
        ("PE", token + "="),
        ("PE", ""),
        ("PE", "x" * 5000),
        ("tidewaiter-probe", token),
        ("guest", "guest"),
        ("hub", "hub"),
        (scene.rabbit.user, "guest"),
        (scene.rabbit.user, ""),
        ("", ""),
    ):
        assert not await let_in(scene, user, password), (user, password[:10])
    r.clock.advance(minutes=16)
    assert not await let_in(scene, "PE", token)
    r._tokens.clear()
    assert await let_in(scene, "PE", await r.token("PE", "amqp"))


async def test_a_connection_outlives_its_token(scene: Scene) -> None:
    """The token is for connecting."""
    await scene.r.send("CL", "a", to("PE"))
    async with connected(scene.r, scene.rabbit, "PE") as connection:
        scene.r.clock.advance(minutes=16)
        channel = await connection.channel(publisher_confirms=False)
        assert len(await receive(await channel.get_queue(scene.own, ensure=False), 1)) == 1


async def test_other_virtual_hosts_are_closed(scene: Scene) -> None:
    """What else lives in this RabbitMQ is no business of a member."""
    token = await scene.r.token("PE", "amqp")
    async with own_vhost(scene.rabbit) as other:
        assert await let_in(scene, "PE", token)
        assert not await let_in(scene, "PE", token, other.vhost)
    assert not await let_in(scene, "PE", token, "/")


async def test_the_management_api_knows_no_member(scene: Scene) -> None:
    """Neither reads nor closes anything."""
    token = await scene.r.token("PE", "amqp")
    async with httpx2.AsyncClient(base_url=scene.rabbit.management_url, auth=("PE", token)) as http:
        for path in ("whoami", "queues", "connections", f"queues/{scene.rabbit.vhost}/{scene.own}", "overview"):
            assert (await http.get(f"/api/{path}")).status_code == 401, path
        assert (await http.delete("/api/connections/username/AR")).status_code == 401


async def test_an_amqp_token_opens_no_http_door(scene: Scene) -> None:
    """403 at members' and operators' doors alike."""
    headers = {"authorization": f"Bearer {await scene.r.token('PE', 'amqp')}"}
    for path in ("/v1/queues", "/v1/messages", "/v1/members", "/v1/admin/dead-letters"):
        assert (await scene.r.http.get(path, headers=headers)).status_code == 403, path


async def test_the_auth_door_allows_nothing_it_was_not_asked_properly(scene: Scene) -> None:
    """Wrong methods, media types, sizes, doubled fields, other questions: never `allow`."""
    http, vhost = scene.r.http, scene.rabbit.vhost
    token = await scene.r.token("PE", "amqp")
    good = {"username": "PE", "password": token}
    resource = {"username": "PE", "vhost": vhost, "resource": "queue", "name": scene.own, "permission": "read"}

    async def asked(question: str, **options: object) -> tuple[int, str]:
        answer = await http.post(f"{AUTH}/{question}", **options)  # type: ignore[arg-type]
        return answer.status_code, answer.text

    assert await asked("user", data=good) == (200, "allow")
    assert await asked("vhost", data={"username": "PE", "vhost": vhost, "ip": "127.0.0.1"}) == (200, "allow")
    assert await asked("resource", data=resource) == (200, "allow")
    assert await asked("user", data={"username": "tidewaiter-probe", "password": "contraseña"}) == (200, "deny")
    form = {"content-type": "application/x-www-form-urlencoded"}
    octets = f"username=PE&password={token}"
    for question, options in {
        "topic": {"data": resource | {"resource": "topic"}},
        "user/": {"data": good},
        "resource": {"data": resource | {"permission": "write"}},
        "vhost": {"data": {"username": "PE"}},
    }.items():
        assert (await asked(question, **options))[1] != "allow", question
    for change in (
        {"permission": "configure"}, {"permission": "READ"}, {"permission": ""}, {"resource": "exchange"}, {"name": scene.foreign},
        {"name": scene.own + " "}, {"name": ""}, {"username": "AR"}, {"username": ""}, {"vhost": "/"}, {"vhost": ""},
    ):  # fmt: skip
        assert await asked("resource", data=resource | change) == (200, "deny"), change
    assert (await asked("user", content=octets + "&username=AR", headers=form))[0] == 400
    assert (await asked("user", content=f"username=AR&{octets}", headers=form))[0] == 400
    assert (await asked("user", json=good))[0] == 415
    assert (await asked("user", content=octets + "&x=" + "y" * 20_000, headers=form))[0] == 413
    assert (await asked("user", content="&".join(f"a{n}=1" for n in range(100)), headers=form))[0] == 400
    assert (await asked("user", content=b"username=\xff\xfe", headers=form))[0] == 400
    assert (await http.get(f"{AUTH}/user", params=good)).status_code == 405
    assert (await http.post(f"{AUTH}/user?{octets}", data={})).text != "allow"
