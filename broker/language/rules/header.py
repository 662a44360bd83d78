"""Rules of the header: its shape (before the body is looked at), and its times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from broker.errors import Fault, quote
from broker.language.rules.report import Report, moment

EVENT_AHEAD_MAX = timedelta(minutes=5)
"""A clock may be wrong; an event may not lie in the future by more than that."""


def supersedes_or_withdraws(header: Mapping[str, Any]) -> Iterator[Fault]:
    """product.md, The message: not both in one message."""
    if header.get("supersedes") is not None and header.get("withdraws") is not None:
        yield Fault("/header/withdraws", "supersedes-and-withdraws", quote(header["withdraws"]))


def release_needed(header: Mapping[str, Any]) -> Iterator[Fault]:
    """product.md, Corrections: only a withdrawal has no release."""
    if header["handling"]["release"] is None and header.get("withdraws") is None:
        yield Fault("/header/handling/release", "release-missing", "null")


def release_unwanted(header: Mapping[str, Any]) -> Iterator[Fault]:
    """product.md, Corrections: a withdrawal goes to the holders, and has `release: null`."""
    if header["handling"]["release"] is not None and header.get("withdraws") is not None:
        yield Fault("/header/handling/release", "release-of-withdrawal", allowed=("null",))


def to_itself(header: Mapping[str, Any]) -> Iterator[Fault]:
    """A message neither answers nor quotes itself. That it corrects itself is for the ledger to refuse: no such version."""
    own = f"{header['originator']}:{header['id']}"
    if header.get("in_reply_to") == own:
        yield Fault("/header/in_reply_to", "refers-to-itself", own)
    for index, address in enumerate(header.get("references") or ()):
        if address == own:
            yield Fault(f"/header/references/{index}", "refers-to-itself", own)


def names_itself(report: Report) -> Iterator[Fault]:
    """The same in the body: no event is linked to itself, and nothing is its own source."""
    own = f"{report.header['originator']}:{report.header['id']}"
    for seen in (*report.role("linked"), *report.role("quoted")):
        if seen.value == own:
            yield Fault(seen.pointer, "names-itself", own)


# --- times -------------------------------------------------------------------------------------------------------


def event_in_future(report: Report) -> Iterator[Fault]:
    if moment(report.header["event_at"]) > report.now + EVENT_AHEAD_MAX:
        yield Fault("/header/event_at", "event-in-future", quote(report.header["event_at"]))


def expires_before_event(report: Report) -> Iterator[Fault]:
    expires = report.header.get("expires_at")
    if expires is not None and moment(expires) <= moment(report.header["event_at"]):
        yield Fault("/header/expires_at", "expires-before-event", quote(expires))


def already_expired(report: Report) -> Iterator[Fault]:
    """Accepted and recorded, but nobody will be handed it."""
    expires = report.header.get("expires_at")
    if expires is not None and moment(expires) <= report.now:
        yield Fault("/header/expires_at", "already-expired", quote(expires))


def acknowledge_after_expiry(report: Report) -> Iterator[Fault]:
    by, expires = report.header.get("acknowledge_by"), report.header.get("expires_at")
    if by is not None and expires is not None and moment(by) > moment(expires):
        yield Fault("/header/acknowledge_by", "acknowledge-after-expiry", quote(by))


def deadline_passed(report: Report) -> Iterator[Fault]:
    """A reply asked for by a moment before the event, or before now, asks for nothing."""
    for seen in report.role("deadline"):
        by = _moment_or_none(seen.value)
        if by is not None and by <= max(moment(report.header["event_at"]), report.now):
            yield Fault(seen.pointer, "deadline-passed", quote(seen.value))


def _moment_or_none(text: str) -> datetime | None:
    """Of a body's date-time, which a schema may leave without an offset, or at a leap second: no time to compare."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
