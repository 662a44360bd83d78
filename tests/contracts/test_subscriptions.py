"""Subscriptions: what a member may ask for, what it gets by that, and what the inbox is for."""

from __future__ import annotations

from typing import Any

import pytest

from broker import administer
from tests.region import Region, address_of, to

TOBACCO = {"any": [{"heading": ["drugs"]}, {"heading": ["tobacco"], "kind": ["alert"]}]}


async def subscribe(here: Region, member: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await here.call(member, "POST", "/v1/subscriptions", body)
    return answer.status_code, answer.json()


async def test_made_shown_changed_and_removed(here: Region) -> None:
    """Each member sees and changes its own alone; a filter is shown as it was written."""
    await here.enrol("CL", "PE")
    assert (await subscribe(here, "PE", name="desk", filter=TOBACCO))[0] == 201
    assert (await subscribe(here, "PE", name="desk"))[0] == 409
    assert (await subscribe(here, "CL", name="desk"))[0] == 201

    async def shown(member: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await here.call(member, "GET", "/v1/subscriptions")).json()["subscriptions"]
        return found

    assert await shown("PE") == [{"name": "desk", "delivery": "pull", "filter": TOBACCO}]
    assert await shown("CL") == [{"name": "desk", "delivery": "pull", "filter": {}}]
    changed = await here.call("PE", "PATCH", "/v1/subscriptions/desk", {"filter": {"status": ["test"]}})
    assert changed.status_code == 200
    assert (await shown("PE"))[0]["filter"] == {"status": ["test"]}
    assert (await here.call("CL", "DELETE", "/v1/subscriptions/desk")).status_code == 204
    assert (await here.call("CL", "DELETE", "/v1/subscriptions/desk")).status_code == 404
    assert (await shown("CL"), len(await shown("PE"))) == ([], 1)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "desk", "filter": {"any": []}}, "/filter/any"),
        ({"name": "desk", "filter": {"any": [{"colour": ["red"]}]}}, "/filter/any/0/colour"),
        ({"name": "desk", "filter": {"any": [{}, {"all": {"duties": []}}]}}, "/filter/any/1/all/duties"),
        ({"name": "a desk"}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "desk", "delivery": "amqp"}, "/delivery"),
        ({"name": "desk", "delivery": "post"}, "/delivery"),
        ({"name": "desk", "filters": {}}, "/filters"),
        ({}, "/name"),
    ],
)
async def test_what_no_subscription_is(sqlite_here: Region, body: dict[str, Any], pointer: str) -> None:
    """Refused with the place of the fault, and nothing is made of it. (`amqp` needs a RabbitMQ, which is not here.)"""
    await sqlite_here.enrol("PE")

    status, answer = await subscribe(sqlite_here, "PE", **body)

    assert status == 422
    assert [fault["pointer"] for fault in answer["errors"]] == [pointer]
    assert (await sqlite_here.call("PE", "GET", "/v1/subscriptions")).json()["subscriptions"] == []


async def test_one_delivery_per_matching_subscription(sqlite_here: Region) -> None:
    """Each with the clause that matched, told to the subscriber alone; not by a filter that does not match."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.subscribe("PE", "both", TOBACCO)
    await here.subscribe("PE", "all")
    await here.subscribe("PE", "air", {"any": [{"mode": ["air"]}]})
    await here.send("CL", "a-1")

    matches = {queue: [d["match"] for d in await here.lease("PE", queue)] for queue in ("both", "all", "air", "inbox")}

    assert matches == {
        "both": [{"subscription": "both", "clause": 1}],
        "all": [{"subscription": "all", "clause": 0}],
        "air": [],
        "inbox": [],
    }


async def test_a_change_is_not_retroactive(sqlite_here: Region) -> None:
    """What was queued stays queued; what was not is not fetched from the past."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")
    await here.subscribe("PE", "desk", {"any": [{"heading": ["weapons"]}]})
    await here.send("CL", "a-2")
    await here.call("PE", "PATCH", "/v1/subscriptions/desk", {"filter": {}})
    await here.send("CL", "a-3")
    await here.call("PE", "PATCH", "/v1/subscriptions/desk", {"filter": {"any": [{"heading": ["weapons"]}]}})

    assert await here.take("PE", "desk") == ["CL:a-3"]
    assert await here.take("PE") == ["CL:a-1", "CL:a-2"]


async def test_an_exercise_surprises_nobody(sqlite_here: Region) -> None:
    """The default status is actual alone; the inbox takes what names its member, in every status."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.subscribe("PE", "all")
    await here.subscribe("PE", "drill", {"status": ["exercise"]})
    for status in ("actual", "exercise", "test"):
        await here.send("CL", status, status=status)

    assert await here.take("PE", "all") == ["CL:actual"]
    assert await here.take("PE", "drill") == ["CL:exercise"]
    assert await here.take("PE") == ["CL:test"]


async def test_the_inbox_is_for_what_names_its_member(sqlite_here: Region) -> None:
    """A release by group or `all` alone never fills it: that is found with GET /v1/messages."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.group("andes", "CL", "PE")
    await here.send("CL", "by-group", {"groups": ["andes"]})
    await here.send("CL", "by-all", {"all": True}, tlp="GREEN")
    await here.send("CL", "named", to("PE") | {"groups": ["andes"]})

    assert await here.take("PE") == ["CL:named"]
    listed = (await here.call("PE", "GET", "/v1/messages")).json()["messages"]
    assert [(one["address"], one["rule"]) for one in listed] == [
        ("CL:named", "to"),
        ("CL:by-all", "all"),
        ("CL:by-group", "group:andes"),
    ]


async def test_the_inbox_stays(sqlite_here: Region) -> None:
    """It can be neither made, changed nor removed."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.send("CL", "a-1")

    assert (await subscribe(here, "PE", name="inbox"))[0] == 409
    assert (await here.call("PE", "PATCH", "/v1/subscriptions/inbox", {"filter": {}})).status_code == 404
    assert (await here.call("PE", "DELETE", "/v1/subscriptions/inbox")).status_code == 409
    assert await here.take("PE") == ["CL:a-1"]


async def test_duty_and_mention_are_the_subscribers_own(sqlite_here: Region) -> None:
    """PE is to act, AR is to know: each filter speaks of its own member."""
    here = sqlite_here
    await here.enrol("CL", "PE", "AR")
    for member in ("PE", "AR"):
        await here.subscribe(member, "act", {"any": [{"duty": ["action"]}]})
        await here.subscribe(member, "mine", {"any": [{"mentions_me": True}]})
        await here.subscribe(member, "others", {"any": [{"not": {"mentions_me": True}}]})
    await here.send("CL", "a-1", {"to": [{"member": "PE", "duties": ["action"]}], "all": True}, tlp="GREEN")

    got = {
        member: [queue for queue in ("act", "mine", "others", "inbox") if await here.lease(member, queue)]
        for member in ("PE", "AR")
    }

    assert got == {"PE": ["act", "mine"], "AR": ["others"]}


async def test_echo_is_for_exercises_and_tests(sqlite_here: Region) -> None:
    """Named in an actual message it is a fault; in a test it gets it in its own queue; `all` never means it."""
    here = sqlite_here
    await here.enrol("CL", "PE")
    await here.enrol("ECHO", type="hub")
    refused = await here.post(here.sign(here.payload("CL", release=to("ECHO"))))
    assert [(fault["pointer"], fault["rule"]) for fault in refused.json()["errors"]] == [
        ("/header/handling/release/to", "echo-in-actual")
    ]
    await here.send("CL", "t-1", to("ECHO"), status="test")
    await here.send("CL", "t-2", {"all": True}, tlp="CLEAR", status="test")
    await here.send("CL", "t-3", to("PE", "ECHO"), status="exercise")

    assert await here.take("ECHO") == ["CL:t-1", "CL:t-3"]


async def test_preview_is_what_a_filter_would_have_matched(here: Region) -> None:
    """Among what the member may see today; nothing is stored, and a bad filter is told why."""
    await here.enrol("CL", "PE")
    await here.group("andes", "CL", "PE")
    await here.send("CL", "a-1")
    await here.send("CL", "a-2", {"groups": ["andes"]})
    await here.send("CL", "a-3", to("CL"))
    await here.send("CL", "s-1", kind="seizure")

    async def preview(wanted: dict[str, Any]) -> list[str]:
        answer = await here.call("PE", "POST", "/v1/subscriptions/preview", {"filter": wanted})
        return [one["address"] for one in answer.json()["matches"]]

    assert await preview({}) == ["CL:s-1", "CL:a-2", "CL:a-1"]
    assert await preview({"any": [{"kind": ["alert"], "mentions_me": True}]}) == ["CL:a-1"]
    assert await preview({"any": [{"hs": ["2402"]}]}) == ["CL:s-1"]
    await administer.leave(here.hub.ledger, "andes", "PE", here.clock())
    assert await preview({}) == ["CL:s-1", "CL:a-1"]
    bad = await here.call("PE", "POST", "/v1/subscriptions/preview", {"filter": {"any": []}})
    assert bad.status_code == 422
    assert [address_of(d["message"]) for d in await here.lease("PE")] == ["CL:a-1", "CL:s-1"]
