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

Payload = dict[str, Any]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SPAN = timedelta(days=20)
"""The season ends at the `now` of its world and began so long before."""
LATE = timedelta(days=5)
"""A report is at most so much younger than its event: late entry is the rule, not the exception."""

HOURS_FROM_UTC = {"AR": -3, "BZ": -6, "CL": -3, "CR": -6, "GT": -6, "JM": -5, "MX": -6, "PA": -5, "PE": -5}
CUSTOMS = tuple(HOURS_FROM_UTC)
RILOS = ("RILO-SA", "RILO-CA", "RILO-CAR")
PARTNERS = ("FIU-CL", "OPCW")
PORTS = {
    "AR": ["ARBUE", "ARROS", "AREZE"],
    "BZ": ["BZBZE", "BZBGK"],
    "CL": ["CLVAP", "CLSAI", "CLIQQ", "CLSCL"],
    "CN": ["CNSHA", "CNNGB"],
    "CR": ["CRMOB", "CRCAL"],
    "EC": ["ECGYE"],
    "ES": ["ESALG", "ESVLC"],
    "GT": ["GTSTC", "GTPBR"],
    "JM": ["JMKIN"],
    "MX": ["MXZLO", "MXVER", "MXMEX"],
    "NL": ["NLRTM", "NLAMS"],
    "PA": ["PABLB", "PAONX", "PAPTY"],
    "PE": ["PECLL", "PELIM"],
    "US": ["USMIA", "USLAX"],
}

Line = dict[str, Any]
GOODS: dict[str, list[Line]] = {
    "tobacco": [
        {"hs": "240220", "description": "Cigarrillos sin estampilla", "unit": "stick", "brand": "Tres Mares"},
        {"hs": "240311", "description": "Tabaco para pipa de agua", "unit": "KGM"},
    ],
    "drugs": [
        {"hs": "293972", "description": "Clorhidrato de cocaína", "unit": "KGM"},
        {"hs": "1211", "description": "Marihuana prensada", "unit": "KGM"},
    ],
    "precursors": [
        {
            "hs": "291524",
            "description": "Anhídrido acético",
            "unit": "LTR",
            "cas": {"value": "108-24-7"},
            "un": {"value": "UN1715", "as": "verified"},
        },
        {"hs": "293941", "description": "Efedrina", "unit": "KGM", "cas": {"value": "299-42-3", "as": "found"}},
    ],
    "wildlife": [
        {"hs": "050710", "description": "Marfil en bruto", "unit": "KGM", "species": "Loxodonta africana"},
        {"hs": "030192", "description": "Anguilas vivas", "unit": "KGM", "species": "Anguilla anguilla"},
    ],
    "weapons": [
        {"hs": "930200", "description": "Pistolas desarmadas", "unit": "C62"},
        {"hs": "930630", "description": "Cartuchos 9 mm", "unit": "C62"},
    ],
    "strategic": [
        {"hs": "854231", "description": "Procesadores", "unit": "C62", "control": "3A001"},
        {"hs": "841350", "description": "Bombas volumétricas", "unit": "C62", "control": "2B350"},
    ],
    "counterfeits": [
        {"hs": "950300", "description": "Juguetes", "unit": "C62", "gtin": {"value": "4006381333931"}},
    ],
    "currency": [{"hs": "710813", "description": "Láminas de oro", "unit": "GRM"}],
    "environment": [{"hs": "3825", "description": "Residuos declarados como chatarra", "unit": "TNE"}],
}
MODES = ("sea", "road", "air", "post")
CONCEALMENT = ("in-cargo", "container-structure", "misdeclared", "baggage", "parcel")
DETECTION = ("risk-profile", "intelligence", "scanner", "dog", "routine")
ACTIONS = ("observe", "inform", "control-documents", "scan", "hold")
REASONS = ("new-route", "new-concealment", "new-modus-operandi", "watch", "warning")
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
    body = (_seizure if kind == "seizure" else _alert)(rng, originator if originator in CUSTOMS else "CL")
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
        body["route"] = _route(rng, rng.choice(CUSTOMS))
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


# ── bodies ──


def _seizure(rng: Random, country: str) -> Payload:
    heading = rng.choice(list(GOODS))
    mode = rng.choice(MODES)
    form = rng.choice(["long", "simplified"])
    found = _found(rng, heading)
    body: Payload = {
        "form": form,
        "heading": heading,
        "place": {"country": country, "type": "seaport" if mode == "sea" else "land-border"},
        "goods": [found],
        "transport": {"mode": mode} | _conveyance(rng, mode),
    }
    if rng.random() < 0.5:
        body["place"]["locode"] = rng.choice(PORTS[country])
    if rng.random() < 0.3:
        body["goods"].append({"side": "declared", "hs": "950300", "description": "Juguetes"})
    if rng.random() < 0.6:
        body["route"] = _route(rng, country)
    if heading == "currency":
        body["value"] = {"amount": f"{rng.randint(1, 900)}000.00", "currency": "USD", "estimate": True}
    body |= {"procedure": rng.choice(["import", "export", "transit"])} if form == "long" else {}
    if body.get("procedure") == "transit" and "route" not in body:
        body["not_given"] = [{"field": "/route", "why": "unknown"}]
    return body | {"concealment": [rng.choice(CONCEALMENT)], "detection": [rng.choice(DETECTION)]}


def _found(rng: Random, heading: str) -> Line:
    line = copy.deepcopy(rng.choice(GOODS[heading]))
    quantity = {"value": f"{rng.randint(1, 40000)}.{rng.randint(0, 9)}", "unit": line.pop("unit")}
    return {"side": "found", **line, "quantity": quantity} | ({"heading": heading} if rng.random() < 0.3 else {})


def _alert(rng: Random, country: str) -> Payload:
    headings = rng.sample(list(GOODS), rng.choice([1, 1, 2]))
    modes = rng.sample(MODES, rng.randint(1, 2))
    lines = [{k: v for k, v in rng.choice(GOODS[name]).items() if k in ("hs", "description")} for name in headings]
    body: Payload = {
        "subject": f"{lines[0]['description']}: nueva ruta por {country}",
        "reason": rng.choice(REASONS),
        "headings": headings,
        "requested_actions": rng.sample(ACTIONS, rng.randint(1, 2)),
    }
    more: Payload = {
        "goods": lines,
        "transport": {"modes": modes} | _sought(rng, modes[0]),
        "route": _route(rng, country),
        "countries": rng.sample(list(PORTS), rng.randint(1, 3)),
    }
    return body | {name: value for name, value in more.items() if rng.random() < 0.6}


def _route(rng: Random, country: str) -> list[Payload]:
    """From one to four legs that end in `country`; most are not confirmed."""
    via = rng.sample([other for other in PORTS if other != country], rng.randint(0, 3))
    roles = ["origin", *["via"] * len(via)][: len(via)]
    legs = [_leg(rng, *leg) for leg in zip(roles, via, strict=True)]
    return [*legs, _leg(rng, "destination", country)]


def _leg(rng: Random, role: str, country: str) -> Payload:
    leg: Payload = {"role": role, "country": country, "confirmed": rng.random() < 0.3}
    return leg | ({"locode": rng.choice(PORTS[country])} if rng.random() < 0.5 else {})


def _sought(rng: Random, mode: str) -> Payload:
    """As in an alert: lists of what to look for."""
    return {name if name == "containers" else f"{name}s": value if name == "containers" else [value]
            for name, value in _conveyance(rng, mode).items()}  # fmt: skip


def _conveyance(rng: Random, mode: str) -> Payload:
    if mode == "sea":
        vessel = {"name": "Mar de Plata", "imo": _identifier(rng, imo)}
        return {"containers": [_identifier(rng, container)], "vessel": vessel}
    if mode == "air":
        return {"awb": _identifier(rng, air_waybill)}
    return {"parcel": _identifier(rng, parcel)} if mode == "post" else {}


def _identifier(rng: Random, make: Callable[[Random], str]) -> Payload:
    standing = rng.choice([None, "found", "verified"])
    return {"value": make(rng)} | ({"as": standing} if standing else {})


def container(rng: Random) -> str:
    """A container number with its check digit (ISO 6346): letters from 10, without 11, 22 and 33; weights 2^i."""
    letters = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True))
    owner, serial = rng.choice(["CSQU", "MSKU", "MWCU"]), f"{rng.randrange(10**6):06d}"
    values = [*(letters[letter] for letter in owner), *map(int, serial)]
    return owner + serial + str(sum(value << i for i, value in enumerate(values)) % 11 % 10)


def imo(rng: Random) -> str:
    """An IMO ship number: six digits times 7 to 2, the last digit of the sum."""
    six = f"9{rng.randrange(10**5):05d}"
    return six + str(sum(int(digit) * weight for digit, weight in zip(six, range(7, 1, -1), strict=True)) % 10)


def air_waybill(rng: Random) -> str:
    """An air waybill: prefix, seven digits, and these modulo 7."""
    serial = rng.randrange(10**7)
    return f"045-{serial:07d}{serial % 7}"


S10_CHECK = {10: 0, 11: 5}


def parcel(rng: Random) -> str:
    """A postal item (UPU S10): eight digits, 11 minus their weighted sum modulo 11, where 10 is 0 and 11 is 5."""
    serial = f"{rng.randrange(10**8):08d}"
    check = 11 - sum(int(d) * w for d, w in zip(serial, (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    return f"RR{serial}{S10_CHECK.get(check, check)}CL"
