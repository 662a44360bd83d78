"""The relay: what is `ready` in an `amqp` queue goes to RabbitMQ; what comes back from there goes to the ledger.

Any number of relays run side by side; each queue is held by one of them (`ledger.relays`). A relay has a publishing and
a consuming connection, one task for each queue that it holds, and one for dead letters. A queue that fails is left
alone for a while (parked); the others do not notice. When RabbitMQ is away everything waits in the ledger. Rights that
were lost act here: connections are closed, queues drained and refilled, whatever else waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import httpx2
from aio_pika.exceptions import AMQPError

from broker import metrics
from broker.errors import Held, LedgerAway, WireRefused
from broker.hub import Hub
from broker.ledger import relays, wire
from broker.ledger.deliveries import DRAIN
from broker.ledger.wakes import REGISTRY, RELAYS, Waiter
from broker.logs import log
from broker.rabbit import dead_letters, startup
from broker.rabbit.connections import WIRE_ERRORS, Connections, connect, heed_cancellation
from broker.rabbit.management import Management
from broker.rabbit.member_queue import SWEEP_SECONDS, After, MemberQueue

ROUND_SECONDS = relays.LIVES_SECONDS / 4
"""How often a relay says that it lives, and looks for queues of others that have died."""
RETRY_SECONDS = (1.0, 30.0)
"""Shortest and longest pause before a queue that failed is tried again."""
HELD_SECONDS = 0.05
"""The same for a queue of which a correction, or the relay before, has something in its hands."""
RECONNECT_SECONDS = (0.5, 5.0)
"""The same for RabbitMQ as a whole: everybody waits for it."""
CLOSE_AGAIN_SECONDS = 2
"""Connections of a barred member are closed repeatedly for this long: one may have been opening when the bar fell."""
BROKEN_SECONDS = 30.0
"""A queue that has done nothing for so long, while a new one works, is taken to be broken for good, and made anew."""
LISTED_SECONDS = relays.LIVES_SECONDS
"""RabbitMQ's management API lists a new connection within five seconds, whatever its interval for statistics."""
LEAVE_SECONDS = 12
"""A stopping relay waits so long for what it has in flight: a little more than a publish may take."""


@dataclass
class Relay:
    hub: Hub
    amqp_url: str
    management_url: str
    parked: set[str] = field(default_factory=set)
    """Queues of this relay that failed and are left alone for a while."""
    proved: bool = False
    """RabbitMQ was found set up as wanted; from then on it may be away, but it is not refused."""
    former: set[int] = field(default_factory=set)
    """Numbers that this relay had before it lost RabbitMQ."""
    stopping: bool = False

    async def run(self) -> None:
        """Until stopped. Raises WireRefused (perhaps in a group) if RabbitMQ is not set up as we need it."""
        pause = RECONNECT_SECONDS[0]
        while not self.stopping:
            session = _Session(self)
            try:
                async with Management(self.management_url, self.amqp_url) as management:
                    await session.run(management)
            except* WireRefused:
                if not self.hub.closing:  # else RabbitMQ has asked a gateway that does not answer any more
                    raise
            except* (*WIRE_ERRORS, LedgerAway) as gone:
                if session.connected_at is not None:
                    pause = RECONNECT_SECONDS[0]
                log.warning("wire.away", detail=_first(gone), again_seconds=pause)
            finally:
                metrics.wire_up.set(0)
            if not self.stopping:
                await asyncio.sleep(pause)
            pause = min(pause * 2, RECONNECT_SECONDS[1])

    def stop(self) -> None:
        """Have `run` return once what is in flight has been confirmed."""
        self.stopping = True
        self.hub.wakes.wake([RELAYS])


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return _told(error)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


class _Session:
    """Everything between a connect and the loss of that connection. Has a number, by which its connections are known."""

    connections: Connections
    management: Management

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.hub = relay.hub
        self.connected_at: float | None = None
        self.number = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.leaving: set[str] = set()
        self.went_round_at = float("-inf")

    async def run(self, management: Management) -> None:
        async with self.hub.ledger.accepting() as c:
            self.number = await relays.enlist(c)
        self.management = management
        clean = False
        try:
            async with connect(self.relay.amqp_url, relay_name(self.number)) as self.connections:
                if not self.relay.proved:
                    await self._prove()
                await self._work()
            clean = True
        except AMQPError as error:
            if not self.relay.proved and startup.not_let_in(error):
                raise startup.login_refused(self.relay.amqp_url) from None
            raise
        finally:
            if self.connected_at is not None:
                self.relay.former.add(self.number)
            with suppress(LedgerAway):
                await self._end(clean)

    async def _end(self, clean: bool) -> None:
        """Nothing of a clean end is left in RabbitMQ. Else our connections may be half open there: who takes over closes
        them by name, and is kept waiting (until we are taken for dead) for as long as RabbitMQ may not list them yet."""
        if clean or self.connected_at is None:
            end = relays.resign
        elif loop_seconds() - self.connected_at >= LISTED_SECONDS:
            end = relays.die
        else:
            return
        async with self.hub.ledger.accepting() as c:
            await end(c, self.number)

    async def _prove(self) -> None:
        async with self.hub.ledger.reading() as c:
            names = [row["amqp_name"] for row in await wire.amqp_queues(c)]
        await startup.prove(self.connections, self.management, self.hub, self.relay.amqp_url, names)
        self.relay.proved = True

    async def _work(self) -> None:
        self.connected_at = loop_seconds()
        metrics.wire_up.set(1)
        log.info("wire.connected", relay=self.number)
        async with asyncio.TaskGroup() as group:
            others = [
                group.create_task(self._until_lost()),
                group.create_task(self._take_in_dead_letters()),
                group.create_task(dead_letters.take_over(self.hub, self.connections, self.management)),
            ]
            await self._supervise(group)
            for other in others:
                other.cancel()
        log.info("wire.left", relay=self.number)

    async def _take_in_dead_letters(self) -> None:
        """For ever. A queue of dead letters that fails holds up nobody; one that is broken is made anew. What it held is
        still `published` in the ledger, with its age."""
        pause, failing_since = RETRY_SECONDS[0], loop_seconds()
        while True:
            began = loop_seconds()
            try:
                await dead_letters.take_in(self.hub, self.connections)
                pause, failing_since = RETRY_SECONDS[0], loop_seconds()
            except WIRE_ERRORS as error:
                now = loop_seconds()
                if now - began > BROKEN_SECONDS:  # it had worked
                    pause, failing_since = RETRY_SECONDS[0], now
                log.warning("dead-letters.parked", detail=_told(error), again_seconds=pause)
                if now - failing_since > BROKEN_SECONDS and await self.connections.healthy():
                    await dead_letters.rebuild(self.hub, self.management)
                    failing_since = loop_seconds()
                heed_cancellation()
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS[1])

    async def _until_lost(self) -> None:
        await self.connections.lost.wait()
        raise ConnectionError("RabbitMQ closed the connection")

    async def _supervise(self, group: asyncio.TaskGroup) -> None:
        """Until told to stop: close who is barred; hold a fair share of the queues, with one task for each."""
        with self.hub.wakes.listening(REGISTRY, RELAYS) as changed:
            while not self.relay.stopping:
                heed_cancellation()
                changed.clear()
                seconds = ROUND_SECONDS
                with suppress(LedgerAway):
                    if await self._close_barred():
                        seconds /= 4
                    await self._go_round(group)
                await changed.wait(seconds)
            self._leave(self.tasks)
            if self.tasks:
                await asyncio.wait(self.tasks.values(), timeout=LEAVE_SECONDS)
            for task in self.tasks.values():
                task.cancel()

    async def _go_round(self, group: asyncio.TaskGroup) -> None:
        async with self.hub.ledger.accepting() as c:
            standing = await relays.go_round(c, self.number)
        if standing is None:
            raise ConnectionError("another relay has taken over")
        for queue, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[queue]
        heed_cancellation()
        for queue in standing.mine - self.tasks.keys():
            self.leaving.discard(queue)
            self.tasks[queue] = group.create_task(self._serve(queue))
        self._leave(standing.surplus)
        steady = loop_seconds() - self.went_round_at < 2 * ROUND_SECONDS
        self.went_round_at = loop_seconds()
        for number in standing.dead:
            if steady or number in self.relay.former:  # else it may be the ledger that was away, for all of us
                await self._bury(number)

    async def _bury(self, number: int) -> None:
        """Nothing that a dead, or merely slow, relay still sends may reach a queue that another one holds."""
        try:
            await self.management.close_named(relay_name(number))
        except WIRE_ERRORS as error:
            log.warning("relay.not-buried", relay=number, detail=_told(error))
            return
        async with self.hub.ledger.accepting() as c:
            if await relays.bury(c, number):
                log.warning("relay.buried", relay=number)
                self.relay.former.discard(number)

    def _leave(self, queues: Iterable[str]) -> None:
        for queue in queues:
            self.leaving.add(queue)
            self.hub.wakes.wake([queue])

    async def _close_barred(self) -> bool:
        """Act on orders to close members' connections. True while some must be repeated.

        Who is active again meanwhile keeps what it has opened since.
        """
        async with self.hub.ledger.reading() as c:
            orders = await wire.closings(c)
            registry = await self.hub.registry(c)
        if not orders:
            return False
        done = []
        for order in orders:
            back = order["reason"] == "suspended" and registry.is_active(order["member"])
            if not (order["acted_at"] and back):
                closed = await self.management.close_connections(order["member"])
                if closed:
                    log.info("wire.closed", member=order["member"], reason=order["reason"], connections=closed)
            once = order["reason"] == DRAIN or back
            if once or self.hub.now() - order["at"] > timedelta(seconds=CLOSE_AGAIN_SECONDS):
                done.append(order["number"])
        async with self.hub.ledger.accepting() as c:
            await wire.closed(c, [order["number"] for order in orders], done, self.hub.now())
        return len(done) < len(orders)

    async def _serve(self, id: str) -> None:
        """One queue, as long as it is held. Its failures are its own."""
        pause, failing_since = RETRY_SECONDS[0], None
        queue = MemberQueue(self.hub, self.connections, self.management, id, self.number)
        queue.suspect = id in self.relay.parked  # by an earlier session
        with self.hub.wakes.listening(id) as woken:
            while id not in self.leaving:
                woken.clear()
                after = After.NOTHING
                try:
                    after = await queue.step()
                    heed_cancellation()
                    if id in self.relay.parked:
                        await self._park(id, None)
                    pause, failing_since = RETRY_SECONDS[0], None
                except LedgerAway as gone:
                    await woken.wait(HELD_SECONDS if isinstance(gone, Held) else RETRY_SECONDS[0])
                    continue
                except WIRE_ERRORS as error:
                    if self.connections.lost.is_set():
                        raise
                    log.warning("queue.parked", queue=id, detail=_told(error), again_seconds=pause)
                    await self._park(id, _told(error))
                    failing_since = failing_since or loop_seconds()
                    if loop_seconds() - failing_since > BROKEN_SECONDS and await self._broken(queue, error):
                        pause, failing_since = RETRY_SECONDS[0], None
                    await queue.failed()
                    heed_cancellation()
                    await self._leave_alone(queue, woken, pause)
                    pause = min(pause * 2, RETRY_SECONDS[1])
                    continue
                if after is After.GONE:
                    break
                if after is After.NOTHING and not await woken.wait(SWEEP_SECONDS):
                    await queue.rest()
        await queue.rest()
        self.relay.parked.discard(id)
        async with self.hub.ledger.accepting() as c:
            await relays.give_back(c, self.number, [id])

    async def _broken(self, queue: MemberQueue, error: BaseException) -> bool:
        """Whether the queue had to be made anew. One that is full is not broken, nor is one of which the management API
        says nothing."""
        if queue.full or isinstance(error, httpx2.HTTPError) or not await self.connections.healthy():
            return False
        try:
            await queue.rebuild()
        except WIRE_ERRORS as error:
            log.warning("queue.not-rebuilt", queue=queue.id, detail=_told(error))
            return False
        return True

    async def _park(self, id: str, why: str | None) -> None:
        (self.relay.parked.add if why else self.relay.parked.discard)(id)
        metrics.parked_queues.set(len(self.relay.parked))
        with suppress(LedgerAway):
            async with self.hub.ledger.accepting() as c:
                await relays.park(c, id, why)

    async def _leave_alone(self, queue: MemberQueue, woken: Waiter, seconds: float) -> None:
        """Wait, but not if the queue is to be drained or removed: whoever lost a right may be reading it."""
        began, closing = loop_seconds(), queue.must_close
        while (left := began + seconds - loop_seconds()) > 0 and queue.id not in self.leaving:
            woken.clear()
            if not await woken.wait(left) or closing:
                continue
            with suppress(LedgerAway):
                await queue.look()
            if queue.must_close:
                return


def loop_seconds() -> float:
    return asyncio.get_running_loop().time()


def relay_name(number: int) -> str:
    """What a relay calls its connections in RabbitMQ (`connection_name` among the client properties)."""
    return f"tidewaiter relay {number}"
