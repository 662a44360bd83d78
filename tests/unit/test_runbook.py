"""docs/runbook.md: what it tells somebody to type exists, at three in the morning too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from broker import metrics
from broker.cli import make_app

TREE = Path(__file__).parents[2]
RUNBOOK = (TREE / "docs/runbook.md").read_text("utf-8")
PAGES = [TREE / "docs/runbook.md", TREE / "deploy/README.md"]


def test_every_command_is_one_of_the_programs() -> None:
    """`tidewaiter member suspend PE` is there, `tidewaiter member pause` would not be."""
    root = typer.main.get_command(make_app())
    for page in PAGES:
        for words in re.findall(r"`tidewaiter ([a-z][a-z -]+)", page.read_text("utf-8")):
            node, path = root, words.split()
            for word in path:
                commands = getattr(node, "commands", None)
                if not commands:
                    break  # what follows is an argument
                assert word in commands, f"tidewaiter {words}"
                node = commands[word]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file, and to a section that it has."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        name, _, section = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        if section:
            assert section in map(anchor, re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)), target


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_file_that_is_named_is_there() -> None:
    """Below deploy/, docs/, tests/ and broker/, and at the top of the tree."""
    for page in PAGES:
        for name in re.findall(r"`((?:deploy|docs|tests|broker)/[\w./-]+|[A-Z]+\.md)`", page.read_text("utf-8")):
            assert (TREE / name).exists(), name


def test_every_event_and_figure_exists() -> None:
    """What it says stands in the log is logged somewhere; what it counts is counted."""
    source = "".join(path.read_text("utf-8") for path in (TREE / "broker").rglob("*.py"))
    events = set(re.findall(r"`((?:wire|queue|relay|request)\.[a-z-]+|ledger\.away)`", RUNBOOK))
    figures = {name for family in metrics.registry.collect() for name in (family.name, f"{family.name}_total")}

    assert events
    assert {event for event in events if f'"{event}"' not in source} == set()
    assert set(re.findall(r"`(tidewaiter_[a-z_]+)`", RUNBOOK)) - ROLES <= figures


ROLES = {"tidewaiter_hub", "tidewaiter_owner", "tidewaiter_registrar"}


def test_every_alert_has_its_section() -> None:
    """And the section says the alert's name, so that a search finds it."""
    rules = (TREE / "deploy/prometheus/rules.yml").read_text("utf-8")
    for name in re.findall(r"- alert: (\w+)", rules):
        assert name in RUNBOOK, name
