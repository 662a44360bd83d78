"""May this member see this message? Every form of release under every marking, against the model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from broker import entitlement
from broker.envelope import Envelope, Release
from broker.members import Group, Member, Registry
from tests import model, season


def registry_of(world: model.World) -> Registry:
    groups = world["groups"].items()
    return Registry(
        version=1,
        members={
            name: Member(name, one["type"], name, one["state"] == "active") for name, one in world["members"].items()
        }
        | {"hub": Member("hub", "hub", "The hub", True)},
        keys={},
        groups={n: Group(n, None, frozenset(g["members"]), g["starts_at"], g["ends_at"]) for n, g in groups},
    )


def envelope_of(header: dict[str, Any]) -> Envelope:
    release = header["handling"]["release"]
    return Envelope("", "", b"", "", 0, header, {}, None if release is None else Release.read(release), {})


def test_every_release_of_a_season() -> None:
    """Who is entitled, by which rule and with which duties, and what is refused: as the model says, 2,000 times."""
    rng = Random(2)
    world = season.world(rng)
    registry = registry_of(world)
    for item in season.messages(rng, world, 2_000):
        header, envelope = item.payload["header"], envelope_of(item.payload["header"])
        faults, _ = entitlement.release_faults(envelope, registry, world["now"])

        assert {fault.rule for fault in faults} == model.release_faults(header, world)
        assert entitlement.entitled(envelope, registry, world["now"]) == model.entitled(header, world)
        for member in world["members"]:
            assert entitlement.duties(member, envelope.release) == model.duties(header, member)


NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HERE = Registry(
    version=1,
    members={
        name: Member(name, type, name, active)  # type: ignore[arg-type]  # a table of literals
        for name, type, active in [
            ("CL", "customs", True),
            ("PE", "customs", True),
            ("MX", "customs", False),
            ("RILO-SA", "rilo", True),
            ("FIU-CL", "partner", True),
            ("ECHO", "hub", True),
            ("hub", "hub", True),
        ]
    },
    keys={},
    groups={
        "andes": Group("andes", None, frozenset(["CL", "PE", "MX"])),
        "op": Group("op", None, frozenset(["CL", "FIU-CL"]), NOW - timedelta(hours=1), NOW + timedelta(hours=1)),
    },
)


def seen_by(tlp: str, release: dict[str, Any], now: datetime = NOW) -> dict[str, str]:
    envelope = envelope_of({"id": "1", "originator": "CL", "handling": {"tlp": tlp, "release": release}})
    return entitlement.entitled(envelope, HERE, now)


def test_nobody_unless_somebody_is_said() -> None:
    """Default deny: an empty release, and the release of a withdrawal, admit nobody."""
    assert seen_by("CLEAR", {}) == {}
    assert seen_by("CLEAR", {"to": [], "groups": [], "all": False, "except": []}) == {}


def test_the_first_rule_that_admits() -> None:
    """`to` before `group:NAME` in the release's order, these before `all`."""
    every = {"to": [{"member": "PE"}], "groups": ["op", "andes"], "all": True}

    assert seen_by("GREEN", every) == {"PE": "to", "FIU-CL": "group:op", "RILO-SA": "all"}
    assert seen_by("CLEAR", {"all": True}) == {"PE": "all", "RILO-SA": "all", "FIU-CL": "all"}


def test_except_wins_over_all() -> None:
    """Whoever is excepted does not see it, named or in a group or not."""
    release = {"to": [{"member": "PE"}], "groups": ["andes", "op"], "all": True, "except": ["PE", "RILO-SA", "FIU-CL"]}

    assert seen_by("CLEAR", release) == {}


def test_its_own_message_only_if_it_names_itself() -> None:
    """The originator receives its own message by `to` and by nothing else."""
    assert "CL" not in seen_by("GREEN", {"groups": ["andes"], "all": True})
    assert seen_by("RED", {"to": [{"member": "CL"}]}) == {"CL": "to"}


@pytest.mark.parametrize(("hours", "seen"), [(-2, False), (-1, True), (0, True), (0.999, True), (1, False)])
def test_an_operation_counts_from_its_start_until_before_its_end(hours: float, seen: bool) -> None:
    """At the very start it counts, at the very end it does not."""
    assert ("FIU-CL" in seen_by("AMBER", {"groups": ["op"]}, NOW + timedelta(hours=hours))) == seen


@pytest.mark.parametrize("tlp", ["RED", "AMBER", "AMBER+STRICT"])
def test_a_marking_is_never_stretched_at_hand_over(tlp: str) -> None:
    """Should a release wider than its marking ever be stored, hand-over still admits nobody by it."""
    release = Release.read({"all": True, "groups": ["andes"] if tlp == "RED" else []})

    assert entitlement.admits("PE", release, tlp, "CL", HERE, NOW) is None


def test_groups_give_nothing_away() -> None:
    """No such group, not in it, not running: one answer, letter for letter."""
    answers = []
    for originator, name, now in (
        ("PE", "nothing", NOW),
        ("PE", "op", NOW),
        ("CL", "op", NOW + timedelta(hours=2)),
    ):
        header = {"originator": originator, "handling": {"tlp": "AMBER", "release": {"groups": [name]}}}
        (fault,), _ = entitlement.release_faults(envelope_of(header), HERE, now)
        answers.append((fault.pointer, fault.rule, fault.allowed, fault.found == name, dict(fault.more)))

    assert answers == [answers[0]] * 3
