"""How the commands speak: JSON or aligned text on standard output, progress and one clear block of error on the other.

Text from outside is cleaned before it reaches a terminal: no control characters, no bidirectional overrides. In JSON
they are escaped, so that nothing is lost: JSON itself lets most of them stand.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit codes: done; the hub or a check said no; the call or the set-up is wrong; nobody answered, ask again."""

_BIDI = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�")
_CONTROLS = {n: "�" for n in (*range(0x20), *range(0x7F, 0xA0)) if n not in (0x09, 0x0A)} | _BIDI


def clean(text: object, *, lines: bool = False) -> str:
    """`text` as it may stand on a terminal: what could move the cursor or turn the reading order is replaced."""
    cleaned = str(text).translate(_CONTROLS)
    return cleaned if lines else cleaned.replace("\n", " ").replace("\t", " ")


_ESCAPES = {n: f"\\u{n:04x}" for n in _CONTROLS}


def in_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON that may stand on a terminal."""
    return json.dumps(value, ensure_ascii=False, indent=indent).translate(_ESCAPES)


def say(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line on standard error: for people, never part of the result."""
    sys.stderr.write(text + "\n")


def answer(value: Any, text: str, as_json: bool) -> None:
    """`value` as JSON, or `text` for people."""
    say(in_json(value, indent=2) if as_json else text)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], empty: str = "none") -> str:
    """Rows under aligned headings, two spaces apart; `empty` when there are none."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if not cells:
        return f"({empty})"
    heads = [column.replace("_", " ").upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in [heads, *cells])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return clean(", ".join(f"{name} {count}" for name, count in value.items()) or "-")
    if isinstance(value, list | tuple):
        return clean(",".join(map(str, value)) or "-")
    return clean(value)


def colour() -> bool:
    """May standard output carry colours? Not in a pipe, and not under NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Progress(Protocol):
    def __call__(self, done: int) -> None:
        """So many more are done."""


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal; silence otherwise."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
