"""docs/reference says what the schemas say: it is written from them, and compared here.

`python -m broker.reference docs/reference` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import reference, schemafiles
from broker.language.rules import RULES, SHAPE
from broker.phrases import phrases
from broker.words.reference import SAY
from tests.kind_folder import the_reference_is_whole

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES = reference.pages()


def test_the_reference_is_what_would_be_written_now() -> None:
    """Neither a page that is missing nor one that is gone, nor an old word: see above how to write it anew."""
    there = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.md")}

    assert there.keys() == PAGES.keys()
    assert [name for name, text in PAGES.items() if there[name] != text] == []


def test_its_links_rows_fields_and_examples_are_whole() -> None:
    the_reference_is_whole(schemafiles.folder(), FOLDER)


@pytest.mark.parametrize("folder", ["", "es/"])
def test_every_rule_is_on_its_page_with_its_sentence(folder: str) -> None:
    language = "es" if folder else "en"
    page = PAGES[f"{folder}rules.md"]

    for code in (*(rule.code for rule in SHAPE), *(rule.code for rule in RULES), *reference.OTHER_RULES):
        assert f"| `{code}` |" in page
        assert f"rule.{code}" in phrases()[language], code


def test_both_languages_have_the_same_gaps() -> None:
    assert all(said.en.count("{") == said.es.count("{") for said in SAY.values())


def test_pages_that_are_no_more_are_removed(tmp_path: Path) -> None:
    """And a second writing changes nothing."""
    (tmp_path / "es").mkdir()
    (tmp_path / "es" / "old.md").write_text("# Old\n")

    assert "es/old.md" in reference.write(tmp_path)
    assert not (tmp_path / "es" / "old.md").exists()
    assert reference.write(tmp_path) == []
