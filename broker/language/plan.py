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
ROLES = (
    "event-country", "from", "until", "valid-until", "deadline", "leg", "leg-day", "linked", "quantity", "part",
    "whole", "taxon", "appendix", "form", "quoted", "quoted-tlp", "quoted-handling", "consent", "not-given",
    "gap-reason",
)  # fmt: skip
TITLE_LANGUAGES = ("en", "es")
"""Every title has these; `fr` and `pt` are welcome."""
MARKS = ("x-route", "x-codelist", "x-role", "x-heading")
"""Read with every message. The others are read where they are needed: see `outline`."""
OUTLINED = ("x-weight", "x-nominal")
ROOT = ("x-about", "x-originator", "x-requires", "x-scored")
CHOICES = ("anyOf", "oneOf")
BRANCHES = ("then", "else")


@dataclass(frozen=True, slots=True)
class Mark:
    """What the schema says about one string; `heading`: about one object, which belongs to goods of that heading."""

    route: str | None = None
    codelist: str | None = None
    format: str | None = None
    role: str | None = None
    heading: str | None = None
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
    """A marked string (an integer as its digits) that a message holds. `holder` is the object or array it stands in."""

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
    if isinstance(value, dict):
        if place.mark is not None and place.mark.heading is not None:
            seen.append(Seen(place.mark, place.mark.heading, at, holder))
        for name, step, member in place.members:
            if name in value:
                _observe(member, value[name], at + step, value, seen)
    elif isinstance(value, list):
        if place.items is not None:
            for index, item in enumerate(value):
                _observe(place.items, item, f"{at}/{index}", value, seen)
    elif place.mark is not None and value is not None:
        seen.append(Seen(place.mark, value if isinstance(value, str) else _digits(value), at, holder))


def _digits(number: object) -> str:
    """JSON Schema 2020-12 §6.1.1: 1.0 is an integer, and the same one as 1."""
    return str(int(number) if isinstance(number, float) and number.is_integer() else number)


# --- compiling ---------------------------------------------------------------------------------------------------


@dataclass
class Draft:
    """One place of a schema with all that is said about it, in whatever branch."""

    marks: dict[str, str] = field(default_factory=dict)
    weight: int = 0
    nominal: bool = False
    coded: bool = False
    """One of a few values that everybody may see: a code of a closed list, a word of an enum, a country, a date."""
    required: set[str] = field(default_factory=set)
    """In whatever case."""
    wanted: dict[str, object] = field(default_factory=dict)
    """What an item must say for `contains` of this list to hold."""
    members: dict[str, Draft] = field(default_factory=dict)
    items: Draft | None = None


CODED_FORMATS = (
    "date", "date-time", "iso3166-1-alpha-2", "iso3166-2", "iso4217", "locode", "iata-airport", "icao-airport", "hs",
    "un-number",
)  # fmt: skip


def draft_of(name: str, schema: Mapping[str, Any], codelists: Mapping[str, object]) -> Draft:
    """The schema as a tree of places.

    Raises SetupRefused for an annotation that is unknown, has an unknown value, or stands where no plan looks.
    """
    reached: set[int] = set()
    draft = Draft()
    closed = {name for name, codelist in codelists.items() if getattr(codelist, "policy", "") == "error"}
    _gather(name, schema, schema, draft, (), reached, closed)
    for annotated in _annotated(schema):
        _check(name, annotated, codelists, top=annotated is schema)
        if id(annotated) not in reached and any(mark in annotated for mark in (*MARKS, *OUTLINED)):
            raise SetupRefused(detail=f"{name}: an annotation stands where it is never read: {dict(annotated)}")
    return draft


def compile_plan(draft: Draft) -> Place:
    """The marked places alone."""
    return _place(draft) or Place(None, (), None)


def fields(draft: Draft, at: str = "") -> Iterator[str]:
    """Every member that the schema knows, as a pointer with `*` for any index."""
    for name, member in draft.members.items():
        here = at + pointer_of([name])
        yield here
        yield from fields(member, here)
    if draft.items is not None:
        yield from fields(draft.items, at + "/*")


def blocks(draft: Draft, at: str = "") -> Iterator[tuple[str, str]]:
    """(heading, pointer with `*` for any index) of what only goods of one heading have."""
    if "heading" in draft.marks:
        yield draft.marks["heading"], at
    for name, member in draft.members.items():
        yield from blocks(member, at + pointer_of([name]))
    if draft.items is not None:
        yield from blocks(draft.items, at + "/*")


def _gather(
    name: str, root: Mapping[str, Any], schema: Any, draft: Draft, refs: tuple[str, ...], reached: set[int],
    closed: Container[str] | None,
) -> None:  # fmt: skip
    """`closed`: the code lists that hold every value there may be; None where a schema holds under a condition alone."""
    if not isinstance(schema, Mapping):
        return
    reached.add(id(schema))
    _take_marks(schema, draft, closed)
    if "$ref" in schema:
        ref = str(schema["$ref"])
        if ref in refs or not ref.startswith("#/$defs/"):
            raise SetupRefused(detail=f"{name}: $ref {ref} leads in a circle or out of the file")
        part = root["$defs"][ref.removeprefix("#/$defs/")]
        _gather(name, root, part, draft, (*refs, ref), reached, closed)
    for member, subschema in schema.get("properties", {}).items():
        _gather(name, root, subschema, draft.members.setdefault(member, Draft()), refs, reached, closed)
    if "items" in schema:
        draft.items = draft.items or Draft()
        _gather(name, root, schema["items"], draft.items, refs, reached, closed)
    for whole in schema.get("allOf", ()):
        _gather(name, root, whole, draft, refs, reached, closed)
    for branch in (*(s for key in CHOICES for s in schema.get(key, ())), *(schema.get(key) for key in BRANCHES)):
        _gather(name, root, branch, draft, refs, reached, None)


def _take_marks(schema: Mapping[str, Any], draft: Draft, closed: Container[str] | None) -> None:
    """An annotation on an array is one on each of its items; a weight, or that it is nominal, is about the whole."""
    draft.weight = max(draft.weight, int(schema.get("x-weight", 0)))
    draft.nominal = draft.nominal or schema.get("x-nominal") is True
    if closed is not None:
        listed = schema.get("x-codelist") in closed or schema.get("format") in CODED_FORMATS
        draft.coded = draft.coded or "enum" in schema or listed
    draft.required.update(schema.get("required", ()))
    draft.wanted.update(_said_by_an_item(schema.get("contains")))
    marks = {mark.removeprefix("x-"): str(schema[mark]) for mark in MARKS if mark in schema}
    if schema.get("format") in FORMATS:
        marks["format"] = str(schema["format"])
    if marks and schema.get("type") == "array":
        draft.items = draft.items or Draft()
        draft = draft.items
    draft.marks.update(marks)


def _said_by_an_item(contained: Any) -> Iterator[tuple[str, object]]:
    members: Mapping[str, Any] = contained.get("properties", {}) if isinstance(contained, Mapping) else {}
    for name, said in members.items():
        if isinstance(said, Mapping) and "const" in said:
            yield name, said["const"]


def _place(draft: Draft) -> Place | None:
    members = tuple(
        (name, pointer_of([name]), place) for name, d in draft.members.items() if (place := _place(d)) is not None
    )
    items = _place(draft.items) if draft.items is not None else None
    if not (draft.marks or members or items):
        return None
    return Place(mark_of(draft), members, items)


def mark_of(draft: Draft) -> Mark | None:
    return Mark(**draft.marks, form=FORMATS.get(draft.marks.get("format", ""))) if draft.marks else None


def _annotated(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        if any(str(key).startswith("x-") for key in schema):
            yield schema
        for value in schema.values():
            yield from _annotated(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _annotated(item)


def _check(name: str, annotated: Mapping[str, Any], codelists: Mapping[str, object], *, top: bool) -> None:
    headings = getattr(codelists.get("headings"), "codes", ())
    known: dict[str, Container[object]] = {
        "x-route": ROUTES, "x-codelist": codelists, "x-role": ROLES, "x-heading": headings, "x-weight": range(1, 11),
        "x-nominal": (True,),
    }  # fmt: skip
    for key, value in annotated.items():
        if key.startswith("x-") and key not in (*MARKS, *OUTLINED, "x-title", "x-words", *(ROOT if top else ())):
            raise SetupRefused(detail=f"{name}: {key} is no annotation that we know here")
        if key in known and value not in known[key]:
            raise SetupRefused(detail=f"{name}: {key} may not be {value!r}")
        if key in ("x-title", "x-about"):
            _check_titles(name, value)
        if key == "x-words":
            words = value if isinstance(value, Mapping) else {}
            if not words or not words.keys() <= set(map(str, annotated.get("enum", ()))):
                raise SetupRefused(detail=f"{name}: x-words names words of the enum beside it, not {value!r}")
            for titles in words.values():
                _check_titles(name, titles)


def _check_titles(name: str, titles: object) -> None:
    if not (isinstance(titles, Mapping) and all(map(titles.get, TITLE_LANGUAGES))):
        raise SetupRefused(detail=f"{name}: a title lacks one of {TITLE_LANGUAGES}: {titles}")
