"""What a member finds by asking: lists and their filters, single messages, the audience and its commitment."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any

from broker import administer, jws
from broker.clock import text
from tests.region import ALERT, SEIZURE, Region, to


async def listed(here: Region, member: str, query: str = "") -> list[str]:
    answer = await here.call(member, "GET", f"/v1/messages?{query}")
    assert answer.status_code == 200, answer.text
    return [one["address"] for one in answer.json()["messages"]]


async def test_filters_of_a_list(here: Region) -> None:
    """By kind, heading, time and identifier, alone and together; newest first."""
    await here.enrol("CL", "PE")
    goods = SEIZURE["goods"][0] | {"hs": "293972", "description": "Cocaine"}
    transport = {"containers": [{"value": "CSQU3054383"}], "mode": "sea"}
    await here.send(
        "CL", "s-1", kind="seizure", body=SEIZURE | {"heading": "drugs", "goods": [goods], "transport": transport}
    )
    here.clock.advance(minutes=1)
    since = text(here.clock()).replace("+", "%2B")
    await here.send("CL", "a-1")
    await here.send("CL", "a-2", body=ALERT | {"headings": ["drugs"]})

    for member, box_ in (("PE", "received"), ("CL", "sent")):
        assert await listed(here, member, f"box={box_}") == ["CL:a-2", "CL:a-1", "CL:s-1"]
        assert await listed(here, member, f"box={box_}&kind=seizure") == ["CL:s-1"]
        assert await listed(here, member, f"box={box_}&heading=drugs") == ["CL:a-2", "CL:s-1"]
        assert await listed(here, member, f"box={box_}&heading=drugs&kind=alert") == ["CL:a-2"]
        assert await listed(here, member, f"box={box_}&since={since}") == ["CL:a-2", "CL:a-1"]
        for spelling in ("CSQU3054383", "csqu%20305438-3"):
            assert await listed(here, member, f"box={box_}&identifier={spelling}") == ["CL:s-1"]
        assert await listed(here, member, f"box={box_}&identifier=MSKU0000000") == []


async def test_pages_are_whole_and_disjoint(here: Region) -> None:
    """Every message once, in order, though rights differ from row to row; a cursor is opaque and checked."""
    await here.enrol("CL", "PE")
    expected = []
    for number in range(23):
        address = await here.send("CL", f"m-{number}", to("PE") if number % 3 else to("CL"))
        expected += [address] if number % 3 else []
    found: list[str] = []
    cursor, pages = "", 0
    while True:
        page: dict[str, Any] = (await here.call("PE", "GET", f"/v1/messages?limit=4{cursor}")).json()
        found += [one["address"] for one in page["messages"]]
        pages += 1
        if "next" not in page:
            break
        cursor = f"&cursor={page['next']}"

    assert found == list(reversed(expected))
    assert pages <= 5
    for wrong in ("x", base64.urlsafe_b64encode(b"p-1").decode(), "cHg"):
        assert (await here.call("PE", "GET", f"/v1/messages?cursor={wrong}")).status_code == 422


async def test_what_is_no_longer_for_the_reader_is_not_counted_to_it(here: Region) -> None:
    """Decided for while it was in a group, never fetched, and it left: no cursor and no number tells of them, however
    small the page that is asked for."""
    await here.enrol("CL", "PE")
    await here.group("OP-1", "CL", "PE")
    transport = {"containers": [{"value": "CSQU3054383"}], "mode": "sea"}
    for number in range(12):
        release = {"groups": ["OP-1"]}
        await here.send("CL", f"s-{number}", release, kind="seizure", body=SEIZURE | {"transport": transport})
    await administer.leave(here.hub.ledger, "OP-1", "PE", here.clock())

    for query in ("limit=1", "limit=1&identifier=CSQU3054383", "limit=1&kind=seizure", "limit=1&heading=tobacco"):
        assert (await here.call("PE", "GET", f"/v1/messages?{query}")).json() == {"messages": []}, query
    previewed = await here.call("PE", "POST", "/v1/subscriptions/preview", {"filter": {}})
    assert previewed.json() == {"examined": 0, "matches": []}


async def test_a_list_says_of_each_what_became_of_it(here: Region) -> None:
    """To a holder superseded, withdrawn and expired messages are shown as such; to others not at all."""
    await here.enrol("CL", "PE", "AR")
    both = to("PE", "AR")
    await here.send("CL", "old", both)
    await here.send("CL", "void", both)
    await here.send("CL", "past", both, expires_at=text(here.clock() + timedelta(minutes=1)))
    await here.send("CL", "good", both)
    await here.take("PE")
    await here.send("CL", "new", both, supersedes="CL:old")
    withdrawal = await here.withdraw("CL:void")
    here.clock.advance(minutes=1)

    def states(answer: Any) -> dict[str, str]:
        return {one["address"]: one["state"] for one in answer.json()["messages"]}

    known = {"CL:old": "superseded", "CL:void": "withdrawn", "CL:past": "expired", "CL:good": "current"}
    known |= {"CL:new": "current", withdrawal: "current"}
    assert states(await here.call("CL", "GET", "/v1/messages?box=sent")) == known
    assert states(await here.call("PE", "GET", "/v1/messages")) == known
    assert states(await here.call("AR", "GET", "/v1/messages")) == {"CL:good": "current", "CL:new": "current"}


async def test_the_audience_is_committed_to_in_the_receipt(here: Region) -> None:
    """For the originator: members and rules; salted and hashed, those with a delivery stand in the receipt's record."""
    await here.enrol("CL", "PE", "AR")
    await here.enrol("RILO-SA", type="rilo")
    await here.enrol("FIU-CL", type="partner")
    await here.group("andes", "CL", "AR")
    await here.subscribe("RILO-SA", "all")
    release = to("PE") | {"groups": ["andes"], "all": True, "except": ["AR"]}
    answer = await here.post(here.sign(here.payload("CL", "a-1", release, tlp="GREEN")))

    audience = (await here.call("CL", "GET", "/v1/messages/CL:a-1/audience")).json()

    assert audience["members"] == [
        {"member": "PE", "rule": "to", "delivery": True},
        {"member": "RILO-SA", "rule": "all", "delivery": True},
    ]
    claims = jws.claims(jws.read(answer.json()["receipt"].encode(), typ=jws.TYP_RECEIPT))
    record = json.loads(jws.unb64(claims["record"]))
    committed = hashlib.sha256(jws.unb64(audience["audience_salt"]) + b"PE\nRILO-SA\n").digest()
    assert record["audience"] == jws.b64(committed)
    assert (record["message"], record["digest"]) == ("CL:a-1", claims["digest"])


async def test_warnings_of_a_release_that_reaches_nobody(sqlite_here: Region) -> None:
    """Accepted, and said: to nobody, or to a member that is suspended. The same again with every repeat."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    await administer.set_active(here.hub.ledger, "AR", False, here.clock())
    warned = {}
    for id, release in (("none", {"to": []}), ("gone", to("AR")), ("some", to("PE", "AR")), ("good", to("PE"))):
        token = here.sign(here.payload("CL", id, release))
        answers = [await here.post(token) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 200]
        assert answers[0].json() == answers[1].json()
        warned[id] = [warning["rule"] for warning in answers[0].json()["warnings"]]

    assert warned == {
        "none": ["nobody"],
        "gone": ["member-is-suspended", "nobody"],
        "some": ["member-is-suspended"],
        "good": [],
    }
    shown = (await here.call("CL", "GET", "/v1/messages/CL:gone/audience")).json()["members"]
    assert shown == []


async def test_releases_that_are_refused(sqlite_here: Region) -> None:
    """Wider than marked, unknown, or a group that is not one's own: every fault at once, and nothing is stored."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.group("theirs", "PE")

    async def faults(tlp: str, release: dict[str, Any]) -> list[tuple[str, str]]:
        answer = await here.post(here.sign(here.payload("CL", "a-1", release, tlp=tlp)))
        assert (answer.status_code, answer.json()["code"]) == (422, "release")
        return [
            (fault["pointer"].removeprefix("/header/handling/release"), fault["rule"])
            for fault in answer.json()["errors"]
        ]

    wider, group = "release-wider-than-marking", "group-refused"
    assert await faults("AMBER", {"all": True}) == [("/all", wider)]
    assert await faults("RED", {"groups": ["theirs"], "all": True}) == [
        ("/groups", wider),
        ("/all", wider),
        ("/groups/0", group),
    ]
    assert await faults("AMBER", {"groups": ["theirs", "unknown"]}) == [("/groups/0", group), ("/groups/1", group)]
    assert await faults("RED", to("XX") | {"except": ["YY"]}) == [
        ("/to", "unknown-member"),
        ("/except", "unknown-member"),
    ]
    assert await faults("RED", to("hub".upper())) == [("/to", "unknown-member")]
    assert await listed(here, "CL", "box=sent") == []


async def test_the_receipt_is_for_originator_and_recipients(sqlite_here: Region) -> None:
    """The same octets that the post was answered with; looking at it makes nobody a holder."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    answer = await here.post(here.sign(here.payload("CL", "a-1")))
    for member in ("CL", "PE"):
        again = await here.call(member, "GET", "/v1/messages/CL:a-1/receipt")
        assert again.json()["receipt"] == answer.json()["receipt"]
    assert (await here.call("AR", "GET", "/v1/messages/CL:a-1/receipt")).status_code == 404
    await here.withdraw("CL:a-1")

    assert [row["state"] for row in await here.index("PE")] == ["withdrawn"]
