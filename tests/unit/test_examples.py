"""The examples can be signed and posted as they stand, and two validators agree about them."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs of its own
import pytest

from broker.language import load_language
from broker.language.kinds import WITHDRAWAL, schemas_folder
from broker.language.schema import without_identifier_formats

LANGUAGE = load_language()
NOW = datetime(2026, 11, 20, tzinfo=UTC)
EXAMPLES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((schemas_folder() / "examples").glob("*.json"))
}
NINE = {"AR", "BZ", "CL", "CR", "GT", "JM", "MX", "PA", "PE"}
OFFICES = {"RILO-SA", "RILO-CA", "RILO-CAR"}
GROUPS = {
    "OP-MARISMA": {"CL", "PE", "AR", "PA", "RILO-SA"},
    "STRAT-TRADE": NINE | OFFICES,
}
MEMBERS = NINE | OFFICES | {"FIU-CL", "OPCW", "ECHO", "hub"}
ALLOWED = {
    "RED": {"to", "except"},
    "AMBER+STRICT": {"to", "groups", "except"},
    "AMBER": {"to", "groups", "except"},
    "GREEN": {"to", "groups", "all", "except"},
    "CLEAR": {"to", "groups", "all", "except"},
}


def address(payload: dict[str, Any]) -> str:
    return f"{payload['header']['originator']}:{payload['header']['id']}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_no_fault(name: str) -> None:
    """Neither header nor body; the one warning there is belongs to a number that is believed false."""
    payload = EXAMPLES[name]

    assert set(payload) == {"header", "body"}
    assert LANGUAGE.check_header(payload) == ()
    reading = LANGUAGE.read_body(payload, now=NOW)
    assert reading.faults == ()
    assert {warning.rule for warning in reading.warnings} <= {"check-digit"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_respects_its_marking(name: str) -> None:
    """product.md, Entitled: no release is wider than its marking; an originator is in the groups it names."""
    header = EXAMPLES[name]["header"]
    release = header["handling"]["release"] or {}
    named = {entry["member"] for entry in release.get("to", ())} | set(release.get("except", ()))

    assert set(release) <= ALLOWED[header["handling"]["tlp"]]
    assert named <= MEMBERS
    assert all(header["originator"] in GROUPS[group] for group in release.get("groups", ()))
    assert ("ECHO" in named) <= (header["status"] != "actual")


def test_the_examples_are_as_varied_as_the_trade() -> None:
    """Every originator, most headings, four languages, every marking, an exercise."""
    headers = [payload["header"] for payload in EXAMPLES.values()]
    kinds = Counter(header["kind"] for header in headers)
    headings = {h for p in EXAMPLES.values() for h in LANGUAGE.read_body(p, now=NOW).attributes.get("heading", ())}

    assert kinds["seizure"] >= 9
    assert kinds["alert"] >= 5
    assert {header["originator"] for header in headers} == NINE | {"RILO-SA"}
    assert {header["handling"]["tlp"] for header in headers} == set(ALLOWED)
    assert {header["language"] for header in headers} == {"es", "en", "fr", "pt"}
    assert len(headings) >= 12
    assert len({address(payload) for payload in EXAMPLES.values()}) == len(EXAMPLES)
    assert all(
        payload["body"].get("sources") for payload in EXAMPLES.values() if not payload["header"].get("withdraws")
    )


def test_a_correction_comes_after_what_it_corrects() -> None:
    """Sorted by name, the files can be posted one after the other."""
    seen: dict[str, dict[str, Any]] = {}
    corrections = 0
    for payload in EXAMPLES.values():
        header = payload["header"]
        target = header.get("supersedes") or header.get("withdraws")
        if target:
            corrections += 1
            assert all(seen[target][name] == header[name] for name in ("originator", "kind", "status"))
        seen[address(payload)] = header

    assert corrections == 2


# --- a second opinion --------------------------------------------------------------------------------------------


@cache
def second_opinion(kind: str) -> Any:
    schema = LANGUAGE.envelope if kind == "envelope" else LANGUAGE.kinds[kind, "1.0"].schema
    return jsonschema.Draft202012Validator(
        without_identifier_formats(schema), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def mutations(payload: dict[str, Any], rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Copies with one member removed, renamed, emptied, doubled or of another type."""
    for _ in range(count):
        mutated = copy.deepcopy(payload)
        holders = [mutated["header"], mutated["body"]]
        for holder in holders:
            holders.extend(inner for inner in holder.values() if isinstance(inner, dict) and inner)
            lists = [inner for inner in holder.values() if isinstance(inner, list)]
            holders.extend(item for inner in lists for item in inner if isinstance(item, dict) and item)
        holder = rng.choice(holders)
        name = rng.choice(sorted(holder))
        value = holder.pop(name)
        change = rng.choice(["remove", "rename", "empty", "double", "type", "long"])
        if change == "rename":
            holder[name + "x"] = value
        elif change == "empty":
            holder[name] = type(value)() if value is not None else ""
        elif change == "double":
            holder[name] = [*value, *value] if isinstance(value, list) else [value, value]
        elif change == "type":
            holder[name] = rng.choice([None, True, -1, 10**12, "x", [], {}])
        elif change == "long":
            holder[name] = "x" * 5000
        yield mutated


def agree(payload: dict[str, Any]) -> bool:
    """Both validators say the same of the envelope and, if that is valid, of the body; True if all is valid."""
    header_faults = [f for f in LANGUAGE.check_header(payload) if not f.rule.startswith(("release-", "supersedes-"))]
    assert (not header_faults) == second_opinion("envelope").is_valid(payload), header_faults
    if LANGUAGE.check_header(payload):
        return False
    kind = WITHDRAWAL if payload["header"].get("withdraws") else payload["header"]["kind"]
    if (kind, payload["header"]["version"]) not in LANGUAGE.kinds:
        return False
    found = LANGUAGE.kinds[kind, "1.0"]
    valid = bool(found.validator.is_valid(payload["body"]))
    assert valid == second_opinion(kind).is_valid(payload["body"])
    return valid


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_slow_validator_agrees(name: str) -> None:
    """jsonschema and jsonschema-rs accept the example and refuse the same of its mutations."""
    assert agree(EXAMPLES[name])

    verdicts = [agree(mutated) for mutated in mutations(EXAMPLES[name], random.Random(name), 60)]
    assert not all(verdicts)
