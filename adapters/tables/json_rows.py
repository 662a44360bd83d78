"""Objects of a JSON array, or one a line, as flat rows: one object in memory at a time.

A nested object gives `outer.inner`; a list, or a list within one, stays JSON text. Numbers keep their digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

PIECE_CHARACTERS = 65_536
MAX_ROW_CHARACTERS = 1_048_576
MAX_NESTING = 8

Cell = tuple[str, str, bool]
"""Name, text, and whether it was a number."""


@dataclass(frozen=True)
class NotARow:
    """What stands in a row's place, and why it is none."""

    why: str


class _Number(str):
    __slots__ = ()


class _Twice:
    def __init__(self, name: str) -> None:
        self.name = name


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        return _Twice(next(name for name in names if names.count(name) > 1))
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_Number, parse_int=_Number)


def objects(lines: TextIO) -> Iterator[list[Cell] | NotARow]:
    """Each row, or what is wrong in its place. After something that is no JSON in an array nothing more can be found."""
    first = lines.read(PIECE_CHARACTERS)
    if first.lstrip()[:1] == "[":
        yield from _array(first.lstrip()[1:], lines)
        return
    rest = first
    while True:
        line, feed, rest = rest.partition("\n")
        if not feed:
            more = lines.read(PIECE_CHARACTERS)
            if more and len(line) <= MAX_ROW_CHARACTERS:
                rest = line + more
                continue
            if len(line) > MAX_ROW_CHARACTERS:
                yield NotARow(f"a row has more than {MAX_ROW_CHARACTERS} characters; the rest was not read")
                return
        if line.strip():
            yield _one(line.strip())
        if not feed:
            return


def _one(line: str) -> list[Cell] | NotARow:
    try:
        value, end = DECODER.raw_decode(line)
    except (ValueError, RecursionError) as error:
        return NotARow(f"not JSON: {error}")
    return NotARow("more follows in the line") if line[end:].strip() else _flat(value)


def _array(rest: str, lines: TextIO) -> Iterator[list[Cell] | NotARow]:
    ended = False
    while True:
        rest = rest.lstrip(" \t\r\n,")
        if rest[:1] == "]":
            return
        why = "the array does not end: the file is cut off"
        try:
            value, end = DECODER.raw_decode(rest)
            if end < len(rest) or ended:
                rest = rest[end:]
                yield _flat(value)
                continue
        except (ValueError, RecursionError) as error:
            if rest:
                why = f"not JSON: {error}; nothing after it could be read"
        if ended or len(rest) > MAX_ROW_CHARACTERS:
            yield NotARow(why)
            return
        piece = lines.read(PIECE_CHARACTERS)
        rest, ended = rest + piece, not piece


def _flat(value: Any) -> list[Cell] | NotARow:
    if isinstance(value, _Twice):
        return NotARow(f"“{value.name}” stands in it twice")
    if not isinstance(value, dict):
        return NotARow("it is no object")
    try:
        return list(_cells(value, "", 0))
    except ValueError as error:
        return NotARow(str(error))


def _cells(value: dict[str, Any], before: str, depth: int) -> Iterator[Cell]:
    for name, member in value.items():
        if isinstance(member, _Twice):
            raise ValueError(f"“{member.name}” stands in it twice")
        if isinstance(member, dict):
            if depth == MAX_NESTING:
                raise ValueError("nested too deeply")
            yield from _cells(member, f"{before}{name}.", depth + 1)
        elif isinstance(member, _Number):
            yield before + name, str(member), True
        elif isinstance(member, str):
            yield before + name, member, False
        elif isinstance(member, bool):
            yield before + name, "true" if member else "false", False
        else:
            yield before + name, "" if member is None else json.dumps(member, ensure_ascii=False, default=str), False
