"""The whole way through real processes: a hub is set up, two members enrol as docs/connecting.md says, and a message
goes from one to the other and comes back as evidence. Then a watching process is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker import keyfiles
from broker.client import Client, Problem, reject
from tests.engines import free_port
from tests.faults import process

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
COMMAND = (sys.executable, "-m", "broker.cli")


@dataclass
class Place:
    """A folder with a hub, and members whose keys are beside it."""

    folder: Path
    url: str
    environment: dict[str, str] = field(default_factory=dict)

    def of(self, member: str) -> dict[str, str]:
        return self.environment | {"TIDEWAITER_MEMBER": member, "TIDEWAITER_KEY": str(self.folder / f"{member}.pem")}

    async def run(self, *arguments: str, member: str = "", stdin: bytes = b"", code: int = 0) -> str:
        """What the command said on standard output; it must end with `code`."""
        child = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, env=self.of(member) if member else self.environment, cwd=self.folder,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(child.communicate(stdin), 30)
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        assert child.returncode == code, f"{arguments}: {child.returncode}\n{out.decode()}\n{err.decode()}"
        return out.decode()

    async def json(self, *arguments: str, member: str = "", code: int = 0) -> Any:
        return json.loads(await self.run(*arguments, "--json", member=member, code=code))

    async def enrol(self, member: str, alg: str = "Ed25519") -> None:
        """docs/connecting.md §1, steps 1 to 5."""
        made = await self.json("key", "new", "--member", member, "--out", f"{member}.pem", "--alg", alg)
        request = await self.run("key", "request", "--member", member, "--key", f"{member}.pem")
        (self.folder / f"{member}.request").write_text(request)
        await self.run("key", "enrol", f"{member}.request", "--fingerprint", made["fingerprint"])


@asynccontextmanager
async def place_in(folder: Path, port: int, **settings: str) -> AsyncIterator[Place]:
    """A hub that serves, with the members PE and CL enrolled."""
    here = Place(folder, f"http://127.0.0.1:{port}")
    here.environment = {
        "TIDEWAITER_HOME": str(folder / "hub"), "TIDEWAITER_LISTEN": f"127.0.0.1:{port}", "TIDEWAITER_URL": here.url,
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2]), **settings,
    }  # fmt: skip
    await here.run("init")
    await asyncio.gather(*(here.run("member", "add", m, "--type", "customs", "--name", m) for m in ("PE", "CL")))
    async with process(
        *COMMAND, "serve", output=folder / "hub.log", env=here.environment, ready=f"{here.url}/readyz"
    ) as hub:
        await asyncio.gather(here.enrol("PE"), here.enrol("CL", "ES256"))  # with the hub running
        yield here
        assert await hub.terminate() == 0, hub.said()


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with place_in(tmp_path_factory.mktemp("place"), free_port()) as here:
        yield here


def addressed_to_cl(id: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((EXAMPLES / "03-pe-dried-seahorses.json").read_text("utf-8"))
    payload["header"]["id"] = id
    payload["header"]["handling"]["release"] = {"to": [{"member": "CL", "duties": ["action"]}]}
    return payload


async def test_a_message_goes_the_whole_way_and_leaves_evidence(place: Place) -> None:
    """Checked, submitted twice, pulled, acknowledged, and verified without network by both sides."""
    (place.folder / "report.json").write_text(json.dumps(addressed_to_cl("E2E-1"), ensure_ascii=False), "utf-8")
    assert await place.run("health") == "status ready, ledger ready, wire none\n"
    checked = await place.json("check", "report.json", member="PE")
    assert checked["recipients"] == [{"member": "CL", "rule": "to", "duties": ["action"]}]

    first = await place.json("submit", "report.json", "--receipts", "kept", member="PE")
    again = await place.json("submit", "report.json", "--receipts", "kept", member="PE")
    assert (first["accepted"], again["repeated"], again["refused"]) == (1, 1, 0)

    pulled = await place.json("pull", "inbox", "--acknowledge", "received", member="CL")
    (delivery,) = pulled["deliveries"]
    assert (delivery["address"], delivery["verified"]) == ("PE:E2E-1", "yes")
    assert delivery["message"] == (place.folder / "kept" / "PE_E2E-1.jws").read_text().strip()

    await place.run("ack", "PE:E2E-1", "--state", "acted", member="CL")
    await place.run("ack", "PE:E2E-1", "--state", "read", member="CL", code=1)
    (known,) = (await place.json("deliveries", "PE:E2E-1", member="PE"))["recipients"]
    assert [a["state"] for a in known["acknowledgements"]] == ["received", "acted"]

    await place.run("directory", "-o", "keys.json", member="CL")
    evidence = ("kept/PE_E2E-1.receipt.jws", "kept/PE_E2E-1.jws", "--keys", "keys.json")
    (place.folder / "audience.json").write_text(await place.run("audience", "PE:E2E-1", "--json", member="PE"))
    verified = await place.json("verify", *evidence, "--audience", "audience.json")
    assert verified["holds"]
    assert len(verified["checks"]) == 6
    page = await place.run("show", "PE:E2E-1", "--language", "es", member="CL")
    assert page.splitlines()[0] == page.splitlines()[-1]


async def test_a_refusal_names_every_fault_and_sinks_nobody_else(place: Place) -> None:
    """From a stream, one message a line: the bad one is told by its line."""
    bad = addressed_to_cl("E2E-bad")
    bad["body"]["heading"] = "unheard-of"
    lines = [addressed_to_cl("E2E-2"), bad, addressed_to_cl("E2E-3")]
    stream = "\n".join(json.dumps(line) for line in lines).encode()
    said = json.loads(await place.run("submit", "-", "--json", member="PE", stdin=stream, code=1))

    assert (said["accepted"], said["refused"]) == (2, 1)
    assert said["refusals"][0]["source"] == "line 2"
    assert said["refusals"][0]["errors"][0]["pointer"] == "/body/heading"
    await place.run("pull", "inbox", "--accept", member="CL")


async def test_what_the_hub_finds_is_told_by_its_field(place: Place) -> None:
    """Beside what can be posted: each file has its findings, and the release is looked at, which no file can tell."""
    bad, wide = addressed_to_cl("E2E-9"), addressed_to_cl("E2E-10")
    bad["body"]["place"]["country"] = "UK"
    wide["header"]["handling"]["release"] = {"to": [{"member": "XX"}]}
    for name, payload in (("a-good", addressed_to_cl("E2E-8")), ("b-bad", bad), ("c-wide", wide)):
        (place.folder / "drafts").mkdir(exist_ok=True)
        (place.folder / "drafts" / f"{name}.json").write_text(json.dumps(payload))
    said = (await place.json("check", "drafts", member="PE", code=1))["files"]

    assert [one["holds"] for one in said] == [True, False, False]
    assert [one["member"] for one in said[0]["recipients"]] == ["CL"]
    fault = next(one for one in said[1]["faults"] if one["pointer"] == "/body/place/country")
    assert (fault["field"], fault["remedy"]) == ("Place of seizure › Country", "→ GB (United Kingdom)")
    assert said[2]["faults"][0]["pointer"].startswith("/header/handling/release")
    text = await place.run("check", "drafts", member="PE", code=1)
    assert "3 files, 2 with faults." in text
    alone = await place.json("check", "drafts/b-bad.json", "--offline", member="PE", code=1)
    assert fault["pointer"] in [one["pointer"] for one in alone["faults"]]


async def test_a_message_at_the_hub_becomes_a_page_to_print(place: Place) -> None:
    """With what the hub says about it."""
    (place.folder / "page.json").write_text(json.dumps(addressed_to_cl("E2E-7")))
    await place.json("submit", "page.json", member="PE")
    await place.run("show", "PE:E2E-7", "--html", "-o", "page.html", "--language", "es", member="PE")
    page = (place.folder / "page.html").read_text("utf-8")

    assert page.startswith("<!DOCTYPE html>")
    assert "Estado en el concentrador" in page
    assert "Integridad" in page
    await place.run("pull", "inbox", "--accept", member="CL")


async def test_a_rotation_needs_no_voice_and_both_keys_hold_for_a_while(place: Place) -> None:
    """The old key vouches for the new one; what either signs is accepted."""
    await place.run("key", "new", "--out", "PE-new.pem")
    rotation = await place.run("key", "rotate", "--member", "PE", "--key", "PE.pem", "--new", "PE-new.pem")
    await place.run("key", "enrol", "-", stdin=rotation.encode())
    (place.folder / "rotated.json").write_text(json.dumps(addressed_to_cl("E2E-4")))
    said = await place.json("submit", "rotated.json", "--key", "PE-new.pem", member="PE")

    assert said["accepted"] == 1
    assert [k["state"] for k in (await place.json("key", "list", "--member", "PE"))["keys"]] == ["active", "active"]
    await place.run("pull", "inbox", "--accept", member="CL")


async def test_a_watch_that_is_killed_loses_nothing(place: Place) -> None:
    """Killed in the middle of a batch; the next one goes on, and every message is there, whole, acknowledged and settled."""
    names = {f"PE_W-{n}" for n in range(60)}
    stream = "\n".join(json.dumps(addressed_to_cl(name.removeprefix("PE_"))) for name in names).encode()
    await place.run("submit", "-", member="PE", stdin=stream)
    box = place.folder / "box"

    def kept() -> set[str]:
        return {path.stem for path in box.glob("*.jws")}

    watch = ("watch", "inbox", "--into", str(box), "--acknowledge", "received", "--lease-seconds")
    async with (
        process(*COMMAND, *watch, "10", output=place.folder / "watch.log", env=place.of("CL")) as child,
        asyncio.timeout(120),
    ):
        while len(kept()) < 25:  # in its second batch of twenty
            await asyncio.sleep(0.001)
        child.kill9()
    assert len(kept()) >= 25

    async with asyncio.timeout(120):
        while True:  # what the dead one had leased, kept or not, comes back when its leases end
            await place.run(*watch, "60", "--once", member="CL")
            (inbox,) = (await place.json("queues", member="CL"))["queues"]
            if inbox["depth"].keys() == {"settled"}:
                break
    assert kept() == names
    for path in box.glob("*.jws"):
        assert json.loads(path.with_suffix(".json").read_text("utf-8"))["header"]["id"] == path.stem.removeprefix("PE_")


async def test_echo_acknowledges_an_exercise(place: Place) -> None:
    """docs/connecting.md §9: ECHO is a member with keys of its own."""
    await place.run("member", "add", "ECHO", "--type", "hub", "--name", "Echo")
    await place.enrol("ECHO")
    await place.run("submit", str(EXAMPLES / "21-cl-exercise-to-echo.json"), member="CL")
    assert (await place.json("echo", "--once", member="ECHO"))["echoed"] == 1

    (known,) = (await place.json("deliveries", "CL:EX-2026-001", member="CL"))["recipients"]
    assert [a["state"] for a in known["acknowledgements"]] == ["received"]


async def test_an_operator_sees_how_it_runs_and_never_what_is_said(place: Place) -> None:
    """Enrolled by voice as a member is; a dead letter is seen with its reason and offered again."""
    made = await place.json("key", "new", "--member", "operator:anna", "--out", "operator:anna.pem")
    request = await place.run("key", "request", member="operator:anna")
    await place.run("key", "enrol", "-", "--fingerprint", made["fingerprint"], stdin=request.encode(), code=2)
    await place.run("operator", "add", "anna", "-", "--fingerprint", made["fingerprint"], stdin=request.encode())
    assert [o["operator"] for o in (await place.json("operator", "list"))["operators"]] == ["operator:anna"]

    await place.run("submit", "-", member="PE", stdin=json.dumps(addressed_to_cl("DEAD-1")).encode())
    async with Client(place.url, "CL", keyfiles.load(place.folder / "CL.pem")) as client:
        (delivery,) = await client.lease("inbox")
        assert [s["state"] for s in await client.settle("inbox", [reject(delivery, "no room")])] == ["dead"]
        with pytest.raises(Problem, match="scope"):
            await client.admin("GET", "/queues")
    (dead,) = (await place.json("operator", "dead-letters", member="operator:anna"))["dead_letters"]
    assert (dead["message"], dead["reason"]) == ("PE:DEAD-1", "no room")
    await place.run("operator", "redrive", dead["delivery"], member="operator:anna")
    await place.run("operator", "redrive", dead["delivery"], member="operator:anna", code=1)

    assert (await place.json("operator", "status", member="operator:anna"))["status"] == "ready"
    views = (
        place.run("operator", view, member="operator:anna") for view in ("queues", "deliveries", "refusals", "outbox")
    )
    assert "seahorse" not in "".join(await asyncio.gather(*views))
    lines = (await place.run("consume", "inbox", "--once", "--acknowledge", "received", member="CL")).splitlines()
    assert [json.loads(line)["address"] for line in lines] == ["PE:DEAD-1"]
