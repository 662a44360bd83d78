"""A season is worth comparing with only if it is the same every time, valid, and as varied as it claims."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs of its own
import pytest
from referencing import Registry, Resource
from stdnum import imo, iso6346

from tests import model, season, season_bodies

SCHEMAS = Path(__file__).parents[2] / "schemas"
SIZE = 3000


@cache
def a_season(seed: int = 1) -> tuple[model.World, list[season.Item]]:
    rng = Random(seed)
    world = season.world(rng)
    return world, season.messages(rng, world, SIZE)


def expecting(*wanted: str) -> Iterator[season.Item]:
    return (item for item in a_season()[1] if item.expect in wanted)


@cache
def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}/1.0.json").read_text())


@cache
def codes(name: str) -> set[str]:
    lines = (SCHEMAS / f"codelists/{name}.csv").read_text().splitlines()
    return {row["code"] for row in csv.DictReader(line for line in lines if not line.startswith("#"))}


def is_listed(validator: Any, codelist: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if instance not in codes(codelist):
        yield jsonschema.ValidationError(f"{instance!r} is not in {codelist}")


COMMON: Any = json.loads((SCHEMAS / "common/1.0.json").read_text())
REGISTRY: Any = Registry().with_resource(COMMON["$id"], Resource.from_contents(COMMON))
"""The shared parts by their urn, as any validator takes them."""
VALIDATOR: Any = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"x-codelist": is_listed})


@cache
def _validator(name: str) -> Any:
    return VALIDATOR(schema(name), registry=REGISTRY)


def faults(name: str, value: Any) -> list[str]:
    return [f"{fault.json_path}: {fault.message}" for fault in _validator(name).iter_errors(value)]


def test_same_seed() -> None:
    """The same seed gives the same season, to the octet; another seed gives another."""
    again = Random(1)
    world = season.world(again)
    items = season.messages(again, world, SIZE)

    assert (world, items) == a_season()
    assert json.dumps([i.payload for i in items]) == json.dumps([i.payload for i in a_season()[1]])
    assert season.messages(Random(2), world, 5) != items[:5]


def test_members_of_the_region() -> None:
    """Nine administrations, three RILOs, two partners and ECHO: two of them suspended."""
    members = a_season()[0]["members"]

    assert Counter(member["type"] for member in members.values()) == {"customs": 9, "rilo": 3, "partner": 2, "hub": 1}
    assert sum(member["state"] == "suspended" for member in members.values()) == 2
    assert members["ECHO"]["state"] == "active"


def test_payloads_are_valid() -> None:
    """Every payload, refused ones too, follows the schemas of envelope and body, code lists included."""
    for item in a_season()[1]:
        header, body = item.payload["header"], item.payload["body"]
        kind = "withdrawal" if header.get("withdraws") else header["kind"]

        assert faults("envelope", item.payload) == []
        assert faults(f"messages/{kind}", body) == []


def test_release_faults_are_the_expected_ones() -> None:
    """A release is refused by the rule that it was made to break, and by no other."""
    world, items = a_season()
    for item in items:
        rule = item.expect.removeprefix("refuse:")

        assert model.release_faults(item.payload["header"], world) == ({rule} & season.BREAK.keys())


def test_every_expectation_occurs() -> None:
    """A season has all sorts of postings, and most are good."""
    found = Counter(item.expect for item in a_season()[1])
    corrections = ("not-latest", "withdrawn", *season.BREAK)

    assert found.keys() == {"accept", "repeat", "conflict", *(f"refuse:{rule}" for rule in corrections)}
    assert found["accept"] > SIZE * 0.7
    assert min(found.values()) >= 10


def test_addresses() -> None:
    """Ids are unique per originator, but for repeats (the same payload) and conflicts (another one)."""
    stored: dict[str, Any] = {}
    for item in a_season()[1]:
        header = item.payload["header"]
        address = f"{header['originator']}:{header['id']}"

        assert (stored.get(address) == item.payload) == (item.expect == "repeat")
        assert (address in stored) == (item.expect in ("repeat", "conflict"))
        stored.setdefault(address, item.payload)


def test_corrections_of_the_latest() -> None:
    """`supersedes` and `withdraws` name the latest version; a withdrawn chain takes neither."""
    latest, withdrawn = set[str](), set[str]()
    for item in a_season()[1]:
        header = item.payload["header"]
        target = header.get("supersedes") or header.get("withdraws")
        if item.expect == "refuse:not-latest":
            assert target not in latest | withdrawn
        if item.expect == "refuse:withdrawn":
            assert target in withdrawn
        if item.expect != "accept":
            continue
        if target:
            latest.remove(target)
        if header.get("withdraws"):
            withdrawn.add(target)
        else:
            latest.add(f"{header['originator']}:{header['id']}")

    assert latest
    assert withdrawn


def test_corrections_share_what_they_must() -> None:
    """Target and correction share originator, kind and status."""
    stored = {
        f"{i.payload['header']['originator']}:{i.payload['header']['id']}": i.payload for i in expecting("accept")
    }
    shared = ("originator", "kind", "status")
    for item in expecting("accept", "refuse:not-latest", "refuse:withdrawn"):
        header = item.payload["header"]
        target = stored.get(header.get("withdraws") or header.get("supersedes") or "")

        assert target is None or all(header[name] == target["header"][name] for name in shared)


def test_events_are_past() -> None:
    """Nothing happens after it is reported, and nothing is reported after the world's `now`."""
    earliest = season.NOW - season.SPAN - season.LATE
    for item in a_season()[1]:
        assert earliest <= datetime.fromisoformat(item.payload["header"]["event_at"]) <= season.NOW


def test_suspended_members_do_not_post() -> None:
    """Only active members post."""
    world, items = a_season()

    assert all(world["members"][item.payload["header"]["originator"]]["state"] == "active" for item in items)


@pytest.mark.parametrize("name", ["all", "not", "any-of"])
def test_filters_cover_the_language(name: str) -> None:
    """Filters ask for every attribute, alone, in `all` and in `not`; some lists are empty."""
    rng = Random(5)
    world = season.world(rng)
    filters = [season.a_filter(rng, world, "CL") for _ in range(2000)]
    clauses = [clause for made in filters for clause in made.get("any", [])]
    asked = [clause if name == "any-of" else clause.get(name, {}) for clause in clauses]
    group = {"group"} if any("CL" in made["members"] for made in world["groups"].values()) else set()
    always = {"kind", "heading", "hs", "country", "mode", "priority", "tlp", "originator", "duty"}

    assert (always | group) <= {attribute for made in asked for attribute in made}
    assert any("any" not in made for made in filters)
    assert any(value == [] for clause in clauses for value in clause.values())
    assert {True, False} <= {clause.get("mentions_me") for clause in clauses}


def test_season_reaches_members() -> None:
    """By the model, a season fills queues of all sorts by every rule."""
    world, _ = a_season()
    found = [
        delivery
        for item in expecting("accept")
        for delivery in model.deliveries(item.payload["header"], item.attributes, world)
    ]
    rules = Counter(rule.split(":")[0] for _, _, rule, _ in found)
    queues = Counter(queue for _, queue, _, _ in found)

    assert rules.keys() == {"to", "group", "all"}
    assert queues["inbox"] > 100
    assert queues.total() - queues["inbox"] > 1000


def test_identifiers_have_right_check_digits() -> None:
    """Containers, ships, air waybills and parcels carry right check digits."""
    rng = Random(3)
    for _ in range(200):
        assert iso6346.is_valid(season_bodies.container(rng))
        assert imo.is_valid(season_bodies.imo(rng))
        waybill = season_bodies.air_waybill(rng)
        assert int(waybill[4:11]) % 7 == int(waybill[11])


def test_parcel_check_digit() -> None:
    """RR473124829 is the published specimen of a postal item."""

    class Fixed(Random):
        def randrange(self, *_: Any) -> int:
            return 47312482

    assert season_bodies.parcel(Fixed()) == "RR473124829CL"
