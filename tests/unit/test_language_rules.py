"""Each cross-field rule speaks when it should, with its severity and a pointer, and is silent otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.language import load_language, rules

LANGUAGE = load_language()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

Payload = dict[str, Any]
Change = Callable[[Payload], Any]

SEIZURE: Payload = {
    "header": {
        "id": "1", "kind": "seizure", "version": "1.0", "originator": "CL", "status": "actual",
        "event_at": "2026-11-19T22:10:00-03:00", "handling": {"tlp": "AMBER", "release": {"groups": ["OP-MARISMA"]}},
    },
    "body": {
        "form": "simplified", "heading": "tobacco",
        "period": {"from": "2026-11-18", "until": "2026-11-19"},
        "place": {"country": "CL", "locode": "CLVAP"},
        "goods": [{"side": "found", "hs": "240220", "quantity": {"value": "1000", "unit": "stick"}}],
        "transport": {"mode": "sea", "vessel": {"imo": {"value": "1234567"}}},
    },
}  # fmt: skip


def changed(change: Change) -> Payload:
    payload = copy.deepcopy(SEIZURE)
    change(payload)
    return payload


def header(**members: object) -> Change:
    return lambda payload: payload["header"].update(members)


def body(**members: object) -> Change:
    return lambda payload: payload["body"].update(members)


def handling(**members: object) -> Change:
    return lambda payload: payload["header"]["handling"].update(members)


def both(*changes: Change) -> Change:
    return lambda payload: [change(payload) for change in changes]


SHAPE: list[tuple[str, Change, str]] = [
    ("supersedes-and-withdraws", both(header(supersedes="CL:0", withdraws="CL:0"), handling(release=None)),
     "/header/withdraws"),
    ("release-missing", handling(release=None), "/header/handling/release"),
    ("release-of-withdrawal", header(withdraws="CL:0"), "/header/handling/release"),
]  # fmt: skip

SPOKEN: list[tuple[str, Change, str]] = [
    ("event-in-future", header(event_at="2026-11-20T12:05:01Z"), "/header/event_at"),
    ("expires-before-event", header(expires_at="2026-11-19T22:10:00-03:00"), "/header/expires_at"),
    ("already-expired", header(expires_at="2026-11-20T12:00:00Z"), "/header/expires_at"),
    ("acknowledge-after-expiry", header(expires_at="2027-01-01T00:00:00Z", acknowledge_by="2027-01-01T00:00:01Z"),
     "/header/acknowledge_by"),
    ("locode-country", body(place={"country": "CL", "locode": "PECLL"}), "/body/place/locode"),
    ("until-before-from", body(period={"from": "2026-11-19", "until": "2026-11-18"}), "/body/period/until"),
    ("mode-mismatch", body(transport={"mode": "road", "vessel": {"imo": {"value": "1234567"}}}),
     "/body/transport/vessel/imo/value"),
    ("mode-mismatch", body(transport={"mode": "sea", "awb": {"value": "020-81140743"}}), "/body/transport/awb/value"),
    ("hs-unlike-heading", body(heading="weapons"), "/body/goods/0/hs"),
    ("country-of-another", body(place={"country": "PE"}), "/body/place/country"),
]  # fmt: skip

SILENT: list[tuple[str, Change]] = [
    ("nothing changed", header()),
    ("five minutes ahead", header(event_at="2026-11-20T12:05:00Z")),
    ("expires later", header(expires_at="2027-01-01T00:00:00Z", acknowledge_by="2026-12-01T00:00:00Z")),
    ("acknowledge without expiry", header(acknowledge_by="2026-12-01T00:00:00Z")),
    ("mode not known", body(transport={"mode": "unknown", "vessel": {"imo": {"value": "1234567"}}})),
    ("no mode", body(transport={"awb": {"value": "020-81140743"}})),
    ("any chapter", body(heading="counterfeits")),
    ("a whole chapter", body(goods=[{"side": "found", "hs": "24", "quantity": {"value": "1", "unit": "KGM"}}])),
    ("an office is no country", both(header(originator="RILO-SA"), body(place={"country": "PE"}))),
    ("international waters", body(place={"country": "CL", "locode": "XZABC"})),
]


def test_every_rule_is_tried() -> None:
    """A rule without a case here would be a rule that nobody has seen speak."""
    assert {case[0] for case in SHAPE} == {rule.code for rule in rules.SHAPE}
    assert {case[0] for case in SPOKEN} == {rule.code for rule in rules.RULES}


@pytest.mark.parametrize(("code", "change", "pointer"), SHAPE, ids=[case[0] for case in SHAPE])
def test_a_shape_rule_refuses(code: str, change: Change, pointer: str) -> None:
    """What can be told from the header alone is told before the body is looked at."""
    assert [(fault.rule, fault.pointer) for fault in LANGUAGE.check_header(changed(change))] == [(code, pointer)]


@pytest.mark.parametrize(("code", "change", "pointer"), SPOKEN, ids=[case[0] for case in SPOKEN])
def test_a_rule_speaks_with_its_severity(code: str, change: Change, pointer: str) -> None:
    """An error refuses; a warning travels with the message."""
    reading = LANGUAGE.read_body(changed(change), now=NOW)
    severity = next(rule.severity for rule in rules.RULES if rule.code == code)
    spoken = reading.faults if severity == "error" else reading.warnings

    assert (code, pointer) in [(fault.rule, fault.pointer) for fault in spoken]
    assert bool(reading.faults) == (severity == "error")


@pytest.mark.parametrize(("name", "change"), SILENT, ids=[case[0] for case in SILENT])
def test_a_rule_is_silent_where_nothing_is_wrong(name: str, change: Change) -> None:
    """A rule that cries wolf is switched off by its readers."""
    payload = changed(change)

    assert LANGUAGE.check_header(payload) == ()
    reading = LANGUAGE.read_body(payload, now=NOW)
    assert reading.faults == ()
    assert [warning for warning in reading.warnings if warning.rule != "unknown-code"] == []
