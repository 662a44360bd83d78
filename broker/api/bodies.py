"""Reading request bodies: the size first, then the strict parser, then a strict model. FastAPI never parses one."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from broker import strictjson
from broker.errors import Fault, Invalid, Malformed, TooLarge, WrongMediaType

MAX_JSON_BYTES = 1_048_576
MAX_FORM_BYTES = 16_384


class Body(BaseModel):
    """Base of the small request models: no coercion, no unknown members, no echo of input."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


Model = TypeVar("Model", bound=Body)


async def read(request: Request, max_bytes: int) -> bytes:
    """The body. Raises TooLarge from its announced length, or as soon as more than `max_bytes` have come."""
    too_large = TooLarge(Fault("", "too-large", allowed=(str(max_bytes),)))
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


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
        names = {"extra_forbidden": "unknown-member", "missing": "required"}
        faults = (
            Fault(
                "/" + "/".join(map(str, e["loc"])),
                names.get(e["type"], "type"),
                more={"why": e["msg"]},
                allowed=(e["msg"],),
            )
            for e in error.errors(include_url=False, include_input=False)
        )
        raise Invalid(*faults) from None


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
    if len({name for name, _ in pairs}) != len(pairs):
        raise Malformed(Fault("", "form-twice"))
    return dict(pairs)
