"""The members of the tortured hub, what they subscribe to, and the registry as it changes under them.

Posters are in the group OP for good. Readers join and leave it, and are suspended and let in again, one change at a
time; each change is written down with the moments before and after it, as a world of `tests.model`.
"""

from __future__ import annotations

import asyncio
import copy
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from broker import administer, clock, jws, members
from broker.errors import AlreadyThere, LedgerAway, NotFound
from broker.ledger import Ledger
from tests import model
from tests.region import new_key
from tests.torture.evidence import Evidence, Place, Shape

POSTERS = ("CL", "MX", "CR", "GT")
TYPES: dict[str, str] = dict.fromkeys((*POSTERS, "PE", "BR", "AR", "PA"), "customs")
TYPES |= {"RILO-SA": "rilo", "FIU-CL": "partner"}
SUBSCRIPTIONS: list[model.Subscription] = [
    {"member": "PE", "name": "wire", "filter": {}, "delivery": "amqp"},
    {"member": "RILO-SA", "name": "wire", "filter": {}, "delivery": "amqp"},
    {"member": "BR", "name": "tobacco", "filter": {"any": [{"heading": ["tobacco"]}]}, "delivery": "amqp"},
    {"member": "AR", "name": "pulled", "filter": {}, "delivery": "pull"},
    {"member": "PA", "name": "streamed", "filter": {"any": [{"kind": ["seizure"]}]}, "delivery": "stream"},
    {"member": "FIU-CL", "name": "pulled", "filter": {"any": [{"kind": ["alert"]}]}, "delivery": "pull"},
]
INBOXES = ("PA", "BR", "FIU-CL")
"""For what names them and their filters leave out."""
STREAMED = {(s["member"], s["name"]) for s in SUBSCRIPTIONS if s["delivery"] == "stream"}
GROUP = "OP"
MAY_LEAVE = ("BR", "AR", "RILO-SA")
MAY_BE_SUSPENDED = ("BR", "AR", "PA", "FIU-CL")
PAUSE_SECONDS = (1.0, 4.0)
"""Between two changes of the registry."""


Standing = tuple[frozenset[str], frozenset[str]]
"""Who is suspended, and who is in the group."""


@dataclass
class Moment:
    """A registry: it began to hold somewhere between `began` and `ended`."""

    world: model.World
    began: float
    ended: float


@dataclass
class People:
    """Keys, and the history of the registry. `history[0]` holds from the start."""

    keys: dict[str, jws.PrivateKey] = field(default_factory=dict)
    history: list[Moment] = field(default_factory=list)
    amqp_names: dict[Place, str] = field(default_factory=dict)
    _entitled: dict[tuple[Shape, Standing], dict[str, str]] = field(default_factory=dict)
    _deliveries: dict[tuple[Shape, Standing], set[model.Delivery]] = field(default_factory=dict)

    @property
    def places(self) -> list[Place]:
        """Every queue that somebody reads."""
        return [(s["member"], s["name"]) for s in SUBSCRIPTIONS] + [(m, "inbox") for m in INBOXES]

    def between(self, began: float, ended: float) -> range:
        """Numbers of the registries that may have held at some moment from `began` to `ended`."""
        first = bisect_left(self.history, began, key=lambda moment: moment.ended) - 1
        return range(max(first, 0), bisect_right(self.history, ended, key=lambda moment: moment.began))

    def entitled(self, shape: Shape, number: int, *, were_all_active: bool = False) -> dict[str, str]:
        """member -> rule, by the model, under the registry of that number."""
        world = self.history[number].world
        if were_all_active:
            members: dict[str, model.Member] = {
                name: {"type": it["type"], "state": "active"} for name, it in world["members"].items()
            }
            world = {**world, "members": members}
        key = (shape, _standing(world))
        known = self._entitled.get(key)
        if known is None:
            known = self._entitled[key] = model.entitled(shape.header, world)
        return known

    def deliveries(self, shape: Shape, number: int) -> set[model.Delivery]:
        world = self.history[number].world
        key = (shape, _standing(world))
        known = self._deliveries.get(key)
        if known is None:
            known = self._deliveries[key] = model.deliveries(shape.header, shape.attributes, world)
        return known


def _standing(world: model.World) -> Standing:
    """All that ever changes of a registry here."""
    suspended = frozenset(name for name, it in world["members"].items() if it["state"] == "suspended")
    return suspended, frozenset(world["groups"][GROUP]["members"])


async def enrol(ledger: Ledger) -> People:
    """Members, keys, group and subscriptions, as an operator and the members would make them."""
    people, now = People(), clock.now() - timedelta(days=1)  # keys hold whatever the hub's clocks say
    for member, type in TYPES.items():
        await administer.add_member(ledger, member, type, f"Customs of {member}", now)
        people.keys[member] = new_key()
        request = members.make_key_request(member, people.keys[member], clock.text(now))
        await administer.enrol(ledger, members.read_key_request(request.encode()), now)
    await administer.add_group(ledger, GROUP, None)
    inside = {*POSTERS, "PE", *MAY_LEAVE}
    for member in sorted(inside):
        await administer.join(ledger, GROUP, member, now)
    for s in SUBSCRIPTIONS:
        made = await administer.subscribe(
            ledger, s["member"], s["name"], s["delivery"], s["filter"], now, wire=True
        )  # fmt: skip
        if made.amqp_name is not None:
            people.amqp_names[s["member"], s["name"]] = made.amqp_name
    world: model.World = {
        "now": datetime.now(UTC),
        "members": {m: {"type": t, "state": "active"} for m, t in TYPES.items()},  # type: ignore[typeddict-item]
        "groups": {GROUP: {"members": inside, "starts_at": None, "ends_at": None}},
        "subscriptions": SUBSCRIPTIONS,
    }
    people.history.append(Moment(world, float("-inf"), time.monotonic()))
    return people


async def _insist(change: object, ledger: Ledger, *args: object) -> None:
    """A change that is made although the ledger comes and goes; made twice is made once."""
    while True:
        try:
            await change(ledger, *args, clock.now())  # type: ignore[operator]
            return
        except LedgerAway:
            await asyncio.sleep(0.2)
        except (NotFound, AlreadyThere):
            return  # an earlier try did it, and its answer was lost


async def _change(people: People, ledger: Ledger, evidence: Evidence, what: str, member: str) -> None:
    before = people.history[-1].world
    world: model.World = {
        **before,
        "members": copy.deepcopy(before["members"]),
        "groups": copy.deepcopy(before["groups"]),
    }
    began = time.monotonic()
    moment = Moment(world, began, float("inf"))
    if what in ("join", "leave"):
        inside = world["groups"][GROUP]["members"]
        (inside.add if what == "join" else inside.discard)(member)
        people.history.append(moment)
        await _insist(administer.join if what == "join" else administer.leave, ledger, GROUP, member)
    else:
        world["members"][member]["state"] = "active" if what == "activate" else "suspended"
        people.history.append(moment)
        await _insist(administer.set_active, ledger, member, what == "activate")
    moment.ended = time.monotonic()
    evidence.answers[f"registry {what}"] += 1


async def keep_changing(people: People, ledger: Ledger, evidence: Evidence, rng: Random) -> None:
    """Somebody leaves or is suspended, and is let in again; until cancelled between two changes."""
    while True:
        await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
        world = people.history[-1].world
        if rng.random() < 0.5:
            member = rng.choice(MAY_LEAVE)
            what = "leave" if member in world["groups"][GROUP]["members"] else "join"
        else:
            member = rng.choice(MAY_BE_SUSPENDED)
            what = "suspend" if world["members"][member]["state"] == "active" else "activate"
        await asyncio.shield(_change(people, ledger, evidence, what, member))


async def let_everybody_in(people: People, ledger: Ledger, evidence: Evidence) -> None:
    """The end of all suspensions, so that what was held for somebody is handed over."""
    for member, it in people.history[-1].world["members"].items():
        if it["state"] == "suspended":
            await _change(people, ledger, evidence, "activate", member)
