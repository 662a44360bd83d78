"""What counts in a report, and what of it is there: a score that nobody loses by telling more."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import SetupRefused
from broker.language.outline import Completeness, Outline, compile_outline, completeness
from broker.language.plan import draft_of
from tests.generate import LANGUAGE, NOW, kinds, message
from tests.places import inlined, places

SEIZURE = LANGUAGE.kinds["seizure", "1.0"]
ROOT = inlined(SEIZURE.schema)
LEAST: dict[str, Any] = {
    "form": "simplified", "heading": "tobacco", "place": {"country": "CL"},
    "goods": [{"side": "found", "quantity": {"value": "1", "unit": "stick"}}],
}  # fmt: skip
TOTAL = 37
"""What a report of cigarettes could say, by weight."""
NAMED = ("/route", "/goods/0/tobacco", "/concealment", "/detection")
"""What that report lacks."""


def score(body: Mapping[str, Any]) -> Completeness:
    found = completeness(SEIZURE.outline, body)
    assert found is not None
    return found


def outline_of(schema: Mapping[str, Any]) -> Outline:
    return compile_outline("a", draft_of("a", schema, LANGUAGE.codelists), scored=schema.get("x-scored") is True)


# --- by hand -----------------------------------------------------------------------------------------------------


def test_the_weights_of_a_seizure_are_added_up_as_the_schema_says() -> None:
    """Of a report of cigarettes: the quantity is there (4); 33 more could be told, the route and its countries first."""
    least = score(LEAST)

    assert least.missing == (
        "/route", "/concealment", "/detection", "/goods/0/hs", "/goods/0/tobacco", "/transport", "/goods/0/description",
        "/place/name", "/place/type", "/procedure", "/agency_type", "/persons", "/pictures", "/value",
    )  # fmt: skip
    assert 4 + sum([6, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1]) == TOTAL
    assert (least.score, least.explained) == (round(100 * 4 / TOTAL), 0)


def test_everything_that_counts_makes_a_hundred() -> None:
    """And nothing else is needed for it: no names, no remarks, no numbers."""
    body = LEAST | {
        "place": {"country": "CL", "name": "Valparaíso", "type": "seaport"}, "procedure": "import",
        "agency_type": "customs", "transport": {"mode": "sea"}, "route": [{"country": "CN", "confirmed": True}],
        "concealment": ["in-cargo"], "detection": ["scanner"], "persons": {"count": 0},
        "value": {"amount": "1", "currency": "USD"},
        "pictures": [{"digest": "A" * 43, "media_type": "image/png", "octets": 1}],
        "goods": [LEAST["goods"][0] | {"hs": "240220", "description": "Cigarettes", "tobacco": {"product": "cigarettes"}}],
    }  # fmt: skip
    payload = message("seizure", Random(1))
    payload["header"]["originator"], payload["body"] = "CL", body

    assert LANGUAGE.read_body(payload, now=NOW).completeness == Completeness(100, 0, ())


def test_what_is_not_given_may_be_explained_and_is_not_given_all_the_same() -> None:
    """Unknown and withheld answer the question; "not asked" does not, nor does a gap that nobody mentions."""
    gaps = [
        {"field": field, "why": why} for field, why in zip(NAMED, ("unknown", "withheld", "not-asked"), strict=False)
    ]
    bare, told = score(LEAST), score(LEAST | {"not_given": gaps})

    assert told.score == bare.score
    assert told.missing == bare.missing
    assert told.explained == round(100 * (6 + 3) / TOTAL)


@pytest.mark.parametrize("word", ["unknown", "withheld", "not-asked"])
def test_a_code_that_says_nothing_gives_nothing(word: str) -> None:
    """`procedure: unknown` is an explanation in the field's own place."""
    told = score(LEAST | {"procedure": word})

    assert told.score == score(LEAST).score
    assert "/procedure" in told.missing
    assert told.explained == (0 if word == "not-asked" else round(100 * 2 / TOTAL))


def test_what_was_declared_neither_adds_nor_takes() -> None:
    """A full description of bananas says nothing of the cocaine among them, and does not hide it either."""
    declared = {
        "side": "declared", "heading": "food", "hs": "0803", "description": "Bananas", "food": {"hazard": "none"},
        "quantity": {"value": "20", "unit": "TNE"},
    }  # fmt: skip
    full = LEAST["goods"][0] | {"hs": "240220", "description": "Cigarettes", "tobacco": {"product": "cigarettes"}}

    for found in (LEAST["goods"][0], full):
        for line in (declared, {"side": "declared"}):
            alone = score(LEAST | {"goods": [found]})
            assert score(LEAST | {"goods": [found, line]}) == alone
            other = score(LEAST | {"goods": [line, found]})
            assert (other.score, other.explained) == (alone.score, alone.explained)


def test_the_fullest_of_what_was_found_counts() -> None:
    """Twenty lines that say little take nothing from the one that says all."""
    poor, rich = LEAST["goods"][0], LEAST["goods"][0] | {"hs": "240220", "description": "Cigarettes"}
    both = score(LEAST | {"goods": [poor, rich, poor]})

    assert both.score == score(LEAST | {"goods": [rich]}).score > score(LEAST | {"goods": [poor]}).score
    assert "/goods/1/tobacco" in both.missing
    assert not [pointer for pointer in both.missing if pointer.startswith(("/goods/0", "/goods/2"))]


def test_a_block_counts_under_its_heading_alone() -> None:
    """Nobody is asked for the Appendix of a cigarette; a line's own heading comes before the report's."""
    stray = score(LEAST | {"goods": [LEAST["goods"][0] | {"drugs": {"substance": "cocaine"}}]})
    missing = {heading: score(LEAST | {"heading": heading}).missing for heading in LANGUAGE.codelists["headings"].codes}
    line = score(LEAST | {"goods": [LEAST["goods"][0] | {"heading": "alcohol"}]})

    assert stray.score == score(LEAST).score
    for heading, pointers in missing.items():
        blocks = {pointer for pointer in pointers if pointer.removeprefix("/goods/0/") in missing}
        assert blocks == ({f"/goods/0/{heading}"} if heading != "other" else set()), heading
    assert "/goods/0/alcohol" in line.missing
    assert "/goods/0/tobacco" not in line.missing


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "seizure"])
def test_what_is_no_report_has_no_score(kind: str) -> None:
    """An alert is not less complete for being short."""
    assert LANGUAGE.read_body(message(kind, Random(2)), now=NOW).completeness is None


def test_a_withdrawal_has_no_score() -> None:
    """Or every mistake would spoil the month."""
    payload = message("seizure", Random(2))
    payload["header"] |= {"withdraws": "PE:0"}
    payload["header"]["handling"]["release"] = None
    payload["body"] = {"reason_code": "mistaken", "text": "…"}

    assert LANGUAGE.read_body(payload, now=NOW).completeness is None


# --- whatever is reported ----------------------------------------------------------------------------------------

SEEDS = st.integers(0, 2**32 - 1)
RARE, OFTEN = 0.1, 0.6


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from([RARE, OFTEN, 1.0]))
def test_a_score_is_a_share_and_what_is_missing_is_missing(seed: int, fullness: float) -> None:
    """Between 0 and 100, with what is explained no more than is missing, and pointers to what is not there."""
    body = message("seizure", Random(seed), fullness=fullness)["body"]
    found = score(body)
    given = {place.pointer.removeprefix("/body"): place.value for place in places(ROOT, body)}

    assert 0 <= found.score <= 100
    assert 0 <= found.explained <= 100 - found.score + 1  # each is rounded
    assert (found.score == 100) <= (not found.missing)
    assert len(set(found.missing)) == len(found.missing)
    assert all(given.get(pointer) in (None, "unknown", "withheld", "not-asked") for pointer in found.missing)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_nobody_loses_by_telling_more(seed: int) -> None:
    """Whichever member of a fuller report is added to a poorer one, the score does not fall."""
    rng = Random(seed)
    full = message("seizure", rng, fullness=1)["body"]
    poor = copy.deepcopy(full)
    optional = [p for p in places(ROOT, poor) if isinstance(p.key, str) and p.key not in p.within.get("required", ())]
    taken = []
    for place in rng.sample(optional, len(optional) // 2):
        if place.key in place.holder and place.key != "heading":
            taken.append((place.holder, place.key, place.holder.pop(place.key)))
    reached = score(poor).score

    for holder, key, value in reversed(taken):
        holder[key] = value
        now = score(poor).score
        assert now >= reached, key
        reached = now
    assert poor == full


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_whatever_was_declared_the_score_is_that_of_what_was_found(seed: int) -> None:
    """Lines of any heading, full or empty, before and after (where gaps, which count lines, explain something else)."""
    rng = Random(seed)
    body = message("seizure", rng, fullness=rng.choice([RARE, OFTEN]))["body"]
    lines = message("seizure", rng, fullness=rng.choice([RARE, 1.0]))["body"]["goods"]
    alone, declared = score(body), [line | {"side": "declared"} for line in lines]

    assert score(body | {"goods": [*body["goods"], *declared]}) == alone
    assert score(body | {"goods": [*declared, *body["goods"]]}).score == alone.score


# --- schemas that stop the start ---------------------------------------------------------------------------------

NAME = {"type": "string", "maxLength": 9, "x-nominal": True}
PASSPORT = {"type": "string", "format": "passport"}
PHONES = {"type": "array", "items": {"type": "string", "format": "phone"}}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("required", {"properties": {"a": NAME}, "required": ["a"]}),
    ("required of a part", {"properties": {"b": {"properties": {"a": NAME}, "required": ["a"]}}}),
    ("required of an item", {"properties": {"b": {"items": {"properties": {"a": NAME}, "required": ["a"]}}}}),
    ("required at times", {"properties": {"a": NAME}, "if": {"required": ["b"]}, "then": {"required": ["a"]}}),
    ("required otherwise", {"properties": {"a": NAME}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
    ("a list of names required", {"properties": {"a": {"type": "array", "items": NAME}}, "required": ["a"]}),
    ("the whole body", {"x-nominal": True, "properties": {"a": {"type": "string"}}}),
    ("a passport in the open", {"properties": {"a": PASSPORT}}),
    ("telephones in the open", {"properties": {"a": PHONES}}),
    ("an account beside the names", {"properties": {"a": NAME, "b": {"type": "string", "format": "iban"}}}),
]
ALLOWED: list[tuple[str, dict[str, Any]]] = [
    ("a name", {"properties": {"a": NAME}}),
    ("required among names", {"properties": {"n": {"x-nominal": True, "properties": {"a": NAME}, "required": ["a"]}}}),
    ("a passport among names", {"properties": {"n": {"x-nominal": True, "properties": {"a": PASSPORT}}}}),
    ("telephones, all of them", {"properties": {"n": {"x-nominal": True, **PHONES}}}),
    ("only where it is given", {"properties": {"a": NAME}, "if": {"required": ["a"]}, "then": {"required": ["b"]}}),
]


@pytest.mark.parametrize(("name", "schema"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_schema_whose_projection_would_not_hold_stops_the_start(name: str, schema: dict[str, Any]) -> None:
    """Better no hub than one that shows a person, or a message that its own schema refuses."""
    with pytest.raises(SetupRefused, match="nominal"):
        outline_of(schema)


@pytest.mark.parametrize(("name", "schema"), ALLOWED, ids=[case[0] for case in ALLOWED])
def test_a_nominal_part_that_can_be_left_out_is_welcome(name: str, schema: dict[str, Any]) -> None:
    """What is required inside the nominal part goes with it."""
    assert outline_of(schema).may_name
