"""Attacks on the wire, frame by frame with pika: a member reads its own queues, whatever it tries, and nothing else.

A row is an attack and what RabbitMQ says to it. After each row the virtual host is looked at: no queue, exchange,
binding or message has come, gone or moved. Who gets in at all is in `test_wire_logins.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pika  # type: ignore[import-untyped]  # it has none
import pytest

from broker import administer
from broker.rabbit.topology import DEAD, MEMBER_QUEUE, dead_queue
from tests.attacker import Channel, Scene, channel, login, set_scene, standing
from tests.engines import Rabbit
from tests.region import to
from tests.wire import amqp_queue, post_many, published, queue_row, states, until

UNKNOWN = "A" * 22
"""Looks like a queue's name, and is none's."""


@pytest.fixture(scope="module")
async def scene(rabbit_server: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with set_scene(rabbit_server, tmp_path_factory.mktemp("attacks")) as made:
        yield made


Attack = Callable[[Channel, Scene], object]


def publish(exchange: str, key: str, user_id: str | None = None, **headers: list[str]) -> Attack:
    """`own` and `foreign` as a key, or in a header, stand for the queues of that name."""

    def attack(ch: Channel, s: Scene) -> None:
        real = {"own": s.own, "foreign": s.foreign}
        copies = {name: [real[n] for n in names] for name, names in headers.items()}
        ch.confirm_delivery()
        ch.basic_publish(exchange, real.get(key, key), b"forged", pika.BasicProperties(headers=copies, user_id=user_id))

    return attack


def publish_in_a_transaction(ch: Channel, s: Scene) -> None:
    ch.tx_select()
    ch.basic_publish("", s.foreign, b"forged")
    ch.tx_commit()


def consume(ch: Channel, queue: str, **options: Any) -> None:
    ch.basic_consume(queue, lambda *_: None, **options)


PUBLISHING: dict[str, Attack] = {
    "publishing to its own queue": publish("", "own"),
    "publishing to the foreign queue": publish("", "foreign"),
    "publishing with the foreign queue in CC": publish("", "own", CC=["foreign"]),
    "publishing with the foreign queue in BCC": publish("", "own", BCC=["foreign"]),
    "publishing to nowhere, with CC and BCC": publish("", "x", CC=["foreign"], BCC=["own"]),
    "publishing to the dead letters": publish(DEAD, ""),
    "publishing to the dead letters, with CC": publish(DEAD, "", CC=["foreign"]),
    "publishing to amq.direct, with BCC": publish("amq.direct", "x", BCC=["foreign"]),
    "publishing to amq.topic": publish("amq.topic", "foreign"),
    "publishing under another's name": publish("", "foreign", user_id="AR"),
    "publishing under the hub's name": publish("", "foreign", user_id="hub"),
    "publishing in a transaction": publish_in_a_transaction,
}
DECLARING: dict[str, Attack] = {
    "declaring a queue": lambda ch, s: ch.queue_declare("mine", durable=True),
    "declaring a quorum queue": lambda ch, s: ch.queue_declare("mine", durable=True, arguments=dict(MEMBER_QUEUE)),
    "declaring a queue that the server names": lambda ch, s: ch.queue_declare("", exclusive=True),
    "declaring its own queue as it is": lambda ch, s: ch.queue_declare(s.own, durable=True, arguments=MEMBER_QUEUE),
    "declaring its own queue otherwise": lambda ch, s: ch.queue_declare(s.own, durable=True),
    "declaring the foreign queue": lambda ch, s: ch.queue_declare(s.foreign, durable=True, arguments=MEMBER_QUEUE),
    "declaring the dead letters": lambda ch, s: ch.queue_declare(s.dead, durable=True),
    "declaring an exchange": lambda ch, s: ch.exchange_declare("mine", "fanout"),
    "declaring the dead letters' exchange": lambda ch, s: ch.exchange_declare(DEAD, "fanout", durable=True),
    "deleting its own queue": lambda ch, s: ch.queue_delete(s.own),
    "deleting the foreign queue": lambda ch, s: ch.queue_delete(s.foreign),
    "deleting the foreign queue once it is empty": lambda ch, s: ch.queue_delete(s.foreign, if_empty=True),
    "deleting a queue that is not there": lambda ch, s: ch.queue_delete(UNKNOWN),
    "deleting the dead letters": lambda ch, s: ch.queue_delete(s.dead),
    "deleting the dead letters' exchange": lambda ch, s: ch.exchange_delete(DEAD),
    "deleting an exchange of RabbitMQ's": lambda ch, s: ch.exchange_delete("amq.fanout"),
}
BINDING: dict[str, Attack] = {
    "binding its own queue to amq.fanout": lambda ch, s: ch.queue_bind(s.own, "amq.fanout"),
    "binding its own queue to the dead letters": lambda ch, s: ch.queue_bind(s.own, DEAD),
    "binding its own queue to RabbitMQ's trace": lambda ch, s: ch.queue_bind(s.own, "amq.rabbitmq.trace", "#"),
    "binding the foreign queue": lambda ch, s: ch.queue_bind(s.foreign, "amq.fanout"),
    "unbinding its own queue": lambda ch, s: ch.queue_unbind(s.own, "", s.own),
    "unbinding the foreign queue": lambda ch, s: ch.queue_unbind(s.foreign, "", s.foreign),
    "unbinding the dead letters": lambda ch, s: ch.queue_unbind(s.dead, DEAD, ""),
    "binding an exchange to the dead letters": lambda ch, s: ch.exchange_bind("amq.fanout", DEAD),
    "unbinding an exchange": lambda ch, s: ch.exchange_unbind("amq.fanout", DEAD),
}
READING: dict[str, Attack] = {
    "consuming the foreign queue": lambda ch, s: consume(ch, s.foreign),
    "consuming the foreign queue alone": lambda ch, s: consume(ch, s.foreign, exclusive=True),
    "consuming the foreign queue without acknowledging": lambda ch, s: consume(ch, s.foreign, auto_ack=True),
    "consuming the foreign queue first": lambda ch, s: consume(ch, s.foreign, arguments={"x-priority": 99}),
    "consuming the dead letters": lambda ch, s: consume(ch, s.dead),
    "consuming a queue that is not there": lambda ch, s: consume(ch, UNKNOWN),
    "getting from the foreign queue": lambda ch, s: ch.basic_get(s.foreign),
    "getting from the dead letters": lambda ch, s: ch.basic_get(s.dead, auto_ack=True),
    "getting from a queue that is not there": lambda ch, s: ch.basic_get(UNKNOWN),
    "purging the foreign queue": lambda ch, s: ch.queue_purge(s.foreign),
    "purging the dead letters": lambda ch, s: ch.queue_purge(s.dead),
    "purging a queue that is not there": lambda ch, s: ch.queue_purge(UNKNOWN),
}


@pytest.mark.parametrize("attack", [
    pytest.param(attack, id=name) for name, attack in (PUBLISHING | DECLARING | BINDING | READING).items()
])  # fmt: skip
async def test_it_is_refused(scene: Scene, attack: Attack) -> None:
    """ACCESS_REFUSED on the channel, alike for what is another's and for what is not there; nothing has moved."""
    token = await scene.r.token("PE", "amqp")

    def run() -> None:
        with channel(scene.rabbit, "PE", token) as ch:
            attack(ch, scene)

    before = await asyncio.to_thread(standing, scene)
    with pytest.raises(
        pika.exceptions.ChannelClosedByBroker, match=r"ACCESS_REFUSED|operation not permitted"
    ) as refused:
        await asyncio.to_thread(run)

    assert refused.value.reply_code == 403
    assert await asyncio.to_thread(standing, scene) == before


async def test_what_a_member_may_ask_and_what_it_learns(scene: Scene) -> None:
    """RabbitMQ asks nobody about a passive declare. Whoever knows a name learns that the queue is there, how much waits
    in it and how many read it. A name has 128 bits that nobody guesses, that of the dead letters as well."""
    token = await scene.r.token("PE", "amqp")

    def ask(queue: str) -> tuple[int, int]:
        with channel(scene.rabbit, "PE", token) as ch:
            found = ch.queue_declare(queue, passive=True).method
            return found.message_count, found.consumer_count

    assert await asyncio.to_thread(ask, scene.own) == (1, 0)
    assert await asyncio.to_thread(ask, scene.foreign) == (1, 0)
    for guessed in (UNKNOWN, DEAD, dead_queue(""), dead_queue(UNKNOWN)):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as unknown:
            await asyncio.to_thread(ask, guessed)
        assert unknown.value.reply_code == 404

    async def read() -> bool:  # it is there; the hub begins anew with it every minute
        return await asyncio.to_thread(ask, scene.dead) == (0, 1)

    await until(read)


async def test_what_the_protocol_lets_everybody_do_moves_nothing(scene: Scene) -> None:
    """Transactions, recover, a prefetch without end, RabbitMQ's pseudo-queue for replies: on one's own channel alone."""
    token = await scene.r.token("PE", "amqp")

    def run() -> None:
        with channel(scene.rabbit, "PE", token) as ch:
            ch.basic_qos(prefetch_count=0, global_qos=True)
            assert ch.basic_get(scene.own)[0].redelivered is False
            ch.basic_recover(requeue=True)
            method, _, _ = ch.basic_get(scene.own)
            assert method.redelivered is True
            consume(ch, "amq.rabbitmq.reply-to", auto_ack=True)
        with channel(scene.rabbit, "PE", token) as ch:
            ch.tx_select()
            method, _, _ = ch.basic_get(scene.own)
            ch.basic_ack(method.delivery_tag)  # never committed: it is back when the channel closes
            ch.tx_rollback()
        with (
            channel(scene.rabbit, "PE", token) as ch,
            pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="NOT_IMPLEMENTED"),
        ):
            ch.flow(active=False)

    before = await asyncio.to_thread(standing, scene)
    await asyncio.to_thread(run)

    assert await asyncio.to_thread(standing, scene) == before


async def test_another_secret_makes_no_other_member(scene: Scene) -> None:
    """connection.update-secret with AR's token: RabbitMQ takes it, and PE stays PE."""
    pe, ar = await scene.r.token("PE", "amqp"), await scene.r.token("AR", "amqp")

    def run() -> None:
        with channel(scene.rabbit, "PE", pe) as ch:
            ch.connection.update_secret(ar, "mine has ended")
            ch.basic_get(scene.foreign)

    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="refused for user 'PE'"):
        await asyncio.to_thread(run)


# ── its own loss ──


async def test_what_a_member_purges_comes_back_by_replay(scene: Scene) -> None:
    """`read` lets it purge its own queue. The ledger is not touched by that, and a replay brings everything back."""
    r, name = scene.r, await scene.another()
    queue = await amqp_queue(r, name)
    addresses = await post_many(r, 12, to(name), f"purged-{name}-")
    await published(r, 12, name)
    assert (await r.acknowledge(name, addresses[0])).status_code == 200
    before = await states(r, name)
    token = await r.token(name, "amqp")

    def purge() -> int:
        with channel(scene.rabbit, name, token) as ch:
            return int(ch.queue_purge(queue).method.message_count)

    def take(number: int) -> list[tuple[Any, ...]]:
        with channel(scene.rabbit, name, token) as ch:
            came = [ch.basic_get(queue, auto_ack=True) for _ in range(number + 1)]
            assert came.pop() == (None, None, None)
            return [(p.headers["tw-address"], p.headers["tw-sequence"], p.headers["tw-round"]) for _, p, _ in came]

    assert await asyncio.to_thread(purge) == 12
    assert before == ["settled", *["published"] * 11] == await states(r, name)
    answer = await r.call(name, "POST", "/v1/queues/wire/replay", {"sequence": 1})
    assert answer.json()["replayed"] == 12, answer.text
    await published(r, 12, name)
    assert await asyncio.to_thread(take, 12) == [(address, n, 2) for n, address in enumerate(addresses, 1)]
    listed = (await r.call("CL", "GET", f"/v1/messages/{addresses[0]}/deliveries")).json()
    assert "received" in json.dumps(listed)


# ── a drain wins ──


def alone(rabbit: Rabbit, user: str, token: str, queue: str) -> list[pika.BlockingConnection]:
    """Exclusive, and first."""
    connection = login(rabbit, user, token)
    consume(connection.channel(), queue, exclusive=True, arguments={"x-priority": 2**31 - 1})
    return [connection]


def all_of_it(rabbit: Rabbit, user: str, token: str, queue: str) -> list[pika.BlockingConnection]:
    """No limit to the prefetch; holds everything and never answers again."""
    connection = login(rabbit, user, token)
    ch = connection.channel()
    ch.basic_qos(prefetch_count=0)
    consume(ch, queue)
    connection.process_data_events(0.2)
    return [connection]


def uncommitted(rabbit: Rabbit, user: str, token: str, queue: str) -> list[pika.BlockingConnection]:
    """Acknowledges all in a transaction that it leaves open."""
    connection = login(rabbit, user, token)
    ch = connection.channel()
    ch.tx_select()
    while (got := ch.basic_get(queue))[0] is not None:
        ch.basic_ack(got[0].delivery_tag)
    return [connection]


def many(rabbit: Rabbit, user: str, token: str, queue: str) -> list[pika.BlockingConnection]:
    """Ten connections of three channels, a consumer on each; none of them answers when it is asked to close."""
    held = [login(rabbit, user, token) for _ in range(10)]
    for connection in held:
        for _ in range(3):
            consume(connection.channel(), queue)
    return held


@pytest.mark.parametrize("hold", [alone, all_of_it, uncommitted, many])
async def test_a_drain_wins(scene: Scene, hold: Callable[..., list[pika.BlockingConnection]]) -> None:
    """Whatever a member does to hold on to what it lost the right to: its connections are closed, the queue is drained,
    and what it may still have comes back, without the rest. Nobody else notices."""
    r, name = scene.r, await scene.another()
    queue = await amqp_queue(r, name)
    await r.group(f"OP-{name}", "CL", name)
    kept = await post_many(r, 3, to(name), f"kept-{name}-")
    lost = await post_many(r, 3, {"groups": [f"OP-{name}"]}, f"lost-{name}-")
    await published(r, 6, name)
    token = await r.token(name, "amqp")
    held = await asyncio.to_thread(hold, scene.rabbit, name, token, queue)

    await administer.leave(r.hub.ledger, f"OP-{name}", name, r.clock())
    other = await r.send("CL", f"meanwhile-{name}", to("AR"))

    async def over() -> bool:
        return not (await queue_row(r, name))["drain"] and "ready" not in await states(r, name)

    async def sent() -> bool:
        return (await states(r, "AR"))[-1] == "published"

    await until(over)
    await until(sent)

    def after() -> list[str]:
        for connection in held:
            with pytest.raises(pika.exceptions.AMQPError):
                connection.channel()
        with channel(scene.rabbit, name, token) as ch:
            came = iter(lambda: ch.basic_get(queue, auto_ack=True), (None, None, None))
            return [properties.headers["tw-address"] for _, properties, _ in came]

    def others() -> str:
        with channel(scene.rabbit, "AR", ar) as ch:
            while (got := ch.basic_get(scene.foreign))[1].headers["tw-address"] != other:
                pass
            ch.basic_ack(got[0].delivery_tag)
            return str(got[1].headers["tw-address"])

    ar = await r.token("AR", "amqp")
    assert await asyncio.to_thread(after) == kept
    assert await states(r, name) == ["published"] * len(kept) + ["revoked"] * len(lost)
    assert await asyncio.to_thread(others) == other
