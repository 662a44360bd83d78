"""May a new minor version stand where the old one stood?

The rule of minor versions: whatever was valid stays valid, and means what it meant. So 1.1 may add members that may be
absent, codes to an enum, room to a limit; it may not ask for more, forbid what was allowed, re-type, route or re-list a
value otherwise, nor say anew that something is nominal or no longer is. What breaks that is another major version.

The comparison is of structure, keyword by keyword, over bundled schemas; it may refuse what a cleverer one would let
pass, never the reverse: a keyword that it does not know must be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

WIDER_IF_LESS = ("minLength", "minItems", "minProperties", "minimum")
WIDER_IF_MORE = ("maxLength", "maxItems", "maxProperties", "maximum")
IGNORED = frozenset({"$schema", "$id", "$defs", "$comment", "title", "description", "x-title", "x-weight", "examples"})
COMPARED = frozenset(
    {"$ref", "properties", "items", "required", "enum", "allOf", "type", "const", *WIDER_IF_LESS, *WIDER_IF_MORE}
)


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of `old` would break under `new`, in sentences with a pointer; empty if the minor rule holds."""
    return list(_breaks(_Whole(old), _Whole(new), old, new, "", frozenset()))


class _Whole:
    """A bundled schema, to look its parts up in."""

    def __init__(self, root: Schema) -> None:
        self.defs: Schema = root.get("$defs", {})

    def resolved(self, schema: Schema) -> Schema:
        """With what it refers to; its own keywords come first."""
        while "$ref" in schema:
            part = self.defs[str(schema["$ref"]).removeprefix("#/$defs/")]
            schema = {**part, **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema

    def plain(self, value: Any) -> Any:
        """Without references and titles, for a comparison by value."""
        if isinstance(value, Mapping):
            return {key: self.plain(item) for key, item in self.resolved(value).items() if key not in IGNORED}
        return [self.plain(item) for item in value] if isinstance(value, list) else value


def _breaks(
    was: _Whole, now: _Whole, old: Schema, new: Schema, at: str, refs: frozenset[tuple[str, str]]
) -> Iterator[str]:
    pair = (str(old.get("$ref")), str(new.get("$ref")))
    if pair in refs and pair != ("None", "None"):
        return  # a part compared above already
    refs |= {pair}
    old, new = was.resolved(old), now.resolved(new)
    here = at or "/"
    yield from _limits(old, new, here)
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{here}: {name} was not required"
    members: Schema = new.get("properties", {})
    for name, before in old.get("properties", {}).items():
        if name in members:
            yield from _breaks(was, now, before, members[name], f"{at}/{name}", refs)
        else:
            yield f"{here}: {name} is gone"
    if "items" in new and "items" in old:
        yield from _breaks(was, now, old["items"], new["items"], f"{at}/*", refs)
    elif "items" in new:
        yield f"{here}: items were free"
    yield from _conditions(was, now, old, new, here)
    for keyword in sorted((old.keys() | new.keys()) - IGNORED - COMPARED):
        if was.plain(old.get(keyword)) != now.plain(new.get(keyword)):
            yield f"{here}: {keyword} differs"


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
    allowed = [schema.get("enum", [schema["const"]] if "const" in schema else None) for schema in (old, new)]
    if allowed[1] is not None and (allowed[0] is None or any(value not in allowed[1] for value in allowed[0])):
        yield f"{here}: other values were allowed"


def _conditions(was: _Whole, now: _Whole, old: Schema, new: Schema, here: str) -> Iterator[str]:
    """A condition more is a demand more; one less is none."""
    before = [was.plain(one) for one in old.get("allOf", ())]
    for one in new.get("allOf", ()):
        if now.plain(one) not in before:
            yield f"{here}: a condition is new, or another"
