"""The delivery state machine: which state may follow which, and what becomes of a delivery at hand-over.

    ready → leased → settled                     leased → ready (released, lease ended) → … → dead (limit, rejected)
    ready → published → settled (acknowledged)   published → ready (redrive, drain, lost queue) | dead (dead-lettered)
    not handed over, or lapsed → withdrawn | expired | revoked      final, a tombstone in the queue's sequence
    settled, dead, published → ready             replay: round + 1, count 0

Pure: the ledger loads what is asked here and writes what is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from broker.entitlement import RULE_HOLDER, RULE_NOTICE, admits, would_admit
from broker.envelope import Release
from broker.members import Registry

State = Literal["ready", "leased", "published", "settled", "dead", "withdrawn", "expired", "revoked"]

FINAL = ("withdrawn", "expired", "revoked")
REPLAYABLE = ("settled", "dead", "published")

MAX_COUNT = 20
"""Leases or publishes in one round before a delivery is dead: the same number as RabbitMQ's `x-delivery-limit`,
which a few dropped connections of a consumer with a full prefetch must not exhaust."""
MAX_REDRIVES = 3
"""Dead-lettered deliveries are sent out again at most this often in a round; after that only a replay does it."""

LEASE_SECONDS = (1, 60, 3_600)
"""Shortest, default and longest lease. The longest bounds how long a dead consumer holds a message back."""
MAX_DELAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Standing:
    """What hand-over needs to know of a delivery: its message, the latest version of its chain, its own rule.

    `latest_release` is that of the chain's latest version (None when the chain is withdrawn or for a withdrawal).
    """

    member: str
    rule: str
    originator: str
    withdrawn: bool
    is_withdrawal: bool
    expires_at: datetime | None
    latest_release: Release | None
    latest_tlp: str


def barred_by_amendment(standing: Standing, registry: Registry, now: datetime) -> bool:
    """Whether an amendment, now that it is accepted, takes an earlier version from a member that was not handed it yet.

    Of a suspended member that is decided now, as if it were active: by the time when it is back it may have joined the
    group that the amendment went to, and would be given the outdated version alone (promise 8).
    """
    verdict = at_hand_over(standing, registry, now)
    if verdict != "hold" or standing.rule in (RULE_HOLDER, RULE_NOTICE):
        return verdict == "revoked"
    release, tlp = standing.latest_release, standing.latest_tlp
    return release is None or would_admit(standing.member, release, tlp, standing.originator, registry, now) is None


def at_hand_over(
    standing: Standing, registry: Registry, now: datetime
) -> Literal["offer", "hold", "withdrawn", "expired", "revoked"]:
    """Decide anew, at the last moment before a member gets it (promise 2). `hold` leaves it as it is, unoffered.

    A suspended member keeps its deliveries: they are held, and decided anew when it is active again.

    Holders' corrections and the hub's notices need no release: whoever had the original gets them.
    """
    if standing.withdrawn and not standing.is_withdrawal:
        return "withdrawn"
    if standing.expires_at is not None and standing.expires_at <= now:
        return "expired"
    if not registry.is_active(standing.member):
        return "hold"
    if standing.rule in (RULE_HOLDER, RULE_NOTICE):
        return "offer"
    release = standing.latest_release
    if (
        release is None
        or admits(standing.member, release, standing.latest_tlp, standing.originator, registry, now) is None
    ):
        return "revoked"
    return "offer"
