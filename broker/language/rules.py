"""Rules between fields: named functions in two tables, each with its severity.

SHAPE concerns the header alone and runs with the envelope's schema. RULES run once a body has passed its schema,
together with identifiers and code lists. A rule finds fields by annotation (routes, formats, roles), never by kind or
name, so that a new kind needs none.

Not here: what depends on other messages, members or groups (`submit`, `entitlement`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from broker.errors import Fault, quote
from broker.language.codelists import CodeList
from broker.language.identifiers import FORMATS
from broker.language.plan import Seen

EVENT_AHEAD_MAX = timedelta(minutes=5)
"""A clock may be wrong; an event may not lie in the future by more than that."""

MODES_OF: Mapping[str, frozenset[str]] = {
    "imo": frozenset({"sea", "inland-water"}),
    "mmsi": frozenset({"sea", "inland-water"}),
    "awb": frozenset({"air", "post"}),
    "flight": frozenset({"air", "post"}),
    "s10": frozenset({"post", "air"}),
    "vin": frozenset({"road", "sea", "rail"}),
}
"""Which modes of transport go with an identifier (domain.md §6.2): post and express parcels fly, cars are shipped."""
MODES_THAT_SAY_NOTHING = frozenset({"unknown", "withheld", "other"})


@dataclass(frozen=True, slots=True)
class Report:
    """What a rule may look at. `seen` holds every marked string of the body."""

    header: Mapping[str, Any]
    seen: Sequence[Seen]
    attributes: Mapping[str, frozenset[str]]
    codelists: Mapping[str, CodeList]
    now: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """`check` yields Faults whose rule is `code`."""

    code: str
    severity: Literal["error", "warning"]
    check: Callable[[Report], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class ShapeRule:
    code: str
    check: Callable[[Mapping[str, Any]], Iterator[Fault]]


# --- the header alone --------------------------------------------------------------------------------------------


def _supersedes_or_withdraws(header: Mapping[str, Any]) -> Iterator[Fault]:
    """product.md, The message: not both in one message."""
    if header.get("supersedes") is not None and header.get("withdraws") is not None:
        yield Fault("/header/withdraws", "supersedes-and-withdraws", quote(header["withdraws"]))


def _release_needed(header: Mapping[str, Any]) -> Iterator[Fault]:
    """product.md, Corrections: only a withdrawal has no release."""
    if header["handling"]["release"] is None and header.get("withdraws") is None:
        yield Fault("/header/handling/release", "release-missing", "null")


def _release_unwanted(header: Mapping[str, Any]) -> Iterator[Fault]:
    """product.md, Corrections: a withdrawal goes to the holders, and has `release: null`."""
    if header["handling"]["release"] is not None and header.get("withdraws") is not None:
        yield Fault("/header/handling/release", "release-of-withdrawal", allowed=("null",))


SHAPE: tuple[ShapeRule, ...] = (
    ShapeRule("supersedes-and-withdraws", _supersedes_or_withdraws),
    ShapeRule("release-missing", _release_needed),
    ShapeRule("release-of-withdrawal", _release_unwanted),
)


# --- header and body ---------------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    """A date-time that has passed the envelope's schema: always with an offset, never a leap second."""
    return datetime.fromisoformat(text)


def _event_in_future(report: Report) -> Iterator[Fault]:
    if moment(report.header["event_at"]) > report.now + EVENT_AHEAD_MAX:
        yield Fault("/header/event_at", "event-in-future", quote(report.header["event_at"]))


def _expires_before_event(report: Report) -> Iterator[Fault]:
    expires = report.header.get("expires_at")
    if expires is not None and moment(expires) <= moment(report.header["event_at"]):
        yield Fault("/header/expires_at", "expires-before-event", quote(expires))


def _already_expired(report: Report) -> Iterator[Fault]:
    """Accepted and recorded, but nobody will be handed it."""
    expires = report.header.get("expires_at")
    if expires is not None and moment(expires) <= report.now:
        yield Fault("/header/expires_at", "already-expired", quote(expires))


def _acknowledge_after_expiry(report: Report) -> Iterator[Fault]:
    by, expires = report.header.get("acknowledge_by"), report.header.get("expires_at")
    if by is not None and expires is not None and moment(by) > moment(expires):
        yield Fault("/header/acknowledge_by", "acknowledge-after-expiry", quote(by))


def _locode_country(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: a UN/LOCODE lies in the country stated beside it."""
    for seen in report.seen:
        if seen.mark.format != "locode" or not isinstance(seen.holder, dict):
            continue
        country = FORMATS["locode"].country(seen.value)
        stated = _sibling(report, seen, "iso3166-1-alpha-2")
        if country is not None and stated is not None and stated != country:
            yield Fault(seen.pointer, "locode-country", quote(seen.value), more={"country": stated})


def _sibling(report: Report, beside: Seen, form: str) -> str | None:
    for seen in report.seen:
        if seen.holder is beside.holder and seen.mark.format == form:
            return seen.value
    return None


def _mode_mismatch(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: an IMO number travels by sea, an air waybill by air."""
    modes = report.attributes.get("mode", frozenset())
    if not modes or modes & MODES_THAT_SAY_NOTHING:
        return
    for seen in report.seen:
        wanted = MODES_OF.get(seen.mark.format or "")
        if wanted is not None and not wanted & modes:
            yield Fault(seen.pointer, "mode-mismatch", ", ".join(sorted(modes)), tuple(sorted(wanted)))


def _hs_unlike_heading(report: Report) -> Iterator[Fault]:
    """domain.md §7.7: some HS code of the report lies in a chapter that one expects under one of its headings."""
    headings = report.attributes.get("heading", frozenset())
    chapters: set[str] = set()
    for heading in headings:
        expected = _chapters(report, heading)
        if not expected:
            return
        chapters.update(expected)
    codes = [seen for seen in report.seen if seen.mark.route == "hs"]
    if chapters and codes and not any(_within(seen.value, chapters) for seen in codes):
        yield Fault(codes[0].pointer, "hs-unlike-heading", quote(codes[0].value), tuple(sorted(chapters)),
                    {"heading": ", ".join(sorted(headings))})  # fmt: skip


def _chapters(report: Report, heading: str) -> tuple[str, ...]:
    """HS chapters or codes that one expects under `heading`; empty: any."""
    codelist = report.codelists.get("headings")
    code = codelist.codes.get(heading) if codelist is not None else None
    return code.more.get("chapters", ()) if code is not None else ()


def _within(hs: str, chapters: set[str]) -> bool:
    digits = FORMATS["hs"].normalise(hs)
    return any(digits.startswith(chapter) or chapter.startswith(digits) for chapter in chapters)


def _country_of_another(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: the country of the event is the originator's own, if the originator is a country."""
    own = report.header["originator"]
    if FORMATS["iso3166-1-alpha-2"].check(own) is not None:
        return
    for seen in report.seen:
        if seen.mark.role == "event-country" and seen.value != own:
            yield Fault(seen.pointer, "country-of-another", quote(seen.value), (own,))


def _until_before_from(report: Report) -> Iterator[Fault]:
    """Dates compare as text: the schemas hold them to RFC 3339 full-date."""
    starts = {id(seen.holder): seen.value for seen in report.seen if seen.mark.role == "from"}
    for seen in report.seen:
        if seen.mark.role == "until" and seen.value < starts.get(id(seen.holder), ""):
            yield Fault(seen.pointer, "until-before-from", quote(seen.value), more={"from": starts[id(seen.holder)]})


RULES: tuple[Rule, ...] = (
    Rule("event-in-future", "error", _event_in_future),
    Rule("expires-before-event", "error", _expires_before_event),
    Rule("already-expired", "warning", _already_expired),
    Rule("acknowledge-after-expiry", "error", _acknowledge_after_expiry),
    Rule("locode-country", "error", _locode_country),
    Rule("until-before-from", "error", _until_before_from),
    Rule("mode-mismatch", "warning", _mode_mismatch),
    Rule("hs-unlike-heading", "warning", _hs_unlike_heading),
    Rule("country-of-another", "warning", _country_of_another),
)
