"""What a body gives of what it could give, and what is left of it without its nominal part.

    completeness   how much of what counts (`x-weight`) is there, what is missing, and what of that is explained
    projection     the payload without anything `x-nominal`, and the pointers of what was removed

Both walk an Outline: the tree of those places of the schema that carry a weight, belong to one heading's goods, or are
nominal. Weights are relative: 1 is nice to have, 4 is what a report is written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker.errors import SetupRefused
from broker.language.plan import Draft, mark_of
from broker.language.redaction import needles, present, redacted
from broker.language.schema import pointer_of

EXPLAINED = frozenset({"unknown", "withheld"})
"""Codes and reasons that answer a question without giving what was asked. "Not asked" answers nothing."""
SAYS_NOTHING = EXPLAINED | {"not-asked"}
OWN_WORDS = frozenset({"id", "case", "supersedes", "withdraws", "in_reply_to", "references", "legal_basis", "caveats"})
"""Members of the header in which an originator may have written a name. The others are words of the exchange itself."""


@dataclass(frozen=True, slots=True)
class Outline:
    """One place. `members` are (name, name as a step of a JSON Pointer, outline); `may_name`: it is nominal, or something
    below it is. What follows is for the score alone."""

    weight: int
    heading: str | None
    nominal: bool
    coded: bool
    members: tuple[tuple[str, str, Outline], ...]
    items: Outline | None
    may_name: bool
    weighed: tuple[tuple[str, str, Outline], ...]
    """The members that have a weight, or below which something has."""
    potential: int
    """The weight of everything below that no heading restricts."""
    restricted: tuple[Outline, ...]
    """The outermost places below that only goods of their heading have."""
    headings: tuple[str, ...]
    """The members that name a heading."""
    wanted: tuple[tuple[str, object], ...]
    """Of a list: what its items say that it is there for."""
    scored: bool = False
    """Of the root alone: the kind's messages get a score."""

    def worth(self, headings: frozenset[str]) -> int:
        """The weight of everything below that counts under these headings."""
        return self.potential + sum(o.weight + o.worth(headings) for o in self.restricted if o.heading in headings)


def compile_outline(name: str, draft: Draft, *, scored: bool = False) -> Outline:
    """Raises SetupRefused where a nominal member is required, under whatever condition, or a body is nominal as a whole
    (a projection would not be valid), or where what names a person by nature (`Format.personal`) is not nominal."""
    if draft.nominal:
        raise SetupRefused(detail=f"{name}: a body cannot be nominal as a whole: nothing of it could be shown")
    return replace(_outline(name, draft, below_nominal=False), scored=scored)


def _outline(name: str, draft: Draft, *, below_nominal: bool) -> Outline:
    """A list of nominal items is nominal itself: how many there are may say who they are."""
    own = draft.nominal or (draft.items is not None and draft.items.nominal)
    nominal, mark = below_nominal or own, mark_of(draft)
    if mark is not None and mark.form is not None and mark.form.personal and not nominal:
        raise SetupRefused(detail=f"{name}: {mark.format} names a person and must stand below x-nominal")
    members = tuple(
        (member, pointer_of([member]), _outline(name, below, below_nominal=nominal))
        for member, below in draft.members.items()
    )
    for member, _, below in members:
        if below.nominal and member in draft.required and not nominal:
            raise SetupRefused(detail=f"{name}: {member} is nominal and cannot be required")
    items = _outline(name, draft.items, below_nominal=nominal) if draft.items is not None else None
    inner = [*(outline for _, _, outline in members), *([items] if items else [])]
    free = [one for one in inner if one.heading is None]
    return Outline(
        weight=draft.weight,
        heading=mark.heading if mark else None,
        nominal=own,
        coded=draft.coded,
        members=members,
        items=items,
        may_name=own or any(one.may_name for one in inner),
        weighed=tuple(one for one in members if one[2].weight or one[2].potential or one[2].restricted),
        potential=sum(one.potential + (0 if one is items else one.weight) for one in free),
        restricted=(*(one for one in inner if one.heading is not None), *(r for one in free for r in one.restricted)),
        headings=tuple(name for name, below in draft.members.items() if below.marks.get("route") == "heading"),
        wanted=tuple(draft.wanted.items()),
    )


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
    given: float = 0.0
    total: float = 0.0
    explained: float = 0.0
    missing: list[tuple[int, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.given / self.total if self.total else 0.0


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
        round(100 * tally.share),
        round(100 * tally.explained / tally.total),
        tuple(pointer for _, pointer in missing),
    )


def _weigh(
    outline: Outline, value: object, headings: frozenset[str], at: str, gaps: Mapping[str, str], tally: _Tally
) -> None:
    """Add what stands below `value`, but for the weight of `value` itself."""
    if isinstance(value, list) and outline.items is not None:
        _weigh_list(outline, outline.items, value, headings, at, gaps, tally)
    if not isinstance(value, dict):
        return
    own = [value[name] for name in outline.headings if name in value]
    headings = frozenset(map(str, own)) if own else headings
    for name, step, member in outline.weighed:
        if member.heading is not None and member.heading not in headings:
            continue
        if name in value and not (isinstance(value[name], str) and value[name] in SAYS_NOTHING):
            tally.given += member.weight
            tally.total += member.weight
            if member.potential or member.restricted:
                _weigh(member, value[name], headings, at + step, gaps, tally)
            continue
        worth = member.weight + member.worth(headings)
        tally.total += worth
        tally.missing.append((worth, at + step))
        if str(gaps.get(at + step, value.get(name))) in EXPLAINED:
            tally.explained += worth


def _weigh_list(
    outline: Outline, items: Outline, value: list[Any], headings: frozenset[str], at: str, gaps: Mapping[str, str],
    tally: _Tally,
) -> None:  # fmt: skip
    """A list counts as the fullest of the items that it is there for, and weighs the same whichever that is: what was
    declared adds nothing to what was found, nor does a line of another heading take anything from it."""
    tallies: list[_Tally] = []
    for index, item in enumerate(value):
        if isinstance(item, dict) and any(item.get(name) != wanted for name, wanted in outline.wanted):
            continue
        tallies.append(one := _Tally())
        _weigh(items, item, headings, f"{at}/{index}", gaps, one)
    fullest = max(tallies, key=lambda one: one.share, default=_Tally())
    worth = items.worth(headings)
    tally.total += worth
    if fullest.total:
        tally.given += worth * fullest.share
        tally.explained += worth * fullest.explained / fullest.total
        tally.missing += fullest.missing


# ── the non-nominal projection ──


Clean = Callable[[str], str]
"""What is left of a text of the originator's own."""


@dataclass(frozen=True, slots=True)
class Projection:
    """`payload` without anything nominal; `removed`: pointers into the original payload, in its order. A pointer to an
    open text means that a nominal value stood in it and was replaced: an identifier is none any more then, and items of
    a list that a name alone told apart are alike."""

    payload: dict[str, Any]
    removed: tuple[str, ...]


def project(outline: Outline, payload: Mapping[str, Any]) -> Projection:
    """Everything `x-nominal` goes; where a nominal value is repeated in words of the originator's own, it goes there,
    too. Codes, countries and dates name nobody, and stay as they are."""
    texts: list[str] = []

    def noted(text: str) -> str:
        texts.append(text)
        return text

    as_written = _walked(outline, payload, noted)
    wanted = present(needles(_names(outline, payload["body"])), texts)
    return _walked(outline, payload, lambda text: redacted(text, wanted)) if wanted else as_written


def _walked(outline: Outline, payload: Mapping[str, Any], clean: Clean) -> Projection:
    removed: list[str] = []
    header = _header(payload["header"], clean, removed)
    body = _kept(outline, payload["body"], "/body", clean, removed)
    return Projection({**payload, "header": header, "body": body}, tuple(removed))


def nominal_pointers(outline: Outline, body: Mapping[str, Any], base: str) -> tuple[str, ...]:
    """Where the body holds something nominal; pointers below `base`."""
    return tuple(pointer for pointer, _, _ in _nominal(outline, body, base))


def _nominal(outline: Outline, value: Any, at: str) -> Iterator[tuple[str, Outline, Any]]:
    """(pointer, outline, value) of everything nominal."""
    if isinstance(value, dict):
        for name, step, member in outline.members:
            if name in value and member.may_name:
                if member.nominal:
                    yield at + step, member, value[name]
                else:
                    yield from _nominal(member, value[name], at + step)
    elif isinstance(value, list) and outline.items is not None and outline.items.may_name:
        for index, item in enumerate(value):
            yield from _nominal(outline.items, item, f"{at}/{index}")


def _names(outline: Outline, body: Mapping[str, Any]) -> Iterator[str]:
    for _, member, value in _nominal(outline, body, ""):
        yield from _named(member, value)


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
        yield value


def _kept(outline: Outline | None, value: Any, at: str, clean: Clean, removed: list[str]) -> Any:
    if isinstance(value, dict):
        known = {name: (step, member) for name, step, member in outline.members} if outline else {}
        kept = {}
        for name, item in value.items():
            step, member = known.get(name, (pointer_of([name]), None))
            if member is not None and member.nominal:
                removed.append(at + step)
            else:
                kept[name] = _kept(member, item, at + step, clean, removed)
        return kept
    if isinstance(value, list):
        items = outline.items if outline else None
        return [_kept(items, item, f"{at}/{index}", clean, removed) for index, item in enumerate(value)]
    if not isinstance(value, str) or (outline and outline.coded):
        return value
    left = clean(value)
    if left != value:
        removed.append(at)
    return left


def _header(header: Mapping[str, Any], clean: Clean, removed: list[str]) -> dict[str, Any]:
    """The header's own words without names, at whatever depth."""

    def kept(value: Mapping[str, Any], at: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, item in value.items():
            step = at + pointer_of([name])
            if name in OWN_WORDS:
                made[name] = _kept(None, item, step, clean, removed)
            else:
                made[name] = kept(item, step) if isinstance(item, dict) else item
        return made

    return kept(header, "/header")
