"""The relay: what is `ready` in an `amqp` queue goes to RabbitMQ; what comes back from there goes to the ledger.

One relay is active. It holds a publishing and a consuming connection, one task per queue, and one for dead letters.
The ledger is the outbox: a delivery is claimed (committed), published, and marked on its confirm. Whatever happens in
between, it is still `ready` and is published again, recognisable by address and round.

A queue that fails is left alone for a while (parked); the others do not notice. When RabbitMQ is away everything
waits in the ledger. Rights that were lost act here: connections are closed, queues drained and refilled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aio_pika
import httpx2
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed
from sqlalchemy import RowMapping, func, select

from broker import metrics
from broker.errors import Fault, LedgerAway, WireRefused
from broker.hub import Hub
from broker.ledger import tables as t
from broker.ledger import wire
from broker.ledger.wire import Copy
from broker.logs import log
from broker.rabbit import topology
from broker.rabbit.access import PROBE, Door
from broker.rabbit.management import Management
from broker.rabbit.publish import Published, copy_of, publish_all
from broker.rabbit.topology import TIMEOUT_SECONDS, WINDOW

TOGETHER = 200
"""Publishes of one queue in flight at a time."""
LOOK_AGAIN_SECONDS = 5.0
"""A queue's task looks at the ledger this often even if nobody wakes it."""
SWEEP_SECONDS = 10.0
"""How often a queue's existence and emptiness are checked."""
STATISTICS_SECONDS = 15
"""RabbitMQ's counts may be this old: what was published later than that before a count of zero may still be there."""
RETRY_SECONDS = (1.0, 30.0)
CLOSE_AGAIN_SECONDS = 2
"""Connections of a barred member are closed repeatedly for this long: one may have been opening when the bar fell."""

WIRE_ERRORS = (AMQPError, ConnectionError, TimeoutError, httpx2.HTTPError, OSError, RuntimeError)


@dataclass
class _Queue:
    """A queue's task and what the relay remembers of it while this session lasts."""

    row: RowMapping
    task: asyncio.Task[None] | None = None
    sampled: int = 0
    published_since: int = 0
    checked_at: float = float("-inf")


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
    _asked: bool = False

    async def run(self) -> None:
        """For ever. Raises WireRefused if RabbitMQ is not set up as we need it."""
        pause = RETRY_SECONDS[0]
        while True:
            try:
                async with Management(self.management_url, self.amqp_url) as management:
                    await _Session(self, management).run()
            except* WireRefused:
                raise
            except* (*WIRE_ERRORS, LedgerAway) as gone:
                if self.connected:
                    pause = RETRY_SECONDS[0]
                log.warning("wire.away", detail=_first(gone), again_seconds=pause)
            finally:
                self.connected = False
                metrics.wire_up.set(0)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS[1])

    async def prove_asked(self) -> None:
        """Make RabbitMQ ask somebody about a stranger and see that it is us. Raises WireRefused."""
        if self._asked:
            return
        scheme, _, rest = self.amqp_url.partition("://")
        stranger = f"{scheme}://{PROBE}:{self.door.probe_password}@{rest.rpartition('@')[2]}"
        with suppress(*WIRE_ERRORS):
            await (await aio_pika.connect(stranger, timeout=TIMEOUT_SECONDS)).close()
        if not self.door.probed.is_set():
            raise WireRefused(Fault("/amqp_url", "not-asked"))
        self._asked = True


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:200]


class _Session:
    """Everything between one connect and the loss of that connection."""

    def __init__(self, relay: Relay, management: Management) -> None:
        self.relay = relay
        self.hub = relay.hub
        self.management = management
        self.queues: dict[str, _Queue] = {}
        self.lost = asyncio.Event()

    async def run(self) -> None:
        publishing = await aio_pika.connect(self.relay.amqp_url, timeout=TIMEOUT_SECONDS)
        async with publishing:
            await self.management.check()
            await self.relay.prove_asked()
            consuming = await aio_pika.connect(self.relay.amqp_url, timeout=TIMEOUT_SECONDS)
            async with consuming:
                self.publishing, self.consuming = publishing, consuming
                channel = await publishing.channel(publisher_confirms=True, on_return_raises=True)
                self.exchange = channel.default_exchange
                await self._serve(channel)

    async def _serve(self, channel: AbstractChannel) -> None:
        self.relay.connected = True
        metrics.wire_up.set(1)
        log.info("wire.connected")
        async with asyncio.TaskGroup() as group:
            for closable in (self.publishing, self.consuming, channel):
                closable.close_callbacks.add(lambda *_: self.lost.set())  # `closed()` is silent when the peer closes
            group.create_task(self._until_lost())
            group.create_task(self._dead_letters())
            group.create_task(self._supervise(group))

    async def _until_lost(self) -> None:
        await self.lost.wait()
        raise ConnectionError("RabbitMQ closed the connection")

    async def _supervise(self, group: asyncio.TaskGroup) -> None:
        """Close who is barred; keep one task per queue; count the outbox."""
        while True:
            self.relay.changed.clear()
            pending = await self._close_barred()
            async with self.hub.ledger.reading() as c:
                rows = await wire.amqp_queues(c)
                waiting = (
                    select(func.count()).select_from(t.deliveries).join(t.queues, t.queues.c.id == t.deliveries.c.queue)
                )
                count = await c.execute(
                    waiting.where(t.deliveries.c.state == "ready", t.queues.c.amqp_name.is_not(None))
                )
                metrics.outbox.set(count.scalar_one())
            for row in rows:
                queue = self.queues.setdefault(row["id"], _Queue(row))
                if queue.task is None or queue.task.done():
                    queue.row = row
                    queue.task = group.create_task(self._serve_queue(queue))
            metrics.parked_queues.set(len(self.relay.parked))
            try:
                await asyncio.wait_for(self.relay.changed.wait(), 0.5 if pending else LOOK_AGAIN_SECONDS)
            except TimeoutError:
                continue

    async def _close_barred(self) -> bool:
        """Act on orders to close members' connections. True while some must be repeated."""
        async with self.hub.ledger.reading() as c:
            orders = await wire.closings(c)
        done = []
        for order in orders:
            await self.management.close_connections(order["member"])
            log.info("wire.closed", member=order["member"], reason=order["reason"])
            if self.hub.now() - order["at"] > timedelta(seconds=CLOSE_AGAIN_SECONDS):
                done.append(order["number"])
        if done:
            async with self.hub.ledger.accepting() as c:
                await wire.closed(c, done)
        return len(done) < len(orders)

    async def _serve_queue(self, queue: _Queue) -> None:
        pause = RETRY_SECONDS[0]
        id = queue.row["id"]
        with self.hub.wakes.listening(id) as woken:
            while True:
                woken.clear()
                try:
                    busy = await self._step(queue)
                    if busy is None:
                        return
                    self.relay.parked.discard(id)
                    pause = RETRY_SECONDS[0]
                except LedgerAway:
                    busy = False
                except WIRE_ERRORS as error:
                    if self.lost.is_set():
                        raise
                    self.relay.parked.add(id)
                    queue.checked_at = float("-inf")
                    log.warning(
                        "queue.parked", queue=id, detail=f"{type(error).__name__}: {error}"[:200], again_seconds=pause
                    )
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RETRY_SECONDS[1])
                    continue
                if not busy:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), LOOK_AGAIN_SECONDS)

    async def _step(self, queue: _Queue) -> bool | None:
        """One round of a queue: drain it, or see that it is there, or publish. None when the queue is gone for good."""
        async with self.hub.ledger.reading() as c:
            queue.row = {**queue.row, **await wire.queue_row(c, queue.row["id"])}  # type: ignore[assignment]
            removed = next((r["removed_at"] for r in await wire.amqp_queues(c) if r["id"] == queue.row["id"]), None)
        if queue.row["drain"]:
            await self._drain(queue, removed)
            return None if removed else True
        if removed:
            await self._delete(queue)
            return None
        if asyncio.get_running_loop().time() - queue.checked_at > SWEEP_SECONDS:
            await self._check(queue)
        room = await self._room(queue)
        if room <= 0:
            await asyncio.sleep(1)
            return True
        return await self._publish(queue, min(room, TOGETHER))

    async def _publish(self, queue: _Queue, limit: int) -> bool:
        now = self.hub.now()
        async with self.hub.ledger.accepting() as c:
            registry = await self.hub.registry(c)
            if not registry.is_active(queue.row["member"]):
                return False
            rows = await wire.claim(c, registry, queue.row["id"], limit, now)
        if not rows:
            return False
        queue.published_since += len(rows)
        results = await publish_all(self.exchange, queue.row["amqp_name"], rows, self.hub.public_url, now)
        good = [copy_of(row) for row, result in zip(rows, results, strict=True) if result is Published.CONFIRMED]
        async with self.hub.ledger.accepting() as c:
            await wire.confirmed(c, good, self.hub.now())
        metrics.published.inc(len(good))
        if len(good) < len(rows):
            metrics.publish_failures.inc(len(rows) - len(good))
            bad = next(result for result in results if result is not Published.CONFIRMED)
            raise ConnectionError(f"{len(rows) - len(good)} of {len(rows)} not confirmed: {bad.value}")
        log.info("delivery.published", queue=queue.row["id"], member=queue.row["member"], deliveries=len(good))
        return True

    async def _room(self, queue: _Queue) -> int:
        """How many more the window admits: what was there at the last look, plus what was published since."""
        room = WINDOW - queue.sampled - queue.published_since
        if room >= TOGETHER:
            return room
        await self._sample(queue)
        return WINDOW - queue.sampled - queue.published_since

    async def _sample(self, queue: _Queue) -> int:
        """Ready (exact) plus unacknowledged (some seconds old)."""
        before = queue.published_since
        depth = await self.management.depth(queue.row["amqp_name"])
        async with self._channel(self.publishing) as channel:
            ready = await _ready(channel, queue.row["amqp_name"])
        queue.sampled = ready + depth.unacknowledged
        queue.published_since -= before
        return queue.sampled

    async def _check(self, queue: _Queue) -> None:
        """The queue exists with the right arguments; if it was lost, what it may have held is ready again."""
        name, row = queue.row["amqp_name"], queue.row
        now = self.hub.now()
        try:
            async with self._channel(self.publishing) as channel:
                await _ready(channel, name)
        except ChannelNotFoundEntity:
            await self._make(queue, now)
        async with self._channel(self.publishing) as channel:
            try:
                await topology.declare_member_queue(channel, name)
            except ChannelPreconditionFailed as error:
                raise WireRefused(Fault("/amqp_url", "queue-arguments", found=name), detail=str(error)) from None
        if row["declared"] and await self._sample(queue) == 0 and queue.published_since == 0:
            async with self.hub.ledger.accepting() as c:
                await wire.set_queue(c, row["id"], empty_at=now - timedelta(seconds=STATISTICS_SECONDS))
        queue.checked_at = asyncio.get_running_loop().time()

    async def _make(self, queue: _Queue, now: datetime) -> None:
        row = queue.row
        async with self._channel(self.publishing) as channel:
            await topology.declare_member_queue(channel, row["amqp_name"])
        async with self.hub.ledger.accepting() as c:
            if row["declared"]:
                again = await wire.lost(c, row["id"], row["empty_at"], now)
                log.warning("queue.lost", queue=row["id"], member=row["member"], ready_again=again)
            await wire.set_queue(
                c, row["id"], declared=True, generation=row["generation"] + (1 if row["declared"] else 0)
            )
        queue.sampled = queue.published_since = 0

    async def _drain(self, queue: _Queue, removed: datetime | None) -> None:
        """Close the member's connections, take everything out (ledger first, then RabbitMQ), open again.

        Access is denied already: the order to drain is a committed flag that `access.Door` reads.
        """
        name, member = queue.row["amqp_name"], queue.row["member"]
        taken = 0
        async with self._channel(self.consuming) as channel:
            await self._nobody_reads(channel, name, member)
            await channel.set_qos(prefetch_count=500)
            arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            source = await channel.get_queue(name, ensure=False)
            tag = await source.consume(arrived.put, timeout=TIMEOUT_SECONDS)
            while True:
                batch = await _together(arrived, 500, 0.2)
                if not batch:
                    if await _ready(channel, name) == 0 and arrived.empty():
                        break
                    continue
                copies = [copy for m in batch if (copy := Copy.read(m.message_id))]
                async with self.hub.ledger.accepting() as c:
                    await wire.drained(c, await self.hub.registry(c), copies, self.hub.now())
                await batch[-1].ack(multiple=True)
                taken += len(batch)
            await source.cancel(tag)
        async with self.hub.ledger.accepting() as c:
            await wire.set_queue(c, queue.row["id"], drain=False)
        queue.sampled = queue.published_since = 0
        metrics.drains.inc()
        log.info("queue.drained", queue=queue.row["id"], member=member, taken=taken)
        if removed:
            await self._delete(queue)

    async def _nobody_reads(self, channel: AbstractChannel, name: str, member: str) -> None:
        for _ in range(100):
            await self.management.close_connections(member)
            state = await channel.declare_queue(name, passive=True, timeout=TIMEOUT_SECONDS)
            if (state.declaration_result.consumer_count or 0) == 0:
                return
            await asyncio.sleep(0.05)
        raise TimeoutError("consumers stay connected")

    async def _delete(self, queue: _Queue) -> None:
        async with self._channel(self.publishing) as channel:
            await channel.queue_delete(queue.row["amqp_name"], timeout=TIMEOUT_SECONDS)
        now = self.hub.now()
        d = t.deliveries.c
        async with self.hub.ledger.accepting() as c:
            await c.execute(
                t.deliveries.update()
                .where(d.queue == queue.row["id"], d.state == "ready")
                .values(state="revoked", reason="subscription removed", changed_at=now)
            )
            await wire.set_queue(c, queue.row["id"], declared=False)

    async def _dead_letters(self) -> None:
        async with self._channel(self.consuming) as channel:
            await channel.set_qos(prefetch_count=100)
            queue = await topology.declare_dead_letters(channel)
            async with queue.iterator() as letters:
                async for letter in letters:
                    await self._dead_letter(letter)
        raise ConnectionError("the consumer of dead letters was cancelled")

    async def _dead_letter(self, letter: AbstractIncomingMessage) -> None:
        reason = str((letter.headers or {}).get("x-first-death-reason", "rejected"))
        copy = Copy.read(letter.message_id)
        state = None
        if copy is not None:
            async with self.hub.ledger.accepting() as c:
                state = await wire.dead_lettered(c, copy, reason, self.hub.now())
        await letter.ack()
        metrics.dead_letters.labels(reason).inc()
        log.info("delivery.dead-lettered", delivery=letter.message_id, reason=reason, state=state)
        if state == "ready" and copy is not None:
            self.hub.wakes.wake([copy.queue])

    @asynccontextmanager
    async def _channel(self, connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
        """A channel of its own: an error closes a channel, and must close nobody else's."""
        channel = await connection.channel(publisher_confirms=False)
        try:
            yield channel
        finally:
            with suppress(*WIRE_ERRORS):
                await channel.close()


async def _ready(channel: AbstractChannel, name: str) -> int:
    state = await channel.declare_queue(name, passive=True, timeout=TIMEOUT_SECONDS)
    return state.declaration_result.message_count or 0


async def _together(
    arrived: asyncio.Queue[AbstractIncomingMessage], limit: int, seconds: float
) -> list[AbstractIncomingMessage]:
    """Up to `limit` messages; what comes within `seconds` of the one before belongs together."""
    batch: list[AbstractIncomingMessage] = []
    while len(batch) < limit:
        try:
            batch.append(await asyncio.wait_for(arrived.get(), seconds))
        except TimeoutError:
            break
    return batch
