"""The folder agent as a service: alone in its folder, in pieces that do not hold each other up, without secrets in its words."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from adapters.folder import agent, disk
from broker.client import Problem
from broker.commands import agent as commands
from broker.errors import SetupRefused
from tests.folders import Team
from tests.region import Region, to


@pytest.fixture
async def team(sqlite_here: Region, tmp_path: Path) -> Team:
    """Chile's, with Peru at the same hub."""
    await sqlite_here.enrol("CL", "PE")
    return Team(sqlite_here, tmp_path / "folder")


async def test_only_one_agent_works_in_a_folder(team: Team) -> None:
    """A second one says so, whatever it was started for; the first is not disturbed."""
    with team.agent() as parts:
        with pytest.raises(SetupRefused, match=f"process {os.getpid()}"):
            await team.once()
        team.drop("x.json", team.region.payload("CL", "L-1"))
        assert (await agent.once(parts, ["inbox"]))["sent"] == 1


async def test_what_holds_the_files_up_does_not_hold_up_the_queues(team: Team) -> None:
    """One call does what it can, and says at its end what it could not."""
    await team.region.send("PE", "H-1", to("CL"))
    team.drop("a.json", team.region.payload("CL", "H-2"))
    with team.agent() as parts:
        refusing = httpx2.MockTransport(lambda request: httpx2.Response(500, json={"code": "internal"}))

        async def without_posts(request: httpx2.Request) -> httpx2.Response:
            to_whom = refusing if request.url.path == "/v1/messages/batch" else team.hub
            return await to_whom.handle_async_request(request)

        team.way.hub = httpx2.MockTransport(without_posts)
        with pytest.raises(Problem, match="internal"):
            await agent.once(parts, ["inbox"])

    assert team.files("sending") == ["a.json"]
    assert len(team.files("in")) == 3
    assert team.events("trouble")[0]["part"] == "out"


async def test_a_file_that_may_not_be_read_delays_no_other(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it lies there; and it is told once, not at every look."""
    monkeypatch.setattr(agent, "PAUSE_SECONDS", (0.02, 3600.0))
    may_read = disk.read

    def denied(path: Path, most: int) -> bytes:
        if path.name == "another-users.json":
            raise PermissionError(13, "Permission denied", str(path))
        return may_read(path, most)

    monkeypatch.setattr("adapters.folder.taking.read", denied)
    team.drop("another-users.json", {})
    with team.agent([]) as parts:
        work = asyncio.create_task(agent.run(parts, [], 0.02))
        async with asyncio.timeout(20):
            for n in range(12):
                team.drop(f"{n}.json", team.region.payload("CL", f"U-{n}"))
                while f"{n}.json" not in team.files("sent"):
                    await asyncio.sleep(0.02)
        assert not parts.status.shown("running")["ok"]
        parts.stopping.set()
        await asyncio.wait_for(work, 20)

    (told,) = team.events("trouble")
    assert told["why"].endswith("another-users.json: Permission denied")


async def test_it_runs_until_it_is_stopped_and_says_how_it_is(team: Team) -> None:
    """status.json: counts, last contact, trouble while a queue cannot be had; and at the end that it ended."""
    team.drop("x.json", team.region.payload("CL", "R-1"))
    await team.region.send("PE", "R-2", to("CL"))
    with team.agent(["inbox", "nowhere"]) as parts:
        work = asyncio.create_task(agent.run(parts, ["inbox", "nowhere"], 0.05))
        async with asyncio.timeout(20):
            while not (team.root / "in/PE_R-2.delivery.json").exists() or not team.files("sent"):
                await asyncio.sleep(0.02)
            while (status := team.json("status.json"))["ok"] or 0 in map(status["counts"].get, ("sent", "received")):
                await asyncio.sleep(0.05)
        assert status["state"] == "running"
        assert status["counts"]["sent"] == 1
        assert status["last_contact"] is not None
        assert "nowhere" in status["troubles"][0]["part"]
        parts.stopping.set()
        await asyncio.wait_for(work, 20)

    assert team.json("status.json")["state"] == "stopped"
    assert team.told[-1][0] == "stopped"


async def test_once_too_is_stopped_whatever_the_hub_does(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that does not answer, or asks for a minute each time: what was signed lies there for the next one."""
    monkeypatch.setattr(agent, "GRACE_SECONDS", 0.1)
    team.drop("x.json", team.region.payload("CL", "S-1"))
    with team.agent() as parts:
        asked = asyncio.Event()

        async def silent(request: httpx2.Request) -> httpx2.Response:
            asked.set()
            await asyncio.sleep(60)
            return httpx2.Response(503)

        team.way.hub = httpx2.MockTransport(silent)
        work = asyncio.create_task(agent.once(parts, ["inbox"]))
        await asyncio.wait_for(asked.wait(), 10)
        parts.stopping.set()
        counts = await asyncio.wait_for(work, 20)

    assert (counts["sent"], counts["left"], team.files("sending")) == (0, 1, ["x.json"])
    assert (await team.once())["sent"] == 1


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_word_that_cannot_be_written_does_not_end_it(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's name in Latin-1, a terminal of another alphabet, a full disk under the log: the files are what counts."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    for word in (os.fsdecode(b"\xf1.json"), "\ud800", "año", "日本"):
        commands._for_people(commands._line)("trouble", {"at": "now", "why": f"{word}: Permission denied"})
    assert written.getvalue().count(b": Permission denied") == 4

    with Path("/dev/full").open("w", encoding=encoding) as full:
        monkeypatch.setattr(sys, "stdout", full)
        commands._for_machines(commands._line)("trouble", {"at": "now", "why": "No space left on device"})
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


async def test_nothing_secret_and_no_content_is_logged(team: Team) -> None:
    """Neither tokens nor the key nor what a message says: not in the events, not in the status, not in a problem."""
    bad = team.region.payload("CL", "SECRET-1")
    bad["body"]["subject"] = 7
    team.drop("bad.json", bad)
    team.drop("good.json", team.region.payload("CL", "SECRET-2"))
    await team.region.send("PE", "SECRET-3", to("CL"))
    with team.agent() as parts:
        await agent.once(parts, ["inbox"])
        token = await parts.client.token()
    kept = (
        json.dumps(team.told)
        + (team.root / "status.json").read_text()
        + (team.root / "refused/bad.problem.json").read_text()
    )

    assert token not in kept
    assert "ceramic tiles" not in kept
    assert str(team.region.keys["CL"].as_dict(private=True)["d"]) not in kept
