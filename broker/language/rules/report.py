"""What a rule may look at, and what it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from broker.errors import Fault
from broker.language.codelists import CodeList
from broker.language.plan import Seen


@dataclass(frozen=True)
class Report:
    """`seen` holds every marked string of the body. `fields`: every member that the kind's schema knows, as a pointer
    with `*` for an index. `nominal`: pointers of what is nominal in the body. `blocks`: heading -> pointers, as those of
    `fields`, of what only goods of that heading have."""

    header: Mapping[str, Any]
    seen: Sequence[Seen]
    attributes: Mapping[str, frozenset[str]]
    codelists: Mapping[str, CodeList]
    now: datetime
    body: Mapping[str, Any] = field(default_factory=dict)
    fields: frozenset[str] = frozenset()
    nominal: Sequence[str] = ()
    blocks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def _marked(self) -> Mapping[tuple[str, str | None], Sequence[Seen]]:
        """("role" | "format" | "route", which) -> what has it, in order."""
        found: dict[tuple[str, str | None], list[Seen]] = defaultdict(list)
        for one in self.seen:
            mark = one.mark
            for key in (("role", mark.role), ("format", mark.format), ("route", mark.route)):
                if key[1] is not None:
                    found[key].append(one)
        return found

    @cached_property
    def beside(self) -> Mapping[int, Sequence[Seen]]:
        """id of an object -> everything marked that stands in it."""
        found: dict[int, list[Seen]] = defaultdict(list)
        for one in self.seen:
            found[id(one.holder)].append(one)
        return found

    def format(self, form: str) -> Sequence[Seen]:
        return self._marked.get(("format", form), ())

    def route(self, route: str) -> Sequence[Seen]:
        return self._marked.get(("route", route), ())

    def role(self, role: str) -> Sequence[Seen]:
        return self._marked.get(("role", role), ())

    def sibling(self, of: Seen, role: str) -> Seen | None:
        """What has that role in the same object."""
        return next((one for one in self.beside[id(of.holder)] if one.mark.role == role), None)

    def sibling_format(self, of: Seen, form: str) -> str | None:
        return next((one.value for one in self.beside[id(of.holder)] if one.mark.format == form), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """`check` yields Faults whose rule is `code`."""

    code: str
    severity: Literal["error", "warning"]
    check: Callable[[Report], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class ShapeRule:
    code: str
    check: Callable[[Mapping[str, Any]], Iterator[Fault]]


def moment(text: str) -> datetime:
    """A date-time that has passed the envelope's schema: always with an offset, never a leap second."""
    return datetime.fromisoformat(text)
