"""What a page shows, before it is text or HTML: a message as entries with titles in the reader's language.

Nothing is left out. Parts that everybody reads as one thing (an identifier and its standing, a quantity and its unit, a
leg of a route) are one entry; everything else is shown by its structure, whatever the kind. Values are the sender's:
they are cleaned here, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from broker import titles, words
from broker.commands.speak import clean
from broker.describe import is_identifier
from broker.titles import Schema, mapping

Standing = Literal["", "found", "verified", "believed-false", "confirmed", "unconfirmed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value (`text`), an object or a list (`entries`; those of a list carry no label).

    `title` stands for a value that is a code, `text`. `standing`: of an identifier or a leg. `free`: written by
    somebody, in the message's own language. `part`: the shared part it is, `leg` or `goods-line`.
    """

    name: str
    label: str
    text: str = ""
    title: str = ""
    standing: Standing = ""
    free: bool = False
    listed: bool = False
    nominal: bool = False
    part: str = ""
    entries: tuple[Entry, ...] = ()

    @property
    def said(self) -> str:
        """The value with its title: "Tobacco [tobacco]"."""
        return f"{self.title} [{self.text}]" if self.title and self.title != self.text else self.text


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom the page is for, and the schema that its words come from."""

    language: str
    schema: Schema

    def word(self, key: str) -> str:
        return words.PAGE[key].in_(self.language)


def body(payload: Mapping[str, Any], reader: Reader) -> tuple[Entry, ...]:
    """The members of the body, in the order of the message."""
    return tuple(_members(mapping(payload.get("body")), reader.schema, reader))


def _members(held: Mapping[str, Any], schema: Schema, reader: Reader) -> Iterator[Entry]:
    known = mapping(schema.get("properties"))
    for name, value in held.items():
        yield _entry(name, value, mapping(known.get(name)), reader)


def _entry(name: str, value: Any, subschema: Schema, reader: Reader, *, labelled: bool = True) -> Entry:
    part, schema = titles.part_of(subschema), titles.resolved(reader.schema, subschema)
    label = (titles.title(schema, reader.language) or clean(titles.named(name))) if labelled else ""
    nominal = schema.get("x-nominal") is True
    if part == "standing" and value in ("found", "verified", "believed-false"):
        return Entry(name, label, titles.value(schema, value, reader.language) or value, standing=value, part=part)
    if isinstance(value, Mapping):
        properties = mapping(schema.get("properties"))
        whole = _identifier if is_identifier(schema) else AS_ONE.get(part)
        if whole is not None and value.keys() <= properties.keys():
            return whole(name, label, value, schema, reader)
        if not value:
            return Entry(name, label, "—", nominal=nominal)
        return Entry(name, label, nominal=nominal, part=part, entries=tuple(_members(value, schema, reader)))
    if isinstance(value, list):
        items = mapping(schema.get("items"))
        entries = tuple(
            _gap(item, reader) if part == "not-given" else _entry(name, item, items, reader, labelled=False)
            for item in value
        )
        return Entry(name, label, nominal=nominal, part=titles.part_of(items), listed=True, entries=entries)
    return _value(name, label, value, schema, reader, nominal=nominal)


def _value(name: str, label: str, value: Any, schema: Schema, reader: Reader, *, nominal: bool = False) -> Entry:
    if isinstance(value, bool):
        return Entry(name, label, reader.word("yes" if value else "no"), nominal=nominal)
    text = "—" if value is None else clean(value, lines=True)
    title = titles.value(schema, value, reader.language) if isinstance(value, str) else None
    free = isinstance(value, str) and not ({"x-codelist", "enum", "format", "pattern"} & schema.keys())
    return Entry(name, label, text, clean(title or ""), free=free, nominal=nominal)


# ── parts that are read as one thing ──

AsOne = Callable[[str, str, Mapping[str, Any], Schema, Reader], Entry]


def _identifier(name: str, label: str, value: Mapping[str, Any], schema: Schema, reader: Reader) -> Entry:
    """`{"value", "as"}`: the value, and what is believed of it."""
    properties = mapping(schema.get("properties"))
    one = _value(name, label, value.get("value"), titles.resolved(reader.schema, properties.get("value")), reader)
    stands = value.get("as")
    known: Standing = stands if stands in ("found", "verified", "believed-false") else ""
    return Entry(name, label, one.text, one.title, standing=known)


def _joined(order: tuple[str, ...]) -> AsOne:
    """Members in that order, then whatever else there is with its title."""

    def whole(name: str, label: str, value: Mapping[str, Any], schema: Schema, reader: Reader) -> Entry:
        found = {one.name: one for one in _members(value, schema, reader)}
        said = [found[member].said for member in order if member in found]
        for member, one in found.items():
            if member in MARKS and value[member] is True:
                said[-1:] = [f"{said[-1] if said else ''} ({reader.word(member)})".strip()]
            elif member not in order and not (member in MARKS and value[member] is False):
                said.append(f"· {one.label}: {one.said}")
        return Entry(name, label, " ".join(said), part="as-one")

    return whole


MARKS = ("estimate",)
"""True is said in brackets, false is what everybody expects."""


def _span(name: str, label: str, value: Mapping[str, Any], schema: Schema, reader: Reader) -> Entry:
    """`{"from", "until"?}`."""
    start, end = value.get("from"), value.get("until")
    said = f"{clean(start)} {reader.word('until')} {clean(end)}" if end else f"{reader.word('since')} {clean(start)}"
    return Entry(name, label, said, part="as-one")


def _leg(name: str, label: str, value: Mapping[str, Any], schema: Schema, reader: Reader) -> Entry:
    """One stop of a route, whatever is said of it in the order of its schema, and whether it is certain."""
    found = {one.name: one.said for one in _members(value, schema, reader)}
    said = "  ".join(found[one] for one in mapping(schema.get("properties")) if one in found and one != "confirmed")
    return Entry(
        name, label, said, standing="confirmed" if value.get("confirmed") is True else "unconfirmed", part="leg"
    )


def _gap(item: Any, reader: Reader) -> Entry:
    """An item of `not_given`: which field, and why."""
    pointer, why = clean(mapping(item).get("field", "?")), clean(mapping(item).get("why", "?"))
    label = titles.field(reader.schema, f"/body{pointer}", reader.language)
    reason = Entry("why", "", why, titles.code("gap-reasons", why, reader.language) or "").said
    return Entry("not_given", "", f"{clean(label)} ({pointer}): {reason}")


AS_ONE: Mapping[str, AsOne] = {
    "quantity": _joined(("value", "unit")),
    "money": _joined(("amount", "currency")),
    "position": _joined(("latitude", "longitude")),
    "period": _span,
    "validity": _span,
    "leg": _leg,
}

# ── the header ──

HEADER = (
    "originator", "status", "event_at", "priority", "case", "language", "supersedes", "withdraws", "in_reply_to",
    "references", "grading", "handling/release", "handling/caveats", "expires_at", "acknowledge_by", "legal_basis",
)  # fmt: skip


def header(payload: Mapping[str, Any], reader: Reader) -> Iterator[tuple[str, str]]:
    """(title, text) of what the header says, in the order of reading; what it leaves out is left out."""
    held = mapping(payload.get("header"))
    flat = {**held, **{f"handling/{name}": value for name, value in mapping(held.get("handling")).items()}}
    for name in HEADER:
        title = words.HEADER[name][0].in_(reader.language)
        if name == "grading" and flat.get(name):
            yield title, grading(mapping(flat[name]), reader)
        elif name == "handling/release":
            yield title, release(flat.get(name), reader)
        elif flat.get(name):
            value = flat[name]
            said = [clean(one, lines=True) for one in (value if isinstance(value, list) else [value])]
            if name in ("status", "priority"):
                said = [Entry(name, title, said[0], _of_header(name, said[0], reader) or "").said]
            yield title, ", ".join(said)


def release(value: object, reader: Reader) -> str:
    """To whom, with duties and exceptions."""
    if value is None:
        return reader.word("holders")
    found = mapping(value)
    named = []
    for entry in _each(found.get("to")):
        duties = ", ".join(_duty(clean(one), reader) for one in _each(mapping(entry).get("duties")))
        named.append(clean(mapping(entry).get("member", "?")) + (f" ({duties})" if duties else ""))
    named += [f"{reader.word('group')} {clean(group)}" for group in _each(found.get("groups"))]
    if found.get("all"):
        named.append(reader.word("everybody"))
    text = "; ".join(named) or "-"
    excepted = ", ".join(map(clean, _each(found.get("except"))))
    return f"{text} — {reader.word('but')} {excepted}" if excepted else text


def _each(value: Any) -> Iterable[Any]:
    """The items of a list; what should be one and is not is shown as it is, since nothing has looked at it before."""
    return value if isinstance(value, list) else [value] if value else ()


def _duty(duty: str, reader: Reader) -> str:
    return _of_header("handling/release/to/0/duties/0", duty, reader) or duty


def _of_header(path: str, value: str, reader: Reader) -> str | None:
    """The title of a word in its place in the header, where the envelope has one."""
    return titles.value(titles.at({}, f"/header/{path}"), value, reader.language)


def grading(value: Mapping[str, Any], reader: Reader) -> str:
    """As it was given; then in the other schemes, derived and said to be so.

    Deriving needs the `hub` extra: without it the grading is shown as it was given, which is what counts.
    """
    scheme = clean(value.get("scheme", ""))
    given = f"{clean(value.get('source', ''))}{clean(value.get('information', ''))}"
    said = [f"{given} ({_of_header('grading/scheme', scheme, reader) or scheme})"]
    try:
        from broker.language import grading as schemes
    except ImportError:
        return said[0]
    for other in schemes.SCHEMES:
        try:
            found = schemes.convert(value, other)
        except (KeyError, TypeError):
            return said[0]
        if other != scheme:
            doubt = "" if found.exact else f" ({reader.word('approximate')})"
            its = _of_header("grading/scheme", other, reader) or other
            said.append(f"{its}: {found.source}{found.information}{doubt}")
    return f"{said[0]}; {reader.word('derived')}, " + ", ".join(said[1:])


_LANGUAGE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")


def language_of(payload: Mapping[str, Any]) -> str:
    """The language of what the message says freely, if its header names one."""
    found = mapping(payload.get("header")).get("language")
    return found if isinstance(found, str) and _LANGUAGE.fullmatch(found) else ""


def standing(of: str, reader: Reader) -> str:
    """What is believed of an identifier, in words."""
    part = mapping(mapping(reader.schema.get("$defs")).get("standing"))
    return titles.value(part, of, reader.language) or of
