"""Kinds and their versions: what is unknown, what is reserved, and that a new one is a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from broker.errors import Fault, SetupRefused
from broker.language import Identifier, load_language
from broker.language.kinds import schemas_folder
from tests.reading import BODY, LANGUAGE, NOW, message, told

FOLDER = schemas_folder()


KINDS = (
    "alert", "bulletin", "comment", "membership", "notice", "outcome", "reply", "request", "risk-profile", "seizure",
    "situation-report", "trader-status",
)  # fmt: skip
"""product.md, Vocabulary."""


def test_an_unknown_kind_or_version_is_answered_with_the_known_ones() -> None:
    """A withdrawal is no kind that anybody sends: it has the kind of its target."""
    read = LANGUAGE.read_body

    (kind,) = read(message(kind="telegram"), now=NOW).faults
    (version,) = read(message(version="9.0"), now=NOW).faults
    (withdrawal,) = read(message(kind="withdrawal"), now=NOW).faults

    assert (kind.rule, kind.pointer) == ("unknown-kind", "/header/kind")
    assert kind.allowed == tuple(sorted({name for name, _ in LANGUAGE.kinds} - {"withdrawal"}))
    assert set(KINDS) <= set(kind.allowed)
    assert (version.rule, version.pointer, version.allowed) == ("unknown-version", "/header/version", ("1.0",))
    assert withdrawal.rule == "unknown-kind"


def test_only_the_hub_sends_notices() -> None:
    """`x-originator`: a member that could forge a notice could take back others' messages in their readers' eyes."""
    body = {"event": "superseded-not-released", "about": "CL:1", "text": "…"}

    assert told(LANGUAGE.read_body(message(body=body, kind="notice"), now=NOW).faults) == {
        ("kind-reserved", "/header/kind")
    }
    assert LANGUAGE.read_body(message(body=body, kind="notice", originator="hub"), now=NOW).faults == ()


def test_a_withdrawal_of_any_kind_has_one_body() -> None:
    """`{"reason_code", "text"}`, with a reason from the list."""
    handling = {"tlp": "AMBER", "release": None}

    def reading(body: dict[str, Any], kind: str) -> tuple[Fault, ...]:
        payload = message(body=body, kind=kind, withdraws="CL:1", handling=handling)
        return LANGUAGE.check_header(payload) or LANGUAGE.read_body(payload, now=NOW).faults

    assert reading({"reason_code": "duplicate", "text": "twice"}, "seizure") == ()
    assert reading({"reason_code": "duplicate", "text": "twice"}, "alert") == ()
    assert told(reading({"reason_code": "whim", "text": "…"}, "alert")) == {("unknown-code", "/body/reason_code")}
    assert ("required", "/body/text") in told(reading(BODY, "seizure"))


def test_a_new_kind_is_a_file_and_nothing_else(tmp_path: Path) -> None:
    """A schema and a code list, dropped into a copy: read, routed, checked and searchable at once."""
    folder = tmp_path / "schemas"
    shutil.copytree(FOLDER, folder)
    title = {"x-title": {"en": "x", "es": "x"}}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["what"],
        "properties": {
            "what": {"type": "string", "maxLength": 20, "x-codelist": "gadgets", "x-route": "heading", **title},
            "port": {"type": "string", "maxLength": 5, "format": "locode", "x-route": "country", **title},
            "codes": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 8, "format": "hs"},
                      "x-route": "hs", **title},
            "box": {"type": "object", "additionalProperties": False, **title, "properties": {
                "value": {"type": "string", "maxLength": 16, "format": "iso6346", **title}}},
            "from": {"type": "string", "format": "date", "x-role": "from", **title},
            "to": {"type": "string", "format": "date", "x-role": "until", **title},
        },
        "x-title": {"en": "Gadget report", "es": "Informe de artefactos"},
    }  # fmt: skip
    (folder / "messages/gadget").mkdir()
    (folder / "messages/gadget/2.1.json").write_text(json.dumps(schema), encoding="utf-8")
    (folder / "codelists/gadgets.csv").write_text(
        "# source: us\n# edition: 1\n# date: 2026-11-21\n# policy: error\n"
        "code,title_en,title_es,aliases\nphone,Phone,Teléfono,mobile\n",
        encoding="utf-8",
    )
    language = load_language(folder)
    body = {"what": "phone", "port": "PECLL", "codes": ["8517", "8517.13"], "box": {"value": "csqu3054383"}}
    reading = language.read_body(message(kind="gadget", version="2.1", body=body), now=NOW)
    wrong = {"what": "mobile", "from": "2026-02-02", "to": "2026-01-01"}

    assert language.kinds["gadget", "2.1"].titles["es"] == "Informe de artefactos"
    assert reading.faults == reading.warnings == ()
    assert reading.attributes == {
        "heading": frozenset({"phone"}), "country": frozenset({"PE"}), "hs": frozenset({"8517", "851713"}),
    }  # fmt: skip
    assert reading.identifiers == (Identifier("iso6346", "CSQU3054383", "/body/box/value"),)
    assert told(language.read_body(message(kind="gadget", version="2.1", body=wrong), now=NOW).faults) == {
        ("unknown-code", "/body/what"), ("until-before-from", "/body/to"),
    }  # fmt: skip


MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("unknown annotation", {"properties": {"a": {"type": "string", "x-colour": "red"}}}),
    ("unknown route", {"properties": {"a": {"type": "string", "x-route": "colour"}}}),
    ("unknown list", {"properties": {"a": {"type": "string", "x-codelist": "colours"}}}),
    ("unknown role", {"properties": {"a": {"type": "string", "x-role": "hero"}}}),
    ("unknown format", {"properties": {"a": {"type": "string", "format": "colour"}}}),
    ("half a title", {"properties": {"a": {"type": "string", "x-title": {"en": "A"}}}}),
    ("out of reach", {"patternProperties": {"^a": {"type": "string", "x-route": "hs"}}}),
    ("remote reference", {"properties": {"a": {"$ref": "https://example.org/a.json"}}}),
    ("file reference", {"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
    ("circle", {"$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"}),
    ("nowhere", {"properties": {"a": {"$ref": "#/$defs/gone"}}}),
    ("no schema", {"type": "colour"}),
]


@pytest.mark.parametrize(("name", "schema"), MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_schema_that_is_not_as_needed_stops_the_start(tmp_path: Path, name: str, schema: dict[str, Any]) -> None:
    """An annotation that is silently never read would route nothing and tell nobody."""
    folder = tmp_path / "schemas"
    shutil.copytree(FOLDER, folder)
    (folder / "messages/broken").mkdir()
    (folder / "messages/broken/1.0.json").write_text(json.dumps(schema), encoding="utf-8")

    with pytest.raises(SetupRefused):
        load_language(folder)
