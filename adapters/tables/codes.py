"""Value tables and code lists: what a cell's word stands for, and which word to write for a code.

Words are compared without regard to case, accents kept, runs of spaces as one: `By  Road` is `by road`. The code lists
are read from the same CSV files as the hub's; only codes and aliases are needed here, and none of the hub's libraries.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from broker import schemafiles
from broker.errors import SetupRefused

NEAREST = 5
FEW = 12
"""A table of so few words is recited whole when a cell has none of them."""

Code = str | bool | int


def folded(text: str) -> str:
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class Values:
    """`codes`: folded word -> code, None where the word says as much as a blank cell. `words`: code -> the word that a
    mapping writes for it, the first of its words; the code of a list has none, and is written as it stands."""

    codes: Mapping[str, Code | None]
    words: Mapping[Code, str]
    known: tuple[str, ...] = field(repr=False)
    """Words to name when a cell has none of them."""

    def nearest(self, word: str) -> tuple[str, ...]:
        """What was probably meant; every word of a short table."""
        if len(self.known) <= FEW:
            return self.known
        by_fold = {folded(one): one for one in self.known}
        close = difflib.get_close_matches(folded(word)[:64], by_fold, n=NEAREST, cutoff=0.6)
        return tuple(by_fold[one] for one in close)


def make_values(pairs: Mapping[str, Code | None]) -> Values:
    """A table of a mapping: word -> code, in the order of the file."""
    words: dict[Code, str] = {}
    for word, code in pairs.items():
        if code is not None:
            words.setdefault(code, word)
    return Values({folded(word): code for word, code in pairs.items()}, words, tuple(pairs))


def together(first: Values, then: Values) -> Values:
    """One table of two: `first` counts where both have a word, and writes where both have a code."""
    return Values({**then.codes, **first.codes}, {**then.words, **first.words}, (*first.known, *then.known))


@cache
def codelist(name: str) -> Values | None:
    """A code list by its file name: codes, then aliases, then titles. A code is written as itself. None: no such list."""
    path = schemafiles.folder() / "codelists" / f"{name}.csv"
    if not path.is_file():
        return None
    rows = list(_rows(path))
    words = [(row["code"], row["code"]) for row in rows]
    words += [(alias, row["code"]) for row in rows for alias in row["aliases"].split("|")]
    words += [(title, row["code"]) for row in rows for name, title in row.items() if name.startswith("title_")]
    codes: dict[str, Code | None] = {}
    for word, code in words:
        if word:
            codes.setdefault(folded(word), code)
    known = tuple(row["code"] for row in rows)
    return Values(codes, {}, known)


@cache
def titles(name: str, language: str) -> Mapping[str, str]:
    """Code -> title in `language`, in English where there is none."""
    path = schemafiles.folder() / "codelists" / f"{name}.csv"
    return {row["code"]: row.get(f"title_{language}") or row["title_en"] for row in _rows(path)}


def codelist_names() -> list[str]:
    return sorted(path.stem for path in (schemafiles.folder() / "codelists").glob("*.csv"))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
        return [{name: text or "" for name, text in row.items()} for row in csv.DictReader(lines)]
    except (OSError, ValueError, csv.Error, AttributeError) as error:
        raise SetupRefused(detail=f"{path}: {error}") from error
