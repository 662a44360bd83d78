"""`python -m broker.reference docs/reference`: the reference of the language, written from schemas, lists and rules.

In English, and in Spanish below `es/`; the codes of each list on a page of its own, in all languages, for both. A test
compares what this writes with what is there. Examples are values of `schemas/examples`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from broker import describe, examples, titles, words
from broker.describe import Field, Notation, Teller
from broker.language import rules
from broker.language.forms import Flaw
from broker.language.identifiers import FORMATS, examine
from broker.phrases import phrases
from broker.titles import Schema, mapping
from broker.words.identifiers import IDENTIFIERS
from broker.words.reference import SAY

ENVELOPE = "envelope"
EXAMPLE_MAX = 60
"""A longer value is left out of a table: the whole example below has it."""
FIXED = {"date": "2026-11-19", "date-time": "2026-11-19T22:10:00-03:00", "uri": "https://www.example.org/"}
OTHER_RULES = (
    "required", "unknown-member", "type", "enum", "pattern", "format", "date", "date-time", "uri", "too-short", "too-long",
    "too-few", "too-many", "below-minimum", "above-maximum", "repeated", "contains", "more-faults", "header-needed",
    "unknown-kind", "unknown-version", "kind-reserved", "unknown-code", "identifier-form", "check-digit", "unknown-country",
    "unknown-subdivision", "unknown-currency", "unknown-mid",
)  # fmt: skip
"""What schemas, code lists and identifiers find; the cross-field rules are read from their tables."""


class Edition(NamedTuple):
    """The reference in one language. `up`: from its folder to that of the code lists' pages."""

    language: str
    folder: str
    up: str

    def say(self, key: str, *gaps: object) -> str:
        said = SAY[key].in_(self.language)
        return said.format(*gaps) if gaps else said

    def refer(self, what: str, name: str) -> str:
        if what == "codelist":
            return f"[{name}]({self.up}codelists/{name}.md)"
        found = IDENTIFIERS.get(name)
        return f"[{found.title.in_(self.language) if found else name}](identifiers.md#{name})"

    def part(self, root: Schema, name: str) -> str:
        return f"[{titles.part_title(root, name, self.language)}](parts.md#{name})"

    def teller(self, root: Schema) -> Teller:
        def refer(what: str, name: str) -> str:
            return self.part(root, name) if what == "part" else self.refer(what, name)

        return Teller(root, self.language, Notation(_code, refer))


EDITIONS = (Edition("en", "", ""), Edition("es", "es/", "../"))


def pages() -> dict[str, str]:
    """Path below the folder of the reference -> the page."""
    written = {f"codelists/{name}.md": _codes(name) for name in titles.codelists()}
    for edition in EDITIONS:
        latest = dict(titles.kinds())
        for kind, version in latest.items():
            written[f"{edition.folder}{kind}.md"] = _kind(edition, kind, version)
        for name, page in (
            ("README", _index), ("header", _header), ("parts", _parts), ("rules", _rules), ("identifiers", _identifiers),
            ("codelists", _codelists),
        ):  # fmt: skip
            written[f"{edition.folder}{name}.md"] = page(edition)
    return {name: "\n".join(_mark(name, lines)) + "\n" for name, lines in written.items()}


def _mark(name: str, lines: Iterator[str]) -> list[str]:
    title, *rest = lines
    return [
        title,
        "",
        "<!-- written by `python -m broker.reference docs/reference`; what it says is in schemas/ -->",
        *rest,
    ]


def write(folder: Path) -> list[str]:
    """Write every page below `folder`, and remove pages that are no more; the names of those that changed."""
    wanted = pages()
    changed = []
    for path in sorted(folder.rglob("*.md")):
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
            changed.append(path.relative_to(folder).as_posix())
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            changed.append(name)
    return changed


# ── pages ──


def _index(e: Edition) -> Iterator[str]:
    yield f"# {e.say('reference')}"
    yield from ("", e.say("intro"), "", f"## {e.say('how')}", "")
    yield from (e.say(f"step-{n}") for n in range(1, 6))
    rows = [
        [f"[{titles.title(titles.schema(k, v), e.language) or k}]({k}.md)", f"`{k}`", v,
         titles.about(titles.schema(k, v), e.language),
         e.say("yes") if examples.of_kind(k) else ""]
        for k, v in titles.kinds()
    ]  # fmt: skip
    yield from ("", f"## {e.say('kinds')}", "")
    yield from _table([e.say("kind"), e.say("name"), e.say("version"), e.say("about"), e.say("has-example")], rows)
    yield from ("", f"## {e.say('all-kinds')}", "")
    for name in ("header", "parts", "identifiers", "codelists", "rules"):
        yield f"- [{e.say(name)}]({name}.md): {e.say('about-' + name)}"


def _about(e: Edition, schema: Schema) -> str:
    said = titles.about(schema, e.language)
    return f"{said}. " if said else ""


def _kind(e: Edition, kind: str, version: str) -> Iterator[str]:
    schema = titles.schema(kind, version)
    yield f"# {titles.title(schema, e.language) or kind}"
    yield from ("", f"`{kind}` {version}. {_about(e, schema)}[{e.say('back')}](README.md)")
    said = []
    for mark, key in (("x-scored", "scored"), ("x-requires", "requires"), ("x-originator", "originator")):
        value = schema.get(mark)
        if value:
            said.append(e.say(key, ", ".join(map(_code, value)) if isinstance(value, list) else _code(str(value))))
    if kind == titles.WITHDRAWAL:
        said.append(e.say("withdrawal"))
    if said:
        yield from ("", " ".join(said))
    yield from ("", f"## {e.say('fields')}", "", e.say("legend"), "")
    yield from _members(e, schema, describe.fields(schema, schema), kind)
    yield from _conditions(e, schema, schema)
    reached = describe.parts(schema, schema)
    if reached:
        yield from ("", f"{e.say('uses')} " + ", ".join(e.part(schema, part) for part in reached) + ".")
    found = examples.of_kind(kind)
    if found:
        name, *others = [name for name, _ in found]
        yield from ("", f"## {e.say('an-example')}", "", e.say("example-note", _code(name)))
        if others:
            yield from ("", e.say("others", ", ".join(map(_code, others))))
        yield from ("", "```json", examples.text(name), "```")


def _header(e: Edition) -> Iterator[str]:
    schema = titles.envelope()
    yield f"# {e.say('header')}"
    yield from ("", f"{_about(e, schema)}[{e.say('back')}](README.md)", "", e.say("header-note"))
    yield from ("", f"## {e.say('fields')}", "", e.say("legend"), "")
    yield from _members(e, schema, describe.header(schema), ENVELOPE)
    yield from _conditions(e, schema, describe.members_of(schema, "grading"))
    payload = max(examples.payloads().values(), key=lambda one: len(one["header"]))
    shown = json.dumps({"header": payload["header"], "body": {}}, ensure_ascii=False, indent=2)
    yield from ("", f"## {e.say('an-example')}", "", "```json", shown, "```")


def _parts(e: Edition) -> Iterator[str]:
    roots = {
        part: schema
        for k, v in titles.kinds()
        for schema in [titles.schema(k, v)]
        for part in describe.parts(schema, schema)
    }
    yield f"# {e.say('parts')}"
    yield from ("", f"{_sentence_case(e.say('about-parts'))} [{e.say('back')}](README.md)", "", e.say("legend"))
    yield from ("", f"## {e.say('standing')}", "", e.say("standing-note"))
    for part in sorted(roots):
        yield from ("", f"## {part}", "", f"**{titles.part_title(roots[part], part, e.language)}**", "")
        held = describe.members_of(roots[part], part)
        yield from _members(e, roots[part], describe.fields(roots[part], held), part)
        yield from _conditions(e, roots[part], held)


def _rules(e: Edition) -> Iterator[str]:
    yield f"# {e.say('rules')}"
    yield from ("", f"{_sentence_case(e.say('about-rules'))} [{e.say('back')}](README.md)", "", e.say("rules-note"))
    between: list[tuple[str, str]] = [(rule.code, "error") for rule in rules.SHAPE]
    between += [(rule.code, rule.severity) for rule in rules.RULES]
    for key, table in (("between", between), ("each", [(code, _severity(code)) for code in OTHER_RULES])):
        yield from ("", f"## {e.say(key)}", "")
        rows = [[_code(code), e.say(severity), _sentence(code, e.language)] for code, severity in table]
        yield from _table([e.say("rule"), e.say("severity"), e.say("sentence")], rows)


def _severity(code: str) -> str:
    return f"by-{code}" if code in ("unknown-code", "check-digit") else "error"


def _sentence(code: str, language: str) -> str:
    """As the phrases have it; what a fault fills in stands in angle quotes."""
    sentence = phrases()[language].get(f"rule.{code}", code)
    return sentence.replace("[", "").replace("]", "").replace("{", "‹").replace("}", "›")


def _identifiers(e: Edition) -> Iterator[str]:
    yield f"# {e.say('identifiers')}"
    yield from (
        "",
        f"{_sentence_case(e.say('about-identifiers'))} [{e.say('back')}](README.md)",
        "",
        e.say("identifiers-note"),
        "",
    )
    heads = [e.say(key) for key in ("format", "meaning", "checked", "example", "wrong-digit", "search", "personal")]
    rows = []
    for name, form in FORMATS.items():
        said = IDENTIFIERS[name]
        flaw = _digit_flaw(name, said.specimen)
        rows.append([
            f'<a id="{name}"></a>`{name}`', said.title.in_(e.language), said.checked.in_(e.language), _code(said.specimen),
            "" if flaw is None else e.say("error" if flaw.severe else "warning"),
            e.say("yes") if form.collected else "", e.say("yes") if form.personal else "",
        ])  # fmt: skip
    yield from _table(heads, rows)


def _digit_flaw(name: str, specimen: str) -> Flaw | None:
    """What is said about a check digit that is wrong, found by making each digit of a right value a wrong one."""
    for at, character in enumerate(specimen):
        if character.isdigit():
            _, flaw = examine(name, specimen[:at] + str((int(character) + 1) % 10) + specimen[at + 1 :])
            if flaw is not None and flaw.rule == "check-digit":
                return flaw
    return None


def _codelists(e: Edition) -> Iterator[str]:
    yield f"# {e.say('codelists')}"
    yield from (
        "",
        f"{_sentence_case(e.say('about-codelists'))} [{e.say('back')}](README.md)",
        "",
        e.say("codelists-note"),
        "",
    )
    rows = []
    for name in titles.codelists():
        found = titles.codelist(name)
        rows.append([f"[{name}]({e.up}codelists/{name}.md)", str(len(found.rows)), e.say(found.head["policy"]),
                     found.head["edition"], found.head["date"]])  # fmt: skip
    yield from _table([e.say("list"), e.say("number"), e.say("policy"), e.say("edition"), e.say("date")], rows)


def _codes(name: str) -> Iterator[str]:
    """One page for both editions: it is titles in every language and little else."""
    found = titles.codelist(name)
    yield f"# {name}"
    yield from ("", "[Code lists](../codelists.md) · [Listas de códigos](../es/codelists.md)", "")
    yield from (f"- {key}: {value}" for key, value in found.head.items())
    further = list(dict.fromkeys(column for row in found.rows.values() for column in row.more))
    rows = [
        [_code(row.code), *(row.titles.get(tag, "") for tag in titles.LANGUAGES), ", ".join(row.aliases),
         *(", ".join(row.more.get(column, ())) for column in further)]
        for row in found.rows.values()
    ]  # fmt: skip
    yield ""
    yield from _table(["code", *titles.LANGUAGES, "aliases", *further], rows)


# ── tables ──


def _members(e: Edition, root: Schema, held: Iterable[Field], owner: str) -> Iterator[str]:
    teller = e.teller(root)
    rows = []
    for field in held:
        name = _code(field.path)
        rows.append(
            [f"**{name}**" if field.needed else name, _meaning(e, field), teller.rule(field), _value(owner, field)]
        )
    yield from _table([e.say("field"), e.say("meaning"), e.say("rule"), e.say("example")], rows)


def _meaning(e: Edition, field: Field) -> str:
    header = words.HEADER.get(field.pointer.removeprefix("/header/"))
    if header is not None and field.pointer.startswith("/header/"):
        return f"{header[0].in_(e.language)}. {header[1].in_(e.language)}"
    return titles.title(field.schema, e.language) or ""


def _conditions(e: Edition, root: Schema, held: Schema) -> Iterator[str]:
    sentences = list(e.teller(root).conditions(held))
    if sentences:
        yield from ("", f"{e.say('conditions')}", "")
        yield from (f"- {sentence}" for sentence in sentences)


def _value(owner: str, field: Field) -> str:
    """What an example has there; else a value that would pass, where the schema tells one."""
    found = examples.values().get((owner, field.pointer), _possible(field.schema))
    if found is None:
        return ""
    written = json.dumps(found, ensure_ascii=False)
    return _code(written) if len(written) <= EXAMPLE_MAX else ""


def _possible(schema: Schema) -> Any:
    if schema.get("type") == "array":
        one = _possible(mapping(schema.get("items")))
        return None if one is None else [one]
    if describe.is_identifier(schema):
        one = _possible(mapping(schema["properties"]["value"]))
        return None if one is None else {"value": one, "as": "found"}
    if "enum" in schema:
        return schema["enum"][0]
    if "x-codelist" in schema:
        return next(iter(titles.codelist(str(schema["x-codelist"])).rows), None)
    form = str(schema.get("format", ""))
    if form in IDENTIFIERS:
        return IDENTIFIERS[form].specimen
    return FIXED.get(form, True if schema.get("type") == "boolean" else None)


def _sentence_case(text: str) -> str:
    return text[0].upper() + text[1:]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _row(heads)
    yield "|---" * len(heads) + "|"
    yield from (_row(row) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


if __name__ == "__main__":
    for changed_page in write(Path(sys.argv[1])):
        print(changed_page)
