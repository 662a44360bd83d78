"""`make demo`, as it is typed: with RabbitMQ where it is installed, and without."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from broker.rabbit.private_node import installed
from tests.engines import missing


async def demo(folder: Path, **environment: str) -> tuple[int, list[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWAITER_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker.cli", "demo", cwd=folder, env=kept | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 300)
    return process.returncode or 0, output.decode().splitlines()


async def test_the_story_is_told_with_rabbitmq_in_its_middle(tmp_path: Path) -> None:
    """Under 60 lines, exit 0, the first line names ledger and wire, nothing was other than promised."""
    if installed() is None:
        missing("RabbitMQ", "no rabbitmq-server is installed")

    status, lines = await demo(tmp_path)

    assert status == 0, lines
    assert lines[0].startswith("Ledger: SQLite")
    assert "Wire: RabbitMQ (private node" in lines[0]
    assert len(lines) < 60
    assert not [line for line in lines if "NOT SO" in line]
    assert [line for line in lines if line.startswith("PE opens CL:2026-000118 and is shown its container in")]
    assert [line for line in lines if " reports are " in line and "% complete" in line]
    assert lines[-1] == "Everything was as promised."


async def test_without_rabbitmq_it_says_what_was_not_shown(tmp_path: Path) -> None:
    """SQLite alone, everybody pulls, and the second line tells how to see the rest."""
    status, lines = await demo(tmp_path, PATH=str(tmp_path))  # where no rabbitmq-server and no erl is

    assert status == 0, lines
    assert "Wire: none" in lines[0]
    assert lines[1].startswith("Not shown: delivery through RabbitMQ.")
    assert lines[-1] == "Everything was as promised."
