"""Whoever offers another protocol is answered in HTTP/1.1, body and all (RFC 9110 §7.8: a server may ignore the offer)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import app
from broker.config import Config
from broker.rabbit.private_node import free_port
from tests.region import MovableClock, Region, to

pytestmark = pytest.mark.long

H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA\r\n"
"""As the JDK's HttpClient and curl --http2 offer it, unasked (RFC 7540 §3.2; RFC 9113 has dropped it)."""
HEALTHZ = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
LAST = HEALTHZ + b"connection: close\r\n\r\n"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Region]:
    """A hub on a port; Chile and Peru are its members."""
    port = free_port()
    config = Config(
        home=tmp_path, ledger_url=f"sqlite:///{tmp_path}/ledger.sqlite", public_url=f"http://127.0.0.1:{port}",
        host="127.0.0.1", port=port, amqp_url=None, management_url=None, log="json",
    )  # fmt: skip
    await app.init(config)
    async with app.running(config) as run:
        region = Region(run.hub, None, MovableClock())  # type: ignore[arg-type]  # octets are written here, by hand
        await region.enrol("CL", "PE")
        yield region


async def answers(r: Region, *parts: bytes) -> bytes:
    """All that the hub says, part by part in segments of their own, until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(r.hub.public_url.rpartition(":")[2]))
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


def posting(token: str, *, offer: bytes) -> tuple[bytes, bytes]:
    """Head and body of a post that offers an upgrade."""
    body = token.encode()
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\n" + offer
    return head + b"content-length: %d\r\n\r\n" % len(body), body


@pytest.mark.parametrize("offer", [H2C, b"Connection: upgrade\r\nUpgrade: websocket\r\n"], ids=["h2c", "websocket"])
@pytest.mark.parametrize("pieces", ["one segment", "head and body", "octet by octet"])
async def test_a_post_that_offers_an_upgrade_is_accepted(served: Region, offer: bytes, pieces: str) -> None:
    """201 with its receipt, however it is cut up; the connection goes on in HTTP/1.1."""
    token = served.sign(served.payload("CL", "offered", to("PE")))
    head, body = posting(token, offer=offer)
    parts = {
        "one segment": [head + body + LAST],
        "head and body": [head, body, LAST],
        "octet by octet": [*(bytes([octet]) for octet in head[-60:]), body + LAST],
    }[pieces]
    if pieces == "octet by octet":
        parts = [head[:-60], *parts]
    said = await answers(served, *parts)

    assert said.startswith(b"HTTP/1.1 201"), said[:200]
    assert b"HTTP/1.1 200" in said
    assert b"upgrade:" not in said.lower()


async def test_offers_one_after_the_other_are_each_answered(served: Region) -> None:
    """Very many in one segment neither end the connection nor exhaust anything; a chunked body arrives, too."""
    chunked = (
        b"POST /v1/oauth/token HTTP/1.1\r\nhost: x\r\n"
        + H2C
        + b"transfer-encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n"
    )
    many = (HEALTHZ + H2C + b"\r\n") * 2_000
    said = await answers(served, chunked + many + LAST)

    assert said.startswith(b"HTTP/1.1 415")
    assert said.count(b"HTTP/1.1 200") == 2_001


async def test_a_tunnel_is_refused(served: Region) -> None:
    """CONNECT (RFC 9110 §9.3.6) ends the connection, whatever follows it."""
    said = await answers(served, b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n" + LAST)

    assert said.startswith(b"HTTP/1.1 405"), said[:200]
    assert b"HTTP/1.1 200" not in said
