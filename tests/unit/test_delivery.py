"""The decision at hand-over, as a table: what becomes of a waiting delivery at the last moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker import delivery
from broker.delivery import Standing, at_hand_over
from broker.envelope import Release
from broker.members import Group, Member, Registry

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE = Registry(
    version=1,
    members={
        "PE": Member("PE", "customs", "Peru", True),
        "MX": Member("MX", "customs", "Mexico", False),
        "FIU": Member("FIU", "partner", "Financial intelligence", True),
    },
    keys={},
    groups={"op": Group("op", None, frozenset(["PE", "MX"]), None, NOW + HOUR)},
)
BY_GROUP = Standing("PE", "group:op", "CL", False, False, None, Release.read({"groups": ["op"]}), "AMBER")
GREEN = Release.read({"all": True})


@pytest.mark.parametrize(
    ("standing", "later", "verdict"),
    [
        (BY_GROUP, 0, "offer"),
        (BY_GROUP, 1, "revoked"),
        (replace(BY_GROUP, latest_release=Release.read({"to": [{"member": "PE"}]})), 1, "offer"),
        (replace(BY_GROUP, latest_release=Release.read({"to": [{"member": "CL"}]})), 0, "revoked"),
        (replace(BY_GROUP, latest_release=GREEN, latest_tlp="GREEN"), 1, "offer"),
        (replace(BY_GROUP, member="FIU", latest_release=GREEN, latest_tlp="GREEN"), 0, "revoked"),
        (replace(BY_GROUP, member="FIU", latest_release=GREEN, latest_tlp="CLEAR"), 0, "offer"),
        (replace(BY_GROUP, latest_release=None), 0, "revoked"),
        (replace(BY_GROUP, member="MX"), 0, "hold"),
        (replace(BY_GROUP, member="MX", latest_release=None), 0, "hold"),
        (replace(BY_GROUP, member="nobody"), 0, "hold"),
        (replace(BY_GROUP, expires_at=NOW), 0, "expired"),
        (replace(BY_GROUP, expires_at=NOW + HOUR), 0, "offer"),
        (replace(BY_GROUP, expires_at=NOW + HOUR, member="MX"), 1, "expired"),
        (replace(BY_GROUP, withdrawn=True), 0, "withdrawn"),
        (replace(BY_GROUP, withdrawn=True, expires_at=NOW), 0, "withdrawn"),
        (replace(BY_GROUP, withdrawn=True, is_withdrawal=True, rule="holder", latest_release=None), 0, "offer"),
        (replace(BY_GROUP, withdrawn=True, is_withdrawal=True, rule="holder", member="MX"), 0, "hold"),
        (replace(BY_GROUP, rule="notice", latest_release=None), 0, "offer"),
        (replace(BY_GROUP, rule="notice", member="MX"), 0, "hold"),
    ],
)
def test_at_hand_over(standing: Standing, later: int, verdict: str) -> None:
    """Withdrawn before expired, expired before held, held before revoked; holders' corrections need no release."""
    assert at_hand_over(standing, HERE, NOW + later * HOUR) == verdict


def test_the_states_are_those_of_the_text() -> None:
    """What is final is never replayed, and what is replayed has been handed over."""
    assert set(delivery.FINAL) == {"withdrawn", "expired", "revoked"}
    assert set(delivery.REPLAYABLE) == {"settled", "dead", "published"}
    assert delivery.MAX_REDRIVES == 3
    assert delivery.MAX_COUNT >= 20
