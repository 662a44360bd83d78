"""Each cross-field rule speaks when it should, with its severity and a pointer, and is silent otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from broker.language import load_language, rules
from broker.language.plan import Mark, Seen
from broker.language.rules.handling import EXPLAINED_MAX
from tests.generate import message

LANGUAGE = load_language()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

Payload = dict[str, Any]
Change = Callable[[Payload], Any]

SEIZURE: Payload = {
    "header": {
        "id": "1", "kind": "seizure", "version": "1.0", "originator": "CL", "status": "actual",
        "event_at": "2026-11-19T22:10:00-03:00", "legal_basis": "Acuerdo de 2014, art. 8",
        "handling": {"tlp": "AMBER", "release": {"groups": ["OP-MARISMA"]}},
    },
    "body": {
        "form": "simplified", "heading": "tobacco",
        "period": {"from": "2026-11-18", "until": "2026-11-19"},
        "place": {"country": "CL", "locode": "CLVAP", "subdivision": "CL-VS"},
        "goods": [{"side": "found", "hs": "240220", "tobacco": {"sticks": 1000},
                   "quantity": {"value": "1000", "unit": "stick"}}],
        "transport": {"mode": "sea", "vessel": {"imo": {"value": "1234567"}}},
        "route": [{"role": "origin", "country": "CN", "confirmed": True},
                  {"role": "destination", "country": "CL", "confirmed": False}],
        "persons": {"count": 2, "arrested": 2},
        "not_given": [{"field": "/procedure", "why": "unknown"}],
    },
}  # fmt: skip
ALERT: Payload = {
    "header": SEIZURE["header"] | {"kind": "alert"},
    "body": {
        "subject": "Cigarettes",
        "reason": "new-modus-operandi",
        "headings": ["tobacco"],
        "reply_by": "2026-11-21T12:00:00Z",
        "valid": {"from": "2026-11-01", "until": "2026-11-20"},
    },
}
BULLETIN: Payload = {
    "header": SEIZURE["header"] | {"kind": "bulletin", "originator": "RILO-SA"},
    "body": {
        "subject": "Cigarettes",
        "sections": [{"text": "…"}],
        "quoted": [{"message": "CL:1", "tlp": "AMBER", "handling_code": "H2", "consent": "CL:7"}],
    },
}
WILDLIFE: Payload = {
    "header": SEIZURE["header"] | {"event_at": "2016-12-31T12:00:00Z"},
    "body": {name: value for name, value in SEIZURE["body"].items() if name != "period"} | {
        "heading": "wildlife",
        "goods": [{"side": "found", "species": "Manis javanica", "quantity": {"value": "10", "unit": "KGM"},
                   "wildlife": {"taxon": "Manis javanica", "appendix": "II"}}],
    },
}  # fmt: skip
MESSAGES = (SEIZURE, ALERT, BULLETIN, WILDLIFE)
NAMED = {"persons": [{"name": "Juan Pérez"}]}


def changed(change: Change, payload: Payload = SEIZURE) -> Payload:
    payload = copy.deepcopy(payload)
    change(payload)
    return payload


def header(**members: object) -> Change:
    return lambda payload: payload["header"].update(members)


def body(**members: object) -> Change:
    return lambda payload: payload["body"].update(members)


def handling(**members: object) -> Change:
    return lambda payload: payload["header"]["handling"].update(members)


def goods(**members: object) -> Change:
    return lambda payload: payload["body"]["goods"][0].update(members)


def quoted(**members: object) -> Change:
    return lambda payload: payload["body"]["quoted"][0].update(members)


def long(heading: str, of_the_goods: str | None = None) -> Change:
    """A long report of goods without any block."""

    def change(payload: Payload) -> None:
        line = {"side": "found", "description": "What was found"} | ({"heading": of_the_goods} if of_the_goods else {})
        place = {"country": "CL", "type": "seaport"}
        payload["body"] |= {"form": "long", "heading": heading, "procedure": "import", "place": place, "goods": [line]}
        payload["body"].pop("not_given", None)

    return change


def both(*changes: Change) -> Change:
    return lambda payload: [change(payload) for change in changes]


def days(*on: str | None) -> Change:
    """A route of so many legs, on those days."""
    legs = [{"country": "CN", "confirmed": True} | ({"on": day} if day else {}) for day in on]
    return body(route=legs)


def ends(*confirmed: bool) -> Change:
    """A route of so many destinations."""
    return body(route=[{"role": "destination", "country": "CL", "confirmed": one} for one in confirmed])


def gap(field: str) -> Change:
    return body(not_given=[{"field": field, "why": "unknown"}])


def counted(unit: str) -> Change:
    return goods(quantity={"value": "1", "unit": unit})


SHAPE: list[tuple[str, Change, str]] = [
    ("supersedes-and-withdraws", both(header(supersedes="CL:0", withdraws="CL:0"), handling(release=None)),
     "/header/withdraws"),
    ("release-missing", handling(release=None), "/header/handling/release"),
    ("release-of-withdrawal", header(withdraws="CL:0"), "/header/handling/release"),
    ("refers-to-itself", header(in_reply_to="CL:1"), "/header/in_reply_to"),
    ("refers-to-itself", header(references=["PE:1", "CL:1"]), "/header/references/1"),
]  # fmt: skip

SPOKEN: list[tuple[str, Payload, Change, str]] = [
    ("event-in-future", SEIZURE, header(event_at="2026-11-20T12:05:01Z"), "/header/event_at"),
    ("expires-before-event", SEIZURE, header(expires_at="2026-11-19T22:10:00-03:00"), "/header/expires_at"),
    ("already-expired", SEIZURE, header(expires_at="2026-11-20T12:00:00Z"), "/header/expires_at"),
    ("acknowledge-after-expiry", SEIZURE,
     header(expires_at="2027-01-01T00:00:00Z", acknowledge_by="2027-01-01T00:00:01Z"), "/header/acknowledge_by"),
    ("deadline-passed", ALERT, body(reply_by="2026-11-20T12:00:00Z"), "/body/reply_by"),
    ("deadline-passed", ALERT, body(reply_by="2026-11-20T09:00:00-03:00"), "/body/reply_by"),
    ("names-itself", SEIZURE, body(linked_events=["CL:2", "CL:1"]), "/body/linked_events/1"),
    ("names-itself", BULLETIN, quoted(message="RILO-SA:1"), "/body/quoted/0/message"),
    ("nominal-to-all", SEIZURE, both(body(nominal=NAMED), handling(tlp="GREEN", release={"all": True})),
     "/body/nominal"),
    ("nominal-without-basis", SEIZURE, both(body(nominal=NAMED), header(legal_basis=None)), "/header/legal_basis"),
    ("marking-wider", BULLETIN, quoted(tlp="AMBER+STRICT"), "/body/quoted/0/tlp"),
    ("marking-wider", BULLETIN, handling(tlp="GREEN"), "/body/quoted/0/tlp"),
    ("consent-missing", BULLETIN, lambda payload: payload["body"]["quoted"][0].pop("consent"),
     "/body/quoted/0/handling_code"),
    ("gap-filled", SEIZURE, gap("/route"), "/body/not_given/0/field"),
    ("gap-filled", SEIZURE, gap("/goods/0/quantity/unit"), "/body/not_given/0/field"),
    ("gap-unknown", SEIZURE, gap("/goods/0/colour"), "/body/not_given/0/field"),
    ("gap-unknown", SEIZURE, gap("/route/7"), "/body/not_given/0/field"),
    ("locode-country", SEIZURE, body(place={"country": "CL", "locode": "PECLL"}), "/body/place/locode"),
    ("locode-country", SEIZURE, body(route=[{"country": "CL", "locode": "PECLL", "confirmed": True}]),
     "/body/route/0/locode"),
    ("airport-country", SEIZURE, body(place={"country": "CL", "airport": "LIM"}), "/body/place/airport"),
    ("airport-country", ALERT, body(route=[{"country": "CL", "airport": "LIM", "confirmed": True}]),
     "/body/route/0/airport"),
    ("airport-country", SEIZURE, body(route=[{"country": "US", "airport": "SJU", "confirmed": True}]),
     "/body/route/0/airport"),
    ("subdivision-country", SEIZURE, body(place={"country": "CL", "subdivision": "PE-LIM"}), "/body/place/subdivision"),
    ("until-before-from", SEIZURE, body(period={"from": "2026-11-19", "until": "2026-11-18"}), "/body/period/until"),
    ("until-before-from", ALERT, body(valid={"from": "2026-12-02", "until": "2026-12-01"}), "/body/valid/until"),
    ("event-outside-period", SEIZURE, header(event_at="2026-11-20T12:00:00Z"), "/body/period/until"),
    ("event-outside-period", SEIZURE, header(event_at="2026-11-17T09:59:59Z"), "/body/period/until"),
    ("validity-over", ALERT, body(valid={"from": "2026-11-01", "until": "2026-11-19"}), "/body/valid/until"),
    ("part-exceeds-whole", SEIZURE, body(persons={"count": 2, "arrested": 3}), "/body/persons/arrested"),
    ("part-exceeds-whole", SEIZURE, body(persons={"count": 9.0, "arrested": 10.0}), "/body/persons/arrested"),
    ("route-order", SEIZURE, days("2026-11-02", None, "2026-11-01"), "/body/route/2/on"),
    ("route-order", SEIZURE, ends(True, False, True), "/body/route/2/role"),
    ("route-order", SEIZURE, lambda payload: payload["body"]["route"].reverse(), "/body/route/1/role"),
    ("mode-mismatch", SEIZURE, body(transport={"mode": "road", "vessel": {"imo": {"value": "1234567"}}}),
     "/body/transport/vessel/imo/value"),
    ("mode-mismatch", SEIZURE, body(transport={"mode": "sea", "awb": {"value": "020-81140743"}}),
     "/body/transport/awb/value"),
    ("locode-function", SEIZURE, body(place={"country": "CL", "locode": "CLSCL", "type": "seaport"}), "/body/place/locode"),
    ("locode-function", SEIZURE, body(place={"country": "CL", "locode": "CLSAI", "airport": "SCL"}), "/body/place/locode"),
    *(("unknown-hs", SEIZURE, both(body(heading="counterfeits"), goods(heading="tobacco", hs=code)), "/body/goods/0/hs")
      for code in ("999999", "293330", "77", "0000", "99", "2933.30", "852455", "382700")),
    *(("hs-at-date", SEIZURE, both(body(heading="counterfeits"), goods(heading="tobacco", hs=code)), "/body/goods/0/hs")
      for code in ("970500", "9705.00", "293991", "851712", "8803", "880330")),
    *(("hs-at-date", WILDLIFE, both(header(event_at=f"{day}T12:00:00Z"), goods(hs=code)), "/body/goods/0/hs")
      for code, day in (("030392", "2016-12-31"), ("030292", "2011-06-01"), ("440342", "2016-12-31"))),
    ("hs-unlike-heading", SEIZURE, goods(hs="930200"), "/body/goods/0/hs"),
    ("block-unlike-heading", SEIZURE, goods(drugs={"packages": 1}), "/body/goods/0/drugs"),
    ("block-unlike-heading", SEIZURE, goods(heading="alcohol"), "/body/goods/0/tobacco"),
    ("block-missing", SEIZURE, long("strategic"), "/body/heading"),
    ("block-missing", SEIZURE, long("radioactive", "alcohol"), "/body/heading"),
    ("block-missing", SEIZURE, long("environment"), "/body/heading"),
    ("block-missing", SEIZURE, both(long("wildlife"), goods(species="Manis javanica")), "/body/heading"),
    ("block-missing", SEIZURE, long("other", "strategic"), "/body/goods/0/heading"),
    ("unit-unusual", SEIZURE, counted("ampoule"), "/body/goods/0/quantity/unit"),
    ("quantity-zero", SEIZURE, goods(quantity={"value": "0.00", "unit": "stick"}), "/body/goods/0/quantity/value"),
    ("appendix-at-date", WILDLIFE, header(event_at="2017-01-02T00:00:00Z"), "/body/goods/0/wildlife/appendix"),
    ("appendix-at-date", WILDLIFE, goods(wildlife={"taxon": "Manis javanica", "appendix": "III"}),
     "/body/goods/0/wildlife/appendix"),
    ("country-of-another", SEIZURE, body(place={"country": "PE"}), "/body/place/country"),
]  # fmt: skip

SILENT: list[tuple[str, Payload, Change]] = [
    ("five minutes ahead", ALERT, header(event_at="2026-11-20T12:05:00Z")),
    ("an event of that day somewhere", SEIZURE, header(event_at="2026-11-20T11:59:00Z")),
    ("what a product covers is over", BULLETIN, body(period={"from": "2026-07-01", "until": "2026-09-30"})),
    ("linked to another", SEIZURE, body(linked_events=["CL:2", "PE:1"])),
    ("ends that are possible", SEIZURE, ends(False, True, False)),
    ("days of a journey", SEIZURE, days("2026-11-01", "2026-11-01", None, "2026-11-18")),
    ("expires later", SEIZURE, header(expires_at="2027-01-01T00:00:00Z", acknowledge_by="2026-12-01T00:00:00Z")),
    ("acknowledge without expiry", SEIZURE, header(acknowledge_by="2026-12-01T00:00:00Z")),
    ("another's answer", SEIZURE, header(in_reply_to="PE:1", references=["CL:2", "PE:1"], supersedes="CL:0")),
    ("a second before the deadline", ALERT, body(reply_by="2026-11-20T12:00:01Z")),
    ("valid until today", ALERT, header()),
    ("valid for ever", ALERT, body(valid={"from": "2026-11-01"})),
    ("nominal to a group", SEIZURE, body(nominal=NAMED)),
    ("nominal to members by name", SEIZURE, both(body(nominal=NAMED), handling(tlp="RED", release={"to": [{"member": "PE"}]}))),
    ("nobody named, no basis, to all", SEIZURE,
     both(header(legal_basis=None), handling(tlp="GREEN", release={"all": True}))),
    ("as narrow as what is quoted", BULLETIN, header()),
    ("narrower than what is quoted", BULLETIN, both(quoted(tlp="CLEAR"), handling(tlp="RED"))),
    ("a handling code without conditions", BULLETIN,
     lambda payload: (quoted(handling_code="H0")(payload), payload["body"]["quoted"][0].pop("consent"))),
    ("a gap further in", SEIZURE, gap("/goods/0/second_quantity/unit")),
    ("a gap in a line that there is not", SEIZURE, gap("/goods/5/quantity")),
    ("mode not known", SEIZURE, body(transport={"mode": "unknown", "vessel": {"imo": {"value": "1234567"}}})),
    ("no mode", SEIZURE, body(transport={"awb": {"value": "020-81140743"}})),
    ("any chapter", SEIZURE, both(body(heading="counterfeits"), goods(heading="tobacco"))),
    ("a whole chapter", SEIZURE, goods(hs="24")),
    ("a port that has a seaport", SEIZURE, body(place={"country": "CL", "locode": "CLSAI", "type": "seaport"})),
    ("a warehouse anywhere", SEIZURE, body(place={"country": "CL", "locode": "CLSAI", "type": "warehouse"})),
    ("functions that are not known", SEIZURE, body(place={"country": "CL", "locode": "CLVAP", "type": "airport"})),
    ("a code that ended, where an edition came late", SEIZURE, both(
        header(event_at="2020-11-19T12:00:00Z"), body(heading="counterfeits"), goods(heading="tobacco", hs="293991"),
        lambda payload: payload["body"].pop("period"))),
    ("an alert of today on an event of before", ALERT, both(
        header(event_at="2019-11-19T12:00:00Z"), body(goods=[{"hs": "2404"}]))),
    ("a code of the edition of that day", WILDLIFE, goods(hs="440320")),
    ("a code of every edition", WILDLIFE, goods(hs="0507.10")),
    ("a code that came with the edition of that day", SEIZURE, goods(hs="240411")),
    ("one line of the heading is enough", SEIZURE,
     lambda payload: payload["body"]["goods"].append({"side": "declared", "hs": "690721"})),
    ("an office is no country", SEIZURE, both(header(originator="RILO-SA"), body(place={"country": "PE"}))),
    ("international waters", SEIZURE, body(place={"country": "CL", "locode": "XZABC"})),
    ("an airport of its country", SEIZURE, body(place={"country": "CL", "airport": "SCL"})),
    ("an airport of two countries", SEIZURE, body(route=[{"country": "CH", "airport": "BSL", "confirmed": True}])),
    ("an airport of a territory", SEIZURE, body(route=[{"country": "PR", "airport": "SJU", "confirmed": True}])),
    ("an airport that is in no table", SEIZURE, body(place={"country": "CL", "airport": "ZZZ"})),
    ("an airport alone", SEIZURE, body(route=[{"airport": "LIM", "confirmed": True}])),
    ("one day", SEIZURE, body(period={"from": "2026-11-19", "until": "2026-11-19"})),
    ("nobody arrested", SEIZURE, body(persons={"count": 0, "arrested": 0})),
    ("nobody counted", SEIZURE, body(persons={"arrested": 7})),
    ("an integer may be written 2.0", SEIZURE, body(persons={"count": 2.0, "arrested": 1})),
    ("two ways into one destination", SEIZURE,
     lambda payload: payload["body"]["route"].insert(1, {"role": "origin", "country": "VN", "confirmed": False})),
    ("a leg whose part is not known", SEIZURE,
     lambda payload: payload["body"]["route"].append({"country": "AR", "confirmed": False})),
    ("no block in a simplified report", SEIZURE, both(long("strategic"), body(form="simplified"), counted("C62"))),
    ("a heading whose block nobody needs", SEIZURE, long("tobacco")),
    ("a block in some line", SEIZURE, both(long("strategic"), lambda payload: payload["body"]["goods"].append(
        {"side": "found", "description": "Valves", "strategic": {"catch_all": True}}))),
    ("a block that is not known", SEIZURE, both(long("strategic"), gap("/goods/0/strategic"))),
    ("what would be in the block is not known", SEIZURE, both(long("strategic"), gap("/goods/0/strategic/control"))),
    ("a unit of every heading", SEIZURE, counted("KGM")),
    ("a little is not nothing", SEIZURE, goods(quantity={"value": "0.000001", "unit": "KGM"})),
    ("the Appendix of that day", WILDLIFE, header()),
    ("an Appendix of no known species", WILDLIFE, goods(wildlife={"appendix": "III"})),
]  # fmt: skip


def test_every_rule_is_tried() -> None:
    """A rule without a case here would be a rule that nobody has seen speak."""
    assert {case[0] for case in SHAPE} == {rule.code for rule in rules.SHAPE}
    assert {case[0] for case in SPOKEN} == {rule.code for rule in rules.RULES}


@pytest.mark.parametrize("payload", MESSAGES, ids=["seizure", "alert", "bulletin", "wildlife"])
def test_the_messages_that_are_changed_here_are_right_as_they_stand(payload: Payload) -> None:
    """Else a case might speak of something that was wrong before."""
    assert LANGUAGE.check_header(payload) == ()
    reading = LANGUAGE.read_body(payload, now=NOW)
    assert reading.faults == reading.warnings == ()


@pytest.mark.parametrize(("code", "change", "pointer"), SHAPE, ids=[case[0] for case in SHAPE])
def test_a_shape_rule_refuses(code: str, change: Change, pointer: str) -> None:
    """What can be told from the header alone is told before the body is looked at."""
    assert [(fault.rule, fault.pointer) for fault in LANGUAGE.check_header(changed(change))] == [(code, pointer)]


@pytest.mark.parametrize(("code", "payload", "change", "pointer"), SPOKEN, ids=[case[0] for case in SPOKEN])
def test_a_rule_speaks_with_its_severity(code: str, payload: Payload, change: Change, pointer: str) -> None:
    """An error refuses; a warning travels with the message."""
    made = changed(change, payload)
    reading = LANGUAGE.read_body(made, now=NOW)
    severity = next(rule.severity for rule in rules.RULES if rule.code == code)
    spoken = reading.faults if severity == "error" else reading.warnings

    assert LANGUAGE.check_header(made) == ()
    assert [(fault.rule, fault.pointer) for fault in spoken] == [(code, pointer)]
    assert bool(reading.faults) == (severity == "error")


@pytest.mark.parametrize(("name", "payload", "change"), SILENT, ids=[case[0] for case in SILENT])
def test_a_rule_is_silent_where_nothing_is_wrong(name: str, payload: Payload, change: Change) -> None:
    """A rule that cries wolf is switched off by its readers."""
    made = changed(change, payload)

    assert LANGUAGE.check_header(made) == ()
    reading = LANGUAGE.read_body(made, now=NOW)
    assert reading.faults == ()
    assert [warning for warning in reading.warnings if warning.rule != "unknown-code"] == []


def test_what_is_said_to_be_right_is_right_on_that_day() -> None:
    """Who follows the answer is not answered anew."""
    made = changed(both(header(event_at="2021-12-01T12:00:00Z"), goods(hs="293991"), lambda p: p["body"].pop("period")))
    said = [one for one in LANGUAGE.read_body(made, now=NOW).warnings if one.rule == "hs-at-date"]
    assert [one.allowed for one in said] == [("293971",)]
    again = changed(goods(hs="293971"), made)
    assert "hs-at-date" not in {one.rule for one in LANGUAGE.read_body(again, now=NOW).warnings}


# --- what a kind needs of the header -----------------------------------------------------------------------------

NEEDS = [(kind, name) for (kind, _), known in LANGUAGE.kinds.items() for name in known.requires]


def test_what_kinds_need_of_the_header() -> None:
    """A reply without what it replies to, or a request without a legal basis, is of no use to anybody."""
    assert set(NEEDS) == {
        ("comment", "in_reply_to"), ("outcome", "in_reply_to"), ("reply", "in_reply_to"), ("request", "legal_basis"),
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), NEEDS)
@pytest.mark.parametrize("given", [None, "absent"])
def test_a_kind_that_needs_a_member_of_the_header_says_so(kind: str, name: str, given: str | None) -> None:
    """Absent and null are the same; the body's faults are told along with it."""
    payload = message(kind, Random(1))
    payload["header"][name] = None
    if given == "absent":
        del payload["header"][name]
    payload["body"]["zz"] = 1
    faults = LANGUAGE.read_body(payload, now=NOW).faults

    assert [(fault.rule, fault.pointer) for fault in faults] == [
        ("header-needed", f"/header/{name}"), ("unknown-member", "/body/zz"),
    ]  # fmt: skip
    assert faults[0].more == {"kind": kind}


def test_a_withdrawal_needs_no_more_than_its_reason() -> None:
    """Whoever withdraws a request need not find its legal basis again."""
    payload = message("request", Random(1))
    payload["header"] |= {"withdraws": "PE:0", "legal_basis": None}
    payload["header"]["handling"]["release"] = None
    payload["body"] = {"reason_code": "mistaken", "text": "Entered twice"}

    assert LANGUAGE.check_header(payload) == LANGUAGE.read_body(payload, now=NOW).faults == ()


# --- what an answer says -----------------------------------------------------------------------------------------


def test_an_answer_says_what_would_have_done() -> None:
    """The nearest field, the markings that are narrow enough, the Appendix of that day, the country itself."""

    def allowed(payload: Payload, change: Change) -> tuple[str, ...]:
        reading = LANGUAGE.read_body(changed(change, payload), now=NOW)
        return (*reading.faults, *reading.warnings)[0].allowed

    assert allowed(SEIZURE, gap("/goods/0/quantit"))[0] == "/goods/*/quantity"
    assert allowed(BULLETIN, handling(tlp="GREEN")) == ("RED", "AMBER+STRICT", "AMBER")
    assert allowed(WILDLIFE, header(event_at="2017-01-02T00:00:00Z")) == ("I",)
    assert allowed(SEIZURE, body(place={"country": "PE"})) == ("CL",)


def test_many_unknown_gaps_cost_no_more_than_some() -> None:
    """The nearest fields are looked up for the first ones alone; each is told all the same."""
    many = [{"field": f"/goods/{n}/colour", "why": "unknown"} for n in range(64)]
    faults = LANGUAGE.read_body(changed(body(not_given=many)), now=NOW).faults

    assert [fault.pointer for fault in faults] == [f"/body/not_given/{n}/field" for n in range(64)]
    assert all(fault.rule == "gap-unknown" for fault in faults)
    assert {n for n, fault in enumerate(faults) if fault.allowed} <= set(range(EXPLAINED_MAX))
    assert faults[0].allowed


# --- roles in schemas that are not ours --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "other", "value", "beside"),
    [
        ("deadline", "gap-reason", "2026-11-20", ""),
        ("deadline", "gap-reason", "2026-12-31T23:59:60Z", ""),
        ("deadline", "gap-reason", "2026-11-20T12:00:00", ""),
        ("part", "whole", "1.5", "1"),
        ("part", "whole", "²", "1"),
        ("part", "whole", "2", "many"),
        ("quoted-tlp", "consent", "WHITE", ""),
        ("appendix", "taxon", "IV", "Manis javanica"),
        ("valid-until", "from", "soon", "later"),
        ("leg", "whole", "detour", "1"),
        ("quantity", "whole", "much", "1"),
    ],
)
def test_a_rule_reads_what_a_newcomer_s_schema_lets_through(role: str, other: str, value: str, beside: str) -> None:
    """A schema that marks a field more loosely than ours do must not make the hub stumble."""
    holder = {"a": value, "b": beside}
    seen = [
        Seen(Mark(role=role), value, "/body/a", holder),
        Seen(Mark(role=other, codelist="cites-species"), beside, "/body/b", holder),
    ]
    report = rules.Report(SEIZURE["header"], seen, {}, LANGUAGE.codelists, NOW, holder)

    for rule in rules.RULES:
        list(rule.check(report))


@pytest.mark.parametrize(
    ("rule", "pointer", "change"),
    [
        ("unknown-code", "/body/heading", lambda p: p["body"].update(heading="tobaco")),
        ("unknown-country", "/body/place/country", lambda p: p["body"]["place"].update(country="UK")),
        ("unknown-country", "/body/place/locode", lambda p: p["body"]["place"].update(locode="QQVAP")),
        ("unknown-subdivision", "/body/place/subdivision", lambda p: p["body"]["place"].update(subdivision="PE-ZZ9")),
        ("unknown-code", "/body/goods/0/quantity/unit", lambda p: p["body"]["goods"][0]["quantity"].update(unit="stk")),
        ("unknown-code", "/body/transport/mode", lambda p: p["body"]["transport"].update(mode="ship")),
        ("check-digit", "/body/transport/vessel/imo/value",
         lambda p: p["body"]["transport"].update(mode="road", vessel={"imo": {"value": "1234568"}})),
        ("unknown-code", "/body/goods/0/heading",
         lambda p: p["body"]["goods"].insert(0, {"side": "found", "heading": "tobaco", "hs": "240220", "tobacco": {"sticks": 9},
                                               "quantity": {"value": "9", "unit": "stick"}})),
    ],
)  # fmt: skip
def test_one_cause_gets_one_answer(rule: str, pointer: str, change: Change) -> None:
    """A value that has a fault of its own is not compared with its neighbours, too, nor is what it would route by."""
    reading = LANGUAGE.read_body(changed(change), now=NOW)

    assert [(fault.rule, fault.pointer) for fault in reading.faults] == [(rule, pointer)]
    assert reading.warnings == ()
