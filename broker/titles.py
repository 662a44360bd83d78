"""What schemas and code lists call things, in the reader's language; English where a title lacks.

Read from the files of this installation, without the `hub` extra: a member shows, checks and looks up with the base
installation. Names that come from a message are never made into a path; they are looked for among what there is.
Nothing is validated here: see `broker.language`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import countries, schemafiles, words
from broker.schemafiles import by_folder

LANGUAGES = ("en", "es", "fr", "pt")
COUNTRY = "iso3166-1-alpha-2"
WITHDRAWAL = "withdrawal"
DIGITS_MAX = 9
"""More digits than this are no version and no index, whatever a message says: reading a million of them takes a while."""
Schema = Mapping[str, Any]


def mapping(value: object) -> Mapping[str, Any]:
    """`value`, or an empty mapping where something else came."""
    return value if isinstance(value, Mapping) else {}


def best(titles: object, language: str) -> str | None:
    """The title in `language` ("es", "es-CL"), else in English."""
    found = mapping(titles)
    return found.get(language[:2]) or found.get("en")


# ── schemas ──


@by_folder
def kinds(folder: Path) -> tuple[tuple[str, str], ...]:
    """(kind, version) of every schema, versions in their order."""
    files = schemafiles.kind_files(folder)
    return tuple(sorted(((kind, version) for kind, version, _ in files), key=lambda one: (one[0], _number(one[1]))))


def _number(version: str) -> list[int]:
    return [int(part) if _is_number(part) else 0 for part in version.split(".")]


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= DIGITS_MAX


@by_folder
def schema(folder: Path, kind: str, version: str) -> Schema:
    """The schema of a kind with its shared parts copied in; empty if this installation lacks it."""
    for known, its, path in schemafiles.kind_files(folder):
        if (known, its) == (kind, version):
            return schemafiles.bundled(f"{kind}/{version}", schemafiles.read_json(path), schemafiles.parts(folder))
    return {}


@by_folder
def envelope(folder: Path) -> Schema:
    """The schema of the payload's frame."""
    return schemafiles.read_json(folder / "envelope" / "1.0.json")


def schema_of(payload: Mapping[str, Any]) -> Schema:
    """The schema that the body of `payload` follows: that of its kind, or of a withdrawal. Empty if unknown.

    Of a minor version that this installation lacks, the latest one of the same major version names what it knows.
    """
    header = mapping(payload.get("header"))
    kind, version = str(header.get("kind")), str(header.get("version"))
    if header.get("withdraws"):
        return schema(*[one for one in kinds() if one[0] == WITHDRAWAL][-1])
    if (kind, version) in kinds():
        return schema(kind, version)
    related = [one for one in kinds() if one[0] == kind and _number(one[1])[0] == _number(version)[0]]
    return schema(*related[-1]) if related else {}


def part_of(subschema: object) -> str:
    """The shared part that a subschema refers to, or nothing."""
    reference = str(mapping(subschema).get("$ref", ""))
    return reference.removeprefix(schemafiles.LOCAL) if reference.startswith(schemafiles.LOCAL) else ""


def resolved(root: Schema, subschema: object) -> Schema:
    """A subschema with what it refers to; its own annotations come first."""
    found = mapping(subschema)
    for _ in range(8):  # a part may be another part
        part = part_of(found)
        if not part:
            break
        own = {key: value for key, value in found.items() if key != "$ref"}
        found = {**mapping(mapping(root.get("$defs")).get(part)), **own}
    return found


def title(subschema: Schema, language: str) -> str | None:
    return best(subschema.get("x-title"), language)


def about(root: Schema, language: str) -> str:
    """What a kind is for, in a sentence without its full stop; nothing, if its schema does not say."""
    return best(root.get("x-about"), language) or ""


def part_title(root: Schema, part: str, language: str) -> str:
    """What a shared part is; its name, where it has no title."""
    return title(mapping(mapping(root.get("$defs")).get(part)), language) or part


def named(name: str) -> str:
    """A member's name as people read it, where it has no title."""
    return name.replace("_", " ").capitalize()


# ── fields of a message ──


def steps(root: Schema, path: Sequence[str]) -> Iterator[tuple[str, Schema]]:
    """Each step of a path into the body with the subschema it leads to; empty once the schema knows no further."""
    here: Schema = root
    for step in path:
        below = here.get("items") if step.isdecimal() and "items" in here else mapping(here.get("properties")).get(step)
        here = resolved(root, below)
        yield step, here


def at(root: Schema, pointer: str) -> Schema:
    """The subschema of a place in a payload (`/body/goods/0/hs`), `root` being that of the body; empty if unknown."""
    path = _path(pointer)
    found = steps(root, path[1:]) if path[:1] == ["body"] else steps(envelope(), path)
    return [{}, *(schema for _, schema in found)][-1]


def root_of(root: Schema, pointer: str) -> Schema:
    """The schema that a pointer into a payload is about: the body's, or the envelope's."""
    return root if _path(pointer)[:1] == ["body"] else envelope()


def field(root: Schema, pointer: str, language: str) -> str:
    """A place in a payload as people read it: "Goods 1 › Quantity › Unit"; empty for the whole."""
    path = _path(pointer)
    if path in (["header"], ["body"]):
        return words.PAGE[path[0]].in_(language)
    if path[:1] == ["header"]:
        return _joined(_header_titles(path[1:], language))
    if path[:1] != ["body"]:
        return _joined((step, None) for step in path)
    return _joined((step, title(found, language)) for step, found in steps(root, path[1:]))


def spoken(root: Schema, pointers: Iterable[str], language: str) -> str:
    """`language`, if these places are named in it from end to end; else English, so that no line mixes the two."""
    return language if all(_is_named(root, _path(pointer), language) for pointer in pointers) else "en"


def _is_named(root: Schema, path: Sequence[str], language: str) -> bool:
    if path in (["header"], ["body"]):
        return words.PAGE[path[0]].has(language)
    if path[:1] == ["header"]:
        return all(words.HEADER[key][0].has(language) for key in _header_keys(path[1:]) if key in words.HEADER)
    if path[:1] != ["body"]:
        return True
    titled = (mapping(found.get("x-title")) for step, found in steps(root, path[1:]) if not _is_number(step))
    return all(language[:2] in found for found in titled if found)


def _path(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _header_titles(path: Sequence[str], language: str) -> Iterator[tuple[str, str | None]]:
    for step, key in zip(path, _header_keys(path), strict=True):
        found = words.HEADER.get(key)
        yield step, found[0].in_(language) if found else None


def _header_keys(path: Sequence[str]) -> Iterator[str]:
    for end in range(1, len(path) + 1):
        yield "/".join("*" if one.isdecimal() else one for one in path[:end])


def _joined(parts: Iterator[tuple[str, str | None]]) -> str:
    said: list[str] = []
    for step, its in parts:
        if _is_number(step) and said:
            said[-1] += f" {int(step) + 1}"
        else:
            said.append(its or named(step))
    return " › ".join(said)


# ── code lists ──


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One code. `more`: the list's own further columns."""

    code: str
    titles: Mapping[str, str]
    aliases: tuple[str, ...]
    more: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CodeList:
    """A code list as its file has it. `head`: source, edition, date, policy."""

    name: str
    head: Mapping[str, str]
    rows: Mapping[str, CodeRow]


@by_folder
def codelists(folder: Path) -> tuple[str, ...]:
    """The names of all code lists."""
    return tuple(sorted(path.stem for path in (folder / "codelists").glob("*.csv")))


@by_folder
def codelist(folder: Path, name: str) -> CodeList:
    """A list by its name; an empty one if there is none of that name. Its form is checked where the hub loads it."""
    if name not in codelists():
        return CodeList(name, {}, {})
    lines = (folder / "codelists" / f"{name}.csv").read_text("utf-8").splitlines()
    head = (line.lstrip("# ").partition(":") for line in lines if line.startswith("#"))
    rows = csv.DictReader(line for line in lines if line.strip() and not line.startswith("#"))
    found = [_row({column: text or "" for column, text in row.items() if column}) for row in rows]
    return CodeList(
        name, {key.strip(): value.strip() for key, _, value in head}, {one.code: one for one in found if one.code}
    )


def _row(row: Mapping[str, str]) -> CodeRow:
    titles = {key.removeprefix("title_"): text for key, text in row.items() if key.startswith("title_") and text}
    more = {
        key: _several(text)
        for key, text in row.items()
        if key not in ("code", "aliases") and not key.startswith("title_")
    }
    return CodeRow(row.get("code", ""), titles, _several(row.get("aliases", "")), more)


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split("|")))


def code(name: str, value: str, language: str) -> str | None:
    """The title of a code in a list, if both are known."""
    row = codelist(name).rows.get(value)
    return best(row.titles, language) if row else None


def value(subschema: Schema, found: str, language: str) -> str | None:
    """The title of a value in its place: of a code, of a country, or of a word of an `enum`."""
    return best(value_titles(subschema, found), language)


def value_titles(subschema: Schema, found: str) -> Mapping[str, str]:
    """The same in every language that it has a title in."""
    if "x-codelist" in subschema:
        row = codelist(str(subschema["x-codelist"])).rows.get(found)
        return row.titles if row else {}
    if subschema.get("format") == COUNTRY:
        names = {tongue: countries.name(found, tongue) for tongue in LANGUAGES}
        return {tongue: name for tongue, name in names.items() if name}
    return mapping(mapping(subschema.get("x-words")).get(found))
