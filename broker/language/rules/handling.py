"""Rules of handling: what names somebody goes to named readers, and what is quoted keeps its originator's conditions.

Here by what the quoter itself says of it; `broker.quotations` asks what the hub holds.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker.errors import Fault, quote
from broker.language.rules.report import Report

WIDTH = {"RED": 0, "AMBER+STRICT": 1, "AMBER": 2, "GREEN": 3, "CLEAR": 4}
"""TLP 2.0, the narrowest first."""
NEEDS_CONSENT = frozenset({"H2"})
"""Europol handling code H2: not to be passed on without the originator's permission (domain.md §2.6)."""
NEAREST_FIELDS = 5
EXPLAINED_MAX = 8
"""Unknown fields for which the nearest known ones are looked up: each costs as much as reading a message."""


def nominal_to_all(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: named persons and companies go to named members and closed groups, never to whoever is there."""
    release = report.header["handling"]["release"]
    if report.nominal and release is not None and release.get("all"):
        yield Fault(report.nominal[0], "nominal-to-all")


def nominal_without_basis(report: Report) -> Iterator[Fault]:
    """domain.md §2.7: the nominal part travels bilaterally or in a closed group, on a legal basis that is named."""
    if report.nominal and not report.header.get("legal_basis"):
        yield Fault("/header/legal_basis", "nominal-without-basis", more={"nominal": report.nominal[0]})


def marking_wider(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: no marking is wider than that of what is quoted."""
    own = report.header["handling"]["tlp"]
    for seen in report.role("quoted-tlp"):
        allowed = narrow_enough(seen.value)
        if own not in allowed:
            yield Fault(seen.pointer, "marking-wider", own, allowed)


def narrow_enough(quoted: str) -> tuple[str, ...]:
    """The markings that what is marked `quoted` may be quoted under."""
    limit = WIDTH.get(quoted, WIDTH["RED"])
    return tuple(tlp for tlp in WIDTH if WIDTH[tlp] <= limit)


def consent_missing(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: what may not be passed on without consent is quoted with the message that gives it."""
    for seen in report.role("quoted-handling"):
        if seen.value in NEEDS_CONSENT and report.sibling(seen, "consent") is None:
            yield Fault(seen.pointer, "consent-missing", quote(seen.value))


# --- what is not given -------------------------------------------------------------------------------------------


def gap_filled(report: Report) -> Iterator[Fault]:
    """A field is given, or it is said why not."""
    for seen in report.role("not-given"):
        if _stands(report.body, seen.value.split("/")[1:]):
            yield Fault(seen.pointer, "gap-filled", quote(seen.value))


def gap_unknown(report: Report) -> Iterator[Fault]:
    """What is not given is a field that there is."""
    explained = 0
    for seen in report.role("not-given"):
        field = starred(seen.value)
        if report.fields and field not in report.fields:
            explained += 1
            known = sorted(report.fields) if explained <= EXPLAINED_MAX else []
            near = difflib.get_close_matches(field, known, n=NEAREST_FIELDS, cutoff=0.6)
            yield Fault(seen.pointer, "gap-unknown", quote(seen.value), tuple(near))


def starred(pointer: str) -> str:
    """A pointer into a body with `*` for each index."""
    return "".join("/*" if step.isdigit() else f"/{step}" for step in pointer.split("/")[1:])


def _stands(value: Any, steps: Sequence[str]) -> bool:
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return False
    return True
