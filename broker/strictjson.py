"""The parser in front of every other: octets to JSON values, or one Malformed.

Refuses what lenient parsers let pass: invalid UTF-8 and a byte-order mark, duplicate members at any depth
(RFC 8259 §4 leaves them open, RFC 7515 §4 forbids them), NaN and Infinity, numbers outside I-JSON
(RFC 7493 §2.2: integers beyond 2**53 - 1, values that overflow), nesting deeper than asked, octets over the limit,
and U+0000, which PostgreSQL cannot keep as text: it would sink a whole transaction for one line.
"""

from __future__ import annotations

import math
from typing import Any

import jiter

from broker.errors import Fault, Malformed, TooLarge, quote

MAX_DEPTH = 32
"""Deepest nesting of arrays and objects; our deepest schema uses nine levels."""

MAX_INTEGER = 2**53 - 1


def parse(octets: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The JSON value in `octets`.

    Raises TooLarge over `max_bytes`, Malformed (rules `json`, `duplicate-member`, `number-range`,
    `nesting`, `nul`) otherwise.
    """
    if len(octets) > max_bytes:
        raise TooLarge(Fault("", "too-large", found=str(len(octets)), allowed=(str(max_bytes),)))
    try:
        value = jiter.from_json(octets, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        text = str(error)
        if text.startswith("Detected duplicate key"):
            raise Malformed(
                Fault("", "duplicate-member", found=quote(text.removeprefix("Detected duplicate key ")))
            ) from None
        if text.startswith("number out of range"):
            raise Malformed(Fault("", "number-range")) from None
        if text.startswith("recursion limit"):
            raise Malformed(Fault("", "nesting", allowed=(str(max_depth),))) from None
        raise Malformed(Fault("", "json", found=quote(text))) from None
    _check(value, max_depth, may_hold_nul=b"\\u0000" in octets)
    return value


def parse_object(octets: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """As `parse`, and the value must be an object (rule `object`)."""
    value = parse(octets, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise Malformed(Fault("", "object"))
    return value


def _check(value: Any, max_depth: int, may_hold_nul: bool) -> None:
    level = [value]
    depth = 0
    while level:
        if depth > max_depth:
            raise Malformed(Fault("", "nesting", allowed=(str(max_depth),)))
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                deeper.extend(item.values())
                if may_hold_nul:
                    deeper.extend(item.keys())
            elif kind is list:
                deeper.extend(item)
            elif (kind is int and not -MAX_INTEGER <= item <= MAX_INTEGER) or (
                kind is float and not math.isfinite(item)
            ):
                raise Malformed(Fault("", "number-range"))
            elif may_hold_nul and kind is str and "\0" in item:
                raise Malformed(Fault("", "nul"))
        level = deeper
        depth += 1
