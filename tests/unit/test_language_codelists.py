"""Code lists are files that say where they come from; a code passes as it stands or not at all."""

from __future__ import annotations

import json
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from broker.errors import SetupRefused
from broker.language.codelists import POLICIES, load_codelists, nearest, read_codelist, unknown_code
from broker.language.identifiers import examine
from broker.language.kinds import schemas_folder
from tests.engines import need_testdata

LISTS = load_codelists(schemas_folder() / "codelists")
HEAD = "# source: us\n# edition: 1\n# date: 2026-11-21\n# policy: error\n"


CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
SPECIES = re.compile(r"[A-Z][a-z]+ ([a-z]+|spp\.)")
REFERENCES = {"headings": "headings", "mode": "modes", "units": "units", "un": "un-numbers"}
"""Columns that hold codes of another list."""


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_states_its_source_and_has_titles_in_both_languages(name: str) -> None:
    """A list that cannot say where it comes from is not worth refusing anybody for."""
    codelist = LISTS[name]

    assert codelist.codes
    assert len(codelist.source) > 8
    assert codelist.edition
    assert codelist.policy in POLICIES
    assert date.fromisoformat(codelist.date) <= date(2026, 11, 28)
    assert all(code.titles["en"] and code.titles["es"] for code in codelist.codes.values())


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_that_is_translated_is_translated_whole(name: str) -> None:
    """A form in Portuguese with a few English words in it is read by nobody with pleasure."""
    languages = {frozenset(code.titles) for code in LISTS[name].codes.values()}

    assert languages <= {frozenset({"en", "es"}), frozenset({"en", "es", "fr", "pt"})}
    assert len(languages) == 1


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_code_is_short_and_plain(name: str) -> None:
    """Codes go into routes, file names, columns and, spoken, over a telephone."""
    form = SPECIES if name == "cites-species" else CODE

    assert [code for code in LISTS[name].codes if form.fullmatch(code) is None or len(code) > 60] == []


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_word_stands_for_one_code(name: str) -> None:
    """Spreadsheets are read by codes, aliases and titles in any language: none of them may mean two things."""
    meanings: dict[str, set[str]] = {}
    for code in LISTS[name].codes.values():
        for word in (code.code, *code.aliases, *code.titles.values()):
            meanings.setdefault(word.casefold(), set()).add(code.code)

    assert {word: codes for word, codes in meanings.items() if len(codes) > 1} == {}


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_column_holds_what_its_name_says(name: str) -> None:
    """Codes of another list exist there; CAS numbers have their check digit, HS codes their place in HS 2022."""
    for code in LISTS[name].codes.values():
        for column, other in REFERENCES.items():
            assert set(code.more.get(column, ())) <= set(LISTS[other].codes), code
        for column, form in (("cas", "cas"), ("hs", "hs"), ("chapters", "hs")):
            for value in code.more.get(column, ()):
                assert examine(form, value) == (value, None), code


def test_a_species_changes_its_appendix_on_a_day() -> None:
    """domain.md §3: the appendix at the date of the event."""
    for species in LISTS["cites-species"].codes.values():
        assert set(species.more["appendix"]) <= {"I", "II", "III"}
        assert species.more["since"] or not species.more["before"]
        assert all(date.fromisoformat(day) for day in species.more["since"])
    pangolin = LISTS["cites-species"].codes["Manis javanica"].more

    assert (pangolin["appendix"], pangolin["since"], pangolin["before"]) == (("I",), ("2017-01-02",), ("II",))


def test_the_dangerous_goods_that_customs_meet_are_listed_under_their_numbers() -> None:
    """domain.md §3, UN numbers, with the names they have there."""
    names = {
        "UN1203": "gasoline", "UN1090": "acetone", "UN1715": "acetic anhydride", "UN1490": "potassium permanganate",
        "UN0222": "ammonium nitrate", "UN1942": "ammonium nitrate", "UN2814": "infectious",
        "UN2977": "uranium hexafluoride",
    }  # fmt: skip
    for number, name in names.items():
        code = LISTS["un-numbers"].codes[number]

        assert name in " ".join((*code.titles.values(), *code.aliases)).casefold(), number


def test_an_alias_does_not_pass_but_is_understood() -> None:
    """What is signed and routed is one spelling; the answer names it."""
    assert "cites" not in LISTS["headings"]
    assert unknown_code(LISTS["headings"], "CITES", "/body/heading").allowed == ("wildlife",)
    assert nearest(LISTS["units"], "kg") == ("KGM",)


def test_a_title_in_any_language_is_understood_unless_two_codes_share_it(tmp_path: Path) -> None:
    """Who fills in a form by hand copies what the form shows."""
    assert nearest(LISTS["drug-substances"], "Herbe de cannabis (marijuana)") == ("cannabis-herb",)
    path = tmp_path / "list.csv"
    path.write_text(HEAD + "code,title_en,title_es,aliases\na,Same,Uno,\nb,Same,Dos,\n", encoding="utf-8")
    shared = read_codelist(path)

    assert nearest(shared, "UNO") == ("a",)
    assert nearest(shared, "same") == ("a", "b")


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


# --- words that people really wrote ------------------------------------------------------------------------------


def unread(codelist: str, words: set[str]) -> set[str]:
    """Those of `words` that no code, alias or title of the list covers."""
    return {word for word in words if word.strip().casefold() not in LISTS[codelist].by_alias}


def test_the_words_of_the_colombian_police_are_understood() -> None:
    """1,000 seizures of 2018: places, substances and units as the police wrote them."""
    rows = json.loads(need_testdata("data/colombia_police_seizures_2018.json").read_text(encoding="utf-8"))

    assert unread("place-types", {row["clase_de_sitio"] for row in rows}) == set()
    assert unread("drug-substances", {row["clase_de_estupefaciente"] for row in rows}) == set()
    assert unread("units", {row["unidad_de_medida"] for row in rows}) == set()


def test_the_words_of_the_pangolin_records_are_understood() -> None:
    """1,104 seizures of 2000 to 2019. What is left is no mode (the internet), a sentence, or two species in one cell."""
    columns = dict(pangolin_columns())
    modes, species = columns["Transit type"], columns["Taxon"]

    assert unread("modes", modes) <= {"In luggage", "In Luggage", "in luggage", "Online"}
    assert unread("concealment", {"In luggage"}) == set()
    assert {word for word in unread("cites-species", species) if not re.search("[/,]", word)} == set()
    assert unread("outcomes", {"PROSECUTION ONGOING", "INVESTIGATION ONGOING", "CONVICTION", "CONVICTION-IMPRISONMENT"}
                  & columns["Outcome"]) == set()  # fmt: skip
    usual = {"Hidden", "Mis-described", "Mis-declared", "Hidden/Disguised", "plastic bags", "in bags"}
    assert unread("concealment", usual & columns["Method of Concealment (MoC)"]) == set()


def pangolin_columns() -> Iterator[tuple[str, set[str]]]:
    openpyxl = pytest.importorskip("openpyxl")
    path = need_testdata("data/eia_pangolin_seizures.xlsx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the workbook uses an extension that openpyxl does not read
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
        head, *rows = workbook["INCIDENTS"].iter_rows(values_only=True)
        workbook.close()
    for number, name in enumerate(head):
        yield str(name), {row[number] for row in rows if isinstance(row[number], str) and row[number].strip()}


def test_the_words_of_the_food_network_are_understood() -> None:
    """8,413 notifications: every risk decision and every class of notification."""
    path = need_testdata("data/rasff_notifications.sqlite")
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as records:
        for column, codelist in (("risk_decision", "risks"), ("classification", "alert-reasons")):
            words = {word for (word,) in records.execute(f"SELECT DISTINCT {column} FROM rasff_notifications")}

            assert unread(codelist, words) == set()
