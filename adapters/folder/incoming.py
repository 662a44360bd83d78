"""A queue → verified → in/ → settled. A delivery is settled only once its files are on disk.

    1. lease         if there is room for what may come
    2. verify        the originator's signature, with the directory's keys
    3. write         in/NAME.json, NAME.jws, and last NAME.delivery.json; then remember address and round
    4. settle        accept, with the acknowledgement `received`

What is not believed goes to in/unverified/ and is rejected with its reason; it holds nobody up, and is acknowledged to
nobody. What cannot be written is given back. What came before makes no second file, whichever queue brings it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from adapters.folder import problems
from adapters.folder.disk import read, room
from adapters.folder.names import name_of
from adapters.folder.parts import Parts
from adapters.folder.problems import asked, reading
from broker import clock, jws, offline, strictjson
from broker.client import Delivery, Problem, Unreachable, accept, reject, release
from broker.errors import BrokerError, Conflict, Fault, Invalid, KeyRefused, SignatureRefused, quote

BATCH = 20
LATER_SECONDS = 60
"""A message whose key is not in the directory is offered again after this: it may have been enrolled a moment ago."""
MAX_DELIVERY_BYTES = 1_000_000
MOST = strictjson.MAX_INTEGER
"""No sequence, round or count is larger; SQLite's integers go further."""
SHOWN = (
    "kind",
    "version",
    "status",
    "priority",
    "supersedes",
    "withdraws",
    "in_reply_to",
    "expires_at",
    "acknowledge_by",
)
"""Members of the header that `NAME.delivery.json` repeats; null if the message has none."""
Answer = TypeVar("Answer")


async def receive(parts: Parts, queue: str, wait_seconds: float = 0, *, doubtful: bool = False) -> int:
    """Lease once, waiting for the first delivery, and settle what came; how many. `doubtful`: try to write before that.

    Raises Unreachable (no directory, too), Problem, Later, OSError: what was not settled is offered again.
    """
    incoming = parts.layout.incoming
    room(incoming)
    if doubtful:
        parts.disk.write(incoming / ".tw-probe", b"room?")
        parts.disk.remove(incoming / ".tw-probe")
    await asked(parts.client.keys())  # without a directory nothing can be verified: then nothing is leased
    lease = _leased(parts, queue, wait_seconds)
    deliveries = await unless_stopping(parts, asked(lease)) or []
    if deliveries or not parts.stopping.is_set():
        parts.status.contact()
    settlements: list[dict[str, Any]] = []
    failed: OSError | None = None
    for delivery in deliveries:
        try:
            if failed is None:
                settlements.append(await _take_in(parts, queue, delivery))
                continue
        except OSError as error:
            failed = error
        settlements.append(release(delivery))
    if settlements:
        await _settle(parts, queue, settlements)
    if failed is not None:
        raise failed
    return len(deliveries)


async def _leased(parts: Parts, queue: str, wait_seconds: float) -> list[Delivery]:
    """A lease, each delivery of the shape that a hub gives it. Raises as the client, Later, and what `reading` converts."""
    deliveries = await parts.client.lease(queue, BATCH, parts.lease_seconds, wait_seconds)
    for one in deliveries:
        problems.said({"warnings": [dict(warning) for warning in one.warnings]})
        texts = (one.delivery_id, one.lease_id, one.rule, one.accepted_at, one.message, *one.duties)
        numbers = (one.sequence, one.round, one.count)
        if not (
            all(isinstance(text, str) for text in texts) and all(type(n) is int and 0 <= n <= MOST for n in numbers)
        ):
            raise TypeError("a delivery is of another shape")
    return deliveries


async def unless_stopping(parts: Parts, call: Awaitable[Answer]) -> Answer | None:
    """The call's answer; None, and the call broken off, once the agent stops: what was leased on the way comes again."""
    work, stop = asyncio.ensure_future(call), asyncio.ensure_future(parts.stopping.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        return await work if work.done() else None
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)


async def _take_in(parts: Parts, queue: str, delivery: Delivery) -> dict[str, Any]:
    """The settlement of one delivery. Raises OSError."""
    try:
        payload = await _believed(parts, delivery.message)
        header = payload["header"]
        id = header.get("id")
        address = f"{header['originator']}:{id}"
        name = name_of(address) if isinstance(id, str) else None
        if name is None:
            raise Invalid(Fault("/header/id", "name", found=quote(id)))
        fresh = _is_new(parts, address, name, delivery)
    except BrokerError as error:
        if error.rule == "key-unknown":
            parts.status.tell("postponed", delivery=delivery.delivery_id, rule=error.rule)
            return release(delivery, LATER_SECONDS)
        return _set_aside(parts, queue, delivery, error)
    if fresh:
        _write(parts, queue, delivery, name, address, header)
    parts.received.remember(address, delivery.round, jws.digest(delivery.message), parts.now())
    parts.status.tell("received" if fresh else "repeated", queue=queue, message=address, round=delivery.round)
    return accept(delivery, parts.client.acknowledgement(delivery.message, "received"))


async def _believed(parts: Parts, compact: str) -> dict[str, Any]:
    """`offline.verify_message`, with the directory fetched anew when its keys do not fit. Raises BrokerError.

    A directory that cannot be had is no reason to disbelieve anything: then the key is unknown, for now.
    """
    try:
        return _verified(compact, await asked(parts.client.keys()))
    except (SignatureRefused, KeyRefused, Unreachable):
        try:
            keys = await asked(parts.client.keys(fresh=True))
        except (Problem, Unreachable, BrokerError):
            raise SignatureRefused(Fault("/kid", "key-unknown")) from None
        return _verified(compact, keys)


def _verified(compact: str, keys: offline.Keys) -> dict[str, Any]:
    with reading():
        return offline.verify_message(compact, keys)


def _is_new(parts: Parts, address: str, name: str, delivery: Delivery) -> bool:
    """Whether files are to be written: not for an address and round that came before, whether or not it was settled.

    Raises Conflict if another message came under this address.
    """
    known, digest = parts.received.digest(address), jws.digest(delivery.message)
    there = _there(parts, name)
    if known is None and there is not None:
        known = str(there.get("digest"))
    if known is not None and (known != digest or (there and there.get("message") != address)):
        raise Conflict(Fault("/header/id", "conflict", found=address))
    written = there is not None and there.get("round") == delivery.round
    return not (written or parts.received.has(address, delivery.round))


def _there(parts: Parts, name: str) -> Mapping[str, Any] | None:
    """What `in/NAME.delivery.json` says; None if it is not there or not ours."""
    try:
        octets = read(parts.layout.incoming / f"{name}.delivery.json", MAX_DELIVERY_BYTES)
        return strictjson.parse_object(octets, max_bytes=MAX_DELIVERY_BYTES)
    except (OSError, BrokerError):
        return None


def _write(parts: Parts, queue: str, delivery: Delivery, name: str, address: str, header: Mapping[str, Any]) -> None:
    """The three files. Where `NAME.delivery.json` is, the others are: also if somebody takes those of the round before
    away meanwhile, which have the same names and octets.
    """
    about = {
        "message": address,
        "originator": header["originator"],
        "id": header["id"],
        **{shown: header.get(shown) for shown in SHOWN},
        "queue": queue,
        "sequence": delivery.sequence,
        "round": delivery.round,
        "count": delivery.count,
        "duties": list(delivery.duties),
        "rule": delivery.rule,
        "accepted_at": delivery.accepted_at,
        "received_at": clock.text(parts.now()),
        "digest": jws.digest(delivery.message),
        "warnings": list(delivery.warnings),
        "payload": f"{name}.json",
        "signed": f"{name}.jws",
    }
    folder = parts.layout.incoming
    told = folder / f"{name}.delivery.json"
    octets = {
        folder / f"{name}.json": jws.unb64(delivery.message.split(".")[1]),
        folder / f"{name}.jws": delivery.message.encode("ascii"),
    }
    again = told.exists()
    for path, content in octets.items():
        parts.disk.write(path, content)
    parts.disk.write(told, problems.octets(about))
    for path, content in octets.items():
        if again and told.exists() and not path.exists():
            parts.disk.write(path, content)


def _set_aside(parts: Parts, queue: str, delivery: Delivery, error: BrokerError) -> dict[str, Any]:
    """Keep what is not believed, named by its own digest, and reject it."""
    octets = delivery.message.encode("utf-8", "replace")
    name = hashlib.sha256(octets).hexdigest()[:32]
    about = problems.of_ours(error, parts.language) | {
        "file": f"{name}.jws",
        "queue": queue,
        "sequence": delivery.sequence,
        "delivery": delivery.delivery_id,
    }
    parts.disk.write(parts.layout.unverified / f"{name}.jws", octets)
    parts.disk.write(parts.layout.unverified / f"{name}.problem.json", problems.octets(about))
    parts.status.tell("unverified", queue=queue, delivery=delivery.delivery_id, file=f"{name}.jws", rule=error.rule)
    return reject(delivery, f"not believed: {error.rule}")


async def _settle(parts: Parts, queue: str, settlements: Sequence[dict[str, Any]]) -> None:
    """Settle. An acknowledgement that does not pass (a later one stands already) must not keep a delivery from it."""
    refused = await asked(_refused(parts, queue, settlements))
    again = {
        number: {name: value for name, value in settlements[number].items() if name != "acknowledgement"}
        for number, code in refused.items()
        if "acknowledgement" in settlements[number] and code != "stale-lease"
    }
    codes = [code for number, code in refused.items() if number not in again]
    if again:
        codes += (await asked(_refused(parts, queue, list(again.values())))).values()
    for code in codes:
        parts.status.tell("unsettled", queue=queue, code=code)


async def _refused(parts: Parts, queue: str, settlements: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Which settlements did not pass: place -> code. Raises as the client, and what `reading` converts."""
    answers = await parts.client.settle(queue, settlements)
    if len(answers) != len(settlements):
        raise ValueError(f"{len(answers)} answers to {len(settlements)} settlements")
    return {n: str(answer["problem"]["code"]) for n, answer in enumerate(answers) if answer["status"] != 200}
