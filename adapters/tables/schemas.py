"""What the schemas say about a place in a message: which members it may have.

Only the files are read (`broker.schemafiles`), without the hub's libraries. A kind or version that this installation
does not know is not checked here: the hub knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from broker import schemafiles

Schema = Mapping[str, Any]
BRANCHES = ("allOf", "anyOf", "oneOf")
ENVELOPE = "envelope/1.0.json"
ITEMS = ("0",)
SINGLE = ("string", "integer", "number", "boolean")


@cache
def body_schema(kind: str, version: str) -> Schema | None:
    return schemafiles.load(schemafiles.folder()).get((kind, version))


@cache
def envelope() -> Schema:
    return schemafiles.read_json(schemafiles.folder() / ENVELOPE)


def members_at(schema: Schema, steps: Sequence[str]) -> tuple[str, ...] | None:
    """The members that the object at `steps` may have (digits are any item); empty: anything, or nothing is known.

    ITEMS for an array. None if `steps` lead to nothing that the schema knows, or to a single value.
    """
    places = list(_same_place(schema, schema))
    for step in steps:
        below = [_next(schema, place, step) for place in places]
        places = [same for one in below if one is not None for same in _same_place(schema, one)]
        if not places:
            return None
    if any("items" in place for place in places):
        return ITEMS
    if any(place.get("type") in SINGLE or "enum" in place or "const" in place for place in places):
        return None
    found: dict[str, None] = {}
    for place in places:
        found.update(dict.fromkeys(place.get("properties", {})))
    return tuple(found)


def _next(root: Schema, place: Schema, step: str) -> Schema | None:
    if step.isdigit() and "items" in place:
        items: Schema = place["items"]
        return items
    below: Schema | None = place.get("properties", {}).get(step)
    return below


def _same_place(root: Schema, schema: Schema) -> Iterator[Schema]:
    """`schema` and everything that says more about the same value: references and branches."""
    yield schema
    if "$ref" in schema:
        yield from _same_place(root, root["$defs"][str(schema["$ref"]).removeprefix(schemafiles.LOCAL)])
    for key in BRANCHES:
        for branch in schema.get(key, ()):
            yield from _same_place(root, branch)
    for key in ("then", "else"):
        if key in schema:
            yield from _same_place(root, schema[key])
