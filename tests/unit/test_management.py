"""What the management API of RabbitMQ says, read: channels that have just gone, and counts that are not there yet."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from broker.rabbit.management import Management, Readers


def reads(queue: str, channel: str | None) -> dict[str, Any]:
    return {"queue": {"name": queue}, "channel_details": [] if channel is None else {"name": channel}}


def channel(name: str, user: str, count: int | None) -> dict[str, Any]:
    return {"name": name, "user": user} | ({} if count is None else {"messages_unacknowledged": count})


@pytest.mark.parametrize(
    ("consumers", "channels", "known"),
    [
        ([], [], (0, 0)),
        ([reads("q", "c1")], [channel("c1", "PE", 3), channel("c2", "AR", 9)], (1, 3)),
        ([reads("q", "c1"), reads("q", None)], [channel("c1", "PE", 3)], (1, 3)),
        ([reads("other", "c1")], [channel("c1", "PE", 3), channel("c2", "PE", 4)], (0, 4)),
        ([reads("other", "c1"), reads("q", "c1")], [channel("c1", "PE", 3)], (1, 3)),
        ([reads("q", "c1")], [channel("c1", "PE", None)], (1, None)),
        ([reads("q", "c1"), reads("q", "c1")], [channel("c1", "PE", 3)], (2, 3)),
        ([reads("q", "c2")], [channel("c1", "PE", 3), channel("c2", "AR", 9)], (0, 3)),
        ([], [{"name": "c1"}], (0, 0)),
    ],
)
async def test_what_a_member_has_of_a_queue(
    consumers: list[Any], channels: list[Any], known: tuple[int, int | None]
) -> None:
    """A channel that reads only other queues holds nothing of this one; one that reads none may (`basic.get`)."""
    said = {"/api/consumers/%2F": consumers, "/api/vhosts/%2F/channels": channels}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=said[request.url.raw_path.decode().partition("?")[0]])

    async with Management("http://127.0.0.1:1", "amqp://hub:x@127.0.0.1/") as management:
        management._client = httpx2.AsyncClient(base_url="http://x", transport=httpx2.MockTransport(answer))
        assert await management.readers("PE", "q") == Readers(*known)
