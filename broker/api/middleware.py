"""Around every request: an id, a trace context (W3C), headers that keep answers out of caches, a count.

An address with U+0000 in it ends here: nothing of ours is named so, and PostgreSQL could not even look it up.
"""

from __future__ import annotations

import asyncio
import re
import secrets

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker import metrics
from broker.api import problems
from broker.api.bodies import OCTETS
from broker.errors import Busy, Fault, NotFound
from broker.limits import BUSY_RETRY_SECONDS

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Around:
    """Plain ASGI: nothing is buffered and cancellation passes through, but for a request that a hub which stops has not
    come to answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        headers = dict(scope["headers"])
        came = headers.get(b"traceparent", b"").decode("latin-1")
        traceparent = came if _TRACEPARENT.fullmatch(came) else f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        scope["request_id"], scope["traceparent"] = request_id, traceparent
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id, trace=traceparent[3:35])
        extra = [
            (b"x-request-id", request_id.encode()),
            (b"traceparent", traceparent.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                metrics.requests.labels(f"{message['status'] // 100}xx").inc()
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            refused = problems.problem(Request(scope), NotFound(Fault("", "no-such-door")))
            await refused(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:  # while its request was still on the way: nobody is there to be answered
            pass
        except asyncio.CancelledError:
            if started or not scope["app"].state.hub.closing:
                raise
            late = Busy(Fault("", "stopping"), retry_after=BUSY_RETRY_SECONDS)  # the server waits for nobody any longer
            await problems.problem(Request(scope), late)(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise
            await problems.unforeseen(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            if OCTETS in scope:
                scope["app"].state.hub.limits.octets_in_hand.give(scope[OCTETS])
