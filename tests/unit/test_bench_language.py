"""Reading a message is measured beside its signature, told in the table, and no old baseline stumbles over it."""

from __future__ import annotations

from typing import Any

from broker import jws
from tests.bench import language, report
from tests.bench.hub import UNREAD
from tests.bench.load import Load
from tests.unit.test_bench_report import a_report, a_round


def with_language(times: float) -> dict[str, Any]:
    reading = {"number": 100, "seconds": 0.5, "us": 100 * times, "verified_us": 100.0, "times": times, "cpu": 1 / times}
    return a_report(a_round() | {report.LANGUAGE: reading})


def test_reading_and_verifying_are_measured_on_the_same_messages() -> None:
    """Every rule over seizures of two kilobytes; the figures say which is how many times the other."""
    load = Load()
    jwks = {jws.thumbprint(jwk): jwk for jwk in map(jws.public_jwk, load.keys.values())}
    figures = language.measured(load.messages(20, UNREAD), jwks)

    assert figures["number"] == 20
    assert figures["us"] > 0
    assert abs(figures["times"] - figures["us"] / figures["verified_us"]) < 0.02
    assert abs(figures["cpu"] * figures["times"] - 1) < 0.02


def test_the_table_says_what_reading_costs_and_warns_where_it_costs_too_much() -> None:
    cheap, dear = ("\n".join(report.table(with_language(times))) for times in (0.8, 2.3))

    assert "0.80 times its signature of 100 µs" in cheap
    assert "what it may" not in cheap
    assert "reading a message costs 2.30 times its signature; 2 is what it may" in dear


def test_a_baseline_without_it_is_compared_as_before() -> None:
    """What is measured anew is worse than nothing; a later baseline judges it."""
    old, new = a_report(a_round()), with_language(0.8)

    assert report.LANGUAGE not in old["ratios"]
    assert not any(change.worse for change in report.changes(old, new))
    assert [c.name for c in report.changes(with_language(0.5), new) if c.worse] == ["language cpu"]
    assert [c.name for c in report.changes(new, old) if c.worse] == ["language cpu"]
