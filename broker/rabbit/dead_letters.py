"""Dead letters: what RabbitMQ gave up on comes back into the ledger, with its reason, and leaves RabbitMQ.

Their queue is named by the hub's key. A queue of before, under another name, is taken over by any relay:

    1  nobody else reads it          else a relay of before is still there, and it is left alone until that has gone
    2  unbound                       what RabbitMQ gives up from now on goes to the queue of today
    3  read, until nothing has come for QUIET_SECONDS, nothing waits and nobody else holds any
    4  deleted

What fails in between is done anew. RabbitMQ's dead letters come at least once: one that was on its way to a queue that is
then deleted is sent again to where they go by then.
"""

from __future__ import annotations

import asyncio
import random

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from broker import metrics
from broker.errors import LedgerAway
from broker.hub import Hub
from broker.ledger import touch, wire
from broker.ledger.wire import Copy
from broker.logs import log
from broker.rabbit import topology
from broker.rabbit.connections import WIRE_ERRORS, Connections, heed_cancellation
from broker.rabbit.management import Management
from broker.rabbit.topology import TIMEOUT_SECONDS

PREFETCH = 100
AGAIN_SECONDS = 1.0
"""Pause while the ledger is away: the letter stays in RabbitMQ until it is written."""
QUIET_SECONDS = 5.0
"""RabbitMQ passes a dead letter on within milliseconds: what was on its way to a queue has come by then."""
LOOK_AGAIN_SECONDS = 30.0
"""Between two looks: at a queue from which nothing comes; at those of before that are not empty or not ours to empty."""
SILENT_LOOKS = 2
"""After so many the queue is read anew."""


async def take_in(hub: Hub, connections: Connections) -> None:
    """Read dead letters. Raises ConnectionError once nobody reads them, ChannelNotFoundEntity once the queue is
    gone: whoever begins anew declares it again. Returns when nothing has come for so long that it may have been sent and
    not have arrived (`MemberQueue.astray`): what is out comes back with the channel."""
    async with connections.reading(PREFETCH) as channel:
        queue = await topology.declare_dead_letters(channel, hub.dead_letters)
        letters = await _consumed(queue)
        silent = 0
        while silent < SILENT_LOOKS:
            heed_cancellation()
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    letter = await letters.get()
            except TimeoutError:  # that a queue was deleted under its consumer is not told to who waits
                silent += 1
                if not (await topology.counted(channel, queue.name))[1]:
                    raise ConnectionError("nobody reads the dead letters") from None
            else:
                silent = 0
                await _write_down(hub, letter)


async def rebuild(hub: Hub, management: Management) -> None:
    """Delete a queue that RabbitMQ itself has lost; `take_in` declares it anew."""
    name = topology.dead_queue(hub.dead_letters)
    log.warning("dead-letters.rebuilt", queue=name)
    await management.delete_queue(name)


async def take_over(hub: Hub, connections: Connections, management: Management) -> None:
    """Until no queue of before is left. Its failures are its own."""
    mine = topology.dead_queue(hub.dead_letters)
    while True:
        try:
            former = [name for name in await management.arguments() if topology.is_dead_queue(name) and name != mine]
            left = [name for name in former if not await _emptied(hub, connections, name)]
            if not left:
                return
        except WIRE_ERRORS as error:
            log.warning("wire.former-dead-letters", detail=f"{type(error).__name__}: {error}"[:200])
        heed_cancellation()
        await asyncio.sleep(random.uniform(0.5, 1.5) * LOOK_AGAIN_SECONDS)  # noqa: S311 - jitter, not a secret


async def _emptied(hub: Hub, connections: Connections, name: str) -> bool:
    """Whether this relay has done so, and deleted it. What it holds when it leaves goes back with the channel."""
    async with connections.reading(PREFETCH) as channel:
        if (await topology.counted(channel, name))[1]:  # 1
            return False
        queue = await channel.get_queue(name, ensure=False)
        letters = await _consumed(queue)
        if (await topology.counted(channel, name))[1] > 1:  # another relay had the same thought
            return False
        await queue.unbind(topology.DEAD, timeout=TIMEOUT_SECONDS)  # 2
        quiet = 0
        while quiet < 2:  # 3: twice, since RabbitMQ may count before a letter that it has sent arrives
            heed_cancellation()
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    letter = await letters.get()
            except TimeoutError:
                quiet = quiet + 1 if await topology.counted(channel, name) == (0, 1) else 0
            else:
                quiet = 0
                await _write_down(hub, letter)
        await channel.queue_delete(name, timeout=TIMEOUT_SECONDS)  # 4
    log.info("wire.former-dead-letters-removed", queue=name)
    return True


async def _consumed(queue: AbstractQueue) -> asyncio.Queue[AbstractIncomingMessage]:
    """Where its letters arrive. It ends with the channel, which gives back what was not acknowledged."""
    letters: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    await queue.consume(letters.put, timeout=TIMEOUT_SECONDS)
    return letters


async def _write_down(hub: Hub, letter: AbstractIncomingMessage) -> None:
    """Ledger first, then RabbitMQ: a letter that comes twice is outdated the second time."""
    reason = str((letter.headers or {}).get("x-first-death-reason", "rejected"))
    copy = Copy.read(letter.message_id)
    state = None if copy is None else await _written(hub, copy, reason)
    await letter.ack()
    metrics.dead_letters.labels(reason).inc()
    log.info("delivery.dead-lettered", delivery=letter.message_id, reason=reason, state=state)


async def _written(hub: Hub, copy: Copy, reason: str) -> str | None:
    while True:
        try:
            async with hub.ledger.accepting() as c:
                state = await wire.dead_lettered(c, copy, reason, hub.now())
                if state == "ready":
                    touch(c, [copy.queue])
                return state
        except LedgerAway as away:
            log.warning("ledger.away", detail=away.detail)
            await asyncio.sleep(AGAIN_SECONDS)
