"""The schemas of every kind, compiled once, and what a message says when it is read through them.

The steps, in the order of product.md "The life of a message":
 1. `check_header`: the envelope's schema, then the shape rules (only if the schema holds);
 2. `read_body`: is the kind known, may this originator send it, and has the header what the kind requires of it;
 3. the schema of kind and version: every fault of it, and nothing further if there is one;
 4. identifiers, code lists and cross-field rules together; what they find is error or warning.

A kind is a file, `schemas/messages/<kind>/<version>.json`; no Python knows any of them but the withdrawal, whose body
is the same for every kind. Who sent a message and who may see it is decided elsewhere (`verify`, `entitlement`).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from broker import schemafiles
from broker.errors import Fault, SetupRefused, quote
from broker.language import rules
from broker.language.codelists import CodeList, load_codelists, unknown_code
from broker.language.compatibility import breaks
from broker.language.identifiers import Flaw
from broker.language.outline import (
    Completeness,
    Outline,
    Projection,
    compile_outline,
    completeness,
    nominal_pointers,
    project,
)
from broker.language.plan import Place, Seen, blocks, compile_plan, draft_of, fields, observe
from broker.language.schema import Validator, compile_schema, first_of, schema_faults

BELIEVED_FALSE = "believed-false"
WITHDRAWAL = "withdrawal"
ENVELOPE = "envelope/1.0.json"
GUESSES = 16
"""For so many faults of a message the code that was meant is looked for."""
FILE_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}/[0-9]{1,3}\.[0-9]{1,3}")
"""<kind>/<version>, as the envelope lets a header name them."""


@dataclass(frozen=True)
class Identifier:
    """Something that names one thing, for search. `value` is normalised: upper case, no separators (CAS keeps its
    hyphens); `pointer` starts at the payload's root."""

    scheme: str
    value: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Quotation:
    """That another message is quoted, by its address, and the address of the one that consents to it."""

    message: str
    consent: str | None
    pointer: str


@dataclass(frozen=True)
class Reading:
    """What a body says. With a fault, everything below `warnings` is empty. An absent attribute is lacking.

    `editions`: code list or table -> the edition by which its codes in this message were read. `country`: where the
    event was.
    """

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    identifiers: tuple[Identifier, ...] = ()
    editions: Mapping[str, str] = field(default_factory=dict)
    country: str | None = None
    completeness: Completeness | None = None
    quotations: tuple[Quotation, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind in one version. `schema` stands alone: shared parts are copied in.

    `originator`: only this member may send it (the hub's notices). `requires`: members of the header that it needs.
    `fields`: every member of the body, as a pointer with `*` for an index. `blocks`: heading -> pointers of its blocks.
    """

    kind: str
    version: str
    schema: Mapping[str, Any]
    titles: Mapping[str, str]
    originator: str | None
    requires: tuple[str, ...]
    validator: Validator
    plan: Place
    outline: Outline
    fields: frozenset[str]
    blocks: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, repr=False)
class Language:
    """Everything that `schemas/` says. Immutable and safe to share."""

    envelope: Mapping[str, Any]
    envelope_validator: Validator
    kinds: Mapping[tuple[str, str], Kind]
    codelists: Mapping[str, CodeList]

    def check_header(self, payload: object) -> tuple[Fault, ...]:
        """Every fault of the envelope and, if there is none, of the rules between header members."""
        faults = schema_faults(self.envelope_validator, self.envelope, payload)
        if faults or not isinstance(payload, dict):
            return faults
        return tuple(fault for rule in rules.SHAPE for fault in rule.check(payload["header"]))

    def read_body(self, payload: Mapping[str, Any], *, now: datetime) -> Reading:
        """Call only after `check_header` gave no fault. `now` is aware."""
        header, body = payload["header"], payload["body"]
        kind = self._kind(header)
        if isinstance(kind, Fault):
            return Reading((kind,))
        lacking = tuple(
            Fault(f"/header/{name}", "header-needed", more={"kind": kind.kind})
            for name in kind.requires
            if not header.get(name)
        )
        faults = lacking + schema_faults(kind.validator, kind.schema, body, "/body")
        if faults:
            return self._misread(kind, body, faults)
        return self._read(kind, header, body, now)

    def project(self, payload: Mapping[str, Any]) -> Projection:
        """The non-nominal projection of a payload that passed `check_header` and `read_body`."""
        kind = self._kind(payload["header"])
        assert isinstance(kind, Kind)
        return project(kind.outline, payload)

    def _kind(self, header: Mapping[str, Any]) -> Kind | Fault:
        """The schema that the body must follow, or why there is none."""
        name, version = header["kind"], header["version"]
        known = self.kinds.get((name, version))
        if known is None or name == WITHDRAWAL:
            versions = tuple(v for k, v in self.kinds if k == name and k != WITHDRAWAL)
            if versions:
                return Fault("/header/version", "unknown-version", quote(version), versions, {"kind": name})
            return Fault("/header/kind", "unknown-kind", quote(name), self._kind_names())
        if known.originator is not None and header["originator"] != known.originator:
            return Fault("/header/kind", "kind-reserved", quote(name), more={"originator": known.originator})
        if header.get("withdraws") is not None:
            return max((k for k in self.kinds.values() if k.kind == WITHDRAWAL), key=lambda k: _number(k.version))
        return known

    def _kind_names(self) -> tuple[str, ...]:
        return tuple(sorted({name for name, _ in self.kinds} - {WITHDRAWAL}))

    def _misread(self, kind: Kind, body: Mapping[str, Any], faults: tuple[Fault, ...]) -> Reading:
        """With the schema's faults those of single values, wherever the schema has nothing to say against them or (how a
        value is meant: `as`) against what stands beside them. The rules between fields are not asked: each of them relies
        on the schema."""
        if faults[-1].rule == "more-faults":
            return Reading(faults)
        faulty = {fault.pointer for fault in faults}
        beside = {pointer.rpartition("/")[0] for pointer in faulty}
        seen = [
            one for one in observe(kind.plan, body, "/body")
            if faulty.isdisjoint(_way(one.pointer)) and not (_may_be_false(one) and one.pointer.rpartition("/")[0] in beside)
        ]  # fmt: skip
        values = self._values(seen)
        return Reading(first_of((*faults, *values.faults), "/body"), first_of(values.warnings, "/body"))

    def _read(self, kind: Kind, header: Mapping[str, Any], body: Mapping[str, Any], now: datetime) -> Reading:
        seen = observe(kind.plan, body, "/body")
        values = self._values(seen)
        faults, warnings = values.faults, values.warnings
        routed = {name: frozenset(found) for name, found in values.attributes.items()}
        nominal = nominal_pointers(kind.outline, body, "/body")
        sure, compared = _sure(seen, routed, {fault.pointer for fault in faults})
        report = rules.Report(header, sure, compared, self.codelists, now, body, kind.fields, nominal, kind.blocks)
        for rule in rules.RULES:
            (faults if rule.severity == "error" else warnings).extend(rule.check(report))
        told = first_of(warnings, "/body")  # kept with the message, and told with every delivery of it
        if faults:
            return Reading(first_of(faults, "/body"), told)
        country = next((one.value for one in report.role("event-country")), None)
        score = completeness(kind.outline, body)
        quotations = tuple(_quotations(report))
        return Reading((), told, routed, tuple(values.identifiers), values.editions, country, score, quotations)

    def _values(self, seen: Sequence[Seen]) -> _Values:
        """What each value says by itself: identifiers and codes."""
        values = _Values()
        for one in seen:
            value, flaw = _examined(one)
            if flaw is not None:
                (values.faults if _severe(flaw, one) else values.warnings).append(_flaw_fault(flaw, one))
            if flaw is None or not flaw.severe or flaw.forgeable:
                self._check_code(one, value, values)
                _collect(one, value, values)
        return values

    def _check_code(self, seen: Seen, value: str, values: _Values) -> None:
        table = seen.mark.form.table if seen.mark.form is not None else None
        if table is not None:
            values.editions[table[0]] = table[1]
        if seen.mark.codelist is None:
            return
        codelist = self.codelists[seen.mark.codelist]
        values.editions[codelist.name] = codelist.edition
        if value not in codelist.codes:
            guess = len(values.faults) + len(values.warnings) < GUESSES
            fault = unknown_code(codelist, seen.value, seen.pointer, guess=guess)
            (values.faults if codelist.policy == "error" else values.warnings).append(fault)


@dataclass
class _Values:
    """What is found in single values. `attributes`: route -> what the message routes by."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    identifiers: list[Identifier] = field(default_factory=list)
    attributes: dict[str, set[str]] = field(default_factory=dict)
    editions: dict[str, str] = field(default_factory=dict)


def _may_be_false(seen: Seen) -> bool:
    """An identifier that says how it is meant."""
    return seen.mark.form is not None and seen.pointer.endswith("/value")


def _way(pointer: str) -> Iterator[str]:
    """The pointer, and every pointer above it."""
    while pointer:
        yield pointer
        pointer = pointer.rpartition("/")[0]


def _sure(
    seen: Sequence[Seen], routed: Mapping[str, frozenset[str]], faulty: Container[str]
) -> tuple[Sequence[Seen], Mapping[str, frozenset[str]]]:
    """What rules between fields compare: no value that has a fault of its own, nor what such a one routes by. One cause
    gets one answer; what else is wrong shows once it is mended."""
    doubtful = {one.mark.route for one in seen if one.pointer in faulty}
    return (
        [one for one in seen if one.pointer not in faulty],
        {route: values for route, values in routed.items() if route not in doubtful},
    )


def _quotations(report: rules.Report) -> Iterator[Quotation]:
    for seen in report.role("quoted"):
        consent = report.sibling(seen, "consent")
        yield Quotation(seen.value, consent.value if consent is not None else None, seen.pointer)


def _examined(seen: Seen) -> tuple[str, Flaw | None]:
    form = seen.mark.form
    if form is None:
        return seen.value, None
    normalised = form.normalise(seen.value)
    return normalised, form.check(normalised)


def _severe(flaw: Flaw, seen: Seen) -> bool:
    """A forged number is itself intelligence (domain.md §3, principle 1): believed false, it may be wrong."""
    believed_false = isinstance(seen.holder, dict) and seen.holder.get("as") == BELIEVED_FALSE
    return flaw.severe and not (flaw.forgeable and believed_false)


def _flaw_fault(flaw: Flaw, seen: Seen) -> Fault:
    more = {"format": seen.mark.format or "", **flaw.more}
    return Fault(seen.pointer, flaw.rule, quote(seen.value), flaw.allowed, more)


def _collect(seen: Seen, value: str, values: _Values) -> None:
    form = seen.mark.form
    if form is not None and form.collected:
        values.identifiers.append(Identifier(seen.mark.format or "", value, seen.pointer))
    if seen.mark.route is None:
        return
    routed = form.country(value) if form is not None and seen.mark.route == "country" else value
    if routed is not None:
        values.attributes.setdefault(seen.mark.route, set()).add(routed)


# --- loading -----------------------------------------------------------------------------------------------------


schemas_folder = schemafiles.folder


def load_language(folder: Path | None = None) -> Language:
    """Read and compile everything below `folder` (default: `schemas_folder()`).

    Raises SetupRefused if a schema, annotation or code list is not as we need it, or a minor version breaks its rule.
    """
    folder = folder or schemas_folder()
    codelists = load_codelists(folder / "codelists")
    envelope = schemafiles.read_json(folder / ENVELOPE)
    kinds = {(kind.kind, kind.version): kind for kind in _kinds(folder, codelists)}
    if WITHDRAWAL not in {name for name, _ in kinds}:
        raise SetupRefused(detail=f"{folder}: no schema for the body of a withdrawal")
    _check_minor_versions(kinds)
    return Language(envelope, compile_schema(ENVELOPE, envelope), kinds, codelists)


def _kinds(folder: Path, codelists: Mapping[str, CodeList]) -> Iterator[Kind]:
    for (kind, version), schema in schemafiles.load(folder).items():
        name = f"{kind}/{version}"
        if FILE_NAME.fullmatch(name) is None:
            raise SetupRefused(detail=f"{folder}: no header could name the kind and version {name}")
        validator = compile_schema(name, schema)
        draft = draft_of(name, schema, codelists)
        outline = compile_outline(name, draft, scored=schema.get("x-scored") is True)
        yield Kind(
            kind, version, schema, schema.get("x-title", {}), schema.get("x-originator"), tuple(schema.get("x-requires", ())),
            validator, compile_plan(draft), outline, frozenset(fields(draft)), _by_heading(blocks(draft)),
        )  # fmt: skip


def _by_heading(blocks: Iterator[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for heading, pointer in blocks:
        found[heading] = (*found.get(heading, ()), pointer)
    return found


def _check_minor_versions(kinds: Mapping[tuple[str, str], Kind]) -> None:
    """Within a major version each minor one takes whatever the one before took (`compatibility`)."""
    before: dict[tuple[str, int], Kind] = {}
    for kind in sorted(kinds.values(), key=lambda kind: (kind.kind, _number(kind.version))):
        line = (kind.kind, _number(kind.version)[0])
        if line in before and (broken := breaks(before[line].schema, kind.schema)):
            raise SetupRefused(
                detail=f"{kind.kind}/{kind.version} breaks {before[line].version}: {'; '.join(broken)}. "
                "A minor version only adds; give it the next major number."
            )
        before[line] = kind


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
