"""Filters: the bitmap index agrees with the brute-force model on the whole language, and a bad filter is told why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Invalid
from broker.routing import DUTIES, MAX_CLAUSES, Index, Match, parse_filter
from tests import model, season

MEMBERS = ("CL", "PE", "RILO-SA")
VALUES: dict[str, list[str]] = {
    "kind": ["alert", "seizure"],
    "heading": ["tobacco", "drugs"],
    "hs": ["24", "2402", "240220", "2403", "9"],
    "country": ["CL", "PE", "CN"],
    "mode": ["sea", "air"],
    "priority": ["routine", "urgent"],
    "group": ["andes", "op-sur"],
    "tlp": ["RED", "AMBER", "AMBER+STRICT"],
    "originator": ["CL", "AR"],
    "duty": list(DUTIES),
}


def some(name: str, most: int = 3) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(VALUES[name]), max_size=most, unique=True)


lists = st.fixed_dictionaries({}, optional={name: some(name) for name in VALUES})
few_lists = st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: some(name) for name in names})
)
flag = st.fixed_dictionaries({}, optional={"mentions_me": st.booleans()})
barring = st.tuples(few_lists, flag).map(lambda parts: parts[0] | parts[1])
clauses = st.tuples(few_lists, flag, st.fixed_dictionaries({}, optional={"all": few_lists, "not": barring})).map(
    lambda parts: parts[0] | parts[1] | parts[2]
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "status": st.lists(st.sampled_from(season.STATUSES), max_size=3, unique=True),
        "any": st.lists(clauses, min_size=1, max_size=4),
    },
)
subscriptions = st.lists(st.tuples(st.sampled_from(MEMBERS), filters), max_size=6)
duties = st.lists(st.sampled_from(DUTIES), min_size=1, unique=True)
named = st.dictionaries(st.sampled_from([*MEMBERS, "AR"]), duties)


def header(draw: Any) -> dict[str, Any]:
    to = [{"member": member, "duties": own} for member, own in draw(named).items()]
    release = {"to": to, "groups": draw(some("group")), "all": False, "except": []}
    made: dict[str, Any] = {
        "kind": draw(st.sampled_from(VALUES["kind"])),
        "originator": draw(st.sampled_from(VALUES["originator"])),
        "status": draw(st.sampled_from(season.STATUSES)),
        "handling": {"tlp": draw(st.sampled_from(VALUES["tlp"])), "release": release},
    }
    made |= draw(st.fixed_dictionaries({}, optional={"priority": st.sampled_from(VALUES["priority"])}))
    return made


def routed(head: Mapping[str, Any], attributes: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """What `match` is given of a message."""
    own = {name: [head[name]] for name in ("kind", "status", "originator", "priority") if name in head}
    own |= {"tlp": [head["handling"]["tlp"]], "group": head["handling"]["release"]["groups"]}
    return {name: frozenset(values) for name, values in (own | dict(attributes)).items()}


def duties_in(head: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {entry["member"]: model.duties(head, entry["member"]) for entry in head["handling"]["release"]["to"]}


def by_hand(
    wanted: Iterable[tuple[str, model.Filter]], entitled: Iterable[str], head: model.Header, attributes: Any
) -> list[Match]:
    found = (
        (number, model.matches(one, attributes, head, member, model.duties(head, member)))
        for number, (member, one) in enumerate(wanted)
        if member in entitled
    )
    return [Match(number, clause) for number, clause in found if clause is not None]


@settings(max_examples=150, deadline=None)
@given(st.data(), subscriptions, st.sets(st.sampled_from(MEMBERS)))
def test_the_index_finds_what_the_text_says(
    data: st.DataObject, wanted: list[tuple[str, model.Filter]], entitled: set[str]
) -> None:
    """Any, all, not, prefixes, duties, mentions and statuses: the same subscriptions by the same first clause."""
    head = header(data.draw)
    attributes = {name: set(data.draw(some(name))) for name in model.FROM_BODY}
    index = Index([(member, parse_filter(one)) for member, one in wanted])

    assert index.match(routed(head, attributes), entitled, duties_in(head)) == by_hand(
        wanted, entitled, head, attributes
    )


@pytest.mark.long
def test_twenty_thousand_subscriptions() -> None:
    """As many subscriptions as ten regions have: the same answers as by hand."""
    rng = Random(20_000)
    world = season.world(rng, deliveries=["pull"])
    members = list(world["members"])
    wanted = [(member := rng.choice(members), season.a_filter(rng, world, member)) for _ in range(20_000)]
    index = Index([(member, parse_filter(one)) for member, one in wanted])
    items = [item for item in season.messages(rng, world, 40) if item.payload["header"]["handling"]["release"]][:2]
    for item in items:
        head = item.payload["header"]
        head["handling"]["release"] = {"to": [], "groups": [], "all": False, "except": []} | head["handling"]["release"]
        entitled = set(rng.sample(members, 12))
        found = index.match(routed(head, item.attributes), entitled, duties_in(head))

        assert found == by_hand(wanted, entitled, head, item.attributes)


@pytest.mark.parametrize(
    ("wanted", "faults"),
    [
        ("alerts", [("", "type")]),
        ({"kinds": []}, [("/kinds", "unknown-member")]),
        ({"any": []}, [("/any", "clauses")]),
        ({"any": [{}] * (MAX_CLAUSES + 1)}, [("/any", "clauses")]),
        ({"any": {"kind": ["alert"]}}, [("/any", "clauses")]),
        ({"status": ["drill"]}, [("/status", "enum")]),
        ({"status": "actual"}, [("/status", "type")]),
        ({"any": [{"colour": ["red"]}]}, [("/any/0/colour", "unknown-member")]),
        ({"any": [{}, {"status": ["test"]}]}, [("/any/1/status", "unknown-member")]),
        ({"any": [{"any": [{}]}]}, [("/any/0/any", "unknown-member")]),
        ({"any": [{"all": {"not": {}}}]}, [("/any/0/all/not", "unknown-member")]),
        ({"any": [{"all": {"mentions_me": True}}]}, [("/any/0/all/mentions_me", "unknown-member")]),
        ({"any": [{"not": {"colour": ["red"]}}]}, [("/any/0/not/colour", "unknown-member")]),
        ({"any": [{"not": ["air"]}]}, [("/any/0/not", "type")]),
        ({"any": ["alert"]}, [("/any/0", "type")]),
        ({"any": [{"hs": "2402"}]}, [("/any/0/hs", "type")]),
        ({"any": [{"hs": [2402]}]}, [("/any/0/hs", "type")]),
        ({"any": [{"hs": [""]}]}, [("/any/0/hs", "type")]),
        ({"any": [{"mentions_me": "yes"}]}, [("/any/0/mentions_me", "type")]),
        (
            {"any": [{"colour": []}, {"kind": 1}], "status": ["drill"]},
            [("/any/0/colour", "unknown-member"), ("/any/1/kind", "type"), ("/status", "enum")],
        ),
    ],
)
def test_what_no_filter_is(wanted: object, faults: list[tuple[str, str]]) -> None:
    """Every fault at once, each with its place."""
    with pytest.raises(Invalid) as refused:
        parse_filter(wanted)

    assert sorted((fault.pointer, fault.rule) for fault in refused.value.faults) == faults


@pytest.mark.parametrize(
    ("clause", "met"),
    [
        ({"hs": ["24"]}, True),
        ({"hs": ["240220"]}, True),
        ({"hs": ["2402201"]}, False),
        ({"all": {"hs": ["24", "95"]}}, True),
        ({"all": {"hs": ["24", "93"]}}, False),
        ({"not": {"hs": ["95"]}}, False),
        ({"not": {"hs": ["93"], "country": ["AR"]}}, True),
        ({"not": {"hs": ["93"], "country": ["CL"]}}, False),
        ({"mode": ["sea"]}, False),
        ({"mode": []}, True),
        ({"not": {"mode": ["sea"]}}, True),
        ({"duty": ["information"]}, True),
        ({"duty": ["action"]}, False),
        ({"mentions_me": True}, False),
        ({"not": {"mentions_me": True}}, True),
        ({}, True),
    ],
)
def test_clauses_by_example(clause: dict[str, Any], met: bool) -> None:
    """One message, read by somebody whom a group admits, and one clause at a time."""
    index = Index([("PE", parse_filter({"any": [clause]}))])
    attributes = {"status": ["actual"], "hs": ["240220", "950300"], "country": ["CL", "PE"]}
    message = {name: frozenset(values) for name, values in attributes.items()}

    assert bool(index.match(message, ["PE"], {})) == met
    assert not index.match(message | {"status": frozenset(["exercise"])}, ["PE"], {})
    assert not index.match(message, ["CL"], {})
