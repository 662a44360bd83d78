"""Where messages meet, for who may see both: by an identifier, or as reports of one event; and nothing of the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from broker import administer, links
from broker.clock import text
from broker.ledger import links as ledger_links
from broker.ledger import tables as t
from tests.region import ALERT, SEIZURE, Region, to

CONTAINER = "CSQU3054383"
FORGED = "CSQU3054384"


def carrying(*containers: Any, **transport: Any) -> dict[str, Any]:
    """A seizure whose transport names them; a string stands for itself as it was found."""
    named = [{"value": one} if isinstance(one, str) else one for one in containers]
    return SEIZURE | {"transport": ({"containers": named} if named else {}) | transport}


async def report(here: Region, originator: str, id: str, release: Any, body: dict[str, Any], **changes: Any) -> str:
    country = originator if len(originator) == 2 else "CL"
    return await here.send(
        originator, id, release, kind="seizure", body={**body, "place": {"country": country}}, **changes
    )


async def linked(here: Region, member: str, address: str) -> list[dict[str, Any]]:
    answer = await here.call(member, "GET", f"/v1/messages/{address}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["links"]
    return found


async def met(here: Region, member: str, address: str) -> list[str]:
    """Addresses of the others, in the order told."""
    return [link["address"] for link in await linked(here, member, address)]


async def withdraw(here: Region, address: str) -> None:
    answer = await here.post(here.sign(here.withdrawal(address, kind="seizure")))
    assert answer.status_code == 201, answer.text


async def neighbours(here: Region) -> tuple[str, str]:
    """Chile and Argentina each name one container; Peru gets both, Mexico only Chile's, Brazil only Argentina's."""
    await here.enrol("CL", "PE", "AR", "MX", "BR")
    first = await report(here, "CL", "s-1", to("PE", "MX"), carrying(CONTAINER))
    other = await report(here, "AR", "s-1", to("PE", "BR"), carrying("csqu 305438-3"))
    return first, other


# --- by an identifier --------------------------------------------------------------------------------------------


async def test_two_reports_of_one_container_meet_for_who_may_see_both(here: Region) -> None:
    """However each wrote the number; the link says why, and what the other is, and no more."""
    first, other = await neighbours(here)
    (link,) = await linked(here, "PE", first)
    listed = (await here.call("PE", "GET", "/v1/messages")).json()["messages"]
    accepted_at = next(one["accepted_at"] for one in listed if one["address"] == other)

    assert link == {
        "why": "identifier", "scheme": "iso6346", "value": CONTAINER, "address": other, "kind": "seizure", "tlp": "AMBER",
        "accepted_at": accepted_at,
    }  # fmt: skip
    assert await met(here, "PE", other) == [first]


async def test_who_may_see_one_learns_nothing_of_the_other(here: Region) -> None:
    """Neither originator, nor who was sent one of them: the answer is what it would be without the other."""
    first, other = await neighbours(here)

    for member, address in (("MX", first), ("CL", first), ("BR", other), ("AR", other)):
        assert await linked(here, member, address) == []


async def test_an_originator_s_own_messages_meet_for_itself(here: Region) -> None:
    """And what it was sent meets what it said."""
    await here.enrol("CL", "PE", "AR")
    first = await report(here, "CL", "s-1", to("PE"), carrying(CONTAINER))
    second = await report(here, "CL", "s-2", to("PE"), carrying(CONTAINER))
    other = await report(here, "AR", "s-1", to("CL"), carrying(CONTAINER))

    assert await met(here, "CL", first) == [other, second]
    assert await met(here, "CL", other) == [second, first]
    assert await met(here, "PE", first) == [second]


async def test_a_forged_number_meets_itself(here: Region) -> None:
    """Believed false in one report and in the other: the forger used it twice, which is the intelligence."""
    await here.enrol("CL", "PE", "AR")
    false = {"value": FORGED, "as": "believed-false"}
    first = await report(here, "CL", "s-1", to("PE"), carrying(false))
    other = await report(here, "AR", "s-1", to("PE"), carrying(false | {"value": "csqu 305438-4"}))
    right = await report(here, "AR", "s-2", to("PE"), carrying(CONTAINER))

    assert await met(here, "PE", first) == [other]
    assert await met(here, "PE", right) == []


async def test_the_same_characters_are_not_the_same_thing(here: Region) -> None:
    """A bill of lading with the number of a container is another document, not that box."""
    await here.enrol("CL", "PE", "AR")
    first = await report(here, "CL", "s-1", to("PE"), carrying(CONTAINER))
    await report(here, "AR", "s-1", to("PE"), carrying(bill={"value": CONTAINER}))
    seal = await report(here, "AR", "s-2", to("PE"), carrying(seals=[{"value": CONTAINER}]))

    assert await met(here, "PE", first) == []
    assert await met(here, "PE", seal) == []


async def test_any_kind_meets_any_other(here: Region) -> None:
    """An alert looks for what a seizure names; several shared numbers are several links."""
    await here.enrol("CL", "PE", "AR")
    sought = {"containers": [{"value": CONTAINER}], "vessels": [{"imo": {"value": "9074729"}}]}
    watch = await here.send("AR", "a-1", to("PE"), body=ALERT | {"transport": sought})
    found = await report(here, "CL", "s-1", to("PE"), carrying(CONTAINER, vessel={"imo": {"value": "IMO 9074729"}}))

    for one, other in ((watch, found), (found, watch)):
        assert {(link["scheme"], link["address"]) for link in await linked(here, "PE", one)} == {
            ("iso6346", other), ("imo", other),
        }  # fmt: skip


async def test_links_of_one_value_are_capped_and_not_counted(here: Region) -> None:
    """The newest ten; the list by identifier has the rest, and neither says how many there are."""
    await here.enrol("CL", "PE", "AR")
    first = await report(here, "CL", "s-1", to("PE"), carrying(CONTAINER))
    others = [await report(here, "AR", f"s-{n}", to("PE"), carrying(CONTAINER)) for n in range(links.EACH + 3)]

    assert await met(here, "PE", first) == others[: -links.EACH - 1 : -1]
    answer = (await here.call("PE", "GET", f"/v1/messages/{first}")).json()
    assert not [name for name in answer if "count" in name or "total" in name]
    listed = (await here.call("PE", "GET", f"/v1/messages?identifier={CONTAINER}&limit=200")).json()["messages"]
    assert len(listed) == len(others) + 1


async def test_what_is_new_and_not_for_the_reader_takes_no_link_away(
    here: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many others name the container by then: a cap on what is looked at would tell that there are many."""
    monkeypatch.setattr(ledger_links, "EACH", 3)
    monkeypatch.setattr(ledger_links, "EVENTS", 3)
    first, other = await neighbours(here)
    for number in range(5):
        await report(here, "AR", f"later-{number}", to("BR"), carrying(CONTAINER))

    assert await met(here, "PE", first) == [other]


async def test_what_was_corrected_takes_no_link_away(here: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often its originator amends what it says of the container, it is one message. Nor does an exercise."""
    monkeypatch.setattr(ledger_links, "EACH", 3)
    monkeypatch.setattr(ledger_links, "EVENTS", 3)
    first, other = await neighbours(here)
    latest = await report(here, "BR", "b-0", to("PE"), carrying(CONTAINER))
    for number in range(1, 5):
        latest = await report(here, "BR", f"b-{number}", to("PE"), carrying(CONTAINER), supersedes=latest)

    for number in range(4):
        await report(here, "BR", f"e-{number}", to("PE"), carrying(CONTAINER), status="exercise")

    assert await met(here, "PE", first) == [latest, other]


async def test_a_flood_for_nobody_to_see_parts_no_two_messages(here: Region) -> None:
    """Three thousand copies of a report that names the container, and is released to no reader."""
    first, other = await neighbours(here)
    await report(here, "AR", "flood", to("BR"), carrying(CONTAINER))
    async with here.hub.ledger.accepting() as c:
        flood = (await c.execute(select(t.messages).where(t.messages.c.id == "flood"))).mappings().one()
        more = range(flood["position"] + 1, flood["position"] + 3_001)
        await c.execute(insert(t.messages), [{**flood, "position": n, "chain": n, "id": f"flood-{n}"} for n in more])
        named = [{"position": n, "scheme": "iso6346", "value": CONTAINER} for n in more]
        await c.execute(insert(t.identifiers), named)

    assert await met(here, "PE", first) == [other]


async def test_an_exercise_meets_no_actual_message(here: Region) -> None:
    """It names whatever it likes, and surprises nobody."""
    first, _ = await neighbours(here)
    trial = await report(here, "AR", "trial", to("PE"), carrying(CONTAINER), status="exercise")
    again = await report(here, "AR", "trial-2", to("PE"), carrying(CONTAINER), status="exercise")

    assert trial not in await met(here, "PE", first)
    assert await met(here, "PE", trial) == [again]


async def test_what_a_reader_may_not_see_changes_nothing_in_what_it_sees(here: Region) -> None:
    """Not the links, not their order, not their number: before and after thirty messages between others."""
    first, _ = await neighbours(here)
    before = await linked(here, "PE", first)
    for number in range(30):
        await report(here, "BR", f"s-{number}", to("MX"), carrying(CONTAINER))

    assert await linked(here, "PE", first) == before
    assert len(await met(here, "MX", first)) == links.EACH


# --- what was, and what is no longer -----------------------------------------------------------------------------


@pytest.mark.parametrize("handed", [False, True], ids=["unread", "read"])
async def test_a_withdrawn_or_expired_message_is_not_linked(here: Region, handed: bool) -> None:
    """Even for who has it: it says no more what it said."""
    await here.enrol("CL", "PE", "AR")
    first = await report(here, "CL", "s-1", to("PE"), carrying(CONTAINER))
    void = await report(here, "AR", "void", to("PE"), carrying(CONTAINER))
    past = await report(
        here, "AR", "past", to("PE"), carrying(CONTAINER), expires_at=text(here.clock() + timedelta(minutes=5))
    )
    if handed:
        await here.take("PE")
    assert await met(here, "PE", first) == [past, void]

    await withdraw(here, void)
    here.clock.advance(minutes=6)
    assert await met(here, "PE", first) == []


async def test_a_message_is_linked_in_its_latest_version(here: Region) -> None:
    """An outdated one is reached through its successor; versions of one message are no links of each other."""
    await here.enrol("CL", "PE", "AR")
    first = await report(here, "CL", "s-1", to("PE"), carrying(CONTAINER))
    old = await report(here, "AR", "old", to("PE"), carrying(CONTAINER))
    await here.take("PE")
    new = await report(here, "AR", "new", to("PE"), carrying(CONTAINER), supersedes=old)

    assert await met(here, "PE", first) == [new]
    assert await met(here, "PE", new) == await met(here, "PE", old) == [first]
    without = await report(here, "AR", "newer", to("PE"), SEIZURE, supersedes=new)
    assert await met(here, "PE", first) == []
    assert await met(here, "PE", without) == []


@pytest.mark.parametrize("handed", [False, True], ids=["unread", "read"])
async def test_a_narrowed_release_hides_the_link_at_once(here: Region, handed: bool) -> None:
    """Who had the earlier version keeps it, and is led nowhere from elsewhere."""
    first, other = await neighbours(here)
    if handed:
        await here.take("PE")
    assert await met(here, "PE", first) == [other]

    await report(here, "AR", "s-2", to("BR"), carrying(CONTAINER), supersedes=other)
    assert await met(here, "PE", first) == []


async def test_who_left_the_group_is_led_nowhere(here: Region) -> None:
    """Nor who was taken out of it, nor anybody once the operation is over."""
    await here.enrol("CL", "PE", "AR", "MX")
    await here.group("OP-1", "AR", "PE", "MX", ends_at=here.clock() + timedelta(minutes=9))
    first = await report(here, "CL", "s-1", to("PE", "MX"), carrying(CONTAINER))
    other = await report(here, "AR", "s-1", {"groups": ["OP-1"]}, carrying(CONTAINER))
    assert await met(here, "PE", first) == await met(here, "MX", first) == [other]

    await administer.leave(here.hub.ledger, "OP-1", "PE", here.clock())
    assert await met(here, "PE", first) == []
    assert await met(here, "MX", first) == [other]
    here.clock.advance(minutes=9)
    assert await met(here, "MX", first) == []


async def test_a_suspended_member_is_led_nowhere_and_finds_its_way_again(here: Region) -> None:
    """Its door is closed; what is suspended is the reader, not what others said of the container."""
    first, other = await neighbours(here)
    await here.token("PE")
    await administer.set_active(here.hub.ledger, "PE", False, here.clock())
    assert (await here.call("PE", "GET", f"/v1/messages/{first}")).status_code in (401, 403)

    await administer.set_active(here.hub.ledger, "AR", False, here.clock())
    await administer.set_active(here.hub.ledger, "PE", True, here.clock())
    assert await met(here, "PE", first) == [other]


# --- reports of one event ----------------------------------------------------------------------------------------


async def events(here: Region, **changes: Any) -> list[dict[str, Any]]:
    """What the office makes of Chile's report of an event in Chile, and of another's, changed so, of the same."""
    await here.enrol("CL", "PE", "AR")
    await here.enrol("RILO-SA", type="rilo")
    day = here.clock() - timedelta(days=10)
    hours = changes.pop("hours", 5.5)
    body = {**SEIZURE, **changes.pop("body", {})}
    originator = changes.pop("originator", "PE")
    first = await here.send("CL", "s-1", to("RILO-SA"), kind="seizure", event_at=text(day))
    await here.send(
        originator,
        "s-2",
        to("RILO-SA"),
        kind="seizure",
        body=body,
        event_at=text(day + timedelta(hours=hours)),
        **changes,
    )
    return [link for link in await linked(here, "RILO-SA", first) if link["why"] == "same-event"]


async def test_two_countries_reports_of_one_event_are_candidates(here: Region) -> None:
    """Peru, whence it came, reports what Chile seized: shown with the hours between them, and never merged."""
    (link,) = await events(here)

    assert (link["address"], link["kind"], link["hours_apart"]) == ("PE:s-2", "seizure", 5.5)
    assert set(link) == {"why", "address", "kind", "tlp", "accepted_at", "hours_apart"}
    (back,) = await linked(here, "RILO-SA", "PE:s-2")
    assert (back["address"], back["hours_apart"]) == ("CL:s-1", 5.5)
    assert await linked(here, "PE", "PE:s-2") == await linked(here, "CL", "CL:s-1") == []


@pytest.mark.parametrize("hours", [-72, 72])
async def test_three_days_apart_may_be_one_event(here: Region, hours: int) -> None:
    """One country dates it by the find, the other by its report."""
    (link,) = await events(here, hours=hours)

    assert link["hours_apart"] == 72


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("later", {"hours": 72.1}),
    ("earlier", {"hours": -72.1}),
    ("elsewhere", {"body": {"place": {"country": "PE"}}}),
    ("of other goods", {"body": {"heading": "alcohol", "goods": [
        {"side": "found", "quantity": {"value": "1", "unit": "LTR"}}]}}),
    ("an exercise", {"status": "exercise"}),
    ("its own", {"originator": "CL"}),
]  # fmt: skip


@pytest.mark.parametrize("changes", [case[1] for case in OTHERS], ids=[case[0] for case in OTHERS])
async def test_what_cannot_be_the_same_event_is_no_candidate(here: Region, changes: dict[str, Any]) -> None:
    """Nor does a country's second report become a double of its first."""
    assert await events(here, **changes) == []


async def test_a_candidate_that_was_withdrawn_or_narrowed_is_none(here: Region) -> None:
    """As with identifiers: the latest version decides, for this reader, now."""
    await events(here)
    await here.send("PE", "s-3", to("AR"), kind="seizure", supersedes="PE:s-2")
    assert await linked(here, "RILO-SA", "CL:s-1") == []

    await here.send(
        "PE", "s-4", to("RILO-SA"), kind="seizure", supersedes="PE:s-3", event_at=text(here.clock() - timedelta(days=9))
    )
    assert [link["address"] for link in await linked(here, "RILO-SA", "CL:s-1")] == ["PE:s-4"]
    await withdraw(here, "PE:s-4")
    assert await linked(here, "RILO-SA", "CL:s-1") == []


async def test_what_is_no_event_somewhere_has_no_candidates(here: Region) -> None:
    """Alerts about one heading on one day are not doubles."""
    await here.enrol("CL", "PE", "AR")
    first = await here.send("CL", "a-1", to("PE"))
    await here.send("AR", "a-1", to("PE"))

    assert await linked(here, "PE", first) == []
