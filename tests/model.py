"""Who gets what: the second opinion against which every delivery of the product is compared.

Written from the text of `product.md` alone (The message, Corrections, Entitled, Subscriptions): plain data, brute
force, no index, no cache, and no import from `broker`. Where the text leaves a choice, the reading is marked `# Read:`.

Deliberately not here: schemas, versions (`not-latest`), the states of a delivery, and what happens at hand-over beyond
asking `entitled` again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

Header = Mapping[str, Any]
Attributes = Mapping[str, Collection[str]]
"""What the annotations of the schemas yield: `heading`, `hs`, `country`, `mode`, each a set of texts."""

Filter = Mapping[str, Any]
Duties = tuple[str, ...]
Delivery = tuple[str, str, str, Duties]
"""(member, queue, rule, duties)"""
Place = tuple[str, str]
"""(member, queue)"""

DUTIES = ("action", "attention", "information")
INBOX = "inbox"
ECHO = "ECHO"
GROUPS_MAY = frozenset({"AMBER+STRICT", "AMBER", "GREEN", "CLEAR"})
ALL_MEANS = {"GREEN": frozenset({"customs", "rilo"}), "CLEAR": frozenset({"customs", "rilo", "partner"})}
FROM_BODY = frozenset({"heading", "hs", "country", "mode"})
FROM_HEADER = frozenset({"kind", "priority", "group", "tlp", "originator", "duty"})


class Member(TypedDict):
    """`type` decides what `all` means; only `active` ones are entitled to anything."""

    type: Literal["customs", "rilo", "partner", "hub"]
    state: Literal["active", "suspended"]


class Group(TypedDict):
    """A closed user group; with a start or an end it is an operation, running from the start until before the end."""

    members: set[str]
    starts_at: datetime | None
    ends_at: datetime | None


class Subscription(TypedDict):
    """One standing filter. The `inbox` that every member has is never among them."""

    member: str
    name: str
    filter: Filter
    delivery: Literal["amqp", "pull", "stream"]


class World(TypedDict):
    """The registry at one moment, `now`. `subscriptions` are in order of creation."""

    now: datetime
    members: dict[str, Member]
    groups: dict[str, Group]
    subscriptions: list[Subscription]


class Version(TypedDict):
    """What became of one earlier version: handed over where, fetched by whom, still waiting (ready) where."""

    handed: set[Place]
    fetched: set[str]
    waiting: NotRequired[set[Place]]


def attributes_of(body: Mapping[str, Any]) -> dict[str, set[str]]:
    """What the annotations `x-route` of seizure 1.0 and alert 1.0 yield, read by hand: a second opinion here, too."""
    lines, legs, place = body.get("goods", []), body.get("route", []), body.get("place", {})
    transport = body.get("transport", {})
    headings = [body.get("heading"), *body.get("headings", []), *(line.get("heading") for line in lines)]
    listed = [country for name in ("origins", "operators", "countries") for country in body.get(name, [])]
    located = [spot.get(name, "")[:2] for spot in [place, *legs] for name in ("country", "locode")]
    return {
        "heading": {heading for heading in headings if heading},
        "hs": {line["hs"] for line in lines if "hs" in line},
        "country": {country for country in [*listed, *located] if country},
        "mode": {mode for mode in [transport.get("mode"), *transport.get("modes", [])] if mode},
    }


# ── the release ──


def release_faults(header: Header, world: World) -> set[str]:
    """Every rule that the release breaks; a withdrawal has no release and breaks none."""
    release = header["handling"]["release"]
    if release is None:
        return set()
    return set(_release_faults(header, release, world))


def _release_faults(header: Header, release: Header, world: World) -> Iterator[str]:
    tlp, groups, to_all = header["handling"]["tlp"], _groups(header), release.get("all", False)
    if (groups and tlp not in GROUPS_MAY) or (to_all and tlp not in ALL_MEANS):
        yield "release-wider-than-marking"
    # Read: a name in `except` that nobody has is refused like one in `to`: a slip there would let somebody see.
    if any(name not in world["members"] for name in [*_named(header), *release.get("except", [])]):
        yield "unknown-member"
    if any(not _may_name(header["originator"], name, world) for name in groups):
        yield "group-refused"
    # Read: "named" is "named in `to`" throughout; `except: ["ECHO"]` harms nobody.
    if ECHO in _named(header) and header["status"] == "actual":
        yield "echo-in-actual"


def _may_name(originator: str, name: str, world: World) -> bool:
    return _runs(name, world) and originator in world["groups"][name]["members"]


def _runs(name: str, world: World) -> bool:
    group = world["groups"].get(name)
    if group is None:
        return False
    begun = group["starts_at"] is None or group["starts_at"] <= world["now"]
    over = group["ends_at"] is not None and group["ends_at"] <= world["now"]
    return begun and not over


def _groups(header: Header) -> list[str]:
    return list((header["handling"]["release"] or {}).get("groups", []))


def _named(header: Header) -> list[str]:
    return [entry["member"] for entry in (header["handling"]["release"] or {}).get("to", [])]


def entitled(header: Header, world: World) -> dict[str, str]:
    """The members that may see this message now, each with the first rule that admits it; everybody else may not."""
    rules = {member: _rule(header, member, world) for member in world["members"]}
    return {member: rule for member, rule in rules.items() if rule is not None}


def _rule(header: Header, member: str, world: World) -> str | None:
    release = header["handling"]["release"]
    if release is None or world["members"][member]["state"] != "active" or member in release.get("except", []):
        return None
    if member in _named(header):
        return "to"
    if member == header["originator"]:
        return None
    for name in _groups(header):
        # Read: that the originator has left the group since does not take it from the others.
        if _runs(name, world) and member in world["groups"][name]["members"]:
            return f"group:{name}"
    meant = ALL_MEANS.get(header["handling"]["tlp"], frozenset())
    return "all" if release.get("all", False) and world["members"][member]["type"] in meant else None


def duties(header: Header, member: str) -> Duties:
    """What `member` is to do with this message: the duties of all its entries in `to`, else information alone."""
    release = header["handling"]["release"] or {}
    entries = [entry for entry in release.get("to", []) if entry["member"] == member]
    # Read: the default is the entry's: an entry without duties says "information" beside another that says "action".
    said = {duty for entry in entries for duty in entry.get("duties") or ["information"]}
    return tuple(duty for duty in DUTIES if duty in (said or {"information"}))


# ── the filter ──


def matches(filter: Filter, attributes: Attributes, header: Header, member: str, duties: Collection[str]) -> int | None:
    """The first clause that this message fulfils for this subscriber (0 if the filter has none), or None."""
    # Read: `status: []` is as good as absent, so the default holds: an exercise never surprises anyone.
    if header["status"] not in (filter.get("status") or ["actual"]):
        return None
    facts = _facts(attributes, header, duties)
    named = member in _named(header)
    clauses = filter.get("any")
    if clauses is None:
        return 0
    return next((index for index, clause in enumerate(clauses) if _fulfils(clause, facts, named)), None)


def _facts(attributes: Attributes, header: Header, duties: Collection[str]) -> dict[str, set[str]]:
    """Every attribute that a filter can ask for, as a set; what the message lacks is empty."""
    facts = {name: set(attributes.get(name, ())) for name in FROM_BODY}
    facts |= {"kind": {header["kind"]}, "originator": {header["originator"]}, "tlp": {header["handling"]["tlp"]}}
    facts |= {"priority": {header["priority"]} if header.get("priority") else set()}
    facts |= {"group": set(_groups(header)), "duty": set(duties)}
    return facts


def _fulfils(clause: Filter, facts: Mapping[str, set[str]], named: bool) -> bool:
    asked = {name: wanted for name, wanted in clause.items() if name not in ("all", "not")}
    if not all(_has_any(name, wanted, facts, named) for name, wanted in asked.items() if _is_condition(wanted)):
        return False
    every: Filter = clause.get("all") or {}
    if not all(_has_every(name, wanted, facts) for name, wanted in every.items()):
        return False
    barred: Filter = clause.get("not") or {}
    return not any(_has_any(name, wanted, facts, named) for name, wanted in barred.items() if _is_condition(wanted))


def _is_condition(wanted: Any) -> bool:
    """An empty list and `mentions_me: false` set no condition, neither for a message nor against it."""
    return bool(wanted)


def _has_any(name: str, wanted: Any, facts: Mapping[str, set[str]], named: bool) -> bool:
    if name == "mentions_me":
        return named
    return any(_has(name, value, facts) for value in wanted)


def _has_every(name: str, wanted: Collection[str], facts: Mapping[str, set[str]]) -> bool:
    return all(_has(name, value, facts) for value in wanted)


def _has(name: str, value: str, facts: Mapping[str, set[str]]) -> bool:
    if name not in FROM_BODY | FROM_HEADER:
        raise LookupError(f"no filter attribute is called {name!r}")
    if name == "hs":
        return any(code.startswith(value) for code in facts["hs"])
    return value in facts[name]


# ── deliveries ──


def deliveries(header: Header, attributes: Attributes, world: World) -> set[Delivery]:
    """What the acceptance of a message that corrects nothing puts into the queues."""
    found = set()
    for member, rule in entitled(header, world).items():
        queues = _matching(header, attributes, member, world)
        if not queues and member in _named(header):
            queues = {INBOX}
        found |= {(member, queue, rule, duties(header, member)) for queue in queues}
    return found


def _matching(header: Header, attributes: Attributes, member: str, world: World) -> set[str]:
    own = duties(header, member)
    mine = [s for s in world["subscriptions"] if s["member"] == member]
    return {s["name"] for s in mine if matches(s["filter"], attributes, header, member, own) is not None}


def correction_deliveries(
    header: Header, attributes: Attributes, world: World, chain: Collection[Version]
) -> tuple[set[Delivery], set[Place]]:
    """What an amendment or a withdrawal puts into the queues, and where the hub's notice goes in its stead.

    `chain` has one entry for each earlier version. Members that are no longer in the registry get nothing.
    """
    if header.get("withdraws"):
        return _withdrawal(header, world, chain)
    return _amendment(header, attributes, world, chain)


def _amendment(
    header: Header, attributes: Attributes, world: World, chain: Collection[Version]
) -> tuple[set[Delivery], set[Place]]:
    rules = entitled(header, world)
    found = set()
    for member, rule in rules.items():
        # Read: "otherwise both versions are delivered": where an earlier version still waits, this one follows it.
        queues = _matching(header, attributes, member, world) | _carrying(member, world, chain, "handed", "waiting")
        # Read: the inbox is the last resort, for a holder too: it is used where no other queue gets the amendment.
        if not queues and (member in _named(header) or _holds(member, header, chain)):
            queues = {INBOX}
        found |= {(member, queue, rule, duties(header, member)) for queue in queues}
    # Read: a suspended member, for whom an earlier version is held, is told like a holder, behind that version.
    held = {m for m in world["members"] if m not in rules and _carrying(m, world, chain, "waiting")}
    held &= entitled(header, _all_active(world)).keys()
    barred = [m for m in world["members"] if m not in rules and (_holds(m, header, chain) or m in held)]
    places = {(member, queue) for member in barred for queue in _reached(member, world, chain) if member not in held}
    return found, places | {(m, q) for m in held for q in _carrying(m, world, chain, "handed", "waiting")}


def _all_active(world: World) -> World:
    members: dict[str, Member] = {m: {"type": it["type"], "state": "active"} for m, it in world["members"].items()}
    return {**world, "members": members}


def _withdrawal(header: Header, world: World, chain: Collection[Version]) -> tuple[set[Delivery], set[Place]]:
    holders = [member for member in world["members"] if _holds(member, header, chain)]
    places = {(member, queue) for member in holders for queue in _reached(member, world, chain)}
    # Read: "to the holders alone" is to every one of them, barred by a later version or suspended (which is handed it
    # when it comes back): it needs no entitlement, and shows nothing but that the message is void.
    return {(member, queue, "holder", duties(header, member)) for member, queue in places}, set()


def _holds(member: str, header: Header, chain: Collection[Version]) -> bool:
    handed = any(holder == member for version in chain for holder, _ in version["handed"])
    # Read: an originator that looks at its own message by GET is no holder of it.
    fetched = member != header["originator"] and any(member in version["fetched"] for version in chain)
    return handed or fetched


def _reached(member: str, world: World, chain: Collection[Version]) -> set[str]:
    """Where a holder hears of a correction, whatever the filters say: what carried a version to it, else its inbox."""
    return _carrying(member, world, chain, "handed") or {INBOX}


def _carrying(member: str, world: World, chain: Collection[Version], *how: Literal["handed", "waiting"]) -> set[str]:
    """The queues of `member`, among those that still exist, that carried an earlier version."""
    existing = {s["name"] for s in world["subscriptions"] if s["member"] == member} | {INBOX}
    places: set[Place] = {place for version in chain for key in how for place in version.get(key, set())}
    return {queue for owner, queue in places if owner == member} & existing
