"""Promise 4. The exact signed bytes arrive at every recipient entitled to the whole: stored and delivered compact, as
first accepted, octet for octet, whatever the payload looks like.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import jws
from tests.region import Region, to

ODD = (
    "Cigarrillos «Tres Mares» – №5 ½",
    "e\u0301 is not \u00e9",
    "\u202eabc\u202c \u200b\ufeff",
    "𐍈 🚢 👩\u200d✈️",
    "\u2028\u2029\u0085",
    "\\ \" / \b\f\n\r\t \u0001 \u007f",
    "ﷺ ǅ ſ K Å",
    "中文 ไทย עברית العربية",
)  # fmt: skip


def shuffled(value: Any) -> Any:
    """The same JSON with the members of every object in another order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in sorted(value, reverse=True)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def spellings(payload: dict[str, Any]) -> list[bytes]:
    """The same payload as different writers put it: spaces, escapes, order of members."""
    text = json.dumps(payload, ensure_ascii=False)
    return [
        text.encode(),
        json.dumps(payload).encode(),
        json.dumps(payload, indent="\t", ensure_ascii=False).encode(),
        b"\r\n " + json.dumps(shuffled(payload), separators=(" ,\n", " :  ")).encode() + b" \n",
        text.replace("/", "\\/").replace("a", "\\u0061").encode(),
    ]


async def arrivals(here: Region, member: str, address: str, queue: str = "inbox") -> list[str]:
    """The message on every way by which a member gets it."""
    (delivery,) = await here.lease(member, queue)
    await here.settle(member, queue, {"lease_id": delivery["lease_id"], "outcome": "accept"})
    replayed = await here.call(member, "POST", f"/v1/queues/{queue}/replay", {"message": address})
    assert replayed.json()["replayed"] == 1
    (again,) = await here.lease(member, queue)
    await here.settle(member, queue, {"lease_id": again["lease_id"], "outcome": "accept"})
    fetched = await here.call(member, "GET", f"/v1/messages/{address}")
    return [delivery["message"], again["message"], fetched.json()["message"]]


async def test_every_spelling_arrives_as_it_was_written(here: Region) -> None:
    """White space, escapes and the order of members are the writer's own, and nobody tidies them up."""
    await here.enrol("CL", alg="ES256")
    await here.enrol("PE")
    await here.subscribe("PE", "all")
    for number, odd in enumerate(ODD):
        body = {"subject": odd, "reason": "watch", "headings": ["tobacco"]}
        octets = spellings(here.payload("CL", f"a-{number}", body=body))[number % 5]
        compact = here.sign(octets, "CL")
        answer = await here.post(compact)
        assert answer.status_code == 201, answer.text

        assert await arrivals(here, "PE", f"CL:a-{number}", "all") == [compact] * 3
        own = (await here.call("CL", "GET", f"/v1/messages/CL:a-{number}")).json()
        assert jws.unb64(own["message"].split(".")[1]) == octets
        assert own["digest"] == jws.digest(compact)


async def test_flattened_posts_arrive_compact(here: Region) -> None:
    """Posted flattened, alone or in a batch: stored and delivered compact; the three parts are untouched."""
    await here.enrol("CL", "PE")
    for number in range(2):
        compact = here.sign(spellings(here.payload("CL", f"a-{number}"))[3], "CL")
        head, payload, signature = compact.split(".")
        body = json.dumps({"signature": signature, "payload": payload, "protected": head})
        if number == 0:
            assert (await here.post(body, "application/jose+json")).status_code == 201
        else:
            kind = {"content-type": "application/x-ndjson"}
            assert (await here.http.post("/v1/messages/batch", content=body, headers=kind)).status_code == 200

        assert await arrivals(here, "PE", f"CL:a-{number}") == [compact] * 3


async def test_all_recipients_get_the_same_octets(here: Region) -> None:
    """Named, in a group or by all, in several queues: nobody's copy differs, and its digest is in the receipt."""
    await here.enrol("CL", "PE", "AR", "BZ")
    await here.group("andes", "CL", "AR")
    for member in ("PE", "AR", "BZ"):
        await here.subscribe(member, "one")
        await here.subscribe(member, "two", {"any": [{"heading": ["tobacco"]}]})
    payload = here.payload("CL", "a-1", to("PE") | {"groups": ["andes"], "all": True}, tlp="GREEN")
    compact = here.sign(spellings(payload)[2], "CL")
    answer = await here.post(compact)

    got = [d["message"] for m in ("PE", "AR", "BZ") for q in ("one", "two") for d in await here.lease(m, q)]

    assert got == [compact] * 6
    receipt = jws.claims(jws.read(answer.json()["receipt"].encode(), typ=jws.TYP_RECEIPT))
    assert receipt["digest"] == jws.digest(compact)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40), min_size=1))
async def test_any_text_arrives(sqlite_here: Region, words: list[str]) -> None:
    """Whatever Unicode can write, escaped or plain."""
    here = sqlite_here
    if "CL" not in here.keys:
        await here.enrol("CL", "PE")
    body = {
        "subject": (words[0] + " " + "x")[:100],
        "reason": "watch",
        "headings": ["tobacco"],
        "remarks": " ".join(words),
    }
    payload = here.payload("CL", body=body)
    sent = [here.sign(json.dumps(payload, ensure_ascii=False).encode(), "CL")]
    payload["header"]["id"] += "-escaped"
    sent.append(here.sign(json.dumps(payload).encode(), "CL"))

    answers = [await here.post(token) for token in sent]

    assert {answer.status_code for answer in answers} == {201}
    leased = await here.lease("PE")
    assert [d["message"] for d in leased] == sent
    await here.settle("PE", "inbox", *({"lease_id": d["lease_id"], "outcome": "accept"} for d in leased))
