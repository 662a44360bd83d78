"""acknowledge/ → signed and posted → acknowledged/ or refused/.

That a message has come is said by itself when it is settled (`received`). What the team did with it only the team
knows: it drops `{"message": "CL:2026-000123", "state": "read", "reason": null}`, and the agent signs and posts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapters.folder import problems, taking
from adapters.folder.disk import read
from adapters.folder.names import ADDRESS, name_of
from adapters.folder.outgoing import refuse
from adapters.folder.parts import Parts
from adapters.folder.problems import Later, Troubles, asked
from broker import jws, strictjson
from broker.client import Problem
from broker.errors import BrokerError, Fault, Invalid, Malformed, NotFound, quote

STATES = ("received", "read", "acted", "refused")
MAX_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class Statement:
    message: str
    state: str
    reason: str | None


async def acknowledge(parts: Parts) -> int:
    """One look: how many files were taken or came to their end. Raises as `outgoing.send`."""
    troubles, layout = Troubles(), parts.layout
    taken = taking.take(parts, layout.acknowledge, (".json",), layout.acknowledging, check, troubles)
    try:
        ended = await _post_all(parts, troubles)
    finally:
        parts.status.wait(layout.acknowledging.name, len(taking.under_way(layout.acknowledging)))
    troubles.tell()
    return taken + ended


def check(_suffix: str, octets: bytes) -> object:
    """Raises BrokerError for a file that is cut off."""
    return strictjson.parse_object(octets, max_bytes=MAX_BYTES)


def read_statement(octets: bytes) -> Statement:
    """Raises BrokerError with every fault."""
    found = strictjson.parse_object(octets, max_bytes=MAX_BYTES)
    message, state, reason = found.get("message"), found.get("state"), found.get("reason")
    faults = []
    if not found.keys() <= {"message", "state", "reason"}:
        allowed = ("message", "reason", "state")
        faults.append(Fault("", "claims", found=quote(", ".join(sorted(found))), allowed=allowed))
    if not isinstance(message, str) or not ADDRESS.fullmatch(message):
        faults.append(Fault("/message", "message-unknown"))
    if state not in STATES:
        faults.append(Fault("/state", "enum", found=quote(state), allowed=STATES))
    if reason is not None and not isinstance(reason, str):
        faults.append(Fault("/reason", "type", allowed=("string",)))
    if faults:
        raise Invalid(*faults)
    return Statement(str(message), str(state), reason)


async def _post_all(parts: Parts, troubles: Troubles) -> int:
    ended = 0
    for path in taking.under_way(parts.layout.acknowledging):
        with troubles.aside():
            try:
                await _post(parts, path, read_statement(read(path, MAX_BYTES)))
            except BrokerError as error:
                if isinstance(error, Malformed):
                    taking.wait_for(parts, path)
                refuse(parts, path, problems.of_ours(error, parts.language))
            ended += 1
    return ended


async def _post(parts: Parts, path: Path, statement: Statement) -> None:
    """Raises NotFound for what has not come here, Later, Unreachable, OSError."""
    digest = _digest(parts, statement.message)
    call = parts.client.acknowledge(statement.message, digest, statement.state, statement.reason)
    try:
        await asked(call)
    except Problem as problem:
        if not (problems.said_by(problem) and problems.is_about_the_file(problem, signed_here=True)):
            raise Later(f"{path.name}: {problem}") from None
        refuse(parts, path, problem.body)
        return
    parts.status.contact()
    parts.disk.remove(parts.layout.refused / f"{path.stem}.problem.json")  # of an earlier attempt, mended since
    parts.disk.move(path, parts.layout.acknowledged / path.name)
    parts.status.tell("acknowledged", file=path.name, message=statement.message, state=statement.state)


def _digest(parts: Parts, address: str) -> str:
    """Of the message as it came; from in/, should the record have been lost. Raises NotFound, OSError."""
    digest = parts.received.digest(address)
    if digest is not None:
        return digest
    try:
        octets = read(parts.layout.incoming / f"{name_of(address)}.jws", jws.MAX_TOKEN_BYTES)
        return jws.digest(jws.read(octets, typ=jws.TYP_MESSAGE).compact)
    except (OSError, BrokerError):
        raise NotFound(Fault("/message", "message-unknown")) from None
