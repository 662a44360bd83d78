"""What holds of a folder of schemas whose kinds people can read: of ours, and of one that a newcomer added a kind to.

Each function takes the folder, and says with an assertion what is not as it should be. `tests/unit` runs them over the
shipped folder, `tests/unit/test_newcomer.py` over a copy with one kind more: no Python knows either.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from broker import describe, examples, reference, schemafiles, show, titles
from broker.cli import main
from broker.commands import checking
from broker.language import load_language

NOW = datetime(2026, 11, 20, tzinfo=UTC)
AS_IT_STANDS = {"RED", "AMBER", "AMBER+STRICT", "GREEN", "CLEAR", "I", "II", "III", "5x5x5", "4x4", "3x5x2"}
"""Grades, TLP and media types are read as they stand; whatever is a word has a title."""


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Commands and hub read their schemas from that folder, as with the setting."""
    before = os.environ.get(schemafiles.SETTING)
    os.environ[schemafiles.SETTING] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[schemafiles.SETTING]
        else:
            os.environ[schemafiles.SETTING] = before


def said_by(*arguments: str) -> str:
    """What a command prints; it must succeed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(arguments) == 0, (arguments, printed.getvalue())
    return printed.getvalue()


def flowing(text: str) -> str:
    return "".join(text.split())


# ── titles ──


def everything_has_a_title(folder: Path) -> None:
    """Kinds, what they are for, every field, every shared part and every word of an enum: in English and Spanish."""
    with reading(folder):
        for kind, version in titles.kinds():
            schema = titles.schema(kind, version)
            parts = describe.parts(schema, schema)
            assert whole(schema.get("x-title"), "en", "es"), kind
            assert whole(schema.get("x-about"), "en", "es"), kind
            assert not [part for part in parts if not whole(schema["$defs"][part].get("x-title"), "en", "es")], kind
            for held in (schema, *(describe.members_of(schema, part) for part in parts)):
                untitled = [f.path for f in describe.fields(schema, held) if not titles.title(f.schema, "es")]
                assert untitled == [], kind
            assert unnamed_words(schema) == set(), kind
        assert unnamed_words(titles.envelope()) == set()
        assert whole(titles.envelope()["x-about"], "en", "es")


def whole(found: Any, *languages: str) -> bool:
    return isinstance(found, Mapping) and all(found.get(language) for language in languages or titles.LANGUAGES)


def unnamed_words(value: Any) -> set[str]:
    """Words of enums that nobody gave a title."""
    if isinstance(value, list):
        return set().union(*map(unnamed_words, value))
    if not isinstance(value, Mapping):
        return set()
    wanted = {word for word in value.get("enum", ()) if isinstance(word, str) and not _as_it_stands(word)}
    lacking = {word for word in wanted if not whole(value.get("x-words", {}).get(word), "en", "es")}
    below = (item for name, item in value.items() if name != "if")  # a condition names words said elsewhere
    return lacking.union(*map(unnamed_words, below))


def _as_it_stands(word: str) -> bool:
    return word in AS_IT_STANDS or "/" in word or re.fullmatch("[A-GX1-6]", word) is not None


# ── the reference ──


def the_reference_is_whole(folder: Path, written: Path) -> None:
    """Both editions of it, with every kind, field, link and example; `written`: where its pages (would) lie."""
    with reading(folder):
        pages = reference.pages()
        nothing_in_one_language_alone(pages)
        every_field_is_on_its_page(pages)
        for name, text in pages.items():
            every_link_leads_somewhere(pages, name, written)
            every_row_has_all_its_cells(text)
            assert "None" not in text.splitlines()[0], name
        every_example_on_a_page_is_valid(pages, folder)


def nothing_in_one_language_alone(pages: Mapping[str, str]) -> None:
    spanish = {name.removeprefix("es/") for name in pages if name.startswith("es/")}

    assert spanish == {name for name in pages if "/" not in name}


def every_field_is_on_its_page(pages: Mapping[str, str]) -> None:
    for kind, version in titles.kinds():
        for name in titles.schema(kind, version)["properties"]:
            for edition in ("", "es/"):
                row = rf"^\| (\*\*)?`{name}`(\*\*)? \| "
                assert re.search(row, pages[f"{edition}{kind}.md"], re.MULTILINE), (kind, name)


def every_link_leads_somewhere(pages: Mapping[str, str], name: str, written: Path) -> None:
    """To a page, and to an anchor that is on it."""
    for target in re.findall(r"\]\(([^)]+)\)", pages[name]):
        path, _, anchor = target.partition("#")
        to = (written / name).parent / path
        text = pages.get(to.resolve().relative_to(written).as_posix()) if written in to.resolve().parents else None
        assert text is not None or to.is_file(), target
        assert not anchor or (text is not None and (f'<a id="{anchor}">' in text or f"\n## {anchor}\n" in text)), target


def every_row_has_all_its_cells(page: str) -> None:
    """A bar inside a cell is escaped."""
    heads = 0
    for line in page.splitlines():
        if not line.startswith("|"):
            heads = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        heads = heads or cells
        assert cells == heads, line


def every_example_on_a_page_is_valid(pages: Mapping[str, str], folder: Path) -> None:
    """The whole messages, as they stand on the page."""
    language = load_language(folder)
    for name, text in pages.items():
        for block in re.findall(r"```json\n(.*?)\n```", text, re.DOTALL):
            payload = json.loads(block)
            assert language.check_header(payload) == (), name
            assert payload["body"] == {} or language.read_body(payload, now=NOW).faults == (), name


# ── the commands ──


def the_schema_commands_tell_of(kind: str, folder: Path) -> None:
    """`schema list`, `show` in both languages, and `example`, which can be signed as it stands."""
    with reading(folder):
        schema = titles.schema(kind, dict(titles.kinds())[kind])
        for language in ("en", "es"):
            listed = said_by("schema", "list", "--language", language)
            assert re.search(rf"^{kind} .*{re.escape(titles.title(schema, language) or '?')}", listed, re.MULTILINE)
            said = said_by("schema", "show", kind, "--language", language)
            assert flowing(titles.about(schema, language)) in flowing(said)
            lines = {line[2:].split("  ")[0].strip() for line in said.splitlines()}
            parts = describe.parts(schema, schema)
            for held in (schema, *(describe.members_of(schema, part) for part in parts)):
                for field in describe.fields(schema, held):
                    assert field.path in lines
                    assert (titles.title(field.schema, language) or "?").split()[0] in said
                    for words in field.schema.get("x-words", {}).values():
                        assert flowing(titles.best(words, language) or "?") in flowing(said)
        if kind in examples.kinds():
            payload = json.loads(said_by("schema", "example", kind))
            assert examples.kind_of(payload) == kind


def the_example_is_checked(name: str, language: str, folder: Path) -> None:
    """Without a fault, under its own heading, and told as lines."""
    with reading(folder):
        finding = checking.examined(name, examples.text(name).encode(), load_language(folder), language)
        told = "\n".join(checking._lines(finding, language, painted=False))

    assert finding.faults == []
    assert told.splitlines()[0].startswith(f"── {name} · ")


# ── show ──


class Read(HTMLParser):
    """What a browser would make of a page: its tags with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.style = ""
        self._in_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self.text.append(data)

    @property
    def said(self) -> str:
        return flowing("".join(self.text))


def the_example_is_shown_whole(name: str, language: str, folder: Path) -> None:
    """As text and as HTML: its marking on top and bottom, every leaf of its body, every word of an enum by its title."""
    with reading(folder):
        payload = json.loads(examples.text(name))
        lines = show.page(payload, language).splitlines()
        page = Read(show.document(payload, language))
        marking = f"TLP:{payload['header']['handling']['tlp']}"

        assert lines[0] == lines[-1]
        assert marking in lines[0]
        assert unsaid(payload, flowing("\n".join(lines)), language) == []
        assert page.said.count(marking) >= 3
        assert ("html", {"lang": language}) in page.tags
        assert unsaid(payload, page.said, language) == []


def unsaid(payload: Mapping[str, Any], page: str, language: str) -> list[str]:
    """Leaves of the body that are not on the page: a word of an enum by its title, anything else as it is."""
    schema = titles.schema_of(payload)
    missing = []
    for pointer, leaf in _leaves(payload["body"], "/body"):
        place = titles.at(schema, pointer)
        title = titles.value(place, leaf, language) if "enum" in place else None
        if flowing(title or leaf) not in page:
            missing.append(f"{pointer}: {leaf}")
    return missing


def _leaves(value: object, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{at}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{at}/{index}")
    elif not isinstance(value, bool):
        yield at, str(value)
