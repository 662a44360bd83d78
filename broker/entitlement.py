"""May this member see this message? The only place that knows. Default deny.

Entitled = (`to` ∪ members of `groups` ∪ `all`) − `except`, active members only. A release wider than its marking is
refused, never narrowed. Groups count at acceptance and again at hand-over: the same functions serve both moments.

Not decided here: which of the entitled asked for it (routing.py), and who is a holder (the ledger knows).
"""

from __future__ import annotations

from datetime import datetime

from broker.envelope import Envelope, Release
from broker.errors import Fault
from broker.members import ECHO, HUB, Registry

RULE_TO = "to"
RULE_ALL = "all"
RULE_HOLDER = "holder"
RULE_NOTICE = "notice"

_WIDEST = {"RED": 0, "AMBER+STRICT": 1, "AMBER": 1, "GREEN": 2, "CLEAR": 2}
"""TLP 2.0 marking -> widest form of release: 0 named members, 1 groups too, 2 all."""
_ALL_TYPES = {"GREEN": ("customs", "rilo"), "CLEAR": ("customs", "rilo", "partner")}


def release_faults(envelope: Envelope, registry: Registry, now: datetime) -> tuple[list[Fault], list[Fault]]:
    """(faults, warnings) of the release as such, before anybody is decided for."""
    release = envelope.release
    if release is None:
        return [], []
    at = "/header/handling/release"
    faults: list[Fault] = []
    warnings: list[Fault] = []
    widest = _WIDEST[envelope.tlp]
    if release.groups and widest < 1:
        faults.append(Fault(f"{at}/groups", "release-wider-than-marking", found=envelope.tlp, allowed=("to",)))
    if release.all and widest < 2:
        allowed = ("to", "groups") if widest else ("to",)
        faults.append(Fault(f"{at}/all", "release-wider-than-marking", found=envelope.tlp, allowed=allowed))
    for part, names in (("to", release.to), ("except", release.excepted)):
        for name in names:
            member = registry.members.get(name)
            if member is None or name == HUB:
                faults.append(Fault(f"{at}/{part}", "unknown-member", found=name))
            elif name == ECHO and part == "to" and envelope.status == "actual":
                faults.append(Fault(f"{at}/to", "echo-in-actual", found=name, allowed=("exercise", "test")))
            elif not member.active and part == "to":
                warnings.append(Fault(f"{at}/to", "member-is-suspended", found=name))
    for number, name in enumerate(release.groups):
        group = registry.groups.get(name)
        # One answer for: no such group, not in it, not running. Nobody learns which groups exist.
        if group is None or not group.holds(envelope.originator, now):
            faults.append(Fault(f"{at}/groups/{number}", "group-refused", found=name))
    return faults, warnings


def entitled(envelope: Envelope, registry: Registry, now: datetime) -> dict[str, str]:
    """Every entitled member with the first rule that admits: `to`, `group:NAME` in the release's order, `all`."""
    if envelope.release is None:
        return {}
    release, originator = envelope.release, envelope.originator
    candidates = set(release.to)
    for name in release.groups:
        group = registry.groups.get(name)
        candidates |= group.members if group else frozenset()
    if release.all:
        candidates |= registry.members.keys()
    rules = {m: admits(m, release, envelope.tlp, originator, registry, now) for m in sorted(candidates)}
    return {member: rule for member, rule in rules.items() if rule}


def admits(
    member_id: str, release: Release, tlp: str, originator: str, registry: Registry, now: datetime
) -> str | None:
    """The rule that admits one member now, or None. Used at acceptance and again at every hand-over."""
    if not registry.is_active(member_id):
        return None
    return would_admit(member_id, release, tlp, originator, registry, now)


def would_admit(
    member_id: str, release: Release, tlp: str, originator: str, registry: Registry, now: datetime
) -> str | None:
    """`admits`, were the member active: what a suspended one may be handed when it comes back."""
    member = registry.members.get(member_id)
    if member is None or member_id in release.excepted:
        return None
    if member_id in release.to:
        return RULE_TO
    if member_id == originator:  # its own message only if it names itself
        return None
    widest = _WIDEST[tlp]
    if widest >= 1:
        for name in release.groups:
            group = registry.groups.get(name)
            if group is not None and group.holds(member_id, now):
                return f"group:{name}"
    if release.all and member.type in _ALL_TYPES.get(tlp, ()):
        return RULE_ALL
    return None


def duties(member: str, release: Release | None) -> tuple[str, ...]:
    """The member's duties: as named in `to`, else information."""
    if release is None:
        return ("information",)
    return release.to.get(member, ("information",))
