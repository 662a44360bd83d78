"""The small things that a reader of mappings asks of a node, each refused in one sentence with its line."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.tables.patterns import Pattern, PatternRefused, read_pattern
from adapters.tables.template import Template, TemplateRefused, read_template
from adapters.tables.yaml_tree import Items, MappingRefused, Members, Node, Scalar, refuse, scalars


class Words:
    """`file`: the mapping's name, for what is said."""

    def __init__(self, file: str) -> None:
        self.file = file

    def no(self, node: Node | int, sentence: str) -> MappingRefused:
        return refuse(self.file, node if isinstance(node, int) else node.line, sentence)

    def members(self, node: Node, known: Sequence[str] | None, what: str) -> Members:
        if not isinstance(node, Members):
            raise self.no(node, f"{what} must be keys with values.")
        for key in node.members:
            if known is not None and key not in known:
                raise self.no(node.lines[key], f"“{key}” is no key of {what}; known are: {', '.join(known)}.")
        return node

    def word(self, node: Node, what: str) -> str:
        if not isinstance(node, Scalar):
            raise self.no(node, f"{what} must be a single value.")
        return node.text

    def words(self, node: Node, what: str) -> tuple[str, ...]:
        found = tuple(scalar.text for scalar in scalars(node))
        if isinstance(node, Members) or not found or (isinstance(node, Items) and len(found) != len(node.items)):
            raise self.no(node, f"{what} must be a value or a list of values.")
        return found

    def one_of(self, node: Node, allowed: Sequence[str], what: str) -> str:
        text = self.word(node, what)
        if text not in allowed:
            raise self.no(node, f"{what} is one of {', '.join(allowed)}, not “{text}”.")
        return text

    def pattern(self, node: Node, *, anywhere: bool = False) -> Pattern:
        try:
            return read_pattern(self.word(node, "a pattern"), anywhere=anywhere)
        except PatternRefused as error:
            raise self.no(node, f"the pattern {error}.") from None

    def template(self, node: Node) -> Template:
        try:
            return read_template(self.word(node, "text"))
        except TemplateRefused as error:
            raise self.no(node, f"the text {error}.") from None
