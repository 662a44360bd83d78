"""A queue of dead letters under a former name is emptied into the ledger and removed: nothing in it is lost, and nobody who
still reads it is disturbed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aio_pika
import pytest

from broker import jws
from broker.rabbit import dead_letters
from broker.rabbit.connections import opened
from broker.rabbit.topology import DEAD, DEAD_QUEUE, dead_queue
from tests.engines import Rabbit
from tests.region import Region, to, wired_region
from tests.wire import amqp_queue, consumer, post_many, published, receive, states, until

pytestmark = pytest.mark.long
Keys = dict[str, jws.PrivateKey]
FORMER = [DEAD, dead_queue("nameOfAKeyThatWasLost_")]
"""As every hub once called it, and as a hub does whose key is replaced."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(dead_letters, "LOOK_AGAIN_SECONDS", 0.3)


@asynccontextmanager
async def hub(rabbit: Rabbit, home: Path, keys: Keys) -> AsyncIterator[Region]:
    async with wired_region(rabbit, f"sqlite:///{home}/ledger.sqlite", home) as r:
        r.keys = keys
        yield r


async def left_behind(rabbit: Rabbit, home: Path, former: str, number: int) -> tuple[str, Keys]:
    """Dead letters in a queue of before, none of them in the ledger: the hub is stopped. The name of Peru's queue, and
    everybody's keys."""
    keys: Keys = {}
    async with hub(rabbit, home, keys) as r:
        await r.enrol("CL", "PE", "operator:ana")
        name = await amqp_queue(r, "PE")
        await post_many(r, number, to("PE"), "left")
        await published(r, number)
        mine = dead_queue(r.hub.dead_letters)
    async with opened(rabbit.amqp_url) as connection:
        channel = await connection.channel()
        arguments: dict[str, Any] = {"x-queue-type": "quorum"} if former == DEAD else dict(DEAD_QUEUE)
        queue = await channel.declare_queue(former, durable=True, arguments=arguments)
        await queue.bind(DEAD)
        await channel.queue_delete(mine)
        await channel.set_qos(prefetch_count=number)
        members = await channel.get_queue(name, ensure=False)
        for _ in range(number):
            message = await members.get(timeout=20)
            assert message is not None
            await message.reject(requeue=False)

        async def there() -> bool:
            declared = await channel.declare_queue(former, passive=True)
            return declared.declaration_result.message_count == number

        await until(there)
    return name, keys


def stands(rabbit: Rabbit, name: str) -> bool:
    return rabbit.api("GET", f"/api/queues/{quote(rabbit.vhost, safe='')}/{quote(name, safe='')}")[0] == 200


async def gone(rabbit: Rabbit, name: str) -> None:
    async def so() -> bool:
        return not await asyncio.to_thread(stands, rabbit, name)

    await until(so)


@pytest.mark.parametrize("former", FORMER)
async def test_what_is_in_it_comes_into_the_ledger_and_the_queue_goes(
    former: str, rabbit: Rabbit, tmp_path: Path
) -> None:
    """And what is rejected from then on goes the new way."""
    name, keys = await left_behind(rabbit, tmp_path, former, 3)
    async with hub(rabbit, tmp_path, keys) as r:
        await gone(rabbit, former)
        assert await states(r, "PE") == ["dead"] * 3

        await r.send("CL", "later", to("PE"))
        async with consumer(r, rabbit, "PE", name) as queue:
            (message,) = await receive(queue, 1, ack=False)
            await message.reject(requeue=False)

            async def dead() -> bool:
                return await states(r, "PE") == ["dead"] * 4

            await until(dead)


async def test_a_relay_of_before_that_still_reads_it_is_left_alone(rabbit: Rabbit, tmp_path: Path) -> None:
    """Until it has gone: what it held and did not write down is then taken over."""
    _, keys = await left_behind(rabbit, tmp_path, DEAD, 3)
    async with opened(rabbit.amqp_url) as before:
        channel = await before.channel()
        await channel.set_qos(prefetch_count=2)
        held: list[Any] = []

        async def keep(letter: Any) -> None:
            held.append(letter)

        await (await channel.get_queue(DEAD, ensure=False)).consume(keep)
        async with hub(rabbit, tmp_path, keys) as r:
            await asyncio.sleep(2)
            assert stands(rabbit, DEAD)
            assert await states(r, "PE") == ["published"] * 3
            await before.close()
            await gone(rabbit, DEAD)

            assert len(held) == 2
            assert await states(r, "PE") == ["dead"] * 3


async def test_one_that_somebody_deleted_is_made_again(rabbit: Rabbit, tmp_path: Path) -> None:
    """By the relay that reads it, at once: the next dead letter has a place."""
    async with hub(rabbit, tmp_path, {}) as r:
        await r.enrol("CL", "PE")
        name, mine = await amqp_queue(r, "PE"), dead_queue(r.hub.dead_letters)
        rabbit.api("DELETE", f"/api/queues/{quote(rabbit.vhost, safe='')}/{mine}")

        async def back() -> (
            bool
        ):  # and bound: it is seen before that, and what finds no way is tried again after minutes
            at = f"/api/bindings/{quote(rabbit.vhost, safe='')}/e/{DEAD}/q/{quote(mine, safe='')}"
            status, answer = await asyncio.to_thread(rabbit.api, "GET", at)
            return status == 200 and bool(json.loads(answer))

        await until(back)
        await r.send("CL", "one", to("PE"))
        async with consumer(r, rabbit, "PE", name) as queue:
            (message,) = await receive(queue, 1, ack=False)
            await message.reject(requeue=False)

            async def dead() -> bool:
                return await states(r, "PE") == ["dead"]

            await until(dead)


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize(
    ("owner", "step"),
    [(aio_pika.Queue, "consume"), (aio_pika.Queue, "unbind"), (aio_pika.IncomingMessage, "ack"),
     (aio_pika.Channel, "queue_delete")],
    ids=lambda what: what if isinstance(what, str) else "",
)  # fmt: skip
async def test_it_may_fail_at_every_step(
    owner: type, step: str, after: bool, rabbit: Rabbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after the effect: it is done anew, and in the end everything is in the ledger."""
    _, keys = await left_behind(rabbit, tmp_path, DEAD, 3)
    failed: list[str] = []
    monkeypatch.setattr(owner, step, once_failing(getattr(owner, step), failed, after=after))
    async with hub(rabbit, tmp_path, keys) as r:
        await gone(rabbit, DEAD)

        async def answered() -> bool:
            return failed == ["failed"]  # RabbitMQ deletes a queue before it says so

        await until(answered)
        assert await states(r, "PE") == ["dead"] * 3


def once_failing(call: Callable[..., Any], failed: list[str], *, after: bool) -> Callable[..., Any]:
    async def fails(*given: Any, **named: Any) -> Any:
        done = None if failed or not after else await call(*given, **named)
        if not failed:
            failed.append("failed")
            raise aio_pika.exceptions.AMQPError(f"no more after {done}")
        return await call(*given, **named)

    return fails
