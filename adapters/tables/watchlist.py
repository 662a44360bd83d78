"""Alerts in force → rows for a targeting system: one identifier, one HS code or one route a row, with its alert.

What never reaches it, whoever asks: exercises and tests, what was withdrawn or superseded, what has expired or is not
valid today. Nominal parts stay out; a consignee comes as the keyed digest that the alert gives. An identifier keeps its
standing: a number believed false is watched for because it is false.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from adapters.tables.files import csv_rows, replacing
from adapters.tables.sources import Left, Message

COLUMNS = (
    "type", "value", "standing", "valid_from", "valid_until", "tlp", "caveats", "originator", "address", "priority", "headings",
    "actions", "subject",
)  # fmt: skip
TYPES: Mapping[str, str] = {
    "containers": "container", "seals": "seal", "plates": "plate", "documents": "document", "imo": "vessel-imo",
    "mmsi": "vessel-mmsi", "flights": "flight", "flight": "flight", "awbs": "awb", "awb": "awb", "bills": "bill-of-lading",
    "parcels": "parcel", "parcel": "parcel", "vins": "vin", "vin": "vin", "mrns": "mrn", "mrn": "mrn", "ucrs": "ucr",
    "consignees": "consignee-hash", "cas": "cas", "gtin": "gtin", "un": "un-number", "imei": "imei", "excise": "excise",
}  # fmt: skip
"""Member of an alert's body -> type of the row. A member that is not here, but holds an identifier ({"value": ...}),
gives its own name."""
NOMINAL = ("nominal",)
LOOKED_IN = ("transport", "goods")
NEVER = ("exercise", "test", "expired", "withdrawn", "superseded", "not-yet-valid")
"""Why an alert is left out; none of them can be asked for."""
WHY_NEVER: Mapping[str, tuple[str, str]] = {
    "exercise": (
        "An exercise never reaches a watch list: somebody would stop a real consignment for it.",
        "Un ejercicio nunca llega a una lista de vigilancia: alguien detendría por él un envío real.",
    ),
    "test": (
        "A test never reaches a watch list: somebody would stop a real consignment for it.",
        "Una prueba nunca llega a una lista de vigilancia: alguien detendría por ella un envío real.",
    ),
    "expired": (
        "What has expired never reaches a watch list: its originator no longer asks for it.",
        "Lo vencido nunca llega a una lista de vigilancia: su remitente ya no lo pide.",
    ),
    "withdrawn": (
        "What was withdrawn never reaches a watch list: its originator took it back.",
        "Lo retirado nunca llega a una lista de vigilancia: su remitente lo retiró.",
    ),
    "superseded": (
        "What was superseded never reaches a watch list: its latest version does.",
        "Lo reemplazado nunca llega a una lista de vigilancia: llega su última versión.",
    ),
    "not-yet-valid": (
        "What is not valid yet never reaches a watch list: write it anew on its first day.",
        "Lo que aún no está vigente nunca llega a una lista de vigilancia: escríbala de nuevo en su primer día.",
    ),
}


class Entry(NamedTuple):
    type: str
    value: str
    standing: str = ""


def why_not(message: Message, now: datetime) -> str | None:
    """The reason of NEVER for which an alert stays out; None if it is in force."""
    header, body = message.header, message.body
    if header.get("status") != "actual":
        return "exercise" if header.get("status") == "exercise" else "test"
    expires = _moment(header.get("expires_at"))
    if header.get("expires_at") is not None and (expires is None or expires.tzinfo is None or expires <= now):
        return "expired"
    valid = body.get("valid")
    first, last = (_day(valid.get(name)) for name in ("from", "until")) if isinstance(valid, Mapping) else (None, None)
    if last is None and isinstance(valid, Mapping) and valid.get("until") is not None:
        return "expired"  # of what nobody can read nobody knows that it is in force
    if last is not None and last < now.date():
        return "expired"
    if first is not None and first > now.date():
        return "not-yet-valid"
    return None


def entries(body: Mapping[str, Any]) -> Iterator[Entry]:
    """Everything that can be watched for, each once, in the order of the body."""
    found: dict[Entry, None] = {}
    for name in LOOKED_IN:
        found.update(dict.fromkeys(_identifiers(name, body.get(name))))
    goods = body.get("goods")
    for line in goods if isinstance(goods, list) else ():
        if isinstance(line, Mapping) and isinstance(line.get("hs"), str):
            found[Entry("hs", line["hs"])] = None
    route = _route(body.get("route"))
    if route:
        found[Entry("route", route)] = None
    yield from found


def _identifiers(name: str, value: Any) -> Iterator[Entry]:
    if name in NOMINAL:
        return
    if isinstance(value, list):
        for item in value:
            yield from (
                [Entry(TYPES[name], item)]
                if name == "consignees" and isinstance(item, str)
                else _identifiers(name, item)
            )
    elif isinstance(value, Mapping):
        if isinstance(value.get("value"), str) and value.keys() <= {"value", "as"}:
            yield Entry(TYPES.get(name, name), value["value"], str(value.get("as", "found")))
            return
        for member, below in value.items():
            yield from _identifiers(name if member == "number" else member, below)


def _route(legs: Any) -> str:
    """`origin CN > via AE > destination CL`, as far as places are given."""
    shown = []
    for leg in legs if isinstance(legs, list) else ():
        place = leg.get("locode") or leg.get("country") or leg.get("name") if isinstance(leg, Mapping) else None
        if place:
            shown.append(f"{leg.get('role', '')} {place}".strip())
    return " > ".join(shown)


def rows(message: Message) -> Iterator[list[str]]:
    """The rows of an alert in force, in the order of COLUMNS."""
    header, body = message.header, message.body
    valid = body.get("valid") if isinstance(body.get("valid"), Mapping) else {}
    assert isinstance(valid, Mapping)
    ends = [str(day)[:10] for day in (valid.get("until"), header.get("expires_at")) if day]
    shared = [
        str(valid.get("from") or str(header.get("event_at"))[:10]), min(ends, default=""), str(header["handling"].get("tlp")),
        "; ".join(" ".join(str(one).split()) for one in _list(header["handling"].get("caveats"))),
        str(header["originator"]), message.address, str(header.get("priority") or "routine"), _joined(body.get("headings")),
        _joined(body.get("requested_actions")), " ".join(str(body.get("subject", "")).split()),
    ]  # fmt: skip
    for entry in entries(body):
        yield [*entry, *shared]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _joined(codes: Any) -> str:
    return " ".join(map(str, _list(codes)))


async def write(path: Path, messages: AsyncIterator[Message], now: datetime, left: Left) -> tuple[int, int]:
    """Write the list, whole or not at all. Returns (alerts, rows)."""
    alerts = written = 0
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
        csv_rows(file) as write_row,
    ):
        write_row(COLUMNS)
        async for message in messages:
            reason = why_not(message, now)
            if reason is not None:
                left.out(reason)
                continue
            alerts += 1
            for row in rows(message):
                write_row(row)
                written += 1
    return alerts, written


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _day(text: Any) -> date | None:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        return None
