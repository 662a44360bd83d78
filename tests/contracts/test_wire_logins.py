"""Attacks on the wire's doors: who is let in, for how long, by which protocol; and that the management API is shut."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pika  # type: ignore[import-untyped]  # it has none
import pytest

from broker import administer, jws
from broker.rabbit.private_node import manage
from tests.attacker import Scene, channel, login, set_scene, standing
from tests.engines import Rabbit, own_vhost
from tests.region import new_key, to
from tests.wire import amqp_queue, nobody_to_close, published, until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
async def scene(rabbit_server: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with set_scene(rabbit_server, tmp_path_factory.mktemp("logins")) as made:
        yield made


class Half:
    """A login that RabbitMQ has let in, and that has not opened its virtual host."""

    def __init__(self, rabbit: Rabbit, user: str, password: str) -> None:
        self.line = socket.create_connection((rabbit.host, rabbit.port), 20)
        self.octets = b""
        self.line.sendall(b"AMQP\x00\x00\x09\x01")
        self.next(pika.spec.Connection.Start)
        self.send(pika.spec.Connection.StartOk({}, "PLAIN", f"\0{user}\0{password}", "en_US"))
        self.tune = self.next(pika.spec.Connection.Tune)

    def open(self, vhost: str) -> None:
        """Raises EOFError if RabbitMQ closes the connection instead."""
        self.send(pika.spec.Connection.TuneOk(self.tune.channel_max, self.tune.frame_max, 0))
        self.send(pika.spec.Connection.Open(vhost))
        self.next(pika.spec.Connection.OpenOk)

    def send(self, method: Any) -> None:
        self.line.sendall(pika.frame.Method(0, method).marshal())

    def next(self, wanted: Any) -> Any:
        while (found := pika.frame.decode_frame(self.octets))[1] is None:
            if not (more := self.line.recv(4096)):
                raise EOFError
            self.octets += more
        self.octets = self.octets[found[0] :]
        if not isinstance(found[1].method, wanted):
            raise EOFError(repr(found[1].method))
        return found[1].method


async def refused(scene: Scene, user: str, password: str, vhost: str | None = None) -> str:
    """What RabbitMQ says to a login that fails; fails if it does not."""
    with pytest.raises(pika.exceptions.AMQPError) as error:
        await asyncio.to_thread(login, scene.rabbit, user, password, vhost)
    return repr(error.value)


async def lets_in(scene: Scene, user: str, password: str) -> bool:
    connection = await asyncio.to_thread(login, scene.rabbit, user, password)
    await asyncio.to_thread(connection.close)
    return True


Credentials = Callable[[Scene, str], Awaitable[tuple[str, str]]]


def as_user(name: str) -> Credentials:
    async def made(scene: Scene, token: str) -> tuple[str, str]:
        return name, token

    return made


def with_password(change: Callable[[str], str]) -> Credentials:
    async def made(scene: Scene, token: str) -> tuple[str, str]:
        return "PE", change(token)

    return made


def with_token(owner: str, scope: str, user: str = "PE") -> Credentials:
    async def made(scene: Scene, _: str) -> tuple[str, str]:
        return user, await scene.r.token(owner, scope)

    return made


def resigned(token: str) -> str:
    """The same claims under a key of one's own."""
    header, claims, _ = token.split(".")
    return f"{header}.{claims}.{jws.b64(b'0' * 64)}"


LOGINS: dict[str, Credentials] = {
    "with a token for the HTTPS doors": with_token("PE", "api"),
    "with an operator's token": with_token("operator:ana", "admin"),
    "as the operator, with its token": with_token("operator:ana", "admin", "operator:ana"),
    "with another member's token": with_token("AR", "amqp"),
    "as the other member": as_user("AR"),
    "as the sender": as_user("CL"),
    "as the hub of the registry": as_user("hub"),
    "as the hub, in capitals": as_user("HUB"),
    "as ECHO": as_user("ECHO"),
    "as guest": as_user("guest"),
    "as the hub's own question": as_user("tidewaiter-probe"),
    "in small letters": as_user("pe"),
    "with a space behind the name": as_user("PE "),
    "with a space before the name": as_user(" PE"),
    "with a line feed behind the name": as_user("PE\n"),
    "with a look-alike": as_user("\u03a1E"),
    "with two names": as_user("AR\0PE"),
    "with no name": as_user(""),
    "with no password": with_password(lambda token: ""),
    "with half a token": with_password(lambda token: token[: len(token) // 2]),
    "with a token and a space": with_password(lambda token: token + " "),
    "with a padded token": with_password(lambda token: token + "="),
    "with a bearer": with_password(lambda token: f"Bearer {token}"),
    "with a token signed anew": with_password(resigned),
    "with another field in the form": with_password(lambda token: f"{token}&username=PE"),
}


@pytest.mark.parametrize("credentials", [pytest.param(made, id=name) for name, made in LOGINS.items()])
async def test_nobody_is_let_in(scene: Scene, credentials: Credentials) -> None:
    """ACCESS_REFUSED, in the same words whatever was wrong; PE's own token still works."""
    token = await scene.r.token("PE", "amqp")
    said = await refused(scene, *await credentials(scene, token))

    assert "ACCESS_REFUSED - Login was refused" in said or "ProbableAuthenticationError" in said
    assert await lets_in(scene, "PE", token)


async def test_no_other_virtual_host(scene: Scene) -> None:
    """Neither one that is there nor one that is not, nor the default one."""
    token = await scene.r.token("PE", "amqp")
    async with own_vhost(scene.rabbit) as other:
        for vhost in (other.vhost, "/", "nowhere", scene.rabbit.vhost + " ", scene.rabbit.vhost.upper()):
            assert "530" in await refused(scene, "PE", token, vhost)


async def test_a_suspended_member_stays_out_with_a_good_token(scene: Scene) -> None:
    """From the suspension on; what it had open is closed; active again, the same token works while it is young."""
    name = await scene.another()
    token = await scene.r.token(name, "amqp")
    connection = await asyncio.to_thread(login, scene.rabbit, name, token)
    await administer.set_active(scene.r.hub.ledger, name, False, scene.r.clock())
    assert "ACCESS_REFUSED" in await refused(scene, name, token)
    await closed(connection)
    await administer.set_active(scene.r.hub.ledger, name, True, scene.r.clock())
    await until(lambda: nobody_to_close(scene.r, name))
    assert await lets_in(scene, name, token)


async def closed(connection: pika.BlockingConnection) -> None:
    """By RabbitMQ, and in good time."""

    def wait() -> None:
        for _ in range(100):
            connection.process_data_events(0.1)

    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as by_whom:
        await asyncio.to_thread(wait)
    assert (by_whom.value.reply_code, by_whom.value.reply_text) == (320, "CONNECTION_FORCED - access has changed")


async def test_a_connection_outlives_its_token_and_not_its_key(scene: Scene) -> None:
    """A token is for connecting: past its end an open connection reads on and a new one is refused. When the key is
    revoked the connection is closed, and no token of that key, however young, lets in again."""
    r, name = scene.r, await scene.another()
    queue = await amqp_queue(r, name)
    token = await r.token(name, "amqp")
    connection = await asyncio.to_thread(login, scene.rabbit, name, token)
    try:
        r.clock.advance(minutes=16)
        assert "ACCESS_REFUSED" in await refused(scene, name, token)
        r._tokens.clear()
        young = await r.token(name, "amqp")
        assert await lets_in(scene, name, young)
        address = await r.send("CL", f"late-{name}", to(name))
        await published(r, 1, name)

        def read() -> str:
            method, properties, _ = (ch := connection.channel()).basic_get(queue)
            ch.basic_ack(method.delivery_tag)
            return str(properties.headers["tw-address"])

        assert await asyncio.to_thread(read) == address
        old, r.keys[name] = r.keys[name], new_key()
        await r.enrol_key(name, r.keys[name])
        await administer.revoke(r.hub.ledger, jws.thumbprint(jws.public_jwk(old)), "stolen", r.clock())
        assert "ACCESS_REFUSED" in await refused(scene, name, young)
        await closed(connection)
        r._tokens.clear()
        assert "ACCESS_REFUSED" in await refused(scene, name, young)
    finally:
        r.clock.ahead *= 0
        r._tokens.clear()


async def test_a_login_that_waits_with_its_last_frame_does_not_outlast_its_key(scene: Scene) -> None:
    """Let in by a key that is revoked before the connection is opened: there is no connection yet that could be closed.
    RabbitMQ waits ten seconds for such a one; so long the member opens none, and then goes on with its new key."""
    r, name = scene.r, await scene.another()
    half = await asyncio.to_thread(Half, scene.rabbit, name, await r.token(name, "amqp"))
    try:
        old, r.keys[name] = r.keys[name], new_key()
        await r.enrol_key(name, r.keys[name])
        await administer.revoke(r.hub.ledger, jws.thumbprint(jws.public_jwk(old)), "stolen", r.clock())
        await asyncio.sleep(3)  # orders to close are repeated for two seconds
        r._tokens.clear()
        with pytest.raises(EOFError):
            await asyncio.to_thread(half.open, scene.rabbit.vhost)
        assert "NOT_ALLOWED" in await refused(scene, name, await r.token(name, "amqp"))
        r.clock.advance(seconds=12)
        assert await lets_in(scene, name, await r.token(name, "amqp"))
    finally:
        half.line.close()
        r.clock.ahead *= 0
        r._tokens.clear()


async def test_who_opens_many_connections_keeps_nobody_else_out(scene: Scene) -> None:
    """RabbitMQ limits nobody whom it does not know itself (measured on 3.10: no such user): fifty connections are
    opened and held. Another member is served meanwhile; suspending the one closes all of them, answered or not."""
    r, name, other = scene.r, await scene.another(), await scene.another()
    queue, token = await amqp_queue(r, other), await r.token(name, "amqp")
    held = await asyncio.to_thread(lambda: [login(scene.rabbit, name, token) for _ in range(50)])

    async def all_listed() -> bool:  # RabbitMQ lists a connection after it has let it in
        return await open_connections(scene, name) == 50

    await until(all_listed)
    status, answer = scene.rabbit.api("PUT", f"/api/user-limits/{name}/max-connections", {"value": 10})
    assert (status, b"no_such_user" in answer) == (400, True)

    await r.send("CL", f"for-{other}", to(other))
    await published(r, 1, other)
    others = await r.token(other, "amqp")

    def served() -> str:
        with channel(scene.rabbit, other, others) as ch:
            return str(ch.basic_get(queue, auto_ack=True)[1].headers["tw-address"])

    assert await asyncio.to_thread(served) == f"CL:for-{other}"
    await administer.set_active(r.hub.ledger, name, False, r.clock())

    async def gone() -> bool:
        return await open_connections(scene, name) == 0

    await until(gone, 40)  # RabbitMQ waits 30 s for who does not answer
    for connection in held:
        with pytest.raises(pika.exceptions.AMQPError):
            await asyncio.to_thread(connection.channel)


async def open_connections(scene: Scene, user: str) -> int:
    status, answer = await asyncio.to_thread(scene.rabbit.api, "GET", f"/api/connections/username/{user}")
    return len(json.loads(answer)) if status == 200 else 0


MANAGEMENT = (
    ("GET", "whoami", None),
    ("GET", "overview", None),
    ("GET", "definitions", None),
    ("GET", "connections", None),
    ("GET", "queues/{vhost}/{foreign}", None),
    ("POST", "queues/{vhost}/{own}/get", {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}),
    ("POST", "queues/{vhost}/{foreign}/get", {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}),
    (
        "POST",
        "exchanges/{vhost}/amq.default/publish",
        {"properties": {}, "routing_key": "{foreign}", "payload": "forged", "payload_encoding": "string"},
    ),
    ("DELETE", "queues/{vhost}/{own}", None),
    ("DELETE", "queues/{vhost}/{foreign}/contents", None),
    ("DELETE", "connections/username/AR", None),
    ("PUT", "queues/{vhost}/mine", {"durable": True}),
    ("PUT", "policies/{vhost}/mine", {"pattern": ".*", "definition": {"max-length": 1}}),
    ("PUT", "users/PE", {"password": "x", "tags": "administrator"}),
    ("PUT", "permissions/{vhost}/PE", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("GET", "auth", None),
)


@pytest.mark.parametrize(
    ("owner", "scope"), [("PE", "amqp"), ("PE", "api"), ("operator:ana", "admin")], ids=lambda it: it
)
async def test_the_management_api_opens_for_no_token(scene: Scene, owner: str, scope: str) -> None:
    """Members have no tags in RabbitMQ, and the hub gives none: whatever is asked is 401, and nothing has moved."""
    token = await scene.r.token(owner, scope)
    before = await asyncio.to_thread(standing, scene)
    names = {"vhost": scene.rabbit.vhost, "own": scene.own, "foreign": scene.foreign}

    for method, path, body in MANAGEMENT:
        asked = "/api/" + path.format(**names)
        status, answer = await asyncio.to_thread(manage, scene.rabbit.management_url, owner, token, method, asked, body)
        if path != "auth":  # what kind of login there is, for the page that asks for one
            assert status == 401, (method, path, answer)
    assert await asyncio.to_thread(standing, scene) == before


async def test_there_is_no_other_way_in(scene: Scene) -> None:
    """AMQP 0-9-1 and the management API: no MQTT, no STOMP, no AMQP 1.0, no stream port; as our own node is set up, and
    as deploy/ has it."""
    status, answer = scene.rabbit.api("GET", "/api/overview")
    protocols = {it["protocol"] for it in json.loads(answer)["listeners"]}
    assert status == 200
    assert protocols <= {"amqp", "amqp/ssl", "http", "https", "clustering"}
    plugins = re.findall(r"\w+", (ROOT / "deploy" / "rabbitmq" / "enabled_plugins").read_text())
    assert {"rabbitmq_management", "rabbitmq_auth_backend_http"} <= set(plugins)
    assert not [name for name in plugins if re.search("mqtt|stomp|amqp1_0|stream|web_|shovel|federation|cache", name)]


@pytest.mark.parametrize(
    "greeting", [b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00", b"GET / HT", b"\x10\x10\x00\x04MQTT"]
)
async def test_another_protocol_is_answered_with_ours(scene: Scene, greeting: bytes) -> None:
    """AMQP 1.0, bare or with SASL, HTTP, MQTT: RabbitMQ names the one it speaks and hangs up."""

    def answer() -> bytes:
        with socket.create_connection((scene.rabbit.host, scene.rabbit.port), 20) as line:
            line.sendall(greeting)
            return line.recv(8, socket.MSG_WAITALL)

    assert await asyncio.to_thread(answer) == b"AMQP\x00\x00\x09\x01"
