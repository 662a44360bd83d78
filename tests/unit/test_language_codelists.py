"""Code lists are files that say where they come from; a code passes as it stands or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import SetupRefused
from broker.language.codelists import load_codelists, nearest, read_codelist, unknown_code
from broker.language.kinds import schemas_folder

LISTS = load_codelists(schemas_folder() / "codelists")
HEAD = "# source: us\n# edition: 1\n# date: 2026-11-21\n# policy: error\n"


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_states_its_source_and_has_titles_in_both_languages(name: str) -> None:
    """A list that cannot say where it comes from is not worth refusing anybody for."""
    codelist = LISTS[name]

    assert codelist.codes
    assert len(codelist.source) > 8
    assert all(code.titles["en"] and code.titles["es"] for code in codelist.codes.values())


def test_an_alias_does_not_pass_but_is_understood() -> None:
    """What is signed and routed is one spelling; the answer names it."""
    assert "cites" not in LISTS["headings"]
    assert unknown_code(LISTS["headings"], "CITES", "/body/heading").allowed == ("wildlife",)
    assert nearest(LISTS["units"], "kg") == ("KGM",)


def test_a_short_list_is_recited_and_a_long_one_is_not() -> None:
    """An answer of thousands of ports would help nobody."""
    assert nearest(LISTS["procedures"], "nonsense") == tuple(LISTS["procedures"].codes)
    assert "CLVAP" in nearest(LISTS["locodes"], "CLVAO")
    assert nearest(LISTS["locodes"], "QQQQQ") == ()


@pytest.mark.parametrize(
    "text",
    [
        "code,title_en,title_es,aliases\na,A,A,\n",
        HEAD.replace("error", "maybe") + "code,title_en,title_es,aliases\na,A,A,\n",
        HEAD + "code,title_en\na,A\n",
        HEAD + "code,title_en,title_es,aliases\na,A,A,\na,B,B,\n",
        HEAD + "code,title_en,title_es,aliases\na,A,A,x\nb,B,B,X\n",
        HEAD + "code,title_en,title_es,aliases\na,A\n",
    ],
    ids=["no head", "unknown policy", "columns", "code twice", "alias of two", "short row"],
)
def test_a_list_that_is_not_as_needed_stops_the_start(tmp_path: Path, text: str) -> None:
    """Better no hub than one that judges by half a list."""
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SetupRefused):
        read_codelist(path)
