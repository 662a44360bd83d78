"""A minor version only adds: whatever was valid under the old one is valid under the new one, and means the same."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from broker.errors import SetupRefused
from broker.language import load_language
from broker.language.compatibility import breaks
from broker.language.kinds import schemas_folder
from broker.language.schema import compile_schema
from tests.generate import LANGUAGE, NOW, kinds, message
from tests.small_schemas import UNIVERSE, Schema, pairs, subschemas

Edit = Callable[[Schema], Any]

OLD: Schema = {
    "type": "object", "additionalProperties": False, "required": ["a"], "title": "A kind", "minProperties": 1,
    "properties": {
        "a": {"type": "string", "maxLength": 40, "minLength": 2, "x-codelist": "modes", "x-route": "mode", "x-weight": 2},
        "b": {"enum": ["x", "y"]},
        "c": {"type": "array", "maxItems": 8, "items": {"type": "string", "format": "iso6346", "maxLength": 16}},
        "n": {"type": "integer", "minimum": 0, "maximum": 9},
        "title": {"const": "z"},
        "p": {"$ref": "#/$defs/part", "x-title": {"en": "P", "es": "P"}},
        "few": {"$ref": "#/$defs/few", "maxProperties": 2},
        "o": {"type": "object", "maxProperties": 8},
        "w": {"type": "string", "pattern": "^a", "x-nominal": True},
    },
    "allOf": [
        {"if": {"required": ["b"], "properties": {"b": {"const": "x"}}}, "then": {"required": ["c"]}},
        {"if": {"properties": {"title": {"const": "z"}}}, "then": {"properties": {"n": {"x-role": "part"}}}},
    ],
    "$defs": {"part": {
        "type": "object", "additionalProperties": False, "maxProperties": 3, "required": ["q"],
        "properties": {"q": {"type": "boolean"}, "r": {"type": ["string", "null"], "maxLength": 3}},
    }, "few": {"type": "object", "maxProperties": 3}},
}  # fmt: skip


def at(pointer: str, **changes: Any) -> Edit:
    """Keywords of the subschema there, replaced; None takes one away. An underscore stands for what Python has words for."""

    def edit(schema: Schema) -> None:
        here: Any = schema
        for step in filter(None, pointer.split("/")):
            here = here[int(step)] if isinstance(here, list) else here[step]
        for name, value in changes.items():
            keyword = {"ref": "$ref", "if_": "if"}.get(name, name.replace("x_", "x-"))
            here.pop(keyword, None) if value is None else here.update({keyword: value})

    return edit


A, B, C, N, P = "properties/a", "properties/b", "properties/c", "properties/n", "$defs/part"
WIDER: list[tuple[str, Edit]] = [
    ("nothing", lambda schema: None),
    ("a title", at("", title="Another")),
    ("a member's title", at(A, **{"x-title": {"en": "A", "es": "A"}}, description="A")),
    ("a weight", at(A, **{"x-weight": 5})),
    ("a member that may be absent", at("properties", z={"type": "string", "x-route": "country"})),
    ("a nominal member that may be absent", at("properties", z={"type": "string", "x-nominal": True})),
    ("a member of a part", at(f"{P}/properties", z={"type": "string"})),
    ("a part", at("$defs", more={"type": "string"})),
    ("what was required may be absent", at("", required=[])),
    ("room for longer", at(A, maxLength=50)),
    ("room for shorter", at(A, minLength=1)),
    ("no length at all", at(A, maxLength=None)),
    ("a word of an enum", at(B, enum=["x", "y", "z"])),
    ("words in another order", at(B, enum=["y", "x"])),
    ("a constant becomes a choice", at("properties/title", const=None, enum=["z", "zz"])),
    ("more items", at(C, maxItems=9)),
    ("more of everything", at(N, minimum=-1, maximum=10)),
    ("another type besides", at(f"{P}/properties/q", type=["boolean", "null"])),
    ("any type", at(f"{P}/properties/q", type=None)),
    ("a condition less", lambda schema: schema["allOf"].pop(0)),
    ("conditions in another order", lambda schema: schema["allOf"].reverse()),
    ("more members of a part where it stands", at("properties/few", maxProperties=4)),
    ("fewer members are enough", at("", minProperties=None)),
]  # fmt: skip
NARROWER: list[tuple[str, Edit]] = [
    ("a member is gone", lambda schema: schema["properties"].pop("n")),
    ("a member of a part is gone", lambda schema: schema["$defs"]["part"]["properties"].pop("r")),
    ("a member is needed", at("", required=["a", "b"])),
    ("a member of a part is needed", at(P, required=["q", "r"])),
    ("another type", at(N, type="string")),
    ("a type less", at(f"{P}/properties/r", type="string")),
    ("a type where there was none", at(B, type="string")),
    ("less room", at(A, maxLength=39)),
    ("room where there was no end", at("properties/w", maxLength=4000)),
    ("longer than before", at(A, minLength=3)),
    ("fewer items", at(C, maxItems=7)),
    ("items once only", at(C, uniqueItems=True)),
    ("some item at least", at(C, minItems=1)),
    ("an item that there must be", at(C, contains={"const": "x"})),
    ("a word less", at(B, enum=["x"])),
    ("a word for another", at(B, enum=["x", "z"])),
    ("another constant", at("properties/title", const="zz")),
    ("smaller numbers", at(N, maximum=8)),
    ("greater numbers", at(N, minimum=1)),
    ("multiples only", at(N, multipleOf=2)),
    ("another pattern", at("properties/w", pattern="^b")),
    ("a format", at(A, format="iso6346")),
    ("no format: it would not be found again", at(f"{C}/items", format=None)),
    ("another code list", at(A, **{"x-codelist": "units"})),
    ("no code list", at(A, **{"x-codelist": None})),
    ("another route", at(A, **{"x-route": "heading"})),
    ("a route", at(B, **{"x-route": "mode"})),
    ("a role", at(N, **{"x-role": "part"})),
    ("a heading", at("properties/o", **{"x-heading": "drugs"})),
    ("nominal now", at(A, **{"x-nominal": True})),
    ("nominal no longer", at("properties/w", **{"x-nominal": None})),
    ("needs more of the header", at("", **{"x-requires": ["case"]})),
    ("belongs to the hub", at("", **{"x-originator": "hub"})),
    ("scored", at("", **{"x-scored": True})),
    ("open now", at("", additionalProperties=None)),
    ("closed now", at("properties/o", additionalProperties=False)),
    ("a member where any was free", at("properties/o", properties={"z": {"type": "string"}})),
    ("more members", at("", minProperties=2)),
    ("fewer members of a part where it stands", at("properties/few", maxProperties=1)),
    ("fewer members of a part, wherever it stands", at(P, maxProperties=1)),
    ("fewer members of a part, behind a limit of its place", at("$defs/few", maxProperties=1)),
    ("another part", at("properties/p", **{"$ref": "#/$defs/few"})),
    ("a condition", lambda schema: schema["allOf"].append({"required": ["n"]})),
    ("another condition", at("allOf/0/then", required=["n"])),
    ("the same condition of another value", at("allOf/0/if/properties/b", const="y")),
    ("a condition on a member called title", at("allOf/1/if/properties/title", const="zz")),
    ("a condition that said what something means is gone", lambda schema: schema["allOf"].pop(1)),
    ("otherwise", at("allOf/0", **{"else": {"required": ["n"]}})),
    ("a demand outside the conditions", at("", anyOf=[{"required": ["b"]}])),
    ("never", at("", **{"not": {"required": ["b"]}})),
    ("depends", at("", dependentRequired={"a": ["b"]})),
    ("items are free", at(C, items=None)),
    ("items are bound", at("properties/o", items={"type": "string"})),
    ("nothing at all is allowed there", lambda schema: schema["properties"].update(n=False)),
    ("moving references", at("", **{"$dynamicRef": "#x"})),
]  # fmt: skip


def edited(edit: Edit) -> Schema:
    schema = copy.deepcopy(OLD)
    edit(schema)
    return schema


@pytest.mark.parametrize(("name", "edit"), WIDER, ids=[case[0] for case in WIDER])
def test_what_only_adds_may_be_a_minor_version(name: str, edit: Edit) -> None:
    """Members that may be absent, words, room; conditions that fall away; other titles and weights."""
    assert breaks(OLD, edited(edit)) == []


@pytest.mark.parametrize(("name", "edit"), NARROWER, ids=[case[0] for case in NARROWER])
def test_what_asks_for_more_or_means_something_else_is_another_major_version(name: str, edit: Edit) -> None:
    """Each with a sentence that says where."""
    broken = breaks(OLD, edited(edit))

    assert broken
    assert all(sentence.startswith("/") and ": " in sentence for sentence in broken)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"enum": [1]}, {"enum": [True]}),
        ({"const": False}, {"const": 0}),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b"], "const": "a"}),
        ({}, {"const": 1}),
        ({"allOf": [{"const": 1}]}, {"allOf": [{"const": True}]}),
        ({"properties": {"a": True}}, {"properties": {"a": False}}),
        ({"additionalProperties": {"const": 2}}, {"additionalProperties": {"const": 2}, "properties": {"a": {"const": 1}}}),
        ({"additionalProperties": False, "patternProperties": {"a": {}}},
         {"additionalProperties": False, "patternProperties": {"a": {}}, "properties": {"ab": {"const": 1}}}),
        ({"$ref": "#/$defs/a", "required": ["b"], "$defs": {"a": {"required": ["a"]}}},
         {"$ref": "#/$defs/a", "required": ["b"], "$defs": {"a": {"required": ["a", "c"]}}}),
        ({"not": {"properties": {"title": {"const": 1}}}}, {"not": {"properties": {"title": {"const": 2}}}}),
        ({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"const": 1}}}, {"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {}}}),
        ({"properties": {"a": {"$id": "x"}}}, {"properties": {"a": {"$id": "y"}}}),
    ],
)  # fmt: skip
def test_what_looks_alike_to_a_quick_eye_is_told_apart(old: Schema, new: Schema) -> None:
    """`1` and `true`, a member called `title`, a part behind its place's own words, what was free before."""
    assert breaks(old, new)
    assert breaks(old, old) == breaks(new, new) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}}},
        {"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/gone"},
        {"not": {"$ref": "#"}},
    ],
)
def test_a_reference_that_leads_nowhere_or_in_a_circle_is_refused_in_a_sentence(schema: Schema) -> None:
    """Whatever stands in the file, the start ends with a sentence."""
    with pytest.raises(SetupRefused, match=r"circle|without end"):
        breaks(schema, schema)


# --- whatever is changed -----------------------------------------------------------------------------------------


def test_no_change_that_is_let_pass_refuses_what_was_valid() -> None:
    """Some thousand pairs of small schemas, and every value of a small world: promise of the module, by trying."""
    passed = []

    @settings(deadline=None, max_examples=600, suppress_health_check=list(HealthCheck), database=None)
    @given(pairs())
    def holds(pair: tuple[Schema, Schema]) -> None:
        old, new = pair
        if breaks(old, new):
            return
        was, now = compile_schema("old", old), compile_schema("new", new)
        valid = [value for value in UNIVERSE if was.is_valid(value)]
        assert [value for value in valid if not now.is_valid(value)] == []
        if old != new and valid:
            passed.append(len(valid))

    holds()
    assert len(passed) >= 40


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_of_ours_that_only_gains_takes_every_message_it_took(kind: str) -> None:
    """More room, more members, more words, at random places of the real schema; then its generated messages."""
    rng = Random(kind)
    old = dict(LANGUAGE.kinds[kind, "1.0"].schema)
    for _ in range(6):
        new = copy.deepcopy(old)
        for holder in rng.sample(list(subschemas(new)), 8):
            if "maxLength" in holder:
                holder["maxLength"] += 1
            if isinstance(holder.get("properties"), dict) and holder.get("additionalProperties") is False:
                holder["properties"]["more"] = {"type": "string", "maxLength": 9, "x-route": "country"}
            if "enum" in holder and "x-role" not in holder and "if" not in json.dumps(old.get("allOf", "")):
                holder["enum"] = ["more", *holder["enum"]]
        assert breaks(old, new) == []

        validator = compile_schema(kind, new)
        for fullness in (0.1, 0.4, 1):
            assert validator.is_valid(message(kind, rng, fullness=fullness)["body"])


# --- in a folder -------------------------------------------------------------------------------------------------


def folder_with(tmp_path: Path, version: str, edit: Edit) -> Path:
    """Our schemas, and a seizure of that version besides, edited from 1.0."""
    folder = tmp_path / "schemas"
    shutil.copytree(schemas_folder(), folder)
    schema = json.loads((folder / "messages/seizure/1.0.json").read_text(encoding="utf-8"))
    edit(schema)
    (folder / f"messages/seizure/{version}.json").write_text(json.dumps(schema), encoding="utf-8")
    return folder


def test_a_minor_version_stands_beside_the_one_before(tmp_path: Path) -> None:
    """Both are known; a message is read by the version that it names."""
    title = {"en": "Tide", "es": "Marea"}
    tide = at("properties", tide={"type": "string", "maxLength": 9, "x-title": title})
    language = load_language(folder_with(tmp_path, "1.1", tide))
    payload = message("seizure", Random(4), language=language)
    payload["body"]["tide"] = "high"
    newer = copy.deepcopy(payload)
    newer["header"]["version"] = "1.1"
    unknown = language.read_body(
        message("seizure", Random(4)) | {"header": payload["header"] | {"version": "1.2"}}, now=NOW
    )

    assert language.read_body(newer, now=NOW).faults == ()
    assert [fault.pointer for fault in language.read_body(payload, now=NOW).faults] == ["/body/tide"]
    assert unknown.faults[0].allowed == ("1.0", "1.1")


@pytest.mark.parametrize(
    ("version", "edit", "said"),
    [
        ("1.1", at("properties/agency", maxLength=10), r"seizure/1\.1 breaks 1\.0: /agency: maxLength was 120"),
        (
            "1.1",
            lambda schema: schema["required"].append("procedure"),
            r"seizure/1\.1 breaks 1\.0: /: procedure was not",
        ),
        ("1.10", lambda schema: schema["properties"].pop("remarks"), r"seizure/1\.10 breaks 1\.0: /: remarks is gone"),
        ("0.9", at("properties", tide={"type": "string"}), None),
        ("2.0", lambda schema: schema["properties"].pop("remarks"), None),
    ],
)
def test_a_version_that_breaks_its_minor_rule_stops_the_start(
    tmp_path: Path, version: str, edit: Edit, said: str | None
) -> None:
    """With a sentence that names both versions and the place; another major number may do as it likes."""
    folder = folder_with(tmp_path, version, edit)

    if said is None:
        assert ("seizure", version) in load_language(folder).kinds
        return
    with pytest.raises(SetupRefused, match=said) as refused:
        load_language(folder)
    assert "next major number" in str(refused.value)


def test_a_part_that_narrows_breaks_every_version_that_refers_to_it_anew(tmp_path: Path) -> None:
    """1.1 of a kind may refer to 1.1 of the shared parts; the comparison follows it there."""
    folder = folder_with(tmp_path, "1.1", lambda schema: None)
    parts = json.loads((folder / "common/1.0.json").read_text(encoding="utf-8"))
    parts["$id"] = "urn:tidewaiter:common:1.1"
    parts["$defs"]["place"]["properties"]["name"]["maxLength"] = 20
    (folder / "common/1.1.json").write_text(json.dumps(parts), encoding="utf-8")
    newer = folder / "messages/seizure/1.1.json"
    newer.write_text(newer.read_text(encoding="utf-8").replace("common:1.0", "common:1.1"), encoding="utf-8")

    with pytest.raises(SetupRefused, match=r"/place/name: maxLength was 200"):
        load_language(folder)
