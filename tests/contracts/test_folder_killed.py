"""A real `tidewaiter agent` and a real hub, killed at any moment: every file out and every message in, once."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker import jws, keyfiles, offline
from broker.client import Client, sign
from tests.engines import free_port
from tests.faults import Process, process
from tests.folders import under_way
from tests.unit.test_cli_end_to_end import COMMAND, EXAMPLES, Place, addressed_to_cl

pytestmark = pytest.mark.long

MESSAGES = 60
KILLS = 12
LEASE_SECONDS = 3


@dataclass
class Scene:
    """A hub with CL and PE, its process, and CL's folder."""

    place: Place
    hub: Process
    root: Path

    @property
    def command(self) -> tuple[str, ...]:
        times = ("--every", "0.05", "--unchanged", "0", "--lease-seconds", str(LEASE_SECONDS))
        return (*COMMAND, "agent", str(self.root), *times)

    def count(self, folder: str, ending: str) -> int:
        found = self.root / folder
        return sum(path.name.endswith(ending) for path in found.iterdir()) if found.exists() else 0

    def drop(self, name: str, payload: Any) -> None:
        """As a team's program does it: under another name first."""
        (self.root / "out").mkdir(parents=True, exist_ok=True)
        part = self.root / "out" / f"{name}.part"
        part.write_text(json.dumps(payload, ensure_ascii=False), "utf-8")
        part.rename(self.root / "out" / name)


@pytest.fixture(scope="module")
async def hub_place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Place, Process]]:
    """One hub for the file; what a test leaves in it is settled."""
    tmp_path, port = tmp_path_factory.mktemp("hub"), free_port()
    here = Place(tmp_path, f"http://127.0.0.1:{port}")
    here.environment = {
        "TIDEWAITER_HOME": str(tmp_path / "hub"), "TIDEWAITER_LISTEN": f"127.0.0.1:{port}", "TIDEWAITER_URL": here.url,
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    await here.run("init")
    for member in ("PE", "CL"):
        await here.run("member", "add", member, "--type", "customs", "--name", member)
    ready = f"{here.url}/readyz"
    async with process(*COMMAND, "serve", output=tmp_path / "hub.log", env=here.environment, ready=ready) as hub:
        await here.enrol("PE")
        await here.enrol("CL", "ES256")
        yield here, hub


@pytest.fixture
def scene(hub_place: tuple[Place, Process], tmp_path: Path) -> Scene:
    return Scene(*hub_place, tmp_path / "folder")


def from_cl(id: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((EXAMPLES / "10-cl-cigarettes-altiplano.json").read_text("utf-8"))
    payload["header"]["id"] = id
    payload["header"]["handling"]["release"] = {"to": [{"member": "PE"}]}
    return payload


async def test_killed_at_random_moments_nothing_is_lost_and_nothing_doubled(scene: Scene) -> None:
    """The agent a dozen times, the hub once, while the team writes and the partner sends."""
    chance = random.Random(7)
    key = keyfiles.load(scene.place.folder / "PE.pem")
    log = scene.root.with_name("agent.log")

    async def write() -> None:
        for n in range(MESSAGES):
            scene.drop(f"report {n}.json", from_cl(f"OUT-{n}"))
            await asyncio.sleep(chance.uniform(0, 0.3))

    async def send() -> None:
        async with Client(scene.place.url, "PE", key) as client:
            client.door.attempts = 20  # the hub is killed meanwhile
            for n in range(0, MESSAGES, 3):
                posted = [sign(json.dumps(addressed_to_cl(f"IN-{m}")).encode(), key) for m in range(n, n + 3)]
                assert all(one.receipt for one in await client.post_batch(posted))
                await asyncio.sleep(chance.uniform(0, 0.8))

    async def kill(agent: Process) -> None:
        for n in range(1, KILLS + 1):
            async with asyncio.timeout(60):
                while log.read_text().count(" started ") < n:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0, 1.0))
            agent.kill9()
            if n == KILLS // 2:
                scene.hub.kill9()
                scene.hub.start()
            agent.start()

    async with process(*scene.command, output=log, env=scene.place.of("CL")) as agent:
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            for work in (write(), send(), kill(agent)):
                group.create_task(work)
        async with asyncio.timeout(120):
            while log.read_text().count(" started ") <= KILLS:  # the last one hears what it is told from then on
                await asyncio.sleep(0.05)
            while not (scene.count("sent", ".receipt.jws") == scene.count("in", ".delivery.json") == MESSAGES):
                assert agent.running, agent.said()
                await asyncio.sleep(0.1)
            await asyncio.sleep(LEASE_SECONDS)  # what a dead one had leased and written is offered again, and settled
            while under_way(scene.root) or await depth(scene.place) != {"settled": MESSAGES}:
                await asyncio.sleep(0.2)
        assert await agent.terminate() == 0, agent.said()

    await agrees(scene, log)


async def depth(place: Place) -> dict[str, int]:
    (inbox,) = (await place.json("queues", member="CL"))["queues"]
    found: dict[str, int] = inbox["depth"]
    return found


async def agrees(scene: Scene, log: Path) -> None:
    """Folder and hub hold the same, each once, and everything verifies."""
    root = scene.root
    async with Client(scene.place.url, "CL", keyfiles.load(scene.place.folder / "CL.pem")) as client:
        keys = await client.keys()
        at_hub = Counter([one["address"] async for one in client.messages("sent")])
    assert at_hub == Counter({f"CL:OUT-{n}": 1 for n in range(MESSAGES)})
    assert list((root / "refused").iterdir()) == list((root / "out").iterdir()) == []
    for n in range(MESSAGES):
        sent = root / "sent" / f"report {n}"
        message, receipt = (Path(f"{sent}{end}").read_bytes() for end in (".jws", ".receipt.jws"))
        assert all(check.holds for check in offline.verify_receipt(receipt, message, keys)), n
        assert jws.read(message, typ=jws.TYP_MESSAGE).payload == Path(f"{sent}.json").read_bytes()
        compact = (root / f"in/PE_IN-{n}.jws").read_text()
        payload = offline.verify_message(compact, keys)
        assert payload == json.loads((root / f"in/PE_IN-{n}.json").read_bytes())
        assert payload["header"]["id"] == f"IN-{n}"
        about = json.loads((root / f"in/PE_IN-{n}.delivery.json").read_bytes())
        assert (about["message"], about["digest"], about["round"]) == (f"PE:IN-{n}", jws.digest(compact), 1)
    assert len(list((root / "in").glob("*.*"))) == 3 * MESSAGES
    assert list((root / "in/unverified").iterdir()) == []

    said = Counter(
        line.split("message=")[1].split()[0] for line in log.read_text().splitlines() if " received " in line
    )
    assert set(said.values()) <= {1}
    assert (json.loads((root / "status.json").read_text()))["state"] == "stopped"


async def test_a_second_agent_says_so_and_leaves(scene: Scene) -> None:
    """With the exit code of a set-up that is wrong; and SIGTERM ends the first one well, in the middle of its wait."""
    async with process(*scene.command, output=scene.root.with_name("agent.log"), env=scene.place.of("CL")) as agent:
        async with asyncio.timeout(30):
            while " started " not in agent.said():
                await asyncio.sleep(0.05)
        second = await asyncio.create_subprocess_exec(
            *scene.command, "--once", env={**os.environ, **scene.place.of("CL")},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(second.communicate(), 30)
        assert (second.returncode, out) == (2, b"")
        assert f"Another agent (process {agent.pid}) works in" in err.decode()
        assert listening_sockets(agent.pid) == []
        assert await agent.terminate(within_seconds=12) == 0

    assert agent.said().splitlines()[-1].endswith(" stopped")


def listening_sockets(pid: int) -> list[str]:
    """TCP sockets of a process that wait for somebody to connect (state 0A of /proc/net/tcp)."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(fd))
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return [row[1] for row in lines if len(row) > 9 and row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


async def test_once_does_what_is_there_and_says_how_it_went(scene: Scene) -> None:
    """0 when all is well, 1 when something was refused, 3 when nobody answered; the answer in JSON alone on stdout."""
    command = ("agent", str(scene.root), "--unchanged", "0", "--once")
    assert await scene.place.run(*command, member="CL") == "nothing to do\n"
    scene.drop("good.json", from_cl("ONCE-1"))
    assert await scene.place.json(*command, member="CL") == {
        "sent": 1, "refused": 0, "received": 0, "repeated": 0, "unverified": 0, "acknowledged": 0, "unsettled": 0, "left": 0,
    }  # fmt: skip
    scene.drop("bad.json", {"header": {}})
    assert await scene.place.run(*command, member="CL", code=1) == "1 refused\n"

    scene.hub.kill9()
    scene.drop("later.json", from_cl("ONCE-2"))
    await scene.place.run(*command, member="CL", code=3)
    scene.hub.start()
    await scene.hub.answers(f"{scene.place.url}/readyz")
    assert (await scene.place.json(*command, member="CL"))["sent"] == 1
