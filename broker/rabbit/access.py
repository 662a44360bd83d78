"""Who may connect to RabbitMQ and read what: the hub's answers to RabbitMQ's HTTP authentication back end.

A member logs in with its id and an access token of scope `amqp`. It may read its own queues: nothing to write,
nothing to declare, no exchange, no topic. While a queue is being drained nobody reads it. Everything else is denied.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta

from broker import jws, tokens
from broker.errors import BrokerError
from broker.hub import Hub
from broker.ledger import wire

PROBE = "tidewaiter-probe"
HANDSHAKE = timedelta(seconds=12)
"""RabbitMQ gives a login 10 s (`handshake_timeout`) to open its virtual host: so long a member whose key was revoked
opens none, since it may have been let in by that key, and no connection is there yet to be closed."""


class Door:
    """Answers `allow` or `deny`. Also lets a relay find out whether RabbitMQ asks this very hub: the probe's password is
    known to all its processes; it opens no virtual host."""

    def __init__(self, hub: Hub, vhost: str) -> None:
        """`vhost`: the one that is the hub's; whatever else lives in this RabbitMQ is no business of a member."""
        self._hub = hub
        self._vhost = vhost
        self._hub_jwk = jws.public_jwk(hub.key)

    async def user(self, form: Mapping[str, str]) -> bool:
        """username = member id, password = its token."""
        username, password = form.get("username", ""), form.get("password", "")
        if username == PROBE:
            return secrets.compare_digest(password.encode(), self._hub.probe_password.encode())
        now = self._hub.now()
        try:
            caller = tokens.read_access(password.encode("ascii", "replace"), self._hub_jwk, self._hub.public_url, now)
            async with self._hub.ledger.reading() as c:
                caller.check(await self._hub.registry(c), now)
        except BrokerError:
            return False
        return caller.scope == "amqp" and caller.owner == username

    async def vhost(self, form: Mapping[str, str]) -> bool:
        """The hub's own, for active members of whom no key was revoked just now. Asked after `user`, on every connection,
        and without the password: which key let it in is not known."""
        if form.get("vhost") != self._vhost:
            return False
        member, since = form.get("username", ""), self._hub.now() - HANDSHAKE
        async with self._hub.ledger.reading() as c:
            registry = await self._hub.registry(c)
        revoked = (key.revoked_at for key in registry.keys.values() if key.owner == member)
        return registry.is_active(member) and not any(at is not None and at > since for at in revoked)

    async def resource(self, form: Mapping[str, str]) -> bool:
        """Read, on a queue, of one's own, that is not being drained."""
        if (form.get("vhost"), form.get("resource"), form.get("permission")) != (self._vhost, "queue", "read"):
            return False
        member = form.get("username", "")
        try:
            async with self._hub.ledger.reading() as c:
                owner = await wire.owner_of(c, form.get("name", ""))
                active = (await self._hub.registry(c)).is_active(member)
        except BrokerError:
            return False
        return (
            active
            and owner is not None
            and owner["member"] == member
            and not owner["drain"]
            and owner["removed_at"] is None
        )
