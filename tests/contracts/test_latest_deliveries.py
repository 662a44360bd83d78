"""An operator's look at the deliveries of a member or a queue: the latest change first, whatever its state."""

from __future__ import annotations

from typing import Any

import pytest

from broker.ledger import latest
from tests.region import Region, to


async def shown(r: Region, **wanted: str | int) -> list[dict[str, Any]]:
    asked = "&".join(f"{name}={value}" for name, value in wanted.items())
    answer = await r.call("operator:ana", "GET", f"/v1/admin/deliveries?{asked}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


async def settle(r: Region, member: str, outcome: str, number: int) -> None:
    """Of a member's inbox, the first `number` that wait."""
    said = {"reason": "torn"} if outcome == "reject" else {}
    leased = await r.lease(member, limit=number)
    await r.settle(member, "inbox", *({"lease_id": one["lease_id"], "outcome": outcome} | said for one in leased))
    r.clock.advance(seconds=1)


@pytest.fixture
async def busy(here: Region) -> Region:
    """Nine messages from Chile: of Peru's, three are settled, one is dead, one leased, four wait; Argentina's all wait."""
    await here.enrol("CL", "PE", "AR", "operator:ana")
    for number in range(9):
        await here.send("CL", f"m-{number}", to("PE", "AR"))
        here.clock.advance(seconds=1)
    await settle(here, "PE", "accept", 3)
    await settle(here, "PE", "reject", 1)
    await here.lease("PE", limit=1)
    return here


async def test_all_of_a_member_are_shown_the_latest_change_first(busy: Region) -> None:
    """And nobody else's; a limit takes from the top; a queue that is not the member's holds nothing of it."""
    found = await shown(busy, member="PE")
    queues = {one["delivery"].split("-")[0] for one in found}

    assert [one["state"] for one in found] == ["leased", "dead", *["settled"] * 3, *["ready"] * 4]
    assert {one["message"] for one in found} == {f"CL:m-{number}" for number in range(9)}
    assert {one["member"] for one in found} == {"PE"}
    assert len(queues) == 1
    assert [one["state"] for one in await shown(busy, member="PE", limit=2)] == ["leased", "dead"]
    assert [one["message"] for one in await shown(busy, member="PE", state="ready")] == [
        f"CL:m-{n}" for n in (8, 7, 6, 5)
    ]
    assert [one["delivery"] for one in await shown(busy, queue=queues.pop())] == [one["delivery"] for one in found]
    assert await shown(busy, member="AR", queue=found[0]["delivery"].split("-")[0]) == []
    assert await shown(busy, member="XX") == []
    assert await shown(busy, queue="none") == []


async def test_what_was_settled_long_ago_is_not_looked_for(busy: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look is bounded: of what is settled, the newest of the queue."""
    assert len(await shown(busy, member="PE", state="settled")) == 3
    monkeypatch.setattr(latest, "SETTLED_SEQUENCES", 7)

    assert [one["message"] for one in await shown(busy, member="PE", state="settled")] == ["CL:m-2"]


async def test_a_member_with_very_many_former_queues_is_shown_those_it_has(
    busy: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that subscribes and leaves every day does not make the look longer every day."""
    monkeypatch.setattr(latest, "MAX_QUEUES", 2)
    for number in range(3):
        await busy.subscribe("PE", f"n{number}")
        gone = await busy.call("PE", "DELETE", f"/v1/subscriptions/n{number}")
        assert gone.status_code == 204, gone.text

    assert len(await shown(busy, member="PE")) == 9
