"""`table:` of a mapping: how the file is read, and which time zone its local times are in."""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import Any

from adapters.tables.codes import folded
from adapters.tables.dates import FormatRefused, read_zone
from adapters.tables.rows import FORMATS
from adapters.tables.table import Style
from adapters.tables.words import Words
from adapters.tables.yaml_tree import Node

TABLE = ("format", "encoding", "delimiter", "sheet", "header_row", "blank", "decimal", "thousands", "time_zone")


def read_style(words: Words, node: Node | None) -> tuple[Style, tzinfo | None]:
    """The style and the zone; what is left out is as usual. Raises MappingRefused."""
    if node is None:
        return Style(), None
    given = words.members(node, TABLE, "table").members
    made: dict[str, Any] = {}
    zone: tzinfo | None = None
    for key in ("encoding", "sheet", "decimal", "thousands"):
        if key in given:
            made[key] = words.word(given[key], key)
    if "format" in given:
        made["format"] = words.one_of(given["format"], FORMATS, "format")
    if "delimiter" in given:
        text = words.word(given["delimiter"], "delimiter")
        made["delimiter"] = "\t" if text in ("tab", "\\t") else text
        if len(made["delimiter"]) != 1 or made["delimiter"] in '"\r\n\0':
            raise words.no(
                given["delimiter"], "delimiter is a single character, or tab; not a quote or the end of a line."
            )
    if "header_row" in given:
        text = words.word(given["header_row"], "header_row")
        if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
            raise words.no(given["header_row"], "header_row is the number of a row, from 1.")
        made["header_row"] = int(text)
    if "blank" in given:
        made["blank"] = frozenset(folded(word) for word in words.words(given["blank"], "blank"))
    try:
        b"".decode(made.get("encoding", "utf-8"), "surrogateescape")
        "x".encode(made.get("encoding", "utf-8"), "surrogateescape")
    except (LookupError, ValueError):
        raise words.no(given["encoding"], f"“{made['encoding']}” is no encoding; utf-8 or cp1252 would be.") from None
    decimal, thousands = made.get("decimal", "."), made.get("thousands", "")
    if (
        len(decimal) != 1
        or len(thousands) > 1
        or decimal == thousands
        or any(ch.isalnum() or ch in "+-" for ch in decimal + thousands)
    ):
        raise words.no(node, "decimal and thousands are one character each, no letters or digits, and not the same.")
    if "time_zone" in given:
        try:
            zone = read_zone(words.word(given["time_zone"], "time_zone"))
        except FormatRefused as error:
            raise words.no(given["time_zone"], f"time_zone “{words.word(given['time_zone'], '')}” {error}.") from None
    return Style(**made), zone
