"""A member and its RabbitMQ: is it let in, and does what the hub publishes arrive. Nothing but the exercise is taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from broker.client import Client
from broker.consume import with_login
from broker.doctor import Finding, fail, ok, warn

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel

WIRE_SECONDS = 10.0
"""For a relay to publish, and for RabbitMQ to answer."""
LOOK_SECONDS = 0.2


class _Broken(Exception):
    """RabbitMQ does not let us in, or breaks off."""


@asynccontextmanager
async def _channel(client: Client, amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Raises _Broken; SetupRefused for an address that is none."""
    import aio_pika
    from aio_pika.exceptions import AMQPError

    login = with_login(amqp_url, client.member, await client.token("amqp", fresh=True))
    try:
        async with await aio_pika.connect(login, timeout=WIRE_SECONDS) as connection:
            yield await connection.channel(publisher_confirms=False)
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise _Broken(str(error) or type(error).__name__) from None


async def lets_in(client: Client, amqp_url: str | None, queues: Mapping[str, str]) -> Finding:
    """`queues`: name → AMQP name, of those of delivery amqp."""
    check = "RabbitMQ"
    if amqp_url is None:
        await client.token("amqp")
        next = "Give its address with --amqp-url, or set TIDEWAITER_AMQP, to try it as well."
        return warn(check, f"You have queues there ({', '.join(queues)}); the hub gives a token for it.", next)
    host = urlsplit(amqp_url).hostname
    seen = []
    try:
        async with _channel(client, amqp_url) as channel:
            for name, amqp_name in queues.items():
                ready, consumers = await _counts(channel, amqp_name)
                seen.append(f"{name}: {ready} ready, {consumers} consumers")
    except _Broken as error:
        next = "Is the address right, is its port open to you? When rights change the hub refuses for a moment: run this again."
        return fail(check, f"{host} does not let you in: {error}.", next)
    return ok(check, f"{host} lets you in; {'; '.join(seen) or 'you have no queue there'}")


async def take(client: Client, address: str, queue: Mapping[str, Any], state: str, amqp_url: str | None) -> Finding:
    """The one message of a queue that holds no other and that nobody consumes."""
    name, amqp_name, check = str(queue["name"]), str(queue["amqp_name"]), "receive"
    if state == "ready":
        next = "Tell the operator: `tidewaiter doctor` at the hub shows why."
        return fail(check, f"It has not been published to {name} within {WIRE_SECONDS:.0f} s.", next)
    if amqp_url is None:
        return warn(check, f"It is in {name} in RabbitMQ, whose address was not given.", "Give it with --amqp-url.")
    try:
        async with _channel(client, amqp_url) as channel:
            ready, consumers = await _counts(channel, amqp_name)
            deadline = time.monotonic() + WIRE_SECONDS
            while not (ready or consumers or time.monotonic() > deadline):
                await asyncio.sleep(LOOK_SECONDS)
                ready, consumers = await _counts(channel, amqp_name)
            if consumers:
                return ok(check, f"{consumers} consumers of yours read {name}: the exercise goes to them")
            if ready > 1:
                next = f"Start your consumer of {name}, and run this again."
                return warn(check, f"{ready} messages wait in {name} in RabbitMQ: none was touched.", next)
            message = await (await channel.get_queue(amqp_name, ensure=False)).get(fail=False, timeout=WIRE_SECONDS)
            if message is None:
                return ok(check, f"a consumer of yours was faster in {name}")
            if message.headers.get("tw-address") != address:
                await message.nack(requeue=True)
                return warn(
                    check, f"Something else came first in {name}; it was given back at once.", "Run this again."
                )
            await client.believe(message.body.decode("ascii", "replace"))
            await message.ack()
    except _Broken as error:
        return fail(check, f"RabbitMQ breaks off: {error}.", "Run this again.")
    return ok(check, f"taken from {name} in RabbitMQ, its signature holds")


async def _counts(channel: AbstractChannel, amqp_name: str) -> tuple[int, int]:
    """Messages that wait, and consumers."""
    result = (await channel.get_queue(amqp_name)).declaration_result
    return result.message_count or 0, result.consumer_count or 0
