"""The folder agent and a hub: what a team sees in its folders, as docs/agent.md promises it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from adapters.folder import agent
from adapters.folder.problems import Later
from broker import jws, offline
from broker.client import Problem
from broker.errors import SetupRefused
from tests.folders import Team, under_way
from tests.region import Region, address_of, new_key, to


@pytest.fixture
async def team(sqlite_here: Region, tmp_path: Path) -> Team:
    """Chile's, with Peru at the same hub."""
    await sqlite_here.enrol("CL", "PE")
    return Team(sqlite_here, tmp_path / "folder")


async def test_a_payload_becomes_a_message_with_its_receipt_beside_it(team: Team) -> None:
    """Signed octet for octet; message, receipt and directory prove each other without any network."""
    octets = json.dumps(team.region.payload("CL", "2026-1"), indent=3).encode() + b"\n"
    team.drop("report 7.json", octets)
    assert (await team.once())["sent"] == 1

    assert team.files("out") == []
    names = ["report 7.json", "report 7.jws", "report 7.receipt.jws", "report 7.sent.json"]
    assert team.files("sent") == names
    sent = team.root / "sent"
    compact = (sent / "report 7.jws").read_bytes()
    assert jws.read(compact, typ=jws.TYP_MESSAGE).payload == octets == (sent / "report 7.json").read_bytes()
    keys = offline.keys_of((await team.region.call("CL", "GET", "/v1/members")).json())
    assert all(c.holds for c in offline.verify_receipt((sent / "report 7.receipt.jws").read_bytes(), compact, keys))
    about = team.json("sent/report 7.sent.json")
    assert (about["message"], about["digest"], about["warnings"]) == ("CL:2026-1", jws.digest(compact.decode()), [])
    assert under_way(team.root) == []


async def test_a_signed_message_is_posted_as_it_is(team: Team) -> None:
    """Compact or flattened; sent/ has its compact form, which is what was posted."""
    compact = team.region.sign(team.region.payload("CL", "S-1"))
    protected, payload, signature = team.region.sign(team.region.payload("CL", "S-2")).split(".")
    team.drop("one.jws", compact.encode() + b"\r\n")
    team.drop("two.jws", {"protected": protected, "payload": payload, "signature": signature})
    assert (await team.once())["sent"] == 2

    assert (team.root / "sent/one.jws").read_text() == compact
    assert (team.root / "sent/two.jws").read_text() == f"{protected}.{payload}.{signature}"
    assert under_way(team.root) == []


async def test_a_refused_file_has_its_problem_beside_it_in_the_language_asked_for(team: Team) -> None:
    """Every fault that the hub found, RFC 9457; the good ones beside it are sent."""
    bad = team.region.payload("CL", "BAD-1")
    bad["body"] |= {"headings": ["unheard-of"], "reason": "because"}
    team.drop("bad.json", bad)
    team.drop("good.json", team.region.payload("CL", "GOOD-1"))
    counts = await team.once(language="es")
    assert (counts["sent"], counts["refused"]) == (1, 1)

    assert team.files("refused") == ["bad.json", "bad.problem.json"]
    problem = team.json("refused/bad.problem.json")
    assert (problem["status"], problem["code"], problem["file"]) == (422, "invalid", "bad.json")
    assert {error["pointer"] for error in problem["errors"]} == {"/body/headings/0", "/body/reason"}
    assert "no está en la lista" in " ".join(error["detail"] for error in problem["errors"])
    assert team.json("refused/bad.json") == bad
    assert under_way(team.root) == []


async def test_a_mended_file_comes_back_under_its_name_and_its_old_problem_goes(team: Team) -> None:
    """Moved from refused/ to out/ again; left there, the new file has the moment in its name."""
    payload = team.region.payload("CL", "M-1")
    team.drop("m.json", {"header": {}})
    await team.once()
    assert team.files("refused") == ["m.json", "m.problem.json"]
    team.drop("m.json", {"header": {}})
    await team.once()
    (again,) = (name for name in team.files("refused") if name.startswith("m~") and not name.endswith(".problem.json"))
    assert again.endswith("Z.json")

    (team.root / "refused/m.json").unlink()
    team.drop("m.json", payload)
    assert (await team.once())["sent"] == 1

    assert team.files("sent") == ["m.json", "m.jws", "m.receipt.jws", "m.sent.json"]
    assert "m.problem.json" not in team.files("refused")


async def test_one_name_used_again_and_again_overwrites_nothing(team: Team) -> None:
    """Some systems have but one file name."""
    for n in range(3):
        team.drop("message.json", team.region.payload("CL", f"N-{n}"))
        assert (await team.once())["sent"] == 1

    stems = {name.removesuffix(".sent.json") for name in team.files("sent") if name.endswith(".sent.json")}
    assert len(stems) == 3
    assert {team.json(f"sent/{stem}.sent.json")["message"] for stem in stems} == {"CL:N-0", "CL:N-1", "CL:N-2"}
    for stem in stems:
        payload = jws.read((team.root / f"sent/{stem}.jws").read_bytes(), typ=jws.TYP_MESSAGE).payload
        assert json.loads(payload) == team.json(f"sent/{stem}.json")


async def test_what_was_accepted_before_under_another_signature_is_kept_as_accepted(team: Team) -> None:
    """Receipt and octets belong together: those that the receipt is about are fetched."""
    payload = team.region.payload("CL", "TWICE")
    earlier = team.region.sign(
        json.dumps(payload, ensure_ascii=False).encode(), "CL", iat=int(team.region.clock().timestamp()) - 60
    )
    assert (await team.region.post(earlier)).status_code == 201
    team.drop("twice.json", payload)
    assert (await team.once())["sent"] == 1

    assert (team.root / "sent/twice.jws").read_text() == earlier


async def test_another_members_message_may_be_posted_again(team: Team) -> None:
    """Relayed under a second signature: its receipt is kept, though its first octets are not ours to fetch."""
    payload = json.dumps(team.region.payload("PE", "RELAYED", to("PE"))).encode()
    first, second = (team.region.sign(payload, "PE", iat=int(team.region.clock().timestamp()) - n) for n in (9, 0))
    assert (await team.region.post(first)).status_code == 201
    team.drop("relayed.jws", second.encode())
    team.drop("own.json", team.region.payload("CL", "OWN"))
    assert (await team.once())["sent"] == 2

    assert (team.root / "sent/relayed.jws").read_text() == second
    assert team.json("sent/relayed.sent.json")["digest"] == jws.digest(first)


async def test_what_the_agent_sees_to_be_wrong_is_refused_without_the_hub(team: Team) -> None:
    """Too large, no JSON, a member twice, a byte-order mark, an empty file, a signature cut off."""
    compact = team.region.sign(team.region.payload("CL", "CUT"))
    wrong = {
        "large.json": (b'{"header": "' + b"x" * 262_144 + b'"}', "too-large"),
        "grown.json": (b'{"header": "' + b"x" * 200_000 + b'"}', "too-large"),  # as a compact JWS
        "half.json": (b'{"header": {"id": ', "malformed"),
        "twice.json": (b'{"header": {}, "header": {}}', "malformed"),
        "mark.json": (b"\xef\xbb\xbf{}", "malformed"),
        "empty.json": (b"", "malformed"),
        "list.json": (b"[]", "malformed"),
        "cut.jws": (compact[:-9].encode(), "malformed"),
        "none.jws": (b"hello", "malformed"),
        "key.jws": (b"a.b.c", "malformed"),
    }
    for name, (octets, _) in wrong.items():
        team.drop(name, octets)
    assert (await team.once())["refused"] == len(wrong)

    for name, (octets, code) in wrong.items():
        problem = team.json(f"refused/{name.partition('.')[0]}.problem.json")
        assert (problem["code"], problem["file"]) == (code, name)
        assert problem["detail"] == problem["errors"][0]["detail"]
        assert (team.root / "refused" / name).read_bytes() == octets
    assert not team.files("sent")


async def test_what_is_wrong_with_the_key_is_held_against_no_file(team: Team) -> None:
    """A key that is not enrolled yet: the file waits, says why, and is sent once the key is there."""
    enrolled, team.region.keys["CL"] = team.region.keys["CL"], new_key()
    team.drop("mine.json", team.region.payload("CL", "K-1"))
    for _ in range(2):
        with pytest.raises(Later, match="No enrolled key"):
            await team.once()
    assert (team.files("sending"), team.files("refused"), team.files("sent")) == (["mine.json"], [], [])

    team.region.keys["CL"] = enrolled
    assert (await team.once())["sent"] == 1


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


async def test_a_file_that_speaks_for_another_member_is_refused(team: Team) -> None:
    """The key is right, and not Peru's."""
    team.drop("pe.json", team.region.payload("PE", "X-1"))
    assert (await team.once())["refused"] == 1

    assert team.json("refused/pe.problem.json")["errors"][0]["rule"] == "key-of-another-member"


async def test_warnings_are_told_beside_the_receipt(team: Team) -> None:
    """A release that reaches nobody is accepted."""
    await team.region.group("OP-EMPTY", "CL")
    team.drop("w.json", team.region.payload("CL", "W-1", {"groups": ["OP-EMPTY"]}))
    await team.once()

    assert [warning["rule"] for warning in team.json("sent/w.sent.json")["warnings"]] == ["nobody"]


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


async def test_only_one_agent_works_in_a_folder(team: Team) -> None:
    """A second one says so, whatever it was started for; the first is not disturbed."""
    with team.agent() as parts:
        with pytest.raises(SetupRefused, match=f"process {os.getpid()}"):
            await team.once()
        team.drop("x.json", team.region.payload("CL", "L-1"))
        assert (await agent.once(parts, ["inbox"]))["sent"] == 1


async def test_it_runs_until_it_is_stopped_and_says_how_it_is(team: Team) -> None:
    """status.json: counts, last contact, trouble while a queue cannot be had; and at the end that it ended."""
    team.drop("x.json", team.region.payload("CL", "R-1"))
    await team.region.send("PE", "R-2", to("CL"))
    with team.agent(["inbox", "nowhere"]) as parts:
        work = asyncio.create_task(agent.run(parts, ["inbox", "nowhere"], 0.05))
        async with asyncio.timeout(20):
            while not (team.root / "in/PE_R-2.delivery.json").exists() or not team.files("sent"):
                await asyncio.sleep(0.02)
            while (status := team.json("status.json"))["ok"] or not status["counts"]["received"]:
                await asyncio.sleep(0.05)
        assert status["state"] == "running"
        assert status["counts"]["sent"] == 1
        assert status["last_contact"] is not None
        assert "nowhere" in status["troubles"][0]["part"]
        parts.stopping.set()
        await asyncio.wait_for(work, 5)

    assert team.json("status.json")["state"] == "stopped"
    assert team.told[-1][0] == "stopped"


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
