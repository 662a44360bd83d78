"""out/ and sent/: what a team sees of what it sends, as docs/agent.md promises it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.folder import agent
from adapters.folder.disk import Disk
from adapters.folder.problems import Later
from broker import clock, jws, offline
from tests.folders import Died, Frail, Team, under_way
from tests.region import Region, new_key, to


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


async def test_killed_at_its_end_a_mended_file_leaves_no_problem_that_is_over(team: Team) -> None:
    """After each effect in turn: where the file lies in sent/, nothing says any longer that it was refused."""
    for at in range(40):
        id = f"E-{at}"
        team.drop("m.json", {"header": {}})
        await team.once([])
        (team.root / "refused/m.json").unlink()
        team.drop("m.json", team.region.payload("CL", id))
        frail = Frail(at)
        with suppress(Died):
            await team.once([], frail)
        sent = (team.root / "sent/m.json").exists()
        assert not (sent and (team.root / "refused/m.problem.json").exists()), frail.effects[-1]
        await team.once([])
        for folder in ("sent", "refused"):
            for path in (team.root / folder).iterdir():
                path.unlink()
        if len(frail.effects) <= at:
            return


@pytest.mark.parametrize("folder", ["out", "acknowledge"])
async def test_a_file_that_is_written_anew_while_it_is_taken_is_waited_for(team: Team, folder: str) -> None:
    """Its writer still has it open, and cut it off in the last instant: neither posted by halves nor refused for it."""
    await team.region.send("PE", "W-1", to("CL"))
    await team.once()
    content: object = {"message": "PE:W-1", "state": "read"}
    path = team.drop("w.json", team.region.payload("CL", "W-2") if folder == "out" else content, folder)
    whole = path.read_bytes()
    writer = path.open("r+b")

    class Meanwhile(Disk):
        def move(self, source: Path, target: Path) -> None:
            if source == path:
                writer.truncate(9)
            super().move(source, target)

    settings: dict[str, Any] = {"unchanged_seconds": 0.5, "now": clock.now}
    with team.agent(**settings) as parts, pytest.raises(Later, match="not whole"):
        await agent.once(replace(parts, disk=Meanwhile()), [])
    writer.write(whole)
    writer.close()

    counts = await team.once([], **settings)
    assert (counts["sent"] + counts["acknowledged"], counts["refused"]) == (1, 0)


async def test_no_name_hides_a_file_that_was_taken(team: Team) -> None:
    """Latin-1 before a dot: without what is no UTF-8 the name began with the dot, and was never looked at again."""
    names = (b"\xe9.tw-1.json", b"\xe9.json", b"\xe9..jws", b"\xf1.part.json")
    for n, name in enumerate(names):
        payload = team.region.payload("CL", f"LATIN-{n}")
        team.drop(os.fsdecode(name), team.region.sign(payload).encode() if name.endswith(b".jws") else payload)

    assert (await team.once())["sent"] == len(names)


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


async def test_a_receipt_that_was_left_behind_is_not_overwritten(team: Team) -> None:
    """The team took the message away, and not yet its evidence; then the name comes again."""
    for n in range(2):
        team.drop("r.json", team.region.payload("CL", f"LEFT-{n}"))
        await team.once()
        for name in ("r.json", "r.jws"):
            (team.root / "sent" / name).unlink(missing_ok=True)

    assert team.json("sent/r.sent.json")["message"] == "CL:LEFT-0"
    assert len(team.files("sent")) == 6


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
