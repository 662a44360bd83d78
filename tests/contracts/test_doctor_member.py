"""`tidewaiter doctor --member`: the way to a hub and back, what is wrong with it, and that nothing else is touched."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker import administer, clock, keyfiles
from broker.client import Client, accept, sign
from broker.commands.failures import NEXT
from broker.commands.receiving import work_off
from broker.doctor import Finding
from broker.doctor import member as way
from broker.ledger.wakes import EVERYBODY
from broker.members import INBOX
from broker.rabbit.private_node import free_port
from tests.contracts.test_client_stream import served
from tests.engines import Rabbit
from tests.region import Region, to, wired_region
from tests.wire import amqp_queue, connected, states, until

pytestmark = pytest.mark.long
STEPS = ["hub", "clock", "token", "queues", "post", "receipt", "receive", "ECHO"]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Region]:
    """A hub that serves, with CL and ECHO."""
    async with served(tmp_path) as (r, _):
        await r.enrol("ECHO", type="hub")
        yield r


@asynccontextmanager
async def echoing(r: Region) -> AsyncIterator[None]:
    """ECHO, as `tidewaiter echo` is."""

    async def one(client: Client, delivery: Any) -> Any:
        return accept(delivery, client.acknowledgement(delivery.message, "received"))

    async with client_of(r, "ECHO") as client:
        task = asyncio.create_task(work_off(client, INBOX, lambda delivery: one(client, delivery), once=False))
        try:
            yield
        finally:
            task.cancel()


def client_of(r: Region, member: str = "CL") -> Client:
    client = Client(r.hub.public_url, member, r.keys[member])
    client.door.pause_seconds = (0.01, 0.02)
    return client


async def examined(r: Region, amqp_url: str | None = None, client: Client | None = None) -> dict[str, Finding]:
    async with client or client_of(r) as one:
        return {found.check: found async for found in way.examine(one, amqp_url, NEXT)}


def outcomes(found: dict[str, Finding]) -> dict[str, str]:
    assert all(one.next for one in found.values() if one.outcome != "ok"), found
    return {name: one.outcome for name, one in found.items() if one.outcome != "ok"}


async def test_the_way_there_and_back(here: Region) -> None:
    """Each step with its time; the exercise is received, believed, acknowledged and settled, and ECHO signs for it."""
    async with echoing(here):
        found = await examined(here)

    assert outcomes(found) == {}
    assert list(found) == STEPS
    assert all(one.milliseconds is not None and one.milliseconds >= 0 for one in found.values())
    (row,) = await here.index("CL")
    assert (row["state"], row["message"][:10], row["count"]) == ("settled", "CL:doctor-", 1)
    async with client_of(here) as client:
        known = (await client.deliveries(row["message"]))["recipients"]
        assert {one["member"]: [a["state"] for a in one["acknowledgements"]] for one in known} == {
            "CL": ["received"],
            "ECHO": ["received"],
        }
        header = (await client.believe((await client.get(row["message"]))["message"]))["header"]
    assert (header["status"], header["handling"]["tlp"], header["expires_at"] is not None) == (
        "exercise",
        "AMBER",
        True,
    )


async def test_what_else_waits_is_left_alone(here: Region) -> None:
    """The exercise then has a place of its own, for as long as it takes."""
    await here.send("PE", release=to("CL"))
    async with echoing(here):
        found = await examined(here)

    assert outcomes(found) == {}
    assert list(found) == STEPS
    assert "leased from tidewaiter-doctor" in found["receive"].found
    assert [(row["state"], row["count"]) for row in await here.index("CL")] == [("ready", 0)]
    async with client_of(here) as client:
        assert [queue["name"] for queue in await client.queues()] == ["inbox"]


async def test_its_own_place_takes_nothing_else(here: Region) -> None:
    """Left by one that was killed, it is used and removed; what others send, or oneself, goes where it always went."""
    await here.send("PE", "first", to("CL"))
    async with client_of(here) as client:
        async with way._place(client, await way._queues(client)):
            await here.send("PE", "drill", to("CL"), status="exercise")
            await here.send("CL", "own", to("CL", "ECHO"), status="exercise")
            raised = await client.queues()
            assert {queue["name"]: queue["last_sequence"] for queue in raised} == {"inbox": 3, way.OWN: 0}
            async with way._place(client, await way._queues(client)) as again:
                assert set(again) == {"inbox", way.OWN}
        assert [queue["name"] for queue in await client.queues()] == ["inbox"]

        await client.subscribe(way.OWN, {"status": ["exercise"]}, "pull")  # as one that was killed leaves it
        async with echoing(here):
            assert outcomes(await examined(here)) == {}
        assert [queue["name"] for queue in await client.queues()] == ["inbox"]


async def test_what_comes_in_between_is_given_back_at_once(here: Region) -> None:
    """The lease takes what is first; that is not the exercise, and it is there again without delay."""
    async with client_of(here) as client:
        receipt = await client.post(sign(way.exercise("CL", here.clock()), here.keys["CL"]))
        await here.lease("CL")
        await here.send("PE", release=to("CL"))
        found = await way._by_lease(client, receipt, INBOX)

    assert (found.outcome, "given back at once" in found.found) == ("warn", True)
    assert [row["state"] for row in await here.index("CL")] == ["leased", "ready"]


async def test_a_system_of_ones_own_may_be_faster(here: Region) -> None:
    """A consumer that reads the inbox takes the exercise: that is the way, too."""
    async with client_of(here) as own:

        async def one(delivery: Any) -> Any:
            return accept(delivery, own.acknowledgement(delivery.message, "read"))

        async def waits() -> bool:
            return not here.hub.wakes._lines.keys() <= EVERYBODY

        async def settled() -> bool:
            return [row["state"] for row in await here.index("CL")] == ["settled"]

        reading = asyncio.create_task(work_off(own, INBOX, one, once=False))
        await until(waits)
        async with echoing(here):
            found = await examined(here)
        await until(settled)
        reading.cancel()

    assert outcomes(found) == {}
    assert "a system of yours" in found["receive"].found
    assert [row["state"] for row in await here.index("CL")] == ["settled"]


async def test_an_echo_that_does_not_run(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the rest is well; what to do is said."""
    monkeypatch.setattr(way, "ECHO_SECONDS", 0.5)
    found = await examined(here)

    assert outcomes(found) == {"ECHO": "fail"}
    assert "`tidewaiter echo`" in found["ECHO"].next


async def test_what_stops_it(tmp_path: Path) -> None:
    """Each is the last line: no ECHO, a suspended member, a key that nobody knows, a hub that is not there."""
    async with served(tmp_path) as (r, _):
        found = await examined(r)
        assert (list(found)[-1], outcomes(found)) == ("post", {"post": "fail"})
        assert "member add ECHO" in found["post"].next

        stranger = Client(r.hub.public_url, "CL", keyfiles.generate())
        found = await examined(r, client=stranger)
        assert (list(found)[-1], outcomes(found)) == ("token", {"token": "fail"})

        await administer.set_active(r.hub.ledger, "CL", False, r.clock())
        found = await examined(r)
        assert (list(found)[-1], outcomes(found)) == ("token", {"token": "fail"})
        assert "CL is suspended" in found["token"].found

        nowhere = Client(f"http://127.0.0.1:{free_port()}", "CL", r.keys["CL"])
        found = await examined(r, client=nowhere)
        assert (list(found), outcomes(found)) == (["hub"], {"hub": "fail"})


@pytest.mark.parametrize(("seconds", "outcome"), [(-10, "ok"), (100, "warn"), (-400, "fail")])
async def test_a_clock_that_is_off(seconds: int, outcome: str) -> None:
    """By the hub's own `Date`, before anything is refused for it."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        at = clock.now().timestamp() + seconds
        return httpx2.Response(200, text="ok\n", headers={"date": formatdate(at, usegmt=True)})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        found = [one async for one in way._hub(http, "http://hub.test")]

    assert [(one.check, one.outcome) for one in found] == [("hub", "ok"), ("clock", outcome)]


# ── RabbitMQ ──


async def test_over_rabbitmq(rabbit: Rabbit, tmp_path: Path) -> None:
    """A queue that asks for exercises gets it: taken from an empty one, and left alone where others wait or somebody
    reads."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path) as r:
        await r.enrol("CL", "PE")
        await r.enrol("ECHO", type="hub")
        member_url = f"amqp://{rabbit.host}:{rabbit.port}/{rabbit.vhost}"
        name = await amqp_queue(r, "CL", "drill", {"status": ["exercise", "actual"]})
        async with echoing(r):
            found = await examined(r, member_url)
            assert outcomes(found) == {}
            assert "taken from drill in RabbitMQ" in found["receive"].found
            assert "lets you in; drill: 0 ready, 0 consumers" in found["RabbitMQ"].found
            assert await states(r, "CL", "drill") == ["settled"]

            found = await examined(r)
            assert outcomes(found) == {"RabbitMQ": "warn", "receive": "warn"}
            assert "--amqp-url" in found["RabbitMQ"].next

            found = await examined(r, member_url)  # the one before lies there still
            assert outcomes(found) == {"receive": "warn"}
            assert "none was touched" in found["receive"].found

            async with connected(r, rabbit, "CL") as connection:
                channel = await connection.channel(publisher_confirms=False)
                queue = await channel.get_queue(name, ensure=False)
                taken: asyncio.Queue[Any] = asyncio.Queue()
                await queue.consume(taken.put, no_ack=True)
                found = await examined(r, member_url)
                assert outcomes(found) == {}
                assert "consumers of yours read drill" in found["receive"].found
                async with asyncio.timeout(20):
                    got = [await taken.get() for _ in range(3)]
                assert not any(one.redelivered for one in got)

            found = await examined(r, f"amqp://127.0.0.1:{free_port()}/")
            assert outcomes(found)["RabbitMQ"] == "fail"


# ── the command ──


async def doctor(r: Region, home: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    if not (home / "CL.pem").exists():
        keyfiles.save(home / "CL.pem", r.keys["CL"])
    env = {"PATH": "/usr/bin:/bin", "TIDEWAITER_URL": r.hub.public_url, "TIDEWAITER_MEMBER": "CL",
           "TIDEWAITER_KEY": str(home / "CL.pem"), "TIDEWAITER_HOME": str(home / "nowhere")} | settings  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "broker.cli", "doctor", *arguments, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


async def test_the_command(here: Region, tmp_path: Path) -> None:
    """`--member` alone means who the environment names; an id may follow. Without it the installation is looked at."""
    async with echoing(here):
        code, out, _ = await doctor(here, tmp_path, "--member")
        assert code == 0, out
        assert [line[:19].split() for line in out.splitlines()[:-1]] == [
            ["OK", *step.split()] for step in ["key file", *STEPS]
        ]
        assert all(line.endswith(" ms") for line in out.splitlines()[:-1])
        code, out, _ = await doctor(here, tmp_path, "--member", "CL", "--json", TIDEWAITER_MEMBER="PE")
        assert code == 0, out
        said = json.loads(out)
        assert (said["failed"], [one["check"] for one in said["findings"]]) == (0, ["key file", *STEPS])
    assert (await doctor(here, tmp_path))[0] == 1  # there is no installation here
    code, out, _ = await doctor(here, tmp_path, "--member", "--json", TIDEWAITER_KEY=str(tmp_path / "none.pem"))
    assert code == 1
    assert "No such file" in json.loads(out)["findings"][0]["found"]
    code, _, err = await doctor(here, tmp_path, "--member", "operator:ana")
    assert (code, "member's place" in err) == (2, True)
    code, _, err = await doctor(here, tmp_path, "--member", TIDEWAITER_MEMBER="")
    assert (code, "TIDEWAITER_MEMBER" in err) == (2, True)


def test_a_member_needs_no_server() -> None:
    """It runs where only the SDK is installed."""
    look = (
        "import sys, broker.doctor.member, broker.commands.doctor;"
        "print([m for m in ('sqlalchemy', 'fastapi', 'structlog', 'aio_pika', 'broker.ledger') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
