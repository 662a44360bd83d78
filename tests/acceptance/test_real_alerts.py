"""A part of the real alerts in the ordinary run: whoever is in the lists gets it, with those duties, and nobody else.

`make demo-real` does all 8,413, over real sockets and through RabbitMQ.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests import rasff
from tests.region import Region, address_of, payload_of

TAKEN = 150


async def test_everybody_gets_exactly_what_the_lists_say(sqlite_here: Region) -> None:
    """150 alerts and every reference that occurs twice: repeats, amendments, holders, duties, notices."""
    if not rasff.DATABASE.exists():
        pytest.skip("test data is left out: no rasff_notifications.sqlite (TIDEWAITER_TESTDATA)")
    rows = rasff.read()
    twice = {reference for reference, times in Counter(row.reference for row in rows).items() if times > 1}
    posts = list(rasff.alerts([row for number, row in enumerate(rows) if number < TAKEN or row.reference in twice]))
    members = {m for payload, expected in posts for m in (payload["header"]["originator"], *expected.to)}
    await sqlite_here.enrol(*sorted(members))
    for member in sorted(members):
        await sqlite_here.subscribe(member, "alerts")

    wanted: dict[str, Counter[tuple[str, str]]] = {member: Counter() for member in members}
    got: dict[str, Counter[tuple[str, str]]] = {member: Counter() for member in members}
    before: dict[str, rasff.Expected] = {}
    receipts: dict[str, str] = {}
    for payload, expected in posts:
        originator = payload["header"]["originator"]
        if expected.supersedes:  # an amendment finds holders: let them take what they have been given
            for member in before[expected.supersedes].to:
                await take(sqlite_here, member, got[member])
        answer = await sqlite_here.post(sqlite_here.sign(rasff.octets(payload), originator))
        assert answer.status_code == (200 if expected.outcome == "repeat" else 201), answer.text
        assert receipts.setdefault(expected.address, answer.json()["receipt"]) == answer.json()["receipt"]
        if expected.outcome == "repeat":
            continue
        before[expected.address] = expected
        for member, duties in expected.to.items():
            wanted[member][expected.address, ",".join(duties)] += 1
        if expected.supersedes:
            for member in before[expected.supersedes].to.keys() - expected.to.keys():
                wanted[member]["notice", expected.supersedes] += 1
    for member in sorted(members):
        await take(sqlite_here, member, got[member])

    assert {m: c for m, c in got.items() if c} == {m: c for m, c in wanted.items() if c}
    outcomes = Counter(expected.outcome for _, expected in posts)
    assert (outcomes["repeat"], outcomes["amendment"]) == (9, 18)


async def take(region: Region, member: str, got: Counter[tuple[str, str]]) -> None:
    for queue in ("alerts", "inbox"):
        while deliveries := await region.lease(member, queue):
            for one in deliveries:
                payload = payload_of(one["message"])
                if payload["header"]["kind"] == "notice":
                    got["notice", payload["body"]["about"]] += 1
                else:
                    got[address_of(one["message"]), ",".join(one["duties"])] += 1
            accepted = ({"lease_id": one["lease_id"], "outcome": "accept"} for one in deliveries)
            await region.settle(member, queue, *accepted)
