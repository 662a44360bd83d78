"""What is wrong with a row, cell by cell and in the reader's language: our own findings, the hub's, and the schemas'.

The hub names a place in the payload (RFC 6901); the person who has the table knows columns. A fault is told at the
columns that feed its place, or what is below it, or else what it stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from adapters.tables.compose import Composed
from adapters.tables.journal import Told
from adapters.tables.mapping import TableMapping
from adapters.tables.sentences import say
from adapters.tables.table import Row
from adapters.tables.tree import columns_of
from adapters.tables.view import Cells, Wrong
from broker import phrases
from broker.errors import Fault, quote

if TYPE_CHECKING:
    from broker.language import Language

ALLOWED_MAX = 12
COLUMNS_MAX = 4

Errors = Sequence[Mapping[str, Any]]
"""As in the hub's answer: `pointer`, `rule`, `detail`, and `allowed` where there is a fix."""


def of_row(composed: Composed, tongue: str) -> tuple[Told, ...]:
    """What was found before anything could be posted."""
    return tuple(_of_wrong(wrong, tongue) for wrong in composed.wrong)


def _of_wrong(wrong: Wrong, tongue: str) -> Told:
    gaps = {"found": quote(wrong.found), **wrong.gaps}
    allowed = gaps.get("allowed")
    if isinstance(allowed, tuple):
        gaps["allowed"] = allowed[:ALLOWED_MAX]
    return Told(wrong.columns, quote(wrong.found), wrong.rule, say(wrong.rule, tongue, **gaps))


def another_row(row: Row, tongue: str) -> Told:
    """A row of an error sheet that is none of the table's."""
    return Told((), str(row.number), "another-row", say("another-row", tongue))


def of_errors(errors: Errors, composed: Composed, row: Row, mapping: TableMapping, tongue: str) -> tuple[Told, ...]:
    """What the hub, or the schemas here, said of a payload; every fault is told once per column."""
    cells = Cells(mapping, row.cells)
    told = (_of_error(error, composed, cells, tongue) for error in errors)
    return tuple({(one.columns, one.rule, one.expected): one for one in told}.values())


def _of_error(error: Mapping[str, Any], composed: Composed, cells: Cells, tongue: str) -> Told:
    place, rule = str(error.get("pointer") or ""), str(error.get("rule") or "refused")
    columns, by_mapping = columns_of(place, composed.feeds)
    columns = columns[:COLUMNS_MAX]
    texts = [cells.raw(column) for column in columns]
    detail = _with_allowed(str(error.get("detail") or rule), [str(one) for one in error.get("allowed") or ()])
    if columns and rule == "required" and not any(texts):
        detail = say("cell-needed", tongue)
    elif not columns and place:
        detail = say("by-mapping" if by_mapping else "not-fed", tongue, pointer=place, detail=detail)
    return Told(columns, quote("; ".join(text for text in texts if text)), rule, detail)


def _with_allowed(detail: str, allowed: Sequence[str]) -> str:
    if not allowed or allowed[0] in detail:
        return detail
    return f"{detail} → {', '.join(allowed[:ALLOWED_MAX])}"


def offline(language: Language, payload: Mapping[str, Any], now: datetime, tongue: str) -> tuple[Errors, Errors]:
    """(errors, warnings) by the schemas, code lists and rules of this installation, as a hub would word them.

    Not known here: members, groups, entitlement, keys, and whether the id was used before.
    """
    faults = language.check_header(payload)
    if faults:
        return _worded(faults, tongue), ()
    reading = language.read_body(payload, now=now)
    return _worded(reading.faults, tongue), _worded(reading.warnings, tongue)


def _worded(faults: Iterable[Fault], tongue: str) -> Errors:
    return [
        {
            "pointer": fault.pointer,
            "rule": fault.rule,
            "detail": phrases.render(
                f"rule.{fault.rule}", tongue, found=fault.found, allowed=fault.allowed, **fault.more
            ),
            "allowed": fault.allowed,
        }
        for fault in faults
    ]
