"""The folder agent fails before and after each single effect, on the disk and at the hub: nothing is lost or doubled.

Once as a killed process fails (nothing is caught), once as a full disk or a lost answer does. The whole folder and the
hub are looked at again after every one of them.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from adapters.folder import agent, disk
from adapters.folder.incoming import receive
from adapters.folder.parts import Parts
from broker import clock, jws
from broker.client import Problem, Unreachable
from tests.folders import Died, Frail, Team, under_way
from tests.region import Region, to

pytestmark = pytest.mark.long

QUEUES = ("alerts", "everything")


@pytest.fixture
async def region(sqlite_here: Region, monkeypatch: pytest.MonkeyPatch) -> Region:
    """Its clock is everybody's: leases that a dead agent held end when the test says so."""
    monkeypatch.setattr(clock, "now", sqlite_here.clock)
    await sqlite_here.enrol("CL", "PE")
    for queue in QUEUES:
        await sqlite_here.subscribe("CL", queue)
    return sqlite_here


async def laid_out(region: Region, root: Path, n: int) -> Team:
    """Work of every kind: a payload, a signed message, one to be refused, one that arrives in two queues, a statement."""
    team = Team(region, root)
    await region.send("PE", f"HAD-{n}", to("CL"))
    for queue in QUEUES:
        await region.take("CL", queue)
    had = (await region.call("CL", "GET", f"/v1/messages/PE:HAD-{n}")).json()["message"]
    team.drop(f"PE_HAD-{n}.jws", had.encode(), "in")  # of a time before this agent's memory
    await region.send("PE", f"IN-{n}", to("CL"))
    team.drop("a.json", region.payload("CL", f"A-{n}"))
    team.drop("b.jws", region.sign(region.payload("CL", f"B-{n}")).encode())
    team.drop("c.json", region.payload("CL", f"C-{n}", body={"subject": 1}))
    team.drop("d.json", {"message": f"PE:HAD-{n}", "state": "read"}, "acknowledge")
    return team


async def all_is_well(team: Team, n: int) -> None:
    """Everything is at its end, once, and the hub and the folder say the same."""
    region = team.region
    assert (team.files("out"), team.files("acknowledge"), under_way(team.root)) == ([], [], [])
    assert team.files("sent") == [
        "a.json", "a.jws", "a.receipt.jws", "a.sent.json", "b.jws", "b.receipt.jws", "b.sent.json",
    ]  # fmt: skip
    assert team.files("refused") == ["c.json", "c.problem.json"]
    assert team.files("acknowledged") == ["d.json"]
    arrived = [f"PE_IN-{n}{end}" for end in (".delivery.json", ".json", ".jws")]
    assert team.files("in") == [f"PE_HAD-{n}.jws", *arrived]
    assert team.files("in/unverified") == []
    for stem, address in (("a", f"CL:A-{n}"), ("b", f"CL:B-{n}")):
        held = (await region.call("CL", "GET", f"/v1/messages/{address}")).json()["message"]
        assert (team.root / f"sent/{stem}.jws").read_text() == held
        assert team.json(f"sent/{stem}.sent.json")["digest"] == jws.digest(held)
    for id, states in (("IN", ["received"]), ("HAD", ["read"])):
        (known,) = (await region.call("PE", "GET", f"/v1/messages/PE:{id}-{n}/deliveries")).json()["recipients"]
        assert [a["state"] for a in known["acknowledgements"]] == states
    for queue in QUEUES:
        rows = [row for row in await region.index("CL", queue) if row["message"] == f"PE:IN-{n}"]
        assert [row["state"] for row in rows] == ["settled"]


async def to_the_end(team: Team) -> None:
    """One agent after the other, as often as it takes; what a dead one had leased comes back."""
    for _ in range(12):
        team.region.clock.advance(seconds=130)
        team.region._tokens.clear()
        with team.agent(QUEUES) as parts, suppress(*agent.TROUBLES):
            await agent.once(parts, QUEUES)
            return


async def effects_of(region: Region, root: Path) -> list[str]:
    frail = Frail()
    team = await laid_out(region, root, 0)
    await team.once(QUEUES, frail)
    await to_the_end(team)
    await all_is_well(team, 0)
    return frail.effects


@pytest.mark.parametrize(("error", "after"), [(Died, True), (OSError, False), (OSError, True)])
async def test_a_fault_at_any_effect_loses_and_doubles_nothing(
    region: Region, tmp_path: Path, error: type[BaseException], after: bool
) -> None:
    """Each effect in turn; the agent that comes next finds everything where it needs it.

    Killed before an effect is killed after the one before it: the same disk, the same hub.
    """
    effects = await effects_of(region, tmp_path / "0")
    assert len(effects) > 30
    assert {"move a.json", "write a.jws", "/v1/messages/batch", "remember PE:IN-0"} < set(effects)
    for n in range(1, len(effects) + 1):
        team = await laid_out(region, tmp_path / str(n), n)
        frail = Frail(n - 1, after, error)
        with suppress(Died, *agent.TROUBLES):
            await team.once(QUEUES, frail)
        await to_the_end(team)
        await all_is_well(team, n)


async def settle_down(team: Team, parts: Parts, until: Callable[[], bool], queues: Sequence[str] = QUEUES) -> None:
    """The agent runs until it is so, and is stopped."""
    work = asyncio.create_task(agent.run(parts, queues, 0.02))
    async with asyncio.timeout(30):
        while not until():
            assert not work.done(), work.result()
            await asyncio.sleep(0.02)
    parts.stopping.set()
    await asyncio.wait_for(work, 15)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after a trouble that a test can wait for."""
    monkeypatch.setattr(agent, "PAUSE_SECONDS", (0.02, 0.05))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a full disk is left out: this user may not mount one")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("quick")
async def test_a_full_disk_is_told_and_costs_nothing(
    region: Region, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is leased while there is no room, and what was leased is given back; with room everything goes on."""
    team = await laid_out(region, small_disk / "folder", 1)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 16_000_000)
    with team.agent(QUEUES) as parts:
        await settle_down(team, parts, lambda: bool(team.events("trouble")))
    assert "less than 16000000 bytes are free" in team.events("trouble")[0]["why"]
    assert {row["count"] for row in await region.index("CL", "alerts") if row["message"] == "PE:IN-1"} == {0}

    monkeypatch.setattr(disk, "NEEDED_BYTES", 0)
    with filler.open("ab") as file, suppress(OSError):
        while os.statvfs(small_disk).f_bavail:
            file.write(b"x" * 4096)
            file.flush()
    team.told.clear()
    with team.agent(QUEUES) as parts:
        work = asyncio.create_task(settle_down(team, parts, lambda: not filler.exists() and not team.files("out")))
        async with asyncio.timeout(20):
            while len(team.events("trouble")) < 6:
                await asyncio.sleep(0.02)
        assert "PE_IN-1.delivery.json" not in team.files("in")
        assert all("No space left" in facts["why"] for facts in team.events("trouble"))
        filler.unlink()
        await work
    await to_the_end(team)
    await all_is_well(team, 1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 404, 403])
async def test_what_passes_refuses_no_file(region: Region, tmp_path: Path, status: int) -> None:
    """A hub that has too much to do, a proxy that speaks for it: the file waits, and goes when it is over."""
    team = Team(region, tmp_path / "folder")
    team.drop("a.json", region.payload("CL", "P-1"))
    with team.agent() as parts:
        team.way.hub = httpx2.MockTransport(lambda request: httpx2.Response(status, text="<html>no</html>"))
        for _ in range(2):
            with pytest.raises((Problem, Unreachable)):
                await agent.once(parts, [])
        assert (team.files("sending"), team.files("sent"), team.files("refused")) == (["a.json"], [], [])
        team.way.hub = team.hub
        assert (await agent.once(parts, []))["sent"] == 1


async def test_an_answer_that_no_hub_gives_is_none(region: Region, tmp_path: Path) -> None:
    """A page of a hotel's network that answers everything with 200 and JSON of its own."""
    team = Team(region, tmp_path / "folder")
    team.drop("a.json", region.payload("CL", "O-1"))
    with team.agent() as parts:
        team.way.hub = httpx2.MockTransport(lambda request: httpx2.Response(200, json={"welcome": True}))
        with pytest.raises(Unreachable):
            await agent.once(parts, [])
        with pytest.raises(Unreachable):
            await receive(parts, "inbox")
    assert (await team.once())["sent"] == 1


async def test_a_directory_that_cannot_be_had_condemns_nothing(region: Region, tmp_path: Path) -> None:
    """Without keys nothing is leased; a key that is not in them yet is waited for."""
    team = Team(region, tmp_path / "folder")
    await region.send("PE", "D-1", to("CL"))
    with team.agent() as parts:
        shown: object = "none"

        async def without_directory(request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/v1/members":
                return httpx2.Response(200, json={"members": shown})
            return await team.hub.handle_async_request(request)

        team.way.hub = httpx2.MockTransport(without_directory)
        with pytest.raises(Unreachable):
            await receive(parts, "alerts")
        shown = []
        await receive(parts, "alerts")
        assert team.events("postponed")[0]["rule"] == "key-unknown"
        (row,) = await region.index("CL", "alerts")
        assert (row["state"], row["count"]) == ("ready", 1)
        team.way.hub = team.hub
        region.clock.advance(seconds=61)
        assert await receive(parts, "alerts") == 1
    assert team.files("in/unverified") == []
    assert len(team.files("in")) == 3


async def test_an_old_signature_is_made_anew_and_a_young_one_is_not(region: Region, tmp_path: Path) -> None:
    """The hub takes a signing time up to seven days old; until the sixth the very octets are posted again."""
    team = Team(region, tmp_path / "folder")
    team.drop("a.json", region.payload("CL", "OLD-1"))
    compacts = []
    for days in (0, 5, 2):
        region.clock.advance(days=days)
        with team.agent() as parts:
            team.way.hub = httpx2.MockTransport(lambda request: httpx2.Response(503))
            with pytest.raises(Unreachable):
                await agent.once(parts, [])
        compacts.append((team.root / ".agent/signed/a.jws").read_text())

    assert compacts[0] == compacts[1] != compacts[2]
    region._tokens.clear()
    assert (await team.once())["sent"] == 1
    assert (team.root / "sent/a.jws").read_text() == compacts[2]
