"""The proxy in front of a cluster, run: who gets in, to which doors, over HTTPS and over AMQP. RabbitMQ and the relay
speak through it as well, as they do in deploy/cluster."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker import keyfiles
from broker.hub import Hub
from broker.ledger import open_ledger
from broker.rabbit.private_node import free_port
from tests.acceptance.front import Front, free_ports, front, haproxy
from tests.engines import AUTH_PATH, private_rabbit
from tests.faults import process
from tests.region import LANGUAGE, MovableClock, Region, to
from tests.wire import SERVE, amqp_queue, initialise, settings

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MEMBERS = ("/v1/messages", "/v1/queues", "/v1/members", "/v1/schemas", "/healthz", "/openapi.json")
HIDDEN = ("/metrics", "/readyz", "/v1/rabbitmq/auth/user", "/v1/admin/queues", "/console", "/", "/v1", "/nothing",
          "/v1/%61dmin/queues", "/v1/admin%2fqueues", "//v1/admin/queues", "/V1/admin/queues", "/v1/./admin/queues",
          "/v1/rabbitm%71/auth/user", "/%6detrics", "/metrics/", "/healthz/../metrics")  # fmt: skip


@dataclass(frozen=True)
class Wire:
    """RabbitMQ as the hub reaches it: through the proxy."""

    amqp_url: str
    management_url: str


@pytest.fixture(scope="module")
async def behind(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Front, Region]]:
    """A hub and a RabbitMQ that wants PROXY headers, the proxy between them and before them."""
    haproxy()
    folder = tmp_path_factory.mktemp("front")
    ports, hub_port = free_ports(), free_port()
    url = f"https://localhost:{ports['https']}"
    questions = f"http://127.0.0.1:{ports['questions']}{AUTH_PATH}"
    async with private_rabbit(questions, extra_conf="proxy_protocol = true") as node:
        listening = {"gateways": [hub_port], "unready": [hub_port], "answers": [hub_port],
                     "rabbitmq": [node.port], "management": [node.management_port]}  # fmt: skip
        async with front(folder, ports, listening) as f:
            wire = Wire(
                f"amqp://{node.user}:{node.password}@127.0.0.1:{ports['wire']}/",
                f"http://127.0.0.1:{ports['management']}",
            )
            ledger_url = f"sqlite:///{folder}/ledger.sqlite"
            await initialise(folder, ledger_url, hub_port)
            env = settings(folder, ledger_url, hub_port, wire) | {"TIDEWAITER_PUBLIC_URL": url}
            ready = f"http://127.0.0.1:{hub_port}/readyz"
            async with (
                process(*SERVE, output=folder / "said", env=env, ready=ready),
                httpx2.AsyncClient(base_url=url, verify=f.tls("CL"), trust_env=False, timeout=30) as http,
            ):
                hub = Hub(open_ledger(ledger_url), LANGUAGE, keyfiles.load(folder / "hub.key", None), url)
                r = Region(hub, http, MovableClock())
                await _until_through(http)
                await r.enrol("CL", "PE", "operator:ana")
                yield f, r
                await hub.ledger.close()


async def _until_through(http: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/healthz")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_a_message_goes_in_by_https_and_comes_out_by_amqps(behind: tuple[Front, Region]) -> None:
    """With certificates on both ways; RabbitMQ asked the hub through the proxy, and knows the member's own address."""
    f, r = behind
    queue = await amqp_queue(r, "PE")
    await r.send("CL", "through", to("PE"))

    async with await amqps(f, r, "PE", "CL") as connection:
        channel = await connection.channel(publisher_confirms=False)
        taken = await (await channel.get_queue(queue, ensure=False)).get(timeout=10, fail=False)
        for _ in range(200):
            if taken is not None:
                break
            await asyncio.sleep(0.1)
            taken = await (await channel.get_queue(queue, ensure=False)).get(timeout=10, fail=False)
        assert taken is not None
        assert taken.headers["tw-address"] == "CL:through"
        await taken.ack()


async def amqps(f: Front, r: Region, member: str, certificate: str | None) -> aio_pika.abc.AbstractConnection:
    """A member's connection over TLS, with the certificate of that name."""
    token = await r.token(member, "amqp")
    return await aio_pika.connect(
        host="localhost", port=f.ports["amqps"], login=member, password=token, ssl=True, ssl_context=f.tls(certificate)
    )


@pytest.mark.parametrize("certificate", [None, "PE", "STRANGER"])
async def test_amqp_takes_nobody_without_a_good_certificate(
    behind: tuple[Front, Region], certificate: str | None
) -> None:
    """None, a revoked one, one of another CA: a good token does not help."""
    f, r = behind
    with pytest.raises((OSError, aio_pika.exceptions.AMQPError)):
        await asyncio.wait_for(amqps(f, r, "PE", certificate), 10)


async def test_https_without_a_certificate_is_refused_with_a_sentence(behind: tuple[Front, Region]) -> None:
    """403 at every door, and nothing is asked of the hub."""
    f, _ = behind
    async with client(f, None) as http:
        for path in (*MEMBERS, *HIDDEN):
            answer = await http.get(path)
            assert answer.status_code == 403, path
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("certificate", ["PE", "STRANGER"])
async def test_https_with_a_bad_certificate_ends_in_the_handshake(
    behind: tuple[Front, Region], certificate: str
) -> None:
    """Revoked, or of another CA: not taken for none."""
    f, _ = behind
    async with client(f, certificate) as http:
        with pytest.raises((httpx2.TransportError, ssl.SSLError)):
            await http.get("/healthz")


async def test_only_the_members_doors_are_passed_on(behind: tuple[Front, Region]) -> None:
    """What is inside does not exist outside, however its address is written."""
    f, _ = behind
    for path in MEMBERS:
        status, body = await raw(f, path)
        assert status in (200, 401), (path, status)
    for path in HIDDEN:
        status, body = await raw(f, path)
        assert status == 404, (path, status)
        assert b"allow" not in body
        assert b"tidewaiter_" not in body


async def test_operators_come_in_from_their_own_network_alone(behind: tuple[Front, Region], tmp_path: Path) -> None:
    """The same token at the same door: not found from elsewhere, and served to an address in operators.lst."""
    f, r = behind
    assert (await r.call("operator:ana", "GET", "/v1/admin/queues")).status_code == 404

    hub = f.backends["gateways"]
    async with front(tmp_path, free_ports(), {"gateways": hub, "unready": hub}, operators="127.0.0.0/8\n") as other:
        headers = {"authorization": f"Bearer {await r.token('operator:ana', 'admin')}"}
        async with client(other, "CL") as http:
            await _until_through(http)
            assert (await http.get("/v1/admin/queues", headers=headers)).status_code == 200
            assert (await http.get("/metrics")).status_code == 404


async def test_an_excused_address_needs_no_certificate_over_https(behind: tuple[Front, Region], tmp_path: Path) -> None:
    """It gets where members get, and no further."""
    f, _ = behind
    hub = f.backends["gateways"]
    async with (
        front(tmp_path, free_ports(), {"gateways": hub, "unready": hub}, excused="127.0.0.1\n") as other,
        client(other, None) as http,
    ):
        await _until_through(http)
        assert (await http.get("/v1/schemas")).status_code in (200, 401)
        assert (await http.get("/v1/admin/queues")).status_code == 404


async def test_a_stream_passes_as_it_comes(behind: tuple[Front, Region]) -> None:
    """An event reaches its reader when it is sent, not when the stream ends."""
    f, r = behind
    headers = {"authorization": f"Bearer {await r.token('CL')}"}
    async with client(f, "CL") as http, http.stream("GET", "/v1/queues/inbox/stream", headers=headers) as answer:
        assert answer.status_code == 200
        await r.send("PE", "streamed", to("CL"))
        async with asyncio.timeout(10):
            async for line in answer.aiter_lines():
                if line.startswith("data:") and "lease_id" in line:
                    break


async def test_inside_the_proxy_passes_on_questions_and_tells_figures(behind: tuple[Front, Region]) -> None:
    """Nothing else of the hub is behind the address that RabbitMQ asks."""
    f, _ = behind
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        questions = f"http://127.0.0.1:{f.ports['questions']}"
        asked = await http.post(f"{questions}{AUTH_PATH}/user", data={"username": "CL", "password": "x"})
        assert (asked.status_code, asked.text) == (200, "deny")
        assert (await http.get(f"{questions}/metrics")).status_code == 404
        figures = (await http.get(f"http://127.0.0.1:{f.ports['figures']}/metrics")).text
    names = {family.name for family in text_string_to_metric_families(figures)}
    denied = {"haproxy_frontend_denied_connections", "haproxy_frontend_denied_sessions"}  # named by deploy/README.md
    assert {"haproxy_backend_active_servers"} | denied <= names


async def test_a_certificate_holds_so_many_connections_to_rabbitmq_and_no_more(
    behind: tuple[Front, Region], tmp_path: Path
) -> None:
    """The 51st ends after its handshake; another certificate's is taken; who leaves makes room."""
    f, _ = behind
    rabbit = {"rabbitmq": f.backends["rabbitmq"]}
    async with front(tmp_path, free_ports(), rabbit) as other, held(other.ports["amqps"], other.tls("CL"), 50) as mine:
        assert await is_hung_up_on(other.ports["amqps"], other.tls("CL"))
        assert not await is_hung_up_on(other.ports["amqps"], other.tls("AR"), seconds=2)
        mine.pop()[1].close()
        async with asyncio.timeout(30):
            while await is_hung_up_on(other.ports["amqps"], other.tls("CL"), seconds=2):
                await asyncio.sleep(0.1)


async def test_an_address_holds_so_many_connections_and_no_more(behind: tuple[Front, Region], tmp_path: Path) -> None:
    """Over both doors together, and before any handshake: who has no certificate cannot take the room of those who have."""
    f, _ = behind
    hub = f.backends["gateways"]
    async with front(tmp_path, free_ports(), {"gateways": hub, "unready": hub}) as other:
        async with held(other.ports["https"], None, 200):
            for door in ("https", "amqps"):
                assert await is_hung_up_on(other.ports[door], None)
        async with asyncio.timeout(30):
            while await is_hung_up_on(other.ports["https"], other.tls("CL"), seconds=2):
                await asyncio.sleep(0.1)


@asynccontextmanager
async def held(port: int, tls: ssl.SSLContext | None, number: int) -> AsyncIterator[list[Stream]]:
    """So many connections, open; without `tls` their handshakes have not begun."""
    opened = [await asyncio.open_connection("localhost", port, ssl=tls) for _ in range(number)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def is_hung_up_on(port: int, tls: ssl.SSLContext | None, *, seconds: float = 8) -> bool:
    """Whether a connection that says nothing is closed in so long: sooner than any timeout of the proxy's."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=tls)
        return await asyncio.wait_for(reader.read(), seconds) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        if writer is not None:
            writer.close()


async def test_old_tls_is_refused(behind: tuple[Front, Region]) -> None:
    """TLS 1.3 or nothing, on both doors."""
    f, _ = behind
    for door in ("https", "amqps"):
        context = f.tls("CL")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError or a reset, as the peer likes
            await asyncio.open_connection("localhost", f.ports[door], ssl=context)


def client(f: Front, certificate: str | None) -> httpx2.AsyncClient:
    url = f"https://localhost:{f.ports['https']}"
    return httpx2.AsyncClient(base_url=url, verify=f.tls(certificate), trust_env=False, timeout=30)


async def raw(f: Front, path: str) -> tuple[int, bytes]:
    """GET exactly this path, which a client library would tidy up: (status, body)."""
    reader, writer = await asyncio.open_connection("localhost", f.ports["https"], ssl=f.tls("CL"))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]
