"""What stands in RabbitMQ: one quorum queue per `amqp` subscription, and one place for dead letters. Nothing else.

No exchange routes anything: the hub publishes to the default exchange by queue name, one publish per delivery.

    <queue, 128 random bits>   quorum, durable
        x-delivery-limit 20            a healthy consumer that loses its connection a few times loses nothing
        x-dead-letter-exchange tw.dead, at-least-once     dead letters survive a crash between the two queues
        x-overflow reject-publish, x-max-length           the last wall; the flow control is the relay's window
    tw.dead (fanout) → tw.dead.<128 bits> (quorum)        read by the relays alone, back into the ledger

RabbitMQ asks nobody about a passive declare, and answers with how much waits: whoever knows a queue's name learns its
depth. So no queue has a name that a member could guess; that of the dead letters comes from the hub's own key.

A message's TTL acts only at the head of a queue, so that expiry is decided by the ledger and the TTL is a help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractQueue

from broker.delivery import MAX_COUNT

DEAD = "tw.dead"
"""The exchange; once the queue as well, and still the beginning of its name."""
WINDOW = 10_000
"""Deliveries of one queue that may be in RabbitMQ at a time; the rest waits in the ledger."""

MEMBER_QUEUE: dict[str, str | int] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": MAX_COUNT,
    "x-dead-letter-exchange": DEAD,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-max-length": 2 * WINDOW,
}
DEAD_QUEUE: dict[str, str | int] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}
"""Without a limit of ours a letter would be dropped that has come back twenty times (RabbitMQ 4.x), say because relays end
before the ledger answers."""
HARMFUL_POLICIES = (
    "message-ttl", "expires", "max-length", "max-length-bytes", "overflow", "delivery-limit", "dead-letter-exchange",
    "dead-letter-routing-key", "dead-letter-strategy",
)  # fmt: skip
"""What a policy must not say of a member's queue, unless it says what we say: it would drop what we take as delivered."""

TIMEOUT_SECONDS = 10
"""For every call to RabbitMQ: under a memory alarm, or for a queue without a leader, it would never answer."""


def dead_queue(secret: str) -> str:
    """The name of the dead letters' queue; `secret`: `Hub.dead_letters`."""
    return f"{DEAD}.{secret}"


def is_dead_queue(name: str) -> bool:
    """One of today, of another key of the hub's, or of the time when it was called as the exchange is."""
    return name == DEAD or name.startswith(f"{DEAD}.")


async def declare_dead_letters(channel: AbstractChannel, secret: str) -> AbstractQueue:
    exchange = await channel.declare_exchange(DEAD, ExchangeType.FANOUT, durable=True, timeout=TIMEOUT_SECONDS)
    queue = await channel.declare_queue(
        dead_queue(secret), durable=True, arguments=dict(DEAD_QUEUE), timeout=TIMEOUT_SECONDS
    )
    await queue.bind(exchange, timeout=TIMEOUT_SECONDS)
    return queue


async def declare_member_queue(channel: AbstractChannel, name: str) -> AbstractQueue:
    """Raises aio_pika ChannelPreconditionFailed if it stands there with other arguments."""
    return await channel.declare_queue(name, durable=True, arguments=dict(MEMBER_QUEUE), timeout=TIMEOUT_SECONDS)


async def counted(channel: AbstractChannel, name: str) -> tuple[int, int]:
    """(what waits, who reads it) as RabbitMQ says at once; who reads no more counts while it still holds something.

    A queue that does not answer in time says (0, 0). Raises ChannelNotFoundEntity.
    """
    found = (await channel.declare_queue(name, passive=True, timeout=TIMEOUT_SECONDS)).declaration_result
    return found.message_count or 0, found.consumer_count or 0


def harmful(policy: Mapping[str, Any], queue: str) -> bool:
    """Whether a policy (as the management API shows it) changes a queue. Priorities are not weighed: it is one policy's
    removal from being true."""
    try:
        applies = re.search(policy["pattern"], queue) is not None
    except re.error:
        applies = True
    definition = policy["definition"]
    return applies and any(
        key in definition and definition[key] != MEMBER_QUEUE.get(f"x-{key}") for key in HARMFUL_POLICIES
    )
