"""Our client shows a client certificate to a proxy that asks for one: `TIDEWAITER_CERTIFICATE`."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from broker import keyfiles
from broker.client import Client, Unreachable
from broker.errors import SetupRefused
from tests.certificates import certificates

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"


async def test_who_shows_a_certificate_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy asks for one of its own authority; without it nobody gets as far as a token."""
    tls = certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls.authority))
    asking.load_cert_chain(tls.certificate, tls.key)
    asking.verify_mode = ssl.CERT_REQUIRED
    shown: list[object] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert")["subject"])
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"access_token": "t", "expires_in": 900, "queues": []}'
        writer.write(ANSWER % (len(body), body))
        await writer.drain()
        writer.close()

    key = keyfiles.generate()
    async with await asyncio.start_server(proxy, "127.0.0.1", 0, ssl=asking) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with Client(url, "CL", key, certificate=tls.client) as client:
            assert await client.queues() == []
        assert shown == [((("commonName", "a member's system"),),)] * 2
        async with Client(url, "CL", key) as client:
            client.door.attempts = 1
            with pytest.raises(Unreachable):
                await client.queues()
        async with Client(url, "CL", key, certificate=tls.authority) as client:
            with pytest.raises(SetupRefused, match="no PEM of certificate and key"):
                await client.queues()
    assert len(shown) == 2
