"""RabbitMQ's management API, as far as the hub needs it: close connections, count what is unacknowledged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx2

from broker.errors import Fault, WireRefused
from broker.rabbit.topology import TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Depth:
    """`ready` and `unacknowledged` as RabbitMQ last counted them, some seconds ago; None where it has not yet."""

    ready: int | None
    unacknowledged: int | None


@dataclass(frozen=True)
class Readers:
    """What a member's channels know of a queue."""

    consumers: int
    unacknowledged: int | None
    """What they hold that may be of this queue; None where one of them has not counted yet."""


def vhost_of(amqp_url: str) -> str:
    """The virtual host that an AMQP URL names (RabbitMQ's URI specification: `/` if it names none)."""
    return unquote(urlsplit(amqp_url).path[1:]) or "/"


class Management:
    """An async context manager. Every failure of the network is an httpx2.HTTPError."""

    def __init__(self, url: str, amqp_url: str) -> None:
        """`url`: the API's base; user, password and virtual host are those of `amqp_url`."""
        parts = urlsplit(amqp_url)
        self.user, self.vhost = unquote(parts.username or "guest"), vhost_of(amqp_url)
        self._vhost = quote(self.vhost, safe="")
        self._client = httpx2.AsyncClient(
            base_url=url,
            auth=(self.user, unquote(parts.password or "guest")),
            timeout=TIMEOUT_SECONDS,
        )

    async def __aenter__(self) -> Management:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def check(self) -> None:
        """Raises WireRefused if what answers is no management API, or does not know us as an administrator."""
        answer = await self._client.get("/api/whoami")
        if answer.status_code >= 500:
            answer.raise_for_status()
        try:
            tags = answer.json().get("tags", "") if answer.status_code == 200 else None
        except (ValueError, AttributeError):
            raise self.missing() from None
        if tags is None or "administrator" not in tags:
            raise WireRefused(Fault("/amqp_url", "not-administrator", found=str(answer.status_code)))

    def missing(self) -> WireRefused:
        """What is said when RabbitMQ is there and its management API is not."""
        return WireRefused(Fault("/rabbitmq_management_url", "no-management", found=str(self._client.base_url)))

    async def permissions(self) -> dict[str, str]:
        """`configure`, `write`, `read`: the user's own patterns in the virtual host; empty if it has none there."""
        answer = await self._client.get(f"/api/permissions/{self._vhost}/{quote(self.user, safe='')}")
        if answer.status_code == 404:
            return {}
        answer.raise_for_status()
        found: dict[str, str] = answer.json()
        return found

    async def overview(self) -> dict[str, Any]:
        """`rabbitmq_version` and much else."""
        answer = await self._client.get("/api/overview")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def nodes(self) -> list[Mapping[str, Any]]:
        """Every node of the cluster: `name`, `running`, `mem_alarm`, `disk_free_alarm` ..."""
        answer = await self._client.get("/api/nodes")
        answer.raise_for_status()
        found: list[Mapping[str, Any]] = answer.json()
        return found

    async def arguments(self) -> dict[str, Mapping[str, Any]]:
        """name -> arguments of every queue in the virtual host."""
        return {queue["name"]: queue["arguments"] for queue in await self._list("queues", columns="name,arguments")}

    async def policies(self) -> list[Mapping[str, Any]]:
        """`name`, `pattern`, `definition` of every policy of the virtual host, the operators' own included."""
        return [*await self._list("policies"), *await self._list("operator-policies")]

    async def _list(self, what: str, **parameters: str) -> list[Any]:
        answer = await self._client.get(f"/api/{what}/{self._vhost}", params=parameters)
        answer.raise_for_status()
        found: list[Any] = answer.json()
        return found

    async def depth(self, queue: str) -> Depth:
        answer = await self._client.get(f"/api/queues/{self._vhost}/{quote(queue, safe='')}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return Depth(found.get("messages_ready"), found.get("messages_unacknowledged"))

    async def readers(self, member: str, queue: str) -> Readers:
        """What the member's channels believe to have of the queue, as they said some seconds ago."""
        reads: dict[str, list[str]] = defaultdict(list)
        for consumer in await self._list("consumers"):
            if channel := consumer["channel_details"]:  # an empty list once it has gone
                reads[channel["name"]].append(consumer["queue"]["name"])
        channels = await self._client.get(f"/api/vhosts/{self._vhost}/channels")
        channels.raise_for_status()
        theirs = [channel for channel in channels.json() if channel.get("user") == member]
        counts = [
            channel.get("messages_unacknowledged")
            for channel in theirs
            if queue in reads.get(channel["name"], [queue])  # a channel without a consumer may use `basic.get`
        ]
        consumers = sum(reads[channel["name"]].count(queue) for channel in theirs)
        return Readers(consumers, None if None in counts else sum(counts))

    async def delete_queue(self, queue: str) -> None:
        """Delete it, whatever it holds and however broken it is: RabbitMQ forgets one that does not answer, too."""
        answer = await self._client.delete(f"/api/queues/{self._vhost}/{quote(queue, safe='')}")
        if answer.status_code != 404:
            answer.raise_for_status()

    async def connected(self, member: str) -> int:
        """How many connections the member has."""
        return len(await self._connections_of(member) or ())

    async def close_connections(self, member: str) -> int:
        """Close every connection of the member; returns how many there were. What it held unacknowledged is back in
        its queues once none is left."""
        open_ones = await self._connections_of(member)
        if open_ones is None:
            return 0
        answer = await self._client.delete(_of_user(member), headers={"X-Reason": "access has changed"})
        if answer.status_code != 404:
            answer.raise_for_status()
        return len(open_ones)

    async def _connections_of(self, member: str) -> list[Any] | None:
        """None: RabbitMQ knows nobody of that name."""
        answer = await self._client.get(_of_user(member))
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: list[Any] = answer.json()
        return found

    async def close_named(self, name: str) -> None:
        """Close the connections that call themselves `name`; returns once RabbitMQ lists none any more."""
        while found := await self._named(name):
            for connection in found:
                at = f"/api/connections/{quote(connection, safe='')}"
                answer = await self._client.delete(at, headers={"X-Reason": "another relay takes over"})
                if answer.status_code != 404:
                    answer.raise_for_status()

    async def _named(self, name: str) -> list[str]:
        answer = await self._client.get("/api/connections", params={"columns": "name,user_provided_name"})
        answer.raise_for_status()
        return [c["name"] for c in answer.json() if c.get("user_provided_name") == name]


def _of_user(member: str) -> str:
    return f"/api/connections/username/{quote(member, safe='')}"
