"""RabbitMQ's management API, as far as the hub needs it: close connections, count what is unacknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx2

from broker.errors import Fault, WireRefused
from broker.rabbit.topology import TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Depth:
    """`ready` and `unacknowledged` as RabbitMQ last counted them: some seconds old."""

    ready: int
    unacknowledged: int
    consumers: int


class Management:
    """An async context manager. Every failure of the network is an httpx2.HTTPError."""

    def __init__(self, url: str, amqp_url: str) -> None:
        """`url`: the API's base; user, password and virtual host are those of `amqp_url`."""
        parts = urlsplit(amqp_url)
        self.vhost = unquote(parts.path[1:]) or "/"
        self._client = httpx2.AsyncClient(
            base_url=url,
            auth=(unquote(parts.username or "guest"), unquote(parts.password or "guest")),
            timeout=TIMEOUT_SECONDS,
        )

    async def __aenter__(self) -> Management:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def check(self) -> None:
        """Raises WireRefused if there is no management API, or it does not know us as an administrator."""
        try:
            answer = await self._client.get("/api/whoami")
        except httpx2.HTTPError as error:
            raise WireRefused(
                Fault("/rabbitmq_management_url", "no-management", found=str(self._client.base_url))
            ) from error
        tags = answer.json().get("tags", "") if answer.status_code == 200 else ""
        if "administrator" not in tags:
            raise WireRefused(Fault("/amqp_url", "not-administrator", found=str(answer.status_code)))

    async def depth(self, queue: str) -> Depth:
        """Counts of one queue. A queue without statistics yet counts as empty."""
        answer = await self._client.get(f"/api/queues/{quote(self.vhost, safe='')}/{quote(queue, safe='')}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return Depth(found.get("messages_ready", 0), found.get("messages_unacknowledged", 0), found.get("consumers", 0))

    async def close_connections(self, member: str) -> None:
        """Close every connection of the member. What it held unacknowledged is back in its queues at once."""
        answer = await self._client.delete(
            f"/api/connections/username/{quote(member, safe='')}", headers={"X-Reason": "access has changed"}
        )
        if answer.status_code != 404:
            answer.raise_for_status()
