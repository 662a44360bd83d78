"""Messages to make tables of: from a hub (what one may see), or from files and folders; the latest versions alone.

A chain counts once: what was superseded or withdrawn is left out and counted, and so is what is left out for another
reason. Files are taken as they are: keep them with `tidewaiter watch`, which keeps only what is signed. From a hub every
message is believed by its signature, and fetching it makes you a holder of it, as opening it would.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker import jws, strictjson
from broker.client import Client, Problem
from broker.errors import BrokerError, SetupRefused

MESSAGE_BYTES = 262_144
SUFFIXES = (".jws", ".json")
NOT_MESSAGES = (".receipt.jws", ".refusal.jws", ".acknowledgement.jws")
BOXES = ("received", "sent")
PAGE = 200
AT_A_TIME = 8
GONE_STATES = ("superseded", "withdrawn")
HUB = "hub"
SUPERSEDED_NOTICE = "superseded-not-released"


@dataclass(frozen=True)
class Message:
    """A payload whose header has originator and id, and the address they make."""

    address: str
    payload: dict[str, Any]

    @property
    def header(self) -> dict[str, Any]:
        found: dict[str, Any] = self.payload["header"]
        return found

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = self.payload["body"]
        return found


@dataclass
class Left:
    """What was looked at and left out, by reason; `unreadable`: the files (at most 50) and why."""

    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def out(self, reason: str) -> None:
        self.reasons[reason] += 1


async def from_hub(
    client: Client, kind: str, left: Left, *, boxes: Sequence[str] = BOXES, since: str | None = None,
    heading: str | None = None,
) -> AsyncIterator[Message]:  # fmt: skip
    """What the member sent or is entitled to, newest first; each once. Fetched AT_A_TIME, in the order of the lists."""
    seen: set[str] = set()
    window: list[str] = []
    for box in boxes:
        async for listed in client.messages(box, kind=kind, since=since, heading=heading, limit=PAGE):
            address = str(listed["address"])
            if address in seen:
                continue
            seen.add(address)
            if listed["state"] in GONE_STATES:
                left.out(str(listed["state"]))
                continue
            window.append(address)
            if len(window) == AT_A_TIME:
                for message in await _fetched(client, window, left):
                    yield message
                window = []
    for message in await _fetched(client, window, left):
        yield message


async def _fetched(client: Client, addresses: Sequence[str], left: Left) -> list[Message]:
    """The messages at these addresses; a withdrawal is no event of its own."""
    found = await asyncio.gather(*(_fetch(client, address, left) for address in addresses))
    return [message for message in found if message is not None and message.header.get("withdraws") is None]


async def _fetch(client: Client, address: str, left: Left) -> Message | None:
    try:
        compact = str((await client.get(address))["message"])
    except Problem as problem:
        if problem.status != 404:
            raise
        left.out("gone meanwhile")
        return None
    return Message(address, await client.believe(compact))


async def from_files(paths: Sequence[Path], kind: str, left: Left) -> AsyncIterator[Message]:
    """The messages in files and folders, in the order of their names; each address once, the signed one first.

    Gone over twice: first for what was superseded or withdrawn, or is superseded by what was not released to us.
    """
    gone: dict[str, str] = {}
    for path in _files(paths):
        found = _read(path, None)
        if found is not None:
            gone.update(_ends(found))
    seen: set[str] = set()
    for path in _files(paths):
        found = _read(path, left)
        if found is None or found.address in seen or found.header.get("kind") != kind:
            continue
        seen.add(found.address)
        if found.header.get("withdraws") is not None:
            continue
        if found.address in gone:
            left.out(gone[found.address])
        else:
            yield found


def _ends(message: Message) -> Iterator[tuple[str, str]]:
    """(address, reason) of what this message ends: an amendment or withdrawal of its originator, a notice of the hub."""
    header = message.header
    for name, reason in (("supersedes", "superseded"), ("withdraws", "withdrawn")):
        of = header.get(name)
        if isinstance(of, str) and of.partition(":")[0] == header["originator"]:
            yield of, reason
    if header["originator"] == HUB and message.body.get("event") == SUPERSEDED_NOTICE:
        yield str(message.body.get("about")), "superseded"


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(path.rglob("*"), key=lambda one: (str(one.with_suffix("")), one.suffix != ".jws"))
            yield from (one for one in found if one.suffix in SUFFIXES and not one.name.endswith(NOT_MESSAGES))
        elif path.is_file():
            yield path
        else:
            raise SetupRefused(detail=f"There is no file or folder {path}.")


def _read(path: Path, left: Left | None) -> Message | None:
    """None for what is no message; said, if `left` is given."""
    try:
        with path.open("rb") as file:
            octets = file.read(MESSAGE_BYTES + 1).strip()
        payload = _payload(octets)
        header, body = payload["header"], payload["body"]
        address = f"{header['originator']}:{header['id']}"
        if not isinstance(body, dict) or not isinstance(header.get("handling"), dict):
            raise TypeError("body")
    except (BrokerError, KeyError, TypeError, OSError) as error:
        if left is not None:
            left.out("unreadable")
            if len(left.unreadable) < 50:
                left.unreadable.append(f"{path}: {getattr(error, 'rule', None) or 'no message'}")
        return None
    return Message(address, payload)


def _payload(octets: bytes) -> dict[str, Any]:
    """The payload of a signed message or of a hub's projection, or the payload itself."""
    if octets[:1] == b"{":
        value = strictjson.parse_object(octets, max_bytes=MESSAGE_BYTES)
        if value.keys() != {"protected", "payload", "signature"}:
            return value
        octets = jws.compact_of(value)
    parts = octets.split(b".")
    if len(parts) != 3:
        raise TypeError("no compact JWS")
    return strictjson.parse_object(jws.unb64(parts[1]), max_bytes=MESSAGE_BYTES)
