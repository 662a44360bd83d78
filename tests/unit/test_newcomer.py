"""A newcomer adds a kind with files alone: a schema, a code list, an example. Everything that is true of the shipped kinds
is true of it: nothing in Python has to be told. (Accepted and routed: tests/contracts/test_versions.py.)"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from broker import examples, titles
from broker.errors import SetupRefused
from broker.language import load_language
from tests import generate, kind_folder
from tests.kind_folder import reading, said_by
from tests.newcomer import NAME, SCHEMA, said, with_a_kind_more

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_a_kind_more(tmp_path / "schemas")


def test_it_can_be_read_like_any_other(folder: Path) -> None:
    """Every title, both editions of the reference, `schema` and `check` and `show` in both languages."""
    kind_folder.everything_has_a_title(folder)
    kind_folder.the_reference_is_whole(folder, DOCS)
    kind_folder.the_schema_commands_tell_of("stowaway", folder)
    for language in ("en", "es"):
        kind_folder.the_example_is_checked(NAME, language, folder)
        kind_folder.the_example_is_shown_whole(NAME, language, folder)


def test_its_words_are_the_readers(folder: Path) -> None:
    """The enum's word by its title, in French by the English one; a wrong one is answered with those that there are."""
    file = folder / f"examples/{NAME}.json"
    with reading(folder):
        assert "necesita atención [needs-care]" in said_by("show", str(file), "--language", "es")
        assert "needs care [needs-care]" in said_by("show", str(file), "--language", "fr")
        assert "Alguien a quien se halló escondido a bordo" in said_by("schema", "show", "stowaway", "--language", "es")
        assert json.loads(said_by("check", "--offline", str(file), "--json"))["holds"]
    assert ("stowaway", "1.0") not in titles.kinds()
    assert NAME not in examples.payloads()


def test_messages_of_it_can_be_made_up(folder: Path) -> None:
    """By the generator of the other tests, which knows no kind either."""
    language = load_language(folder)
    for seed in range(20):
        payload = generate.message("stowaway", Random(seed), language=language)
        assert language.check_header(payload) == ()
        reading_of = language.read_body(payload, now=generate.NOW)
        assert (reading_of.faults, reading_of.warnings) == ((), ())


@pytest.mark.parametrize(
    ("path", "value", "because"),
    [
        (("properties", "condition", "x-words"), {"hurt": said("hurt", "herido")}, "x-words names words of the enum"),
        (("properties", "condition", "x-words"), {"unhurt": {"en": "not hurt"}}, "a title lacks one of"),
        (("properties", "heading", "x-words"), {"hold": said("hold", "bodega")}, "x-words names words of the enum"),
        (("properties", "condition", "x-words"), "hurt", "x-words names words of the enum"),
        (("x-about",), {"en": "Somebody"}, "a title lacks one of"),
        (("properties", "heading", "x-about"), said("a", "b"), "x-about is no annotation that we know here"),
    ],
)
def test_words_that_cannot_be_meant_so_stop_the_start(
    folder: Path, path: tuple[str, ...], value: Any, because: str
) -> None:
    schema = json.loads(json.dumps(SCHEMA))
    here = schema
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    (folder / "messages/stowaway/1.0.json").write_text(json.dumps(schema), encoding="utf-8")

    with pytest.raises(SetupRefused, match=because):
        load_language(folder)
