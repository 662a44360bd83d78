"""May a new minor version stand where the old one stood?

The rule of minor versions: whatever was valid stays valid, and means what it meant. So 1.1 may add members that may be
absent, codes to an enum, room to a limit; it may not ask for more, forbid what was allowed, re-type, route or re-list a
value otherwise, nor say anew that something is nominal or no longer is. What breaks that is another major version.

The comparison is of structure, keyword by keyword, over bundled schemas; it may refuse what a cleverer one would let
pass, never the reverse: a keyword that it does not know must be equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from broker.errors import SetupRefused

Schema = Mapping[str, Any]

WIDER_IF_LESS = ("minLength", "minItems", "minProperties", "minimum")
WIDER_IF_MORE = ("maxLength", "maxItems", "maxProperties", "maximum")
IGNORED = frozenset(
    {
        "$schema",
        "$id",
        "$defs",
        "$comment",
        "title",
        "description",
        "x-about",
        "x-title",
        "x-words",
        "x-weight",
        "examples",
    }
)
COMPARED = frozenset(
    {"$ref", "properties", "items", "required", "enum", "allOf", "type", "const", *WIDER_IF_LESS, *WIDER_IF_MORE}
)
BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "dependentRequired"})
"""Keywords whose members are names, not keywords: a member called `title` is no title."""
VALUES = frozenset({"const", "enum", "default"})
"""Keywords that hold a value, not a schema."""
ELSEWHERE = ('"$dynamicRef"', '"$anchor"', '"$dynamicAnchor"')
"""What makes a reference mean something else than the part of its name."""
MAX_DEPTH = 64
"""Subschemas within subschemas; ours have nine."""
PART = "#/$defs/"


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of `old` would break under `new`, in sentences with a pointer; empty if the minor rule holds.

    Raises SetupRefused for a reference that leads in a circle or to no part of its own file.
    """
    texts = [_text({key: value for key, value in schema.items() if key != "$id"}) for schema in (old, new)]
    if texts[0] != texts[1] and any(word in text for text in texts for word in ('"$id"', *ELSEWHERE)):
        return ["/: references that move cannot be compared"]
    return list(_breaks(_Whole(old), _Whole(new), old, new, ""))


class _Whole:
    """A bundled schema, to look its parts up in."""

    def __init__(self, root: Schema) -> None:
        self.defs: Schema = root.get("$defs", {})

    def resolved(self, schema: Schema) -> Schema:
        """With what it refers to. Where both say the same keyword, both hold: the part becomes a condition."""
        reached: set[str] = set()
        while "$ref" in schema:
            reference = str(schema["$ref"])
            part = self.defs.get(reference.removeprefix(PART)) if reference.startswith(PART) else None
            if not isinstance(part, Mapping) or reference in reached:
                raise SetupRefused(detail=f"$ref {reference} leads in a circle or to no part of its file")
            reached.add(reference)
            own = {key: value for key, value in schema.items() if key != "$ref"}
            both = (part.keys() & own.keys()) - IGNORED
            schema = {**own, "allOf": [*own.get("allOf", ()), part]} if both else {**part, **own}
        return schema

    def plain(self, value: Any, depth: int = 0) -> Any:
        """A subschema without references and titles, for a comparison by value."""
        if depth > MAX_DEPTH:
            raise SetupRefused(detail="a schema is nested without end")
        if isinstance(value, list):
            return [self.plain(item, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return value
        made: dict[str, Any] = {}
        for key, item in self.resolved(value).items():
            if key in VALUES:
                made[key] = item
            elif key in BY_NAME and isinstance(item, Mapping):
                made[key] = {name: self.plain(sub, depth + 1) for name, sub in item.items()}
            elif key not in IGNORED:
                made[key] = self.plain(item, depth + 1)
        return made


def _text(value: Any) -> str:
    """One text for one JSON value: `1` and `true` are two, whatever Python says."""
    return json.dumps(value, sort_keys=True)


def _breaks(was: _Whole, now: _Whole, old: Any, new: Any, at: str) -> Iterator[str]:
    here = at or "/"
    if at.count("/") > MAX_DEPTH:
        raise SetupRefused(detail="a schema is nested without end")
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        if _text(was.plain(old)) != _text(now.plain(new)):
            yield f"{here}: differs"
        return
    old, new = was.resolved(old), now.resolved(new)
    yield from _limits(old, new, here)
    yield from _members(was, now, old, new, at)
    if "items" in new and "items" in old:
        yield from _breaks(was, now, old["items"], new["items"], f"{at}/*")
    elif "items" in new or "items" in old:
        yield f"{here}: items were {'free' if 'items' in new else 'not free'}"
    yield from _conditions(was, now, old, new, here)
    for keyword in sorted((old.keys() | new.keys()) - IGNORED - COMPARED):
        before, after = ({keyword: schema[keyword]} if keyword in schema else {} for schema in (old, new))
        if _text(was.plain(before)) != _text(now.plain(after)):
            yield f"{here}: {keyword} differs"


def _members(was: _Whole, now: _Whole, old: Schema, new: Schema, at: str) -> Iterator[str]:
    here = at or "/"
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{here}: {name} was not required"
    members: Schema = new.get("properties", {})
    known: Schema = old.get("properties", {})
    for name, before in known.items():
        if name in members:
            yield from _breaks(was, now, before, members[name], f"{at}/{name}")
        else:
            yield f"{here}: {name} is gone"
    if old.get("additionalProperties") is not False or "patternProperties" in old:
        for name in sorted(members.keys() - known.keys()):
            yield f"{here}: {name} was free"


def _limits(old: Schema, new: Schema, here: str) -> Iterator[str]:
    types = [set([one] if isinstance(one := schema.get("type", []), str) else one) for schema in (old, new)]
    if types[1] and not (types[0] and types[0] <= types[1]):
        yield f"{here}: type was {sorted(types[0]) or 'free'}"
    for keyword in WIDER_IF_LESS:
        if keyword in new and (keyword not in old or new[keyword] > old[keyword]):
            yield f"{here}: {keyword} was {old.get(keyword, 'absent')}"
    for keyword in WIDER_IF_MORE:
        if keyword in new and (keyword not in old or new[keyword] < old[keyword]):
            yield f"{here}: {keyword} was {old.get(keyword, 'absent')}"
    before, after = _allowed(old), _allowed(new)
    if after is not None and (before is None or not before <= after):
        yield f"{here}: other values were allowed"


def _allowed(schema: Schema) -> set[str] | None:
    """The values that enum and const leave, as texts; None if neither is there."""
    said = [{_text(value) for value in schema["enum"]}] if "enum" in schema else []
    said += [{_text(schema["const"])}] if "const" in schema else []
    return set.intersection(*said) if said else None


def _conditions(was: _Whole, now: _Whole, old: Schema, new: Schema, here: str) -> Iterator[str]:
    """A condition more is a demand more; one less is none, unless it said what something means."""
    before, after = (
        [_text(schema.plain(one)) for one in said.get("allOf", ())] for schema, said in ((was, old), (now, new))
    )
    if set(after) - set(before):
        yield f"{here}: a condition is new, or another"
    if any('"x-' in one for one in set(before) - set(after)):
        yield f"{here}: a condition that says what something means is gone"
