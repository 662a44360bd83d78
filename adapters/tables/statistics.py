"""How many seizures, by heading, month, route, detection and concealment.

One event counts once: the latest version of a message that was not withdrawn. Exercises and tests are never counted.
A record of several seizures (`aggregate`) is no event: such records are counted beside the events, never among them.
A report with two means of detection counts under both, so that a column of these may add up to more than the reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from adapters.tables.codes import titles
from adapters.tables.files import Workbook, check_ending, csv_rows, replacing
from adapters.tables.sources import Left, Message
from broker.errors import SetupRefused

NOT_GIVEN = "not-given"
DIMENSIONS = ("heading", "month", "origin", "departure", "destination", "detection", "concealment")
LISTS = {"heading": "headings", "detection": "detection", "concealment": "concealment"}
"""Dimension -> the code list that has its titles."""
STANDARD: tuple[tuple[str, ...], ...] = (
    ("heading",), ("month",), ("origin",), ("departure",), ("destination",), ("detection",), ("concealment",),
    ("heading", "month"), ("heading", "origin", "departure", "destination"),
)  # fmt: skip
MAX_LINES = 1_000_000
"""A sheet of a spreadsheet has no more rows; more combinations than that are asked for by mistake."""

Breakdown = tuple[str, ...]


@dataclass
class Statistics:
    """Breakdown -> values of its dimensions -> how many; events and aggregate records apart."""

    breakdowns: Sequence[Breakdown] = STANDARD
    events: dict[Breakdown, Counter[tuple[str, ...]]] = field(default_factory=dict)
    aggregates: dict[Breakdown, Counter[tuple[str, ...]]] = field(default_factory=dict)
    total_events: int = 0
    total_aggregates: int = 0


def read_breakdown(text: str) -> Breakdown:
    """`heading,month`. Raises SetupRefused."""
    wanted = tuple(part.strip() for part in text.split(","))
    if not set(wanted) <= set(DIMENSIONS) or len(set(wanted)) != len(wanted):
        raise SetupRefused(detail=f"“{text}” is no breakdown: some of {', '.join(DIMENSIONS)}, apart by commas.")
    return wanted


async def count(messages: AsyncIterator[Message], into: Statistics, left: Left) -> None:
    """Count every message that is an event or an aggregate record; the others are counted as left out."""
    async for message in messages:
        status = str(message.header.get("status"))
        if status != "actual":
            left.out(status)
            continue
        aggregate = message.body.get("aggregate") is True
        if aggregate:
            into.total_aggregates += 1
        else:
            into.total_events += 1
        values = {name: tuple(dict.fromkeys(values_of(name, message))) or (NOT_GIVEN,) for name in DIMENSIONS}
        tables = into.aggregates if aggregate else into.events
        for breakdown in into.breakdowns:
            counted = tables.setdefault(breakdown, Counter())
            if len(counted) + prod(len(values[name]) for name in breakdown) > MAX_LINES:
                raise SetupRefused(detail=f"There are more than {MAX_LINES} combinations of {', '.join(breakdown)}.")
            counted.update(product(*(values[name] for name in breakdown)))


def values_of(dimension: str, message: Message) -> Iterator[str]:
    """The values of one message; of a route the countries of the legs in that part."""
    body = message.body
    if dimension == "month":
        yield month_of(message)
    elif dimension == "heading":
        yield str(body.get("heading") or NOT_GIVEN)
    elif dimension in ("detection", "concealment"):
        yield from (str(code) for code in _list(body.get(dimension)))
    else:
        for leg in _list(body.get("route")):
            if isinstance(leg, Mapping) and leg.get("role") == dimension and isinstance(leg.get("country"), str):
                yield leg["country"]


def month_of(message: Message) -> str:
    """`2018-03` where the event was; the year alone if no more is known; not given for a period of several months."""
    at, body = str(message.header.get("event_at")), message.body
    period = body.get("period")
    if isinstance(period, Mapping):
        first, last = str(period.get("from")), str(period.get("until"))
        if first[:7] != last[:7]:
            return first[:4] if first[:4] == last[:4] else NOT_GIVEN
        return first[:7]
    return at[:4] if body.get("precision") == "year" else at[:7]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# ── out ──


def lines(found: Statistics, breakdown: Breakdown) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """(values, events, aggregate records), the most frequent first; months in their order."""
    events, aggregates = found.events.get(breakdown, Counter()), found.aggregates.get(breakdown, Counter())
    by_time = breakdown[-1] == "month"
    keys = sorted({*events, *aggregates}, key=lambda key: key if by_time else (-events[key], -aggregates[key], key))
    for key in keys:
        yield key, events[key], aggregates[key]


def write(path: Path, found: Statistics, left: Left, tongue: str) -> None:
    """As .csv (one table, `by` says which breakdown) or .xlsx (a sheet for each, and one about what was counted)."""
    check_ending(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file, csv_rows(file) as write_row:
                write_row(["by", *DIMENSIONS, "events", "aggregate_records"])
                write_row(["total", *("" for _ in DIMENSIONS), found.total_events, found.total_aggregates])
                for breakdown in found.breakdowns:
                    for values, events, aggregates in lines(found, breakdown):
                        by = dict(zip(breakdown, values, strict=True))
                        write_row([",".join(breakdown), *(by.get(name, "") for name in DIMENSIONS), events, aggregates])
        else:
            _workbook(found, left, tongue).save(temporary)


def _workbook(found: Statistics, left: Left, tongue: str) -> Workbook:
    book = Workbook()
    about = book.sheet("about", (40, 12))
    book.row(about, ["counted", "messages"], bold=True)
    rows = [("events", found.total_events), ("aggregate records", found.total_aggregates)]
    for reason, number in (
        *rows,
        *((f"left out: {reason}", number) for reason, number in sorted(left.reasons.items())),
    ):
        book.row(about, [reason, number])
    for breakdown in found.breakdowns:
        sheet = book.sheet(", ".join(breakdown), (18, 36, 18, 18, 18))
        named = len(breakdown) == 1 and breakdown[0] in LISTS
        book.row(sheet, [*breakdown, *(["title"] if named else []), "events", "aggregate records"], bold=True)
        words = titles(LISTS[breakdown[0]], tongue[:2]) if named else {}
        for values, events, aggregates in lines(found, breakdown):
            book.row(sheet, [*values, *([words.get(values[0], "")] if named else []), events, aggregates])
    return book
