"""Which refusals are about the file; and that every one the folder agent makes itself has its sentence."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import adapters.folder
from adapters.folder.agent import PAUSE_SECONDS, growing
from adapters.folder.problems import is_about_the_file, octets, of_ours
from broker.client import Problem
from broker.errors import Fault, TooLarge
from broker.phrases import phrases

ANOTHER = [{"pointer": "/header/originator", "rule": "key-of-another-member"}]
UNKNOWN = [{"pointer": "/kid", "rule": "key-unknown"}]


@pytest.mark.parametrize(
    ("status", "code", "errors", "of_a_payload", "of_a_signed_message"),
    [
        (422, "invalid", [], True, True),
        (409, "conflict", [], True, True),
        (410, "purged", [], True, True),
        (413, "too-large", [], True, True),
        (401, "signature", UNKNOWN, False, True),
        (403, "key", [], False, True),
        (403, "key", ANOTHER, True, True),
        (422, "signing-time", [], False, True),
        (403, "member-suspended", [], False, False),
        (429, "too-many", [], False, False),
        (408, "too-slow", [], False, False),
        (503, "ledger-away", [], False, False),
        (500, "internal", [], False, False),
    ],
)
def test_a_refusal_is_held_against_a_file_only_if_it_would_be_refused_again(
    status: int, code: str, errors: list[dict[str, str]], of_a_payload: bool, of_a_signed_message: bool
) -> None:
    """What the hub says of the agent's key or clock is no fault of a payload; it is one of a message signed elsewhere."""
    problem = Problem(status, {"code": code, "errors": errors})

    assert is_about_the_file(problem, signed_here=True) is of_a_payload
    assert is_about_the_file(problem, signed_here=False) is of_a_signed_message


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_rule_has_a_sentence(language: str) -> None:
    """As in the broker: no rule's bare name is ever shown instead."""
    rules: set[str] = set()
    for path in Path(adapters.folder.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Fault":
                assert isinstance(node.args[1], ast.Constant)
                rules.add(str(node.args[1].value))

    assert rules > {"too-large", "message-unknown", "enum"}
    assert {rule for rule in rules if f"rule.{rule}" not in phrases()[language]} == set()


def test_a_refusal_of_the_agents_own_reads_like_the_hubs() -> None:
    """RFC 9457 with every fault, in the language asked for."""
    problem = of_ours(TooLarge(Fault("", "too-large", found="300000", allowed=("262144",))), "es")

    assert problem["type"] == "urn:tidewaiter:problem:too-large"
    assert (problem["status"], problem["code"]) == (413, "too-large")
    assert problem["errors"][0]["allowed"] == ["262144"]
    assert "262144" in problem["detail"]
    assert octets(problem).decode().count("\n") > 8


def test_pauses_grow_are_jittered_and_bounded() -> None:
    """From about a second to half a minute at most."""
    first, most = PAUSE_SECONDS

    assert {first <= growing(1) <= 2 * first for _ in range(50)} == {True}
    assert len({growing(30) for _ in range(50)}) > 10
    assert max(growing(n) for n in range(1, 200)) <= most
