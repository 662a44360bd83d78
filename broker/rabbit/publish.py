"""One delivery, one publish, one confirm: what a message looks like on the wire, and how its confirm is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from enum import Enum

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError, PublishError
from sqlalchemy import RowMapping

from broker import clock
from broker.ledger.wire import Copy
from broker.rabbit.connections import heed_cancellation
from broker.rabbit.topology import TIMEOUT_SECONDS

MAX_EXPIRATION_SECONDS = 40 * 86_400
"""RabbitMQ closes the channel over a TTL it finds too long. Beyond this a message carries none: the ledger knows."""


class _Wide(int):
    """An integer that travels as int64 (or, narrower, int32), as the wire contract says, whatever its value.

    pamqp writes the smallest AMQP type whose upper bound is not below the value; a client in a typed language would
    get another type for 127 than for 128. So it is not below any bound but that of its own type.
    """

    bound = 2**63 - 1

    def __le__(self, other: int) -> bool:
        return other >= self.bound


class _Narrow(_Wide):
    bound = 2**31 - 1


class Published(Enum):
    CONFIRMED = "confirmed"
    MISSING = "missing"
    """Returned: there is no such queue."""
    REFUSED = "refused"
    """Nacked: the queue is full."""
    UNKNOWN = "unknown"
    """No answer in time, or the channel closed: it may or may not be there; it is published again."""


def copy_of(row: RowMapping) -> Copy:
    """The copy about to be published: the claim has just raised `attempt` by one."""
    return Copy(row["queue"], row["sequence"], row["round"], row["attempt"] + 1)


def message_of(row: RowMapping, public_url: str, now: datetime) -> Message:
    """Body and properties as product's wire contract has them; `expiration` in seconds, if the message expires soon."""
    address = f"{row['originator']}:{row['id']}"
    headers: dict[str, str | int | bool] = {
        "tw-delivery": f"{row['queue']}-{row['sequence']}",
        "tw-address": address,
        "tw-rule": row["rule"],
        "tw-status": row["status"],
        "tw-sequence": _Wide(row["sequence"]),
        "tw-round": _Narrow(row["round"]),
        "tw-count": _Narrow(row["count"] + 1),
        "tw-duties": row["duties"],
        "tw-projection": False,
        "ce-specversion": "1.0",
        "ce-id": address,
        "ce-source": public_url,
        "ce-type": f"tidewaiter.{row['kind']}",
        "ce-dataschema": f"urn:tidewaiter:{row['kind']}:{row['version']}",
        "ce-subject": row["originator"],
        "ce-time": clock.text(row["accepted_at"]),
    }
    if row["traceparent"]:
        headers["traceparent"] = row["traceparent"]
    left = None if row["expires_at"] is None else (row["expires_at"] - now).total_seconds()
    return Message(
        row["jws"].encode("ascii"),
        message_id=copy_of(row).message_id,
        type=row["kind"],
        timestamp=row["accepted_at"],
        content_type="application/jose",
        delivery_mode=DeliveryMode.PERSISTENT,
        expiration=None if left is None or left > MAX_EXPIRATION_SECONDS else max(left, 0.001),
        headers=dict(headers),
    )


async def publish_all(
    exchange: AbstractExchange, queue: str, rows: Sequence[RowMapping], public_url: str, now: datetime
) -> list[Published]:
    """Publish in order, all in flight together; one result each."""
    return list(await asyncio.gather(*(_publish(exchange, queue, message_of(row, public_url, now)) for row in rows)))


async def _publish(exchange: AbstractExchange, queue: str, message: Message) -> Published:
    try:
        await exchange.publish(message, queue, mandatory=True, timeout=TIMEOUT_SECONDS)
    except PublishError:
        return Published.MISSING
    except DeliveryError:
        return Published.REFUSED
    except (AMQPError, TimeoutError, asyncio.CancelledError, ConnectionError, RuntimeError):
        heed_cancellation()  # else it is aiormq that ends its own waiting so, with the channel
        return Published.UNKNOWN
    return Published.CONFIRMED
