"""A message of the product page, to be changed by the tests of its language."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from broker.errors import Fault
from broker.language import load_language

LANGUAGE = load_language()
NOW = datetime(2026, 11, 21, tzinfo=UTC)
HEADER: dict[str, Any] = {
    "id": "2026-000123", "kind": "seizure", "version": "1.0", "originator": "CL", "status": "actual",
    "event_at": "2026-11-19T22:10:00-03:00", "priority": "routine", "case": "VAP-2026-881", "language": "es",
    "supersedes": None, "withdraws": None, "in_reply_to": None, "references": [],
    "expires_at": None, "acknowledge_by": None, "legal_basis": None,
    "grading": {"scheme": "admiralty", "source": "B", "information": "2"},
    "handling": {"tlp": "AMBER", "caveats": [],
                 "release": {"to": [{"member": "PE", "duties": ["action"]}], "groups": [], "all": False, "except": []}},
}  # fmt: skip
BODY: dict[str, Any] = {
    "form": "long", "heading": "drugs", "procedure": "transit",
    "place": {"country": "CL", "locode": "CLSAI", "type": "seaport"},
    "goods": [
        {"side": "found", "hs": "2939.72", "description": "cocaína", "cas": {"value": "50-36-2"},
         "quantity": {"value": "812.50", "unit": "KGM"}},
        {"side": "declared", "heading": "food", "hs": "0803", "description": "bananas"},
    ],
    "transport": {
        "mode": "sea",
        "containers": [{"value": "CSQU 305438-3"}, {"value": "MSKU9070323", "as": "verified"}],
    },
    "route": [{"country": "EC", "confirmed": True}, {"country": "BE", "locode": "BEANR", "confirmed": False}],
}  # fmt: skip


def message(header: Mapping[str, Any] = HEADER, body: Mapping[str, Any] = BODY, **changes: Any) -> dict[str, Any]:
    """A payload of its own; `changes` go into the header, None included."""
    return copy.deepcopy({"header": {**header, **changes}, "body": dict(body)})


def told(faults: tuple[Fault, ...]) -> set[tuple[str, str]]:
    return {(fault.rule, fault.pointer) for fault in faults}


def subschemas(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from subschemas(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from subschemas(item)
