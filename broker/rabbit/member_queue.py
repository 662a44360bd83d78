"""One member's queue in RabbitMQ, seen from the hub: filled from the outbox, watched, drained, deleted.

The ledger is the outbox: a delivery is claimed (committed), published, and marked on its confirm. Whatever happens in
between, it is still `ready` and is published again, recognisable by address and round.

A queue that does not answer holds up the channel that speaks with it (measured on 3.10: a single publish does), so that
each queue publishes on a channel of its own; a failure throws the channel away.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity
from sqlalchemy import RowMapping

from broker import metrics
from broker.hub import Hub
from broker.ledger import wire
from broker.ledger.wire import Copy
from broker.logs import log
from broker.rabbit import topology
from broker.rabbit.connections import Connections, abandon, heed_cancellation
from broker.rabbit.management import Management
from broker.rabbit.publish import Published, copy_of, publish_all
from broker.rabbit.topology import TIMEOUT_SECONDS, WINDOW

TOGETHER = 200
"""Publishes of one queue in flight at a time. RabbitMQ stops reading a connection on which a channel has 400 waiting."""
SWEEP_SECONDS = 30.0
"""How often a queue is looked at unasked: its existence, its emptiness, and whether the ledger has something for it."""
STATISTICS_SECONDS = 15
"""RabbitMQ's counts may be this old: what was published later than that before a count of zero may still be there."""
FULL_SECONDS = 1.0
"""Pause before another look at a queue whose window is full."""
NARROW_SECONDS = 0.1
"""The same while the window is still growing after a drain."""
DRAIN_TOGETHER = 500
DRAIN_QUIET_SECONDS = 0.2
"""A drained queue that sends nothing for so long is asked whether it is empty."""
READERS_SECONDS = 5
"""A queue from which somebody does not go in this time is left alone for a while, and drained anew."""


class After(Enum):
    """What a round has left to do."""

    MORE = "more"
    NOTHING = "nothing"
    GONE = "gone"
    """The queue is no more, or another relay holds it."""


@dataclass
class MemberQueue:
    """What is remembered of a queue while a connection lasts; everything else is in the ledger."""

    hub: Hub
    connections: Connections
    management: Management
    id: str
    relay: int
    """The number of the relay that holds it."""
    suspect: bool = False
    """Its last round failed: one delivery is tried alone before more are risked to be sent twice."""
    refused: bool = False
    """It took something not, and said so: it is full, or (holding nothing) broken."""
    window: int = field(default_factory=lambda: WINDOW)
    """How many messages RabbitMQ may hold: few after a drain, twice as many each time the member is seen to read. What
    is drained costs what was put in, and a member whose rights change every few seconds must get to read in between."""
    unacknowledged: int = 0
    """As RabbitMQ counted it at the last look."""
    waiting: int = 0
    consumers: int = 0
    """Both as the queue itself said then."""
    unread: bool = False
    """It was lost and made anew: who read the one before shall read this one, told of it or not."""
    astray: tuple[int, int] = (0, 0)
    """Of the unacknowledged, what no channel of the member's knew of; consumers that only their channel knew of."""
    sampled: int = 0
    published_since: int = 0
    checked_at: float = float("-inf")
    channel: AbstractChannel | None = None
    row: RowMapping = field(init=False)

    @property
    def name(self) -> str:
        """In RabbitMQ."""
        return str(self.row["amqp_name"])

    @property
    def must_close(self) -> bool:
        """A right was lost: nothing else of this queue is as urgent."""
        return bool(self.row["drain"] or self.row["removed_at"])

    async def look(self) -> None:
        """What the ledger says of the queue now."""
        async with self.hub.ledger.reading() as c:
            self.row = await wire.queue_row(c, self.id)

    async def step(self) -> After:
        """One round: drain it, or see that it is there, or publish."""
        await self.look()
        if self.row["relay"] != self.relay:
            return After.GONE
        if self.row["drain"]:
            await self._drain()
            return After.MORE
        if self.row["removed_at"]:
            await self._delete()
            return After.GONE
        if asyncio.get_running_loop().time() - self.checked_at >= SWEEP_SECONDS:
            await self._check()
        if not self.row["waiting"]:
            return After.NOTHING
        room = await self._room()
        if room <= 0:
            await asyncio.sleep(FULL_SECONDS if self.window == WINDOW else NARROW_SECONDS)
            return After.MORE
        return await self._publish(1 if self.suspect else min(room, TOGETHER))

    async def failed(self) -> None:
        """A round has failed: trust nothing that was remembered."""
        self.suspect = True
        self.checked_at = float("-inf")
        await self.rest()

    @property
    def full(self) -> bool:
        return self.refused and self.sampled > 0

    async def rebuild(self) -> None:
        """RabbitMQ has lost what the queue stood on: it is deleted, and the next round makes it anew. What the ledger
        knows to have been in it is ready again (`wire.lost`): perhaps twice, never lost."""
        await self.management.delete_queue(self.name)
        metrics.rebuilt_queues.inc()
        log.warning("queue.rebuilt", queue=self.id, member=self.row["member"])

    async def rest(self) -> None:
        """Give the publishing channel back: a connection has some 2,000 of them."""
        channel, self.channel = self.channel, None
        if channel is not None:
            await abandon(channel)

    # ── filling ──

    async def _publish(self, limit: int) -> After:
        if self.channel is None:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self.channel = await self.connections.writing()
        now = self.hub.now()
        async with self.hub.ledger.accepting() as c:
            rows = await wire.claim(c, await self.hub.registry(c), self.id, self.relay, limit, now)
        if not rows:
            return After.NOTHING
        self.published_since += len(rows)
        results = await publish_all(self.channel.default_exchange, self.name, rows, self.hub.public_url, now)
        good = [copy_of(row) for row, result in zip(rows, results, strict=True) if result is Published.CONFIRMED]
        async with self.hub.ledger.accepting() as c:
            await wire.confirmed(c, good, self.hub.now())
        metrics.published.inc(len(good))
        self.refused = Published.REFUSED in results
        if len(good) < len(rows):
            metrics.publish_failures.inc(len(rows) - len(good))
            bad = next(result for result in results if result is not Published.CONFIRMED)
            raise ConnectionError(f"{len(rows) - len(good)} of {len(rows)} not confirmed: {bad.value}")
        self.suspect = False
        log.info("delivery.published", queue=self.id, member=self.row["member"], deliveries=len(good))
        return After.MORE if len(rows) == limit else After.NOTHING  # what came since has set the wake-up

    async def _room(self) -> int:
        """How many more the window admits: what was there at the last look, plus what was published since."""
        room = self.window - self.sampled - self.published_since
        if room >= TOGETHER:
            return room
        await self._sample()
        if self.sampled + self.published_since < self.window:
            self.window = min(2 * self.window, WINDOW)
        return self.window - self.sampled - self.published_since

    # ── watching ──

    async def _counted(self) -> tuple[int, int]:
        """(what waits, who reads it). A queue that does not answer says (0, 0). Raises ChannelNotFoundEntity."""
        async with self.connections.asking() as channel:
            return await topology.counted(channel, self.name)

    async def _sample(self) -> bool:
        """Count ready (exact) and unacknowledged (some seconds old). True if nothing at all was counted."""
        before = self.published_since
        depth = await self.management.depth(self.name)
        self.waiting, self.consumers = await self._counted()
        self.unacknowledged = depth.unacknowledged or 0
        self.sampled = self.waiting + self.unacknowledged
        self.published_since -= before
        return (self.waiting, depth.ready, depth.unacknowledged, self.published_since) == (0, 0, 0, 0)

    async def _check(self) -> None:
        """The queue exists; if it was lost, what it may have held is ready again. Remember when it was seen empty."""
        now = self.hub.now()
        try:
            await self._counted()
        except ChannelNotFoundEntity:
            await self._make()
        if not self.row["declared"]:  # by a relay that ended before it could say so: it would never be drained
            await self._make()
        if self.unread:
            await self.management.close_connections(self.row["member"])
            self.unread = False
        if await self._sample() and await self._is_empty():
            async with self.hub.ledger.accepting() as c:
                await wire.set_queue(c, self.id, empty_at=now - timedelta(seconds=STATISTICS_SECONDS))
        await self._call_in_strays()
        self.checked_at = asyncio.get_running_loop().time()

    async def _call_in_strays(self) -> None:
        """RabbitMQ may believe to have sent what has never reached the member's channel, and then sends nothing else (seen
        on 3.10 after a node's return; rabbitmq-server 11228), or let a channel believe to read a queue that knows nothing
        of it (there, after a queue without a leader was deleted and made anew): the consumer waits for ever. Found at two
        looks in the same number, the member's connections are closed, and everything comes anew."""
        member = str(self.row["member"])
        unheard = self.waiting > 0 and not self.consumers
        before, self.astray = self.astray, (0, 0)
        if not self.unacknowledged and not (unheard and await self.management.connected(member)):
            return
        known = await self.management.readers(member, self.name)
        strays = 0 if known.unacknowledged is None else max(self.unacknowledged - known.unacknowledged, 0)
        found = strays, known.consumers if unheard else 0
        if not any(now and now == then for now, then in zip(found, before, strict=True)):
            self.astray = found
            return
        closed = await self.management.close_connections(member)
        log.warning(
            "queue.strays", queue=self.id, member=member, deliveries=strays, consumers=found[1], connections=closed
        )
        metrics.strays.inc(strays)

    async def _is_empty(self) -> bool:
        """The queue itself says that nothing waits: counts may come from a queue that does not answer."""
        async with self.connections.reading(1) as channel:
            queue = await channel.get_queue(self.name, ensure=False)
            message = await queue.get(fail=False, timeout=TIMEOUT_SECONDS)
            if message is not None:
                await message.reject(requeue=True)
            return message is None

    async def _make(self) -> None:
        """Ledger first: a queue that stands again says nothing of what was lost with the one before."""
        again = bool(self.row["declared"])
        if again:
            await self._give_up()
        async with self.connections.asking() as channel:
            await topology.declare_member_queue(channel, self.name)
        if not again:
            async with self.hub.ledger.accepting() as c:
                await wire.set_queue(c, self.id, declared=True)
        self.sampled = self.published_since = 0
        await self.look()

    async def _give_up(self) -> None:
        """RabbitMQ has lost the queue: what it may have held is ready again."""
        async with self.hub.ledger.accepting() as c:
            row = await wire.queue_row(c, self.id)
            ready = await wire.lost(c, self.id, row["empty_at"], self.hub.now())
            await wire.set_queue(c, self.id, generation=row["generation"] + 1)
        log.warning("queue.lost", queue=self.id, member=row["member"], ready_again=ready)
        self.unread = True

    # ── emptying ──

    async def _drain(self) -> None:
        """Close the member's connections, take everything out (ledger first, then RabbitMQ), open again.

        Access is denied already: the order to drain is a committed flag that `access.Door` reads. The flag falls only
        when the queue itself has said that nobody holds anything of it, and that it is empty; a crash before that drains
        again.
        """
        try:
            await self._counted()
        except ChannelNotFoundEntity:
            await self._make()
        async with self.connections.reading(DRAIN_TOGETHER) as channel:
            queue = await channel.get_queue(self.name, ensure=False)
            taken = await self._out(queue)
            while (last := await queue.get(fail=False, timeout=TIMEOUT_SECONDS)) is not None:
                heed_cancellation()
                await self._into_ledger([last])
                taken += 1 + await self._out(queue)
        async with self.hub.ledger.accepting() as c:
            await wire.set_queue(c, self.id, drain=False, empty_at=self.hub.now())
        self.unread = False  # nobody is connected who was when it was lost
        self.sampled = self.published_since = 0
        self.astray = (0, 0)
        self.window = min(TOGETHER, WINDOW)
        metrics.drains.inc()
        log.info("queue.drained", queue=self.id, member=self.row["member"], taken=taken)

    async def _out(self, queue: AbstractQueue) -> int:
        """Consume, beside nobody else, until nothing more comes; how many came. `basic.cancel` has the queue write down
        what was acknowledged."""
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        taken = 0
        tag = await queue.consume(arrived.put, timeout=TIMEOUT_SECONDS)
        await self._until_read_by(1)
        while batch := await _together(arrived):
            heed_cancellation()
            await self._into_ledger(batch)
            taken += len(batch)
        await queue.cancel(tag, timeout=TIMEOUT_SECONDS)
        await self._until_read_by(0)
        return taken

    async def _until_read_by(self, readers: int) -> None:
        """No connection of the member is left, and so many read the queue: who reads no more counts as long as it holds
        something, and one whose channel has gone until the queue knows. One is ourselves: a queue that does not answer in
        time says none (a quarter of a second, on 3.10), and while it is none of ours another may still hold what will be
        back once we have found the queue empty."""
        async with asyncio.timeout(READERS_SECONDS), self.connections.asking() as channel:
            while True:
                if not await self.management.close_connections(self.row["member"]):
                    _, counted = await topology.counted(channel, self.name)
                    if counted == readers:
                        return
                await asyncio.sleep(0.02)

    async def _into_ledger(self, batch: list[AbstractIncomingMessage]) -> None:
        copies = [copy for message in batch if (copy := Copy.read(message.message_id))]
        async with self.hub.ledger.accepting() as c:
            await wire.drained(c, await self.hub.registry(c), copies, self.hub.now())
        await batch[-1].ack(multiple=True)

    async def _delete(self) -> None:
        """The subscription was removed, and what it had in RabbitMQ is drained."""
        if self.row["declared"]:
            async with self.connections.asking() as channel:
                await channel.queue_delete(self.name, timeout=TIMEOUT_SECONDS)
        async with self.hub.ledger.accepting() as c:
            await wire.removed(c, self.id, self.hub.now())
        await self.rest()


async def _together(arrived: asyncio.Queue[AbstractIncomingMessage]) -> list[AbstractIncomingMessage]:
    """Up to DRAIN_TOGETHER messages; what comes within DRAIN_QUIET_SECONDS of the one before belongs together."""
    batch: list[AbstractIncomingMessage] = []
    while len(batch) < DRAIN_TOGETHER:
        try:
            async with asyncio.timeout(DRAIN_QUIET_SECONDS):
                batch.append(await arrived.get())
        except TimeoutError:
            break
    return batch
