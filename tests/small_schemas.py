"""Small schemas, pairs of them, and every value of a small world: what a comparison of schemas is tried with."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import product
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

SMALL = st.sampled_from([0, 1, 2])
NAMES = st.sampled_from(["a", "b", "title"])
WORDS = st.sampled_from([0, 1, True, False, None, "", "a", "ab", [], ["a"], {}, {"a": 1}])
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "integer", "object", "array", "boolean", ["string", "null"], ["integer", "object"]]),
    "enum": st.lists(WORDS, min_size=1, max_size=4, unique_by=lambda value: json.dumps(value)),
    "const": WORDS, "minLength": SMALL, "maxLength": SMALL, "minimum": SMALL, "maximum": SMALL, "minItems": SMALL,
    "maxItems": SMALL, "minProperties": SMALL, "maxProperties": SMALL, "uniqueItems": st.booleans(),
    "pattern": st.sampled_from(["^a", "b$"]), "required": st.lists(NAMES, max_size=2, unique=True),
}  # fmt: skip
REFERENCE = {"$ref": st.sampled_from(["#/$defs/p", "#/$defs/q"])}


def some(optional: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[Schema]:
    """A schema of at most so many of these keywords."""
    names = st.lists(st.sampled_from(sorted(optional)), max_size=most, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: optional[name] for name in chosen}))


FLAT = some(KEYWORDS, 2)
LEAF = some(KEYWORDS | REFERENCE, 2)


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    one_or_two = st.lists(inner, min_size=1, max_size=2)
    nested: dict[str, st.SearchStrategy[Any]] = {
        "properties": st.dictionaries(NAMES, inner, min_size=1, max_size=2), "items": inner, "allOf": one_or_two,
        "anyOf": one_or_two, "additionalProperties": st.just(False) | inner,
        "patternProperties": st.dictionaries(st.just("^a"), inner, min_size=1, max_size=1),
        "if": inner, "then": inner, "else": inner, "not": inner, "contains": inner,
        "dependentSchemas": st.dictionaries(NAMES, inner, min_size=1, max_size=1),
    }  # fmt: skip
    return some(KEYWORDS | REFERENCE | nested | nested, 3)


SCHEMAS = around(around(LEAF) | LEAF)
PARTS = st.fixed_dictionaries({"p": FLAT, "q": FLAT})
ATOMS: list[Any] = [0, 1, 2, 3, True, False, None, "", "a", "b", "ab", "aaa"]
UNIVERSE: list[Any] = [
    *ATOMS, [], *([one] for one in ATOMS), *([one, other] for one, other in product(ATOMS[:9:2], repeat=2)), ["a", "b", "ab"], {},
    *({name: one} for name, one in product(("a", "b", "title", "z", "ab"), ATOMS)),
    *({"a": one, name: other} for name, one, other in product(("b", "title"), ATOMS[::2], ATOMS[1::3])),
    {"a": {"a": 1}}, {"a": {"b": "a"}}, {"a": ["a"]}, {"b": [{"a": 1}]}, {"a": {}, "b": {}, "title": {}},
]  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """A schema, and another that differs from it in a place or two; some changes only add."""
    old: Schema = {**draw(SCHEMAS), "$defs": draw(PARTS)}
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        holder = draw(st.sampled_from(list(subschemas(new))))
        key = draw(st.sampled_from(sorted(holder) or ["type"]))
        value, how = holder.get(key), draw(st.sampled_from(["less", "more", "gone", "another", "member"]))
        if how == "member":
            holder.setdefault("properties", {})[draw(NAMES)] = draw(FLAT)
        elif how in ("less", "more") and type(value) is int:
            holder[key] = max(0, value + (1 if how == "more" else -1))
        elif how == "more" and isinstance(value, list) and key in ("enum", "required"):
            holder[key] = [*value, *(one for one in ("a", "b") if one not in value)]
        elif how == "gone" and key != "$defs":
            holder.pop(key, None)
        elif how == "another":
            holder.update(draw(FLAT))
    return old, new


def subschemas(schema: Schema) -> Iterator[Schema]:
    yield schema
    for key, inner in schema.items():
        if key in ("properties", "patternProperties", "dependentSchemas", "$defs"):
            inner = list(inner.values())
        if key not in ("const", "enum"):
            for one in inner if isinstance(inner, list) else [inner]:
                if isinstance(one, dict):
                    yield from subschemas(one)
