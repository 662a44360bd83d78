"""docs/agent.md and the unit say what the folder agent does: every folder, member, event and number of it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import adapters.folder
from adapters.folder import acknowledging, agent, disk, incoming, layout, outgoing, problems, received, taking
from adapters.folder.status import COUNTED, Status
from broker.clock import now
from tests.unit.test_runbook import anchor
from tests.unit.test_systemd_files import CLOSED, EXPOSURE, settings

TREE = Path(__file__).parents[2]
PAGES = [TREE / "docs/agent.md", TREE / "docs/es/agente.md"]
UNIT = TREE / "deploy/agent/tidewaiter-agent.service"
pages = pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])


def words(page: Path) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", page.read_text("utf-8")))


def calls(attribute: str) -> set[str]:
    """The first argument, where it is a literal, of every call of that name in the agent."""
    found = set()
    for path in Path(adapters.folder.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == attribute and node.args:
                first = node.args[0]
                options = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                found |= {str(option.value) for option in options if isinstance(option, ast.Constant)}
    return found


@pages
def test_the_page_has_every_folder_and_every_event(page: Path, tmp_path: Path) -> None:
    made = layout.prepare(tmp_path)
    folders = {f"{folder.relative_to(made.root)}/" for folder in (*made.shared, made.own[0])}

    assert folders <= words(page)
    assert calls("tell") > {"sent", "received", "well-again"}
    assert calls("tell") <= words(page)


@pages
def test_the_page_has_every_member_of_what_is_written(page: Path) -> None:
    """status.json, NAME.delivery.json and NAME.sent.json."""
    source = Path(adapters.folder.__file__).parent
    written = {"hub", "member", "queues", *COUNTED, *Status({}, now, lambda event, facts: None).shown("running")}
    for name, variable in (("incoming.py", "_write"), ("outgoing.py", "_accepted")):
        (function,) = (
            node
            for node in ast.walk(ast.parse((source / name).read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == variable
        )
        (about,) = (node for node in ast.walk(function) if isinstance(node, ast.Dict) and len(node.keys) > 4)
        written |= {str(key.value) for key in about.keys if isinstance(key, ast.Constant)}

    assert written > {"message", "round", "file", "warnings"}
    assert written <= words(page)


@pages
def test_the_page_has_the_numbers_of_the_code(page: Path) -> None:
    """Whoever changes one of them changes the page."""
    text = " ".join(page.read_text("utf-8").split())
    numbers = {
        taking.MAX_FILE_BYTES: "262,144", acknowledging.MAX_BYTES: "8,192", taking.MAX_LOOK: "1,000",
        taking.MAX_TAKE: "100;", outgoing.BATCH: "| 20 |", incoming.BATCH: "| 20 ", received.KEPT.days: "400 ",
        2 * taking.PATIENCE: "(30 s", agent.GRACE_SECONDS: "10 se", problems.ANSWER_SECONDS // 60: "10 min",
        disk.NEEDED_BYTES // 1_000_000: "16 MB",
    }  # fmt: skip

    for number, shown in numbers.items():
        assert f"{number:,}" in shown
        assert shown in text or shown.replace(",", ".") in text
    assert (agent.PAUSE_SECONDS[1], agent.STATUS_SECONDS) == (30, 30)


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        name, _, section = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists(), target
        anchors = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", other.read_text("utf-8"), re.MULTILINE)}
        assert not section or section in anchors, target


def test_the_agent_needs_no_part_of_the_server() -> None:
    """`pip install tidewaiter` without any extra."""
    heavy = ("sqlalchemy", "fastapi", "aio_pika", "structlog", "pydantic", "jsonschema_rs", "orjson", "typer")
    code = f"import sys, adapters.folder.agent; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_unit_is_closed_and_systemd_reads_it_without_a_word(tmp_path: Path) -> None:
    """As the hub's own units are; it may write into one folder, and bind no port."""
    said = settings(UNIT)
    assert {key: said[key] for key in CLOSED} == {key: [value] for key, value in CLOSED.items()}
    assert said["ReadWritePaths"] == ["/srv/tidewaiter"]
    assert said["SocketBindDeny"] == ["any"]
    assert "LoadCredential" not in said

    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is left out: not installed")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/tidewaiter/bin/tidewaiter", sys.executable))
    verified = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    command = [analyze, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", str(unit)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout
