"""The loops: out/, acknowledge/, and each queue. What fails is tried again, after a pause that grows.

Nothing that the hub says and nothing that a disk does ends the agent; a fault of its own does, so that whoever
supervises it sees it. Asked to stop, it finishes what it is posting or writing, for GRACE_SECONDS at most.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from adapters.folder import layout as places
from adapters.folder import problems, received
from adapters.folder.acknowledging import acknowledge
from adapters.folder.disk import Disk, sweep
from adapters.folder.incoming import receive
from adapters.folder.outgoing import send
from adapters.folder.parts import Parts
from adapters.folder.problems import Later, Unreadable
from adapters.folder.status import COUNTED, Status, Tell
from adapters.folder.taking import PATIENCE
from broker import clock
from broker.client import Client, Problem, Unreachable
from broker.clock import Clock
from broker.errors import BrokerError

WAIT_SECONDS = 20
"""How long a lease waits at the hub for something to come."""
PAUSE_SECONDS = (1.0, 30.0)
GRACE_SECONDS = 10
STATUS_SECONDS = 30
"""`status.json` is written after every change, at most once a second, and so often if nothing changes."""

MAX_WHY_CHARACTERS = 2_000

TROUBLES = (Unreachable, Problem, Later, BrokerError, OSError)


@contextmanager
def opened(
    root: Path, client: Client, queues: Sequence[str], tell: Tell, *, now: Clock = clock.now, disk: Disk | None = None,
    unchanged_seconds: float = 2.0, lease_seconds: int = 120,
) -> Iterator[Parts]:  # fmt: skip
    """The folder, made and locked. Raises SetupRefused if it cannot be used or another agent has it, OSError."""
    layout = places.prepare(root)
    with places.alone(layout), received.opened(layout.received) as memory:
        for folder in (layout.root, *layout.shared, *layout.own):
            sweep(folder)
        about = {"hub": client.url, "member": client.member, "queues": list(queues)}
        status = Status(about, now, tell)
        parts = Parts(layout, client, disk or Disk(), memory, status, now, unchanged_seconds, lease_seconds)
        try:
            yield parts
        finally:
            write_status(parts, "stopped")


async def run(parts: Parts, queues: Sequence[str], every_seconds: float = 1.0) -> None:
    """Until `parts.stopping` is set."""

    def in_step(step: Callable[[Parts], Awaitable[int]]) -> Callable[[bool], Awaitable[float]]:
        async def looked(_doubtful: bool) -> float:
            return 0 if await step(parts) else every_seconds

        return looked

    def leasing(queue: str) -> Callable[[bool], Awaitable[float]]:
        async def leased(doubtful: bool) -> float:
            came = await receive(parts, queue, WAIT_SECONDS, doubtful=doubtful)
            return 0 if came else every_seconds  # a hub that does not wait is not asked in a tight loop

        return leased

    parts.status.tell("started", folder=str(parts.layout.root))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_patiently(parts, "out", in_step(send))),
            group.create_task(_patiently(parts, "acknowledge", in_step(acknowledge))),
            *(group.create_task(_patiently(parts, f"queue {queue}", leasing(queue))) for queue in queues),
            group.create_task(_keep_status(parts)),
        ]
        await parts.stopping.wait()
        await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        for task in tasks:
            task.cancel()
    parts.status.tell("stopped")


async def once(parts: Parts, queues: Sequence[str]) -> dict[str, int]:
    """Do what is there: the files of out/ and acknowledge/, and the queues until they are empty. The counts; `left`:
    files that were not whole in time, or not done when it was stopped.

    Raises the first of TROUBLES after the other parts were done: nothing is lost, and the next call goes on.
    """
    first: Exception | None = None
    for name, work in (
        ("out", partial(_files_once, parts, send, ("out", "sending"))),
        ("acknowledge", partial(_files_once, parts, acknowledge, ("acknowledge", "acknowledging"))),
        *((f"queue {queue}", partial(_queue_once, parts, queue)) for queue in queues),
    ):
        try:
            await _while_it_may(parts, work())
        except TROUBLES as error:
            parts.status.trouble(name, why(error))
            first = first or error
    if first is not None:
        raise first
    return {name: parts.status.count(name) for name in COUNTED} | {"left": sum(parts.status.waiting.values())}


async def _while_it_may(parts: Parts, work: Coroutine[Any, Any, None]) -> None:
    """The work; once the agent stops it has GRACE_SECONDS, and is broken off."""
    task, stop = asyncio.create_task(work), asyncio.create_task(parts.stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
        if task.done():
            task.result()
    finally:
        for one in (task, stop):
            one.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)


async def _files_once(parts: Parts, step: Callable[[Parts], Awaitable[int]], folders: Sequence[str]) -> None:
    """`step` until nothing waits in `folders`, or as long as a file that is not whole is waited for."""
    loop = asyncio.get_running_loop()
    until = loop.time() + (PATIENCE + 1) * parts.unchanged_seconds
    while not parts.stopping.is_set():
        if await step(parts):
            continue
        if not any(parts.status.waiting[folder] for folder in folders) or loop.time() > until:
            return
        await _sleep(parts, min(0.2, parts.unchanged_seconds))


async def _queue_once(parts: Parts, queue: str) -> None:
    while not parts.stopping.is_set() and await receive(parts, queue):
        pass


async def _patiently(parts: Parts, name: str, step: Callable[[bool], Awaitable[float]]) -> None:
    """`step` over and over, with the pause that it answers; after a trouble a pause that grows, and then in doubt."""
    failures = 0
    while not parts.stopping.is_set():
        try:
            pause = await step(failures > 0)
            failures = 0
            if not parts.stopping.is_set():  # then it may have been broken off
                parts.status.well(name)
        except TROUBLES as error:
            aside = isinstance(error, Unreadable)
            failures += not aside
            pause = growing(0 if aside else failures)
            if not aside or not parts.status.in_trouble(name, why(error)):
                parts.status.trouble(name, why(error))
        await _sleep(parts, pause)


def growing(failures: int) -> float:
    """Seconds, jittered: doubled by each failure, and bounded."""
    first, most = PAUSE_SECONDS
    ceiling = min(most, first * 2 ** min(failures, 16))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, not a secret


def why(error: BaseException) -> str:
    """One line, without a stack: what an operator needs, and not more of what somebody else said."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError):
        text = f"{error.filename or 'disk'}: {error.strerror or error}"
    elif isinstance(error, BrokerError):
        text = f"{error.code}: {error}"
    return text[:MAX_WHY_CHARACTERS]


async def _sleep(parts: Parts, seconds: float) -> None:
    """That long, or until the agent stops."""
    if seconds > 0:
        stop = asyncio.ensure_future(parts.stopping.wait())
        try:
            await asyncio.wait({stop}, timeout=seconds)
        finally:
            stop.cancel()


async def _keep_status(parts: Parts) -> None:
    written, seconds = -1, 0
    while not parts.stopping.is_set():
        if parts.status.version != written or seconds >= STATUS_SECONDS:
            write_status(parts, "running")
            written, seconds = parts.status.version, 0  # what that said of itself is no change
        await _sleep(parts, 1)
        seconds += 1


def write_status(parts: Parts, state: str) -> None:
    """A disk that does not take it is told elsewhere: by whatever could not be written either."""
    shown: dict[str, Any] = parts.status.shown(state)
    try:
        parts.disk.write(parts.layout.status, problems.octets(shown))
    except OSError as error:
        parts.status.tell("status-not-written", why=why(error))
