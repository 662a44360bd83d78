"""The commands for tables: what is missing is said before anything is read, and what cannot be meant so is not done."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from broker import cli
from broker.commands import tables as commands
from tests import tables


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIDEWAITER_URL", "TIDEWAITER_MEMBER", "TIDEWAITER_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDEWAITER_LANGUAGE", "en")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = cli.main([*arguments, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out or said.err)


@pytest.mark.parametrize("missing", commands.NEEDED)
def test_a_library_that_is_not_installed_is_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """defusedxml too, which nobody imports by name: without it a spreadsheet from anybody would be read unprotected."""
    monkeypatch.setattr(commands, "find_spec", lambda name: None if name == missing else find_spec(name))
    code, said = run(capsys, "load", "t.csv", "--mapping", str(tables.mapping_file(tmp_path)), "--dry-run")

    assert code == 2
    assert said["error"]["detail"] == f"Tables need {missing}: pip install 'tidewaiter[load]'"


def test_a_dry_run_needs_no_hub_and_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = list(tables.rows(4, 30))
    path = tables.write_csv(tmp_path / "t.csv", made)
    code, said = run(
        capsys, "load", str(path), "--mapping", str(tables.mapping_file(tmp_path)), "--dry-run", "--member", "CL"
    )

    assert (code, said["rows"], said["refused"]) == (1, 30, sum(1 for one in made if one.rules))
    assert Path(said["errors"]).exists()


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["load", "t.csv", "--dry-run"], "member is needed"),
    (["load", "t.csv", "--dry-run", "--member", "CL", "--errors", "t.csv"], "--errors names a new .xlsx file"),
    (["load", "t.csv", "--member", "CL"], "url is needed"),
    (["export", "--to", "t.xlsx"], "url is needed"),
    (["export", "--to", "t.ods", "examples"], "written as .csv or .xlsx"),
])  # fmt: skip
def test_a_call_that_cannot_be_meant_so(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    tables.write_csv(tmp_path / "t.csv", list(tables.rows(4, 3)))
    code, said = run(capsys, *arguments, "--mapping", str(tables.mapping_file(tmp_path)))

    assert (code, sentence in said["error"]["detail"]) == (2, True), said


def test_a_mapping_loads_for_its_originator_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tables.mapping_file(tmp_path, tables.MAPPING.replace("kind: seizure", "kind: seizure\noriginator: PE"))
    code, said = run(capsys, "load", "t.csv", "--mapping", str(path), "--dry-run", "--member", "CL")

    assert code == 2
    assert said["error"]["detail"].endswith("loads for PE, and you are CL.")


def test_an_exercise_is_asked_for_in_vain(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the reason in one sentence; the list that stands there is left alone."""
    for reason in ("exercise", "test", "expired", "withdrawn", "superseded", "not-yet-valid"):
        code, said = run(capsys, "watchlist", "--to", "w.csv", "--include", reason)
        assert (code, said["error"]["code"]) == (1, "declined")
        assert "never reaches a watch list" in said["error"]["detail"]
    code, said = run(capsys, "watchlist", "--to", "w.csv", "--include", "sealed")
    assert code == 2


def test_the_examples_become_a_watch_list_and_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a folder, without any hub: the withdrawn alert and the exercise are left out, an amended report counts once."""
    monkeypatch.chdir(tmp_path)
    examples = str(Path(__file__).parents[2] / "schemas" / "examples")
    code, watched = run(capsys, "watchlist", "--to", "w.csv", examples)
    assert code == 0
    assert {"exercise": 1, "withdrawn": 1}.items() <= watched["left_out"].items()
    assert watched["alerts"] > 0
    code, counted = run(capsys, "statistics", "--to", "s.csv", "--to", "s.xlsx", examples)
    assert code == 0
    assert counted["left_out"]["superseded"] == 1
    assert counted["events"] > 10
