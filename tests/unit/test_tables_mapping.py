"""A mapping is read whole or refused in one sentence with its line; it guesses nothing, and cannot run for ever."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from adapters.tables import read_mapping as reading
from adapters.tables import read_style
from adapters.tables.patterns import MAX_CHARACTERS, PatternRefused, TooLong, read_pattern
from adapters.tables.read_mapping import read_mapping
from adapters.tables.yaml_tree import MappingRefused
from tests import tables

SHIPPED = Path(reading.__file__).parents[1] / "mappings"
DOCS = Path(__file__).parents[2] / "docs" / "tables.md"

SMALL = """\
name: small
kind: seizure
version: "1.0"
table: {time_zone: UTC}
id: {prefix: S-, columns: [No]}
message:
  - put:
      /header/event_at: {column: Date}
      /body/heading: tobacco
"""


def refused(folder: Path, text: str) -> str:
    with pytest.raises(MappingRefused) as error:
        read_mapping(tables.mapping_file(folder, text, "m.yaml"))
    return str(error.value)


def with_line(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


REFUSALS = {
    "an unknown key": (with_line("kind: seizure", "kin: seizure"), 2, "“kin” is no key"),
    "a key that is missing": (with_line("kind: seizure\n", ""), 1, "has no “kind”"),
    "a key twice": (SMALL + "name: again\n", 10, "stands here twice (first in line 1)"),
    "a merge key": (with_line("table: {time_zone: UTC}", "table: {<<: {}}"), 4, "a single word"),
    "a tag": (with_line("name: small", "name: !!python/name:os.system small"), 1, "is not used in mappings"),
    "no YAML": (with_line("name: small", "name: [small"), 2, "this is not YAML"),
    "an empty file": ("", None, "is empty"),
    "a place that the schema lacks": (with_line("/body/heading", "/body/headnig"), 9, "/body has no “headnig”"),
    "a place in the header that nobody has": (with_line("/header/event_at", "/header/evnt_at"), 8, "has no “evnt_at”"),
    "a place below a single value": (with_line("/body/heading", "/body/heading/x"), 9, "nothing below /body/heading"),
    "a list without a number": (with_line("/body/heading", "/body/goods/hs"), 9, "such as /body/goods/0"),
    "what the loader sets": (with_line("/body/heading", "/header/id"), 9, "set by `id`"),
    "a place outside a message": (with_line("/body/heading", "/x/y"), 9, "is no place in a message"),
    "a place within what is put as a whole": (
        SMALL + "      /body/place: {constant: {country: CL}}\n      /body/place/name: {column: Town}\n", 11, "puts as a whole"),
    "a source without a column": (with_line("{column: Date}", "{as: decimal}"), 8, "has a `column`"),
    "a value table that is not there": (with_line("{column: Date}", "{column: D, values: v}"), 8, "there is no value table “v”"),
    "a code list that is not there": (with_line("{column: Date}", "{column: D, codelist: v}"), 8, "no code list “v”"),
    "an unknown policy": (
        with_line("{column: Date}", "{column: D, values: {a: b}, unknown: skp}"), 8, "error, skip, keep, or a code of this table"),
    "one word with two codes": (with_line("{column: Date}", "{column: D, values: {a: b, A: c}}"), 8, "case makes no difference"),
    "a date without its zone": (
        with_line("table: {time_zone: UTC}", "parts: {Date: {formats: YYYY}}").replace("column: Date", "column: Date.at"), 8,
        "needs a time zone"),
    "a part that a column lacks": (
        with_line("id:", "parts: {Date: {formats: YYYY}}\nid:").replace("column: Date", "column: Date.day"), 9, "has no part “day”"),
    "a format without a year": (with_line("id:", "parts: {Date: {formats: D/M}}\nid:"), 5, "has no year"),
    "a format that says a part three times": (
        with_line("id:", "parts: {Date: {formats: D-D-D MM YYYY}}\nid:"), 5, "says the day three times"),
    "a zone that nobody knows": (with_line("UTC", "America/Atlantis"), 4, "is no time zone"),
    "a pattern that repeats a group": (
        with_line("id:", "parts: {Date: {pattern: '(?P<a>(x+)+)'}}\nid:"), 5, "repeats a group"),
    "a condition that is none": (SMALL + "  - when: {column: X}\n    put: {/body/form: long}\n", 10, "a condition is"),
    "each without a number": (
        SMALL + "  - each: {column: X, split: ','}\n    put: {/body/form: {column: item}}\n", 11, "the number of the item"),
    "an id of two kinds": (with_line("columns: [No]", "columns: [No], digest: row"), 5, "made of columns, or of a digest"),
    "a number that is none": (with_line("{column: Date}", "{column: D, as: decimal, times: -1}"), 8, "above zero"),
    "an encoding that is none": (with_line("{time_zone: UTC}", "{encoding: klingon}"), 4, "is no encoding"),
    "an encoding that is none of text": (with_line("{time_zone: UTC}", "{encoding: rot13}"), 4, "is no encoding"),
    "an encoding that is none at all": (with_line("{time_zone: UTC}", "{encoding: undefined}"), 4, "is no encoding"),
    "an encoding with a NUL": (with_line("{time_zone: UTC}", '{encoding: "a\\0b"}'), 4, "is no encoding"),
    "an encoding without single octets": (with_line("{time_zone: UTC}", "{encoding: idna}"), 4, "is no encoding"),
    "a delimiter that quotes": (with_line("{time_zone: UTC}", """{delimiter: '"'}"""), 4, "not a quote"),
    "a delimiter that ends a line": (with_line("{time_zone: UTC}", '{delimiter: "\\n"}'), 4, "the end of a line"),
    "thousands that are digits": (with_line("{time_zone: UTC}", "{thousands: 1}"), 4, "no letters or digits"),
    "a factor beyond measure": (with_line("{column: Date}", "{column: D, as: decimal, times: 1e99999}"), 8, "times lies between"),
    "a policy that is a list": (with_line("{column: Date}", "{column: D, values: {a: b}, unknown: [a]}"), 8, "a single word"),
    "the name of our own sheet": (with_line("name: small", "name: tidewaiter"), 1, "choose another"),
    "a list that is an object too": (
        with_line("kind: seizure", "kind: unheard-of") + "      /body/x/0: {column: A}\n      /body/x/name: {column: B}\n", 11,
        "/body/x has both names and numbers"),
    "a text without a gap": (with_line("{column: Date}", "{text: nothing}"), 8, "has no gap"),
    "a text with a bracket too many": (with_line("{column: Date}", '{text: "{A}]"}'), 8, "does not fit at character 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_is_said_in_one_sentence_with_its_line(case: str, tmp_path: Path) -> None:
    text, line, sentence = REFUSALS[case]
    said = refused(tmp_path, text)

    assert said.startswith("m.yaml" if line is None else f"m.yaml, line {line}: "), said
    assert sentence in said
    assert said.endswith(".")


def test_nothing_is_guessed_norway_stays_norway(tmp_path: Path) -> None:
    """YAML 1.1 would read NO as false, 1e3 as a number and 2019-01-01 as a date; here a plain word is its text."""
    text = (
        SMALL
        + "      /body/place/country: NO\n      /body/remarks: 2019-01-01\n      /body/aggregate: true\n      /body/form: =\n"
    )
    put = {
        source.steps[-1]: source.constant
        for source in read_mapping(tables.mapping_file(tmp_path, text)).sections[0].put
    }

    assert (put["country"], put["remarks"], put["aggregate"], put["form"]) == ("NO", "2019-01-01", True, "=")


def test_aliases_cannot_blow_a_mapping_up(tmp_path: Path) -> None:
    """A billion laughs: nine levels of nine aliases."""
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))

    assert "more is nested here than any mapping needs" in refused(tmp_path, f"l0: &l0 [x]\n{levels}\n")
    assert "nested" in refused(tmp_path, "a: " + "[" * 5000 + "]" * 5000)


def test_the_shipped_mappings_are_read_and_hold_no_rows() -> None:
    names = {path.stem: read_mapping(path) for path in SHIPPED.glob("*.yaml")}

    assert names.keys() == {"colombia-police", "eia-pangolins"}
    for name, mapping in names.items():
        assert mapping.name == name
        assert list(mapping.refs())


def test_the_page_has_every_key_of_the_language() -> None:
    """docs/tables.md explains each key, with an example of its own."""
    page = DOCS.read_text("utf-8")
    keys = {*reading.TOP, *read_style.TABLE, *reading.SECTION, *reading.SOURCE, *reading.CONDITION, "constant", "prefix", "digest",
            "heading", "nth", "pattern", "formats", "language", "split", "item"}  # fmt: skip

    assert {key for key in keys if f"`{key}`" not in page and f"`{key}:" not in page} == set()


def test_the_example_of_the_page_is_a_mapping(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(name: .*?)```", DOCS.read_text("utf-8"), re.DOTALL)

    assert examples
    for text in examples:
        assert read_mapping(tables.mapping_file(tmp_path, text)).sections


# ── patterns ──


@pytest.mark.parametrize("text", [
    r"(a+)+b", r"(a|b)*c", r"(?:\w+\s?)+$", r"(?P<a>x)(?P=a)", r"(x)\1", r"(?=x)y", r"(?<!x)y", r"(?s).", r"a*b*c*d*",
    "a?" * 9, "}?" * 9, "a{0,3}" * 3, "|".join("abcdefghij"), "(?:ab){2,}", "(unclosed",
])  # fmt: skip
def test_a_pattern_that_could_run_for_ever_is_refused(text: str) -> None:
    with pytest.raises(PatternRefused):
        read_pattern(text)


@pytest.mark.parametrize(
    "text",
    [r"(?i)\b(seizures|YTD|various)\b", r"(?P<a>[^,]+), *(?P<b>[^,]+)", r"[(*+]x?", r"\(a\)\*", "x{2}", "x{1,3}?"],
)
def test_a_plain_pattern_is_taken(text: str) -> None:
    assert read_pattern(text).text == text


def test_a_cell_that_is_too_long_for_a_pattern_is_never_tried() -> None:
    """The more a pattern repeats, the shorter the cell: the work on one cell is bounded, and small."""
    for text, repeats in (("[^,]+x", 1), (".*,.*", 2), (".*.*.*x", 3)):
        pattern = read_pattern(text)
        began = time.monotonic()
        assert pattern.whole("y" * MAX_CHARACTERS[repeats]) is None
        assert time.monotonic() - began < 60  # against what never ends
        with pytest.raises(TooLong):
            pattern.whole("y" * (MAX_CHARACTERS[repeats] + 1))
