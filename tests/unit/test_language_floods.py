"""Floods: what is wrong a hundred thousand times is told a few times, and costs as little."""

from __future__ import annotations

import time
from typing import Any

import pytest

from broker.errors import Fault
from broker.language import Reading
from broker.language.schema import FAULTS_MAX
from tests.reading import BODY, LANGUAGE, NOW, message


def seconds(item: object, number: int) -> float:
    """Processor time for so many of them, in goods and in a release: the least of three."""
    reported = message(body={**BODY, "goods": [item] * number})
    released = message()
    released["header"]["handling"]["release"]["to"] = [item] * number
    least = float("inf")
    for _ in range(3):
        began = time.thread_time()
        faults, more = LANGUAGE.read_body(reported, now=NOW).faults, LANGUAGE.check_header(released)
        least = min(least, time.thread_time() - began)
        assert faults
        assert more
    return least


@pytest.mark.parametrize("item", [1, {}, [[]]])
def test_a_hundred_thousand_small_faults_take_no_time(item: object) -> None:
    """Three octets each: who signs them must not keep the hub from everybody else. All of twenty times as many are not looked
    at."""
    reported = message(body={**BODY, "goods": [item] * 60_000})
    assert [fault.rule for fault in LANGUAGE.read_body(reported, now=NOW).faults] == ["too-many", "more-faults"]

    assert seconds(item, 60_000) < 12 * seconds(item, 3_000)


def flooded(standing: str, country: str, unit: str) -> Reading:
    """Of a seizure with as many lines, containers and legs as there may be, each with whatever is wrong or doubtful."""
    wrong = {"value": "50-36-3", "as": standing}
    line: dict[str, Any] = BODY["goods"][0] | {
        "hs": "999999", "cas": wrong, "gtin": wrong | {"value": "7801610001190"}, "wildlife": {"taxon": "x"},
        "weapons": {"make": "x"}, "quantity": {"value": "0", "unit": unit},
    }  # fmt: skip
    containers = [{"value": f"CSQU{number}0", "as": standing} for number in range(305400, 305464)]
    body = BODY | {
        "goods": [line] * 64, "transport": BODY["transport"] | {"containers": containers},
        "route": [{"role": "via", "country": country, "locode": "PECLL", "confirmed": False}] * 32,
    }  # fmt: skip
    return LANGUAGE.read_body(message(body=body), now=NOW)


def test_what_lists_and_rules_find_is_cut_too() -> None:
    """Warnings above all: they are kept with the message, and go with every delivery of it."""
    accepted, refused = flooded("believed-false", "PE", "KGM"), flooded("found", "CL", "x")

    assert not accepted.faults
    for told in (accepted.warnings, refused.faults):
        assert (len(told), told[-1]) == (FAULTS_MAX + 1, Fault("/body", "more-faults"))
