"""One compiled JSON Schema (2020-12), and its complaints as Faults.

Compiled once, offline, with every format known (libraries.md §2). Identifier formats are taken out before compiling:
they are checked in the next step, by `identifiers`, where the answer can say which digit was expected.
No foreign error leaves this module: what jsonschema-rs cannot even look at is the fault `not-json`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs

from broker.errors import Fault, SetupRefused, quote
from broker.language.identifiers import FORMATS

FAULTS_MAX = 256
"""More faults than this in one message are not listed: an answer must not outgrow the question."""
VALUES_MAX = 8_000
"""Of what holds more values than this (our kinds, with all lists full, hold fewer), the first fault alone is told: the
library collects every fault before it gives one, and a hundred thousand of them, three octets each, take it seconds."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Validator = jsonschema_rs.Draft202012Validator


def compile_schema(name: str, schema: Mapping[str, Any]) -> Validator:
    """Raises SetupRefused if `schema` is no valid schema, is written in another dialect (which would be fetched from
    wherever it says), refers to another file, or names an unknown format."""
    for dialect in _dialects(schema):
        if dialect != DIALECT:
            raise SetupRefused(detail=f"{name}: $schema {dialect} is not {DIALECT}")
    try:
        jsonschema_rs.meta.validate(dict(schema))
        return Validator(
            without_identifier_formats(schema),
            validate_formats=True,
            ignore_unknown_formats=False,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SetupRefused(detail=f"{name}: {error}") from error


def _dialects(schema: Any) -> Iterator[str]:
    """Every `$schema` that a schema names, at whatever depth."""
    for key, value in schema.items() if isinstance(schema, Mapping) else enumerate(schema):
        if key == "$schema" and isinstance(value, str):
            yield value
        elif isinstance(value, Mapping | list):
            yield from _dialects(value)


def without_identifier_formats(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {
            key: without_identifier_formats(value)
            for key, value in schema.items()
            if not (key == "format" and isinstance(value, str) and value in FORMATS)
        }
    if isinstance(schema, list):
        return [without_identifier_formats(item) for item in schema]
    return schema


def schema_faults(validator: Validator, schema: Mapping[str, Any], value: object, base: str = "") -> tuple[Fault, ...]:
    """Every fault of `value`, pointers below `base`; empty if it is valid."""
    try:
        if validator.is_valid(value):
            return ()
        many = _holds_more(value, VALUES_MAX)
        errors = _first(validator, value) if many else validator.iter_errors(value)
        listed = list(islice(_faults(errors, schema, base), FAULTS_MAX + 1))
    except (ValueError, RecursionError):
        # lone surrogates, keys that are no strings, bottomless nesting: strictjson refuses all of them earlier
        return (Fault(base, "not-json"),)
    faults = tuple(_without_echoes(listed[:FAULTS_MAX]))
    return (*faults, Fault(base, "more-faults")) if many or len(listed) > FAULTS_MAX else faults


def first_of(faults: Sequence[Fault], base: str) -> tuple[Fault, ...]:
    """No more of them than are listed, and that there are more."""
    more = (Fault(base, "more-faults"),) if len(faults) > FAULTS_MAX else ()
    return (*faults[:FAULTS_MAX], *more)


def _holds_more(value: object, most: int) -> bool:
    """Whether there are more than `most` values below `value`, without counting on."""
    ahead: list[Any] = [value]
    while ahead:
        one = ahead.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        most -= len(inner)
        if most < 0:
            return True
        ahead.extend(inner)
    return False


def _first(validator: Validator, value: object) -> Iterator[jsonschema_rs.ValidationError]:
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        yield error


def pointer_of(path: Iterable[object], base: str = "") -> str:
    """RFC 6901 §3 and §4."""
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _faults(errors: Iterable[jsonschema_rs.ValidationError], schema: Mapping[str, Any], base: str) -> Iterator[Fault]:
    for error in errors:
        told = TOLD.get(error.kind.name, _told_otherwise)
        yield from told(error, schema, pointer_of(error.instance_path, base))


def _without_echoes(faults: Sequence[Fault]) -> Iterator[Fault]:
    """A date-time that also misses its pattern is one fault; a rule reached by two branches too."""
    formats = {f.pointer for f in faults if f.rule in FORMAT_RULES}
    told: set[tuple[str, str, tuple[str, ...]]] = set()
    for fault in faults:
        key = (fault.pointer, fault.rule, fault.allowed)
        if key in told or (fault.rule == "pattern" and fault.pointer in formats):
            continue
        told.add(key)
        yield fault


# --- one teller per keyword --------------------------------------------------------------------------------------

Teller = Callable[[jsonschema_rs.ValidationError, Mapping[str, Any], str], Iterator[Fault]]
FORMAT_RULES = ("date-time", "date", "uri")


def _detail(error: jsonschema_rs.ValidationError) -> Any:
    """Its members depend on the keyword, which the stubs of jsonschema-rs do not say."""
    return error.kind


def _required(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    yield Fault(pointer_of([_detail(error).property], at), "required")


def _unknown_members(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    known = tuple(_subschema(schema, error.schema_path[:-1]).get("properties", ()))
    for name in _detail(error).unexpected:
        yield Fault(pointer_of([name], at), "unknown-member", quote(name), known)


def _type(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    yield Fault(at, "type", json_type(error.instance), tuple(_detail(error).types))


def _enum(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    yield Fault(at, "enum", quote(error.instance), tuple(str(option) for option in _detail(error).options))


def _constant(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    yield Fault(at, "enum", quote(error.instance), (str(error.kind.value),))


def _pattern(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    yield Fault(at, "pattern", quote(error.instance), more={"pattern": str(error.kind.value)})


def _format(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    name = str(error.kind.value)
    rule = name if name in FORMAT_RULES else "format"
    yield Fault(at, rule, quote(error.instance), more={"format": name})


def _limit(rule: str) -> Teller:
    def told(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
        value = error.instance
        found = str(len(value)) if isinstance(value, str | list | dict) else quote(value)
        yield Fault(at, rule, found, more={"limit": str(error.kind.value)})

    return told


def _bare(rule: str) -> Teller:
    def told(_error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
        yield Fault(at, rule)

    return told


def _told_otherwise(error: jsonschema_rs.ValidationError, _schema: Mapping[str, Any], at: str) -> Iterator[Fault]:
    yield Fault(at, "schema", more={"keyword": error.kind.name})


TOLD: Mapping[str, Teller] = {
    "required": _required,
    "additionalProperties": _unknown_members,
    "type": _type,
    "enum": _enum,
    "const": _constant,
    "pattern": _pattern,
    "format": _format,
    "minLength": _limit("too-short"),
    "maxLength": _limit("too-long"),
    "minItems": _limit("too-few"),
    "maxItems": _limit("too-many"),
    "minProperties": _limit("too-few"),
    "maxProperties": _limit("too-many"),
    "minimum": _limit("below-minimum"),
    "maximum": _limit("above-maximum"),
    "uniqueItems": _bare("repeated"),
    "contains": _bare("contains"),
}


def json_type(value: object) -> str:
    """What JSON calls the type of `value`."""
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (dict, "object"),
                       (list, "array")):  # fmt: skip
        if isinstance(value, kind):
            return name
    return "null" if value is None else type(value).__name__


def _subschema(schema: Any, path: Iterable[str | int]) -> Mapping[str, Any]:
    """The part of `schema` that `path` leads to, through local references; empty if it leads nowhere."""
    root, here = schema, schema
    for part in path:
        while isinstance(here, Mapping) and "$ref" in here and part not in here:
            here = root["$defs"].get(str(here["$ref"]).removeprefix("#/$defs/"), {})
        if part == "$ref":
            here = root["$defs"].get(str(here["$ref"]).removeprefix("#/$defs/"), {})
            continue
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return {}
    return here if isinstance(here, Mapping) else {}
