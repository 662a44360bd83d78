"""The annotation language of our schemas (docs/schema-language.md), compiled into a plan of places to look at.

A plan is a tree of the annotated places alone, so that reading a message costs what the message holds, not what the
schema allows. Nothing here knows any kind, field or code.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from broker.errors import SetupRefused
from broker.language.identifiers import FORMATS, Format
from broker.language.schema import pointer_of

ROUTES = ("heading", "hs", "country", "mode")
ROLES = ("event-country", "from", "until")
TITLE_LANGUAGES = ("en", "es")
"""Every title has these; `fr` and `pt` are welcome."""
MARKS = ("x-route", "x-codelist", "x-role")
ELSEWHERE = ("x-title", "x-originator")

APPLICATORS = ("allOf", "anyOf", "oneOf")
BRANCHES = ("then", "else")


@dataclass(frozen=True, slots=True)
class Mark:
    """What the schema says about one string."""

    route: str | None = None
    codelist: str | None = None
    format: str | None = None
    role: str | None = None
    form: Format | None = None
    """What `format` names."""


@dataclass(frozen=True, slots=True)
class Place:
    """One node of a plan: a mark for the value itself, and where to go on from here.

    `members` are (name, name as a step of a JSON Pointer, place)."""

    mark: Mark | None
    members: tuple[tuple[str, str, Place], ...]
    items: Place | None


class Seen(NamedTuple):
    """A marked string that a message holds. `holder` is the object or array it stands in."""

    mark: Mark
    value: str
    pointer: str
    holder: Any


def observe(place: Place, value: object, base: str = "") -> list[Seen]:
    """Every marked string of `value`, which has passed its schema, in the order of the plan; pointers below `base`."""
    seen: list[Seen] = []
    _observe(place, value, base, value, seen)
    return seen


def _observe(place: Place, value: object, at: str, holder: object, seen: list[Seen]) -> None:
    if isinstance(value, str):
        if place.mark is not None:
            seen.append(Seen(place.mark, value, at, holder))
    elif isinstance(value, dict):
        for name, step, member in place.members:
            if name in value:
                _observe(member, value[name], at + step, value, seen)
    elif isinstance(value, list) and place.items is not None:
        for index, item in enumerate(value):
            _observe(place.items, item, f"{at}/{index}", value, seen)


# --- compiling ---------------------------------------------------------------------------------------------------


@dataclass
class _Draft:
    marks: dict[str, str] = field(default_factory=dict)
    members: dict[str, _Draft] = field(default_factory=dict)
    items: _Draft | None = None


def compile_plan(name: str, schema: Mapping[str, Any], codelists: Mapping[str, object]) -> Place:
    """Raises SetupRefused for an annotation that is unknown, has an unknown value, or stands where no plan looks."""
    reached: set[int] = set()
    draft = _Draft()
    _gather(name, schema, schema, draft, (), reached)
    for annotated in _annotated(schema):
        _check(name, annotated, codelists)
        if id(annotated) not in reached and any(mark in annotated for mark in MARKS):
            raise SetupRefused(detail=f"{name}: an annotation stands where it is never read: {dict(annotated)}")
    return _place(draft) or Place(None, (), None)


def _gather(
    name: str, root: Mapping[str, Any], schema: Any, draft: _Draft, refs: tuple[str, ...], reached: set[int]
) -> None:
    if not isinstance(schema, Mapping):
        return
    reached.add(id(schema))
    _take_marks(schema, draft)
    if "$ref" in schema:
        ref = str(schema["$ref"])
        if ref in refs or not ref.startswith("#/$defs/"):
            raise SetupRefused(detail=f"{name}: $ref {ref} leads in a circle or out of the file")
        _gather(name, root, root["$defs"][ref.removeprefix("#/$defs/")], draft, (*refs, ref), reached)
    for member, subschema in schema.get("properties", {}).items():
        _gather(name, root, subschema, draft.members.setdefault(member, _Draft()), refs, reached)
    if "items" in schema:
        draft.items = draft.items or _Draft()
        _gather(name, root, schema["items"], draft.items, refs, reached)
    for branch in (*(s for key in APPLICATORS for s in schema.get(key, ())), *(schema.get(key) for key in BRANCHES)):
        _gather(name, root, branch, draft, refs, reached)


def _take_marks(schema: Mapping[str, Any], draft: _Draft) -> None:
    """An annotation on an array is one on each of its items."""
    marks = {mark.removeprefix("x-"): str(schema[mark]) for mark in MARKS if mark in schema}
    if schema.get("format") in FORMATS:
        marks["format"] = str(schema["format"])
    if marks and schema.get("type") == "array":
        draft.items = draft.items or _Draft()
        draft = draft.items
    draft.marks.update(marks)


def _place(draft: _Draft) -> Place | None:
    members = tuple(
        (name, pointer_of([name]), place) for name, d in draft.members.items() if (place := _place(d)) is not None
    )
    items = _place(draft.items) if draft.items is not None else None
    if not (draft.marks or members or items):
        return None
    if not draft.marks:
        return Place(None, members, items)
    return Place(Mark(**draft.marks, form=FORMATS.get(draft.marks.get("format", ""))), members, items)


def _annotated(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        if any(str(key).startswith("x-") for key in schema):
            yield schema
        for value in schema.values():
            yield from _annotated(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _annotated(item)


def _check(name: str, annotated: Mapping[str, Any], codelists: Mapping[str, object]) -> None:
    known: dict[str, Container[object]] = {"x-route": ROUTES, "x-codelist": codelists, "x-role": ROLES}
    for key, value in annotated.items():
        if key.startswith("x-") and key not in (*MARKS, *ELSEWHERE):
            raise SetupRefused(detail=f"{name}: {key} is no annotation that we know")
        if key in known and value not in known[key]:
            raise SetupRefused(detail=f"{name}: {key} may not be {value!r}")
        if key == "x-title" and not (isinstance(value, Mapping) and all(map(value.get, TITLE_LANGUAGES))):
            raise SetupRefused(detail=f"{name}: a title lacks one of {TITLE_LANGUAGES}: {value}")
