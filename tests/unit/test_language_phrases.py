"""Whatever the broker refuses, it says so in a sentence, in English and in Spanish."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import broker.phrases
from broker import errors
from broker.language import rules
from broker.language.schema import FORMAT_RULES
from broker.phrases import languages, phrases, render
from tests.unit.test_every_rule_has_a_sentence import calls_of_fault

FOLDER = Path(broker.phrases.__file__).parent
LANGUAGE = FOLDER.parent / "language"


def rules_in_use() -> set[str]:
    """Every rule name that the language can utter: the tables, and each literal given to Fault, Flaw or a teller."""
    place = {"Fault": 1, "Flaw": 0, "_limit": 0, "_bare": 0}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in LANGUAGE.glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call.args[place[call.func.id]] for call in calls
             if isinstance(call.func, ast.Name) and call.func.id in place]  # fmt: skip
    literals = [argument.value for argument in named if isinstance(argument, ast.Constant)]
    tables = [*(rule.code for rule in rules.SHAPE), *(rule.code for rule in rules.RULES)]
    return {*map(str, literals), *tables, *FORMAT_RULES, "format"}


def codes_in_use() -> set[str]:
    tree: list[type[errors.BrokerError]] = [errors.BrokerError]
    for error in tree:
        tree.extend(error.__subclasses__())
    return {error.code for error in tree}


def test_the_rules_in_use_are_found() -> None:
    """The next test is worth something only if this list is whole."""
    assert {"required", "enum", "check-digit", "unknown-code", "unknown-kind", "identifier-form"} <= rules_in_use()
    assert {"too-long", "not-json", "more-faults", "hs-unlike-heading", "date-time", "repeated"} <= rules_in_use()


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_rule_and_every_problem_has_a_sentence(language: str) -> None:
    """No code is ever shown in place of a sentence."""
    sentences = phrases()[language]

    assert {f"rule.{rule}" for rule in rules_in_use()} <= set(sentences)
    assert {f"title.{code}" for code in codes_in_use()} <= set(sentences)


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    """A translation that drops a gap drops what was found."""
    en, es = phrases()["en"], phrases()["es"]

    assert set(en) == set(es)
    for key, sentence in en.items():
        assert sorted(re.findall(r"{\w+}", sentence)) == sorted(re.findall(r"{\w+}", es[key])), key


OF_A_MESSAGE = (
    "accept.py", "check.py", "entitlement.py", "envelope.py", "jws.py", "quotations.py", "strictjson.py", "submit.py", "verify.py",
)  # fmt: skip
"""Beside the language itself, whatever can find something wrong with a message."""
FALLS_BACK = {"identifier-form"}
"""Of what is said of a message, the rules whose sentences are English in French and Portuguese: the form of an identifier,
which the words of its standard tell. What is said to operators and programs falls back freely."""


def said_of_a_message() -> set[str]:
    """The language's rules, and each literal of those files; of a choice, both."""
    choices = [rule for path, rule in calls_of_fault() if path in OF_A_MESSAGE]
    named = [one for rule in choices for one in ((rule.body, rule.orelse) if isinstance(rule, ast.IfExp) else (rule,))]
    return rules_in_use() | {str(one.value) for one in named if isinstance(one, ast.Constant)}


@pytest.mark.parametrize("language", ["fr", "pt"])
def test_french_and_portuguese_fall_back_where_it_is_listed(language: str) -> None:
    """A whole sentence at a time, with the same gaps; every problem has its title."""
    sentences = phrases()[language]

    assert {rule for rule in said_of_a_message() if f"rule.{rule}" not in sentences} == FALLS_BACK
    assert {code for code in codes_in_use() if f"title.{code}" not in sentences} == set()
    for key, sentence in sentences.items():
        assert sorted(re.findall(r"{\w+}", sentence)) == sorted(re.findall(r"{\w+}", phrases()["en"][key])), key


def test_the_form_of_an_identifier_is_told_in_spanish() -> None:
    """The rule has it in English; in another language the words of its standard stand there."""
    said = {
        tongue: render("rule.identifier-form", tongue, found="x", format="imo", form="7 digits")
        for tongue in languages()
    }

    assert said["en"] == said["fr"] == said["pt"] == "“x” cannot be a imo: 7 digits are expected."
    assert "7 cifras, dígito verificador" in said["es"]


@pytest.mark.parametrize("name", ["en.json", "es.json", "fr.json", "pt.json"])
def test_a_file_has_one_key_a_line_in_order(name: str) -> None:
    """Several people append to these files: order keeps their changes apart."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    keys = re.findall(r'^  "([^"]+)": ".*",?$', text, re.MULTILINE)

    assert keys == sorted(json.loads(text))


def test_rendering_fills_gaps_and_falls_back() -> None:
    """A missing gap is empty, a missing language English, an unknown key itself."""
    assert render("rule.enum", "es", found="x", allowed=("a", "b")) == "“x” no es uno de: a, b."
    assert render("enum", "es-CL", found="x") == "“x” no es uno de: ."
    assert render("enum", "de", found="x", allowed=("a",)) == render("enum", "en", found="x", allowed=("a",))
    assert render("rule.nobody-wrote-this", "en") == "rule.nobody-wrote-this"
    assert languages() == ("en", "es", "fr", "pt")


def test_a_part_without_values_is_left_out() -> None:
    """Nobody is asked "Did you mean ?"."""
    assert render("unknown-country", "en", found="UK", allowed=("GB",)).endswith("Perhaps GB.")
    assert render("unknown-country", "en", found="QQ", allowed=()).endswith("of ISO 3166-1.")
    assert render("pattern", "en", found="x", pattern="^[A-Z]$").endswith("^[A-Z]$.")


@given(st.sampled_from(["rule.enum", "title.invalid", "{0}", "{", "{found!x}"]), st.text(), st.text())
def test_rendering_never_raises(key: str, language: str, found: str) -> None:
    """An answer with a clumsy sentence is better than none."""
    assert isinstance(render(key, language, found=found), str)
