"""Truly signed messages that may not be released, or not corrected, as they say: each refused by rule and pointer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broker import administer, jws
from broker.errors import RegistryRefused
from tests.contracts.test_bad_messages import batch, changed, examples
from tests.forge import messages, refused, same_but_for_the_request, untouched
from tests.region import ALERT, Region, to

# --- the release -------------------------------------------------------------------------------------------------

AT = "/header/handling/release"


@pytest.fixture
async def grouped(fresh: Region) -> Region:
    """A group with Chile in it, and one without."""
    await fresh.group("own", "CL", "PE")
    await fresh.group("foreign", "PE", "AR")
    await administer.add_member(fresh.hub.ledger, "ECHO", "hub", "Echo", fresh.clock())
    return fresh


async def test_a_release_that_cannot_be_granted_is_refused_not_narrowed(grouped: Region) -> None:
    """TLP 2.0, and who is known; each with the place in the release. The check says the same."""
    cases: list[tuple[str, Any, str, str]] = [
        ("RED", {"groups": ["own"]}, "release-wider-than-marking", f"{AT}/groups"),
        ("RED", {"all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("RED", {"to": [{"member": "PE"}], "groups": ["own"], "all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("AMBER+STRICT", {"all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("AMBER", {"all": True}, "release-wider-than-marking", f"{AT}/all"),
        ("AMBER", to("XX"), "unknown-member", f"{AT}/to"),
        ("AMBER", to("hub"), "unknown-member", f"{AT}/to"),
        ("GREEN", {"all": True, "except": ["XX"]}, "unknown-member", f"{AT}/except"),
        ("GREEN", {"all": True, "except": ["hub"]}, "unknown-member", f"{AT}/except"),
        ("AMBER", {"groups": ["own", "foreign"]}, "group-refused", f"{AT}/groups/1"),
        ("AMBER", {"groups": ["nowhere"]}, "group-refused", f"{AT}/groups/0"),
        ("AMBER", to("ECHO"), "echo-in-actual", f"{AT}/to"),
    ]
    for tlp, release, rule, pointer in cases:
        payload = grouped.payload("CL", "bad", release, tlp=tlp)
        async with untouched(grouped, kept=1):
            posted = await grouped.post(grouped.sign(payload))
            checked = await grouped.call("CL", "POST", "/v1/messages/check", payload)
        first = refused(posted, 422, "release", rule, pointer)
        second = refused(checked, 422, "release", rule, pointer)
        assert first["errors"] == second["errors"]


async def test_an_unknown_group_and_a_foreign_one_get_the_same_answer(grouped: Region) -> None:
    """Byte for byte, by post, batch and check: nobody learns which groups exist, ran, or will run."""
    payload = grouped.payload("CL", "bad", {"groups": ["secret"]})
    token_ = grouped.sign(payload)
    nowhere = [await grouped.post(token_), await grouped.call("CL", "POST", "/v1/messages/check", payload)]
    nowhere_line = await batch(grouped, token_)
    past, future = grouped.clock() - timedelta(days=1), grouped.clock() + timedelta(days=1)
    await grouped.group("secret", "PE", "AR")
    foreign = [await grouped.post(token_), await grouped.call("CL", "POST", "/v1/messages/check", payload)]
    foreign_line = await batch(grouped, token_)
    await grouped.group("ended", "CL", ends_at=past)
    await grouped.group("planned", "CL", starts_at=future)

    refused(nowhere[0], 422, "release", "group-refused", f"{AT}/groups/0")
    assert same_but_for_the_request(nowhere[0], foreign[0])
    assert same_but_for_the_request(nowhere[1], foreign[1])
    assert nowhere_line == foreign_line
    for name in ("ended", "planned"):
        answer = await grouped.post(grouped.sign(grouped.payload("CL", "bad", {"groups": [name]})))
        assert answer.content.replace(name.encode(), b"secret").replace(
            answer.headers["x-request-id"].encode(), b""
        ) == nowhere[0].content.replace(nowhere[0].headers["x-request-id"].encode(), b"")


async def test_echo_never_sees_what_is_actual(grouped: Region) -> None:
    """Named in an exercise it is reached; through `all` and groups never."""
    assert (
        await grouped.post(grouped.sign(grouped.payload("CL", "drill", to("ECHO"), status="exercise")))
    ).status_code == 201
    with pytest.raises(RegistryRefused):
        await administer.join(grouped.hub.ledger, "own", "ECHO", grouped.clock())
    answer = await grouped.call(
        "CL", "POST", "/v1/messages/check", grouped.payload("CL", "x", {"all": True}, tlp="CLEAR", status="exercise")
    )
    assert "ECHO" not in [r["member"] for r in answer.json()["recipients"]]


async def test_what_reaches_nobody_is_accepted_with_a_warning(grouped: Region) -> None:
    """An empty release, one that `except` empties, a suspended recipient: recorded, and said."""
    await administer.set_active(grouped.hub.ledger, "AR", False, grouped.clock())
    for release, rules in (
        ({}, {"nobody"}),
        ({"to": [{"member": "PE"}], "except": ["PE"]}, {"nobody"}),
        (to("AR"), {"nobody", "member-is-suspended"}),
    ):
        answer = await grouped.post(grouped.sign(grouped.payload("CL", None, release)))

        assert answer.status_code == 201, answer.text
        assert {w["rule"] for w in answer.json()["warnings"]} == rules


# --- corrections -------------------------------------------------------------------------------------------------


async def test_a_correction_that_cannot_be(fresh: Region) -> None:
    """Unknown, outdated, withdrawn, another's, of another kind or status: each with its own answer, none recorded."""
    await fresh.send("PE", "p-1", to("CL"))
    await fresh.send("CL", "old")
    await fresh.send("CL", "new", supersedes="CL:old")
    await fresh.send("CL", "gone")
    withdrawal = await fresh.withdraw("CL:gone")
    reported = next(e["body"] for _, e in examples() if e["header"]["kind"] == "seizure")
    cases: list[tuple[dict[str, Any], int, str, str, str]] = [
        (
            fresh.payload("CL", "x", supersedes="CL:none"),
            409,
            "not-latest",
            "correction-of-unknown",
            "/header/supersedes",
        ),
        (fresh.payload("CL", "x", supersedes="CL:x"), 409, "not-latest", "correction-of-unknown", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="CL:old"), 409, "not-latest", "not-the-latest", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="CL:gone"), 409, "withdrawn", "chain-withdrawn", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes=withdrawal), 409, "withdrawn", "chain-withdrawn", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="PE:p-1"), 422, "invalid", "correction-of-another", "/header/supersedes"),
        (fresh.payload("CL", "x", supersedes="PE:none"), 422, "invalid", "correction-of-another", "/header/supersedes"),
        (
            fresh.payload("CL", "x", supersedes="CL:new", kind="seizure", body=reported),
            422,
            "invalid",
            "correction-differs",
            "/header/kind",
        ),
        (
            fresh.payload("CL", "x", supersedes="CL:new", status="test"),
            422,
            "invalid",
            "correction-differs",
            "/header/status",
        ),
        (fresh.withdrawal("CL:none", id="x"), 409, "not-latest", "correction-of-unknown", "/header/withdraws"),
        (fresh.withdrawal("CL:old", id="x"), 409, "not-latest", "not-the-latest", "/header/withdraws"),
        (fresh.withdrawal("CL:gone", id="x"), 409, "withdrawn", "chain-withdrawn", "/header/withdraws"),
        (fresh.withdrawal(withdrawal, id="x"), 409, "withdrawn", "chain-withdrawn", "/header/withdraws"),
        (fresh.withdrawal("CL:new", id="x", kind="seizure"), 422, "invalid", "correction-differs", "/header/kind"),
        (
            changed(fresh.withdrawal("CL:new", id="x"), "header/supersedes", "CL:new"),
            422,
            "invalid",
            "supersedes-and-withdraws",
            "/header/withdraws",
        ),
        (
            changed(fresh.withdrawal("CL:new", id="x"), "header/handling/release", to("PE")),
            422,
            "invalid",
            "release-of-withdrawal",
            "/header/handling/release",
        ),
        (
            changed(fresh.withdrawal("CL:new", id="x"), "body/reason_code", "bored"),
            422,
            "invalid",
            "unknown-code",
            "/body/reason_code",
        ),
        (changed(fresh.withdrawal("CL:new", id="x"), "body", ALERT), 422, "invalid", "required", "/body/reason_code"),
    ]
    for payload, status, code, rule, pointer in cases:
        async with untouched(fresh, kept=1):
            answer = await fresh.post(fresh.sign(payload))
        refused(answer, status, code, rule, pointer)


async def test_anothers_message_can_be_neither_amended_nor_withdrawn(anew: Region) -> None:
    """Whether or not it exists: the answer is given without a look."""
    await anew.send("PE", "p-1", to("CL"))
    answers = []
    for target in ("PE:p-1", "PE:p-2"):
        payload = anew.withdrawal(target, id="x")
        payload["header"]["originator"] = "CL"
        async with untouched(anew, kept=1):
            answers.append(await anew.post(anew.sign(payload)))

    refused(answers[0], 422, "invalid", "correction-of-another", "/header/withdraws")
    assert answers[0].content.replace(b"p-1", b"p-2")[:200] == answers[1].content[:200]
    assert (await anew.call("CL", "GET", "/v1/messages/PE:p-1")).json()["state"] == "current"


async def test_a_line_may_correct_an_earlier_line_but_not_a_refused_one(anew: Region) -> None:
    first = anew.sign(anew.payload("CL", "b-1", version="9.9"))
    second = anew.sign(anew.payload("CL", "b-2", supersedes="CL:b-1"))
    async with untouched(anew, kept=2):
        answers = await batch(anew, first, second)

    assert [(a["status"], a["problem"]["errors"][0]["rule"]) for a in answers] == [
        (422, "unknown-version"),
        (409, "correction-of-unknown"),
    ]


async def test_two_lines_at_one_address_are_one_message_and_a_conflict(fresh: Region) -> None:
    """Within one transaction too."""
    one, other = fresh.payload("CL", "b-1"), fresh.payload("CL", "b-1")
    other["body"]["subject"] = "Other"
    before = await messages(fresh)

    answers = await batch(fresh, fresh.sign(one), fresh.sign(other), fresh.sign(one))

    assert [a["status"] for a in answers] == [201, 409, 200]
    assert answers[1]["problem"]["code"] == "conflict"
    jws.verify(jws.read(answers[1]["problem"]["refusal"].encode(), typ=jws.TYP_REFUSAL), jws.public_jwk(fresh.hub.key))
    assert answers[0]["receipt"] == answers[2]["receipt"]
    assert await messages(fresh) == before + 1
