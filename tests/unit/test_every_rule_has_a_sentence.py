"""Whatever any part of the broker says about a fault has a sentence, in English and in Spanish; and docs/problems.md
names every problem. Both lists are read from the source, so that neither can fall behind."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import broker
from broker import errors
from broker.api import bodies, problems
from broker.errors import BrokerError, Fault
from broker.phrases import phrases

FOLDER = Path(broker.__file__).parent
PAGE = FOLDER.parent / "docs" / "problems.md"

NOT_LITERAL = {
    "accept.py": 1,  # read_warnings: what was written as a Fault before
    "api/bodies.py": 1,  # the table _LIMITS, tested below
    "language/kinds.py": 1,  # Flaw and the tables of rules: tests/unit/test_language_phrases.py
    "language/schema.py": 3,  # likewise
}
"""Calls of Fault whose rule is no literal, by file: each one has its own reason, and a new one needs one too."""


@cache
def calls_of_fault() -> tuple[tuple[str, ast.expr], ...]:
    """(file, the expression that names the rule) of every Fault that the source makes."""
    return tuple(_calls_of_fault())


def _calls_of_fault() -> Iterator[tuple[str, ast.expr]]:
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Fault":
                named = [keyword.value for keyword in node.keywords if keyword.arg == "rule"]
                yield path.relative_to(FOLDER).as_posix(), (node.args[1] if len(node.args) > 1 else named[0])


def rules_in_use() -> set[str]:
    """Every literal rule; of a choice between two literals, both."""
    found = set(bodies._LIMITS.values())
    for _, rule in calls_of_fault():
        for one in [rule.body, rule.orelse] if isinstance(rule, ast.IfExp) else [rule]:
            if isinstance(one, ast.Constant):
                found.add(str(one.value))
    return found


def tree(root: type[BrokerError] = BrokerError) -> Iterator[type[BrokerError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def test_the_rules_are_found() -> None:
    """The tests below are worth something only if this list is whole."""
    assert {"stale-lease", "key-revoked", "group-refused", "nul", "setting-url", "too-many", "one-of"} <= rules_in_use()
    assert len(rules_in_use()) > 80


def test_a_rule_is_a_literal_wherever_it_can_be() -> None:
    """What is computed cannot be found by reading, so it stands in a list of its own."""
    computed: dict[str, int] = {}
    for path, rule in calls_of_fault():
        if not isinstance(rule, ast.Constant | ast.IfExp):
            computed[path] = computed.get(path, 0) + 1

    assert computed == NOT_LITERAL


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_rule_has_a_sentence(language: str) -> None:
    """No rule's bare name is ever shown instead of a sentence."""
    missing = {rule for rule in rules_in_use() if f"rule.{rule}" not in phrases()[language]}

    assert missing == set()


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_code_has_a_title(language: str) -> None:
    assert {error.code for error in tree() if f"title.{error.code}" not in phrases()[language]} == set()


def test_no_code_stands_for_two_errors() -> None:
    """A client decides by `code`; two meanings under one would be a riddle."""
    codes = [error.code for error in tree()]

    assert sorted(codes) == sorted(set(codes))


def test_a_sentence_has_no_gap_that_nobody_fills() -> None:
    """Every gap of a sentence is `found`, `allowed`, or one that some Fault names in `more`."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py"))
    for key, sentence in phrases()["en"].items():
        for gap in re.findall(r"{(\w+)}", sentence):
            assert gap in ("found", "allowed") or f'"{gap}"' in source, (key, gap)


def test_the_page_of_problems_names_every_problem_with_its_status() -> None:
    """docs/problems.md is what an integrator reads when a code comes back."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\S+) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {error.code: "start" if error.code in ("wire", "setup") else str(error.status) for error in tree()}

    assert {code: status for code, status, _, _ in rows} == wanted
    assert [code for code, *_ in rows] == sorted(wanted)
    assert all(meaning.strip() and advice.strip() for _, _, meaning, advice in rows)


def test_the_page_of_problems_says_what_type_looks_like() -> None:
    assert f"`{problems.TYPE}<code>`" in PAGE.read_text(encoding="utf-8")


def test_a_problem_without_faults_still_says_what_it_is() -> None:
    """The bare 500 too."""
    for error in tree():
        shown = problems.problem_object(error(), "es")

        assert shown["title"] == phrases()["es"][f"title.{error.code}"]
        assert (shown["code"], shown["status"]) == (error.code, error.status)


def test_a_fault_shows_its_sentence_and_what_is_allowed() -> None:
    shown = problems.fault_object(Fault("/typ", "typ", found="JWT", allowed=("tw-message",)), "en")

    assert shown == {
        "pointer": "/typ",
        "rule": "typ",
        "detail": "The `typ` is “JWT”; this place takes tw-message alone.",
        "allowed": ["tw-message"],
    }
