"""BrokerError → RFC 9457 problem, in one place, in the caller's language. No route catches anything.

Unknown errors answer 500 without a word of what went wrong; the log has it under the request id.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from broker import metrics, phrases
from broker.errors import BrokerError, Busy, Fault, Invalid, NotAllowed, NotFound, TokenRefused, TooMany, TooSlow
from broker.logs import log

TYPE = "urn:tidewaiter:problem:"


def language_of(request: Request, keys: Sequence[str] = ()) -> str:
    """The best of Accept-Language in which we say all that these keys stand for (RFC 9110 §12.5.4, `q` honoured), else
    English: no answer mixes two."""
    wanted: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:200].split(","):
        tag, _, q = part.replace(" ", "").partition(";q=")
        try:
            wanted.append((-float(q or 1), tag.partition("-")[0].lower()))
        except ValueError:
            continue
    wanted.sort(key=lambda one: one[0])  # stable: of equals, the first one named
    spoken = (tag for weight, tag in wanted if weight < 0 and tag in phrases.languages())
    return next((tag for tag in spoken if phrases.says(tag, keys)), "en")


def fault_object(fault: Fault, language: str) -> dict[str, Any]:
    """A Fault as `errors[]` and `warnings[]` carry it."""
    detail = phrases.render(f"rule.{fault.rule}", language, found=fault.found, allowed=fault.allowed, **fault.more)
    shown: dict[str, Any] = {"pointer": fault.pointer, "rule": fault.rule, "detail": detail}
    if fault.allowed:
        shown["allowed"] = list(fault.allowed)
    return shown


def problem_object(error: BrokerError, language: str) -> dict[str, Any]:
    """The problem details of an error (RFC 9457 §3.1)."""
    problem: dict[str, Any] = {
        "type": TYPE + error.code,
        "title": phrases.render(f"title.{error.code}", language),
        "status": error.status,
        "code": error.code,
    }
    if error.faults:
        problem["errors"] = [fault_object(fault, language) for fault in error.faults]
        problem["detail"] = problem["errors"][0]["detail"]
    if error.retry_after_seconds is not None:
        problem["retry_after"] = error.retry_after_seconds
    return problem | dict(error.extra)


def octets(value: Any, language: str) -> bytes:
    """JSON; Faults and BrokerErrors inside `value` are told in `language`."""

    def told(item: Any) -> Any:
        if isinstance(item, Fault):
            return fault_object(item, language)
        if isinstance(item, BrokerError):
            return problem_object(item, language)
        raise TypeError(type(item).__name__)

    return orjson.dumps(value, default=told, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def answer(request: Request, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in the caller's language."""
    return Response(octets(value, language_of(request)), status, headers, media_type="application/json")


def problem(request: Request, error: BrokerError) -> Response:
    language = language_of(request, (f"title.{error.code}", *(f"rule.{fault.rule}" for fault in error.faults)))
    headers = {"content-language": language}
    if isinstance(error, TooMany | Busy | TooSlow):
        metrics.limited.labels(error.rule).inc()
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if isinstance(error, TokenRefused):
        headers["www-authenticate"] = 'Bearer realm="tidewaiter"'
    body = problem_object(error, language) | {"request_id": request.scope.get("request_id")}
    return Response(orjson.dumps(body), error.status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Every error of every route ends here."""

    @app.exception_handler(BrokerError)
    async def _(request: Request, error: BrokerError) -> Response:
        if error.status >= 500 and not isinstance(error, Busy):  # counted: a log would only add to the load
            log.error("request.failed", code=error.code, detail=error.detail, path=request.url.path)
        return problem(request, error)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        known = (
            NotAllowed(Fault("", "method", found=request.method))
            if error.status_code == 405
            else NotFound(Fault("", "no-such-door"))
        )
        answered = problem(request, known)
        answered.headers.update(error.headers or {})  # Allow, which a 405 owes (RFC 9110 §15.5.6)
        return answered

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return problem(
            request,
            Invalid(*(Fault("/" + "/".join(map(str, e["loc"][1:])), "parameter", found=None) for e in error.errors())),
        )


def unforeseen(request: Request, error: Exception) -> Response:
    """A fault of ours: a bare 500. The middleware asks for it, so that it carries the headers of every answer."""
    log.error("request.failed", code="internal", path=request.url.path, exception=_where(error))
    return problem(request, BrokerError())


def _where(error: BaseException | None) -> str:
    """Classes and code lines of an error and its causes; never its words: PostgreSQL quotes the row that fails."""
    lines: list[str] = []
    while error is not None:
        lines += [f"{type(error).__module__}.{type(error).__qualname__}\n", *traceback.format_tb(error.__traceback__)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(lines)
