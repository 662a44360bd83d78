"""Applications of the members: they read, deduplicate by address and round, settle, and remember all they were given.

None of them is tidy. Now and then one forgets to settle, hands something back, rejects it, or has its connection cut
with a hundred messages in hand; every one of them comes back as fast as it can.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx2
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from broker import jws
from broker.client import Client, Delivery, Problem, Unreachable, accept, reject, release
from broker.rabbit.connections import opened
from tests.torture.evidence import Evidence, Place, Seen
from tests.torture.people import People

PREFETCH = 100
LEASE = 100
LEASE_SECONDS = 4
STREAM_SECONDS = (3.0, 15.0)
FORGOTTEN, HANDED_BACK, REJECTED, ACKNOWLEDGED = 0.01, 0.01, 0.002, 0.05
"""Shares of what arrives."""
PASSING = {401, 403, 409, 429, 502, 503, 504}
"""Answers that a member gets while clocks jump, somebody suspends it, or the hub is not there."""
_BROKEN = (AMQPError, OSError, TimeoutError, RuntimeError, httpx2.HTTPError, Unreachable)


@dataclass
class Application:
    """What all of them have: who they are, and how they reach the hub."""

    place: Place
    people: People
    evidence: Evidence
    client: Client
    rng: Random

    def refused(self, problem: Problem) -> None:
        self.evidence.answers[f"read {problem.status}"] += 1
        if problem.status not in PASSING:
            self.evidence.surprise("refused", f"{self.place}: {problem}")


def address_of(compact: str) -> str:
    header = json.loads(jws.unb64(compact.split(".")[1]))["header"]
    return f"{header['originator']}:{header['id']}"


# ── by AMQP ──


async def consume(app: Application, url: str, amqp_name: str) -> None:
    """For ever. `url`: amqp://host:port of the proxy before the cluster."""
    while True:
        try:
            await _connection(app, url, amqp_name)
        except Problem as problem:
            app.refused(problem)
        except _BROKEN as error:
            app.evidence.answers[f"amqp {type(error).__name__}"] += 1
        await asyncio.sleep(app.rng.uniform(0.1, 0.4))


async def _connection(app: Application, url: str, amqp_name: str) -> None:
    """One connection, until it breaks."""
    token = await app.client.token("amqp", fresh=True)
    asked, ended = time.monotonic(), asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        h: dict[str, Any] = dict(message.headers)
        attempt = int((message.message_id or "0").rpartition(".")[2])
        body = message.body.decode("ascii", "replace")
        one = Seen(
            h["tw-address"], h["tw-round"], h["tw-sequence"], attempt == 1 and not message.redelivered, jws.digest(body),
            asked, time.monotonic(),
        )  # fmt: skip
        fresh = app.evidence.arrived(app.place, one)
        lot = app.rng.random()
        with suppress(*_BROKEN):
            if fresh and lot < REJECTED:
                await message.reject(requeue=False)
            elif fresh and lot < REJECTED + HANDED_BACK:
                await message.nack(requeue=True)
            else:
                await message.ack()

    address = url.replace("://", f"://{app.client.member}:{token}@")
    async with opened(address) as connection:
        connection.close_callbacks.add(lambda *_: ended.set())
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(lambda *_: ended.set())
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda *_: ended.set())
        await channel.set_qos(prefetch_count=PREFETCH, timeout=10)
        queue = await channel.get_queue(amqp_name, ensure=False)
        await queue.consume(take, timeout=10)
        await ended.wait()


# ── by lease and settle ──


async def lease(app: Application) -> None:
    """For ever."""
    while True:
        asked = time.monotonic()
        try:
            leased = await app.client.lease(app.place[1], LEASE, LEASE_SECONDS, wait_seconds=1)
            if settlements := [settlement for d in leased if (settlement := _taken(app, d, asked))]:
                settled = await app.client.settle(app.place[1], settlements)
                app.evidence.answers.update(f"settle {one['status']}" for one in settled)
        except Problem as problem:
            app.refused(problem)
            await asyncio.sleep(0.3)
        except _BROKEN as error:
            app.evidence.answers[f"lease {type(error).__name__}"] += 1
            await asyncio.sleep(0.2)


# ── by stream ──


async def follow(app: Application) -> None:
    """For ever; each stream for some seconds, so that what a change of rights bars is told from what came before it."""
    while True:
        taken: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        stream = asyncio.create_task(_stream(app, taken))
        settling = asyncio.create_task(_settle(app, taken))
        try:
            await asyncio.wait(
                [stream, settling], timeout=app.rng.uniform(*STREAM_SECONDS), return_when="FIRST_COMPLETED"
            )
        finally:
            for task in (stream, settling):
                task.cancel()
            await asyncio.wait([stream, settling])
        for task in (stream, settling):
            if task.cancelled() or (error := task.exception()) is None:
                continue
            if isinstance(error, Problem):
                app.refused(error)
            elif isinstance(error, _BROKEN):
                app.evidence.answers[f"stream {type(error).__name__}"] += 1
            else:
                raise error
        await asyncio.sleep(app.rng.uniform(0.1, 0.4))


async def _stream(app: Application, taken: asyncio.Queue[dict[str, Any]]) -> None:
    asked = time.monotonic()

    def broken(_: str) -> None:
        app.evidence.answers["stream broken"] += 1
        app.evidence.broken_streams[app.place].append(asked)

    async with aclosing(app.client.stream(app.place[1], LEASE, LEASE_SECONDS, told=broken)) as deliveries:
        async for delivery in deliveries:
            if settlement := _taken(app, delivery, asked):
                taken.put_nowait(settlement)


async def _settle(app: Application, taken: asyncio.Queue[dict[str, Any]]) -> None:
    """What has been taken, together, as soon as something has."""
    while True:
        settlements = [await taken.get()]
        while not taken.empty() and len(settlements) < LEASE:
            settlements.append(taken.get_nowait())
        settled = await app.client.settle(app.place[1], settlements)
        app.evidence.answers.update(f"settle {one['status']}" for one in settled)


def _taken(app: Application, d: Delivery, asked: float) -> dict[str, Any] | None:
    """Write one delivery down; how it is settled, if at all."""
    one = Seen(
        address_of(d.message), d.round, d.sequence, d.round == 1 and d.count == 1, jws.digest(d.message), asked,
        time.monotonic(),
    )  # fmt: skip
    fresh = app.evidence.arrived(app.place, one)
    lot = app.rng.random()
    if not fresh:
        return accept(d)
    if lot < REJECTED:
        return reject(d, "not for us")
    if lot < REJECTED + HANDED_BACK:
        return release(d, app.rng.randint(0, 2))
    if lot < REJECTED + HANDED_BACK + FORGOTTEN:
        return None
    if lot < REJECTED + HANDED_BACK + FORGOTTEN + ACKNOWLEDGED:
        return accept(d, app.client.acknowledgement(d.message, "received"))
    return accept(d)
