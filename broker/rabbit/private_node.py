"""A RabbitMQ node of one's own on the loopback interface: for the demonstration and for the tests.

It needs the `rabbitmq-server` package (3.10 or later) and nothing else: no service, no root, no fixed port.
It is no way to run a hub: one node, no TLS, and whoever may read its folder has its password.

What is promised: everything it writes lies in one folder (mode 0700, files 0600), everything listens on 127.0.0.1,
no secret stands on a command line, and only processes that were started here are ever ended.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from broker.errors import SetupRefused
from broker.rabbit.guard import Guard
from broker.rabbit.guard import stop_stale as stop_stale

START_SECONDS = 60.0
"""A node that does not answer by then is taken for broken; an idle machine needs about five seconds."""
STOP_SECONDS = 15.0
"""After a polite end is asked for; then it is killed, which a quorum queue survives."""

_LOOPBACK = "127.0.0.1"
_PLUGINS = ("rabbitmq_management", "rabbitmq_auth_backend_http")
_STANDARD_SBIN = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/usr/lib64/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/usr/local/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/rabbitmq/sbin",
    "/opt/rabbitmq_server-*/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)


# ── what is there ──


def installed() -> str | None:
    """Path of the server's own start script (not of a distribution's wrapper, which changes user), or None.

    Looked for below RABBITMQ_HOME, in the standard places (newest version first), then on PATH.
    """
    if shutil.which("erl") is None:
        return None
    home = os.environ.get("RABBITMQ_HOME")
    folders = [Path(home, "sbin")] if home else []
    for pattern in _STANDARD_SBIN:
        folders += sorted(Path("/").glob(pattern.removeprefix("/")), key=_version, reverse=True)
    if found := shutil.which("rabbitmq-server"):
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        script = folder / "rabbitmq-server"
        if (folder / "rabbitmq-defaults").exists() and os.access(script, os.X_OK):  # not so beside a wrapper
            return str(script.resolve())
    return None


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.parent.name))


def _epmd() -> str:
    """The Erlang port mapper, on PATH or beside `erl`."""
    if found := shutil.which("epmd"):
        return found
    erl = Path(shutil.which("erl") or "erl").resolve()
    for candidate in (erl.parent / "epmd", *sorted(erl.parent.parent.glob("erts-*/bin/epmd"))):
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise SetupRefused(detail="RabbitMQ: no `epmd` on PATH or beside `erl`")


def free_port() -> int:
    """A loopback TCP port nobody listens on, below the ephemeral range so no outgoing connection takes it later.

    It is this process's until it ends, and nobody who asks here is given it again: a socket stays bound to it without
    listening, beside which a server that sets SO_REUSEADDR, as they all do, may listen.
    """
    for _ in range(200):
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as keeper, contextlib.suppress(OSError):
            keeper.bind((_LOOPBACK, port))
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.detach()
            return port
    raise SetupRefused(detail="no free loopback port between 20000 and 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # remains of closed connections are no hindrance
        probe.bind((_LOOPBACK, port))
        return True
    return False


# ── the node ──


@dataclass
class Node:
    """A running (or killed) private node. `amqp_url` and `password` are the hub's, an administrator on vhost `/`."""

    folder: Path
    port: int
    management_port: int
    user: str
    password: str = field(repr=False)
    name: str
    epmd_port: int
    dist_port: int
    script: str
    _guard: Guard = field(repr=False)
    _epmd: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _beam: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def amqp_url(self) -> str:
        return self.amqp_url_of("/")

    def amqp_url_of(self, vhost: str) -> str:
        """`amqp://` URL with the hub's credentials for `vhost`."""
        return f"amqp://{self.user}:{self.password}@{_LOOPBACK}:{self.port}/{quote(vhost, safe='')}"

    @property
    def management_url(self) -> str:
        """Base of the management API, without credentials."""
        return f"http://{_LOOPBACK}:{self.management_port}"

    @property
    def pid(self) -> int:
        """Of the Erlang virtual machine. Raises SetupRefused when the node does not run."""
        if self._beam is None:
            raise SetupRefused(detail=f"RabbitMQ: {self.name} is not running")
        return self._beam.pid

    def api(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One call of the management API as the hub's user: (HTTP status, body). `path` starts with `/api/`."""
        return manage(self.management_url, self.user, self.password, method, path, body)

    def ctl(self, *args: str, timeout_seconds: float = 60) -> str:
        """`rabbitmqctl` against this node: its standard output; 0.2 to 1 s a call.

        No secrets in `args` (they show in the process list), and no `stop` or `shutdown`: those are methods here.
        """
        command = [str(Path(self.script).with_name("rabbitmqctl")), "-q", "-n", self.name, *args]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, arguments from our own code
                command, env=self._environment(), capture_output=True, text=True, timeout=timeout_seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SetupRefused(detail=f"rabbitmqctl {args[0]}: no answer in {timeout_seconds:.0f} s") from error
        if done.returncode:
            raise SetupRefused(detail=f"rabbitmqctl {args[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kill(self) -> None:
        """SIGKILL, as a power cut would; returns when the process is gone. Data and ports stay for `restart`."""
        if self._beam is not None:
            self._beam.kill()
            self._beam.wait()
            self._beam = None

    def restart(self) -> None:
        """Run again with the same data, ports and credentials; returns when it answers. Ends a running node first."""
        self._end_beam()
        self.run()

    def stop(self) -> None:
        """End the node and its port mapper. May be called twice. The folder stays.

        A polite end takes 3.10 six seconds (its management plugin waits five); `kill()` first is quick, and what a
        quorum queue has confirmed survives it.
        """
        self._end_beam()
        if self._epmd is not None:
            _end(self._epmd)
            self._epmd = None
        self._guard.dismiss()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end_beam(self) -> None:
        if self._beam is not None:
            _end(self._beam)
            self._beam = None

    def run(self) -> None:
        """Start it, and its port mapper where none answers; returns when AMQP and management answer."""
        if _is_free(self.epmd_port):
            command = [_epmd(), "-port", str(self.epmd_port), "-address", _LOOPBACK]
            self._epmd = self._launch(command, "epmd.log")
            self._guard.watch(self._epmd.pid)
        for log in ("node.log", "start.log"):  # an error message tells of this start, not of the one before
            with contextlib.suppress(FileNotFoundError):
                (self.folder / log).replace(self.folder / f"{log}.1")
        self._beam = self._launch([self.script], "start.log")
        self._guard.watch(self._beam.pid)
        try:
            self._wait_until_it_answers(self._beam)
        except BaseException:
            self.kill()
            raise

    def _launch(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with _private(self.folder / log, "ab") as output:
            return subprocess.Popen(  # noqa: S603 - programs of the installed package
                command,
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, not the node's
                umask=0o077,
            )

    def _wait_until_it_answers(self, beam: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if beam.poll() is not None:
                raise SetupRefused(detail=f"RabbitMQ ended ({beam.returncode}) while starting.\n{self._tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                socket.create_connection((_LOOPBACK, self.port), timeout=1).close()
                if self.api("GET", "/api/whoami")[0] == 200:
                    return
            time.sleep(0.05)
        raise SetupRefused(detail=f"RabbitMQ did not answer within {START_SECONDS:.0f} s.\n{self._tail()}")

    def _tail(self) -> str:
        """What the node said last, from its first complaint on: at most 20 lines, for an error message."""
        logs = [self.folder / name for name in ("node.log", "start.log")]
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()[-200:]]
        complaints = [number for number, line in enumerate(lines) if "[error]" in line or "BOOT FAILED" in line]
        told = lines[complaints[0] :][:20] if complaints else lines[-20:]
        return "\n".join(told).replace(self.password, "***")

    def _environment(self) -> Mapping[str, str]:
        """Nothing of the caller's RABBITMQ_* and ERL_* settings reaches the node."""
        folder, quiet = self.folder, "+sbwt none +sbwtdcpu none +sbwtdio none"  # do not wait busily: others work here
        erlang = f"{quiet} -kernel inet_dist_use_interface {{127,0,0,1}} -start_epmd false"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder),  # where Erlang looks for its cookie
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": _LOOPBACK,
            "ERL_CRASH_DUMP_SECONDS": "0",  # none: it takes seconds to write, and has the password in it
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": str(folder / "node.log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
            "RABBITMQ_CTL_ERL_ARGS": erlang,
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the node instead of its parent: one pid
        }


def start(folder: Path, *, auth_url: str | None = None, extra_conf: str = "") -> Node:
    """Start a node in `folder` (made if missing); returns when AMQP and management answer. Blocking: use a thread.

    `auth_url`: where the hub answers RabbitMQ's HTTP authentication back end; `/user`, `/vhost`, `/resource` and
    `/topic` are added to it. None: only the node's own users are known. `extra_conf`: more lines for `rabbitmq.conf`.
    A folder used before keeps its data, ports and password. If the calling process dies, the node is ended with it
    (by a small watching process); should that die too, `stop_stale` clears up.

    Raises SetupRefused: not installed, folder in use by a living process, or no answer (with the end of the log).
    """
    node = prepare(folder, auth_url=auth_url, extra_conf=extra_conf)
    try:
        node.run()
    except BaseException:
        node.stop()
        raise
    return node


def prepare(folder: Path, *, auth_url: str | None = None, extra_conf: str = "", beside: Node | None = None) -> Node:
    """The node of `start`, which does not run yet: `Node.run` starts it, `Node.stop` ends its watching process.

    `beside`: a node with whose port mapper, Erlang cookie and password this one is made, so that they can be a cluster.
    """
    script = installed()
    if script is None:
        raise SetupRefused(detail="RabbitMQ is not installed: the `rabbitmq-server` package is needed")
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stop_stale(folder)
    state = _state(folder, beside)
    _write(folder / "rabbitmq.conf", _configuration(state, auth_url) + extra_conf + "\n")
    _write(folder / "enabled_plugins", f"[{','.join(_PLUGINS)}].\n")
    if not (folder / ".erlang.cookie").exists():
        cookie = secrets.token_hex(20) if beside is None else (beside.folder / ".erlang.cookie").read_text()
        _write(folder / ".erlang.cookie", cookie, mode=0o400)
    return Node(
        folder=folder,
        port=int(state["port"]),
        management_port=int(state["management_port"]),
        user=str(state["user"]),
        password=str(state["password"]),
        name=str(state["name"]),
        epmd_port=int(state["epmd_port"]),
        dist_port=int(state["dist_port"]),
        script=script,
        _guard=Guard(folder),
    )


def _state(folder: Path, beside: Node | None) -> dict[str, str | int]:
    """What a folder keeps from one start to the next. A port that somebody else has taken meanwhile is replaced."""
    path = folder / "state.json"
    state: dict[str, str | int] = {"user": "hub", "password": secrets.token_urlsafe(24)}
    state["name"] = f"tw{secrets.token_hex(4)}@localhost"
    if path.exists():
        state = json.loads(path.read_text())
    ports = ["port", "management_port", "dist_port", "epmd_port"]
    if beside is not None:
        state |= {"password": beside.password, "epmd_port": beside.epmd_port}
        ports.remove("epmd_port")  # taken by `beside`, or about to be
    for name in ports:
        while name not in state or not _is_free(int(state[name])) or list(state.values()).count(state[name]) > 1:
            state[name] = free_port()
    _write(path, json.dumps(state))
    return state


def _configuration(state: Mapping[str, str | int], auth_url: str | None) -> str:
    lines = {
        "listeners.tcp.1": f"{_LOOPBACK}:{state['port']}",
        "management.tcp.ip": _LOOPBACK,
        "management.tcp.port": state["management_port"],
        "default_user": state["user"],
        "default_pass": state["password"],
        "default_user_tags.administrator": "true",
        "loopback_users": "none",
        "auth_backends.1": "internal",  # first, so that the hub gets in while the hub is not there to be asked
        "collect_statistics_interval": 1000,  # milliseconds
        "disk_free_limit.absolute": "50MB",
        "vm_memory_high_watermark.absolute": "1GB",
        "log.file.level": "info",
        "log.console": "false",
    }
    if auth_url is not None:
        lines |= {"auth_backends.2": "http", "auth_http.http_method": "post"}
        lines |= {f"auth_http.{door}_path": f"{auth_url}/{door}" for door in ("user", "vhost", "resource", "topic")}
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def manage(url: str, user: str, password: str, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One call of a management API at `url` (http, no TLS): (status, body). Raises OSError when nobody is there."""
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _private(path: Path, mode: str, permissions: int = 0o600) -> IO[bytes]:
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, permissions))


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    with _private(path, "wb", mode) as file:
        file.write(text.encode())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child of ours to end, and insist after STOP_SECONDS."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
