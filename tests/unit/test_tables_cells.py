"""Cells: dates as people write them, numbers in the table's style, words for codes, texts of several columns and back."""

from __future__ import annotations

import time
import tomllib
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.tables import dates
from adapters.tables.codes import codelist, codelist_names, folded, make_values, together
from adapters.tables.sentences import SENTENCES, say
from adapters.tables.template import TemplateRefused, read_template
from adapters.tables.view import plain_number, split

BOGOTA = dates.read_zone("America/Bogota")
FORMS = tuple(
    dates.read_format(text)
    for text in (
        "[SPLIT] YYYY-YYYY", "YYYY-YYYY", "D MMMM YYYY-D MMMM YYYY", "D-D MMMM YYYY", "D MMMM YYYY", "D [de] MMMM [de] YYYY",
        "MMMM YYYY", "YYYY", "D/M/YYYY HH:mm", "YYYY-MM-DDT00:00:00.000", *dates.ISO,
    )
)  # fmt: skip


@pytest.mark.parametrize(("cell", "at", "precision", "until"), [
    ("3 January 2018", "2018-01-03T00:00:00-05:00", "day", ""),
    ("3 de enero de 2018", "2018-01-03T00:00:00-05:00", "day", ""),
    ("3 août 2018", "2018-08-03T00:00:00-05:00", "day", ""),
    ("Sept. 2018", "2018-09-01T00:00:00-05:00", "month", ""),
    ("março 2018", "2018-03-01T00:00:00-05:00", "month", ""),
    ("2018", "2018-01-01T00:00:00-05:00", "year", ""),
    ("3/1/2018 14:05", "2018-01-03T14:05:00-05:00", "minute", ""),
    ("2018-01-03T00:00:00.000", "2018-01-03T00:00:00-05:00", "day", ""),
    ("2018-01-03T14:05:00Z", "2018-01-03T14:05:00+00:00", "minute", ""),
    ("2018-01-03", "2018-01-03T00:00:00-05:00", "day", ""),
    ("29 February 2008-6 March 2008", "2008-02-29T00:00:00-05:00", "day", "2008-03-06"),
    ("3-6 March 2008", "2008-03-03T00:00:00-05:00", "day", "2008-03-06"),
    ("2009-2015", "2009-01-01T00:00:00-05:00", "year", "2015-12-31"),
    ("SPLIT 2018-2019", "2018-01-01T00:00:00-05:00", "year", "2019-12-31"),
])  # fmt: skip
def test_a_date_says_when_and_how_exactly(cell: str, at: str, precision: str, until: str) -> None:
    """Precision is what the form says and no more; local time gets the zone's offset; a range has a last day."""
    found = dates.parse(cell, FORMS, BOGOTA)

    assert found is not None
    assert [found.part(name) for name in ("at", "precision", "until")] == [at, precision, until]
    assert found.part("from") == (at[:10] if until else "")


@pytest.mark.parametrize(
    "cell", ["30 February 2018", "SPLIT", "2019-2018", "13/13/2018", "tomorrow", "2018-01-03T25:00:00", "3 mayo"]
)
def test_what_is_no_date_is_none(cell: str) -> None:
    assert dates.parse(cell, FORMS, BOGOTA) is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2060, 1, 1)), st.sampled_from(FORMS))
def test_a_date_is_written_as_it_is_read(moment: datetime, form: dates.Format) -> None:
    """Whatever a form can say comes back as a text that says the same."""
    text = dates.write(form, moment.replace(tzinfo=BOGOTA), (moment + timedelta(days=800)).date(), BOGOTA, "es")
    said = dates.parse(text, FORMS, BOGOTA)
    assume(said is not None)  # a range of days in one month cannot last 800 days
    assert said is not None
    parts = {name: said.part(name) for name in dates.PARTS if said.part(name)}
    again = dates.render(parts, FORMS, BOGOTA, "es")

    assert again is not None
    assert dates.parse(again, FORMS, BOGOTA) == said


def test_zones_are_known_on_a_machine_that_has_none() -> None:
    """The extra `load` brings them: a container without /usr/share/zoneinfo reads the same mappings."""
    wanted = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert any(one.startswith("tzdata") for one in wanted["optional-dependencies"]["load"])
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    try:
        assert zoneinfo.ZoneInfo.no_cache("America/Santiago").utcoffset(datetime(2026, 1, 1)) == timedelta(hours=-3)
    finally:
        zoneinfo.reset_tzpath(before)


def test_a_fixed_offset_is_a_zone_too() -> None:
    found = dates.parse("2018", FORMS, dates.read_zone("-03:30"))

    assert found is not None
    assert found.part("at") == "2018-01-01T00:00:00-03:30"
    assert dates.read_zone("UTC") is UTC


@pytest.mark.parametrize(("cell", "style", "number"), [
    ("1234", (".", ""), "1234"), ("1234.50", (".", ""), "1234.50"), ("+7", (".", ""), "7"), ("-7.5", (".", ""), "-7.5"),
    ("007", (".", ""), "7"), ("0", (".", ""), "0"), ("1.234,5", (",", "."), "1234.5"), ("1234,5", (",", "."), "1234.5"),
    ("12.345.678", (",", "."), "12345678"), ("1 234,5", (",", " "), "1234.5"), ("1\u00a0234,5", (",", " "), "1234.5"),
    ("1.5", (",", "."), None), ("1.2345", (",", "."), None), ("12,3.4", (",", "."), None), ("1,234", (".", ""), None),
    ("556kg", (".", ""), None), ("60 -120", (".", ""), None), ("Y", (".", ""), None), ("1e5", (".", ""), None),
    (".5", (".", ""), None),
    ("1" * 31, (".", ""), None), ("٣", (".", ""), None),
])  # fmt: skip
def test_a_number_is_read_in_the_tables_style_or_not_at_all(
    cell: str, style: tuple[str, str], number: str | None
) -> None:
    """Where the point groups thousands, 1.5 is a mistake: it is never read as 15."""
    found = plain_number(cell, *style)

    assert found == number


def test_words_are_compared_without_case_and_spaces() -> None:
    """The mapping's own table comes first; a code list knows codes, aliases and titles."""
    own, listed = make_values({"By Road": "road", "Van": "road"}), codelist("modes")
    assert listed is not None
    both = together(own, listed)

    assert [both.codes[folded(word)] for word in ("by  road", " BY ROAD", "VAN", "marítimo", "Sea", "7")] == [
        "road", "road", "road", "sea", "sea", "fixed"]  # fmt: skip
    assert both.words == {"road": "By Road"}
    assert own.nearest("x") == ("By Road", "Van")


def test_every_code_list_is_read_with_every_code() -> None:
    for name in codelist_names():
        found = codelist(name)
        assert found is not None
        assert set(found.known) <= set(found.codes.values()), name


def test_no_list_no_values() -> None:
    assert codelist("no-such-list") is None


@pytest.mark.parametrize(("text", "cells", "made"), [
    ("DANE {code}", {"code": "5101"}, "DANE 5101"),
    ("DANE {code}", {"code": ""}, ""),
    ("{a}[, {b}]", {"a": "x", "b": "y"}, "x, y"),
    ("{a}[, {b}]", {"a": "x", "b": ""}, "x"),
    ("[{a}: ]{b}", {"a": "", "b": "y"}, "y"),
])  # fmt: skip
def test_a_text_of_several_cells_is_taken_apart_again(text: str, cells: dict[str, str], made: str) -> None:
    template = read_template(text)

    assert template.fill(cells.__getitem__) == made
    assert not made or template.take_apart(made) == cells


@given(st.text(alphabet="ab, :[]", max_size=8), st.text(alphabet="ab, :", max_size=8))
def test_taking_apart_never_gives_cells_that_make_another_text(first: str, second: str) -> None:
    template = read_template("{a}[, {b}]")
    made = template.fill({"a": first, "b": second}.__getitem__)
    found = template.take_apart(made)

    assert found is None or template.fill(found.__getitem__) == made


@pytest.mark.parametrize(
    "text", ["", "nothing", "{a}{a}", "[x]{a}", "{a", "{a}]", "[{a}", "[[{a}]]", "[{a}][{b}][{c}][{d}][{e}][{f}][{g}]"]
)
def test_a_text_that_cannot_be_meant_so_is_refused(text: str) -> None:
    with pytest.raises(TemplateRefused):
        read_template(text)


def test_a_text_of_somebody_elses_is_taken_apart_in_no_time() -> None:
    """4,000 characters that nearly fit, in as many ways as there are: they are gone over once, not each way."""
    template = read_template("{a}, {b}, {c}[, {d}] ({e})")
    began = time.monotonic()

    assert template.take_apart(", " * 2_000) is None
    assert template.take_apart(", " * 2_000 + "(x)") is not None
    assert time.monotonic() - began < 30  # against what never ends


def test_a_cell_is_split_at_any_of_the_separators() -> None:
    assert split("DRC, Turkey; Thailand ,, ", (",", ";")) == ["DRC", "Turkey", "Thailand"]
    assert split("", (",",)) == []


def test_every_sentence_is_there_in_both_languages() -> None:
    """With the same gaps, so that neither says less."""
    import re

    for key, (english, spanish) in SENTENCES.items():
        gaps = [sorted(set(re.findall(r"{(\w+)}", text))) for text in (english, spanish)]
        assert gaps[0] == gaps[1], key
        assert english != spanish
    assert say("not-whole", "es-CL", found="1,5") == "“1,5” no es un número entero."
    assert say("not-whole", "fr", found="1,5") == "“1,5” is not a whole number."
