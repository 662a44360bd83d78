"""Dead letters: what RabbitMQ gave up on comes back into the ledger, with its reason, and leaves `tw.dead`."""

from __future__ import annotations

import asyncio

from aio_pika.abc import AbstractIncomingMessage

from broker import metrics
from broker.errors import LedgerAway
from broker.hub import Hub
from broker.ledger import touch, wire
from broker.ledger.wire import Copy
from broker.logs import log
from broker.rabbit import topology
from broker.rabbit.connections import Connections

PREFETCH = 100
AGAIN_SECONDS = 1.0
"""Pause while the ledger is away: the letter stays in RabbitMQ until it is written."""


async def take_in(hub: Hub, connections: Connections) -> None:
    """Read dead letters for ever. Raises ConnectionError if the consumer ends."""
    async with connections.reading(PREFETCH) as channel:
        queue = await channel.get_queue(topology.DEAD, ensure=False)
        async with queue.iterator() as letters:
            async for letter in letters:
                await _write_down(hub, letter)
    raise ConnectionError("the consumer of dead letters was cancelled")


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
