"""Reading request bodies: the size first, then the strict parser, then a strict model. FastAPI never parses one."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from broker import strictjson
from broker.errors import Fault, Invalid, Malformed, TooLarge, TooSlow, WrongMediaType, quote
from broker.hub import Hub
from broker.language.schema import json_type

MAX_JSON_BYTES = 1_048_576
MAX_FORM_BYTES = 16_384
BODY_SECONDS = 120
"""10 MB over a line of one megabit a second, and a little."""
OCTETS = "tidewaiter.octets"
"""Of the scope: how many octets this request has in hand."""


class Body(BaseModel):
    """Base of the small request models: no coercion, no unknown members, no echo of input."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


Model = TypeVar("Model", bound=Body)


async def read(request: Request, max_bytes: int) -> bytes:
    """The body. Raises TooLarge from its announced length, or as soon as more than `max_bytes` have come; Busy; TooSlow.

    Its octets count as in hand until the request is answered (`middleware`).
    """
    too_large = TooLarge(Fault("", "too-large", allowed=(str(max_bytes),)))
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > max_bytes):
        raise too_large
    room = int(announced) if announced.isascii() and announced.isdigit() else max_bytes
    hub_of(request).limits.octets_in_hand.take(room)
    request.scope[OCTETS] = request.scope.get(OCTETS, 0) + room
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise TooSlow(Fault("", "body-seconds", allowed=(str(BODY_SECONDS),))) from None
    return b"".join(chunks)


def hub_of(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def media_type(request: Request, *allowed: str) -> str:
    """The media type without parameters, which must be one of `allowed`. Raises WrongMediaType."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in allowed:
        raise WrongMediaType(Fault("/content-type", "media-type", found=found[:80], allowed=allowed))
    return found


async def json_object(request: Request) -> dict[str, Any]:
    media_type(request, "application/json")
    return strictjson.parse_object(await read(request, MAX_JSON_BYTES), max_bytes=MAX_JSON_BYTES)


async def model(request: Request, kind: type[Model]) -> Model:
    """The JSON body as `kind`. Raises Invalid with every fault."""
    try:
        return kind.model_validate(await json_object(request))
    except ValidationError as error:
        raise Invalid(*map(_fault, error.errors(include_url=False))) from None


_TYPES = {"int": "integer", "float": "number", "string": "string", "list": "array", "dict": "object", "bool": "boolean"}
_LIMITS = {"min_length": "too-few", "max_length": "too-many", "ge": "below-minimum", "le": "above-maximum"}


def _fault(error: ErrorDetails) -> Fault:
    """What pydantic complains of, in our words; of the input only its type and size."""
    kind, found, limits = error["type"], error["input"], error.get("ctx", {})
    at = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error["loc"])  # RFC 6901 §4
    if kind == "missing":
        return Fault(at, "required")
    if kind == "extra_forbidden":
        return Fault(at, "unknown-member", found=quote(error["loc"][-1]))
    if kind == "literal_error":
        return Fault(at, "enum", found=quote(found), allowed=(str(limits["expected"]),))
    if kind == "string_too_long":
        return Fault(at, "too-long", found=str(len(found)), more={"limit": str(limits["max_length"])})
    limit = next((name for name in _LIMITS if name in limits), None)
    if limit is not None:
        size = str(len(found)) if isinstance(found, list) else quote(found)
        return Fault(at, _LIMITS[limit], found=size, more={"limit": str(limits[limit])})
    return Fault(at, "type", found=json_type(found), allowed=(_TYPES.get(kind.split("_")[0], kind),))


async def form(request: Request) -> dict[str, str]:
    """A form-encoded body; a name given twice is Malformed."""
    media_type(request, "application/x-www-form-urlencoded")
    octets = await read(request, MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(
            octets.decode("utf-8"), keep_blank_values=True, max_num_fields=32, strict_parsing=bool(octets)
        )
    except ValueError:
        raise Malformed(Fault("", "form")) from None
    if any("\0" in part for pair in pairs for part in pair):
        raise Malformed(Fault("", "nul"))
    if len({name for name, _ in pairs}) != len(pairs):
        raise Malformed(Fault("", "form-twice"))
    return dict(pairs)
