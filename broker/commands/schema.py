"""`schema ...`: what a valid message looks like, from the schemas and code lists of this installation; no hub is asked."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import answer, clean, table
from broker.words import Said

WIDTH = 100
NAME = 26
ENVELOPE = "envelope"
Kind = Annotated[
    str, typer.Argument(metavar="KIND", help="A kind, as `schema list` names it; envelope for the header.")
]
Version = Annotated[str | None, typer.Option("--version", help="Of the kind; the latest, if left out.", metavar="N.N")]

SAY = {
    "kind": Said("kind", "clase"),
    "version": Said("version", "versión"),
    "title": Said("title", "título"),
    "scored": Said("scored", "con puntaje"),
    "needs": Said("header needs", "exige en cabecera"),
    "sender": Said("sent by", "la envía"),
    "list": Said("list", "lista"),
    "edition": Said("edition", "edición"),
    "policy": Said("an unknown code is", "un código desconocido es"),
    "codes": Said("codes", "códigos"),
    "code": Said("code", "código"),
    "also": Said("meant by", "se entiende por"),
    "source": Said("source", "fuente"),
    "date": Said("date", "fecha"),
    "needed": Said("* is needed.", "* es obligatorio."),
    "score": Said("Messages get a completeness score.", "Los mensajes reciben un puntaje de integridad."),
    "header": Said("The header needs, besides: {0}.", "La cabecera exige además: {0}."),
    "only": Said("Only {0} sends it.", "Solo {0} la envía."),
}


def list_(language: options.Language = None, as_json: options.Json = False) -> None:
    """Kinds and versions, with what they are."""
    from broker import titles

    tongue = options.tongue(language)
    rows, found = [], []
    for kind, version in titles.kinds():
        schema = titles.schema(kind, version)
        scored, requires = schema.get("x-scored") is True, list(schema.get("x-requires", ()))
        found.append({"kind": kind, "version": version, "titles": dict(titles.mapping(schema.get("x-title"))),
                      "scored": scored, "requires": requires, "originator": schema.get("x-originator")})  # fmt: skip
        rows.append({
            _say("kind", tongue): kind, _say("version", tongue): version, _say("title", tongue): titles.title(schema, tongue),
            _say("scored", tongue): "✓" if scored else "", _say("needs", tongue): ", ".join(requires),
            _say("sender", tongue): schema.get("x-originator") or "",
        })  # fmt: skip
    answer({"schemas": found}, table(rows, list(rows[0])), as_json)


def show(
    kind: Kind,
    part: Annotated[str | None, typer.Argument(metavar="PART", help="Only this shared part, such as goods-line.")] = None,
    version: Version = None, language: options.Language = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """The fields of a kind: what each means, what it must be, when it is needed. With --json: the JSON Schema, whole."""
    from broker import describe, titles

    tongue = options.tongue(language)
    schema = titles.envelope() if kind == ENVELOPE else titles.schema(kind, _version(kind, version))
    if as_json:
        answer(schema, "", True)
        return
    known = [] if kind == ENVELOPE else describe.parts(schema, schema)
    if part is not None and part not in known:
        raise options.Usage(f"{kind} has no part {part}; it has {', '.join(known) or 'none'}.")
    lines = _head(kind, schema, tongue) if part is None else []
    for one in [part] if part is not None else ["", *known]:
        lines += _described(schema, one, tongue)
    answer(None, "\n".join(lines), False)


def _head(kind: str, schema: Any, tongue: str) -> list[str]:
    from broker import titles

    title = titles.title(schema, tongue)
    lines = [f"{title} · {kind} {str(schema['$id']).rpartition(':')[2]}" if title else kind]
    if titles.about(schema, tongue):
        lines += wrap(titles.about(schema, tongue), WIDTH)
    said = [_say("needed", tongue)]
    if schema.get("x-scored") is True:
        said.append(_say("score", tongue))
    if schema.get("x-requires"):
        said.append(_say("header", tongue).format(", ".join(schema["x-requires"])))
    if schema.get("x-originator"):
        said.append(_say("only", tongue).format(schema["x-originator"]))
    return [*lines, " ".join(said), ""]


def _described(schema: Any, part: str, tongue: str) -> Iterator[str]:
    """The fields of the whole, or of a part, and what holds under a condition."""
    from broker import describe, titles

    of_header = schema is titles.envelope()
    teller = describe.Teller(schema, tongue, describe.Notation(str, _refer(tongue)))
    held = describe.members_of(schema, part or "grading") if part or of_header else schema
    if part:
        name = titles.part_title(schema, part, tongue)
        yield from ("", f"── {part}{' · ' + name if name != part else ''} ──")
    for field in describe.header(schema) if of_header else describe.fields(schema, held):
        title = titles.title(field.schema, tongue) or _of_header(field.pointer, tongue)
        mark = "*" if field.needed else " "
        pieces = wrap(f"{title} — {teller.rule(field)}" if title else teller.rule(field), WIDTH - NAME - 3)
        if len(field.path) > NAME:
            yield f"{mark} {field.path}"
        else:
            yield f"{mark} {field.path:<{NAME}} {pieces.pop(0)}"
        yield from (f"  {'':<{NAME}} {piece}" for piece in pieces)
    for sentence in teller.conditions(held):
        yield from wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _of_header(pointer: str, tongue: str) -> str:
    from broker import words

    found = words.HEADER.get(pointer.removeprefix("/header/"))
    return f"{found[0].in_(tongue)}. {found[1].in_(tongue).rstrip('.')}" if found else ""


def _refer(tongue: str) -> Any:
    from broker.words.identifiers import IDENTIFIERS

    def refer(what: str, name: str) -> str:
        if what == "identifier" and name in IDENTIFIERS:
            return f"{IDENTIFIERS[name].title.in_(tongue)} [{name}]"
        return name

    return refer


def example(
    kind: Kind,
    heading: Annotated[
        str | None, typer.Option("--heading", help="With goods of this heading.", metavar="CODE")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print a payload that can be signed as it stands. It is an example: id, originator and times are for you to change."""
    from broker import examples

    found = examples.of_kind(kind, heading)
    if not found and (of_kind := examples.of_kind(kind)):
        have = sorted(set().union(*(examples.headings(payload) for _, payload in of_kind)))
        there = f"There are with: {', '.join(have)}." if have else f"Those of {kind} have none."
        raise options.Declined(f"There is no example of {kind} with the heading {heading}. {there}")
    if not found:
        raise options.Declined(f"There is no example of {kind}. There are of: {', '.join(examples.kinds())}.")
    name, payload = found[0]
    answer(payload, examples.text(name), as_json)


def codes(
    name: Annotated[str | None, typer.Argument(metavar="LIST", help="A code list; all of them are named, if left out.")] = None,
    language: options.Language = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """The code lists; or the codes of one, with their titles and what else is understood."""
    from broker import titles

    tongue = options.tongue(language)
    if name is None:
        heads = [
            {"name": one, **titles.codelist(one).head, "codes": len(titles.codelist(one).rows)}
            for one in titles.codelists()
        ]
        rows = [
            {_say("list", tongue): h["name"], _say("edition", tongue): h.get("edition"), _say("date", tongue): h.get("date"),
             _say("policy", tongue): h.get("policy"), _say("codes", tongue): h["codes"]}
            for h in heads
        ]  # fmt: skip
        answer({"codelists": heads}, table(rows, list(rows[0])), as_json)
        return
    if name not in titles.codelists():
        raise options.Usage(f"There is no code list {name}; `tidewaiter schema codes` names them.")
    found = titles.codelist(name)
    shown = [
        {"code": row.code, "titles": dict(row.titles), "aliases": list(row.aliases),
         **({"more": {name: list(values) for name, values in row.more.items()}} if row.more else {})}
        for row in found.rows.values()
    ]  # fmt: skip
    said = [f"{_say(key, tongue)}: {clean(value)}" for key, value in found.head.items() if key in SAY]
    head = "\n".join(line for one in said for line in wrap(one, WIDTH, subsequent_indent="  "))
    rows = [
        {_say("code", tongue): row.code, _say("title", tongue): titles.best(row.titles, tongue),
         **{name: ", ".join(values) for name, values in row.more.items()},
         _say("also", tongue): ", ".join(row.aliases)}
        for row in found.rows.values()
    ]  # fmt: skip
    answer({"name": name, **found.head, "codes": shown}, f"{head}\n\n{table(rows, list(rows[0]))}", as_json)


def _version(kind: str, wanted: str | None) -> str:
    """The version asked for, or the latest. Raises Usage."""
    from broker import titles

    known = [version for name, version in titles.kinds() if name == kind]
    if not known:
        raise options.Usage(f"There is no kind {kind}; there are {', '.join(dict(titles.kinds()))}.")
    if wanted is not None and wanted not in known:
        raise options.Usage(f"{kind} has no version {wanted}; it has {', '.join(known)}.")
    return wanted or known[-1]


def _say(key: str, tongue: str) -> str:
    return SAY[key].in_(tongue)


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="What a valid message looks like: kinds, fields, examples, code lists. Works without network.",
                        no_args_is_help=True)  # fmt: skip
    for name, command in (("list", list_), ("show", show), ("example", example), ("codes", codes)):
        group.command(name)(command)
    app.add_typer(group, name="schema")
