"""The floor: one process that only verifies, inserts the same rows in batches and publishes once a delivery.

No HTTP, no schemas, no rules, no receipts of its own (a text of their length stands in), nothing marked as published.
It runs on the hub's engines, in a database of its own with the same tables, and its queues are the hub's kind, read by
the same consumers. What the hub reaches is measured against it, in the same minutes on the same machine.

    python -m tests.bench.floor JOB.json     prints what it took, as JSON
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractExchange
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import jws
from broker.ledger import open_ledger
from broker.ledger import tables as t
from broker.rabbit.connections import opened
from tests.bench.meter import cpu_seconds

BATCH = 250
"""Messages in one transaction."""
WINDOW = 200
"""Publishes in flight at a time."""
RECEIPT = "r" * 900


@dataclass(frozen=True)
class Job:
    """`queues`: id in the ledger and name in RabbitMQ, one a recipient. `jwks` by kid. `messages`: a file, one a line.
    The engines' pids are there to be read what they use."""

    ledger_url: str
    amqp_url: str
    queues: list[tuple[str, str]]
    jwks: dict[str, dict[str, str]]
    messages: str
    postgres_pid: int
    rabbit_pid: int


@dataclass
class Took:
    """What was done, and the seconds of each of the three steps: on the clock, and of processors, the engine's among
    them."""

    messages: int = 0
    deliveries: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def step(self, name: str, engine: int | None = None) -> Iterator[None]:
        theirs = cpu_seconds(engine) if engine else 0.0
        began, ours = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] += time.perf_counter() - began
        self.cpu_seconds[name] += time.process_time() - ours + (cpu_seconds(engine) - theirs if engine else 0.0)


async def run(job: Job) -> Took:
    tokens = Path(job.messages).read_bytes().splitlines()
    took = Took()
    ledger = open_ledger(job.ledger_url, pool_size=1)
    async with opened(job.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        async with ledger.reading() as c:
            await c.execute(select(t.head))  # the connection is open before the clock runs
        for first in range(0, len(tokens), BATCH):
            with took.step("verify"):
                believed = [verified(token, job.jwks) for token in tokens[first : first + BATCH]]
            with took.step("insert", job.postgres_pid):
                async with ledger.writing.begin() as c:
                    published = await written(c, believed, job.queues)
            with took.step("publish", job.rabbit_pid):
                await send(channel.default_exchange, published)
            took.messages += len(believed)
            took.deliveries += len(published)
    await ledger.close()
    return took


# ── verify ──


def verified(token: bytes, jwks: dict[str, dict[str, str]]) -> tuple[jws.Unverified, dict[str, Any]]:
    read = jws.read(token, typ=jws.TYP_MESSAGE)
    jws.verify(read, jwks[read.kid])
    return read, orjson.loads(read.payload)


# ── insert ──


async def written(
    c: AsyncConnection, believed: Sequence[tuple[jws.Unverified, dict[str, Any]]], queues: Sequence[tuple[str, str]]
) -> list[tuple[str, Message]]:
    """The rows of all of them; (queue in RabbitMQ, what to publish there) of each delivery."""
    position = (await c.execute(select(t.head.c.position).with_for_update())).scalar_one()
    now = datetime.now(UTC)
    rows: dict[str, list[dict[str, Any]]] = {"messages": [], "audience": [], "identifiers": [], "deliveries": []}
    published = []
    for token, claims in believed:
        position += 1
        header = claims["header"]
        rows["messages"].append(_message_row(position, token, header, now))
        for identifier in claims["body"]["transport"]["containers"]:
            rows["identifiers"].append({"position": position, "value": identifier["value"], "scheme": "iso6346"})
        members = [entry["member"] for entry in header["handling"]["release"]["to"]]
        for member, (queue, name) in zip(members, queues, strict=True):
            rows["audience"].append({"member": member, "position": position, "rule": "to"})
            rows["deliveries"].append(_delivery_row(position, member, queue, now))
            published.append((name, _publishing(token, header, queue, position, now)))
    for table, its in rows.items():
        await c.execute(insert(t.metadata.tables[table]), its)
    await c.execute(update(t.queues).where(t.queues.c.id.in_([id for id, _ in queues])).values(last_sequence=position))
    await c.execute(update(t.head).values(position=position))
    return published


def _message_row(position: int, token: jws.Unverified, header: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "position": position, "originator": header["originator"], "id": header["id"], "kind": header["kind"],
        "version": header["version"], "status": header["status"], "tlp": header["handling"]["tlp"], "heading": "tobacco",
        "jws": token.compact, "digest": jws.digest(token.compact),
        "payload_digest": hashlib.sha256(token.payload).digest(), "accepted_at": now, "expires_at": None,
        "acknowledge_by": None, "chain": position, "superseded_by": None, "withdrawn_by": None, "withdraws": False,
        "release": json.dumps(header["handling"]["release"]), "warnings": "[]", "receipt": RECEIPT,
        "record": RECEIPT[:300].encode(), "salt": secrets.token_bytes(32), "audience_salt": secrets.token_bytes(32),
        "traceparent": None,
    }  # fmt: skip


def _delivery_row(position: int, member: str, queue: str, now: datetime) -> dict[str, Any]:
    return {
        "queue": queue, "sequence": position, "position": position, "member": member, "rule": "to",
        "duties": "information", "clause": 0, "state": "ready", "round": 1, "count": 0, "attempt": 0, "redrives": 0,
        "changed_at": now,
    }  # fmt: skip


# ── publish ──


def _publishing(token: jws.Unverified, header: dict[str, Any], queue: str, sequence: int, now: datetime) -> Message:
    """With as many properties and headers as a delivery of the hub has."""
    address, at = f"{header['originator']}:{header['id']}", now.isoformat()
    return Message(
        token.compact.encode(), message_id=f"{queue}-{sequence}.1.1", type=header["kind"], timestamp=now,
        content_type="application/jose", delivery_mode=DeliveryMode.PERSISTENT,
        headers={
            "tw-delivery": f"{queue}-{sequence}", "tw-address": address, "tw-rule": "to", "tw-status": header["status"],
            "tw-sequence": sequence, "tw-round": 1, "tw-count": 1, "tw-duties": "information", "tw-projection": False,
            "ce-specversion": "1.0", "ce-id": address, "ce-source": "http://127.0.0.1", "ce-type": "tidewaiter.seizure",
            "ce-dataschema": "urn:tidewaiter:seizure:1.0",
            "ce-subject": header["originator"], "ce-time": at, "traceparent": f"00-{'0' * 32}-{'0' * 16}-00",
        },
    )  # fmt: skip


async def send(exchange: AbstractExchange, published: Sequence[tuple[str, Message]]) -> None:
    """Each with its own confirm, WINDOW in flight."""
    for first in range(0, len(published), WINDOW):
        window = published[first : first + WINDOW]
        await asyncio.gather(*(exchange.publish(message, name, mandatory=True) for name, message in window))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(vars(runner.run(run(Job(**json.loads(Path(sys.argv[1]).read_text())))))))
