"""A fault explained: in which field it lies, what the sentence about it is, and what would do instead.

Works from what a problem answer carries (`pointer`, `rule`, `detail`, `allowed`), so that a fault found here and one
that the hub found read alike. Sentences are `broker/phrases/`; what would do comes from the schemas.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker import describe, phrases, titles
from broker.errors import Fault
from broker.titles import Schema
from broker.words import LANGUAGES, Said
from broker.words.identifiers import IDENTIFIERS

LISTED = 12
"""Of a long list of what is allowed, so many are named."""
BY_SHAPE = frozenset(
    {"required", "type", "pattern", "format", "too-short", "too-long", "too-few", "too-many",
     "below-minimum", "above-maximum", "identifier-form", "unknown-subdivision", "unknown-currency", "header-needed"}
)  # fmt: skip
"""Rules whose remedy is to be what the field must be."""
SAY = {
    "must": Said("must be: {0}", "debe ser: {0}"),  # what stands in it is said in these two alone
    "perhaps": Said("perhaps {0}", "quizá {0}", "peut-être {0}", "talvez {0}"),
    "allowed": Said("allowed: {0}", "se permite: {0}", "permis : {0}", "permitido: {0}"),
    "more": Said("{0} and {1} more", "{0} y {1} más", "{0} et {1} de plus", "{0} e mais {1}"),
}


def told(fault: Fault, language: str) -> dict[str, Any]:
    """A fault as a problem answer carries it, with what was found besides."""
    detail = phrases.render(f"rule.{fault.rule}", language, found=fault.found, allowed=fault.allowed, **fault.more)
    said: dict[str, Any] = {"pointer": fault.pointer, "rule": fault.rule, "detail": detail}
    if fault.found is not None:
        said["found"] = fault.found
    return said | ({"allowed": list(fault.allowed)} if fault.allowed else {})


def explained(fault: Mapping[str, Any], schema: Schema, language: str) -> dict[str, Any]:
    """The same, with the field's title as `field` and, where there is one, the way out as `remedy`.

    `schema`: that of the body.
    """
    pointer = str(fault.get("pointer") or "")
    tongue = titles.spoken(schema, [pointer], language)
    said = dict(fault) | {"field": titles.field(schema, pointer, tongue)}
    remedy = "; ".join(_remedies(fault, schema, pointer, language))
    return said | ({"remedy": remedy} if remedy else {})


def _remedies(fault: Mapping[str, Any], schema: Schema, pointer: str, language: str) -> Iterator[str]:
    rule, allowed = str(fault.get("rule")), [str(one) for one in fault.get("allowed") or ()]
    place = titles.at(schema, pointer)
    if rule == "unknown-member":
        near = difflib.get_close_matches(pointer.rpartition("/")[2], allowed, n=3, cutoff=0.6)
        if near:
            yield SAY["perhaps"].in_(language).format(", ".join(near))
            return
    if rule in BY_SHAPE and place:
        tongue = language if language[:2] in LANGUAGES else "en"  # what describes a schema speaks no other
        root = titles.root_of(schema, pointer)
        part = titles.part_of(place) or titles.part_of(place.get("items"))
        notation = describe.Notation(str, lambda what, name: _named(what, name, root, tongue))
        yield SAY["must"].in_(tongue).format(describe.Teller(root, tongue, notation).shape(place, part))
    elif len(allowed) == 1:
        yield f"→ {_titled(place, allowed[0], language)}"
    elif allowed:
        known = [named for one in allowed if (named := titles.value_titles(place, one))]
        language = language if all(language[:2] in one for one in known) else "en"
        said = [_titled(place, one, language) for one in allowed]
        if any(one not in str(fault.get("detail")) for one in said):
            yield SAY["allowed"].in_(language).format(_listed(said, language))


def _named(what: str, name: str, root: Schema, language: str) -> str:
    if what == "part":
        return titles.part_title(root, name, language)
    if what == "identifier" and name in IDENTIFIERS:
        found = IDENTIFIERS[name]
        return f"{found.title.in_(language)} ({found.checked.in_(language)}), {found.specimen}"
    return name


def _titled(place: Schema, value: str, language: str) -> str:
    """A value with its title, where its place has one for it."""
    title = titles.value(place, value, language)
    return f"{value} ({title})" if title and title != value else value


def _listed(said: Sequence[str], language: str) -> str:
    text = ", ".join(said[:LISTED])
    return SAY["more"].in_(language).format(text, len(said) - LISTED) if len(said) > LISTED else text
