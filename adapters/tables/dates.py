"""Dates as people write them in tables: formats, how exact they are, ranges; and back to the same text.

A format is literal text and the parts YYYY MMMM MMM MM M DD D HH mm ss fff Z; literal letters that would be read as
parts stand in square brackets. A part that occurs a second time begins the end of a range: `D-D MMMM YYYY`, whose first
day takes month and year from the second. Month names are understood in English, Spanish, French and Portuguese.
What a date says no more exactly than a month or a year keeps that precision: 1 January is not invented.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MONTHS = {
    "en": "January February March April May June July August September October November December",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
}
ALSO = {"set": 9, "sept": 9, "setiembre": 9, "janv": 1, "fevr": 2, "avr": 4, "juil": 7, "dec": 12}
TOKEN = re.compile(r"\[([^\]]*)\]|YYYY|MMMM|MMM|MM|M|DD|D|HH|mm|ss|fff|Z")
EXPRESSION = {
    "YYYY": r"[0-9]{4}", "MMMM": r"[^\W\d_]{3,12}\.?", "MMM": r"[^\W\d_]{3,12}\.?", "MM": r"[0-9]{2}", "M": r"[0-9]{1,2}",
    "DD": r"[0-9]{2}", "D": r"[0-9]{1,2}", "HH": r"[0-9]{2}", "mm": r"[0-9]{2}", "ss": r"[0-9]{2}", "fff": r"[0-9]{1,9}",
    "Z": r"Z|[+-][0-9]{2}:[0-9]{2}",
}  # fmt: skip
FIELD = {"YYYY": "year", "MMMM": "month", "MMM": "month", "MM": "month", "M": "month", "DD": "day", "D": "day",
         "HH": "hour", "mm": "minute", "ss": "second", "fff": "fraction", "Z": "offset"}  # fmt: skip
ISO = (
    "YYYY-MM-DD",
    "YYYY-MM-DDTHH:mm:ss",
    "YYYY-MM-DDTHH:mm:ssZ",
    "YYYY-MM-DDTHH:mm:ss.fff",
    "YYYY-MM-DDTHH:mm:ss.fffZ",
)
"""Understood after a mapping's own formats: a spreadsheet's date cells read so."""
PARTS = ("at", "date", "precision", "from", "until")
PRECISIONS = ("year", "month", "day", "minute")


class FormatRefused(ValueError):
    """Why a format or a time zone is not taken, as the end of a sentence."""


@dataclass(frozen=True)
class Format:
    """`fields`: (which date, 0 or 1; field; token) of each group, in order."""

    text: str
    expression: re.Pattern[str]
    fields: tuple[tuple[int, str, str], ...]

    @property
    def is_range(self) -> bool:
        return any(which for which, _, _ in self.fields)

    @property
    def has_offset(self) -> bool:
        return any(field == "offset" for _, field, _ in self.fields)


@dataclass(frozen=True)
class Dated:
    """What a cell says: when it began (aware, if a zone is known), the last day of a range, how exactly."""

    start: datetime
    precision: str
    until: date | None = None

    def part(self, name: str) -> str:
        """`at` RFC 3339 with offset; `date`, `from`, `until` RFC 3339 dates (the latter two of a range alone); `precision`."""
        if name == "precision":
            return self.precision
        if name == "at":
            return self.start.isoformat(timespec="seconds" if not self.start.microsecond else "milliseconds")
        if name == "date":
            return self.start.date().isoformat()
        if self.until is None:
            return ""
        return self.start.date().isoformat() if name == "from" else self.until.isoformat()


def read_format(text: str) -> Format:
    """Raises FormatRefused."""
    expression, fields, at = "", [], 0
    seen: tuple[set[str], set[str]] = (set(), set())
    for found in TOKEN.finditer(text):
        expression += re.escape(text[at : found.start()])
        at = found.end()
        if found[1] is not None:
            expression += re.escape(found[1])
            continue
        field = FIELD[found[0]]
        which = 1 if seen[1] or field in seen[0] else 0
        if field in seen[which]:
            raise FormatRefused(f"says the {field} three times" if which else f"says the {field} twice")
        seen[which].add(field)
        fields.append((which, field, found[0]))
        expression += f"({EXPRESSION[found[0]]})"
    _whole(seen[1] or seen[0])
    if seen[1]:
        _whole(seen[0] | seen[1])
    return Format(text, re.compile(expression + re.escape(text[at:]), re.IGNORECASE), tuple(fields))


def _whole(fields: set[str]) -> None:
    """A year, and nothing finer without what is coarser."""
    if "year" not in fields:
        raise FormatRefused("has no year (YYYY)")
    order = ("year", "month", "day", "hour", "minute", "second", "fraction")
    for coarse, fine in pairwise(order):
        if fine in fields and coarse not in fields:
            raise FormatRefused(f"gives the {fine} without the {coarse}")
    if "hour" in fields and "minute" not in fields:
        raise FormatRefused("gives the hour without the minutes")


def read_zone(name: str) -> tzinfo:
    """`America/Bogota`, `UTC` or a fixed `-05:00`. Raises FormatRefused."""
    fixed = re.fullmatch(r"([+-])([0-9]{2}):([0-9]{2})", name)
    if fixed:
        minutes = int(fixed[2]) * 60 + int(fixed[3])
        if minutes > 14 * 60:
            raise FormatRefused("lies more than 14 hours from UTC")
        return timezone(timedelta(minutes=minutes if fixed[1] == "+" else -minutes))
    if name in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FormatRefused("is no time zone that this machine knows; America/Bogota or -05:00 would be") from None


def parse(text: str, formats: Iterable[Format], zone: tzinfo | None) -> Dated | None:
    """What `text` says by the first format that fits and names days that exist; None if there is none."""
    for one in formats:
        found = one.expression.fullmatch(text)
        if found is not None and (dated := _dated(one, found.groups(), zone)) is not None:
            return dated
    return None


def render(
    parts: Mapping[str, str], formats: Sequence[Format], zone: tzinfo | None, language: str = "en"
) -> str | None:
    """The text by the first format that says these parts of PARTS again, and no format before it otherwise."""
    began = parts.get("at") or parts.get("from") or parts.get("date")
    if began is None:
        return None
    try:
        start = datetime.fromisoformat(began)
        end = date.fromisoformat(parts["until"]) if "until" in parts else None
    except ValueError:
        return None
    for one in formats:
        if one.is_range is (end is not None):
            try:
                text = write(one, start, end, zone, language)
            except OverflowError:  # in this zone it lies before the year 1, or after 9999
                return None
            said = parse(text, formats, zone)
            if said is not None and all(_same(said.part(name), value) for name, value in parts.items()):
                return text
    return None


def _same(said: str, wanted: str) -> bool:
    if said == wanted:
        return True
    try:
        return "T" in said and datetime.fromisoformat(said) == datetime.fromisoformat(wanted)
    except (ValueError, TypeError):
        return False


def _dated(form: Format, groups: Sequence[str], zone: tzinfo | None) -> Dated | None:
    values: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for (which, field, token), text in zip(form.fields, groups, strict=True):
        month = _month(text) if token.startswith("MMM") else text
        if month is None:
            return None
        values[which][field] = month
    first, second = values
    if second and "day" in first:
        first.setdefault("month", second.get("month", ""))
    if second and "month" in first:
        first.setdefault("year", second["year"])
    try:
        start = _moment(first, zone)
        if not second:
            return Dated(start, _precision(first))
        until = _last_day(second)
    except ValueError:
        return None
    precision = min(_precision(first), _precision(second), key=PRECISIONS.index)
    return None if until < start.date() else Dated(start, precision, until)


def _moment(values: dict[str, str], zone: tzinfo | None) -> datetime:
    offset = values.get("offset")
    at = zone if offset is None else UTC if offset.upper() == "Z" else datetime.strptime(offset, "%z").tzinfo
    micro = int(values.get("fraction", "0").ljust(6, "0")[:6])
    hour, minute, second = (int(values.get(name, 0)) for name in ("hour", "minute", "second"))
    local = datetime(
        int(values["year"]), int(values.get("month", 1)), int(values.get("day", 1)), hour, minute, second, micro
    )
    return local.replace(tzinfo=at)


def _last_day(values: dict[str, str]) -> date:
    year, month = int(values["year"]), int(values.get("month", 12))
    return date(year, month, int(values["day"]) if "day" in values else monthrange(year, month)[1])


def _precision(values: dict[str, str]) -> str:
    for field, precision in (("hour", "minute"), ("day", "day"), ("month", "month")):
        if field in values:
            return precision
    return "year"


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFD", text.casefold().rstrip("."))
    return "".join(ch for ch in plain if not unicodedata.combining(ch))


MONTH_NUMBERS = ALSO | {
    _folded(name): number for names in MONTHS.values() for number, name in enumerate(names.split(), 1)
} | {
    _folded(name)[:3]: number for names in MONTHS.values() for number, name in enumerate(names.split(), 1)
    if not _folded(name).startswith("jui")
}  # fmt: skip
"""Folded name or abbreviation -> month; "jui" could be two months in French."""


def _month(text: str) -> str | None:
    number = MONTH_NUMBERS.get(_folded(text))
    return None if number is None else str(number)


def write(form: Format, start: datetime, until: date | None, zone: tzinfo | None, language: str) -> str:
    """The text that a form gives; whether it says the same again is `render`'s to try."""
    if zone is not None and start.tzinfo is not None:
        start = start.astimezone(zone)
    end = datetime.combine(until, datetime.min.time(), start.tzinfo) if until else start
    names = MONTHS.get(language, MONTHS["en"]).split()
    tokens = iter(form.fields)

    def value(found: re.Match[str]) -> str:
        if found[1] is not None:
            return found[1]
        which, _, token = next(tokens)
        at = (start, end)[which]
        offset = at.strftime("%z")
        return {
            "YYYY": f"{at.year:04}", "MMMM": names[at.month - 1], "MMM": names[at.month - 1][:3], "MM": f"{at.month:02}",
            "M": str(at.month), "DD": f"{at.day:02}", "D": str(at.day), "HH": f"{at.hour:02}", "mm": f"{at.minute:02}",
            "ss": f"{at.second:02}", "fff": f"{at.microsecond // 1000:03}", "Z": f"{offset[:3]}:{offset[3:]}" if offset else "",
        }[token]  # fmt: skip

    return TOKEN.sub(value, form.text)
