"""The relay: what is `ready` in an `amqp` queue goes to RabbitMQ; what comes back from there goes to the ledger.

One relay is active. It holds a publishing and a consuming connection, one task per queue, and one for dead letters.
A queue that fails is left alone for a while (parked); the others do not notice. When RabbitMQ is away everything waits
in the ledger. Rights that were lost act here: connections are closed, queues drained and refilled, whatever else waits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from aio_pika.exceptions import AMQPError

from broker import metrics
from broker.errors import LedgerAway, WireRefused
from broker.hub import Hub
from broker.ledger import wire
from broker.logs import log
from broker.rabbit import dead_letters, startup
from broker.rabbit.access import Door
from broker.rabbit.connections import WIRE_ERRORS, Connections, connect
from broker.rabbit.management import Management
from broker.rabbit.member_queue import After, MemberQueue

LOOK_SECONDS = 1.0
"""How often the relay looks for orders (to close, to drain) that another process may have given."""
LOOK_AGAIN_SECONDS = 5.0
"""A queue's task looks at the ledger this often even if nobody wakes it."""
RETRY_SECONDS = (1.0, 30.0)
"""Shortest and longest pause before a queue that failed is tried again."""
RECONNECT_SECONDS = (0.5, 5.0)
"""The same for RabbitMQ as a whole: everybody waits for it."""
CLOSE_AGAIN_SECONDS = 2
"""Connections of a barred member are closed repeatedly for this long: one may have been opening when the bar fell."""


@dataclass
class Relay:
    hub: Hub
    amqp_url: str
    management_url: str
    door: Door
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the registry may have changed: queues come and go, members are barred."""
    connected: bool = False
    parked: set[str] = field(default_factory=set)
    """Queues that failed and are left alone for a while."""
    proved: bool = False
    """RabbitMQ was found set up as wanted; from then on it may be away, but it is not refused."""

    async def run(self) -> None:
        """For ever. Raises WireRefused (perhaps in a group) if RabbitMQ is not set up as we need it."""
        pause = RECONNECT_SECONDS[0]
        while True:
            try:
                async with Management(self.management_url, self.amqp_url) as management:
                    await self._session(management)
            except* WireRefused:
                raise
            except* (*WIRE_ERRORS, LedgerAway) as gone:
                if self.connected:
                    pause = RECONNECT_SECONDS[0]
                log.warning("wire.away", detail=_first(gone), again_seconds=pause)
            finally:
                self.connected = False
                metrics.wire_up.set(0)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RECONNECT_SECONDS[1])

    async def _session(self, management: Management) -> None:
        """Everything between a connect and the loss of that connection."""
        try:
            async with connect(self.amqp_url) as connections:
                if not self.proved:
                    await self._prove(connections, management)
                await _Session(self, connections, management).run()
        except AMQPError as error:
            if not self.proved and startup.not_let_in(error):
                raise startup.login_refused(self.amqp_url) from None
            raise

    async def _prove(self, connections: Connections, management: Management) -> None:
        async with self.hub.ledger.reading() as c:
            names = [row["amqp_name"] for row in await wire.amqp_queues(c)]
        await startup.prove(connections, management, self.door, self.amqp_url, names)
        self.proved = True


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return _told(error)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


class _Session:
    def __init__(self, relay: Relay, connections: Connections, management: Management) -> None:
        self.relay = relay
        self.hub = relay.hub
        self.connections = connections
        self.management = management
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.acted: set[int] = set()

    async def run(self) -> None:
        self.relay.connected = True
        metrics.wire_up.set(1)
        log.info("wire.connected")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._until_lost())
            group.create_task(dead_letters.take_in(self.hub, self.connections))
            group.create_task(self._count())
            group.create_task(self._supervise(group))

    async def _until_lost(self) -> None:
        await self.connections.lost.wait()
        raise ConnectionError("RabbitMQ closed the connection")

    async def _count(self) -> None:
        while True:
            with suppress(LedgerAway):
                async with self.hub.ledger.reading() as c:
                    metrics.outbox.set(await wire.outbox(c))
            metrics.parked_queues.set(len(self.relay.parked))
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _supervise(self, group: asyncio.TaskGroup) -> None:
        """Close who is barred; keep one task per queue, and tell it when it is to be drained."""
        while True:
            self.relay.changed.clear()
            pending = False
            with suppress(LedgerAway):
                pending = await self._close_barred()
                async with self.hub.ledger.reading() as c:
                    rows = await wire.amqp_queues(c)
                for row in rows:
                    task = self.tasks.get(row["id"])
                    if task is None or task.done():
                        queue = MemberQueue(self.hub, self.connections, self.management, row)
                        self.tasks[row["id"]] = group.create_task(self._serve(queue))
                    elif row["drain"] or row["removed_at"]:
                        self.hub.wakes.wake([row["id"]])
            with suppress(TimeoutError):
                await asyncio.wait_for(self.relay.changed.wait(), LOOK_SECONDS / 2 if pending else LOOK_SECONDS)

    async def _close_barred(self) -> bool:
        """Act on orders to close members' connections. True while some must be repeated.

        Who is active again meanwhile keeps what it has opened since.
        """
        async with self.hub.ledger.reading() as c:
            orders = await wire.closings(c)
            registry = await self.hub.registry(c)
        done = []
        for order in orders:
            back = order["reason"] == "suspended" and registry.is_active(order["member"])
            if not (back and order["number"] in self.acted):
                closed = await self.management.close_connections(order["member"])
                if closed:
                    log.info("wire.closed", member=order["member"], reason=order["reason"], connections=closed)
            self.acted.add(order["number"])
            if self.hub.now() - order["at"] > timedelta(seconds=CLOSE_AGAIN_SECONDS):
                done.append(order["number"])
        if done:
            async with self.hub.ledger.accepting() as c:
                await wire.closed(c, done)
            self.acted.difference_update(done)
        return len(done) < len(orders)

    async def _serve(self, queue: MemberQueue) -> None:
        """One queue, until it is gone. Its failures are its own."""
        pause = RETRY_SECONDS[0]
        queue.suspect = queue.id in self.relay.parked  # by an earlier session
        with self.hub.wakes.listening(queue.id) as woken:
            while True:
                woken.clear()
                after = After.NOTHING
                try:
                    after = await queue.step()
                    self.relay.parked.discard(queue.id)
                    pause = RETRY_SECONDS[0]
                except LedgerAway:
                    pass
                except WIRE_ERRORS as error:
                    if self.connections.lost.is_set():
                        raise
                    self.relay.parked.add(queue.id)
                    log.warning("queue.parked", queue=queue.id, detail=_told(error), again_seconds=pause)
                    await queue.failed()
                    await self._leave_alone(queue, woken, pause)
                    pause = min(pause * 2, RETRY_SECONDS[1])
                    continue
                if after is After.GONE:
                    return
                if after is After.NOTHING and not await _woken(woken, LOOK_AGAIN_SECONDS):
                    await queue.rest()

    async def _leave_alone(self, queue: MemberQueue, woken: asyncio.Event, seconds: float) -> None:
        """Wait, but not if the queue is to be drained or removed: whoever lost a right may be reading it."""
        began, closing = asyncio.get_running_loop().time(), queue.must_close
        while (left := began + seconds - asyncio.get_running_loop().time()) > 0:
            woken.clear()
            if not await _woken(woken, left) or closing:
                continue
            with suppress(LedgerAway):
                await queue.look()
            if queue.must_close:
                return


async def _woken(woken: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(woken.wait(), seconds)
    except TimeoutError:
        return False
    return True
