"""RabbitMQ as a hub needs it. Nothing is declared and nothing published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
from aio_pika.exceptions import AMQPError

from broker.doctor import Finding, fail, ok, warn
from broker.errors import WireRefused
from broker.hub import Hub
from broker.rabbit import startup
from broker.rabbit.connections import WIRE_ERRORS, opened
from broker.rabbit.management import Management

OLDEST = (3, 10)
NOT_RUN = (4,)


async def reached(amqp_url: str) -> Finding:
    """Raises WireRefused when it is there and does not let us in."""
    host = urlsplit(amqp_url).hostname
    try:
        async with opened(amqp_url, "tidewaiter doctor"):
            return ok("RabbitMQ", f"{host} lets the hub in")
    except WIRE_ERRORS as error:
        if isinstance(error, AMQPError) and startup.not_let_in(error):
            raise startup.login_refused(amqp_url) from None
        found = f"{host} does not answer: {error or type(error).__name__}."
        next = "Messages are accepted and wait. Is it running, is the address in TIDEWAITER_AMQP_URL right?"
        return fail("RabbitMQ", found, next)


async def managed(management: Management, url: str) -> Finding:
    """Raises WireRefused."""
    try:
        await management.check()
    except httpx2.HTTPError:
        raise management.missing() from None
    return ok("management", f"{url} answers, to an administrator")


async def version(management: Management) -> Finding:
    return version_of(str((await management.overview()).get("rabbitmq_version")))


async def rights(management: Management, queues: Sequence[str]) -> Finding:
    """Raises WireRefused."""
    startup.permitted(management, await management.permissions(), queues)
    return ok("wire rights", f"{management.user} may declare, publish and consume in {management.vhost}")


async def arguments(management: Management, queues: Sequence[str]) -> Finding:
    """Raises WireRefused."""
    await startup.compare(management, queues)
    return ok("queues", f"{len(queues)} of members, as wanted; no policy changes them")


async def alarms(management: Management) -> Finding:
    return alarms_of(await management.nodes())


def version_of(found: str) -> Finding:
    number = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if number < OLDEST:
        return warn(
            "version",
            f"RabbitMQ {found}: quorum queues of that age lack at-least-once dead letters.",
            "Upgrade to 3.10 or later.",
        )
    note = "; 4.x was not run by those who made this, 3.10 was" if number[:1] >= NOT_RUN else ""
    return ok("version", f"RabbitMQ {found}{note}")


def alarms_of(nodes: Sequence[Mapping[str, Any]]) -> Finding:
    """An alarm blocks every publish of the whole cluster."""
    raised, down = [], []
    for node in nodes:
        if not node.get("running"):
            down.append(str(node.get("name")))
        for name, what in (("mem_alarm", "memory"), ("disk_free_alarm", "disk")):
            if node.get(name):
                raised.append(f"{what} on {node.get('name')}")
    if raised:
        return fail(
            "alarms",
            f"RabbitMQ takes nothing: {', '.join(raised)}.",
            "Free memory or disk there. Until then deliveries wait in the ledger, and nothing is lost.",
        )
    if down:
        return warn(
            "alarms", f"Nodes are down: {', '.join(down)}.", "Start them: a quorum queue needs the most of its members."
        )
    return ok("alarms", f"none; {len(nodes)} nodes run")


async def back_end(hub: Hub, amqp_url: str, running: bool) -> Finding:
    """Whether RabbitMQ asks this hub who may connect."""
    try:
        await startup.asked(hub, amqp_url)
    except WireRefused:
        if not running:
            return warn(
                "back end",
                "Whether RabbitMQ asks this hub cannot be seen while none runs here.",
                "Start the hub, and run this again.",
            )
        raise
    except WIRE_ERRORS as error:
        return fail("back end", f"RabbitMQ went away: {error or type(error).__name__}.", "Run this again.")
    return ok("back end", "RabbitMQ asks this hub who may connect")
