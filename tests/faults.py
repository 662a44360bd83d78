"""Faults on demand: a TCP proxy that cuts, delays and swallows, and child processes that can be killed at any line.

Small true things instead of mocks: the connection that breaks is a real one, the process that dies really dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx2

from broker.rabbit.private_node import free_port

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST


class Proxy:
    """Listens on 127.0.0.1:`port` and forwards to a target, as long as it is told nothing worse. See `proxy`.

    With several targets it balances: each new connection goes to the next one that takes it.
    """

    def __init__(self, *targets: tuple[str, int]) -> None:
        self.targets = list(targets)
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter | None] = {}  # client -> target
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._turn = -1
        self.port = free_port()
        self.delay_seconds = 0.0
        """Every piece of at most 64 KiB waits this long, in each direction; pieces are not overtaken."""
        self.accepted = 0
        """Connections taken since the start."""

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._pairs)

    async def accept(self) -> None:
        """Take new connections (again), on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    def refuse(self) -> None:
        """Refuse new connections (RST to the SYN); those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """Reset (RST) every open connection on both sides; what was under way is lost."""
        for client, target in self._pairs.items():
            _reset(client)
            if target is not None:
                _reset(target)

    def say(self, octets: bytes) -> None:
        """Send every client what the target has not said."""
        for client in self._pairs:
            client.write(octets)

    def half_close(self, towards: Literal["client", "target"] = "client") -> None:
        """Send FIN one way; the other way stays open."""
        for client, target in self._pairs.items():
            if (writer := client if towards == "client" else target) is not None and writer.can_write_eof():
                writer.write_eof()

    def blackhole(self) -> None:
        """Forward nothing more: connections stay open, new ones are accepted, nobody answers, until `heal`."""
        self._open.clear()

    async def heal(self) -> None:
        """No more delay, no more hole, new connections welcome."""
        self.delay_seconds = 0.0
        self._open.set()
        await self.accept()

    async def close(self) -> None:
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._pairs[client] = target = None
        if task := asyncio.current_task():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._open.wait()
            from_target, target = await self._connected()
            self._pairs[client] = target
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(self._pump(from_client, target))
                both_ways.create_task(self._pump(from_target, client))
        except* (OSError, RuntimeError):  # the target is away, or one side was cut: so is the other
            _reset(client)
        except* asyncio.CancelledError:  # the proxy closes; asyncio's own done-callback would log a cancelled handler
            pass
        finally:
            del self._pairs[client]
            for writer in (client, target):
                if writer is not None:
                    writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._turn += 1
        refused: OSError = ConnectionRefusedError("no target")
        for n in range(len(self.targets)):
            try:
                return await asyncio.open_connection(*self.targets[(self._turn + n) % len(self.targets)])
            except OSError as error:
                refused = error
        raise refused

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            await self._open.wait()
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            writer.write(piece)
            await writer.drain()
        await self._open.wait()
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of `host:port`, healthy until told otherwise."""
    made = Proxy((host, port))
    await made.accept()
    try:
        yield made
    finally:
        await made.close()


@dataclass
class Process:
    """A child process and all its descendants in its process group. See `process`."""

    command: Sequence[str]
    output: Path
    env: Mapping[str, str] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start (again). The environment is ours plus `env`; standard output and error are appended to `output`."""
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    @property
    def running(self) -> bool:
        """Looked at without reaping, so that the pid stays ours until the whole group has been ended."""
        if self._child is None:
            return False
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def said(self) -> str:
        """All it has written so far."""
        return self.output.read_text(errors="replace")

    async def answers(self, url: str, *, within_seconds: float = 60) -> None:
        """Wait until `url` answers with a status below 500; fails with what the process said."""
        async with asyncio.timeout(within_seconds), httpx2.AsyncClient(trust_env=False) as client:
            while True:
                assert self.running, f"{self.command[0]} ended while starting:\n{self.said()}"
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(url)).status_code < 500:
                        return
                await asyncio.sleep(0.05)

    def kill9(self) -> None:
        """SIGKILL to the whole group, now; returns when the child is gone."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    async def terminate(self, *, within_seconds: float = 30) -> int:
        """SIGTERM to the child and its exit status; what is left of its group after that is killed."""
        assert self._child is not None, "not started"
        child = self._child
        if self.running:
            child.terminate()
        ended = asyncio.to_thread(os.waitid, os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended, within_seconds)
        self.kill9()
        return child.returncode


@contextlib.asynccontextmanager
async def process(
    *command: str, output: Path, env: Mapping[str, str] | None = None, ready: str | None = None
) -> AsyncIterator[Process]:
    """A started child; with `ready`, once that URL answers. Whatever is left of it at the end is killed, by its pid."""
    made = Process(command, output, env or {})
    made.start()
    try:
        if ready is not None:
            await made.answers(ready)
        yield made
    finally:
        made.kill9()
