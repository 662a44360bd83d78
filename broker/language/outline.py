"""What a body gives of what it could give, and what is left of it without its nominal part.

    completeness   how much of what counts (`x-weight`) is there, what is missing, and what of that is explained
    projection     the payload without anything `x-nominal`, and the pointers of what was removed

Both walk an Outline: the tree of those places of the schema that carry a weight, belong to one heading's goods, or are
nominal. Weights are relative: 1 is nice to have, 4 is what a report is written for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker.errors import SetupRefused
from broker.language.plan import Draft, mark_of
from broker.language.schema import pointer_of

EXPLAINED = frozenset({"unknown", "withheld"})
"""Codes and reasons that answer a question without giving what was asked. "Not asked" answers nothing."""
SAYS_NOTHING = EXPLAINED | {"not-asked"}
NOT_APPLICABLE = "not-applicable"
"""Of this report the field cannot be asked: it counts neither as given nor as missing."""
REMOVED = "[…]"
"""Stands in an open text where a nominal value stood. No nominal value is shorter than it (SHORTEST)."""
SHORTEST = 3


@dataclass(frozen=True, slots=True)
class Outline:
    """One place. `potential`: its weight and that of everything below it that no heading restricts. `may_name`: it is
    nominal, or something below it is."""

    weight: int
    heading: str | None
    nominal: bool
    coded: bool
    names_heading: bool
    members: tuple[tuple[str, str, Outline], ...]
    items: Outline | None
    potential: int
    may_name: bool
    scored: bool = False
    """Of the root alone: the kind's messages get a score."""


def compile_outline(name: str, draft: Draft, *, scored: bool = False) -> Outline:
    """Raises SetupRefused where a nominal member is required (a projection would not be valid), or where what names a
    person by nature (`Format.personal`) is not nominal."""
    return replace(_outline(name, draft, nominal=False), scored=scored)


def _outline(name: str, draft: Draft, *, nominal: bool) -> Outline:
    nominal = nominal or draft.nominal
    mark = mark_of(draft)
    if mark is not None and mark.form is not None and getattr(mark.form, "personal", False) and not nominal:
        raise SetupRefused(detail=f"{name}: {mark.format} names a person and must stand below x-nominal")
    for required in draft.required:
        if not nominal and required in draft.members and draft.members[required].nominal:
            raise SetupRefused(detail=f"{name}: {required} is nominal and cannot be required")
    members = tuple(
        (member, pointer_of([member]), _outline(name, below, nominal=nominal))
        for member, below in draft.members.items()
    )
    items = _outline(name, draft.items, nominal=nominal) if draft.items is not None else None
    below = sum(m.potential for _, _, m in members if m.heading is None) + (items.potential if items else 0)
    may_name = draft.nominal or any(m.may_name for _, _, m in members) or (items is not None and items.may_name)
    return Outline(
        draft.weight, mark.heading if mark else None, draft.nominal, draft.coded,
        mark is not None and mark.route == "heading", members, items, draft.weight + below, may_name,
    )  # fmt: skip


# ── completeness ──


@dataclass(frozen=True, slots=True)
class Completeness:
    """`score` and `explained`: per cent of all weights, what is given and what is said to be unknown or withheld.
    `missing`: pointers into the body, the weightiest first."""

    score: int
    explained: int
    missing: tuple[str, ...]


@dataclass
class _Tally:
    given: int = 0
    total: int = 0
    explained: int = 0
    missing: list[tuple[int, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.given / self.total if self.total else 0.0

    def add(self, other: _Tally) -> None:
        self.given += other.given
        self.total += other.total
        self.explained += other.explained
        self.missing += other.missing


def completeness(outline: Outline, body: Mapping[str, Any]) -> Completeness | None:
    """Of a body that has passed its schema; None for a kind in which nothing counts."""
    if not outline.scored:
        return None
    gaps = {gap["field"]: gap["why"] for gap in body.get("not_given", ()) if isinstance(gap, dict)}
    tally = _Tally()
    _weigh(outline, body, frozenset(), "", gaps, tally)
    if not tally.total:
        return None
    missing = sorted(tally.missing, key=lambda one: (-one[0], one[1]))
    return Completeness(
        round(100 * tally.given / tally.total),
        round(100 * tally.explained / tally.total),
        tuple(pointer for _, pointer in missing),
    )


def _weigh(
    outline: Outline, value: object, headings: frozenset[str], at: str, gaps: Mapping[str, str], tally: _Tally
) -> None:
    if isinstance(value, list) and outline.items is not None:
        tallies = [_Tally() for _ in value]
        for index, (item, one) in enumerate(zip(value, tallies, strict=True)):
            _weigh(outline.items, item, headings, f"{at}/{index}", gaps, one)
        if tallies:  # a list counts as its fullest item: what was declared adds nothing to what was found
            tally.add(max(tallies, key=lambda one: one.share))
    if not isinstance(value, dict):
        return
    own = frozenset(str(value[name]) for name, _, member in outline.members if member.names_heading and name in value)
    headings = own or headings
    for name, step, member in outline.members:
        if not member.potential or (member.heading is not None and member.heading not in headings):
            continue
        if name in value and not (isinstance(value[name], str) and value[name] in SAYS_NOTHING):
            tally.given += member.weight
            tally.total += member.weight
            _weigh(member, value[name], headings, at + step, gaps, tally)
            continue
        if gaps.get(at + step) == NOT_APPLICABLE:
            continue
        tally.total += member.potential
        tally.missing.append((member.potential, at + step))
        if str(gaps.get(at + step, value.get(name))) in EXPLAINED:
            tally.explained += member.potential


# ── the non-nominal projection ──


@dataclass(frozen=True, slots=True)
class Projection:
    """`payload` without anything nominal; `removed`: pointers into the original payload, in its order. A pointer to an
    open text means that a nominal value stood in it and was replaced."""

    payload: dict[str, Any]
    removed: tuple[str, ...]


def project(outline: Outline, payload: Mapping[str, Any]) -> Projection:
    """Everything `x-nominal` goes; where a nominal value is repeated in an open text, it goes there, too."""
    names: set[str] = set()
    removed: list[str] = []
    body = _without(outline, payload["body"], "/body", removed, names)
    words = sorted((name for name in names if len(name) >= SHORTEST and name != REMOVED), key=len, reverse=True)
    header = _redacted(payload["header"], "/header", words, removed) if words else payload["header"]
    return Projection(
        {**payload, "header": header, "body": _redacted(body, "/body", words, removed) if words else body},
        tuple(removed),
    )


def nominal_pointers(outline: Outline, body: Mapping[str, Any], base: str) -> tuple[str, ...]:
    """Where the body holds something nominal; pointers below `base`."""
    return tuple(_nominal(outline, body, base))


def _nominal(outline: Outline, value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, step, member in outline.members:
            if name in value and member.may_name:
                yield from [at + step] if member.nominal else _nominal(member, value[name], at + step)
    elif isinstance(value, list) and outline.items is not None and outline.items.may_name:
        for index, item in enumerate(value):
            yield from _nominal(outline.items, item, f"{at}/{index}")


def _without(outline: Outline | None, value: Any, at: str, removed: list[str], names: set[str]) -> Any:
    if isinstance(value, dict):
        known = {name: (step, member) for name, step, member in outline.members} if outline else {}
        kept = {}
        for name, item in value.items():
            step, member = known.get(name, (pointer_of([name]), None))
            if member is not None and member.nominal:
                removed.append(at + step)
                names.update(_named(member, item))
            else:
                kept[name] = _without(member, item, at + step, removed, names)
        return kept
    if isinstance(value, list):
        items = outline.items if outline else None
        return [_without(items, item, f"{at}/{index}", removed, names) for index, item in enumerate(value)]
    return value


def _named(outline: Outline | None, value: Any) -> Iterator[str]:
    """The strings below a nominal place that may name somebody: everything but codes, countries and dates."""
    if isinstance(value, dict):
        known = {name: member for name, _, member in outline.members} if outline else {}
        for name, item in value.items():
            yield from _named(known.get(name), item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(outline.items if outline else None, item)
    elif isinstance(value, str) and not (outline and outline.coded):
        yield value.strip()


def _redacted(value: Any, at: str, words: list[str], removed: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _redacted(item, at + pointer_of([name]), words, removed) for name, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, f"{at}/{index}", words, removed) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    clean = value
    for word in words:
        clean = _replaced(clean, word)
    if clean != value:
        removed.append(at)
    return clean


def _replaced(text: str, word: str) -> str:
    """Whatever the case; until it is found no more, should a replacement have brought its ends together."""
    folded = word.casefold()
    for _ in text:
        found = _find(text, folded)
        if found is None:
            return text
        text = text[: found[0]] + REMOVED + text[found[1] :]
    return text if _find(text, folded) is None else REMOVED


def _find(text: str, folded: str) -> tuple[int, int] | None:
    """Where `folded` stands in `text` when both are case-folded, as (start, end) in `text`; folding may lengthen."""
    whole = text.casefold()
    at = whole.find(folded)
    if at < 0:
        return None
    if len(whole) == len(text):
        return at, at + len(folded)
    lengths = [len(character.casefold()) for character in text]
    position, start = 0, 0
    for index, length in enumerate(lengths):
        if position <= at < position + length:
            start = index
        position += length
        if position >= at + len(folded):
            return start, index + 1
    return start, len(text)
