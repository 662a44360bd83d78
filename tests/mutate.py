"""One mistake at a time, in a message that is valid: what exactly must be answered, and where.

A mutation changes the payload that it is given and returns the pointers at which its rule, and no other, must speak;
or None, where the message has nothing that it could be made with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from broker.language import Language
from tests import generate_values as values
from tests.generate import LANGUAGE, Payload
from tests.places import Place, Schema, inlined, places

CHECKED = {"iso6346": -1, "imo": -1, "awb": -1, "cas": -1, "gtin": -1, "s10": -3, "imei": -1, "lei": -1, "iban": 2}
"""Format with a compulsory check digit -> where the digit stands."""
DOUBTFUL = {"mrn": -1, "vin": 8}
"""A wrong digit here is no proof (domain.md §3)."""
JSON_FORMATS = ("date", "date-time", "uri")


@dataclass
class Draft:
    """A valid payload that may be changed."""

    payload: Payload
    rng: Random
    language: Language = LANGUAGE

    @property
    def header(self) -> Payload:
        found: Payload = self.payload["header"]
        return found

    @cached_property
    def root(self) -> Schema:
        return inlined(self.language.kinds[self.header["kind"], self.header["version"]].schema)

    @cached_property
    def places(self) -> list[Place]:
        """Every value of the body; not the reasons for which a condition is waived."""
        found = places(self.root, self.payload["body"])
        return [place for place in found if place.value not in ("/route", "/period")]

    def all(self, fits: Callable[[Place], Any]) -> list[Place]:
        return [place for place in self.places if fits(place)]

    def one(self, fits: Callable[[Place], Any]) -> Place | None:
        """Any of the places that fit, or None."""
        found = self.all(fits)
        return self.rng.choice(found) if found else None

    def headings(self) -> set[str]:
        return {place.value for place in self.all(lambda p: p.schema.get("x-route") == "heading")}

    def more(self, codelist: str, code: str, column: str) -> tuple[str, ...]:
        row = self.language.codelists[codelist].codes.get(code)
        return row.more.get(column, ()) if row else ()

    def beside(self, place: Place, keyword: str, said: str) -> str | None:
        """The member of the same object of which the schema says so."""
        members = place.within.get("properties", {})
        return next((name for name, sub in members.items() if name in place.holder and sub.get(keyword) == said), None)


Pointers = Collection[str] | None
Mutation = Callable[[Draft], Pointers]
Case = tuple[str, str, Mutation]
"""(rule, its severity, the mistake). The severity `shape`: an error of the header, told before the body is looked at."""


def replaced(fits: Callable[[Place], Any], new: Callable[[Place], Any]) -> Mutation:
    """One value that fits, replaced: the rule answers where it stands."""

    def mutate(draft: Draft) -> Pointers:
        place = draft.one(fits)
        if place is None:
            return None
        place.holder[place.key] = new(place)
        return [place.pointer]

    return mutate


# --- the schema --------------------------------------------------------------------------------------------------


def bare(place: Place) -> bool:
    """A string of which the schema says no more than how long it may be."""
    schema = place.schema
    return schema.get("type") == "string" and "pattern" not in schema and schema.get("format") not in JSON_FORMATS


def demanded(place: Place) -> bool:
    """By `contains`: of the list's first item, or the list itself."""
    return "contains" in place.schema or place.pointer.endswith("/0/side")


def other_type(place: Place) -> Any:
    return {"string": 7, "integer": "7", "object": [], "array": {}, "boolean": "yes"}.get(str(place.schema["type"]), 7)


def drop_required(draft: Draft) -> Pointers:
    def fits(place: Place) -> bool:
        spare = len(place.holder) > place.within.get("minProperties", 0)
        return place.key in place.within.get("required", ()) and spare and not demanded(place)

    place = draft.one(fits)
    if place is None:
        return None
    del place.holder[place.key]
    return [place.pointer]


def add_unknown(draft: Draft) -> Pointers:
    objects = [
        ("/body", draft.payload["body"]),
        *((p.pointer, p.value) for p in draft.all(lambda p: isinstance(p.value, dict))),
    ]
    pointer, holder = draft.rng.choice(objects)
    holder["zz"] = "?"
    return [f"{pointer}/zz"]


def only_declared(draft: Draft) -> Pointers:
    place = draft.one(lambda p: "contains" in p.schema)
    if place is None:
        return None
    for item in place.value:
        item["side"] = "declared"
    return [place.pointer]


# --- identifiers and codes ---------------------------------------------------------------------------------------


def wrong_digit(position: Mapping[str, int], standing: str) -> Mutation:
    """A digit that its standard does not compute, in an identifier that stands as `verified`, `believed-false` ..."""

    def fits(place: Place) -> bool:
        form, said = place.schema.get("format"), "as" in place.within.get("properties", {})
        free = form == "vin" and place.value[0] != "1"  # made where the place of the digit is nobody's
        return form in position and not free and (said or standing == "verified")

    def mutate(draft: Draft) -> Pointers:
        place = draft.one(fits)
        if place is None:
            return None
        at, written = position[place.schema["format"]] % len(place.value), place.value
        place.holder[place.key] = written[:at] + ("1" if written[at] == "0" else "0") + written[at + 1 :]
        if "as" in place.within.get("properties", {}):
            place.holder["as"] = standing
        return [place.pointer]

    return mutate


def no_ship(standing: str) -> Mutation:
    """A station of no country, that stands so."""

    def mutate(draft: Draft) -> Pointers:
        place = draft.one(form("mmsi"))
        if place is None:
            return None
        place.holder[place.key] = draft.rng.choice(["000000000", "200000001", "776000001"])
        place.holder["as"] = standing
        return [place.pointer]

    return mutate


def codelist(policy: str) -> Callable[[Place], bool]:
    return lambda p: (
        "x-codelist" in p.schema
        and "format" not in p.schema
        and LANGUAGE.codelists[p.schema["x-codelist"]].policy == policy
    )


def form(*names: str) -> Callable[[Place], bool]:
    return lambda p: p.schema.get("format") in names


def alone(place: Place) -> bool:
    """A country that nothing in the same object lies in."""
    return form("iso3166-1-alpha-2")(place) and not {"locode", "subdivision", "airport"} & set(place.holder)


def of_whole_chapter(place: Place) -> bool:
    """An HS code of a chapter that no heading takes in part: of tobacco's 4813, any other code of 48 is unlike it."""
    chapters = (code.more.get("chapters", ()) for code in LANGUAGE.codelists["headings"].codes.values())
    return form("hs")(place) and place.value[:2] not in {one[:2] for many in chapters for one in many if len(one) > 2}


def no_such_hs(place: Place) -> str:
    """In the same chapter, so that it fits its heading."""
    codes, chapter = values.hs_codes(()), place.value[:2]
    return next(code for n in range(99, 0, -1) if (code := f"{chapter}{n:02}") not in codes)


def elsewhere(name: str, *others: str) -> Mutation:
    """A place of that format in another country than the one beside it."""

    def mutate(draft: Draft) -> Pointers:
        place = draft.one(lambda p: form(name)(p) and draft.beside(p, "format", "iso3166-1-alpha-2"))
        if place is None:
            return None
        place.holder[place.key] = next(other for other in others if other[:2] != place.value[:2])
        return [place.pointer]

    return mutate


MISTAKES: list[Case] = [
    # the schema
    ("required", "error", drop_required),
    ("unknown-member", "error", add_unknown),
    ("type", "error", replaced(lambda p: "type" in p.schema, other_type)),
    ("too-long", "error", replaced(lambda p: bare(p) and "maxLength" in p.schema, lambda p: "x" * (p.schema["maxLength"] + 1))),
    ("too-short", "error", replaced(lambda p: bare(p) and p.schema.get("minLength"), lambda _: "")),
    ("too-many", "error", replaced(
        lambda p: "maxItems" in p.schema and not p.schema.get("uniqueItems"),
        lambda p: [copy.deepcopy(p.value[0]) for _ in range(p.schema["maxItems"] + 1)])),
    ("too-few", "error", replaced(
        lambda p: p.schema.get("minItems") and not demanded(p) and p.key != "not_given", lambda _: [])),
    ("repeated", "error", replaced(
        lambda p: p.schema.get("uniqueItems"), lambda p: [*p.value, copy.deepcopy(p.value[-1])])),
    ("below-minimum", "error", replaced(lambda p: "minimum" in p.schema, lambda p: p.schema["minimum"] - 1)),
    ("above-maximum", "error", replaced(lambda p: "maximum" in p.schema, lambda p: p.schema["maximum"] + 1)),
    ("enum", "error", replaced(lambda p: "enum" in p.schema and not demanded(p), lambda _: "zz")),
    ("pattern", "error", replaced(lambda p: "pattern" in p.schema and "format" not in p.schema
                                  and isinstance(p.value, str), lambda _: "§")),
    ("date", "error", replaced(form("date"), lambda _: "2026-02-30")),
    ("date-time", "error", replaced(form("date-time"), lambda _: "2026-02-30T00:00:00Z")),
    ("uri", "error", replaced(form("uri"), lambda _: "https://[")),
    ("contains", "error", only_declared),
    # identifiers and codes
    ("unknown-code", "error", replaced(codelist("error"), lambda _: "zz-none")),
    ("unknown-code", "warning", replaced(codelist("warning"), lambda _: "zz-none")),
    ("unknown-code", "warning", replaced(form("locode"), lambda p: f"{p.value[:2]}ZZZ")),
    ("check-digit", "error", wrong_digit(CHECKED, "verified")),
    ("check-digit", "warning", wrong_digit(CHECKED, "believed-false")),
    ("check-digit", "warning", wrong_digit(DOUBTFUL, "found")),
    ("unknown-mid", "error", no_ship("found")),
    ("unknown-mid", "warning", no_ship("believed-false")),
    ("identifier-form", "error", replaced(
        lambda p: p.schema.get("format") in {*values.FORMATS, "hs"} - {*JSON_FORMATS, "iso3166-1-alpha-2"},
        lambda p: "?" * p.schema.get("minLength", 1))),
    ("unknown-country", "error", replaced(alone, lambda _: "XX")),
    ("unknown-currency", "error", replaced(form("iso4217"), lambda _: "ZZZ")),
    ("unknown-subdivision", "error", replaced(form("iso3166-2"), lambda p: f"{p.value[:2]}-ZZZ")),
    ("unknown-hs", "warning", replaced(of_whole_chapter, no_such_hs)),
]  # fmt: skip


def made(mutation: Mutation, candidates: Iterator[Draft]) -> tuple[Draft, set[str]]:
    """The first of the candidates that the mutation could be made with."""
    for draft in candidates:
        pointers = mutation(draft)
        if pointers is not None:
            return draft, set(pointers)
    raise AssertionError("no message could be changed so")
