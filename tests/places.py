"""Where the values of a body stand, and what its schema says of each: a walk of our own over schema and body.

It shares no code with the plans and outlines of broker/language, so that the one can be held against the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

_INLINED: dict[int, tuple[Schema, Schema]] = {}


def inlined(schema: Schema) -> Schema:
    """The bundled schema with every part where it is referred to; its own keywords come before the part's."""
    if id(schema) not in _INLINED:
        _INLINED[id(schema)] = (schema, _inlined(schema, schema.get("$defs", {})))
    return _INLINED[id(schema)][1]


def _inlined(value: Any, parts: Schema) -> Any:
    if isinstance(value, list):
        return [_inlined(item, parts) for item in value]
    if not isinstance(value, Mapping):
        return value
    part = _inlined(parts[value["$ref"].rpartition("/")[2]], parts) if "$ref" in value else {}
    return {**part, **{key: _inlined(item, parts) for key, item in value.items() if key not in ("$ref", "$defs")}}


class Place(NamedTuple):
    """One value in a body: `holder[key]`, with its schema and its holder's (`within`)."""

    pointer: str
    holder: Any
    key: Any
    schema: Schema
    within: Schema

    @property
    def value(self) -> Any:
        return self.holder[self.key]


def places(schema: Schema, value: Any, at: str = "/body") -> Iterator[Place]:
    """Every value below `value`, outer ones first; `schema` is inlined."""
    inner: list[tuple[Any, Schema]] = []
    if isinstance(value, dict):
        inner = [(name, schema["properties"][name]) for name in value if name in schema.get("properties", {})]
    elif isinstance(value, list):
        inner = [(index, schema["items"]) for index in range(len(value))]
    for key, below in inner:
        yield Place(f"{at}/{key}", value, key, below, schema)
        yield from places(below, value[key], f"{at}/{key}")


def absences(schema: Schema, value: Any, at: str = "") -> Iterator[str]:
    """Pointers into the body of members that there might be and are not."""
    if isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            yield from absences(below, value[name], f"{at}/{name}") if name in value else [f"{at}/{name}"]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from absences(schema["items"], item, f"{at}/{index}")
