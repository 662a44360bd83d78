"""Promise 1, and all others at once, under every fault we can make: lost 0, unexpected 0, duplicates counted.

The short form of `make torture`: two gateways, two relays, PostgreSQL on a file system of its own and a cluster of
three RabbitMQ nodes, a proxy between all of them, each fault once. What the judge of it all would say of a hub that
loses, doubles or shows too much is asked below, with evidence made up by hand.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import model
from tests.engines import missing
from tests.region import ALERT, to
from tests.torture.evidence import Evidence, Seen, Sent, Shape
from tests.torture.faults import FAULTS
from tests.torture.judge import Judge
from tests.torture.ledger import Books, Row
from tests.torture.people import Moment, People
from tests.torture.run import Wanted, run
from tests.torture.world import possible

LONGEST_SECONDS = 70
"""So long after the start no fault begins: a slow machine leaves out the last ones, and says which."""


async def test_every_fault_once_loses_nothing_and_shows_nothing_unexpected() -> None:
    if why := possible():
        missing("The torture", why)
    seed = int(time.time())
    wanted = Wanted(messages=50_000, seed=seed, seconds=LONGEST_SECONDS, pace=0.4, once=True, rest_seconds=0.5)

    result = await run(wanted)

    told = result.table()
    left_out = FAULTS.keys() - result.evidence.faults.keys()
    counted = ", ".join(f"{told[name]} {name}" for name in ("accepted", "lost", "duplicated", "unexpected"))
    print(f"seed {seed}: {counted}; left out: {left_out or 'nothing'} {told['skipped'] or ''}; {told['seconds']}")
    assert result.good, json.dumps({"seed": seed, **told["samples"]}, indent=1)
    assert told["accepted"] > 100
    assert told["arrivals"] > 100
    assert len(left_out) < len(FAULTS) / 2


# ── the judge is no friend of ours ──

SHAPE = Shape(
    {"kind": "alert", "originator": "CL", "status": "actual", "handling": {"tlp": "AMBER", "release": to("PE")}}, ALERT
)
GONE = Shape({**SHAPE.header, "handling": {"tlp": "AMBER", "release": None}}, {})
ROW = Row(1, "published", "to", ("information",))


class Case:
    """CL posted one message to PE, who reads it by the queue `wire`; AR reads too, and may not see it. All is well."""

    def __init__(self) -> None:
        members: Any = {name: {"type": "customs", "state": "active"} for name in ("CL", "PE", "AR")}
        subscriptions: Any = [{"member": m, "name": "wire", "filter": {}, "delivery": "pull"} for m in ("PE", "AR")]
        groups: dict[str, model.Group] = {"OP": {"members": {"CL", "PE"}, "starts_at": None, "ends_at": None}}
        now = datetime.now(UTC)
        self.people = People(history=[])
        self.people.history.append(
            Moment({"now": now, "members": members, "groups": groups, "subscriptions": subscriptions}, 0, 0)
        )
        self.evidence = Evidence()
        self.evidence.sent["CL:a"] = Sent("CL:a", "CL", SHAPE, None, False, 1.0, 2.0, "digest", "receipt")
        self.books = Books(
            {"CL:a": ("digest", "receipt")}, {("PE", "wire"): {"CL:a": ROW}}, {("PE", "wire"): 1}, {}, []
        )
        self.see("PE", "CL:a")

    def see(self, member: str, address: str, sequence: int = 1, digest: str = "digest", asked: float = 3.0) -> None:
        self.evidence.arrived((member, "wire"), Seen(address, 1, sequence, True, digest, asked, asked + 1))

    def amend(self, shape: Shape, state: str, *, withdraws: bool = False) -> None:
        """CL:b corrects CL:a; PE has a delivery of it in that state."""
        self.evidence.sent["CL:b"] = Sent("CL:b", "CL", shape, "CL:a", withdraws, 5.0, 6.0, "digest", "receipt")
        self.books.messages["CL:b"] = ("digest", "receipt")
        rule = "holder" if withdraws else "to"
        self.books.deliveries["PE", "wire"]["CL:b"] = Row(2, state, rule, ("information",))
        self.books.last_sequence["PE", "wire"] = 2

    def verdict(self) -> tuple[int, set[str]]:
        judge = Judge(self.people, self.evidence, self.books)
        judge.judge()
        return len(judge.lost), set(self.evidence.unexpected)


def test_when_all_is_well_the_judge_finds_nothing() -> None:
    case = Case()
    case.see("PE", "CL:a")
    assert case.verdict() == (0, set())
    assert case.evidence.duplicates == 1
    assert Case().verdict() == (0, set())


def _no_message(case: Case) -> None:
    del case.books.messages["CL:a"]


def _never_came(case: Case) -> None:
    case.evidence.seen.clear()


def _no_delivery(case: Case) -> None:
    case.books.deliveries.clear()
    case.evidence.seen.clear()


def _tombstone_for_no_reason(case: Case) -> None:
    case.evidence.seen.clear()
    case.books.deliveries["PE", "wire"]["CL:a"] = Row(1, "revoked", "to", ("information",))


def _correction_never_came(case: Case) -> None:
    case.amend(GONE, "published", withdraws=True)


@pytest.mark.parametrize(
    "harm", [_no_message, _never_came, _no_delivery, _tombstone_for_no_reason, _correction_never_came]
)
def test_what_is_lost_is_found(harm: Any) -> None:
    case = Case()
    harm(case)
    assert case.verdict()[0] == 1


def _another_digest(case: Case) -> None:
    case.evidence.seen.clear()
    case.see("PE", "CL:a", digest="another")


def _another_receipt(case: Case) -> None:
    case.books.messages["CL:a"] = ("digest", "another")


def _nobody_posted_it(case: Case) -> None:
    case.books.messages["CL:b"] = ("digest", "receipt")


def _gap(case: Case) -> None:
    case.books.last_sequence["PE", "wire"] = 2


def _wrong_rule(case: Case) -> None:
    case.books.deliveries["PE", "wire"]["CL:a"] = Row(1, "published", "all", ("information",))


def _seen_by_another(case: Case) -> None:
    case.books.deliveries["AR", "wire"] = {"CL:a": ROW}
    case.books.last_sequence["AR", "wire"] = 1
    case.see("AR", "CL:a")


def _seen_where_nothing_is(case: Case) -> None:
    case.see("AR", "CL:a")


def _seen_while_suspended(case: Case) -> None:
    world = case.people.history[0].world
    members: Any = {**world["members"], "PE": {"type": "customs", "state": "suspended"}}
    case.people.history.append(Moment({**world, "members": members}, 2.1, 2.2))


def _seen_after_an_amendment_barred_it(case: Case) -> None:
    header = {**SHAPE.header, "handling": {"tlp": "AMBER", "release": to("AR")}}
    case.amend(Shape(header, ALERT), "published")
    del case.books.deliveries["PE", "wire"]["CL:b"]
    case.books.last_sequence["PE", "wire"] = 1
    case.books.deliveries["AR", "wire"] = {"CL:b": ROW}
    case.books.last_sequence["AR", "wire"] = 1
    case.see("AR", "CL:b", asked=7.0)
    case.books.notices["hub:n"] = "CL:a"
    case.books.messages["hub:n"] = ("", "")
    case.books.deliveries["PE", "wire"]["hub:n"] = Row(2, "published", "notice", ("information",))
    case.books.last_sequence["PE", "wire"] = 2
    case.see("PE", "hub:n", sequence=2, asked=7.0)
    case.see("PE", "CL:a", asked=8.0)


def _leased_after_it_was_withdrawn(case: Case) -> None:
    case.amend(GONE, "published", withdraws=True)
    case.see("PE", "CL:b", sequence=2, asked=7.0)
    case.see("PE", "CL:a", asked=8.0)


def _offered_after_its_successor(case: Case) -> None:
    case.amend(SHAPE, "published")
    case.evidence.seen.clear()
    case.see("PE", "CL:b", sequence=2, asked=7.0)
    case.see("PE", "CL:a", asked=8.0)


def _left_with_what_is_outdated(case: Case) -> None:
    header = {**SHAPE.header, "handling": {"tlp": "AMBER", "release": to("AR")}}
    case.amend(Shape(header, ALERT), "published")
    del case.books.deliveries["PE", "wire"]["CL:b"]
    case.books.last_sequence["PE", "wire"] = 1
    case.books.deliveries["AR", "wire"] = {"CL:b": ROW}
    case.books.last_sequence["AR", "wire"] = 1
    case.see("AR", "CL:b", asked=7.0)


@pytest.mark.parametrize(
    ("harm", "sort"),
    [
        (_another_digest, {"bytes"}),
        (_another_receipt, {"receipt"}),
        (_nobody_posted_it, {"unknown"}),
        (_gap, {"gap"}),
        (_seen_by_another, {"decided", "not entitled", "no longer entitled"}),
        (_seen_where_nothing_is, {"wrong queue"}),
        (_seen_while_suspended, {"no longer entitled"}),
        (_seen_after_an_amendment_barred_it, {"no longer entitled"}),
        (_leased_after_it_was_withdrawn, {"withdrawn"}),
        (_offered_after_its_successor, {"order"}),
        (_left_with_what_is_outdated, {"outdated"}),
    ],
)
def test_what_must_not_be_is_found(harm: Any, sort: set[str]) -> None:
    case = Case()
    harm(case)
    assert case.verdict() == (0, sort)


def test_a_wrong_rule_is_both() -> None:
    case = Case()
    _wrong_rule(case)
    assert case.verdict() == (1, {"decided"})
