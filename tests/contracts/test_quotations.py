"""What is quoted keeps its originator's conditions, by what the hub holds of it and the quoter may see: promise 2."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import event

from tests.region import Region, to

H2 = ["H2"]
CONSENT = {"answer": "consent-given"}
QUOTED = "/body/quoted/0/message"


def entry(message: str, **more: Any) -> dict[str, Any]:
    """As a quoter may write it who says as little as it can: its marking is said to be the widest."""
    return {"message": message, "tlp": "CLEAR", **more}


def bulletin(
    here: Region, *quoted: dict[str, Any], by: str = "RILO-SA", tlp: str = "AMBER", id: Any = None, **changes: Any
) -> dict[str, Any]:
    body = {"subject": "Cigarettes", "sections": [{"text": "What was seen"}], "quoted": list(quoted)}
    return here.payload(by, id, to("AR"), kind="bulletin", body=body, tlp=tlp, **changes)


async def quotes(here: Region, *quoted: dict[str, Any], **changes: Any) -> httpx2.Response:
    """The answer to a post; the check of the draft has found the same."""
    payload = bulletin(here, *quoted, **changes)
    checked = await here.call(payload["header"]["originator"], "POST", "/v1/messages/check", payload)
    posted = await here.post(here.sign(payload))
    assert (checked.status_code == 200) == (posted.status_code == 201)
    assert checked.json().get("errors") == posted.json().get("errors")
    return posted


def told(answer: httpx2.Response) -> list[tuple[str, str]]:
    if answer.status_code == 201:
        return []
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
    return [(fault["rule"], fault["pointer"]) for fault in answer.json()["errors"]]


async def held(
    here: Region, originator: str, release: Any, *, tlp: str = "AMBER", caveats: Any = (), **changes: Any
) -> str:
    payload = here.payload(originator, None, release, tlp=tlp, **changes)
    payload["header"]["handling"]["caveats"] = list(caveats)
    answer = await here.post(here.sign(payload))
    assert answer.status_code == 201, answer.text
    return f"{originator}:{payload['header']['id']}"


async def reply(here: Region, originator: str, release: Any, to_what: str, *about: str, **changes: Any) -> str:
    changes = {"body": CONSENT, "references": list(about)} | changes
    return await held(here, originator, release, kind="reply", in_reply_to=to_what, **changes)


async def request(here: Region, member: str, message: str) -> str:
    asked = {"message": message, "to": ["AR"], "purpose": "To warn"}
    body = {"subject": "May we?", "type": "consent", "text": "We ask to quote it", "consent": asked}
    return await held(here, member, to("CL"), kind="request", legal_basis="Rules of the group", body=body)


@pytest.fixture
async def office(here: Region) -> Region:
    """Chile and Peru report; an office quotes; Argentina reads what the office writes."""
    await here.enrol("CL", "PE", "AR")
    await here.enrol("RILO-SA", type="rilo")
    return here


# --- the marking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tlp", "allowed"), [("AMBER", "RED AMBER+STRICT AMBER"), ("RED", "RED")])
async def test_what_is_quoted_binds_by_its_own_marking_whatever_the_quoter_says(
    office: Region, tlp: str, allowed: str
) -> None:
    """It says CLEAR of what is AMBER: the marking that the originator gave it counts."""
    quoted = await held(office, "CL", to("RILO-SA"), tlp=tlp)
    answer = await quotes(office, entry(quoted), tlp="GREEN")

    assert told(answer) == [("marking-wider", QUOTED)]
    assert answer.json()["errors"][0]["allowed"] == allowed.split()
    assert "GREEN" in answer.json()["errors"][0]["detail"]
    assert told(await quotes(office, entry(quoted), tlp=allowed.split()[-1])) == []


async def test_every_quotation_is_looked_at(office: Region) -> None:
    """All faults at once, each at its place."""
    wide = await held(office, "CL", to("RILO-SA"), tlp="GREEN")
    narrow = [await held(office, one, to("RILO-SA"), tlp="RED") for one in ("CL", "PE")]

    assert told(await quotes(office, *map(entry, (narrow[0], wide, narrow[1])))) == [
        ("marking-wider", "/body/quoted/0/message"), ("marking-wider", "/body/quoted/2/message"),
    ]  # fmt: skip


async def test_one_s_own_marking_holds_for_oneself(office: Region) -> None:
    """Who wants to say more than it did marks the message anew first."""
    own = await held(office, "RILO-SA", to("AR"), tlp="RED", caveats=H2)

    assert told(await quotes(office, entry(own))) == [("marking-wider", QUOTED)]
    assert told(await quotes(office, entry(own), tlp="RED")) == []  # and needs nobody's consent


async def test_an_earlier_line_of_the_same_batch_is_held(office: Region) -> None:
    """Lines of a batch are accepted one after the other."""
    first = office.payload("RILO-SA", "first", to("AR"), tlp="RED")
    lines = [first, bulletin(office, entry("RILO-SA:first")), bulletin(office, entry("RILO-SA:first"), tlp="RED")]
    answer = await office.http.post(
        "/v1/messages/batch", content="\n".join(json.dumps(office.sign(one)) for one in lines),
        headers={"content-type": "application/x-ndjson"},
    )  # fmt: skip
    first_, second, third = map(json.loads, answer.text.splitlines())

    assert [first_["status"], second["status"], third["status"]] == [201, 422, 201]
    assert second["problem"]["errors"][0]["rule"] == "marking-wider"


# --- what the quoter may not see ---------------------------------------------------------------------------------


async def test_what_one_may_not_see_is_quoted_like_what_is_not_here(office: Region) -> None:
    """Not to it; to it, but it was barred since; of nobody: one answer, octet for octet but for the request's name."""
    secret = await held(office, "CL", to("PE"), tlp="RED", caveats=H2)
    barred = await held(office, "CL", to("RILO-SA"), tlp="RED", caveats=H2)
    await held(office, "CL", to("PE"), tlp="RED", supersedes=barred)
    for one in (secret, barred, "CL:nothing"):
        assert told(await quotes(office, entry(one), tlp="GREEN")) == []
    answers = [
        await office.post(office.sign(bulletin(office, entry(one, tlp="AMBER"), tlp="GREEN", id="same")))
        for one in (secret, barred, "CL:nothing")
    ]

    assert len({json.dumps(one.json()["errors"]) for one in answers}) == 1
    assert told(answers[0]) == [("marking-wider", "/body/quoted/0/tlp")]  # by what it writes, as ever


async def test_a_consent_that_one_may_not_see_is_none(office: Region) -> None:
    """Nor does the answer tell that there is one."""
    quoted = await held(office, "CL", to("RILO-SA", "PE"), caveats=H2)
    asked = await request(office, "PE", quoted)
    given = await reply(office, "CL", to("PE"), asked, quoted)
    answers = [await quotes(office, entry(quoted, consent=one)) for one in (given, "CL:nothing")]

    assert [told(one) for one in answers] == [[("consent-missing", QUOTED)]] * 2
    assert answers[0].json()["errors"] == answers[1].json()["errors"]


# --- consent -----------------------------------------------------------------------------------------------------


async def test_what_needs_consent_is_quoted_with_the_reply_that_gives_it(office: Region) -> None:
    """The handling code is the originator's, said or not; a name that leads nowhere is no consent."""
    quoted = await held(office, "CL", to("RILO-SA"), caveats=["Not in court", "H2"])
    asked = await request(office, "RILO-SA", quoted)
    given = await reply(office, "CL", to("RILO-SA"), asked, quoted)

    assert told(await quotes(office, entry(quoted))) == [("consent-missing", QUOTED)]
    assert told(await quotes(office, entry(quoted, consent="CL:nothing"))) == [("consent-missing", QUOTED)]
    assert told(await quotes(office, entry(quoted, handling_code="H0"))) == [("consent-missing", QUOTED)]
    assert told(await quotes(office, entry(quoted, consent=given))) == []


async def test_a_reply_to_the_quoter_s_own_request_is_about_what_was_asked(office: Region) -> None:
    """It need not name the message again; it is no consent to quote another one."""
    quoted, other = [await held(office, "CL", to("RILO-SA"), caveats=H2) for _ in range(2)]
    given = await reply(office, "CL", to("RILO-SA"), await request(office, "RILO-SA", quoted))

    assert told(await quotes(office, entry(quoted, consent=given))) == []
    assert told(await quotes(office, entry(other, consent=given))) == [("consent-missing", QUOTED)]


async def test_what_gives_no_consent(office: Region) -> None:
    """Another's reply, another answer, another kind, one of an exercise, one that has ended, been amended or withdrawn,
    one to somebody else's request that does not say what it is about."""
    quoted = await held(office, "CL", to("RILO-SA", "PE"), caveats=H2)
    asked, by_another = await request(office, "RILO-SA", quoted), await request(office, "PE", quoted)
    yesterday = (office.clock() - timedelta(days=1)).date().isoformat()
    mine = to("RILO-SA")
    amended, withdrawn = [await reply(office, "CL", mine, asked, quoted) for _ in range(2)]
    refused = await reply(office, "CL", mine, asked, quoted, supersedes=amended, body={"answer": "consent-refused"})
    answer = await office.post(office.sign(office.withdrawal(withdrawn, kind="reply")))
    assert answer.status_code == 201, answer.text
    none = {
        "another's": await reply(office, "PE", mine, asked, quoted),
        "refused": refused,
        "another kind": await held(office, "CL", mine, references=[quoted]),
        "of an exercise": await reply(office, "CL", mine, asked, quoted, status="exercise"),
        "over": await reply(office, "CL", mine, asked, quoted, body=CONSENT | {"consent_until": yesterday}),
        "amended": amended,
        "withdrawn": withdrawn,
        "to another, about nothing": await reply(office, "CL", mine, by_another),
    }  # fmt: skip

    for name, consent in none.items():
        assert told(await quotes(office, entry(quoted, consent=consent))) == [("consent-missing", QUOTED)], name


async def test_consent_ends_with_its_last_day(office: Region) -> None:
    """On that day it still holds."""
    quoted = await held(office, "CL", to("RILO-SA"), caveats=H2)
    today = office.clock().date().isoformat()
    given = await reply(office, "CL", to("RILO-SA"), await request(office, "RILO-SA", quoted), quoted,
                        body=CONSENT | {"consent_until": today})  # fmt: skip

    assert told(await quotes(office, entry(quoted, consent=given))) == []
    office.clock.advance(days=1)
    office._tokens.clear()
    assert told(await quotes(office, entry(quoted, consent=given))) == [("consent-missing", QUOTED)]


# --- what it costs -----------------------------------------------------------------------------------------------


async def test_quotations_cost_one_statement_a_batch(office: Region) -> None:
    """However many there are; and none where nothing is quoted (`test_round_trips` counts those)."""
    seen = [await held(office, "CL", to("RILO-SA"), tlp="GREEN") for _ in range(8)]
    engine = office.hub.ledger.writing.sync_engine
    asked: list[str] = []

    def executed(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        asked.append(sql)

    event.listen(engine, "before_cursor_execute", executed)
    await office.send("RILO-SA", None, to("AR"))
    none, asked[:] = len(asked), []
    assert (await office.post(office.sign(bulletin(office, *map(entry, seen))))).status_code == 201
    eight, asked[:] = len(asked), []
    unseen = [entry(f"CL:nothing-{n}") for n in range(8)]
    assert (await office.post(office.sign(bulletin(office, *unseen)))).status_code == 201
    event.remove(engine, "before_cursor_execute", executed)

    assert (eight, len(asked)) == (none + 1, none + 1)
