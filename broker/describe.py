"""A schema in words: each field with what it must be, and what holds only under some condition.

For the terminal (`tidewaiter schema show`) and for the reference in the documentation, in English and Spanish. Every
sentence is made from the schema, so that none can fall behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from broker import titles
from broker.titles import Schema, mapping
from broker.words import Said


class Notation(NamedTuple):
    """How a rule is written down: `code` for what stands in a message, `refer` for where more is told.

    `refer(what, name)`: `what` is "part", "codelist", "identifier" or "page".
    """

    code: Callable[[str], str]
    refer: Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Field:
    """One member. `path` as people write it, `goods[].hs`; `pointer` below the object described, `/goods/*/hs`.

    `schema`: what it refers to is in it. `part`: the shared part that it is, or each of it is.
    """

    path: str
    pointer: str
    schema: Schema
    needed: bool
    part: str


def fields(root: Schema, schema: Schema, path: str = "", pointer: str = "", *, enter: bool = False) -> Iterator[Field]:
    """The members of an object and of what is written inside it; a shared part is named, and entered only if asked."""
    needed = schema.get("required", ())
    for name, subschema in mapping(schema.get("properties")).items():
        whole = titles.resolved(root, subschema)
        items = whole.get("items")
        part = titles.part_of(items) or titles.part_of(subschema)
        here, at = (f"{path}.{name}" if path else name), f"{pointer}/{name}"
        yield Field(here, at, whole, name in needed, "" if enter or simple(root, whole) else part)
        if simple(root, whole) or (part and not enter):
            continue
        if items is None:
            yield from fields(root, whole, here, at, enter=enter)
        else:
            yield from fields(root, titles.resolved(root, items), f"{here}[]", f"{at}/*", enter=enter)


def header(envelope: Schema) -> Iterator[Field]:
    """The members of the header, all the way down; pointers begin with `/header`."""
    return fields(envelope, mapping(envelope["properties"]["header"]), pointer="/header", enter=True)


def parts(root: Schema, schema: Schema) -> list[str]:
    """Every shared part with members of its own that a schema reaches, in the order of reading."""
    reached: dict[str, None] = {}
    ahead = [schema]
    while ahead:
        for field in fields(root, ahead.pop(0)):
            if field.part and field.part not in reached:
                reached[field.part] = None
                ahead.append(members_of(root, field.part))
    return list(reached)


def members_of(root: Schema, part: str) -> Schema:
    """The object that a shared part is, or each item of it."""
    found = titles.mapping(titles.mapping(root.get("$defs")).get(part))
    return titles.resolved(root, found.get("items", found))


def simple(root: Schema, schema: Schema) -> bool:
    """Said in one line: it has no members of its own, or is an identifier with its standing."""
    found = titles.resolved(root, schema.get("items", schema))
    return "properties" not in found or is_identifier(found)


def is_identifier(schema: Schema) -> bool:
    """`{"value", "as"}`: an identifier, and whether it is as found, verified or believed false."""
    return mapping(schema.get("properties")).keys() == {"value", "as"}


# ── what a field must be ──

SAY = {
    "one-of": Said("one of {0}", "uno de {0}"),
    "always": Said("always {0}", "siempre {0}"),
    "code": Said("a code of {0}", "un código de {0}"),
    "identifier": Said("{0}", "{0}"),
    "date": Said("a date, {0}", "una fecha, {0}"),
    "date-time": Said("date and time with offset, {0}", "fecha y hora con desfase, {0}"),
    "uri": Said("a web address", "una dirección web"),
    "text": Said("text, {0} to {1} characters", "texto, de {0} a {1} caracteres"),
    "pattern": Said("text of the form {0}", "texto de la forma {0}"),
    "number": Said("a whole number, {0} to {1}", "un número entero, de {0} a {1}"),
    "boolean": Said("{0} or {1}", "{0} o {1}"),
    "object": Said("an object", "un objeto"),
    "some": Said("an object with at least one member", "un objeto con al menos un miembro"),
    "with": Said("an object with {0}", "un objeto con {0}"),
    "part": Said("an object: {0}", "un objeto: {0}"),
    "standing": Said("{0}, in {1} with its standing", "{0}, en {1} con su situación"),
    "list": Said("a list of {0} to {1}{2}; each {3}", "una lista de {0} a {1}{2}; cada uno, {3}"),
    "different": Said(", all different", ", todos distintos"),
    "null": Said("{0}, or {1}", "{0}, o {1}"),
    "anything": Said("any value", "cualquier valor"),
    "among": Said("among them one whose {0}", "entre ellos uno cuyo {0}"),
    "routes": Said("routed by: {0}", "sirve para distribuir: {0}"),
    "counts": Said("counts {0} toward completeness", "cuenta {0} para la integridad"),
    "nominal": Said(
        "personal data: left out of what is shared widely",
        "datos personales: se omiten en lo que se difunde ampliamente",
    ),
    "heading": Said("only with goods of the heading {0}", "solo con mercancías del rubro {0}"),
    "is": Said("{0} is {1}", "{0} es {1}"),
    "or": Said(" or ", " o "),
    "and": Said(" and ", " y "),
    "given": Said("{0} is given", "{0} se da"),
    "has": Said("{0} has an entry whose {1}", "{0} tiene un elemento cuyo {1}"),
    "if": Said("If {0}: {1}.", "Si {0}: {1}."),
    "unless": Said("{0}, unless {1}", "{0}, salvo si {1}"),
    "needed": Said("{0} is needed", "se necesita {0}"),
    "each": Said("in each of {0}, {1}", "en cada uno de {0}, {1}"),
    "for": Said("if {0}, {1}", "si {0}, {1}"),
    "limited": Said("{0} is {1}", "{0} es {1}"),
}


_ADDRESS = Said("address of a message, originator:id", "dirección de un mensaje, remitente:id")
PATTERNS: Mapping[object, Said] = {
    r"^(hub|[A-Z][A-Z0-9-]{0,31}):[A-Za-z0-9._-]{1,64}$": _ADDRESS,
    r"^(hub|[A-Z][A-Z0-9-]{0,31})$": Said("id of a member", "id de un miembro"),
    r"^[A-Z][A-Z0-9-]{0,31}$": Said("id of a member", "id de un miembro"),
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": Said("name of a group or operation", "nombre de un grupo u operación"),
    r"^[0-9]{1,12}(\.[0-9]{1,6})?$": Said(
        "a decimal in quotes, up to 12 digits and 6 decimals",
        "un decimal entre comillas, hasta 12 cifras y 6 decimales",
    ),
    r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)$": Said(
        "a percentage in quotes, 0 to 100", "un porcentaje entre comillas, de 0 a 100"
    ),
    r"^-?([0-8]?[0-9](\.[0-9]{1,15})?|90(\.0{1,15})?)$": Said(
        "degrees in quotes, -90 to 90", "grados entre comillas, de -90 a 90"
    ),
    r"^-?((1[0-7]|[0-9])?[0-9](\.[0-9]{1,15})?|180(\.0{1,15})?)$": Said(
        "degrees in quotes, -180 to 180", "grados entre comillas, de -180 a 180"
    ),
    r"^[A-Za-z0-9_-]{43}$": Said(
        "SHA-256, base64url without padding: 43 characters", "SHA-256, base64url sin relleno: 43 caracteres"
    ),
    r"^(/[a-z_]{1,40}|/(0|[1-9][0-9]{0,2})){1,12}$": Said("JSON Pointer into the body", "puntero JSON en el cuerpo"),
    r"^(/[A-Za-z0-9_-]{1,40}){0,12}$": Said("JSON Pointer into the payload", "puntero JSON en la carga"),
}
"""Patterns that have a name. Any other is shown as it is."""


class Teller:
    """Says things about one schema in one language and notation."""

    def __init__(self, root: Schema, language: str, notation: Notation) -> None:
        self.root, self.language, self.notation = root, language, notation

    def say(self, key: str, *gaps: object) -> str:
        return SAY[key].in_(self.language).format(*gaps)

    def rule(self, field: Field) -> str:
        """What the field must be, and what else is true of it."""
        said = [self.shape(field.schema, field.part)]
        if "contains" in field.schema:
            said.append(self.say("among", self._condition(mapping(field.schema["contains"]))))
        for key, mark in (("routes", "x-route"), ("counts", "x-weight"), ("heading", "x-heading")):
            marked = field.schema if mark in field.schema else mapping(field.schema.get("items"))
            if mark in marked:
                value = str(marked[mark])
                said.append(self.say(key, self.notation.code(value) if key == "heading" else value))
        if field.schema.get("x-nominal") is True:
            said.append(self.say("nominal"))
        return "; ".join(said)

    def shape(self, schema: Schema, part: str = "") -> str:
        """What one value must be."""
        kind = schema.get("type")
        if isinstance(kind, list) and "null" in kind:
            left = [one for one in kind if one != "null"]
            inner = {**schema, "type": left[0] if len(left) == 1 else left}
            return self.say("null", self.shape(inner, part), self.notation.code("null"))
        if kind == "array":
            return self._list(schema, part)
        if isinstance(kind, list):
            return self.say("or").join(self.shape({**schema, "type": one}, part) for one in kind)
        if part:
            return self.say("part", self.notation.refer("part", part))
        if is_identifier(schema):
            value = titles.resolved(self.root, schema["properties"]["value"])
            return self.say("standing", self._value(value), self.notation.code('{"value", "as"}'))
        return self._value(schema)

    def _list(self, schema: Schema, part: str) -> str:
        each = self.shape(titles.resolved(self.root, schema.get("items")), part)
        different = self.say("different") if schema.get("uniqueItems") else ""
        return self.say("list", schema.get("minItems", 0), schema.get("maxItems", "∞"), different, each)

    def _value(self, schema: Schema) -> str:
        code = self.notation.code
        form = str(schema.get("format", ""))
        if "const" in schema:
            return self.say("always", code(_json(schema["const"])))
        if "enum" in schema:
            return self.say("one-of", self._words(schema))
        if "x-codelist" in schema:
            return self.say("code", self.notation.refer("codelist", str(schema["x-codelist"])))
        if form in ("date", "date-time", "uri"):
            example = {"date": "2026-11-19", "date-time": "2026-11-19T22:10:00-03:00"}.get(form, "")
            return self.say(form, code(example))
        if form:
            return self.say("identifier", self.notation.refer("identifier", form))
        if schema.get("pattern") in PATTERNS:
            return PATTERNS[schema["pattern"]].in_(self.language)
        if "pattern" in schema:
            return self.say("pattern", code(str(schema["pattern"])))
        kind = schema.get("type")
        if kind == "boolean":
            return self.say("boolean", code("true"), code("false"))
        if kind == "integer":
            return self.say("number", schema.get("minimum", "−∞"), schema.get("maximum", "∞"))
        if kind == "string":
            return self.say("text", schema.get("minLength", 0), schema.get("maxLength", "∞"))
        if kind == "object" and schema.get("required"):
            return self.say("with", self._all([code(name) for name in schema["required"]]))
        if kind == "object":
            return self.say("some" if schema.get("minProperties") else "object")
        return self.say("anything")

    def _all(self, names: list[str]) -> str:
        return self.say("and").join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

    def _words(self, schema: Schema) -> str:
        said = []
        for value in schema["enum"]:
            title = titles.value(schema, value, self.language) if isinstance(value, str) else None
            shown = self.notation.code(_json(value))
            said.append(f"{shown} ({title})" if title and title != value else shown)
        return ", ".join(said)

    # ── what holds under a condition ──

    def conditions(self, schema: Schema) -> Iterator[str]:
        """A sentence for each branch of `allOf`."""
        for branch in schema.get("allOf", ()):
            then = "; ".join(self._demands(mapping(branch.get("then", branch)), ""))
            if "if" in branch:
                yield self.say("if", self._condition(mapping(branch["if"])), then)
            elif then:
                yield f"{then[0].upper()}{then[1:]}."

    def _condition(self, schema: Schema) -> str:
        said: list[str] = []
        properties = mapping(schema.get("properties"))
        for name, value in properties.items():
            said += self._test(name, mapping(value))
        said += [self.say("given", self.notation.code(n)) for n in schema.get("required", ()) if n not in properties]
        whole = self.say("and").join(said)
        if "not" in schema:
            return self.say("unless", whole, self._condition(mapping(schema["not"])))
        return whole

    def _test(self, name: str, schema: Schema) -> Iterator[str]:
        code = self.notation.code
        if "const" in schema or "enum" in schema:
            values = [code(_json(value)) for value in schema.get("enum", [schema.get("const")])]
            yield self.say("is", code(name), self.say("or").join(values))
        elif "contains" in schema:
            yield self.say("has", code(name), self._condition(mapping(schema["contains"])))
        else:
            yield self.say("given", code(name))

    def _demands(self, schema: Schema, path: str) -> Iterator[str]:
        code = self.notation.code
        names = [code(f"{path}{name}") for name in schema.get("required", ())]
        if names:
            yield self.say("needed", self._all(names))
        if "if" in schema:
            then = "; ".join(self._demands(mapping(schema.get("then")), path))
            yield self.say("for", self._condition(mapping(schema["if"])), then)
        for name, value in mapping(schema.get("properties")).items():
            inner = mapping(value)
            if "items" in inner:
                within = "; ".join(self._demands(mapping(inner["items"]), ""))
                yield self.say("each", code(f"{path}{name}"), within)
            elif "enum" in inner or "const" in inner:
                yield self.say("limited", code(f"{path}{name}"), self._value(inner))
            else:
                yield from self._demands(inner, f"{path}{name}.")


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
