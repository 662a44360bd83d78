"""A message as a page of text to read: its TLP marking on top and bottom, words from the schemas, nothing left out.

Values are the sender's: they are cleaned before they are shown, and a code is followed by its title where the list is
at hand. The schemas are those of this installation; a kind that it does not know is shown by its member names.
Nothing is verified here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from broker import jws, strictjson
from broker.commands.speak import clean

WIDTH = 96
LABEL = 26
_ANSI = {
    "RED": "\x1b[1;91;40m",
    "AMBER": "\x1b[1;93;40m",
    "AMBER+STRICT": "\x1b[1;93;40m",
    "GREEN": "\x1b[1;92;40m",
    "CLEAR": "\x1b[1;97;40m",
}
"""TLP 2.0 §2: red, amber, green and white on black."""

WORDS = {
    "en": {
        "status": "Status", "event_at": "Time of the event", "originator": "From", "priority": "Priority", "case": "Case",
        "grading": "Grading", "release": "Released to", "supersedes": "Supersedes", "withdraws": "Withdraws",
        "in_reply_to": "In reply to", "references": "References", "expires_at": "Expires", "acknowledge_by": "Acknowledge by",
        "legal_basis": "Legal basis", "caveats": "Caveats", "everybody": "everybody whom its marking allows", "but": "but not",
        "group": "group", "holders": "whoever holds what it withdraws", "exercise": "*** EXERCISE, NOT REAL ***",
        "test": "*** TEST, NOT REAL ***", "language": "Language", "yes": "yes", "no": "no", "state": "State at the hub",
    },
    "es": {
        "status": "Estado", "event_at": "Momento del hecho", "originator": "De", "priority": "Prioridad", "case": "Caso",
        "grading": "Evaluación", "release": "Difusión a", "supersedes": "Reemplaza a", "withdraws": "Retira",
        "in_reply_to": "En respuesta a", "references": "Referencias", "expires_at": "Vence", "acknowledge_by": "Acusar recibo hasta",
        "legal_basis": "Base legal", "caveats": "Reservas", "everybody": "todos a quienes su marca lo permite", "but": "excepto",
        "group": "grupo", "holders": "quienes tienen lo que retira", "exercise": "*** EJERCICIO, NO ES REAL ***",
        "test": "*** PRUEBA, NO ES REAL ***", "language": "Idioma", "yes": "sí", "no": "no", "state": "Estado en el centro",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whom the page is for, and the schema that its words come from."""

    language: str
    words: Mapping[str, str]
    schema: Mapping[str, Any]

    def title(self, schema: Mapping[str, Any]) -> str | None:
        titles = _mapping(schema.get("x-title"))
        return titles.get(self.language) or titles.get("en")

    def resolved(self, value: object) -> Mapping[str, Any]:
        """A subschema with what it refers to; its own annotations come first."""
        schema = _mapping(value)
        reference = str(schema.get("$ref", ""))
        if not reference.startswith("#/$defs/"):
            return schema
        return {**_mapping(_mapping(self.schema.get("$defs")).get(reference.removeprefix("#/$defs/"))), **schema}


def read_payload(octets: bytes) -> dict[str, Any]:
    """The payload in a signed message (compact, flattened) or a payload itself. Raises Malformed, SignatureRefused."""
    body = octets.strip()
    if body[:1] == b"{":
        value = strictjson.parse_object(body, max_bytes=jws.MAX_TOKEN_BYTES)
        if value.keys() != {"protected", "payload", "signature"}:
            return value
        body = jws.compact_of(value)
    return jws.claims(jws.read(body, typ=jws.TYP_MESSAGE))


def page(payload: Mapping[str, Any], language: str = "en", *, state: str | None = None, colour: bool = False) -> str:
    """The page; ends without a newline."""
    tongue = language[:2]
    words = WORDS.get(tongue, WORDS["en"])
    header = _mapping(payload.get("header"))
    tlp = clean(_mapping(header.get("handling")).get("tlp", "?"))
    marking = f" TLP:{tlp} "
    painted = f"{_ANSI.get(tlp, '')}{marking}\x1b[0m" if colour and tlp in _ANSI else marking
    rule = "─" * ((WIDTH - len(marking)) // 2)
    band = f"{rule}{painted}{rule}"

    kind = clean(header.get("kind", "?"))
    schema = _schema("withdrawal" if header.get("withdraws") else kind, str(header.get("version")))
    reader = _Reader(tongue, words, schema)
    title = reader.title(schema) or kind
    lines = [band, f"{clean(header.get('originator', '?'))}:{clean(header.get('id', '?'))}   {title}"]
    if header.get("status") in ("exercise", "test"):
        lines.append(words[header["status"]])
    lines.append("")
    if state is not None:
        lines += _pair(words["state"], clean(state), 0)
    lines += _header(header, words)
    lines.append("")
    lines += _members(_mapping(payload.get("body")), schema, reader, 0)
    return "\n".join([*lines, "", band])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _header(header: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    for name in (
        "originator",
        "status",
        "event_at",
        "priority",
        "case",
        "supersedes",
        "withdraws",
        "in_reply_to",
        "references",
    ):
        if header.get(name):
            yield from _pair(words[name], _plain(header[name], words), 0)
    grading = _mapping(header.get("grading"))
    if grading:
        yield from _pair(
            words["grading"], " ".join(clean(grading.get(n, "")) for n in ("source", "information", "scheme")), 0
        )
    handling = _mapping(header.get("handling"))
    yield from _pair(words["release"], _release(handling.get("release"), words), 0)
    for name, held in (
        ("caveats", handling),
        ("expires_at", header),
        ("acknowledge_by", header),
        ("legal_basis", header),
    ):
        if held.get(name):
            yield from _pair(words[name], _plain(held[name], words), 0)


def _release(value: object, words: Mapping[str, str]) -> str:
    if value is None:
        return words["holders"]
    release = _mapping(value)
    named = []
    for entry in release.get("to") or ():
        duties = ", ".join(map(clean, _mapping(entry).get("duties") or ()))
        named.append(clean(_mapping(entry).get("member", "?")) + (f" ({duties})" if duties else ""))
    named += [f"{words['group']} {clean(group)}" for group in release.get("groups") or ()]
    if release.get("all"):
        named.append(words["everybody"])
    text = "; ".join(named) or "-"
    excepted = ", ".join(map(clean, release.get("except") or ()))
    return f"{text} — {words['but']} {excepted}" if excepted else text


def _plain(value: object, words: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return words["yes"] if value else words["no"]
    if isinstance(value, list):
        return ", ".join(clean(item) for item in value)
    return clean(value, lines=True)


def _members(held: Mapping[str, Any], schema: Mapping[str, Any], reader: _Reader, depth: int) -> Iterator[str]:
    known = _mapping(schema.get("properties"))
    for name, value in held.items():
        yield from _member(clean(name), value, reader.resolved(known.get(name)), reader, depth)


def _member(name: str, value: Any, schema: Mapping[str, Any], reader: _Reader, depth: int) -> Iterator[str]:
    label = reader.title(schema) or name.replace("_", " ").capitalize()
    items = reader.resolved(schema.get("items"))
    if isinstance(value, Mapping):
        yield f"{'  ' * depth}{label}"
        yield from _members(value, schema, reader, depth + 1)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, 1):
            yield f"{'  ' * depth}{label} {number}"
            yield from _members(item if isinstance(item, Mapping) else {"?": item}, items, reader, depth + 1)
    elif isinstance(value, list):
        yield from _pair(label, ", ".join(_coded(item, items, reader) for item in value), depth)
    else:
        yield from _pair(label, _coded(value, schema, reader), depth)


def _coded(value: Any, schema: Mapping[str, Any], reader: _Reader) -> str:
    text = _plain(value, reader.words)
    titles = _codes(str(schema.get("x-codelist", ""))).get(str(value), {}) if isinstance(value, str) else {}
    title = titles.get(reader.language) or titles.get("en")
    return f"{title} [{text}]" if title and title != text else text


def _pair(label: str, text: str, depth: int) -> Iterator[str]:
    """A label and its text, wrapped under it."""
    from textwrap import wrap

    indent = "  " * depth
    room = max(WIDTH - LABEL - len(indent), 30)
    first, *more = [piece for line in (text.splitlines() or [""]) for piece in (wrap(line, room) or [""])]
    head = f"{indent}{label:<{LABEL}}"
    yield f"{head if len(label) < LABEL else indent + label + '  '}{first}".rstrip()
    for piece in more:
        yield f"{indent}{'':<{LABEL}}{piece}"


def _folder() -> Path:
    """`broker/_schemas` in an installed wheel, `schemas/` in the repository."""
    package = Path(__file__).resolve().parent
    return package / "_schemas" if (package / "_schemas").is_dir() else package.parent / "schemas"


@cache
def _schema(kind: str, version: str) -> Mapping[str, Any]:
    """The schema of a kind, or nothing: names from a message are never made into a path, they are looked for."""
    for path in _folder().glob("messages/*/*.json"):
        if path.parent.name == kind and path.stem == version:
            return _mapping(json.loads(path.read_text("utf-8")))
    return {}


@cache
def _codes(name: str) -> Mapping[str, Mapping[str, str]]:
    for path in _folder().glob("codelists/*.csv"):
        if path.stem == name:
            rows = csv.DictReader(line for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
            return {
                row["code"]: {tag: row.get(f"title_{tag}") or "" for tag in ("en", "es")}
                for row in rows
                if row.get("code")
            }
    return {}
