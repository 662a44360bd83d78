"""A message as one page of HTML: nothing but itself, to look at, to print and to pass on.

The page runs nothing and asks for nothing: no script, no address outside it, and a Content-Security-Policy that would
stop both. Whatever the message says is escaped and isolated from the direction of the text around it. The marking
stands on the screen above and below, and on every printed page.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from broker import titles, words
from broker.commands.speak import clean
from broker.show import answers, tree
from broker.show.style import STYLE
from broker.show.tree import Entry, Reader
from broker.titles import mapping

COLUMNS_MAX = 5
"""A table has no more columns; what else a line says stands below it."""
SHORT = 24
"""Values of a list that are all as short as this, in characters, stand beside each other."""
MARKINGS = ("RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR")


def document(payload: Mapping[str, Any], language: str = "en", *, answer: Mapping[str, Any] | None = None) -> str:
    """The page. `answer`: what the hub said about the message, if it was asked."""
    header = mapping(payload.get("header"))
    tongue = language[:2] if language[:2] in words.LANGUAGES else "en"
    reader = Reader(tongue, titles.schema_of(payload))
    title = titles.title(reader.schema, tongue) or clean(header.get("kind", "?"))
    address = clean(f"{header.get('originator', '?')}:{header.get('id', '?')}")
    tlp = clean(mapping(header.get("handling")).get("tlp", "?"))
    colour = tlp.lower().replace("+", "-") if tlp in MARKINGS else "unknown"
    style_hash = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'"
    marking = f'<strong class="tlp {colour}">TLP:{escape(tlp)}</strong>'
    facts = [*tree.header(payload, reader), *(answers.facts(answer, reader) if answer is not None else ())]
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="{tongue}">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>TLP:{escape(tlp)} {escape(address)} {escape(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        f'<div class="band top">{marking}</div>',
        '<div class="sheet"><div class="spacer head"></div><main>',
        f"<h1>{escape(title)}</h1>",
        f'<p class="address"><bdi>{escape(address)}</bdi></p>',
    ]
    if header.get("status") in ("exercise", "test"):
        lines.append(f'<p class="unreal">{escape(reader.word(header["status"]))}</p>')
    lines.append(f"<section><h2>{escape(reader.word('header'))}</h2>{_facts(facts)}</section>")
    lines += _body(tree.body(payload, reader), reader, tree.language_of(payload))
    if answer is not None:
        for heading, found in answers.lists(answer, reader):
            rows = "".join(f"<li><bdi>{escape(line)}</bdi></li>" for line in found)
            lines.append(f"<section><h2>{escape(heading)}</h2><ul>{rows}</ul></section>")
    lines += [
        f'<p class="foot">{_marked_up(reader.word("unverified"))}</p>',
        '</main><div class="spacer tail"></div></div>',
        f'<div class="band bottom">{marking}</div>',
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td><bdi>{escape(text)}</bdi></td></tr>' for label, text in facts
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _marked_up(text: str) -> str:
    """Our own words, in which backticks mark a command."""
    return "".join(f"<code>{escape(p)}</code>" if n % 2 else escape(p) for n, p in enumerate(text.split("`")))


# ── the body ──


def _body(entries: Sequence[Entry], reader: Reader, language: str) -> Iterator[str]:
    """What is single first, then a section for each group and table; what is nominal comes last, and says so."""
    single = [one for one in entries if not one.nominal and not _needs_room(one)]
    if single:
        yield f"<section><h2>{escape(reader.word('report'))}</h2>{_values(single, reader, language)}</section>"
    for one in sorted(entries, key=lambda one: one.nominal):
        if one.nominal:
            warning = f'<p class="warning">{escape(reader.word("nominal"))}</p>'
            inside = _inside(Entry("", "", entries=(one,)) if not one.entries else one, reader, language, 3)
            yield f'<section class="nominal"><h2>{escape(one.label)}</h2>{warning}{inside}</section>'
        elif _needs_room(one):
            yield f"<section><h2>{escape(one.label)}</h2>{_inside(one, reader, language, 3)}</section>"


def _inside(entry: Entry, reader: Reader, language: str, level: int) -> str:
    """What a group or a list holds."""
    if entry.listed:
        return _list(entry, reader, language, level)
    singles = [one for one in entry.entries if not _needs_room(one)]
    parts = [_values(singles, reader, language)] if singles else []
    for one in entry.entries:
        if _needs_room(one):
            tag = f"h{min(level, 6)}"
            heading = f"<{tag}>{escape(one.label)}</{tag}>" if one.label else ""
            parts.append(heading + _inside(one, reader, language, level + bool(heading)))
    return "".join(parts)


def _needs_room(entry: Entry) -> bool:
    return any(one.entries or one.part == "leg" for one in entry.entries) or (bool(entry.entries) and not entry.listed)


def _values(entries: Sequence[Entry], reader: Reader, language: str) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.label)}</th><td>{_cell(one, reader, language)}</td></tr>' for one in entries
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _list(entry: Entry, reader: Reader, language: str, level: int) -> str:
    if entry.part == "leg":
        legs = (
            _leg(one, reader)
            if one.standing
            else f"<li>{_inside(Entry('', '', entries=(one,)), reader, language, level)}</li>"
            for one in entry.entries
        )
        return f'<ol class="route">{"".join(legs)}</ol>'
    if any(one.entries for one in entry.entries):
        return _table(entry.entries, reader, language, level)
    return _cell(entry, reader, language)


def _leg(entry: Entry, reader: Reader) -> str:
    sign = "✓" if entry.standing == "confirmed" else "?"
    mark = f'<span class="mark">{sign} {escape(reader.word(entry.standing))}</span>'
    return f'<li class="{entry.standing}"><bdi>{escape(entry.said)}</bdi> {mark}</li>'


def _table(rows: Sequence[Entry], reader: Reader, language: str, level: int) -> str:
    """A row for each object of a list: columns for what is single, and below the row whatever needs more room."""
    columns: dict[str, str] = {}
    for row in rows:
        for one in () if row.listed else row.entries:
            if not _needs_room(one) and len(columns) < COLUMNS_MAX:
                columns.setdefault(one.name, one.label)
    heads = "".join(f'<th scope="col">{escape(label)}</th>' for label in columns.values())
    lines = [f'<table class="rows"><thead><tr><th scope="col">#</th>{heads}</tr></thead>']
    for number, row in enumerate(rows, 1):
        members = () if row.listed else row.entries
        held = {one.name: one for one in members}
        cells = "".join(f"<td>{_cell(held[n], reader, language) if n in held else ''}</td>" for n in columns)
        rest = tuple(one for one in members if one.name not in columns) if members else (row,)
        below = ""
        if rest:
            inside = _inside(Entry("", "", entries=rest), reader, language, level)
            below = f'<tr class="below"><td></td><td colspan="{max(len(columns), 1)}">{inside}</td></tr>'
        lines.append(f'<tbody><tr><th scope="row">{number}</th>{cells}</tr>{below}</tbody>')
    return "".join([*lines, "</table>"])


def _cell(entry: Entry, reader: Reader, language: str) -> str:
    """A value, or a list of values."""
    if entry.listed:
        items = "".join(f"<li>{_cell(one, reader, language)}</li>" for one in entry.entries)
        short = " short" if all(len(one.said) <= SHORT and not one.title for one in entry.entries) else ""
        return f'<ul class="values{short}">{items}</ul>'
    if entry.part == "standing":
        return f'<span class="standing {entry.standing}">{escape(entry.text)}</span>'
    tongue = f' lang="{language}"' if entry.free and language else ""
    said = f'<bdi{tongue} dir="auto">{escape(entry.title or entry.text)}</bdi>'
    if entry.title and entry.title != entry.text:
        said += f' <code class="code">{escape(entry.text)}</code>'
    if entry.standing:
        said += f' <span class="standing {entry.standing}">{escape(tree.standing(entry.standing, reader))}</span>'
    return said
