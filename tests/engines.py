"""The real engines the tests run against: PostgreSQL, RabbitMQ, and the published data beside the project. No mocks.

What is there is used, in this order: what the environment names, the server on this machine, a private one started
for the session. What is not there is left out and said so, in one line of the summary; where a full run is owed
(`CI=true` or `TIDEWAITER_TEST_REQUIRE=1`) it is a failure instead.

    TIDEWAITER_TEST_POSTGRES              URL of a PostgreSQL whose user may create databases
    TIDEWAITER_TEST_RABBITMQ              AMQP URL of a RabbitMQ administrator (default guest on 127.0.0.1:5672)
    TIDEWAITER_TEST_RABBITMQ_MANAGEMENT   its management API (default http://127.0.0.1:15672)
    TIDEWAITER_TEST_HUB_PORT              the loopback port that its HTTP authentication back end asks
    TIDEWAITER_TESTDATA                   folder with `data/` and `vectors/` (default: `../shared` from the project)

A conftest takes the fixtures in with `pytest_plugins = ["tests.engines"]` and prints `summary_lines()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote, urlsplit

import pytest
from sqlalchemy import URL, NullPool, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from broker.errors import SetupRefused
from broker.rabbit.guard import Guard
from broker.rabbit.private_node import Node, installed, manage
from broker.rabbit.private_node import free_port as free_port
from broker.rabbit.private_node import start as start_node

AUTH_PATH = "/v1/rabbitmq/auth"
"""Below the hub's address: where RabbitMQ's HTTP authentication back end asks (`/user`, `/vhost` ... are added)."""

REQUIRED = os.environ.get("CI", "").lower() == "true" or os.environ.get("TIDEWAITER_TEST_REQUIRE") == "1"

_ROOT = Path(__file__).parents[1]
_used: dict[str, str] = {}  # engine -> what came of it


def summary_lines() -> list[str]:
    """One line for each engine that a test of this session asked for."""
    return [f"{engine}: {line}" for engine, line in sorted(_used.items())]


def missing(engine: str, why: str) -> NoReturn:
    """Leave the present test out, or fail it where everything is required; the summary says so either way."""
    _used[engine] = f"left out: {why}"
    if REQUIRED:
        pytest.fail(f"{engine} is required here, but {why}")
    pytest.skip(f"{engine} is left out: {why}")


# ── published data ──


def testdata(name: str) -> Path | None:
    """The file or folder `name` (`data/...`, `vectors/...`) of the test data; None when it is not on this machine."""
    path = Path(os.environ.get("TIDEWAITER_TESTDATA") or _ROOT.parent / "shared", name)
    return path if path.exists() else None


testdata.__test__ = False  # type: ignore[attr-defined]  # its name looks like a test's to pytest


def need_testdata(name: str) -> Path:
    """The same, for a test that is skipped without it."""
    path = testdata(name)
    if path is None:
        pytest.skip(f"test data is left out: no {name} (TIDEWAITER_TESTDATA)")
    return path


# ── PostgreSQL ──


@pytest.fixture(scope="session")
async def postgres_server() -> AsyncIterator[str]:
    """SQLAlchemy URL of a PostgreSQL database whose user may create databases."""
    if url := await standing_postgres():
        _used["PostgreSQL"] = f"the server at {url.host}:{url.port}"
        yield url.render_as_string(hide_password=False)
        return
    if _postgres_binaries() is None:
        missing("PostgreSQL", "none answers and none is installed (initdb)")
    async with private_postgres() as cluster:
        _used["PostgreSQL"] = f"a private cluster on port {cluster.port}"
        yield cluster.url


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """URL of a fresh, empty database for one test; dropped after it."""
    url = await fresh_database(postgres_server)
    yield url
    await drop_database(url)


async def fresh_database(server_url: str, *, template: str | None = None) -> str:
    """Create a database; its URL. `template` is the URL of a database to copy, with nobody connected to it."""
    name = f"tw_test_{secrets.token_hex(6)}"
    copied = make_url(template).database if template else "template1"
    await _administer(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{copied}"')
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def drop_database(url: str) -> None:
    """Drop a database made by `fresh_database`, whoever is still connected to it."""
    name = make_url(url).database or ""
    assert name.startswith("tw_test_"), f"{name} was not made here"
    await _administer(make_url(url).set(database="postgres"), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _administer(url: str | URL, statement: str) -> object:
    """One statement outside a transaction, on a connection of its own; the first value of its answer, if it has one."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args={"timeout": 30})
    try:
        async with engine.connect() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


async def standing_postgres() -> URL | None:
    """The server the environment names, else one on this machine that lets a usual user create databases."""
    if named := os.environ.get("TIDEWAITER_TEST_POSTGRES"):
        return make_url(named).set(drivername="postgresql+asyncpg")
    for user in dict.fromkeys(("root", "postgres", os.environ.get("USER") or "postgres")):
        url = URL.create("postgresql+asyncpg", user, host="127.0.0.1", port=5432, database="postgres")
        with contextlib.suppress(OSError, SQLAlchemyError):
            if await _administer(url, "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"):
                return url
    return None


def _postgres_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; the newest, when there are several."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(4), reverse=True
    )
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    return next((it for it in folders if (it / "initdb").exists() and (it / "postgres").exists()), None)


@dataclass
class Cluster:
    """A private PostgreSQL on a loopback port, to be killed and started again. `url` is its superuser's.

    It trusts whoever reaches its port, and does not wait for the disk (`fsync=off`): what it committed survives
    `kill()`, and would not survive a power cut.
    """

    folder: Path
    port: int
    binaries: Path
    os_user: str | None  # PostgreSQL refuses to run as root
    _guard: Guard
    _postmaster: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def running(self) -> bool:
        return self._postmaster is not None and self._postmaster.poll() is None

    def run(self, *, within_seconds: float = 60) -> None:
        """Start; returns when it answers. Blocking."""
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        data = self.folder / "data"
        self._postmaster = self._launch("postgres", "-D", str(data), *options)
        self._guard.watch(self._postmaster.pid)
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline and self._postmaster.poll() is None:
            with contextlib.suppress(FileNotFoundError, IndexError):
                written = (data / "postmaster.pid").read_text().splitlines()
                if int(written[0]) == self._postmaster.pid and written[7].strip() == "ready":  # as pg_ctl looks at it
                    return
            time.sleep(0.02)
        self.stop()
        raise SetupRefused(detail=f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL to the server and to each of its processes: none commits anything after its master's death."""
        if self._postmaster is not None:
            self._postmaster.send_signal(signal.SIGSTOP)  # it starts no more of them
            children = _children(self._postmaster.pid)
            self._postmaster.kill()
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._postmaster.wait()
            self._postmaster = None
            deadline = time.monotonic() + 20
            while any(map(_lives, children)) and time.monotonic() < deadline:  # the next one refuses while they do
                time.sleep(0.005)

    def restart(self) -> None:
        """Run again on the same port and data; returns when recovery is done. Blocking."""
        self.kill()
        self.run()

    def stop(self) -> None:
        """End it. May be called twice."""
        if self._postmaster is not None:
            self._postmaster.send_signal(signal.SIGINT)  # "fast": without waiting for clients
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._postmaster.wait(10)
            self.kill()

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self.binaries / program), *arguments],
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.os_user,
                group=pwd.getpwnam(self.os_user).pw_gid if self.os_user else None,
                extra_groups=[] if self.os_user else None,
            )


def _children(pid: int) -> list[int]:
    """The processes whose parent is `pid`, as far as the system lists them under /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found


def _lives(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.asynccontextmanager
async def private_postgres(within: Path | None = None) -> AsyncIterator[Cluster]:
    """A cluster of one's own, for the tests that kill it; about a second to start. Its methods block.

    Its folder goes with it; `within` says below which other it is made.
    """
    binaries = _postgres_binaries()
    if binaries is None:
        missing("PostgreSQL", "none is installed (initdb), and this test kills its own")
    with _folder("tw-postgres-", within) as folder:
        os_user = _ordinary_user() if os.geteuid() == 0 else None
        if os_user is not None:
            shutil.chown(folder, os_user)
        cluster = Cluster(folder, free_port(), binaries, os_user, Guard(folder))
        try:
            await asyncio.to_thread(_initialise, cluster)
            await asyncio.to_thread(cluster.run)
            yield cluster
        finally:
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster._guard.dismiss)


def _initialise(cluster: Cluster) -> None:
    options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
    if cluster._launch("initdb", "-D", str(cluster.folder / "data"), *options).wait(60):
        raise SetupRefused(detail=f"initdb failed:\n{(cluster.folder / 'log').read_text()[-2000:]}")


def _ordinary_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@contextlib.contextmanager
def _folder(prefix: str, within: Path | None = None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ── RabbitMQ ──


@dataclass(frozen=True)
class Rabbit:
    """A RabbitMQ with management API whose HTTP authentication back end asks `hub_port`, and an administrator of it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    management_url: str
    hub_port: int
    vhost: str = "/"
    node: Node | None = None  # when it is a private one

    @property
    def amqp_url(self) -> str:
        return self.amqp_url_for(self.user, self.password)

    def amqp_url_for(self, user: str, password: str) -> str:
        """The AMQP URL of this virtual host for somebody else, a member for one."""
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{credentials}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    def api(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One call of the management API: (status, body). Blocking, some milliseconds."""
        return manage(self.management_url, self.user, self.password, method, path, body)


@pytest.fixture(scope="session")
def hub_port() -> int:
    """The one loopback port where this session's RabbitMQ asks for access: a test's hub listens here to answer."""
    return int(os.environ.get("TIDEWAITER_TEST_HUB_PORT") or free_port())


@pytest.fixture(scope="session")
async def rabbit_server(hub_port: int) -> AsyncIterator[Rabbit]:
    """The session's RabbitMQ. Tests take `rabbit` and leave this one's virtual host alone; nobody kills it."""
    if standing := await asyncio.to_thread(_standing_rabbit, hub_port):
        _used["RabbitMQ"] = f"the server at {standing.host}:{standing.port}, virtual hosts of our own"
        yield standing
        return
    if installed() is None:
        missing("RabbitMQ", "none answers with management and our authentication back end, and none is installed")
    began = time.monotonic()
    async with private_rabbit(auth_url(hub_port)) as node:
        _used["RabbitMQ"] = f"a private node on port {node.port}, up in {time.monotonic() - began:.1f} s"
        yield Rabbit(
            "127.0.0.1", node.port, node.user, node.password, node.management_url, hub_port=hub_port, node=node
        )


@pytest.fixture
async def rabbit(rabbit_server: Rabbit) -> AsyncIterator[Rabbit]:
    """The session's RabbitMQ with a fresh virtual host for one test, deleted with all that is in it."""
    async with own_vhost(rabbit_server) as own:
        yield own


@contextlib.asynccontextmanager
async def own_vhost(server: Rabbit) -> AsyncIterator[Rabbit]:
    """The same server, another virtual host, in which its user may do everything. Some 50 ms to make."""
    name = f"tw-test-{secrets.token_hex(6)}"
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    await asyncio.to_thread(_call, server, "PUT", f"/api/vhosts/{name}")
    try:
        await asyncio.to_thread(_call, server, "PUT", f"/api/permissions/{name}/{quote(server.user)}", everything)
        yield replace(server, vhost=name)
    finally:
        with contextlib.suppress(TimeoutError):  # it goes on being deleted
            await asyncio.to_thread(_call, server, "DELETE", f"/api/vhosts/{name}")


def _call(server: Rabbit, method: str, path: str, body: object = None) -> None:
    status, answer = server.api(method, path, body)
    if status >= 300:
        raise SetupRefused(detail=f"RabbitMQ: {method} {path} answered {status}: {answer.decode(errors='replace')}")


def auth_url(hub_port: int) -> str:
    """What `start(auth_url=...)` of a private node wants for a hub on that port."""
    return f"http://127.0.0.1:{hub_port}{AUTH_PATH}"


@contextlib.asynccontextmanager
async def private_rabbit(auth_url: str | None = None, *, extra_conf: str = "") -> AsyncIterator[Node]:
    """A node of one's own, for the tests that kill it; two to five seconds. Use its blocking methods in a thread.

    It ends by SIGKILL (a polite end takes six seconds) and its folder goes with it.
    A queue declared less than 2 s before a kill can come back without a leader on 3.10: wait.
    """
    if installed() is None:
        missing("RabbitMQ", "none is installed, and this test needs its own")
    with _folder("tw-rabbit-") as folder:
        node = await asyncio.to_thread(start_node, folder, auth_url=auth_url, extra_conf=extra_conf)
        try:
            yield node
        finally:
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.stop)


def _standing_rabbit(hub_port: int) -> Rabbit | None:
    """A RabbitMQ that is there, if it has the management API and its back end is known to ask `hub_port`."""
    if not os.environ.get("TIDEWAITER_TEST_HUB_PORT"):
        return None  # it may have the back end, but nobody says that it asks us
    amqp = urlsplit(os.environ.get("TIDEWAITER_TEST_RABBITMQ") or "amqp://guest:guest@127.0.0.1:5672/")
    management = os.environ.get("TIDEWAITER_TEST_RABBITMQ_MANAGEMENT") or "http://127.0.0.1:15672"
    user, password = unquote(amqp.username or "guest"), unquote(amqp.password or "guest")
    try:
        status, answer = manage(management, user, password, "GET", "/api/nodes")
    except (OSError, http.client.HTTPException):
        return None
    if status != 200 or any("rabbitmq_auth_backend_http" not in it["enabled_plugins"] for it in json.loads(answer)):
        return None
    return Rabbit(amqp.hostname or "127.0.0.1", amqp.port or 5672, user, password, management, hub_port=hub_port)
