"""The end of the story: what is refused, what evidence everybody holds, who is told what, and what operators see."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from broker import offline
from broker.client import Client, Problem, sign
from broker.demo.region import OPERATOR
from broker.demo.told import Told
from broker.members import ECHO, INBOX

CONTAINER_IN = "CL:2026-000118"
"""Others name the container of this report, too."""
KNOWN_TO_ALL = "PE:SUNAT-2019-3301"


async def refusals(told: Told, examples: list[Path]) -> None:
    told.say("Refused, with the reason, nothing stored:")
    client = told.clients["CL"]
    assert client.key is not None
    first = json.loads(next(p for p in examples if p.name.startswith("09-")).read_text("utf-8"))

    def changed(**header: Any) -> dict[str, Any]:
        return {"header": first["header"] | header, "body": first["body"]}

    wrong_number = json.loads(json.dumps(changed(id="DEMO-1")))
    wrong_number["body"]["transport"] = {"mode": "sea", "containers": [{"value": "CSQU3054384"}]}
    red = {"tlp": "RED", "release": {"groups": ["OP-MARISMA"]}}
    foreign = told.clients["PE"].key
    assert foreign is not None
    cases = [
        ("a wrong check digit", sign(wrong_number, client.key)),
        ("TLP:RED to a group", sign(changed(id="DEMO-2", handling=red), client.key)),
        ("CL's name, PE's key", sign(changed(id="DEMO-3"), foreign)),
        ("same address, other content", sign(changed(case="another case"), client.key)),
    ]
    for what, token in cases:
        try:
            await client.post(token)
            told.expect(False, f"{what} was accepted")
        except Problem as problem:
            told.say(f"  {problem.status} {problem.code:10} {what}: {_first_line(problem)}")
    token, receipt = told.posted["CL:2026-000118"]
    again = await client.post(token)
    told.expect(again.repeat and again.compact == receipt, "a repeat got another receipt")
    told.say("  (posted twice, the same message gets the same receipt: a duplicate is not an event)")


def _first_line(problem: Problem) -> str:
    errors = problem.errors
    if not errors:
        return problem.title
    sentence = str(errors[0].get("detail", "")).partition(". ")[0].rstrip(".")
    return f"{errors[0].get('pointer') or '/'}: {sentence}."


async def evidence(told: Told) -> None:
    keys = offline.keys_of(await told.clients["CL"].members())
    good = sum(
        all(c.holds for c in offline.verify_receipt(receipt, token, keys)) for token, receipt in told.posted.values()
    )
    told.expect(good == len(told.posted), "a receipt does not verify")
    told.say(f"Receipts verified offline: {good} of {len(told.posted)}, from the members' public keys alone.")
    confirmed = total = 0
    for address in told.posted:
        recipients = (await told.clients[address.partition(":")[0]].deliveries(address))["recipients"]
        waiting = [r for r in recipients if r["member"] != ECHO]
        total += len(waiting)
        confirmed += sum(bool(r["acknowledgements"]) for r in waiting)
    told.expect(confirmed == total, f"{total - confirmed} recipients have not acknowledged")
    told.say(f"Originators hold {confirmed} signed acknowledgements of {total} recipients.")
    async with asyncio.timeout(20):
        while True:
            (echo,) = (await told.clients["CL"].deliveries("CL:EX-2026-001"))["recipients"]
            if echo["acknowledgements"]:
                break
            await asyncio.sleep(0.2)
    told.say("The exercise for ECHO has been acknowledged by ECHO, and reached nobody else.")


async def quality(told: Told) -> None:
    """How complete a report is, its originator sees, and the office that it reports through."""
    scores = []
    for address in told.posted:
        answer = await told.clients[address.partition(":")[0]].get(address)
        if "completeness" in answer:
            scores.append(answer["completeness"])
    own, office, neighbour = [
        (await told.clients[who].get(KNOWN_TO_ALL)).get("completeness") for who in ("PE", "RILO-SA", "AR")
    ]
    told.expect(own is not None and own == office, f"RILO-SA reads {office} where PE reads {own}")
    told.expect(neighbour is None, "AR is told how complete a report of PE is")
    told.say(
        f"{len(scores)} reports are {min(scores)} to {max(scores)} % complete. PE and its office RILO-SA see the {own} % of "
        f"{KNOWN_TO_ALL}, AR reads the same report without."
    )


async def meeting(told: Told) -> None:
    """What else the reader may see that names the same container; who may see none of it learns nothing of it."""
    links = {who: await _same_container(told.clients[who]) for who in ("PE", "AR")}
    told.expect(len(links["PE"]) > 1, "PE is not told where a container occurs")
    told.expect(not links["AR"], f"AR is told of {links['AR']}")
    told.say(
        f"PE opens {CONTAINER_IN} and is shown its container in {' and '.join(links['PE'])}; AR, who has the report alone, "
        "sees no link."
    )


async def _same_container(client: Client) -> list[str]:
    links = (await client.get(CONTAINER_IN))["links"]
    return sorted({link["address"] for link in links if link.get("scheme") == "iso6346"})


async def operator(told: Told) -> None:
    client = told.clients[OPERATOR]
    queues = (await client.admin("GET", "/queues"))["queues"]
    dead = (await client.admin("GET", "/dead-letters"))["dead_letters"]
    refusals = (await client.admin("GET", "/refusals"))["refusals"]
    open_ = sum(q["depth"].get("ready", 0) for q in queues if q["name"] != INBOX or q["member"] != ECHO)
    told.expect(open_ == 0, f"{open_} deliveries are still waiting")
    told.expect(not dead, "there are dead letters")
    told.say(
        f"The operator sees {len(queues)} queues, {open_} waiting, {len(dead)} dead letters, {len(refusals)} refusals; "
        "no content."
    )
