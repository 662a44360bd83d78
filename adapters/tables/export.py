"""Messages → rows in the shape of a mapping: what a national system or CEN's spreadsheet wants.

What the mapping cannot carry is counted by place and told at the end. A marking or release without a column of its own
is always told: a spreadsheet without it forgets who may see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from adapters.tables.extract import HANDLING, extract
from adapters.tables.files import Cell, Workbook, WriteRow, check_ending, csv_rows, replacing
from adapters.tables.mapping import TableMapping
from adapters.tables.sources import Message


@dataclass
class Exported:
    """What was written and what was not. `lost`, `added`: place -> messages; `markings`: TLP -> messages whose marking or
    release is not in the table; `unencodable`: rows with characters that the table's encoding lacks."""

    rows: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    markings: Counter[str] = field(default_factory=Counter)
    unencodable: int = 0


async def export(mapping: TableMapping, messages: AsyncIterator[Message], path: Path, done: Exported) -> None:
    """Write every message as a row of `path` (.csv, .xlsx), whole or not at all. Raises SetupRefused."""
    check_ending(path)
    with replacing(path) as temporary, ExitStack() as stack:
        write = (
            _csv(stack, temporary, mapping, done) if path.suffix.lower() == ".csv" else _xlsx(stack, temporary, mapping)
        )
        for _ in range(mapping.style.header_row - 1):
            write([])
        write(list(mapping.headings.values()))
        async for message in messages:
            found = extract(mapping, message.payload)
            write([found.cells.get(label, "") for label in mapping.headings])
            done.rows += 1
            done.lost.update(set(found.lost))
            done.added.update(set(found.added))
            if any(place.startswith(HANDLING) for place in found.lost):
                done.markings[str(message.header.get("handling", {}).get("tlp"))] += 1


def _csv(stack: ExitStack, path: Path, mapping: TableMapping, done: Exported) -> WriteRow:
    encoding = mapping.style.encoding
    file = stack.enter_context(path.open("w", encoding=encoding, errors="replace", newline=""))
    write = stack.enter_context(csv_rows(file, mapping.style.delimiter))

    def row(cells: Sequence[Cell]) -> None:
        text = "".join(map(str, cells))
        if text.encode(encoding, "replace").decode(encoding, "replace") != text:
            done.unencodable += 1
        write(cells)

    return row


def _xlsx(stack: ExitStack, path: Path, mapping: TableMapping) -> WriteRow:
    book = Workbook()
    sheet = book.sheet(
        mapping.style.sheet or mapping.name, [18] * len(mapping.headings), freeze=f"A{mapping.style.header_row + 1}"
    )
    stack.callback(book.save, path)
    return lambda cells: book.row(sheet, cells)
