"""The engines and the faults of this test suite are what they say: real, our own, and gone afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs

import aio_pika
import httpx2
import pytest
from pamqp.common import FieldTable
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from broker.errors import SetupRefused
from broker.rabbit import guard, private_node
from tests import engines, faults

pytestmark = pytest.mark.long

pytest_plugins = ["tests.engines"]

T = TypeVar("T")
DURABLE: FieldTable = {"x-queue-type": "quorum"}
SETTLED_SECONDS = 5.0  # a younger quorum queue can come back from a kill without a leader (3.10)


# ── RabbitMQ ──


async def test_confirmed_message_survives_a_killed_node() -> None:
    """What a quorum queue confirmed is there after SIGKILL and restart, on the same port and with the same password."""
    async with engines.private_rabbit() as node:
        async with await aio_pika.connect(node.amqp_url, timeout=20) as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.declare_queue("kept", durable=True, arguments=DURABLE)
            await asyncio.sleep(SETTLED_SECONDS)
            await _publish(channel, "kept", b"once confirmed")
            await asyncio.to_thread(node.kill)
            with pytest.raises((aio_pika.exceptions.AMQPError, ConnectionError, RuntimeError)):
                await _publish(channel, "kept", b"too late")
        with pytest.raises(SetupRefused):
            _ = node.pid
        await asyncio.to_thread(node.restart)

        async with await aio_pika.connect(node.amqp_url, timeout=20) as connection:
            queue = await (await connection.channel()).get_queue("kept")
            message = await queue.get(timeout=20, no_ack=True)
            left = await queue.get(timeout=20, fail=False)

    assert message is not None
    assert message.body == b"once confirmed"
    assert left is None


async def test_node_listens_on_loopback_only_and_its_files_are_private() -> None:
    """Nobody else can reach the node, read its password in a file, or see it on a command line."""
    async with engines.private_rabbit() as node:
        open_to_others = [path for path in node.folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
        listeners = node.api("GET", "/api/overview")[1].decode()
        said = await asyncio.to_thread(_command_line, node.pid)
        with pytest.raises(SetupRefused, match="in use"):
            private_node.stop_stale(node.folder)

    assert open_to_others == []
    assert '"ip_address":"127.0.0.1"' in listeners
    assert "0.0.0.0" not in listeners
    assert node.password not in said
    assert node.password not in repr(node)


async def test_node_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    """When the caller dies by SIGKILL its node and port mapper are ended all the same."""
    if private_node.installed() is None:
        engines.missing("RabbitMQ", "none is installed")
    script = "import sys, time; from pathlib import Path; from broker.rabbit import private_node as it\n"
    script += "node = it.start(Path(sys.argv[1])); print(node.pid, flush=True); time.sleep(60)"
    caller = faults.Process([sys.executable, "-c", script, str(tmp_path / "node")], tmp_path / "said")
    caller.env = {"PYTHONPATH": str(Path(private_node.__file__).parents[2])}
    caller.start()
    try:
        pid = await _until(lambda: int(caller.said() or 0) or None)
    finally:
        caller.kill9()

    assert await _until(lambda: guard._began(pid) is None)
    assert await _until(lambda: not (tmp_path / "node" / "processes.json").exists())
    assert private_node.stop_stale(tmp_path / "node") == []


async def test_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A setting RabbitMQ refuses is told with the end of its log, and nothing is left running."""
    if private_node.installed() is None:
        engines.missing("RabbitMQ", "none is installed")
    with pytest.raises(SetupRefused, match="no_such_setting"):
        await asyncio.to_thread(private_node.start, tmp_path, extra_conf="no_such_setting = 1")

    assert not (tmp_path / "processes.json").exists()


async def test_each_test_has_a_virtual_host_of_its_own(rabbit: engines.Rabbit) -> None:
    """A queue of one test is not seen by another, and goes with its virtual host."""
    async with engines.own_vhost(rabbit) as other:
        async with await aio_pika.connect(rabbit.amqp_url, timeout=20) as connection:
            await (await connection.channel()).declare_queue("mine", durable=True, arguments=DURABLE)
        async with await aio_pika.connect(other.amqp_url, timeout=20) as connection:
            channel = await connection.channel()
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.declare_queue("mine", passive=True)
        gone = other.vhost

    assert rabbit.api("GET", f"/api/vhosts/{rabbit.vhost}")[0] == 200
    assert rabbit.api("GET", f"/api/vhosts/{gone}")[0] == 404


async def test_rabbitmq_asks_the_hub_port_for_a_member(rabbit: engines.Rabbit) -> None:
    """Somebody RabbitMQ does not know is asked about at the hub's door, by POST, the password in the body."""
    asked: list[tuple[str, dict[str, list[str]]]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(next(it.split(":")[1] for it in head.lower().splitlines() if it.startswith("content-length:")))
        asked.append((head.splitlines()[0], parse_qs((await reader.readexactly(length)).decode())))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nallow")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", rabbit.hub_port):
        await (await aio_pika.connect(rabbit.amqp_url_for("member", "a token"), timeout=20)).close()

    doors = {line.split("/")[-2].split()[0]: form for line, form in asked}
    assert all(line.startswith(f"POST {engines.AUTH_PATH}/") for line, _ in asked)
    assert doors["user"]["password"] == ["a token"]
    assert doors["vhost"]["vhost"] == [rabbit.vhost]


# ── PostgreSQL ──


async def test_each_test_has_a_database_of_its_own(postgres_url: str) -> None:
    """A fresh database is empty; a copy of a prepared one has what was prepared; both are dropped."""
    await _execute(postgres_url, "CREATE TABLE prepared (n int)")
    copy = await engines.fresh_database(postgres_url, template=postgres_url)
    other = await engines.fresh_database(postgres_url)

    assert await _execute(copy, "SELECT count(*) FROM prepared") == 0
    assert await _execute(other, "SELECT to_regclass('prepared') IS NULL") is True

    await engines.drop_database(copy)
    await engines.drop_database(other)
    with pytest.raises(Exception, match="does not exist"):
        await _execute(copy, "SELECT 1")


async def test_committed_row_survives_a_killed_postgresql() -> None:
    """What a private cluster committed is there after SIGKILL and recovery, at the same address."""
    async with engines.private_postgres() as cluster:
        await _execute(cluster.url, "CREATE TABLE kept AS SELECT 1 AS n")
        await asyncio.to_thread(cluster.kill)
        with pytest.raises(ConnectionRefusedError):
            await _execute(cluster.url, "SELECT 1")
        await asyncio.to_thread(cluster.restart)

        assert await _execute(cluster.url, "SELECT n FROM kept") == 1
        folder = cluster.folder

    assert not folder.exists()


# ── what is missing ──


def test_missing_engine_is_skipped_at_home_and_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full run never passes by leaving something out; the summary names it."""
    monkeypatch.setattr(engines, "_used", {})
    monkeypatch.setattr(engines, "REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match="left out"):
        engines.missing("Engine", "it is not there")
    monkeypatch.setattr(engines, "REQUIRED", True)
    with pytest.raises(pytest.fail.Exception, match="required"):
        engines.missing("Engine", "it is not there")

    assert engines.summary_lines() == ["Engine: left out: it is not there"]


def test_test_data_is_found_beside_the_project_or_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TIDEWAITER_TESTDATA names the folder; what is absent is None, or a skip that says what."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.json").write_text("[]")
    monkeypatch.setenv("TIDEWAITER_TESTDATA", str(tmp_path))

    assert engines.testdata("data/rows.json") == tmp_path / "data" / "rows.json"
    assert engines.testdata("vectors/none.json") is None
    with pytest.raises(pytest.skip.Exception, match=r"vectors/none\.json"):
        engines.need_testdata("vectors/none.json")


# ── the proxy ──


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back every line, and `end` once the client has closed its side."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
            writer.write(b"end\n")
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_proxy_forwards_and_passes_on_a_half_closed_side(echo: int) -> None:
    """Healthy, it changes nothing: bytes go both ways, and the end of one direction is not the end of the other."""
    async with faults.proxy("127.0.0.1", echo) as between:
        reader, writer = await asyncio.open_connection("127.0.0.1", between.port)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.write_eof()
        assert await reader.read() == b"end\n"
        writer.close()
        assert between.accepted == 1


async def test_proxy_cuts_with_a_reset_and_goes_on(echo: int) -> None:
    """An open connection gets RST, not a polite end; the next one works."""
    async with faults.proxy("127.0.0.1", echo) as between:
        reader, writer = await _greeted(between.port)
        between.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()
        _, writer = await _greeted(between.port)
        writer.close()


async def test_proxy_swallows_and_heals(echo: int) -> None:
    """In the black hole connections open and stay, and nothing comes; healed, what was sent arrives."""
    async with faults.proxy("127.0.0.1", echo) as between:
        old_reader, old_writer = await _greeted(between.port)
        between.blackhole()
        new_reader, new_writer = await asyncio.open_connection("127.0.0.1", between.port)
        for writer in (old_writer, new_writer):
            writer.write(b"anyone?\n")
        waiting = [asyncio.create_task(it.readline()) for it in (old_reader, new_reader)]
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert done == set()

        await between.heal()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 20) == [b"anyone?\n"] * 2
        old_writer.close()
        new_writer.close()


async def test_proxy_delays_half_closes_and_refuses(echo: int) -> None:
    """A delay counts in both directions; a half-closed connection ends for its reader; a refused one is never made."""
    async with faults.proxy("127.0.0.1", echo) as between:
        between.delay_seconds = 0.1
        began = time.monotonic()
        reader, writer = await _greeted(between.port)
        assert time.monotonic() - began >= 0.2

        between.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", between.port)
        between.half_close("client")
        assert await reader.read() == b""
        assert between.connections == 1
        writer.close()

        await between.heal()
        _, writer = await _greeted(between.port)
        writer.close()


async def test_proxy_in_front_of_nothing_resets() -> None:
    """A target that is away is told as a reset, and the proxy lives on."""
    async with faults.proxy("127.0.0.1", engines.free_port()) as between:
        reader, writer = await asyncio.open_connection("127.0.0.1", between.port)
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()


async def test_cut_amqp_connection_leaves_the_publish_unknown(rabbit: engines.Rabbit) -> None:
    """A publish into a black hole never returns by itself, a cut is seen at once: hence a timeout on every publish."""
    async with faults.proxy(rabbit.host, rabbit.port) as between:
        connection = await aio_pika.connect(
            rabbit.amqp_url.replace(f":{rabbit.port}/", f":{between.port}/"), timeout=20
        )
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.declare_queue("q", durable=True, arguments=DURABLE)
        await _publish(channel, "q", b"through")
        between.blackhole()
        with pytest.raises(TimeoutError):
            await _publish(channel, "q", b"swallowed", timeout_seconds=0.3)
        between.cut()
        with pytest.raises((aio_pika.exceptions.AMQPError, ConnectionError, RuntimeError)):
            await _publish(channel, "q", b"cut")
        await connection.close()


# ── ports ──


async def test_a_port_is_given_once(tmp_path: Path) -> None:
    """Not to another process either, though nobody listens there yet; who has it may listen, again and again."""
    port = engines.free_port()
    ask = f"import secrets; secrets.randbelow = lambda _: {port - 20_000}; from tests.engines import free_port; free_port()"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", ask, stderr=asyncio.subprocess.PIPE)
    _, said = await child.communicate()
    assert "no free loopback port" in said.decode()

    for _ in range(2):
        server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", port)
        server.close()
        await server.wait_closed()


# ── processes ──


async def test_process_answers_is_killed_and_starts_again(tmp_path: Path) -> None:
    """A child is ready when its URL answers, dies with its descendants on SIGKILL, and can be started again."""
    port = engines.free_port()
    url, serve = f"http://127.0.0.1:{port}/", ("-m", "http.server", "--bind", "127.0.0.1", str(port))
    async with faults.process(sys.executable, "-u", *serve, output=tmp_path / "said", ready=url) as child:
        first = child.pid
        child.kill9()
        assert not child.running
        async with httpx2.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get(url)
        child.start()
        await child.answers(url)
        assert child.pid != first
        assert await child.terminate() == -signal.SIGTERM
        assert "GET / " in child.said()
        child.start()
        last = child.pid

    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


async def test_process_that_ends_while_starting_says_what_it_said(tmp_path: Path) -> None:
    """No waiting for the time limit: the child's own words are the failure."""
    child = faults.Process([sys.executable, "-c", "raise SystemExit('no key')"], tmp_path / "said")
    child.start()
    with pytest.raises(AssertionError, match="no key"):
        await child.answers("http://127.0.0.1:9/")
    assert await child.terminate() == 1


# ── of this file ──


async def _publish(
    channel: aio_pika.abc.AbstractChannel, queue: str, body: bytes, *, timeout_seconds: float = 5
) -> None:
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue, mandatory=True, timeout=timeout_seconds)


async def _execute(url: str, statement: str) -> object:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


def _command_line(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


async def _until(condition: Callable[[], T | None], *, within_seconds: float = 90) -> T:
    """What `condition` says once it says something true."""
    async with asyncio.timeout(within_seconds):
        while not (said := condition()):
            await asyncio.sleep(0.05)
    return said


async def _greeted(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    return reader, writer
