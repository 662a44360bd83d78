"""HTTP/1.1 as uvicorn speaks it, with limits that it has not: on connections, on headers, on how long those may take.

And without upgrades: who offers one (`Upgrade: h2c`, as the JDK's client does by itself) is answered as if it had not
(RFC 9110 §7.8 allows that). The parser ends a request that offers one at its headers, so that its body would be lost.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 65_536
HEADER_SECONDS = 20
"""From the connection, or the first octet of a request, to the end of its headers."""


def refusal(status: str, code: str, title: str) -> bytes:
    """A whole answer for who has not even asked yet."""
    number = status.split(" ", 1)[0]
    body = f'{{"type": "urn:tidewaiter:problem:{code}", "title": "{title}", "status": {number}, "code": "{code}"}}'
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        f"retry-after: 1\r\nconnection: close\r\n\r\n{body}"
    ).encode()


class Protocol(HttpToolsProtocol):
    """One connection. `max_connections` is set once, by who starts the server."""

    max_connections = 1_000

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._header_bytes = 0
        self._too_slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(refusal("503 Service Unavailable", "busy", "Too many connections are open"))
        else:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and not self.transport.is_closing():
            try:
                self.parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as offered:
                data = self._without_offer() + data[offered.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        if self._too_slow is None:
            self._wait_for_headers()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._headers_came()
        if self.parser.get_method() == b"CONNECT":  # it says `should_upgrade`, whatever its headers
            self._refuse(refusal("405 Method Not Allowed", "not-allowed", "That method is not for this address"))
        elif not self.transport.is_closing() and not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.transport.is_closing() and not self.parser.should_upgrade():
            super().on_message_complete()

    def _without_offer(self) -> bytes:
        """The head of the request that has just been read, as its sender would have written it without the offer. What
        follows it has not been read yet."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _count(self, octets: int) -> None:
        self._header_bytes += octets
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(refusal("431 Request Header Fields Too Large", "too-large", "Too large"))

    def _wait_for_headers(self) -> None:
        self._too_slow = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _headers_came(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None

    def _refuse(self, answer: bytes) -> None:
        self._headers_came()
        self.transport.write(answer)
        self.transport.close()
