"""The client's side of the wire: one HTTPS door with its token, its patience and its errors.

What is repeated: a call that never reached the hub, one that it refused for the moment (429, 502, 503, 504), and,
where repeating is harmless, one whose answer was lost. Pauses double from 0.2 s, are jittered and bounded; Retry-After
is honoured (RFC 9110 §10.2.3). A token is fetched by one caller while the others wait, and anew once on a 401.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from broker import clock, jws, sse, tokens
from broker.errors import SetupRefused

ATTEMPTS = 6
"""Tries of one call: with the pauses below some 6 to 12 seconds when nothing answers at all."""
PAUSE_SECONDS = (0.2, 10.0)
MAX_RETRY_AFTER_SECONDS = 60
TIMEOUT_SECONDS = 60
CONNECT_SECONDS = 10
RENEW_BEFORE_SECONDS = 60
"""A token is renewed so long before it ends: no call is started with one that ends on the way."""
MAX_ANSWER_BYTES = 64_000_000
"""A lease of 100 of the largest messages has 27 MB; an answer beyond this is not read to the end."""
SILENT_SECONDS = 45
"""A stream says at least every 15 s that it lives: one that is silent for so long is dead, whatever TCP believes."""
STEADY_SECONDS = 30
"""A stream that held so long was a good one: the next pause is short again."""
FOR_THE_MOMENT = (429, 502, 503, 504)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Problem(Exception):
    """The hub's refusal (RFC 9457). `code` never changes; `errors` are its faults; `body` is all that it said."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after_seconds: int | None = None) -> None:
        self.status = status
        self.code = str(body.get("code") or status)
        self.title = str(body.get("title") or f"HTTP {status}")
        self.detail = str(body.get("detail") or "")
        self.errors: list[dict[str, Any]] = [e for e in body.get("errors") or () if isinstance(e, dict)]
        self.request_id = body.get("request_id")
        self.retry_after_seconds = retry_after_seconds
        self.body = body
        super().__init__(f"{status} {self.code}: {self.detail or self.title}")


class Unreachable(Exception):
    """No answer, or none that says anything, after every retry. Whether the hub did what was asked is not known."""


@dataclass
class _Token:
    text: str
    renew_at: float  # time.monotonic()


@dataclass
class Door:
    """One hub as one caller reaches it. Safe for many tasks of one event loop."""

    url: str
    member: str
    key: jws.PrivateKey | None
    language: str = "en"
    attempts: int = ATTEMPTS
    pause_seconds: tuple[float, float] = field(default_factory=lambda: PAUSE_SECONDS)
    certificate: Path | None = None
    """A client certificate and its key, one PEM file: for a proxy in front of the hub that asks for one."""
    transport: httpx2.AsyncBaseTransport | None = None
    _http: httpx2.AsyncClient | None = field(default=None, init=False)
    _tokens: dict[str, _Token] = field(default_factory=dict, init=False)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock), init=False)

    @property
    def scope(self) -> str:
        """The scope of the caller's usual door."""
        return "admin" if self.member.startswith("operator:") else "api"

    @property
    def signing_key(self) -> jws.PrivateKey:
        if self.key is None:
            raise ValueError("this call signs, and the client was made without a key")
        return self.key

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        scope: str | None,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int | None] | None = None,
        idempotent: bool = True,
        lines: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> tuple[int, Any]:
        """(status, JSON) of a call; `lines`: newline-delimited JSON as a list. `scope` None: no token is sent.

        Raises Problem, Unreachable.
        """
        sent = {"accept-language": self.language, **(headers or {})}
        if body is not None:
            content, sent["content-type"] = json.dumps(body, ensure_ascii=False).encode(), "application/json"
        asked = {name: value for name, value in (params or {}).items() if value is not None}

        async def once(token: str | None) -> tuple[int, Any]:
            credential = {"authorization": f"Bearer {token}"} if token else {}
            return await self._patiently(
                lambda: (method, path, {"content": content, "headers": sent | credential, "params": asked or None}),
                idempotent=idempotent, lines=lines, timeout_seconds=timeout_seconds,
            )  # fmt: skip

        if scope is None:
            return await once(None)
        used = await self.token(scope)
        try:
            return await once(used)
        except Problem as problem:
            if problem.status != 401 or problem.code != "token":
                raise
        held = self._tokens.get(scope)
        if held is not None and held.text == used:  # somebody else may have fetched a new one meanwhile
            del self._tokens[scope]
        return await once(await self.token(scope))

    async def token(self, scope: str, *, fresh: bool = False) -> str:
        """An access token (RFC 6749 §4.4 with RFC 7523 §2.2); one caller at a time fetches it."""
        async with self._locks[scope]:
            held = self._tokens.get(scope)
            if held is not None and not fresh and time.monotonic() < held.renew_at:
                return held.text
            key = self.signing_key

            def ask() -> tuple[str, str, dict[str, Any]]:  # a new assertion each time: its jti works once
                form = {
                    "grant_type": "client_credentials",
                    "client_assertion_type": ASSERTION_TYPE,
                    "client_assertion": tokens.make_assertion(self.member, key, self.url, clock.now()),
                    "scope": scope,
                }
                return "POST", "/v1/oauth/token", {"data": form, "headers": {"accept-language": self.language}}

            _, answer = await self._patiently(ask, idempotent=True, lines=False, timeout_seconds=TIMEOUT_SECONDS)
            try:
                life = max(float(answer.get("expires_in", 0)) - RENEW_BEFORE_SECONDS, 0)
                self._tokens[scope] = _Token(str(answer["access_token"]), time.monotonic() + life)
            except (AttributeError, LookupError, TypeError, ValueError):
                raise Unreachable(f"{self.url} gives no token as a hub does") from None
            return self._tokens[scope].text

    async def follow(
        self, path: str, params: Mapping[str, int], told: Callable[[str], None]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What the events `delivery` of a stream hold, for ever. Each connection has a fresh token and goes on after the
        last event yielded here. `told` hears of faults. Raises Problem once the hub refuses for good."""
        last: str | None = None
        failures = 0
        while True:
            reader, since = sse.Reader(), time.monotonic()
            at_least, ended = 0.0, False
            try:
                token = await self.token(self.scope, fresh=True)
                async with aclosing(self._events(path, reader, params, token, last)) as events:
                    async for event in events:
                        said = json.loads(event.data)
                        if ended := event.kind == "end":
                            raise Problem(int(said["status"]), said)
                        if event.kind == "delivery":
                            last, failures = event.id, 0
                            yield said
            except Problem as problem:
                over = (
                    ended and problem.status == 401
                )  # its token is; whether there is another is told by who gives them
                if problem.status not in FOR_THE_MOMENT and not over:
                    raise
                at_least = problem.retry_after_seconds or 0
                if not over:
                    told(str(problem))
            except Unreachable as error:
                told(str(error))
            except (ValueError, LookupError, TypeError):
                told(f"{self.url}{path} does not stream as a hub does")
            failures = 1 if time.monotonic() - since > STEADY_SECONDS else failures + 1
            await asyncio.sleep(self.pause(failures, max(at_least, reader.retry_seconds)))

    async def _events(
        self, path: str, reader: sse.Reader, params: Mapping[str, int], token: str, last_event_id: str | None
    ) -> AsyncGenerator[sse.Event, None]:
        """The events of one connection, until the hub ends it. Raises Problem when it is refused, Unreachable when it is
        lost or silent."""
        headers = {"accept": "text/event-stream", "accept-language": self.language, "authorization": f"Bearer {token}"}
        if last_event_id is not None:
            headers["last-event-id"] = last_event_id
        timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        at = self.url + path
        try:
            async with self._client().stream("GET", at, params=params, headers=headers, timeout=timeout) as response:
                if response.status_code >= 300:
                    raise _problem(response, await self._read(response, path))
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise Unreachable(f"{at} does not answer with a stream: is this a hub?")
                async for octets in response.aiter_bytes():
                    for event in reader.feed(octets):
                        yield event
        except httpx2.ReadTimeout:
            raise Unreachable(f"{self.url} has said nothing for {SILENT_SECONDS} s") from None
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.DecodingError, sse.NotEvents) as error:
            raise Unreachable(f"{self.url}: {_why(error)}") from None

    def pause(self, attempt: int, at_least: float) -> float:
        """Seconds before the next try: growing, jittered, and what the hub asked for (to a bound)."""
        first, most = self.pause_seconds
        ceiling = min(most, first * 2 ** min(attempt, 16))
        return min(at_least, MAX_RETRY_AFTER_SECONDS) + random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, not a secret

    async def _patiently(
        self,
        ask: Callable[[], tuple[str, str, dict[str, Any]]],
        *,
        idempotent: bool,
        lines: bool,
        timeout_seconds: float,
    ) -> tuple[int, Any]:
        last = ""
        retry_after = 0
        for attempt in range(self.attempts):
            if attempt:
                await asyncio.sleep(self.pause(attempt, retry_after))
            retry_after = 0
            method, path, how = ask()
            try:
                return await self._once(method, path, how, lines, timeout_seconds)
            except Problem as problem:
                if problem.status not in FOR_THE_MOMENT or (problem.status in (502, 504) and not idempotent):
                    raise
                last, retry_after = str(problem), problem.retry_after_seconds or 0
            except httpx2.TransportError as error:
                last = _why(error)
                if not idempotent and not isinstance(
                    error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout
                ):
                    break  # it may have been done: whoever asked decides
            except (httpx2.InvalidURL, httpx2.DecodingError) as error:
                raise Unreachable(f"{self.url}: {error}") from None
        raise Unreachable(f"{self.url}: {last}")

    async def _once(
        self, method: str, path: str, how: dict[str, Any], lines: bool, timeout_seconds: float
    ) -> tuple[int, Any]:
        timeout = httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS)
        async with self._client().stream(method, self.url + path, timeout=timeout, **how) as response:
            octets = await self._read(response, path)
        if response.status_code >= 300:
            raise _problem(response, octets)
        try:
            if lines:
                return response.status_code, [json.loads(line) for line in octets.splitlines() if line.strip()]
            return response.status_code, json.loads(octets) if octets else {}
        except (ValueError, RecursionError):
            raise Unreachable(f"{self.url}{path} does not answer in JSON: is this a hub?") from None

    async def _read(self, response: httpx2.Response, path: str) -> bytes:
        octets = bytearray()
        async for piece in response.aiter_bytes():
            octets += piece
            if len(octets) > MAX_ANSWER_BYTES:
                raise Unreachable(f"{self.url}{path} answers with more than {MAX_ANSWER_BYTES} bytes")
        return bytes(octets)

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            local = urlsplit(self.url).hostname in ("127.0.0.1", "::1", "localhost")
            tls: ssl.SSLContext | bool = True
            if self.certificate is not None:
                tls = self.presenting(httpx2.create_ssl_context())
            self._http = httpx2.AsyncClient(transport=self.transport, trust_env=not local, verify=tls)
        return self._http

    def presenting(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """The same context, showing the client certificate if there is one. Raises SetupRefused if it cannot be read."""
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate)
            except OSError as error:  # ssl.SSLError is one
                raise SetupRefused(detail=f"{self.certificate} is no PEM of certificate and key: {error}.") from None
        return context


def _problem(response: httpx2.Response, octets: bytes) -> Problem:
    return Problem(response.status_code, _problem_body(octets), _seconds(response.headers.get("retry-after")))


def _problem_body(octets: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 7 else None


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
