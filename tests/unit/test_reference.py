"""docs/reference says what the schemas say: it is written from them, and compared here.

`python -m broker.reference docs/reference` writes it anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from broker import clock, reference, titles
from broker.language import load_language
from broker.language.rules import RULES, SHAPE
from broker.phrases import phrases
from broker.words.reference import SAY

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES = reference.pages()


def test_the_reference_is_what_would_be_written_now() -> None:
    """Neither a page that is missing nor one that is gone, nor an old word: see above how to write it anew."""
    there = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.md")}

    assert there.keys() == PAGES.keys()
    assert [name for name, text in PAGES.items() if there[name] != text] == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_link_leads_somewhere(name: str) -> None:
    """To a page, and to an anchor that is on it."""
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        path, _, anchor = target.partition("#")
        to = (FOLDER / name).parent / path
        text = PAGES.get(to.resolve().relative_to(FOLDER).as_posix()) if FOLDER in to.resolve().parents else None
        assert text is not None or to.is_file(), target
        assert not anchor or (text is not None and (f'<a id="{anchor}">' in text or f"\n## {anchor}\n" in text)), target


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_row_of_a_table_has_all_its_cells(name: str) -> None:
    """A bar inside a cell is escaped."""
    heads = 0
    for line in PAGES[name].splitlines():
        if not line.startswith("|"):
            heads = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        heads = heads or cells
        assert cells == heads, line


def test_every_example_of_a_page_is_valid() -> None:
    """The whole messages, as they stand on the page."""
    language = load_language()
    for name, text in PAGES.items():
        for block in re.findall(r"```json\n(.*?)\n```", text, re.DOTALL):
            payload = json.loads(block)
            assert language.check_header(payload) == (), name
            assert payload["body"] == {} or language.read_body(payload, now=clock.now()).faults == (), name


@pytest.mark.parametrize("folder", ["", "es/"])
def test_every_rule_is_on_its_page_with_its_sentence(folder: str) -> None:
    language = "es" if folder else "en"
    page = PAGES[f"{folder}rules.md"]

    for code in (*(rule.code for rule in SHAPE), *(rule.code for rule in RULES), *reference.OTHER_RULES):
        assert f"| `{code}` |" in page
        assert f"rule.{code}" in phrases()[language], code


def test_every_field_of_a_kind_is_on_its_page() -> None:
    for kind, version in titles.kinds():
        for name in titles.schema(kind, version)["properties"]:
            for folder in ("", "es/"):
                assert re.search(rf"^\| (\*\*)?`{name}`(\*\*)? \| ", PAGES[f"{folder}{kind}.md"], re.MULTILINE), (
                    kind,
                    name,
                )


def test_nothing_is_said_in_one_language_alone() -> None:
    assert {name.removeprefix("es/") for name in PAGES if name.startswith("es/")} == {
        name for name in PAGES if "/" not in name
    }
    assert all(said.en.count("{") == said.es.count("{") for said in SAY.values())


def test_pages_that_are_no_more_are_removed(tmp_path: Path) -> None:
    """And a second writing changes nothing."""
    (tmp_path / "es").mkdir()
    (tmp_path / "es" / "old.md").write_text("# Old\n")

    assert "es/old.md" in reference.write(tmp_path)
    assert not (tmp_path / "es" / "old.md").exists()
    assert reference.write(tmp_path) == []
