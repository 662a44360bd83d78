"""The examples can be signed and posted as they stand, and two validators agree about them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs of its own
import pytest

from broker.language import load_language
from broker.language.kinds import WITHDRAWAL, schemas_folder
from broker.language.schema import without_identifier_formats
from tests.region import Region

LANGUAGE = load_language()
NOW = datetime(2026, 11, 20, tzinfo=UTC)
EXAMPLES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((schemas_folder() / "examples").glob("*.json"))
}
NINE = {"AR", "BZ", "CL", "CR", "GT", "JM", "MX", "PA", "PE"}
OFFICES = {"RILO-SA", "RILO-CA", "RILO-CAR"}
PARTNERS = {"FIU-CL", "OPCW"}
GROUPS = {
    "OP-MARISMA": {"CL", "PE", "AR", "PA", "RILO-SA"},
    "STRAT-TRADE": NINE | OFFICES,
}
MEMBERS = NINE | OFFICES | PARTNERS | {"ECHO", "hub"}
ALLOWED = {
    "RED": {"to", "except"},
    "AMBER+STRICT": {"to", "groups", "except"},
    "AMBER": {"to", "groups", "except"},
    "GREEN": {"to", "groups", "all", "except"},
    "CLEAR": {"to", "groups", "all", "except"},
}
WARNINGS = {
    "05-jm-firearms-in-barrels": ["check-digit"],  # a second container number, believed false
    "20-jm-alert-reused-air-waybills": ["check-digit"],  # an MRN: its check digit is not compulsory everywhere
}
INVENTED = ("inventad", "compuest", "invented", "composed", "inventé", "written for this")


def address(payload: dict[str, Any]) -> str:
    return f"{payload['header']['originator']}:{payload['header']['id']}"


HEADERS = {address(payload): payload["header"] for payload in EXAMPLES.values()}


def entitled(header: dict[str, Any]) -> set[str]:
    """product.md, Entitled: (`to` ∪ members of `groups` ∪ `all`) − `except`."""
    release = header["handling"]["release"] or {}
    everybody = NINE | OFFICES | (PARTNERS if header["handling"]["tlp"] == "CLEAR" else set())
    admitted = {entry["member"] for entry in release.get("to", ())} | (everybody if release.get("all") else set())
    return admitted.union(*(GROUPS[group] for group in release.get("groups", ()))) - set(release.get("except", ()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_no_fault(name: str) -> None:
    """Neither header nor body; and a warning only where the example is there to show it."""
    payload = EXAMPLES[name]

    assert set(payload) == {"header", "body"}
    assert LANGUAGE.check_header(payload) == ()
    reading = LANGUAGE.read_body(payload, now=NOW)
    assert reading.faults == ()
    assert [warning.rule for warning in reading.warnings] == WARNINGS.get(name, [])


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


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_names_its_source_or_says_that_it_is_invented(name: str) -> None:
    """Nobody takes a training case for a fact. A withdrawal only takes something back."""
    payload = EXAMPLES[name]
    said = json.dumps(payload["body"], ensure_ascii=False).casefold()

    assert payload["header"].get("withdraws") or "sources" in payload["body"] or any(word in said for word in INVENTED)


# --- what there is -----------------------------------------------------------------------------------------------


def test_every_kind_and_every_heading_has_an_example() -> None:
    """All that a member may send (notices are the hub's own), a withdrawal, an amendment; a seizure of each heading."""
    kinds = {kind.kind for kind in LANGUAGE.kinds.values() if kind.originator is None} - {WITHDRAWAL}
    seizures = [p["body"] for p in EXAMPLES.values() if p["header"]["kind"] == "seizure"]
    headers = HEADERS.values()

    assert {header["kind"] for header in headers} == kinds
    assert {body["heading"] for body in seizures} == set(LANGUAGE.codelists["headings"].codes)
    assert {body["form"] for body in seizures} == {"long", "simplified"}
    assert any(header.get("withdraws") for header in headers)
    assert any(header.get("supersedes") for header in headers)


def test_the_examples_are_as_varied_as_the_region() -> None:
    """Each of the nine, the offices and the partners; four languages, every marking, every scheme of grading."""
    headers = HEADERS.values()

    assert len(HEADERS) == len(EXAMPLES) >= 40
    assert {header["originator"] for header in headers} == NINE | OFFICES | PARTNERS
    assert {header["handling"]["tlp"] for header in headers} == set(ALLOWED)
    assert {header["language"] for header in headers} == {"es", "en", "fr", "pt"}
    assert {header["grading"]["scheme"] for header in headers if "grading" in header} == {
        "admiralty",
        "5x5x5",
        "4x4",
        "3x5x2",
    }
    assert {header["status"] for header in headers} == {"actual", "exercise"}


def test_reports_are_of_every_quality() -> None:
    """From the first figure of a night to a whole report; what is lacking says why."""
    seizures = {n: p for n, p in EXAMPLES.items() if p["header"]["kind"] == "seizure" and "heading" in p["body"]}
    scores = {name: LANGUAGE.read_body(p, now=NOW).completeness for name, p in seizures.items()}

    assert all(found is not None for found in scores.values())
    given = [found.score for found in scores.values() if found is not None]
    assert min(given) < 60
    assert max(given) == 100
    assert all("not_given" in p["body"] for name, p in seizures.items() if scores[name].score < 80)  # type: ignore[union-attr]


# --- how they hang together --------------------------------------------------------------------------------------


def quoted(body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body.get("quoted", [])
    return found


def referred_to(payload: dict[str, Any]) -> set[str]:
    """Every address that a message names, in its header or its body."""
    header, body = payload["header"], payload["body"]
    single = [header.get(name) for name in ("supersedes", "withdraws", "in_reply_to")]
    single += [body.get("seizure"), body.get("consent", {}).get("message")]
    single += [entry.get(name) for entry in quoted(body) for name in ("message", "consent")]
    lists = (header.get("references", ()), body.get("messages", ()), body.get("linked_events", ()))
    return {one for one in single if one} | {one for many in lists for one in many}


def test_what_an_example_refers_to_stands_before_it() -> None:
    """Sorted by name, the files can be posted one after the other; a correction fits what it corrects."""
    seen: dict[str, dict[str, Any]] = {}
    corrected: list[str] = []
    for name, payload in EXAMPLES.items():
        header = payload["header"]
        assert referred_to(payload) <= set(seen), name
        if target := header.get("supersedes") or header.get("withdraws"):
            corrected.append(target)
            assert all(seen[target][of] == header[of] for of in ("originator", "kind", "status"))
        seen[address(payload)] = header

    assert corrected == ["CL:2026-000140", "CR:AL-2026-002"]


@pytest.mark.parametrize("name", [name for name, payload in EXAMPLES.items() if quoted(payload["body"])])
def test_a_quotation_goes_no_further_than_what_it_quotes(name: str) -> None:
    """With the marking it had, to those who had it; to others only if its originator consented to just them."""
    payload = EXAMPLES[name]
    consents = {address(p): p["header"] for p in EXAMPLES.values() if p["body"].get("answer") == "consent-given"}
    for entry in quoted(payload["body"]):
        original = HEADERS[entry["message"]]
        further = entitled(payload["header"]) - entitled(original) - {original["originator"]}

        assert entry["tlp"] == original["handling"]["tlp"]
        assert ("H2" in original["handling"].get("caveats", ())) <= (entry.get("handling_code") == "H2")
        if further:
            consent = consents[entry["consent"]]
            (asked,) = (p["body"]["consent"] for p in EXAMPLES.values() if address(p) == consent["in_reply_to"])
            assert consent["originator"] == original["originator"]
            assert asked["message"] == entry["message"]
            assert further <= set(asked["to"])


def test_what_a_seizure_and_an_alert_may_say_is_shown_somewhere() -> None:
    """Several seizures in one record, linked events, legs that are certain and not, every reason for a gap; and every
    identifier that one watches for, what it endangers, and by when to reply."""
    bodies: dict[str, list[dict[str, Any]]] = {}
    for payload in EXAMPLES.values():
        bodies.setdefault(payload["header"]["kind"], []).append(payload["body"])
    seizures, alerts = bodies["seizure"], bodies["alert"]
    legs = [leg["confirmed"] for body in seizures for leg in body.get("route", ())]

    assert any(body.get("aggregate") and body["period"] for body in seizures)
    assert any(body.get("linked_events") for body in seizures)
    assert set(legs) == {True, False}
    assert {gap["why"] for body in seizures for gap in body.get("not_given", ())} == set(
        LANGUAGE.codelists["gap-reasons"].codes
    )
    watched: set[str] = set().union(*(body.get("transport", {}) for body in alerts))
    assert watched >= {"containers", "vessels", "flights", "awbs", "plates", "documents", "consignees"}
    asked = {action for body in alerts for action in body.get("requested_actions", ())}
    assert asked >= {"observe", "inform", "control", "hold"}
    assert all(any(name in body for body in alerts) for name in ("hazards", "reply_by", "valid", "route", "goods"))


def test_what_names_somebody_goes_to_named_members_on_a_basis() -> None:
    """domain.md §2.7; and nothing of it is left in the projection."""
    nominal = 0
    for payload in EXAMPLES.values():
        if payload["header"].get("withdraws"):
            continue
        projection = LANGUAGE.project(payload)
        if not projection.removed:
            assert projection.payload == payload
            continue
        nominal += 1
        left = json.dumps(projection.payload, ensure_ascii=False)

        assert payload["header"]["legal_basis"]
        assert not payload["header"]["handling"]["release"].get("all")
        assert not any(name in left for name in names(payload["body"].get("nominal", {}), payload["body"]))
        assert LANGUAGE.read_body(projection.payload, now=NOW).faults == ()

    assert nominal >= 5


def names(nominal: dict[str, Any], body: dict[str, Any]) -> Iterator[str]:
    end_user = nominal.get("end_user", {})
    holders = [*nominal.get("persons", ()), *nominal.get("companies", ()), *body.get("contacts", ())]
    holders += [end_user[who] for who in ("company", "person") if who in end_user]
    for holder in holders:
        yield from (holder[name] for name in ("name", "address", "registration") if name in holder)
        yield from (holder[name]["value"] for name in ("lei", "eori", "passport") if name in holder)
        yield from (phone["value"] for phone in holder.get("phones", ()))


async def test_a_hub_accepts_them_in_the_order_of_their_names(sqlite_here: Region) -> None:
    """Each is accepted with the warnings it is there to show, and its author could read all that it refers to."""
    hub = sqlite_here
    hub.clock.ahead = NOW - datetime.now(UTC)
    await hub.enrol(*sorted(NINE))
    await hub.enrol(*sorted(OFFICES), type="rilo")
    await hub.enrol(*sorted(PARTNERS), type="partner")
    await hub.enrol("ECHO", type="hub")
    for group, within in GROUPS.items():
        await hub.group(group, *sorted(within))
    for name, payload in EXAMPLES.items():
        author = payload["header"]["originator"]
        for other in sorted(referred_to(payload)):
            assert (await hub.call(author, "GET", f"/v1/messages/{other}")).status_code == 200, (name, other)
        answer = await hub.post(hub.sign(payload))
        assert answer.status_code == 201, (name, answer.text)
        assert [warning["rule"] for warning in answer.json()["warnings"]] == WARNINGS.get(name, [])

    assert await meeting(hub, "PE") == {"PE:SOL-2026-017", "CL:2026-000131"}
    assert await meeting(hub, "AR") == set()


async def meeting(hub: Region, reader: str) -> set[str]:
    """What else this reader may see that names the container of the acetic anhydride."""
    answer = (await hub.call(reader, "GET", "/v1/messages/CL:2026-000118")).json()
    return {link["address"] for link in answer["links"] if link.get("value") == "MSKU9070323"}


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
