"""The path that everybody can recite, once from end to end, on both ledgers."""

from __future__ import annotations

import json

from broker import jws
from tests.region import Region, payload_of, to


async def test_a_signed_alert_reaches_the_member_it_names(here: Region) -> None:
    """Posted by Chile, leased by Peru octet for octet, settled, acknowledged; the originator sees it all."""
    await here.enrol("CL", "PE")
    await here.subscribe("PE", "alerts", {"any": [{"kind": ["alert"]}]})
    compact = here.sign(here.payload("CL", "a-1", to(PE="action")))

    answer = await here.post(compact)

    assert answer.status_code == 201, answer.text
    claims = jws.claims(jws.read(answer.json()["receipt"].encode(), typ=jws.TYP_RECEIPT))
    assert claims["message"] == "CL:a-1"
    assert claims["digest"] == jws.digest(compact)

    (delivery,) = await here.lease("PE", "alerts")
    assert delivery["message"] == compact
    assert (delivery["rule"], delivery["duties"], delivery["sequence"], delivery["count"]) == ("to", ["action"], 1, 1)
    (settled,) = await here.settle("PE", "alerts", {"lease_id": delivery["lease_id"], "outcome": "accept"})
    assert settled["status"] == 200
    assert (await here.acknowledge("PE", "CL:a-1", "read", compact)).status_code == 200

    (recipient,) = (await here.call("CL", "GET", "/v1/messages/CL:a-1/deliveries")).json()["recipients"]
    assert (recipient["member"], recipient["state"]) == ("PE", "settled")
    assert [a["state"] for a in recipient["acknowledgements"]] == ["read"]
    audience = (await here.call("CL", "GET", "/v1/messages/CL:a-1/audience")).json()
    assert audience["members"] == [{"member": "PE", "rule": "to", "delivery": True}]
    assert payload_of(compact)["header"]["id"] == "a-1"


async def test_a_batch_answers_line_by_line(here: Region) -> None:
    """A bad line never sinks a good one, and a line may correct an earlier one."""
    await here.enrol("CL", "PE")
    first = here.sign(here.payload("CL", "b-1"))
    bad = here.sign(here.payload("CL", "b-2", version="9.9"))
    amended = here.sign(here.payload("CL", "b-3", supersedes="CL:b-1"))
    lines = "\n".join(f'"{line}"' for line in (first, bad, amended, first))

    answer = await here.http.post("/v1/messages/batch", content=lines, headers={"content-type": "application/x-ndjson"})

    statuses = [json.loads(line)["status"] for line in answer.text.splitlines()]
    assert statuses == [201, 422, 201, 200]
