"""A season in the region, made up from a seed: members, groups, subscriptions, and the messages that they post.

Everything hangs on the `random.Random` that is passed in: the same seed gives the same season, to the octet. Each item
says what is expected of it; who receives it is for `tests.model` to say. Names, brands and cases are invented; codes,
check digits and places are real.

Deliberately not here: faults of form (schemas, code lists, signatures). Nor what product.md leaves open for a filter:
an empty `status`, an empty clause, `mentions_me` inside `all` or `not`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

from tests import model
from tests.season_bodies import GOODS, MODES, PORTS, Payload, alert, route, seizure

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SPAN = timedelta(days=20)
"""The season ends at the `now` of its world and began so long before."""
LATE = timedelta(days=5)
"""A report is at most so much younger than its event: late entry is the rule, not the exception."""

HOURS_FROM_UTC = {"AR": -3, "BZ": -6, "CL": -3, "CR": -6, "GT": -6, "JM": -5, "MX": -6, "PA": -5, "PE": -5}
CUSTOMS = tuple(HOURS_FROM_UTC)
RILOS = ("RILO-SA", "RILO-CA", "RILO-CAR")
PARTNERS = ("FIU-CL", "OPCW")
WITHDRAWN_FOR = ("mistaken", "duplicate", "not-confirmed", "identification")
STATUSES, PRIORITIES = ("actual", "exercise", "test"), ("routine", "priority", "urgent")


@dataclass(frozen=True)
class Item:
    """One posting. `expect` is accept, repeat, conflict, or `refuse:` and the rule or code that refuses it."""

    payload: Payload
    expect: str

    @property
    def attributes(self) -> dict[str, set[str]]:
        """What the schemas' annotations yield for it."""
        return model.attributes_of(self.payload["body"])


# ── the world ──


def world(rng: Random, now: datetime = NOW, deliveries: Sequence[Any] = ("pull", "stream")) -> model.World:
    """Nine administrations, three RILOs, two partners and ECHO: two of them suspended; groups and operations; filters.

    Every group that may be named at `now` could be named all through the season.
    """
    members: dict[str, model.Member] = {}
    members |= {name: {"type": "customs", "state": "active"} for name in CUSTOMS}
    members |= {name: {"type": "rilo", "state": "active"} for name in RILOS}
    members |= {name: {"type": "partner", "state": "active"} for name in PARTNERS}
    for name in rng.sample(list(members), 2):
        members[name]["state"] = "suspended"
    members[model.ECHO] = {"type": "hub", "state": "active"}
    made: model.World = {
        "now": now,
        "members": members,
        "groups": _make_groups(rng, now),
        "subscriptions": [],
    }
    made["subscriptions"] = _make_subscriptions(rng, made, deliveries)
    return made


def _make_groups(rng: Random, now: datetime) -> dict[str, model.Group]:
    year = timedelta(days=365)
    spans: dict[str, tuple[datetime | None, datetime | None]] = {
        "cone-south": (None, None),
        "caribbean": (None, None),
        "financial": (None, None),
        "op-calypso": (now - year, now + year),
        "op-tucan": (now + year, now + 2 * year),
        "op-jaguar": (now - 2 * year, now - year),
    }
    anybody = [*CUSTOMS, *RILOS, *PARTNERS]
    return {
        name: {"members": set(rng.sample(anybody, rng.randint(4, 9))), "starts_at": start, "ends_at": end}
        for name, (start, end) in spans.items()
    }


def _make_subscriptions(rng: Random, world: model.World, deliveries: Sequence[Any]) -> list[model.Subscription]:
    made: list[model.Subscription] = []
    for member in world["members"]:
        for number in range(rng.randint(0, 4)):
            how = rng.choice(list(deliveries))
            made.append(
                {"member": member, "name": f"desk-{number}", "filter": a_filter(rng, world, member), "delivery": how}
            )
    rng.shuffle(made)
    return made


def a_filter(rng: Random, world: model.World, member: str) -> dict[str, Any]:
    """A filter over the whole language, as `member` may write it: it names no group but its own."""
    made: dict[str, Any] = {}
    if rng.random() < 0.4:
        made["status"] = rng.sample(STATUSES, rng.randint(1, 3))
    if rng.random() < 0.85:
        made["any"] = [_clause(rng, world, member) for _ in range(rng.choice([1, 1, 2, 3, 16]))]
    return made


def _clause(rng: Random, world: model.World, member: str) -> dict[str, Any]:
    values = _values(rng, world, member)
    clause: dict[str, Any] = {
        name: _some(rng, values[name]) for name in rng.sample(list(values), rng.choice([1, 1, 2]))
    }
    if rng.random() < 0.15:
        clause[rng.choice(list(values))] = []
    if rng.random() < 0.2:
        clause["mentions_me"] = rng.random() < 0.8
    for name in ("all", "not"):
        if rng.random() < 0.2:
            asked = rng.sample(list(values), rng.choice([1, 1, 2]))
            clause[name] = {attribute: _some(rng, values[attribute], most=2) for attribute in asked}
    return clause


def _values(rng: Random, world: model.World, member: str) -> dict[str, list[str]]:
    """What each attribute may be asked for, so that it is found now and then."""
    codes = [line["hs"] for lines in GOODS.values() for line in lines]
    own = [name for name, group in world["groups"].items() if member in group["members"]]
    return {
        "kind": ["seizure", "alert"],
        "heading": list(GOODS),
        "hs": sorted({code[: rng.choice([2, 2, 3, 4, 6])] for code in codes}),
        "country": list(PORTS),
        "mode": list(MODES),
        "priority": list(PRIORITIES),
        "tlp": ["RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"],
        "originator": [*CUSTOMS, *RILOS],
        "duty": list(model.DUTIES),
    } | ({"group": own} if own else {})


def _some(rng: Random, values: Sequence[str], most: int = 4) -> list[str]:
    return rng.sample(list(values), rng.randint(1, min(most, len(values))))


# ── the messages ──


@dataclass
class _Chain:
    """The versions of one message, oldest first."""

    versions: list[Payload]
    withdrawn: bool = False


@dataclass
class _Season:
    rng: Random
    world: model.World
    when: datetime
    numbers: dict[str, int] = field(default_factory=dict)
    chains: list[_Chain] = field(default_factory=list)
    accepted: list[Payload] = field(default_factory=list)


def messages(rng: Random, world: model.World, n: int) -> list[Item]:
    """`n` postings in the order in which they are made; corrections, repeats and conflicts refer to earlier ones."""
    season = _Season(rng, world, world["now"] - SPAN)
    deeds = list(DEEDS)
    items = []
    for _ in range(n):
        season.when += SPAN / (n + 1)
        deed = rng.choices(deeds, [DEEDS[deed] for deed in deeds])[0]
        items.append(deed(season) or _fresh(season))
    return items


def _fresh(season: _Season) -> Item:
    payload = _draft(season)
    season.chains.append(_Chain([payload]))
    return _accepted(season, payload)


def _accepted(season: _Season, payload: Payload) -> Item:
    season.accepted.append(payload)
    return Item(payload, "accept")


def _amended(season: _Season) -> Item | None:
    chain = _pick(season, withdrawn=False)
    if chain is None:
        return None
    payload = _next_version(season, chain.versions[-1])
    chain.versions.append(payload)
    return _accepted(season, payload)


def _withdrawn(season: _Season) -> Item | None:
    chain = _pick(season, withdrawn=False)
    if chain is None:
        return None
    chain.withdrawn = True
    return _accepted(season, _withdrawal(season, chain.versions[-1]))


def _repeated(season: _Season) -> Item | None:
    return Item(copy.deepcopy(season.rng.choice(season.accepted)), "repeat") if season.accepted else None


def _conflicting(season: _Season) -> Item | None:
    if not season.accepted:
        return None
    payload = copy.deepcopy(season.rng.choice(season.accepted))
    payload["header"]["case"] = f"{payload['header'].get('case', 'CASO')}-BIS"
    return Item(payload, "conflict")


def _outdated(season: _Season) -> Item | None:
    chain = _pick(season, withdrawn=False, versions=2)
    if chain is None:
        return None
    make = season.rng.choice([_next_version, _withdrawal])
    return Item(make(season, season.rng.choice(chain.versions[:-1])), "refuse:not-latest")


def _too_late(season: _Season) -> Item | None:
    chain = _pick(season, withdrawn=True)
    make = season.rng.choice([_next_version, _withdrawal])
    return Item(make(season, chain.versions[-1]), "refuse:withdrawn") if chain else None


def _refused(season: _Season) -> Item | None:
    payload = _draft(season)
    rule = season.rng.choice(list(BREAK))
    BREAK[rule](season, payload["header"])
    return Item(payload, f"refuse:{rule}")


DEEDS: dict[Callable[[_Season], Item | None], int] = {
    _fresh: 68,
    _amended: 9,
    _withdrawn: 4,
    _repeated: 6,
    _conflicting: 3,
    _refused: 6,
    _outdated: 2,
    _too_late: 2,
}
"""How many in a hundred postings are what."""


def _pick(season: _Season, withdrawn: bool, versions: int = 1) -> _Chain | None:
    """A chain of the wanted sort with at least so many versions, if a few tries find one."""
    tried = season.rng.choices(season.chains, k=40) if season.chains else []
    return next((c for c in tried if c.withdrawn == withdrawn and len(c.versions) >= versions), None)


def _draft(season: _Season) -> Payload:
    rng = season.rng
    active = [m for m in (*CUSTOMS, *RILOS, *PARTNERS) if season.world["members"][m]["state"] == "active"]
    originator = rng.choice(active)
    kind = rng.choice(["seizure", "seizure", "alert"]) if originator in CUSTOMS else "alert"
    body = (seizure if kind == "seizure" else alert)(rng, originator if originator in CUSTOMS else "CL")
    header: Payload = {
        "id": _number(season, originator),
        "kind": kind,
        "version": "1.0",
        "originator": originator,
        "status": rng.choices(STATUSES, [85, 10, 5])[0],
        "event_at": _event(season, originator),
    }
    header |= _options(season)
    header["handling"] = _handling(season, originator, header["status"])
    return {"header": header, "body": body}


def _options(season: _Season) -> Payload:
    """Members that may be absent, and often are."""
    rng = season.rng
    later = (season.world["now"] + timedelta(days=rng.randint(30, 90))).isoformat()
    made: Payload = {
        "priority": rng.choices(PRIORITIES, [80, 15, 5])[0],
        "case": f"CASO-{rng.randint(1, 999)}",
        "language": rng.choice(["es", "en"]),
        "grading": {"scheme": "admiralty", "source": rng.choice("ABCDEF"), "information": rng.choice("123456")},
        "expires_at": later,
        "acknowledge_by": later,
    }
    kept = {"priority": 0.9, "case": 0.6, "language": 0.8, "grading": 0.5, "expires_at": 0.1, "acknowledge_by": 0.1}
    return {name: value for name, value in made.items() if rng.random() < kept[name]}


def _number(season: _Season, originator: str) -> str:
    season.numbers[originator] = season.numbers.get(originator, 0) + 1
    return f"{season.when.year}-{season.numbers[originator]:06d}"


def _event(season: _Season, originator: str) -> str:
    zone = timezone(timedelta(hours=HOURS_FROM_UTC.get(originator, 0)))
    late = LATE * season.rng.random() ** 4
    return (season.when - late).astimezone(zone).isoformat(timespec="seconds")


def _next_version(season: _Season, target: Payload) -> Payload:
    """An amendment of `target`: another quantity, often another route, sometimes another release."""
    rng, header = season.rng, copy.deepcopy(target["header"])
    body = copy.deepcopy(target["body"])
    header |= {"id": _number(season, header["originator"]), "supersedes": _address(target)}
    body["remarks"] = f"Versión corregida, {rng.randint(1, 9999)}."
    if rng.random() < 0.5:
        body["route"] = route(rng, rng.choice(CUSTOMS))
        body.pop("not_given", None)
    if rng.random() < 0.5:
        header["handling"] = _handling(season, header["originator"], header["status"])
    return {"header": header, "body": body}


def _withdrawal(season: _Season, target: Payload) -> Payload:
    header = {name: target["header"][name] for name in ("kind", "version", "originator", "status")}
    header |= {
        "id": _number(season, header["originator"]),
        "event_at": _event(season, header["originator"]),
        "withdraws": _address(target),
        "handling": {"tlp": target["header"]["handling"]["tlp"], "release": None},
    }
    return {"header": header, "body": {"reason_code": season.rng.choice(WITHDRAWN_FOR), "text": "Se retira."}}


def _address(payload: Payload) -> str:
    return f"{payload['header']['originator']}:{payload['header']['id']}"


# ── releases ──


def _handling(season: _Season, originator: str, status: str) -> Payload:
    """A release that its marking allows, in any of its forms, its members in full or left out."""
    rng = season.rng
    tlp = rng.choices(["RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"], [15, 10, 40, 25, 10])[0]
    release: Payload = {"to": [_entry(rng, name) for name in _addressees(season, originator, status)]}
    if tlp in model.GROUPS_MAY:
        release["groups"] = _own_groups(season, originator)
    if tlp in model.ALL_MEANS:
        release["all"] = rng.random() < 0.6
    if rng.random() < 0.2:
        release["except"] = rng.sample([*CUSTOMS, *RILOS, *PARTNERS], rng.randint(1, 3))
    full: Payload = {"to": [], "groups": [], "all": False, "except": []} if rng.random() < 0.7 else {}
    return {"tlp": tlp, "caveats": [], "release": full | release}


def _addressees(season: _Season, originator: str, status: str) -> list[str]:
    rng = season.rng
    others = [name for name in (*CUSTOMS, *RILOS, *PARTNERS) if name != originator]
    names = rng.sample(others, rng.choice([0, 1, 1, 2, 3, 6]))
    if names and rng.random() < 0.1:
        names.append(names[0])
    if rng.random() < 0.1:
        names.append(originator)
    if status != "actual" and rng.random() < 0.5:
        names.append(model.ECHO)
    return names


def _entry(rng: Random, member: str) -> Payload:
    return {"member": member} | ({"duties": rng.sample(model.DUTIES, rng.randint(1, 3))} if rng.random() < 0.7 else {})


def _own_groups(season: _Season, originator: str) -> list[str]:
    groups = season.world["groups"]
    own = [name for name in groups if originator in groups[name]["members"] and _may_be_named(season.world, name)]
    return season.rng.sample(own, season.rng.randint(0, min(2, len(own))))


def _may_be_named(world: model.World, name: str) -> bool:
    start, end = world["groups"][name]["starts_at"], world["groups"][name]["ends_at"]
    return (start or world["now"]) <= world["now"] < (end or datetime.max.replace(tzinfo=UTC))


def _too_wide(season: _Season, header: Payload) -> None:
    header["handling"]["tlp"] = season.rng.choice(["RED", "AMBER+STRICT", "AMBER"])
    header["handling"]["release"] |= {"all": True, "groups": []}


def _to_nobody_known(season: _Season, header: Payload) -> None:
    header["handling"]["release"]["to"].append({"member": season.rng.choice(["ZZ", "RILO-XX", "CLX"])})


def _to_a_group_not_its_own(season: _Season, header: Payload) -> None:
    groups = season.world["groups"]
    foreign = [name for name in groups if header["originator"] not in groups[name]["members"]]
    name = season.rng.choice(["op-jaguar", "op-tucan", "no-such-group", *foreign])
    header["handling"] = {"tlp": "AMBER", "release": {"to": [], "groups": [name]}}


def _to_echo_in_earnest(season: _Season, header: Payload) -> None:
    header["status"] = "actual"
    named = [entry for entry in header["handling"]["release"]["to"] if entry["member"] != model.ECHO]
    header["handling"]["release"]["to"] = [*named, {"member": model.ECHO}]


BREAK: dict[str, Callable[[_Season, Payload], None]] = {
    "release-wider-than-marking": _too_wide,
    "unknown-member": _to_nobody_known,
    "group-refused": _to_a_group_not_its_own,
    "echo-in-actual": _to_echo_in_earnest,
}
"""Rule -> how to break it, and no other, in a release that was good."""
