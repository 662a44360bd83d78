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
from collections.abc import Iterator, Mapping
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
from broker.language.plan import Place, Seen, compile_plan, draft_of, fields, observe
from broker.language.schema import Validator, compile_schema, schema_faults

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


@dataclass(frozen=True)
class Reading:
    """What a body says. With a fault, everything below `warnings` is empty. An absent attribute is lacking.

    `editions`: code list -> the edition by which its codes in this message were read. `country`: where the event was.
    """

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    identifiers: tuple[Identifier, ...] = ()
    editions: Mapping[str, str] = field(default_factory=dict)
    country: str | None = None
    completeness: Completeness | None = None


@dataclass(frozen=True)
class Kind:
    """One kind in one version. `schema` stands alone: shared parts are copied in.

    `originator`: only this member may send it (the hub's notices). `requires`: members of the header that it needs.
    `fields`: every member of the body, as a pointer with `*` for an index.
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


@dataclass(frozen=True)
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
            return Reading(faults)
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

    def _read(self, kind: Kind, header: Mapping[str, Any], body: Mapping[str, Any], now: datetime) -> Reading:
        faults: list[Fault] = []
        warnings: list[Fault] = []
        identifiers: list[Identifier] = []
        attributes: dict[str, set[str]] = {}
        editions: dict[str, str] = {}
        seen = observe(kind.plan, body, "/body")
        for one in seen:
            value, flaw = _examined(one)
            if flaw is not None:
                (faults if _severe(flaw, one) else warnings).append(_flaw_fault(flaw, one))
            if flaw is None or not flaw.severe or flaw.forgeable:
                self._check_code(one, value, faults, warnings, editions)
                _collect(one, value, identifiers, attributes)
        routed = {name: frozenset(values) for name, values in attributes.items()}
        nominal = nominal_pointers(kind.outline, body, "/body")
        report = rules.Report(header, seen, routed, self.codelists, now, body, kind.fields, nominal)
        for rule in rules.RULES:
            (faults if rule.severity == "error" else warnings).extend(rule.check(report))
        if faults:
            return Reading(tuple(faults), tuple(warnings))
        country = next((one.value for one in report.role("event-country")), None)
        return Reading(
            (), tuple(warnings), routed, tuple(identifiers), editions, country, completeness(kind.outline, body)
        )

    def _check_code(
        self, seen: Seen, value: str, faults: list[Fault], warnings: list[Fault], editions: dict[str, str]
    ) -> None:
        if seen.mark.codelist is None:
            return
        codelist = self.codelists[seen.mark.codelist]
        editions[codelist.name] = codelist.edition
        if value not in codelist.codes:
            guess = len(faults) + len(warnings) < GUESSES
            fault = unknown_code(codelist, seen.value, seen.pointer, guess=guess)
            (faults if codelist.policy == "error" else warnings).append(fault)


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


def _collect(seen: Seen, value: str, identifiers: list[Identifier], attributes: dict[str, set[str]]) -> None:
    form = seen.mark.form
    if form is not None and form.collected:
        identifiers.append(Identifier(seen.mark.format or "", value, seen.pointer))
    if seen.mark.route is None:
        return
    routed = form.country(value) if form is not None and seen.mark.route == "country" else value
    if routed is not None:
        attributes.setdefault(seen.mark.route, set()).add(routed)


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
            validator, compile_plan(draft), outline, frozenset(fields(draft)),
        )  # fmt: skip


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
