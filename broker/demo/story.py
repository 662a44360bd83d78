"""The story: everybody signs and posts, receives and acknowledges; something is amended, withdrawn, refused.

What arrives is compared with what the hub says it decided (`/audience`), and each receipt is verified offline: a
difference ends the demonstration with exit code 1.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from broker import jws, keyfiles
from broker.client import Client, accept, sign
from broker.consume import consume
from broker.demo import proof
from broker.demo.engines import Stage
from broker.demo.region import NATIONAL, OFFICES, ON_THE_WIRE, OPERATOR, PARTNERS, SUBSCRIPTIONS
from broker.demo.told import Say, Told
from broker.language.kinds import schemas_folder

AMENDS, WITHDRAWS = "11-", "18-"
TOLD_FIRST = 9
"""So many posts are told in a line each; then the first of each further kind, and of the rest their number."""
SUBJECT_WIDTH = 27


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
        await _post_all(told, [path for path in examples if not path.name.startswith((AMENDS, WITHDRAWS))])
        say("")
        await _receive_all(told)
        say("")
        say("Corrections, to everybody who had the original:")
        for path in examples:
            if path.name.startswith((AMENDS, WITHDRAWS)):
                told.say((await _post(told, path))[1])
        await _receive_all(told, "corrections")
        say("")
        await proof.refusals(told, examples)
        say("")
        await proof.evidence(told)
        await proof.quality(told)
        await proof.meeting(told)
        await proof.operator(told)
    return not told.failures


async def _subscribe(told: Told) -> None:
    wire = told.stage.wire is not None
    for member, (name, wanted) in SUBSCRIPTIONS.items():
        delivery = "amqp" if wire and member in ON_THE_WIRE else "pull"
        await told.clients[member].subscribe(name, wanted, delivery)
    how = f"{' and '.join(ON_THE_WIRE)} consume from RabbitMQ, the others pull" if wire else "all pull"
    told.say(f"Subscribed: {len(SUBSCRIPTIONS)} standing filters; {how}.")


async def _post_all(told: Told, paths: list[Path]) -> None:
    kinds: set[str] = set()
    untold: Counter[str] = Counter()
    for number, path in enumerate(paths):
        header, line = await _post(told, path)
        kind = header["kind"]
        if number < TOLD_FIRST or kind not in kinds or header["status"] != "actual":
            told.say(line)
        else:
            untold[kind] += 1
        kinds.add(kind)
    told.say(f"  … and {untold.total()} more: {', '.join(f'{kind} {n}' for kind, n in untold.most_common())}")


async def _post(told: Told, path: Path) -> tuple[dict[str, Any], str]:
    """Signed and posted: its header, and a line that tells what it is and whom it reaches."""
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
    if len(about) > SUBJECT_WIDTH:
        about = about[: SUBJECT_WIDTH - 1] + "…"
    return header, f"  {who:8}{verb:9} {header['id']:16}{tlp:13}{about:28}→ {shown}{note}"


def _subject(payload: dict[str, Any]) -> str:
    header, body = payload["header"], payload["body"]
    if header.get("in_reply_to"):
        return f"{header['kind']} on {header['in_reply_to']}"
    headings = body.get("heading") or ", ".join(body.get("headings", []))
    return f"{header['kind']}: {headings}" if headings else str(header["kind"])


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
