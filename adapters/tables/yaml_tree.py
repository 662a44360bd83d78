"""YAML as a tree that knows its lines, and guesses nothing: every scalar is its text.

Refuses what a mapping never needs and what surprises people: duplicate keys, tags, merge keys, more nodes than a large
mapping has (an alias counts each time it is used). No value is ever constructed, so that `NO` stays Norway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from broker.errors import SetupRefused

MAX_BYTES = 2_000_000
MAX_NODES = 100_000
MAX_DEPTH = 24
PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value")
)
WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})")

Constant = str | int | bool | None | list["Constant"] | dict[str, "Constant"]


class MappingRefused(SetupRefused):
    """A mapping that cannot be meant so: one sentence, with the file and the line."""


@dataclass(frozen=True)
class Scalar:
    text: str
    quoted: bool
    line: int


@dataclass(frozen=True)
class Items:
    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True)
class Members:
    """`lines`: where each key stands."""

    members: dict[str, Node]
    lines: dict[str, int]
    line: int


Node = Scalar | Items | Members


def refuse(name: str, line: int, sentence: str) -> MappingRefused:
    return MappingRefused(detail=f"{name}, line {line}: {sentence}")


def read_yaml(octets: bytes, name: str) -> Node:
    """The document in `octets`; `name` is the file's, for what is said. Raises MappingRefused."""
    if len(octets) > MAX_BYTES:
        raise MappingRefused(detail=f"{name} is larger than {MAX_BYTES} bytes: is this a mapping?")
    try:
        found = yaml.compose(octets.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise MappingRefused(detail=f"{name} is not UTF-8 (octet {error.start}).") from None
    except yaml.YAMLError as error:
        raise _unreadable(name, error) from None
    except RecursionError:
        raise MappingRefused(detail=f"{name} is nested too deeply.") from None
    if found is None:
        raise MappingRefused(detail=f"{name} is empty.")
    return _Reader(name).node(found, 0)


def constant(node: Node) -> Constant:
    """What a node says as a value: plain `true`, `false`, `null` and whole numbers are meant so, all else is text."""
    if isinstance(node, Items):
        return [constant(item) for item in node.items]
    if isinstance(node, Members):
        return {name: constant(member) for name, member in node.members.items()}
    if node.quoted:
        return node.text
    if node.text in ("true", "false"):
        return node.text == "true"
    if node.text in ("", "null", "~"):
        return None
    return int(node.text) if WHOLE_NUMBER.fullmatch(node.text) else node.text


def scalars(node: Node) -> Iterator[Scalar]:
    """The scalars of a list, or the one that stands for a list of one."""
    for item in node.items if isinstance(node, Items) else (node,):
        if isinstance(item, Scalar):
            yield item


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = 0

    def node(self, found: Any, depth: int) -> Node:
        line = found.start_mark.line + 1
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise refuse(self._name, line, "more is nested here than any mapping needs.")
        if found.tag not in PLAIN_TAGS:
            raise refuse(
                self._name, line, f"the tag {found.tag.removeprefix('tag:yaml.org,2002:')} is not used in mappings."
            )
        if isinstance(found, yaml.ScalarNode):
            return Scalar(found.value, found.style is not None, line)
        if isinstance(found, yaml.SequenceNode):
            return Items(tuple(self.node(item, depth + 1) for item in found.value), line)
        members: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in found.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                raise refuse(self._name, at, "a key is a single word or text here.")
            if key.value in members:
                raise refuse(self._name, at, f"“{key.value}” stands here twice (first in line {lines[key.value]}).")
            members[key.value], lines[key.value] = self.node(value, depth + 1), at
        return Members(members, lines, line)


def _unreadable(name: str, error: yaml.YAMLError) -> MappingRefused:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is None:
        return MappingRefused(detail=f"{name} is not YAML: {problem}.")
    return refuse(name, mark.line + 1, f"this is not YAML: {problem}.")
