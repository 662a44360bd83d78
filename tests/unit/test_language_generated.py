"""What an honest system sends passes without a word; one mistake in it gets one answer, at its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import strictjson
from broker.errors import Fault
from broker.language import rules
from broker.language.identifiers import FORMATS
from tests import generate_values as values
from tests import mutate, mutate_rules
from tests.generate import LANGUAGE, NOW, kinds, message, messages
from tests.mutate import Draft, Mutation, made

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SEEDS = st.integers(0, 2**32 - 1)
MISTAKES = [*mutate.MISTAKES, *mutate_rules.MISTAKES]
ATTEMPTS = 200
"""Messages tried before a mistake counts as impossible."""


def told(faults: tuple[Fault, ...]) -> set[tuple[str, str]]:
    return {(fault.rule, fault.pointer) for fault in faults}


@pytest.mark.parametrize("kind", kinds())
@settings(QUICK, max_examples=6)
@given(data=st.data())
def test_a_generated_message_passes_without_a_word(kind: str, data: st.DataObject) -> None:
    """A warning about what is right would teach its readers to skip warnings."""
    passes(data.draw(messages(kind, fullness=data.draw(st.sampled_from([0.1, 0.4, 0.8])))))


def passes(payload: dict[str, Any]) -> None:
    assert LANGUAGE.check_header(payload) == ()
    reading = LANGUAGE.read_body(payload, now=NOW)
    assert reading.faults == reading.warnings == ()


@pytest.mark.long
@pytest.mark.parametrize("kind", kinds())
def test_hundreds_of_generated_messages_pass_without_a_word(kind: str) -> None:
    for seed in range(300):
        rng = Random(seed)
        passes(message(kind, rng, fullness=rng.choice([0.1, 0.4, 0.8])))


@pytest.mark.parametrize("kind", kinds())
def test_a_message_in_which_everything_is_given_passes_too(kind: str) -> None:
    """And is what JSON of our profile can hold."""
    for seed in range(12):
        payload = message(kind, Random(seed), fullness=1)
        reading = LANGUAGE.read_body(payload, now=NOW)

        assert LANGUAGE.check_header(payload) == reading.faults == reading.warnings == ()
        assert strictjson.parse_object(json.dumps(payload).encode(), max_bytes=1_000_000) == payload


def candidates(seed: int) -> Iterator[Draft]:
    """Full messages of any kind, more of them seizures, and about wildlife, than chance would have it: some rules know
    nothing else."""
    rng = Random(seed)
    while True:
        heading = rng.choice([None, None, "wildlife"])
        yield Draft(message(rng.choice([*kinds(), *["seizure"] * 6]), rng, fullness=1, heading=heading), rng)


@pytest.mark.parametrize(
    ("rule", "severity", "mutation"), MISTAKES, ids=[f"{n}-{case[0]}-{case[1]}" for n, case in enumerate(MISTAKES)]
)
@settings(QUICK, max_examples=12)
@given(seed=SEEDS)
def test_one_mistake_gets_one_answer_at_its_place(rule: str, severity: str, mutation: Mutation, seed: int) -> None:
    """Not less, or it would be let in; not more, or the sender would look for a second mistake that there is not."""
    draft, pointers = made(mutation, islice(candidates(seed), ATTEMPTS))
    expected = {(rule, pointer) for pointer in pointers}

    shape = told(LANGUAGE.check_header(draft.payload))
    assert shape == (expected if severity == "shape" else set())
    if severity != "shape":
        reading = LANGUAGE.read_body(draft.payload, now=NOW)
        assert told(reading.faults) == (expected if severity == "error" else set())
        if severity == "warning":
            assert told(reading.warnings) == expected


def test_every_rule_between_fields_is_among_the_mistakes() -> None:
    """With its severity: a rule that nobody breaks here is a rule that nobody has seen alone."""
    tried = {(rule, severity) for rule, severity, _ in MISTAKES}

    assert {(rule.code, rule.severity) for rule in rules.RULES} <= tried
    assert {(rule.code, "shape") for rule in rules.SHAPE} <= tried


def test_every_format_has_a_valid_value_to_generate() -> None:
    """An identifier that is never generated is one whose check nobody has tried against another computation."""
    rng = Random(1)
    for name, form in FORMATS.items():
        for _ in range(20):
            written = values.hs(rng, ()) if name == "hs" else values.FORMATS[name](rng, "CL")
            assert form.check(form.normalise(written)) is None, (name, written)
