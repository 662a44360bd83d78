"""A kind's schema is bundled with the parts it refers to: it stands alone, means the same, and nothing is ever fetched."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from broker import app, schemafiles
from broker.cli import main
from broker.config import read_config
from broker.doctor import machine, refused
from broker.errors import SetupRefused
from broker.language.schema import compile_schema
from tests.generate import kinds, message
from tests.second_opinion import second_opinion

FOLDER = schemafiles.folder()
PARTS = schemafiles.parts(FOLDER)
BUNDLED = schemafiles.load(FOLDER)
FILES = {(kind, version): schemafiles.read_json(path) for kind, version, path in schemafiles.kind_files(FOLDER)}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


# --- ours --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", BUNDLED, ids="/".join)
def test_a_bundled_schema_stands_alone(one: tuple[str, str]) -> None:
    """Every reference leads to a part of its own, and it has no part that nothing leads to."""
    schema = BUNDLED[one]
    wanted = set(references(schema))

    assert wanted == {f"#/$defs/{name}" for name in schema.get("$defs", {})}
    assert compile_schema("alone", schema)


@pytest.mark.parametrize("one", FILES, ids="/".join)
def test_a_file_says_which_kind_and_version_it_is(one: tuple[str, str]) -> None:
    """By its place and by its urn; a copied file that forgot to change one is found here."""
    assert FILES[one]["$id"] == f"urn:tidewaiter:{one[0]}:{one[1]}"
    assert FILES[one]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("kind", kinds())
def test_bundling_changes_no_verdict(kind: str) -> None:
    """Another validator, which looks the parts up by their urn, says the same of what is right and of what is not."""
    whole = second_opinion(FILES[kind, "1.0"], PARTS)
    bundled = compile_schema(kind, BUNDLED[kind, "1.0"])
    rng = Random(kind)
    for fullness in (0.1, 0.2, 0.4, 0.6, 0.8, 1):
        body = message(kind, rng, fullness=fullness)["body"]
        wrong = copy.deepcopy(body)
        holder = rng.choice([part for part in objects(wrong) if part])
        holder[rng.choice(sorted(holder))] = rng.choice([7, [], {"zz": 1}, "", None])

        assert bundled.is_valid(body)
        assert whole.is_valid(body)
        assert bundled.is_valid(wrong) == whole.is_valid(wrong)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


# --- by hand -----------------------------------------------------------------------------------------------------

SHARED: dict[str, dict[str, Any]] = {
    "urn:a": {"$defs": {
        "one": {"type": "string"}, "two": {"items": {"$ref": "#/$defs/one"}}, "far": {"$ref": "urn:b#/$defs/three"},
        "round": {"properties": {"again": {"$ref": "#/$defs/round"}}},
    }},
    "urn:b": {"$defs": {"three": {"type": "integer"}, "one": {"type": "null"}}},
}  # fmt: skip


def bundled(schema: dict[str, Any]) -> dict[str, Any]:
    return schemafiles.bundled("test/1.0", schema, SHARED)


@pytest.mark.parametrize(
    ("schema", "parts"),
    [
        ({"type": "object"}, None),
        ({"$ref": "urn:a#/$defs/one"}, {"one": {"type": "string"}}),
        ({"$ref": "urn:a#/$defs/two"}, {"two": {"items": {"$ref": "#/$defs/one"}}, "one": {"type": "string"}}),
        ({"$ref": "urn:a#/$defs/far"}, {"far": {"$ref": "#/$defs/three"}, "three": {"type": "integer"}}),
        ({"allOf": [{"$ref": "urn:a#/$defs/one"}, {"not": {"$ref": "urn:b#/$defs/three"}}]},
         {"one": {"type": "string"}, "three": {"type": "integer"}}),
        ({"$ref": "#/$defs/own", "$defs": {"own": {"$ref": "urn:a#/$defs/one"}}},
         {"own": {"$ref": "#/$defs/one"}, "one": {"type": "string"}}),
    ],
    ids=["none", "one", "one that needs another", "one of another file", "inside conditions", "from a part of its own"],
)  # fmt: skip
def test_what_is_referred_to_is_copied_in_and_no_more(schema: dict[str, Any], parts: dict[str, Any] | None) -> None:
    """By name, whole, with what it needs itself; the file and the shared parts stay as they were."""
    before = copy.deepcopy((schema, SHARED))

    assert bundled(schema).get("$defs") == parts
    assert (schema, SHARED) == before


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "urn:a#/$defs/gone"}, "there is no part urn:a#/\\$defs/gone"),
        ({"$ref": "urn:c#/$defs/one"}, "there is no part urn:c"),
        ({"$ref": "urn:a#/$defs/two/items"}, "there is no part"),
        ({"$ref": "https://example.org/a.json#/$defs/one"}, "there is no part https"),
        ({"$ref": "file:///etc/passwd#/$defs/one"}, "there is no part file"),
        ({"allOf": [{"$ref": "urn:a#/$defs/one"}, {"$ref": "urn:b#/$defs/one"}]}, "two parts are called one"),
        ({"$ref": "urn:a#/$defs/one", "$defs": {"one": {}}}, "two parts are called one"),
    ],
)
def test_a_part_that_nobody_has_or_two_have_is_refused_in_a_sentence(schema: dict[str, Any], said: str) -> None:
    """Named with the kind that asked for it."""
    with pytest.raises(SetupRefused, match=f"test/1.0: {said}"):
        bundled(schema)


def test_a_part_that_refers_to_itself_ends(tmp_path: Path) -> None:
    """Bundled once; that it leads in a circle is for the annotations' reader to refuse."""
    assert bundled({"$ref": "urn:a#/$defs/round"})["$defs"] == {
        "round": {"properties": {"again": {"$ref": "#/$defs/round"}}}
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '"schema"', "\ufeff{}", "{'a': 1}"])
def test_a_file_that_holds_no_object_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    """A half-written file stops the start; so does one that is not there."""
    path = tmp_path / "half.json"
    path.write_text(text, encoding="utf-8")

    for wrong in (path, tmp_path / "gone.json"):
        with pytest.raises(SetupRefused, match=wrong.name):
            schemafiles.read_json(wrong)


def test_the_folder_is_the_installed_one_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel brings its schemas along; a checkout has them beside the package."""
    package = tmp_path / "broker"
    package.mkdir()
    monkeypatch.setattr(schemafiles, "__file__", str(package / "schemafiles.py"))
    packaged = schemafiles.packaged.__wrapped__
    assert packaged() == tmp_path / "schemas"

    (package / "_schemas").mkdir()
    assert packaged() == package / "_schemas"


# --- the setting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_file", [False, True])
def test_a_setting_names_another_folder_as_a_whole(by_file: bool, tmp_path: Path) -> None:
    """To the hub's configuration and to whatever else reads schemas; as a value, or in a file."""
    own = tmp_path / "own"
    (own / "messages").mkdir(parents=True)
    (tmp_path / "named").write_text(f"{own}\n")
    name = "TIDEWAITER_SCHEMAS"
    environment = {f"{name}_FILE": str(tmp_path / "named")} if by_file else {name: str(own)}

    assert schemafiles.folder(environment) == own
    assert read_config(environment).schemas == own
    assert read_config({}).schemas == schemafiles.folder({}) == schemafiles.packaged()


@pytest.mark.parametrize("setting", ["TIDEWAITER_SCHEMAS", "TIDEWAITER_SCHEMAS_FILE"])
def test_a_folder_without_schemas_is_refused_in_a_sentence(setting: str, tmp_path: Path) -> None:
    """Together with whatever else is wrong with the settings."""
    environment = {setting: str(tmp_path / "gone"), "TIDEWAITER_LOG": "loud"}
    with pytest.raises(SetupRefused) as refused:
        read_config(environment)

    assert [fault.pointer for fault in refused.value.faults] == ["/log", "/schemas"]
    with pytest.raises(SetupRefused):
        schemafiles.folder(environment)


def test_every_command_reads_the_folder_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`schema` and `check --offline` know the list that an administration put in; and say when the folder is gone."""
    own = tmp_path / "own"
    shutil.copytree(FOLDER, own)
    reasons = own / "codelists" / "alert-reasons.csv"
    code = reasons.read_text("utf-8").splitlines()[-1].partition(",")[0]
    reasons.write_text(reasons.read_text("utf-8").replace(f"\n{code},", "\nour-own-reason,"), "utf-8")
    payload = schemafiles.read_json(own / "examples" / "12-mx-alert-precursors.json")
    payload["body"]["reason"] = "our-own-reason"
    (tmp_path / "message.json").write_text(json.dumps(payload), "utf-8")
    asked = (["check", "--offline", str(tmp_path / "message.json")], ["schema", "codes", "alert-reasons", "--json"])

    assert main(asked[0]) == 1
    assert main(asked[1]) == 0
    assert '"our-own-reason"' not in capsys.readouterr().out
    monkeypatch.setenv("TIDEWAITER_SCHEMAS", str(own))
    assert main(asked[0]) == 0
    assert main(asked[1]) == 0
    assert '"our-own-reason"' in capsys.readouterr().out
    monkeypatch.setenv("TIDEWAITER_SCHEMAS", str(tmp_path / "gone"))
    for one in asked:
        assert main(one) == 2
        assert "is no folder of schemas" in capsys.readouterr().err


async def test_a_hub_does_not_start_on_a_broken_folder(tmp_path: Path) -> None:
    """It says which file is wrong, before it opens its ledger; whole, it speaks what the folder says."""
    own = tmp_path / "own"
    shutil.copytree(FOLDER, own)
    config = read_config({"TIDEWAITER_HOME": str(tmp_path / "hub"), "TIDEWAITER_SCHEMAS": str(own)})
    await app.init(config)
    (own / "messages/gadget").mkdir()
    gadget = own / "messages/gadget/1.0.json"
    gadget.write_text('{"properties": {"size": {"type": "string", "x-rote": "hs"}}}', "utf-8")
    with pytest.raises(SetupRefused, match=r"gadget/1\.0: x-rote is no annotation that we know here"):
        await app.open_hub(config)
    assert machine_said(own) == "fail"

    gadget.write_text('{"properties": {"size": {"type": "string", "maxLength": 9}}}', "utf-8")
    hub = await app.open_hub(config)
    await hub.ledger.close()
    assert ("gadget", "1.0") in hub.language.kinds
    assert machine_said(own) == "ok"


def machine_said(own: Path) -> str:
    """What `doctor` finds."""
    try:
        return machine.schemas(own).outcome
    except SetupRefused as error:
        return refused("schemas", error, "en").outcome


def test_everything_in_the_folder_is_found_and_nothing_else(tmp_path: Path) -> None:
    """`messages/<kind>/<version>.json`: neither deeper nor higher, nor of another ending."""
    for name in ("messages/a/1.0.json", "messages/a/1.1.json", "messages/b/1.0.json", "messages/a/old/1.0.json",
                 "messages/stray.json", "messages/a/1.0.json.bak", "common/1.0.json"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"$id": name}), encoding="utf-8")

    assert list(schemafiles.load(tmp_path)) == [("a", "1.0"), ("a", "1.1"), ("b", "1.0")]
    assert list(schemafiles.parts(tmp_path)) == ["common/1.0.json"]
