"""`tidewaiter doctor --member`: the way to the hub and back, by a real exercise, with the time of every step.

The exercise is an alert of status `exercise`, released to ECHO and to the member itself, that expires after ten minutes:
what nobody takes goes by itself. Other deliveries are never touched. A lease takes what comes first: the exercise is
leased from the `inbox` if nothing else waits there, else from a subscription `tidewaiter-doctor`, which takes nothing but such
exercises of one's own and is removed at the end. What slips in nevertheless is released at once (one of its twenty
leases is used up). From RabbitMQ a message is taken only where it is alone and has no consumer; no queue is made there
for the occasion, because the end of one closes all of the member's connections.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from broker import clock, jws, offline
from broker.client import Client, Delivery, Problem, Receipt, Unreachable, accept, release, sign
from broker.doctor import Finding, fail, member_wire, ok, warn
from broker.doctor.member_wire import LOOK_SECONDS, WIRE_SECONDS
from broker.errors import BrokerError
from broker.members import ECHO, INBOX

ECHO_SECONDS = 30.0
"""ECHO answers in less than a second when it runs."""
OWN = "tidewaiter-doctor"
"""Name of the subscription that is made where the inbox is not empty."""
LEASE_SECONDS = 30
GOES_AFTER = timedelta(minutes=10)
CLOCK_SECONDS = (30, 240)
"""Off by the first is worth a word, by the second assertions and signing times are refused (five minutes)."""
ATTEMPTS = 2
"""Somebody waits for the answer: it is not tried for long."""


Queues = Mapping[str, Mapping[str, Any]]
"""By name, as the hub shows them."""


def exercise(member: str, now: datetime) -> dict[str, Any]:
    """The payload: plainly no event of anybody's."""
    to = [{"member": named, "duties": ["information"]} for named in dict.fromkeys((ECHO, member))]
    header = {
        "id": f"doctor-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", "kind": "alert", "version": "1.0", "originator": member,
        "status": "exercise", "event_at": clock.text(now), "expires_at": clock.text(now + GOES_AFTER), "language": "en",
        "handling": {"tlp": "AMBER", "release": {"to": to}},
    }  # fmt: skip
    text = "Sent by `tidewaiter doctor --member` to try the way to the hub and back. Nothing has happened: do nothing."
    body = {"subject": "EXERCISE: a connection is tried", "reason": "exercise", "headings": ["other"], "text": text}
    return {"header": header, "body": body}


@dataclass
class Stopwatch:
    """Every finding gets the time since the one before."""

    since: float = 0.0

    def start(self) -> None:
        self.since = time.perf_counter()

    def stamp(self, finding: Finding) -> Finding:
        now = time.perf_counter()
        finding, self.since = finding.after(now - self.since), now
        return finding


async def examine(client: Client, amqp_url: str | None, hints: Mapping[str, str]) -> AsyncIterator[Finding]:
    """Every finding with its time. `hints`: what to do next, by the code of a problem. Ends where nothing can follow."""
    watch = Stopwatch()
    client.door.attempts = ATTEMPTS
    check = "hub"
    try:
        async with httpx2.AsyncClient(timeout=WIRE_SECONDS, trust_env=not _local(client.url)) as http:
            watch.start()
            async for found in _hub(http, client.url):
                yield watch.stamp(found)
        if found.outcome == "fail" and found.check == "hub":
            return
        check = "token"
        await client.token(fresh=True)
        yield watch.stamp(ok(check, "the hub knows this key and gives a token for its doors"))
        check = "queues"
        queues = await _queues(client)
        yield watch.stamp(ok(check, _told(queues)))
        by_amqp = {name: str(queue["amqp_name"]) for name, queue in queues.items() if queue.get("amqp_name")}
        if by_amqp or amqp_url:
            check = "RabbitMQ"
            yield watch.stamp(await member_wire.lets_in(client, amqp_url, by_amqp))
        check = "post"
        async with _place(client, queues) as before:
            watch.start()
            compact = sign(exercise(client.member, clock.now()), client.door.signing_key)
            receipt = await client.post(compact)
            yield watch.stamp(_posted(receipt))
            check = "receipt"
            yield watch.stamp(await _receipt(client, receipt, compact))
            check = "receive"
            async for found in _receive(client, receipt, before, amqp_url):
                yield watch.stamp(found)
            check = "ECHO"
            yield await _echo(client, receipt)
    except Problem as problem:
        yield watch.stamp(_stopped(check, problem, hints))
    except Unreachable as error:
        yield watch.stamp(fail(check, f"{error}.", hints.get("unreachable", "Run this again.")))
    except BrokerError as error:
        yield watch.stamp(fail(check, f"{error}.", hints.get(error.code, "Tell the operator.")))


def _stopped(check: str, problem: Problem, hints: Mapping[str, str]) -> Finding:
    if any(error.get("rule") == "unknown-member" for error in problem.errors):
        next = (
            "Ask the operator for ECHO: `member add ECHO --type hub --name Echo`, a key for it, and `tidewaiter echo`."
        )
        return fail(check, f"{ECHO} is no member of this hub.", next)
    sentences = [str(error.get("detail") or error.get("rule")) for error in problem.errors]
    found = f"{problem.title}: {' '.join(sentences) or problem.detail}".rstrip(": ")
    asked = f"Tell the operator the request id {problem.request_id}." if problem.request_id else "Tell the operator."
    return fail(check, f"{found} ({problem.status} {problem.code})", hints.get(problem.code) or asked)


def _local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


async def _hub(http: httpx2.AsyncClient, url: str) -> AsyncIterator[Finding]:
    try:
        answer = await http.get(f"{url}/healthz")
        ours = clock.now()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        next = "Is TIDEWAITER_URL right, and does this machine reach it (name, proxy, firewall, certificates)?"
        yield fail("hub", f"{url} does not answer: {error or type(error).__name__}.", next)
        return
    if answer.status_code == 200 and answer.text.strip() == "ok":
        yield ok("hub", f"{url} answers")
    else:
        next = "Is TIDEWAITER_URL right? A proxy may ask for a client certificate."
        yield warn("hub", f"{url}/healthz answers {answer.status_code}, as a hub's would not.", next)
    try:
        theirs = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return
    off = (ours - theirs).total_seconds()
    if abs(off) <= CLOCK_SECONDS[0]:
        yield ok("clock", "this machine's agrees with the hub's")
        return
    found = f"This machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the hub's."
    next = "Have it synchronised (NTP): tokens and messages of a clock that is five minutes off are refused."
    yield (warn if abs(off) < CLOCK_SECONDS[1] else fail)("clock", found, next)


async def _queues(client: Client) -> Queues:
    return {str(queue["name"]): queue for queue in await client.queues()}


def _told(queues: Queues) -> str:
    named = [f"{name} ({queue['delivery']}, {queue['depth'].get('ready', 0)} ready)" for name, queue in queues.items()]
    return ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")


def _posted(receipt: Receipt) -> Finding:
    warnings = "; ".join(str(w.get("detail") or w.get("rule")) for w in receipt.warnings)
    if warnings:
        return warn("post", f"{receipt.message} is accepted, with a warning: {warnings}", "Nothing, if it is meant so.")
    return ok("post", f"{receipt.message} is accepted, an exercise that expires in ten minutes")


async def _receipt(client: Client, receipt: Receipt, compact: str) -> Finding:
    checks = offline.verify_receipt(receipt.compact, compact, await client.keys(fresh=True))
    bad = [f"{check.name}: {check.found}" for check in checks if not check.holds]
    if bad:
        return fail("receipt", f"It does not hold: {'; '.join(bad)}.", "Keep it, and show it to the operator.")
    return ok("receipt", f"all {len(checks)} checks hold, without network but for the hub's directory of keys")


# ── receiving what one has sent to oneself ──


@asynccontextmanager
async def _place(client: Client, queues: Queues) -> AsyncIterator[Queues]:
    """Somewhere for the exercise to be alone; the queues as they are before it comes."""
    left = OWN in queues  # by one that was killed
    if not (left or queues[INBOX]["depth"].get("ready", 0)) or client.member == ECHO:
        yield queues
        return
    if not left:
        mine = {"originator": [client.member], "kind": ["alert"], "heading": ["other"], "mentions_me": True}
        await client.subscribe(OWN, {"status": ["exercise"], "any": [mine]}, "pull")
    try:
        yield await _queues(client)
    finally:
        try:
            await client.unsubscribe(OWN)
        except Problem as problem:
            if problem.code != "not-found":  # another one of us has removed it
                raise


async def _receive(client: Client, receipt: Receipt, before: Queues, amqp_url: str | None) -> AsyncIterator[Finding]:
    """From every queue where the exercise has come; and the acknowledgement, if none went with a settlement."""
    handed = acknowledged = client.member == ECHO
    for name, queue in (await _queues(client)).items():
        if name not in before or queue["last_sequence"] == before[name]["last_sequence"]:
            continue
        state = await _state(client, queue, int(before[name]["last_sequence"]), receipt.message)
        if state is None:
            continue
        if queue.get("amqp_name"):
            handed = handed or state != "ready"
            yield await member_wire.take(client, receipt.message, queue, state, amqp_url)
        elif state != "ready":
            handed = True
            yield ok("receive", f"a system of yours has already taken it from {name}, where it is {state}")
        elif queue["depth"].get("ready", 0) > 1:
            yield warn("receive", f"Something else came to {name} meanwhile: nothing was leased.", "Run this again.")
        else:
            found = await _by_lease(client, receipt, name)
            handed = acknowledged = acknowledged or found.outcome == "ok"
            yield found
    if handed and not acknowledged:
        compact = str((await client.get(receipt.message))["message"])
        await client.believe(compact)
        try:
            await client.acknowledge(receipt.message, jws.digest(compact), "received")
        except Problem as problem:
            if problem.code != "state-moves-back":
                raise
        yield ok("acknowledge", "fetched by its address, its signature holds, acknowledged as received")


async def _state(client: Client, queue: Mapping[str, Any], after: int, address: str) -> str | None:
    """What the exercise is in a queue; None if it did not come there. A relay is given time to publish."""
    deadline = time.monotonic() + WIRE_SECONDS
    while True:
        states = [
            row["state"] async for row in client.index(str(queue["name"]), after) if row.get("message") == address
        ]
        waits = queue.get("amqp_name") and states == ["ready"]
        if not waits or time.monotonic() > deadline:
            return str(states[0]) if states else None
        await asyncio.sleep(LOOK_SECONDS)


async def _by_lease(client: Client, receipt: Receipt, queue: str) -> Finding:
    """The one delivery that waits there, leased, believed, acknowledged and settled in one go."""
    ours: Delivery | None = None
    for delivery in await client.lease(queue, 1, LEASE_SECONDS):
        if (await _address(client, delivery)) == receipt.message:
            ours = delivery
        else:  # it came in between
            await client.settle(queue, [release(delivery)])
            return warn(
                "receive", f"Something else came first in {queue}; it was given back at once.", "Run this again."
            )
    if ours is None:
        return ok("receive", f"a system of yours was faster: it has taken the exercise from {queue}")
    (answer,) = await client.settle(queue, [accept(ours, client.acknowledgement(ours.message, "received"))])
    if answer["status"] != 200:
        problem = answer.get("problem", {})
        return fail(
            "receive",
            f"Leased from {queue} and not settled: {problem.get('title', answer['status'])}.",
            "Run this again.",
        )
    return ok("receive", f"leased from {queue}, its signature holds, acknowledged as received and settled")


async def _address(client: Client, delivery: Delivery) -> str:
    try:
        header = (await client.believe(delivery.message))["header"]
    except BrokerError:
        return ""
    return f"{header['originator']}:{header['id']}"


async def _echo(client: Client, receipt: Receipt) -> Finding:
    """ECHO's acknowledgement; the time is between the hub's own two instants, however seldom we look."""
    deadline = time.monotonic() + ECHO_SECONDS
    accepted_at = datetime.fromisoformat(receipt.accepted_at)
    while True:
        for recipient in (await client.deliveries(receipt.message))["recipients"]:
            if recipient["member"] == ECHO and recipient["acknowledgements"]:
                took = datetime.fromisoformat(recipient["acknowledgements"][0]["at"]) - accepted_at
                said = ok("ECHO", "has received it and signed for it, counted from the acceptance")
                return said.after(max(took.total_seconds(), 0))
        if time.monotonic() > deadline:
            next = (
                "Is it running? On its machine: `tidewaiter echo`. The exercise is accepted all the same, and expires."
            )
            return fail("ECHO", f"It has not acknowledged within {ECHO_SECONDS:.0f} s.", next)
        await asyncio.sleep(LOOK_SECONDS)
