"""Filters: what a subscription asks for, and which subscriptions a message meets.

A filter is up to 16 clauses over a fixed set of attributes. All clauses of all subscriptions are compiled into one
bitmap index: per attribute and value one integer whose bits are clauses. Values of an attribute are ORed, attributes
are ANDed, so that a message costs a few dozen operations on integers however many subscriptions there are.

Not decided here: who may see the message. `Index.match` takes the entitled members and looks at nobody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.errors import Fault, Invalid, quote

LISTS = ("kind", "heading", "hs", "country", "mode", "priority", "group", "tlp", "originator", "duty")
"""Attributes that take a list of values. `hs` compares by prefix, `duty` is the subscriber's own."""

STATUSES = ("actual", "exercise", "test")
DUTIES = ("action", "attention", "information")
MAX_CLAUSES = 16
MAX_VALUES = 256
MAX_VALUE_CHARACTERS = 64

Attributes = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold, what must hold with every value, and what must not hold."""

    some: Mapping[str, frozenset[str]] = field(default_factory=dict)
    every: Mapping[str, frozenset[str]] = field(default_factory=dict)
    none: Mapping[str, frozenset[str]] = field(default_factory=dict)
    mentions_me: bool = False
    none_mentions_me: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    status: frozenset[str]
    clauses: tuple[Condition, ...]


EVERYTHING = Filter(frozenset(["actual"]), (Condition(),))


def parse_filter(value: object, at: str = "") -> Filter:
    """The Filter that a member wrote as JSON. Raises Invalid with every fault; `at` is the pointer of the filter."""
    faults: list[Fault] = []
    if not isinstance(value, Mapping):
        raise Invalid(Fault(at, "type", found=quote(value), allowed=("object",)))
    known = ("status", "any")
    faults += [Fault(f"{at}/{_escaped(n)}", "unknown-member", allowed=known) for n in value.keys() - set(known)]
    status = _strings(value.get("status", []), f"{at}/status", faults)
    faults += [Fault(f"{at}/status", "enum", found=s, allowed=STATUSES) for s in status - set(STATUSES)]

    clauses: list[Condition] = []
    if "any" not in value:
        clauses.append(Condition())
    elif not isinstance(value["any"], list) or not 1 <= len(value["any"]) <= MAX_CLAUSES:
        faults.append(Fault(f"{at}/any", "clauses", allowed=(f"1..{MAX_CLAUSES}",)))
    else:
        clauses = [_clause(clause, f"{at}/any/{i}", faults) for i, clause in enumerate(value["any"])]
    if faults:
        raise Invalid(*faults)
    return Filter(status or frozenset(["actual"]), tuple(clauses))


def _escaped(name: object) -> str:
    """A member's name in a JSON Pointer (RFC 6901 §3)."""
    return quote(str(name).replace("~", "~0").replace("/", "~1"))


def _clause(value: object, at: str, faults: list[Fault]) -> Condition:
    if not isinstance(value, Mapping):
        faults.append(Fault(at, "type", found=quote(value), allowed=("object",)))
        return Condition()
    allowed = (*LISTS, "mentions_me", "all", "not")
    faults += [Fault(f"{at}/{_escaped(n)}", "unknown-member", allowed=allowed) for n in value.keys() - set(allowed)]
    nested = {}
    for name in ("all", "not"):
        inner = value.get(name, {})
        inner_allowed = (*LISTS, "mentions_me") if name == "not" else LISTS
        if not isinstance(inner, Mapping):
            faults.append(Fault(f"{at}/{name}", "type", found=quote(inner), allowed=("object",)))
            inner = {}
        faults += [
            Fault(f"{at}/{name}/{_escaped(n)}", "unknown-member", allowed=inner_allowed)
            for n in inner.keys() - set(inner_allowed)
        ]
        nested[name] = inner
    return Condition(
        some=_lists(value, at, faults),
        every=_lists(nested["all"], f"{at}/all", faults),
        none=_lists(nested["not"], f"{at}/not", faults),
        mentions_me=_flag(value, at, faults),
        none_mentions_me=_flag(nested["not"], f"{at}/not", faults),
    )


def _lists(value: Mapping[str, Any], at: str, faults: list[Fault]) -> dict[str, frozenset[str]]:
    found = {name: _strings(value[name], f"{at}/{name}", faults) for name in LISTS if name in value}
    return {name: values for name, values in found.items() if values}


def _flag(value: Mapping[str, Any], at: str, faults: list[Fault]) -> bool:
    flag = value.get("mentions_me", False)
    if not isinstance(flag, bool):
        faults.append(Fault(f"{at}/mentions_me", "type", found=quote(flag), allowed=("boolean",)))
    return flag is True


def _strings(value: object, at: str, faults: list[Fault]) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > MAX_VALUES:
        faults.append(Fault(at, "type", found=quote(value), allowed=(f"list of at most {MAX_VALUES} strings",)))
        return frozenset()
    good = [v for v in value if isinstance(v, str) and 1 <= len(v) <= MAX_VALUE_CHARACTERS]
    if len(good) != len(value):
        faults.append(Fault(at, "type", allowed=(f"strings of 1..{MAX_VALUE_CHARACTERS} characters",)))
    return frozenset(good)


@dataclass(frozen=True, slots=True)
class Match:
    """`subscription` is its position in the index; `clause` the first of its clauses that the message met."""

    subscription: int
    clause: int


class Index:
    """Filters compiled. Built once per registry version, then only read."""

    def __init__(self, filters: Sequence[tuple[str, Filter]]) -> None:
        """`filters`: (member, filter) per subscription, in the order that `Match.subscription` counts."""
        self._clauses: list[tuple[int, int, Condition]] = []
        self._of_member: dict[str, int] = defaultdict(int)
        self._status: dict[str, int] = defaultdict(int)
        self._some: dict[str, dict[str, int]] = {name: defaultdict(int) for name in LISTS}
        self._none: dict[str, dict[str, int]] = {name: defaultdict(int) for name in LISTS}
        self._unconditioned: dict[str, int] = dict.fromkeys(LISTS, 0)
        self._mentions = self._unmentioned = self._none_mentions = self._every = 0
        bit = 1
        for position, (member, wanted) in enumerate(filters):
            for number, clause in enumerate(wanted.clauses):
                self._clauses.append((position, number, clause))
                self._of_member[member] |= bit
                for status in wanted.status:
                    self._status[status] |= bit
                for name in LISTS:
                    for value in clause.some.get(name, ()):
                        self._some[name][value] |= bit
                    if name not in clause.some:
                        self._unconditioned[name] |= bit
                    for value in clause.none.get(name, ()):
                        self._none[name][value] |= bit
                if clause.mentions_me:
                    self._mentions |= bit
                else:
                    self._unmentioned |= bit
                if clause.none_mentions_me:
                    self._none_mentions |= bit
                if clause.every:
                    self._every |= bit
                bit <<= 1

    def match(
        self, attributes: Attributes, entitled: Iterable[str], named: Mapping[str, tuple[str, ...]]
    ) -> list[Match]:
        """Subscriptions of `entitled` members that the message meets, in index order, one Match each.

        `attributes`: status and every list attribute but duty -> values. `named`: member -> duties in release.to.
        """
        bits = 0
        for member in entitled:
            bits |= self._of_member.get(member, 0)
        bits &= _union(self._status, attributes.get("status", frozenset()))
        of_named = {member: self._of_member[member] for member in named if member in self._of_member}
        mentioned = 0
        for own in of_named.values():
            mentioned |= own
        for name in LISTS:
            if not bits:
                return []
            some, none = self._some[name], self._none[name]
            if name == "duty":
                bits &= self._unconditioned[name] | self._duty(some, of_named, named, mentioned)
                bits &= ~self._duty(none, of_named, named, mentioned)
                continue
            values = attributes.get(name, frozenset())
            if name == "hs":
                values = frozenset(v[:n] for v in values for n in range(1, len(v) + 1))
            bits &= self._unconditioned[name] | _union(some, values)
            bits &= ~_union(none, values)
        bits &= self._unmentioned | mentioned
        bits &= ~(self._none_mentions & mentioned)
        return self._matches(bits, attributes, named, mentioned)

    def _duty(
        self,
        table: Mapping[str, int],
        of_named: Mapping[str, int],
        named: Mapping[str, tuple[str, ...]],
        mentioned: int,
    ) -> int:
        bits = table.get("information", 0) & ~mentioned  # admitted by group or `all` alone
        if table:
            for member, own in of_named.items():
                bits |= own & _union(table, named[member])
        return bits

    def _matches(
        self, bits: int, attributes: Attributes, named: Mapping[str, tuple[str, ...]], mentioned: int
    ) -> list[Match]:
        first: dict[int, Match] = {}
        for number in _positions(bits):
            position, clause_number, clause = self._clauses[number]
            if position in first:
                continue
            if clause.every and not _every(clause.every, attributes, self._duties_at(number, named, mentioned)):
                continue
            first[position] = Match(position, clause_number)
        return list(first.values())

    def _duties_at(self, number: int, named: Mapping[str, tuple[str, ...]], mentioned: int) -> frozenset[str]:
        if not mentioned >> number & 1:
            return frozenset(["information"])
        owner = next(m for m, duties in named.items() if self._of_member.get(m, 0) >> number & 1)
        return frozenset(named[owner])


def _union(table: Mapping[str, int], values: Iterable[str]) -> int:
    bits = 0
    for value in values:
        bits |= table.get(value, 0)
    return bits


def _every(wanted: Mapping[str, frozenset[str]], attributes: Attributes, duties: frozenset[str]) -> bool:
    for name, values in wanted.items():
        has = duties if name == "duty" else attributes.get(name, frozenset())
        if name == "hs":
            if not all(any(code.startswith(prefix) for code in has) for prefix in values):
                return False
        elif not values <= has:
            return False
    return True


def _positions(bits: int) -> Iterable[int]:
    """Positions of the set bits, ascending; linear in the length of `bits`."""
    for byte_number, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        while byte:
            low = byte & -byte
            yield byte_number * 8 + low.bit_length() - 1
            byte ^= low
