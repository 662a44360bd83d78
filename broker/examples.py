"""The example payloads of this installation, `schemas/examples`: by kind and heading, and which value a field has there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from broker import schemafiles, titles
from broker.schemafiles import by_folder
from broker.titles import Schema, mapping

Payload = dict[str, Any]


@by_folder
def payloads(folder: Path) -> Mapping[str, Payload]:
    """File name without its ending -> payload, in the order of the names."""
    return {path.stem: schemafiles.read_json(path) for path in sorted((folder / "examples").glob("*.json"))}


def text(name: str) -> str:
    """An example as its file has it, without the last line's end."""
    return (schemafiles.folder() / "examples" / f"{name}.json").read_text("utf-8").rstrip("\n")


def kind_of(payload: Mapping[str, Any]) -> str:
    """The kind of the body: a withdrawal has one of its own, whatever its header says."""
    header = mapping(payload.get("header"))
    return titles.WITHDRAWAL if header.get("withdraws") else str(header.get("kind"))


def kinds() -> list[str]:
    return sorted({kind_of(payload) for payload in payloads().values()})


def of_kind(kind: str, heading: str | None = None) -> list[tuple[str, Payload]]:
    """(name, payload) of every example of a kind, real ones first; `heading`: with goods of it."""
    found = [(name, one) for name, one in payloads().items() if kind_of(one) == kind]
    if heading is not None:
        found = [(name, one) for name, one in found if heading in headings(one)]
    return sorted(found, key=lambda one: mapping(one[1]["header"]).get("status") != "actual")


def headings(payload: Mapping[str, Any]) -> set[str]:
    """Every value of the body that routes by heading."""
    return set(_routed(titles.schema_of(payload), titles.schema_of(payload), payload.get("body")))


def _routed(root: Schema, schema: Schema, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _routed(root, titles.resolved(root, mapping(schema.get("properties")).get(name)), item)
    elif isinstance(value, list):
        for item in value:
            yield from _routed(root, titles.resolved(root, schema.get("items")), item)
    elif schema.get("x-route") == "heading":
        yield str(value)


# ── values, for the reference ──


@by_folder
def values(_folder: Path) -> Mapping[tuple[str, str], Any]:
    """(kind or shared part, pointer in it with `*` for an index) -> the first value that an example gives it."""
    found: dict[tuple[str, str], Any] = {}
    for payload in payloads().values():
        root = titles.schema_of(payload)
        _take(root, root, payload["body"], [(kind_of(payload), "")], found)
        _take(titles.envelope(), titles.envelope(), {"header": payload["header"]}, [("envelope", "")], found)
    return found


def _take(
    root: Schema, schema: Schema, value: Any, owners: list[tuple[str, str]], found: dict[tuple[str, str], Any]
) -> None:
    """`owners`: everything that `value` is a place of, with its pointer there."""
    for owner in owners:
        found.setdefault(owner, value)
    below = (
        [(name, mapping(schema.get("properties")).get(name), item) for name, item in value.items()]
        if isinstance(value, Mapping)
        else [("*", schema.get("items"), item) for item in value]
        if isinstance(value, list)
        else []
    )
    for step, subschema, item in below:
        part = titles.part_of(subschema)
        inner = [(owner, f"{pointer}/{step}") for owner, pointer in owners] + ([(part, "")] if part else [])
        _take(root, titles.resolved(root, subschema), item, inner, found)
