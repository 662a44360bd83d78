"""A whole season through the gateway, and after every posting each delivery in the ledger against the brute-force model.

Between the postings members lease, settle, fetch, join, leave, subscribe; some are suspended and come back. What the
model needs to know of that (who was handed what, where something still waits) is kept by the test itself: the ledger
is only ever compared with it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from broker import administer, jws
from broker.ledger import tables as t
from tests import model, season
from tests.region import Region, payload_of

MESSAGES = 150
DEEDS_BETWEEN = 3
"""About so many deeds of members between two postings."""

Row = tuple[str, str, str, str, model.Duties, int]
"""(address, or what a notice is about; member, queue, rule, duties, sequence)"""


@dataclass
class Copy:
    """One expected delivery. `waiting`: offered to nobody yet and not removed; `handed`: somebody leased it."""

    row: Row
    waiting: bool = True
    handed: bool = False

    @property
    def place(self) -> model.Place:
        return self.row[1], self.row[2]


@dataclass
class Diary:
    """What the members of a world have been through, written without a look into the ledger."""

    world: model.World
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    copies: list[Copy] = field(default_factory=list)
    fetched: dict[str, set[str]] = field(default_factory=dict)
    sequences: Counter[model.Place] = field(default_factory=Counter)

    def active(self, member: str) -> bool:
        return self.world["members"][member]["state"] == "active"

    def chain(self, address: str) -> list[model.Version]:
        return [self._version(version) for version in self.chains[address]]

    def _version(self, address: str) -> model.Version:
        copies = [copy for copy in self.copies if copy.row[0] == address]
        return {
            "handed": {copy.place for copy in copies if copy.handed},
            "fetched": self.fetched[address],
            "waiting": {copy.place for copy in copies if copy.waiting},
        }

    def holds(self, member: str, address: str) -> bool:
        versions = self.chain(address)
        return any(member in v["fetched"] or member in {m for m, _ in v["handed"]} for v in versions)

    def expected(self, item: season.Item) -> tuple[int, set[str]]:
        """Status, and the rules of the refusal (the code where the rule alone does not tell)."""
        header = item.payload["header"]
        address = address_in(header)
        if self.accepted.get(address) == item.payload:
            return 200, set()
        if not self.active(header["originator"]):
            return 403, {"member-suspended"}
        if address in self.accepted:
            return 409, {"conflict"}
        faults = model.release_faults(header, self.world)
        if faults:
            return 422, faults
        target = header.get("supersedes") or header.get("withdraws")
        if target is None:
            return 201, set()
        if target in self.withdrawn:
            return 409, {"chain-withdrawn"}
        if target not in self.accepted:
            return 409, {"correction-of-unknown"}
        return (201, set()) if self.chains[target][-1] == target else (409, {"not-the-latest"})

    def warnings(self, header: model.Header) -> set[str]:
        """Of an accepted message, told to its sender with the receipt."""
        release = header["handling"]["release"]
        if release is None:
            return set()
        found = set() if model.entitled(header, self.world) else {"nobody"}
        named = {entry["member"] for entry in release.get("to", [])}
        return found | ({"member-is-suspended"} if any(not self.active(name) for name in named) else set())

    def accept(self, item: season.Item) -> None:
        header = item.payload["header"]
        address = address_in(header)
        target = header.get("supersedes") or header.get("withdraws")
        notices: set[model.Place] = set()
        if target is None:
            found = model.deliveries(header, item.attributes, self.world)
        else:
            chain = self.chain(target)
            found, notices = model.correction_deliveries(header, item.attributes, self.world, chain)
        self.accepted[address] = item.payload
        self.fetched[address] = set()
        self.rules[address] = {member: rule for member, _, rule, _ in found} | model.entitled(header, self.world)
        self._append(address, found)
        self._append(f"notice:{target}", {(m, queue, "notice", ("information",)) for m, queue in notices})
        if header.get("withdraws"):
            self._withdraw(target)
        else:
            self.chains[address] = self.chains[target] if target else []
            self.chains[address].append(address)
            self.lapse(self.chains[address])

    def _append(self, address: str, found: Iterable[model.Delivery]) -> None:
        for member, queue, rule, duties in found:
            self.sequences[member, queue] += 1
            self.copies.append(Copy((address, member, queue, rule, duties, self.sequences[member, queue])))

    def _withdraw(self, target: str) -> None:
        self.withdrawn |= set(self.chains[target])
        for copy in self.copies:
            copy.waiting &= copy.row[0] not in self.chains[target]

    def lapse(self, addresses: Iterable[str] | None = None, member: str | None = None) -> None:
        """What its member may no longer have goes, but a suspended member's deliveries are held."""
        among = set(self.chains if addresses is None else addresses)
        for copy in self.copies:
            address, owner = copy.row[:2]
            if copy.waiting and address in among and self.active(owner) and member in (None, owner):
                latest = self.accepted[self.chains[address][-1]]["header"]
                copy.waiting = owner in model.entitled(latest, self.world)

    def may_fetch(self, member: str, address: str) -> bool:
        header = self.accepted[address]["header"]
        if header["originator"] == member:
            return True
        if member not in self.rules[address]:
            return False
        if header.get("withdraws"):
            return True
        if address in self.withdrawn or self.chains[address][-1] != address:
            return self.holds(member, address)
        return member in model.entitled(header, self.world)


def address_in(header: model.Header) -> str:
    return f"{header['originator']}:{header['id']}"


@dataclass
class Play:
    """The diary, and the hub on which everything in it also happens."""

    here: Region
    rng: Random
    diary: Diary
    added: int = 0

    @property
    def world(self) -> model.World:
        return self.diary.world

    def someone(self, *, suspended: bool = False) -> str:
        members = self.world["members"]
        return self.rng.choice([name for name in members if (members[name]["state"] == "suspended") == suspended])

    async def build(self) -> None:
        here, world = self.here, self.world
        for number, (name, member) in enumerate(world["members"].items()):
            await here.enrol(name, type=member["type"], alg=("Ed25519", "ES256")[number % 2])
        for name, group in world["groups"].items():
            await here.group(name, *group["members"], starts_at=group["starts_at"], ends_at=group["ends_at"])
        for subscription in world["subscriptions"]:
            await here.subscribe(subscription["member"], subscription["name"], subscription["filter"])
        for name, member in world["members"].items():
            if member["state"] == "suspended":
                await administer.set_active(here.hub.ledger, name, False, here.clock())

    # ── postings ──

    async def post(self, items: list[season.Item]) -> None:
        tokens = [self.here.sign(item.payload) for item in items]
        for item, answer in zip(items, await self._answers(tokens), strict=True):
            status, rules = self.diary.expected(item)
            assert answer["status"] == status, (item, answer)
            assert {fault["rule"] for fault in answer.get("problem", {}).get("errors", [])} == rules, (item, answer)
            if status == 201:
                told = {warning["rule"] for warning in answer["warnings"]} & {"nobody", "member-is-suspended"}
                assert told == self.diary.warnings(item.payload["header"])
                self.diary.accept(item)
        await self.compare()

    async def _answers(self, tokens: list[str]) -> list[dict[str, Any]]:
        if len(tokens) == 1:
            answer = await self.here.post(tokens[0])
            said = answer.json()
            return [{"status": answer.status_code, "problem": said if answer.is_error else {}, **said}
                    | {"status": answer.status_code}]  # fmt: skip
        lines = "\n".join(map(json.dumps, tokens))
        kind = {"content-type": "application/x-ndjson"}
        answer = await self.here.http.post("/v1/messages/batch", content=lines, headers=kind)
        return [json.loads(line) for line in answer.text.splitlines()]

    async def compare(self) -> None:
        """Every delivery there is: whose, where, why, with which duties, under which number, and whether it waits."""
        s, d, m = t.subscriptions.c, t.deliveries.c, t.messages.c
        query = (
            select(m.originator, m.id, m.jws, d.member, s.name, d.rule, d.duties, d.sequence, d.state, d.handed_at)
            .join(t.messages, m.position == d.position)
            .join(t.subscriptions, s.id == d.queue)
        )
        async with self.here.hub.ledger.reading() as c:
            rows = (await c.execute(query)).all()
        found = {}
        for originator, id, compact, member, queue, rule, duties, sequence, state, handed_at in rows:
            notice = originator == "hub"
            address = f"notice:{payload_of(compact)['body']['about']}" if notice else f"{originator}:{id}"
            row = (address, member, queue, rule, tuple(duties.split(",")), sequence)
            found[row] = (state == "ready" and handed_at is None, handed_at is not None)

        assert len(found) == len(rows)
        expected = {copy.row: (copy.waiting, copy.handed) for copy in self.diary.copies}
        assert len(expected) == len(self.diary.copies)
        assert {
            row: found.get(row) for row in found.keys() | expected.keys() if found.get(row) != expected.get(row)
        } == {row: expected.get(row) for row in found.keys() | expected.keys() if found.get(row) != expected.get(row)}

    # ── what members do meanwhile ──

    async def lease(self) -> None:
        member = self.someone()
        queues = [s["name"] for s in self.world["subscriptions"] if s["member"] == member]
        queue, limit = self.rng.choice([*queues, "inbox"]), self.rng.choice([1, 3, 100])
        leased = await self.here.lease(member, queue, limit=limit)
        last = leased[-1]["sequence"] if len(leased) == limit else float("inf")
        self._offer(member, queue, last, {d["sequence"] for d in leased})
        outcomes = [(d["lease_id"], self.rng.choice(["accept", "accept", "release", "reject", ""])) for d in leased]
        settlements = [{"lease_id": lease, "outcome": outcome} for lease, outcome in outcomes if outcome]
        if settlements:
            assert {s["status"] for s in await self.here.settle(member, queue, *settlements)} == {200}

    def _offer(self, member: str, queue: str, last: float, leased: set[int]) -> None:
        """What waited here up to `last` has been leased or, where its member may not have it any more, removed."""
        again = {copy.row[5] for copy in self.diary.copies if copy.place == (member, queue) and copy.handed}
        due = [c for c in self.diary.copies if c.waiting and c.place == (member, queue) and c.row[5] <= last]
        for copy in due:
            copy.waiting = False
            copy.handed = self._allowed(copy)
        assert {copy.row[5] for copy in due if copy.handed} == leased - again

    def _allowed(self, copy: Copy) -> bool:
        address, member, _, rule, *_ = copy.row
        if rule in ("holder", "notice"):
            return True
        latest = self.diary.accepted[self.diary.chains[address][-1]]["header"]
        return member in model.entitled(latest, self.world)

    async def fetch(self) -> None:
        if not self.diary.accepted:
            return
        member, address = self.someone(), self.rng.choice(list(self.diary.accepted))
        answer = await self.here.call(member, "GET", f"/v1/messages/{address}")
        assert answer.status_code == (200 if self.diary.may_fetch(member, address) else 404), (member, address)
        if answer.status_code == 200 and not address.startswith(f"{member}:"):
            self.diary.fetched[address].add(member)

    async def join(self) -> None:
        name, member = self.rng.choice(list(self.world["groups"])), self.rng.choice(season.CUSTOMS)
        await administer.join(self.here.hub.ledger, name, member, self.here.clock())
        self.world["groups"][name]["members"].add(member)

    async def leave(self) -> None:
        name = self.rng.choice(list(self.world["groups"]))
        member = self.rng.choice(sorted(self.world["groups"][name]["members"]) or [""])
        if member:
            await administer.leave(self.here.hub.ledger, name, member, self.here.clock())
            self.world["groups"][name]["members"].discard(member)
            self.diary.lapse(member=member)

    async def suspend(self) -> None:
        member = self.someone()
        await administer.set_active(self.here.hub.ledger, member, False, self.here.clock())
        self.world["members"][member]["state"] = "suspended"

    async def reactivate(self) -> None:
        if any(member["state"] == "suspended" for member in self.world["members"].values()):
            member = self.someone(suspended=True)
            await administer.set_active(self.here.hub.ledger, member, True, self.here.clock())
            self.world["members"][member]["state"] = "active"
            self.diary.lapse(member=member)

    async def subscribe(self) -> None:
        self.added += 1
        member, name = self.someone(), f"more-{self.added}"
        wanted = season.a_filter(self.rng, self.world, member)
        await self.here.subscribe(member, name, wanted)
        self.world["subscriptions"].append({"member": member, "name": name, "filter": wanted, "delivery": "pull"})

    async def change(self) -> None:
        mine = [s for s in self.world["subscriptions"] if self.diary.active(s["member"])]
        chosen = self.rng.choice(mine)
        chosen["filter"] = season.a_filter(self.rng, self.world, chosen["member"])
        path = f"/v1/subscriptions/{chosen['name']}"
        answer = await self.here.call(chosen["member"], "PATCH", path, {"filter": chosen["filter"]})
        assert answer.status_code == 200

    async def unsubscribe(self) -> None:
        mine = [s for s in self.world["subscriptions"] if self.diary.active(s["member"])]
        chosen = self.rng.choice(mine)
        answer = await self.here.call(chosen["member"], "DELETE", f"/v1/subscriptions/{chosen['name']}")
        assert answer.status_code == 204
        self.world["subscriptions"].remove(chosen)
        for copy in self.diary.copies:
            copy.waiting &= copy.place != (chosen["member"], chosen["name"])

    async def deed(self) -> None:
        deeds = {
            self.lease: 60, self.fetch: 20, self.join: 4, self.leave: 4, self.suspend: 2, self.reactivate: 3,
            self.subscribe: 2, self.change: 2, self.unsubscribe: 1,
        }  # fmt: skip
        await self.rng.choices(list(deeds), list(deeds.values()))[0]()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_every_delivery_of_a_season(here: Region, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gets what, where, why and in which order is exactly what the text says, whatever happens in between."""
    rng = Random(seed)
    for deed, weight in ((season._amended, 30), (season._withdrawn, 6)):  # more corrections than a real season has
        monkeypatch.setitem(season.DEEDS, deed, weight)
    world = season.world(rng, here.clock().replace(microsecond=0))
    items = season.messages(rng, world, MESSAGES)
    play = Play(here, rng, Diary(world))
    await play.build()

    while items:
        size = rng.choice([1, 1, 1, 2, 9])
        await play.post(items[:size])
        del items[:size]
        for _ in range(rng.randint(0, 2 * DEEDS_BETWEEN)):
            await play.deed()

    await play.compare()
    rules = Counter(copy.row[3].partition(":")[0] for copy in play.diary.copies)
    assert min(rules[rule] for rule in ("to", "group", "all", "holder", "notice")) > 0, rules


async def test_notices_are_the_hubs_own_and_each_for_one_member(here: Region) -> None:
    """A notice says "superseded, not released to you", is signed by the hub, and names nobody but its reader."""
    await here.enrol("CL", "PE", "AR", "BZ")
    old = await here.send("CL", release={"to": [{"member": m} for m in ("PE", "AR", "BZ")]})
    for member in ("PE", "AR"):
        await here.take(member)
    await here.send("CL", release={"to": [{"member": "BZ"}]}, supersedes=old)

    hub_keys = (await here.call("PE", "GET", "/v1/members")).text
    for member in ("PE", "AR"):
        (delivery,) = await here.lease(member)
        payload = payload_of(delivery["message"])
        token = jws.read(delivery["message"].encode(), typ=jws.TYP_MESSAGE)
        jws.verify(token, jws.public_jwk(here.hub.key))
        assert token.kid in hub_keys
        assert delivery["rule"] == "notice"
        assert (payload["body"]["event"], payload["body"]["about"]) == ("superseded-not-released", old)
        assert payload["header"]["handling"]["release"] == {"to": [{"member": member}]}
        assert payload["header"]["originator"] == "hub"
