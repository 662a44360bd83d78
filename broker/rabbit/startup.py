"""What must be so before anything is published: RabbitMQ is set up as we need it, or the hub does not start.

    1  it takes the hub's own user                         login-refused
    2  its management API answers, to an administrator     no-management, not-administrator
    3  the user may declare, publish and consume           wire-rights
    4  its HTTP authentication back end asks this hub      not-asked
    5  the dead letters and the queues stand as wanted, and no policy says otherwise      queue-arguments

A RabbitMQ that is away, or goes away meanwhile, is refused nothing: it is waited for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import httpx2
from aio_pika.exceptions import (
    AMQPConnectionError,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from broker.errors import Fault, WireRefused
from broker.hub import Hub
from broker.rabbit import topology
from broker.rabbit.access import PROBE
from broker.rabbit.connections import Connections, opened
from broker.rabbit.management import Management

DEFAULT_EXCHANGE = "amq.default"
"""What RabbitMQ calls the default exchange when it looks for rights."""
ANY_QUEUE = "aMembersQueue-_0123456"
"""A name as queues of members have it: 22 characters of base64url."""
TRIES = 3
"""Looks at a management API that does not answer, a second apart, before it is taken for missing."""


def not_let_in(error: BaseException) -> bool:
    """RabbitMQ is there and refused a login, or (it then closes where OpenOk is due) a virtual host."""
    return isinstance(error, InvalidFrameError) or (
        isinstance(error, ProbableAuthenticationError) and "ACCESS_REFUSED" in str(error)
    )


def login_refused(amqp_url: str) -> WireRefused:
    """Step 1."""
    parts = urlsplit(amqp_url)
    return WireRefused(Fault("/amqp_url", "login-refused", found=f"{parts.username}@{parts.hostname}{parts.path}"))


async def prove(
    connections: Connections, management: Management, hub: Hub, amqp_url: str, queues: Iterable[str]
) -> None:
    """Steps 2 to 5; `queues` are the names that should stand there. Raises WireRefused, or what says that it is away."""
    await _managed(connections, management)
    permitted(management, await management.permissions(), queues)
    await asked(hub, amqp_url)
    await _stands(connections, management, hub.dead_letters, queues)


async def _managed(connections: Connections, management: Management) -> None:
    """Step 2. That nobody answers counts only while AMQP does."""
    for _ in range(TRIES):
        try:
            return await management.check()
        except httpx2.HTTPError:
            await asyncio.sleep(1)
            async with connections.asking():
                pass
    raise management.missing()


def permitted(management: Management, patterns: Mapping[str, str], queues: Iterable[str]) -> None:
    """Step 3: `patterns` are the user's, as the management API shows them; RabbitMQ looks for them in names."""
    dead = (topology.DEAD, topology.dead_queue(ANY_QUEUE))
    names = (*dead, ANY_QUEUE, *queues)
    for right, needed in (("configure", names), ("write", (DEFAULT_EXCHANGE, *dead)), ("read", names)):
        for name in needed:
            if not _matches(patterns.get(right, ""), name):
                more = {"right": right, "user": management.user, "vhost": management.vhost}
                raise WireRefused(Fault("/amqp_url", "wire-rights", found=name, more=more))


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern or "^$", name) is not None
    except re.error:  # Erlang's expressions know more than ours: RabbitMQ itself will tell
        return True


async def asked(hub: Hub, amqp_url: str) -> None:
    """Step 4: have RabbitMQ ask about a stranger. This hub alone lets it in and then keeps it out of the virtual host."""
    scheme, _, rest = amqp_url.partition("://")
    stranger = f"{scheme}://{PROBE}:{hub.probe_password}@{rest.rpartition('@')[2]}"
    for _ in range(TRIES):
        try:
            async with opened(stranger):
                break  # let in by somebody else
        except InvalidFrameError:
            return
        except AMQPConnectionError as error:
            if not not_let_in(error):
                raise  # it went away: nothing is proved
        await asyncio.sleep(1)  # the process that is asked may be starting
    raise WireRefused(Fault("/amqp_url", "not-asked"))


async def _stands(connections: Connections, management: Management, secret: str, queues: Iterable[str]) -> None:
    """Step 5: effective arguments against the wanted ones; queues that are missing are made later."""
    try:
        async with connections.asking() as channel:
            await topology.declare_dead_letters(channel, secret)
    except ChannelPreconditionFailed:
        raise _differs(topology.dead_queue(secret), topology.DEAD_QUEUE) from None
    await compare(management, queues)


async def compare(management: Management, queues: Iterable[str]) -> None:
    """Step 5 as far as it can be seen without touching anything. Raises WireRefused."""
    standing, policies = await management.arguments(), await management.policies()
    dead = [name for name in standing if topology.is_dead_queue(name) and name != topology.DEAD]
    for names, wanted in ((dead, topology.DEAD_QUEUE), (queues, topology.MEMBER_QUEUE)):
        for name in names:
            if standing.get(name, wanted) != wanted:
                raise _differs(name, wanted)
    for name in (topology.DEAD, *dead, *queues):
        for policy in policies:
            if topology.harmful(policy, name):
                raise _differs(f"{name} ({policy['name']})", topology.MEMBER_QUEUE)


def _differs(found: str, wanted: Mapping[str, str | int]) -> WireRefused:
    allowed = tuple(f"{key}={value}" for key, value in wanted.items())
    return WireRefused(Fault("/amqp_url", "queue-arguments", found=found, allowed=allowed))
