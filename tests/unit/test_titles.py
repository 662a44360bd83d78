"""What people read has a title: English and Spanish everywhere; French and Portuguese where they are translated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from broker import describe, schemafiles, titles, words
from broker.language.identifiers import FORMATS, examine
from broker.words.identifiers import IDENTIFIERS
from tests.kind_folder import everything_has_a_title, whole

FOLDER = schemafiles.folder()

LACKING = {
    "common/1.0.json": 299,
    "messages/alert/1.0.json": 24,
    "messages/bulletin/1.0.json": 11,
    "messages/comment/1.0.json": 6,
    "messages/membership/1.0.json": 9,
    "messages/notice/1.0.json": 13,
    "messages/outcome/1.0.json": 11,
    "messages/reply/1.0.json": 10,
    "messages/request/1.0.json": 16,
    "messages/risk-profile/1.0.json": 16,
    "messages/seizure/1.0.json": 25,
    "messages/situation-report/1.0.json": 17,
    "messages/trader-status/1.0.json": 10,
    "messages/withdrawal/1.0.json": 2,
    "codelists/airlines.csv": 102,
    "codelists/cites-species.csv": 104,
    "codelists/locodes.csv": 174,
    "codelists/un-numbers.csv": 120,
}
"""Titles of fields and codes without French or Portuguese, by file: read in English. The numbers may only fall."""
KINDS_LACKING = {"notice"}
"""Kinds whose own title is not yet in all four languages: likewise."""


def titles_in(value: Any) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        yield from (value[mark] for mark in ("x-title", "x-about") if isinstance(value.get(mark), dict))
        yield from value["x-words"].values() if isinstance(value.get("x-words"), dict) else ()
        for item in value.values():
            yield from titles_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from titles_in(item)


def lacking() -> dict[str, int]:
    """File -> how many of its titles are not in all four languages; files that lack nothing are left out."""
    counts = {}
    for path in (*FOLDER.glob("common/*.json"), *FOLDER.glob("messages/*/*.json")):
        name = path.relative_to(FOLDER).as_posix()
        counts[name] = sum(not whole(title) for title in titles_in(schemafiles.read_json(path)))
    for name in titles.codelists():
        counts[f"codelists/{name}.csv"] = sum(not whole(row.titles) for row in titles.codelist(name).rows.values())
    return {name: count for name, count in counts.items() if count}


def test_french_and_portuguese_only_gain_ground() -> None:
    """What is added is added in four languages; what is translated is taken off the list."""
    now = lacking()

    assert {name: count for name, count in now.items() if count > LACKING.get(name, 0)} == {}


def test_every_kind_has_its_own_title_in_four_languages() -> None:
    without = {kind for kind, version in titles.kinds() if not whole(titles.schema(kind, version)["x-title"])}

    assert without <= KINDS_LACKING


@pytest.mark.parametrize("language", ["fr", "pt", "fr-CA", "de"])
def test_a_title_that_lacks_is_read_in_english(language: str) -> None:
    assert titles.best({"en": "Seal", "es": "Precinto"}, language) == "Seal"


def test_every_member_of_the_header_has_a_title_and_a_meaning() -> None:
    """Its schema has none: they stand in `words`, and a new member needs one."""
    known = {field.pointer.removeprefix("/header/") for field in describe.header(titles.envelope())}
    extra = {"handling/release/to/*"}

    assert known == words.HEADER.keys() - extra


def test_everything_that_people_read_has_a_title() -> None:
    everything_has_a_title(FOLDER)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_identifier_is_told_and_its_specimen_passes(name: str) -> None:
    _, flaw = examine(name, IDENTIFIERS[name].specimen)

    assert flaw is None


def test_no_identifier_is_told_that_nobody_checks() -> None:
    assert IDENTIFIERS.keys() == FORMATS.keys()
