"""The payload while it is put together: members by name, items of arrays by number, closed up in the end.

And the way back: from a place in the finished payload to the columns that feed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from adapters.tables.mapping import Step, Steps, pointer

Path = tuple[str | tuple[int, int], ...]
"""Steps with (number, piece) for the items of arrays; `piece` counts what `each` repeats."""


class Feed(NamedTuple):
    """A place, the labels of the columns that give it (none: the mapping itself), and whether they were blank."""

    place: str
    columns: tuple[str, ...]
    blank: bool


@lru_cache(4096)
def path_of(steps: Steps, piece: int) -> Path:
    """`piece` belongs to the last number."""
    last = max((index for index, step in enumerate(steps) if isinstance(step, int)), default=-1)
    return tuple(
        (step, piece if index == last else 0) if isinstance(step, int) else step for index, step in enumerate(steps)
    )


def set_at(tree: dict[Any, Any], path: Path, value: Any) -> None:
    """The first that gives a value counts."""
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree.setdefault(path[-1], value if not isinstance(value, dict) else Whole(value))


class Whole(dict[str, Any]):
    """An object that the mapping put as a whole: nothing in it is an item to be closed up."""


def finished(tree: Any, path: Path, indexes: dict[Path, int]) -> Any:
    if isinstance(tree, Whole):
        return dict(tree)
    if not isinstance(tree, dict):
        return tree
    if any(isinstance(step, tuple) for step in tree):
        items = sorted(tree.items(), key=lambda entry: entry[0])
        indexes.update({(*path, step): index for index, (step, _) in enumerate(items)})
        return [finished(item, (*path, step), indexes) for step, item in items]
    return {name: finished(member, (*path, name), indexes) for name, member in tree.items()}


def place_of(path: Path, indexes: Mapping[Path, int]) -> str:
    """The pointer of a path in the finished payload; what is in an item that is not there points to the array."""
    steps: list[Step] = []
    for length, step in enumerate(path, 1):
        if isinstance(step, tuple):
            index = indexes.get(path[:length])
            if index is None:
                break
            steps.append(index)
        else:
            steps.append(step)
    return pointer(tuple(steps))


def columns_of(place: str, feeds: tuple[Feed, ...]) -> tuple[tuple[str, ...], bool]:
    """The columns that feed the value at `place`, what is below it, or else what it is nearest within; and whether the
    mapping itself set it. Of alternatives the one that was given counts; of header or body as a whole nobody is told."""
    if place.count("/") < 2:
        return (), False
    below = [feed for feed in feeds if feed.place == place or feed.place.startswith(place + "/")]
    if below:
        given = [feed for feed in below if not feed.blank] or below
        columns = dict.fromkeys(column for feed in given for column in feed.columns)
        return tuple(columns), not columns
    above = [feed for feed in feeds if place.startswith(feed.place + "/")]
    if above:
        nearest = max(above, key=lambda feed: len(feed.place))
        return nearest.columns, not nearest.columns
    return (), False
