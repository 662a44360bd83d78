"""The story: everybody signs and posts, receives and acknowledges; something is amended, withdrawn, refused.

What arrives is compared with what the hub says it decided (`/audience`), and each receipt is verified offline: a
difference ends the demonstration with exit code 1.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from broker import jws, keyfiles, offline
from broker.client import Client, Problem, accept, sign
from broker.consume import consume
from broker.demo.engines import Stage
from broker.demo.region import NATIONAL, OFFICES, ON_THE_WIRE, OPERATOR, PARTNERS, SUBSCRIPTIONS
from broker.language.kinds import schemas_folder
from broker.members import ECHO, INBOX

Say = Callable[[str], None]
AMENDS, WITHDRAWS = "11-", "18-"


class Told:
    """The members at their desks: clients, what each has received, and what was posted."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self.stage, self.say = stage, say
        self.clients: dict[str, Client] = {}
        self.received: dict[str, list[str]] = defaultdict(list)
        self.posted: dict[str, tuple[str, str]] = {}
        self.failures: list[str] = []

    def expect(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.failures.append(sentence)
            self.say(f"  NOT SO: {sentence}")


async def tell(stage: Stage, say: Say, fingerprints: dict[str, str]) -> bool:
    """The whole story. True if everything was as promised."""
    told = Told(stage, say)
    async with AsyncExitStack() as stack:
        for member in (*NATIONAL, *OFFICES, *PARTNERS, OPERATOR):
            key = keyfiles.load(stage.keys / f"{member.replace(':', '-')}.pem", None)
            told.clients[member] = await stack.enter_async_context(Client(stage.url, member, key))
        say(f"Enrolled: {len(NATIONAL)} national points, {len(OFFICES)} RILOs, {len(PARTNERS)} partners, ECHO; "
            f"each with a key of its own (CL: {fingerprints['CL']}).")  # fmt: skip
        await _subscribe(told)
        examples = sorted((schemas_folder() / "examples").glob("*.json"))
        say("")
        say("Posted, signed by each originator; received by whom, by which rule:")
        for path in examples:
            if not path.name.startswith((AMENDS, WITHDRAWS)):
                await _post(told, path)
        say("")
        await _receive_all(told)
        say("")
        say("Corrections, to everybody who had the original:")
        for path in examples:
            if path.name.startswith((AMENDS, WITHDRAWS)):
                await _post(told, path)
        await _receive_all(told, "corrections")
        say("")
        await _refusals(told, examples)
        say("")
        await _evidence(told)
        await _operator(told)
    return not told.failures


async def _subscribe(told: Told) -> None:
    wire = told.stage.wire is not None
    for member, (name, wanted) in SUBSCRIPTIONS.items():
        delivery = "amqp" if wire and member in ON_THE_WIRE else "pull"
        await told.clients[member].subscribe(name, wanted, delivery)
    how = f"{' and '.join(ON_THE_WIRE)} consume from RabbitMQ, the others pull" if wire else "all pull"
    told.say(f"Subscribed: {len(SUBSCRIPTIONS)} standing filters; {how}.")


async def _post(told: Told, path: Path) -> None:
    octets = path.read_bytes().strip()  # as `tidewaiter submit` signs it, which is then a repeat
    payload = json.loads(octets)
    header = payload["header"]
    client = told.clients[header["originator"]]
    assert client.key is not None
    token = sign(octets, client.key)
    receipt = await client.post(token)
    told.posted[receipt.message] = (token, receipt.compact)
    audience = (await client.audience(receipt.message))["members"]
    shown = _by_rule(audience)
    note = " (exercise)" if header["status"] != "actual" else ""
    verb = "amends" if header.get("supersedes") else "withdraws" if header.get("withdraws") else "posts"
    about = str(header.get("supersedes") or header.get("withdraws") or _subject(payload))
    who, tlp = header["originator"], header["handling"]["tlp"]
    told.say(f"  {who:8}{verb:9} {header['id']:16}{tlp:13}{about[:27]:28}→ {shown}{note}")


def _subject(payload: dict[str, Any]) -> str:
    body = payload["body"]
    heading = body.get("heading") or ", ".join(body.get("headings", []))
    return f"{payload['header']['kind']}: {heading}"


def _by_rule(audience: list[dict[str, Any]]) -> str:
    rules: dict[str, list[str]] = defaultdict(list)
    for one in audience:
        rules[one["rule"]].append(one["member"])
    return (
        "; ".join(f"{rule}: {' '.join(m) if len(m) < 6 else f'{len(m)} members'}" for rule, m in rules.items())
        or "nobody"
    )


async def _receive_all(told: Told, what: str = "messages") -> None:
    """Everybody takes everything, believes it (signature), acknowledges it, and settles."""
    before = {member: len(told.received[member]) for member in SUBSCRIPTIONS}
    await asyncio.gather(*(_pull(told, member) for member in SUBSCRIPTIONS))
    expected = await _decided(told)
    for member, addresses in expected.items():
        got = sorted(set(told.received[member]))
        told.expect(got == sorted(addresses), f"{member} got {got} instead of {sorted(addresses)}")
    parts = [f"{m} {len(told.received[m]) - before[m]}" for m in SUBSCRIPTIONS]
    told.say(f"Received {what}, each believed by its originator's signature, acknowledged and settled:")
    told.say("  " + ", ".join(parts))


async def _decided(told: Told) -> dict[str, set[str]]:
    """member -> addresses for which the hub decided a delivery, told by the originators' own /audience."""
    decided: dict[str, set[str]] = {member: set() for member in SUBSCRIPTIONS}
    for address in told.posted:
        originator = address.partition(":")[0]
        for one in (await told.clients[originator].audience(address))["members"]:
            if one["delivery"] and one["member"] in decided:
                decided[one["member"]].add(address)
    return decided


async def _pull(told: Told, member: str) -> None:
    client = told.clients[member]
    for queue in await client.queues():
        if queue["delivery"] == "amqp":
            await _consume(told, member, queue)
            continue
        while deliveries := await client.lease(queue["name"], limit=50):
            settlements = []
            for delivery in deliveries:
                settlements.append(accept(delivery, await _acknowledgement(told, client, delivery.message)))
            for answer in await client.settle(queue["name"], settlements):
                told.expect(answer["status"] == 200, f"{member} could not settle: {answer}")


async def _acknowledgement(told: Told, client: Client, compact: str) -> str:
    header = (await client.believe(compact))["header"]
    address = f"{header['originator']}:{header['id']}"
    told.received[client.member].append(address)
    return client.acknowledgement(compact, "received")


async def _consume(told: Told, member: str, queue: dict[str, Any]) -> None:
    """From RabbitMQ: as many as the queue has been given, then stop."""
    client = told.clients[member]
    waiting = sum(queue["depth"].get(state, 0) for state in ("ready", "published"))
    if waiting == 0:
        return
    async with asyncio.timeout(30):
        async with aclosing(consume(client, told.stage.member_amqp_url, queue["amqp_name"])) as deliveries:
            async for delivery in deliveries:
                await client.believe(delivery.compact)
                told.received[member].append(delivery.address)
                await client.acknowledge(delivery.address, jws.digest(delivery.compact), "received")
                await delivery.ack()
                waiting -= 1
                if waiting == 0:
                    return


async def _refusals(told: Told, examples: list[Path]) -> None:
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


async def _evidence(told: Told) -> None:
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


async def _operator(told: Told) -> None:
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
