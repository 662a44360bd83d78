"""What the bench posts, and what it says of its figures: ratios beside the floor of the same round, and what is worse."""

from __future__ import annotations

from typing import Any

import pytest

from broker import clock, jws, verify
from broker.errors import SetupRefused
from tests.bench import report
from tests.bench.hub import UNREAD
from tests.bench.load import ORIGINATORS, WIRE_BYTES, Load
from tests.bench.meter import Figures
from tests.region import LANGUAGE

FLOOR: Figures = {
    "number": 1000, "seconds": 2.0, "accepted_per_s": 2000.0, "published_per_s": 5000.0, "whole_per_s": 3000.0,
    "verified_us": 120, "accepted_us": 400, "published_us": 160, "whole_us": 240,
}  # fmt: skip


def a_round(speed: float = 1.0, slow_minute: float = 1.0, us: int = 500) -> dict[str, Figures]:
    """The hub at half the floor's rates times `speed`; in a slow minute hub and floor lose alike."""
    floor = {k: v / slow_minute if k.endswith("_per_s") else v for k, v in FLOOR.items()}
    rounds = {"floor": floor}
    for name, what in report.FLOORS.items():
        figures: Figures = {
            "number": 500, "seconds": 1.0, "per_s": FLOOR[f"{what}_per_s"] / 2 * speed / slow_minute,
            "p50_ms": 10.0, "p99_ms": 30.0, "us": us, "hub_us": us - 100,
            "cores": {"hub": 0.9, "load": 0.1, "others": 0.0},
        }  # fmt: skip
        rounds[name] = report.beside(name, figures, floor)
    return rounds


def a_report(*rounds: dict[str, Figures], others: float = 0.0) -> dict[str, Any]:
    return {
        "schema": report.SCHEMA, "rounds": len(rounds), "seconds": 12.0,
        "machine": {"processor": "Some processor", "cores": 2, "file_system": "ext4", "fdatasync_ms": 0.3, "others_cores": others},
        "versions": {"postgresql": "15.1"}, "durability": {"fsync": "on"},
        "messages": {"signed": 5000, "octets": [1990, 2010], "originators": 4, "recipients": 5},
        "ratios": report.ratios(rounds), "measurements": report.merged(rounds),
    }  # fmt: skip


def test_a_ratio_is_taken_beside_the_floor_of_its_own_round() -> None:
    """A minute in which the machine is three times slower changes no ratio."""
    steady, disturbed = report.ratios([a_round(), a_round()]), report.ratios([a_round(), a_round(slow_minute=3)])

    assert steady == disturbed
    assert {kinds["rate"] for kinds in steady.values()} == {0.5}


def test_the_floors_before_and_after_count_alike() -> None:
    slower = FLOOR | {"published_per_s": 3000.0, "published_us": 240}

    found = report.beside("pull", {"per_s": 2000.0, "us": 400}, FLOOR, slower)

    assert (found["rate"], found["cpu"]) == (0.5, 0.5)


def test_what_has_no_floor_is_left_alone() -> None:
    assert report.beside("posts_alone", {"per_s": 300.0}, FLOOR) == {"per_s": 300.0}


def test_messages_are_set_against_messages_and_deliveries_against_deliveries() -> None:
    found = report.ratios([a_round()])

    assert found["posts_batch"]["cpu"] == 0.8  # 400 of 500 µs a message
    assert found["amqp_catch_up"]["cpu"] == 0.32  # 160 of 500 µs a delivery
    assert found["amqp_steady"]["cpu"] == 0.48


def test_one_bad_round_of_three_moves_no_ratio() -> None:
    bad = a_round(speed=0.1, us=150)

    assert report.ratios([a_round(), bad, a_round()]) == report.ratios([a_round()])


def test_rounds_are_merged_by_median_and_what_was_done_is_summed_up() -> None:
    merged = report.merged([a_round(), a_round(speed=0.1), a_round(speed=1.2)])

    assert merged["pull"]["per_s"] == 2500
    assert (merged["pull"]["number"], merged["pull"]["seconds"]) == (1500, 3.0)
    assert merged["pull"]["cores"] == {"hub": 0.9, "load": 0.1, "others": 0.0}


def test_the_table_says_every_measurement_and_how_durable_it_was() -> None:
    lines = "\n".join(report.table(a_report(a_round())))

    assert all(name in lines for name in report.FLOORS)
    assert "fsync on" in lines
    assert "busy, and may be" not in lines
    assert "Others kept" not in lines


def test_the_table_warns_of_a_busy_load_generator_and_of_a_busy_machine() -> None:
    disturbed = a_report(a_round(), others=1.5)
    disturbed["measurements"]["pull"]["cores"]["load"] = 0.95

    lines = "\n".join(report.table(disturbed))

    assert "pull: the load generator kept 0.95 of a core busy" in lines
    assert "Others kept 1.50 cores" in lines


def test_the_same_again_is_not_worse() -> None:
    assert not any(change.worse for change in report.changes(a_report(a_round()), a_report(a_round())))


@pytest.mark.parametrize(("now", "worse"), [(1.4, False), (1.0, False), (0.76, False), (0.74, True), (0.1, True)])
def test_a_ratio_may_fall_by_a_quarter_and_no_more(now: float, worse: bool) -> None:
    changes = report.changes(a_report(a_round()), a_report(a_round(speed=now)))

    assert {change.worse for change in changes if change.name.endswith("rate")} == {worse}
    assert not any(change.worse for change in changes if change.name.endswith("cpu"))


def test_more_processor_time_for_the_same_rate_is_worse() -> None:
    changes = report.changes(a_report(a_round()), a_report(a_round() | {"pull": a_round(us=700)["pull"]}))

    assert [change.name for change in changes if change.worse] == ["pull cpu"]
    assert "WORSE" in str(next(change for change in changes if change.worse))


@pytest.mark.parametrize(("then", "now"), [(1.5, 0.0), (0.0, 1.5)])
def test_where_others_were_busy_rates_are_told_and_not_judged(then: float, now: float) -> None:
    """Then as now; what the processors were used for is judged all the same."""
    bad = a_round(speed=0.1) | {"pull": a_round(speed=0.1, us=5000)["pull"]}

    changes = report.changes(a_report(a_round(), others=then), a_report(bad, others=now))

    assert [change.name for change in changes if change.worse] == ["pull cpu"]
    assert "not judged" in str(next(change for change in changes if change.name == "pull rate"))


def test_what_is_no_longer_measured_is_worse() -> None:
    new = a_report(a_round())
    del new["ratios"]["pull"]

    assert [c.name for c in report.changes(a_report(a_round()), new) if c.worse] == ["pull rate", "pull cpu"]


def test_what_is_measured_anew_is_compared_with_nothing() -> None:
    old = a_report(a_round())
    del old["ratios"]["pull"]

    assert not any(change.worse for change in report.changes(old, a_report(a_round())))


def test_a_file_of_another_form_is_refused() -> None:
    with pytest.raises(SetupRefused):
        report.changes({"schema": 0, "ratios": {}}, a_report(a_round()))


def test_messages_are_distinct_of_two_kilobytes_and_of_several_originators_and_the_hub_would_accept_them() -> None:
    load = Load()
    messages = load.messages(50, UNREAD)

    jwks = {jws.thumbprint(jwk): jwk for jwk in map(jws.public_jwk, load.keys.values())}
    for message in messages:
        parsed = verify.read_message(message)
        jws.verify(parsed.token, jwks[parsed.token.kid])
        read = verify.read_content(parsed.claims, LANGUAGE, clock.now())
        assert read.release is not None
        assert (tuple(read.release.to), len(read.identifiers), read.warnings) == (UNREAD, 2, ())
    assert len({verify.read_message(message).id for message in messages}) == 50
    assert {verify.read_message(message).originator for message in messages} == set(ORIGINATORS)
    assert all(abs(len(message) - WIRE_BYTES) <= WIRE_BYTES / 10 for message in messages)
