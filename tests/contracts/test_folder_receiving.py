"""in/ and acknowledge/: what a team sees of what it is sent, as docs/agent.md promises it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from adapters.folder import agent
from adapters.folder.disk import Disk
from broker import jws
from tests.folders import Team
from tests.region import Region, address_of, to


@pytest.fixture
async def team(sqlite_here: Region, tmp_path: Path) -> Team:
    """Chile's, with Peru at the same hub."""
    await sqlite_here.enrol("CL", "PE")
    return Team(sqlite_here, tmp_path / "folder")


async def test_what_arrives_lies_in_three_files_and_is_acknowledged(team: Team) -> None:
    """The exact signed octets, the payload, and what the hub says about the delivery; settled, and `received`."""
    payload = team.region.payload("PE", "2026-77", to(CL="action"))
    compact = team.region.sign(payload)
    assert (await team.region.post(compact)).status_code == 201
    assert (await team.once())["received"] == 1

    assert team.files("in") == ["PE_2026-77.delivery.json", "PE_2026-77.json", "PE_2026-77.jws"]
    assert (team.root / "in/PE_2026-77.jws").read_text() == compact
    assert (team.root / "in/PE_2026-77.json").read_bytes() == jws.read(compact.encode(), typ=jws.TYP_MESSAGE).payload
    about = team.json("in/PE_2026-77.delivery.json")
    expected = {
        "message": "PE:2026-77", "kind": "alert", "version": "1.0", "status": "actual", "queue": "inbox", "sequence": 1,
        "round": 1, "count": 1, "duties": ["action"], "rule": "to", "digest": jws.digest(compact), "supersedes": None,
        "withdraws": None, "payload": "PE_2026-77.json", "signed": "PE_2026-77.jws",
    }  # fmt: skip
    assert {name: about[name] for name in expected} == expected
    assert about["accepted_at"] <= about["received_at"]
    assert [d["state"] for d in await team.region.index("CL")] == ["settled"]
    known = (await team.region.call("PE", "GET", "/v1/messages/PE:2026-77/deliveries")).json()["recipients"]
    assert [a["state"] for a in known[0]["acknowledgements"]] == ["received"]


async def test_a_correction_says_what_it_corrects(team: Team) -> None:
    """An amendment and a withdrawal, each in files of its own."""
    await team.region.send("PE", "V-1", to("CL"))
    await team.once()
    await team.region.send("PE", "V-2", to("CL"), supersedes="PE:V-1")
    await team.once()
    withdrawal = await team.region.withdraw("PE:V-2")
    await team.once()

    assert team.json("in/PE_V-2.delivery.json")["supersedes"] == "PE:V-1"
    names = [name for name in team.files("in") if name.endswith(".delivery.json")]
    assert {team.json(f"in/{name}")["withdraws"] for name in names} == {None, "PE:V-2"}
    assert withdrawal in {team.json(f"in/{name}")["message"] for name in names}


async def test_a_message_in_two_queues_makes_its_files_once_though_the_team_takes_them_away(team: Team) -> None:
    """And a replay, which the team asked for, makes them again with the next round."""
    await team.region.subscribe("CL", "alerts", {"any": [{"kind": ["alert"]}]})
    await team.region.subscribe("CL", "all")
    await team.region.send("PE", "Q-1", to("CL"))
    assert (await team.once(["alerts"]))["received"] == 1
    for path in (team.root / "in").glob("PE_*"):
        path.unlink()
    counts = await team.once(["inbox", "all", "alerts"])
    assert (counts["received"], counts["repeated"], team.files("in")) == (0, 1, [])

    await team.region.call("CL", "POST", "/v1/queues/all/replay", {"message": "PE:Q-1"})
    assert (await team.once(["all"]))["received"] == 1
    assert team.json("in/PE_Q-1.delivery.json")["round"] == 2


@pytest.mark.parametrize("at", ["PE_Q-2.json", "PE_Q-2.jws", "PE_Q-2.delivery.json"])
async def test_a_replay_is_whole_though_the_team_takes_the_round_before_meanwhile(team: Team, at: str) -> None:
    """The names are the same: what is taken away while the next round is written was of that round, too."""
    await team.region.send("PE", "Q-2", to("CL"))
    await team.once()
    await team.region.call("CL", "POST", "/v1/queues/inbox/replay", {"message": "PE:Q-2"})

    class Meanwhile(Disk):
        def write(self, path: Path, octets: bytes) -> None:
            if path.name == at and team.json("in/PE_Q-2.delivery.json")["round"] == 1:
                for name in ("PE_Q-2.json", "PE_Q-2.jws", "PE_Q-2.delivery.json"):
                    (team.root / "in" / name).unlink()
            super().write(path, octets)

    with team.agent() as parts:
        await agent.once(replace(parts, disk=Meanwhile()), ["inbox"])

    assert team.json("in/PE_Q-2.delivery.json")["round"] == 2
    assert team.files("in") == ["PE_Q-2.delivery.json", "PE_Q-2.json", "PE_Q-2.jws"]


async def test_the_team_says_what_it_did_with_a_message(team: Team) -> None:
    """Each statement is a file; afterwards it lies in acknowledged/."""
    await team.region.send("PE", "A-1", to("CL"))
    await team.once()
    team.drop("a.json", {"message": "PE:A-1", "state": "read"}, "acknowledge")
    await team.once()
    for path in (team.root / "in").glob("PE_*"):
        path.unlink()
    team.drop("b.json", {"message": "PE:A-1", "state": "refused", "reason": "not ours"}, "acknowledge")
    assert (await team.once())["acknowledged"] == 1

    assert team.files("acknowledged") == ["a.json", "b.json"]
    (known,) = (await team.region.call("PE", "GET", "/v1/messages/PE:A-1/deliveries")).json()["recipients"]
    assert [(a["state"], a.get("reason")) for a in known["acknowledgements"]] == [
        ("received", None), ("read", None), ("refused", "not ours"),
    ]  # fmt: skip


async def test_an_acknowledgement_that_cannot_be_is_refused_with_its_problem(team: Team) -> None:
    """Of what never came, moving back, of another form; `received` after `read` keeps no delivery from settling."""
    await team.region.send("PE", "B-1", to("CL"))
    await team.once()
    wrong = {
        "never": ({"message": "PE:NEVER", "state": "read"}, "not-found"),
        "path": ({"message": "../../etc", "state": "read"}, "invalid"),
        "state": ({"message": "PE:B-1", "state": "eaten", "more": 1}, "invalid"),
        "reason": ({"message": "PE:B-1", "state": "refused"}, "invalid"),
        "text": (b"read", "malformed"),
    }
    for name, (statement, _) in wrong.items():
        team.drop(f"{name}.json", statement, "acknowledge")
    assert (await team.once())["refused"] == len(wrong)
    assert {name: team.json(f"refused/{name}.problem.json")["code"] for name in wrong} == {
        name: code for name, (_, code) in wrong.items()
    }

    team.drop("acted.json", {"message": "PE:B-1", "state": "acted"}, "acknowledge")
    await team.once()
    team.drop("back.json", {"message": "PE:B-1", "state": "read"}, "acknowledge")
    await team.once()
    assert team.json("refused/back.problem.json")["code"] == "state-moves-back"
    await team.region.call("CL", "POST", "/v1/queues/inbox/replay", {"message": "PE:B-1"})
    assert (await team.once())["unsettled"] == 0
    assert [d["state"] for d in await team.region.index("CL")] == ["settled"]


async def test_a_mended_statement_leaves_no_problem_that_is_over(team: Team) -> None:
    """As a mended message: moved back, posted, and nothing says any longer that it was refused."""
    await team.region.send("PE", "C-1", to("CL"))
    await team.once()
    team.drop("c.json", {"message": "PE:C-1", "state": "eaten"}, "acknowledge")
    await team.once()
    assert team.files("refused") == ["c.json", "c.problem.json"]
    (team.root / "refused/c.json").unlink()
    team.drop("c.json", {"message": "PE:C-1", "state": "read"}, "acknowledge")
    await team.once()

    assert (team.files("acknowledged"), team.files("refused")) == (["c.json"], [])


async def test_a_message_that_is_not_believed_is_set_aside_and_holds_nobody_up(team: Team) -> None:
    """A hub that hands out what its originator did not sign: kept apart, rejected with the reason, never acknowledged."""
    first = await team.region.send("PE", "T-1", to("CL"))
    second = await team.region.send("PE", "T-2", to("CL"))

    def forged(compact: str) -> str:
        head, payload, signature = compact.split(".")
        return f"{head}.{jws.b64(jws.unb64(payload).replace(b'Cigarettes', b'Ci/../etes'))}.{signature}"

    with team.agent() as parts:
        handing_out(team, lambda compact: forged(compact) if address_of(compact) == first else compact)
        counts = await agent.once(parts, ["inbox"])
    assert (counts["received"], counts["unverified"]) == (1, 1)

    (problem,) = (name for name in team.files("in/unverified") if name.endswith(".problem.json"))
    told = team.json(f"in/unverified/{problem}")
    assert (told["code"], told["sequence"]) == ("signature", 1)
    assert (team.root / "in/unverified" / told["file"]).read_bytes().count(b".") == 2
    assert {d["message"]: d["state"] for d in await team.region.index("CL")} == {first: "dead", second: "settled"}
    known = (await team.region.call("PE", "GET", f"/v1/messages/{first}/deliveries")).json()["recipients"]
    assert known[0]["acknowledgements"] == []


async def test_no_message_writes_where_it_should_not(team: Team) -> None:
    """Signed by its originator, and handed out by a hub that lets everything pass: no id becomes a path."""
    await team.region.send("PE", "FINE", to("CL"))
    for id in ("../../../evil", "/etc/cron.d/evil", "a\0b", ".agent", "", None, "x" * 200, 7):
        payload = team.region.payload("PE", "n", to("CL"))
        payload["header"]["id"] = id
        compact = team.region.sign(payload, "PE")
        with team.agent() as parts:
            handing_out(team, always(compact))
            before = {path for path in team.root.parent.rglob("*") if path.is_file()}
            counts = await agent.once(parts, ["inbox"])
            made = {path.parent for path in team.root.parent.rglob("*") if path.is_file()} - {p.parent for p in before}
        await team.region.call("CL", "POST", "/v1/queues/inbox/replay", {"message": "PE:FINE"})
        assert counts["received"] == (id == ".agent")
        assert made <= {team.root / "in", team.root / "in/unverified"}
    assert [name for name in team.files("in") if name.endswith(".jws")] == ["PE_.agent~343ad17e.jws"]


async def test_another_message_under_a_known_address_takes_no_ones_place(team: Team) -> None:
    """The first stays as it is, the second is set aside; ids that differ in case alone have files of their own."""
    address = await team.region.send("PE", "SAME", to("CL"))
    await team.once()
    before = (team.root / "in/PE_SAME.jws").read_bytes()
    second = team.region.sign(team.region.payload("PE", "SAME", to("CL"), priority="urgent"))
    for remembered in (True, False):
        if not remembered:
            (team.root / ".agent/received.sqlite").unlink()
        await team.region.call("CL", "POST", "/v1/queues/inbox/replay", {"message": address})
        with team.agent() as parts:
            handing_out(team, always(second))
            assert (await agent.once(parts, ["inbox"]))["unverified"] == 1
        assert (team.root / "in/PE_SAME.jws").read_bytes() == before
    for id in ("same", "Same"):
        await team.region.send("PE", id, to("CL"))
    assert (await team.once())["received"] == 2

    names = [name.lower() for name in team.files("in")]
    assert len(set(names)) == len(names) == 9


def always(compact: str) -> Callable[[str], str]:
    return lambda _: compact


def handing_out(team: Team, instead: Callable[[str], str]) -> None:
    """The hub, but for the messages that its leases carry: compact in, compact out."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        said = await team.hub.handle_async_request(request)
        if not request.url.path.endswith("/lease"):
            return said
        shown = json.loads(await said.aread())
        for delivery in shown["deliveries"]:
            delivery["message"] = instead(delivery["message"])
        return httpx2.Response(200, json=shown)

    team.way.hub = httpx2.MockTransport(answer)
