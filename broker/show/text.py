"""A message as a page of text: its TLP marking on top and bottom, words from the schemas, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from broker import titles
from broker.commands.speak import clean
from broker.show import answers, tree
from broker.show.tree import Entry, Reader
from broker.titles import mapping

WIDTH = 96
LABEL = 26
ONE_LINE = 40
"""Values of a list that are longer stand on a line each."""
_ANSI = {
    "RED": "\x1b[1;91;40m",
    "AMBER": "\x1b[1;93;40m",
    "AMBER+STRICT": "\x1b[1;93;40m",
    "GREEN": "\x1b[1;92;40m",
    "CLEAR": "\x1b[1;97;40m",
}
"""TLP 2.0 §2: red, amber, green and white on black."""


def page(
    payload: Mapping[str, Any], language: str = "en", *, answer: Mapping[str, Any] | None = None, colour: bool = False
) -> str:
    """The page; ends without a newline. `answer`: what the hub said about the message, if it was asked."""
    header = mapping(payload.get("header"))
    tlp = clean(mapping(header.get("handling")).get("tlp", "?"))
    marking = f" TLP:{tlp} "
    painted = f"{_ANSI.get(tlp, '')}{marking}\x1b[0m" if colour and tlp in _ANSI else marking
    rule = "─" * ((WIDTH - len(marking)) // 2)
    band = f"{rule}{painted}{rule}"

    reader = Reader(language[:2], titles.schema_of(payload))
    title = titles.title(reader.schema, reader.language) or clean(header.get("kind", "?"))
    lines = [band, f"{clean(header.get('originator', '?'))}:{clean(header.get('id', '?'))}   {title}"]
    if header.get("status") in ("exercise", "test"):
        lines.append(reader.word(header["status"]))
    lines.append("")
    if answer is not None:
        lines += _pairs(answers.facts(answer, reader))
    lines += _pairs(tree.header(payload, reader))
    lines.append("")
    for entry in tree.body(payload, reader):
        lines += _entry(entry, reader, 0)
    if answer is not None:
        for heading, found in answers.lists(answer, reader):
            lines += ["", heading]
            lines += [
                piece for line in found for piece in wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ")
            ]
    return "\n".join([*lines, "", band])


def _pairs(pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    for label, text in pairs:
        yield from _pair(label, text, 0)


def _entry(entry: Entry, reader: Reader, depth: int, number: str = "") -> Iterator[str]:
    label = entry.label + number
    if not entry.entries:
        yield from _pair(label, _said(entry, reader), depth)
    elif not entry.listed:
        yield f"{'  ' * depth}{label}"
        for one in entry.entries:
            yield from _entry(one, reader, depth + 1)
    elif all(not one.entries for one in entry.entries):
        yield from _values(entry, reader, depth)
    else:
        for count, one in enumerate(entry.entries, 1):
            yield f"{'  ' * depth}{label} {count}"
            for below in one.entries or (one,):
                yield from _entry(below, reader, depth + 1)


def _values(entry: Entry, reader: Reader, depth: int) -> Iterator[str]:
    """A list of values: codes and numbers on one line, sentences and legs on a line each."""
    said = [_said(one, reader) for one in entry.entries]
    if entry.part != "leg" and all(len(one) <= ONE_LINE for one in said):
        yield from _pair(entry.label, ", ".join(said), depth)
        return
    for count, one in enumerate(said, 1):
        yield from _pair(entry.label if count == 1 else "", f"{count}. {one}" if len(said) > 1 else one, depth)


def _said(entry: Entry, reader: Reader) -> str:
    if entry.standing in ("confirmed", "unconfirmed"):
        return f"{entry.said}  {'✓' if entry.standing == 'confirmed' else '?'} {reader.word(entry.standing)}"
    if entry.standing and entry.part != "standing":
        return f"{entry.said} ({tree.standing(entry.standing, reader)})"
    return entry.said


def _pair(label: str, text: str, depth: int) -> Iterator[str]:
    """A label and its text, wrapped under it."""
    indent = "  " * depth
    room = max(WIDTH - LABEL - len(indent), 30)
    first, *more = [piece for line in (text.splitlines() or [""]) for piece in (wrap(line, room) or [""])]
    head = f"{indent}{label:<{LABEL}}"
    yield f"{head if len(label) < LABEL else indent + label + '  '}{first}".rstrip()
    for piece in more:
        yield f"{indent}{'':<{LABEL}}{piece}"
