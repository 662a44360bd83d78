"""out/ → signed → posted → sent/ or refused/.

A file that was taken lies in `sending/` until it comes to its end, under the name that everything about it will have.
Every look begins there, so that starting again is nothing of its own:

    1. sign          `.agent/signed/NAME.jws`, before anything is posted: a repeat posts these very octets
    2. post          twenty at a time; the same message twice is answered with the same receipt
    3. accepted      sent/NAME.jws, NAME.sent.json, NAME.receipt.jws, and last the file itself
       refused       refused/NAME.problem.json, and last the file itself
       neither       it stays, and is posted again

What is signed is what is in the file, octet for octet. Whether it is a good message is for the hub to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.folder import problems, taking
from adapters.folder.disk import read
from adapters.folder.parts import Parts
from adapters.folder.problems import Later, Troubles, asked, reading
from broker import client as sdk
from broker import jws, offline, strictjson
from broker.client import Posted, Problem, Receipt, Unreachable
from broker.errors import BrokerError, Fault, Malformed, TooLarge

BATCH = 20
FRESH_SECONDS = 6 * 86_400
"""Octets signed longer ago are signed anew: the hub takes a signing time up to seven days old."""
AHEAD_SECONDS = 60
"""So are octets whose signing time lies further ahead than this: the clock has been set back since."""
SIGNATURE_BYTES = 64
"""Of Ed25519 (RFC 8032 §5.1.6) and of ES256 (RFC 7518 §3.4)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that was taken, and the signed message that it is or became."""

    path: Path
    compact: str

    @property
    def signed_here(self) -> bool:
        return self.path.suffix == ".json"


async def send(parts: Parts) -> int:
    """One look: how many files were taken or came to their end.

    Raises Unreachable, Problem, Later, OSError after everything was tried that could be: what is not at its end stays.
    """
    troubles, sending = Troubles(), parts.layout.sending
    taken = taking.take(parts, parts.layout.out, (".json", ".jws"), sending, check, troubles)
    try:
        ended = await _post_all(parts, troubles)
    finally:
        parts.status.wait(sending.name, len(taking.under_way(sending)))
    troubles.tell()
    return taken + ended


def check(suffix: str, octets: bytes) -> object:
    """Raises BrokerError for what cannot be posted: for a file that is cut off, among others."""
    return read_signed(octets) if suffix == ".jws" else strictjson.parse_object(octets, max_bytes=len(octets))


def read_signed(octets: bytes) -> str:
    """The compact form of a signed message, compact or flattened. Raises BrokerError."""
    octets = octets.strip()
    token = jws.read(jws.from_flattened(octets) if octets[:1] == b"{" else octets, typ=jws.TYP_MESSAGE)
    if len(jws.unb64(token.compact.rpartition(".")[2])) != SIGNATURE_BYTES:
        raise Malformed(Fault("", "signature"))
    return token.compact


async def _post_all(parts: Parts, troubles: Troubles) -> int:
    """Everything that was taken, a batch at a time. How many came to their end."""
    _forget_signed(parts)
    waiting = taking.under_way(parts.layout.sending)
    ended = 0
    for first in range(0, len(waiting), BATCH):
        items: list[Item] = []
        for path in waiting[first : first + BATCH]:
            with troubles.aside():
                try:
                    items.append(Item(path, _message(parts, path)))
                except BrokerError as error:
                    if isinstance(error, Malformed):
                        taking.wait_for(parts, path)
                    refuse(parts, path, problems.of_ours(error, parts.language))
                    ended += 1
        ended += await _post(parts, items, troubles)
    return ended


async def _post(parts: Parts, items: Sequence[Item], troubles: Troubles) -> int:
    ended = 0
    answers = await asked(parts.client.post_batch([item.compact for item in items]))
    for item, posted in zip(items, answers, strict=True):
        parts.status.contact()
        with troubles.aside():
            await _end(parts, item, posted)
            ended += 1
    return ended


async def _end(parts: Parts, item: Item, posted: Posted) -> None:
    """Put a file where the hub's answer puts it. Raises Later, OSError: then it stays. Problem, Unreachable: all do."""
    if posted.receipt is not None:
        await _accepted(parts, item, posted.receipt)
        return
    assert posted.problem is not None
    if not problems.is_about_the_file(posted.problem, signed_here=item.signed_here):
        raise Later(f"{item.path.name}: {posted.problem}")
    refuse(parts, item.path, posted.problem.body)


async def _accepted(parts: Parts, item: Item, receipt: Receipt) -> None:
    """The last to appear is the file; where its receipt is, the rest of it is too."""
    sent, stem = parts.layout.sent, item.path.stem
    compact = await _octets_of(parts, item, receipt)
    about = {
        "file": item.path.name,
        "message": receipt.message,
        "digest": receipt.digest,
        "accepted_at": receipt.accepted_at,
        "warnings": list(receipt.warnings),
    }
    told = problems.said(about)
    parts.disk.write(sent / f"{stem}.jws", compact.encode("ascii"))
    parts.disk.write(sent / f"{stem}.sent.json", told)
    parts.disk.write(sent / f"{stem}.receipt.jws", receipt.compact.encode("ascii"))
    parts.disk.remove(parts.layout.refused / f"{stem}.problem.json")  # of an earlier attempt, mended since
    if item.signed_here:
        parts.disk.move(item.path, sent / item.path.name)
    else:
        parts.disk.remove(item.path)  # sent/NAME.jws has its octets
    parts.disk.remove(parts.layout.signed / f"{stem}.jws")
    parts.status.tell("sent", file=item.path.name, message=receipt.message, warnings=_rules(receipt.warnings))


async def _octets_of(parts: Parts, item: Item, receipt: Receipt) -> str:
    """The octets that the receipt is about, once the hub's signature holds: mostly those that were posted.

    The same message may have been accepted before under another signature; then those octets are fetched, unless it is
    another member's, which is not ours to fetch. Raises Later.
    """
    await _believe(parts, receipt.compact)
    if receipt.message != _address(item.compact):
        raise Later(f"{item.path.name}: the receipt is for another message")
    if receipt.digest == jws.digest(item.compact):
        return item.compact
    try:
        compact = str((await asked(parts.client.get(receipt.message)))["message"])
        same = receipt.digest == jws.digest(compact) and _payload(compact) == _payload(item.compact)
    except Problem as problem:
        if problem.code == "not-found":
            return item.compact
        raise Later(f"{item.path.name}: {problem}") from None
    except (Unreachable, BrokerError, UnicodeError) as error:
        raise Later(f"{item.path.name}: {error}") from None
    if not same:
        raise Later(f"{item.path.name}: the receipt is not for what the hub holds")
    return compact


def _address(compact: str) -> str | None:
    """What the message calls itself; None if it has no such name, and then no hub has accepted it."""
    try:
        header = strictjson.parse_object(_payload(compact), max_bytes=jws.MAX_TOKEN_BYTES)["header"]
        return f"{header['originator']}:{header['id']}"
    except (BrokerError, LookupError, TypeError):
        return None


def _payload(compact: str) -> bytes:
    return jws.read(compact.encode("ascii"), typ=jws.TYP_MESSAGE).payload


async def _believe(parts: Parts, receipt: str) -> None:
    """Raises Later for a receipt that the hub did not sign."""
    try:
        _read_receipt(receipt, await asked(parts.client.keys()))
    except (BrokerError, Unreachable):  # a hub's new key may not be in the directory as it was
        try:
            _read_receipt(receipt, await asked(parts.client.keys(fresh=True)))
        except BrokerError as error:
            raise Later(f"a receipt that does not verify: {error.rule}") from None


def _read_receipt(receipt: str, keys: offline.Keys) -> None:
    with reading():
        offline.read_receipt(receipt, keys)


def refuse(parts: Parts, path: Path, problem: Mapping[str, Any]) -> None:
    """Put a file that was taken into refused/, its problem first. Raises Later, OSError."""
    told = problems.said({"file": path.name, **problem})
    parts.disk.write(parts.layout.refused / f"{path.stem}.problem.json", told)
    parts.disk.move(path, parts.layout.refused / path.name)
    parts.disk.remove(parts.layout.signed / f"{path.stem}.jws")
    parts.status.tell("refused", file=path.name, code=problem.get("code"), rules=_rules(problem.get("errors") or ()))


def _rules(faults: Sequence[Any]) -> list[str]:
    """What a log line says of faults or warnings: the rules, never what was found."""
    return sorted({str(fault.get("rule")) for fault in faults if isinstance(fault, Mapping)})[:10]


# ── signing ──


def _message(parts: Parts, path: Path) -> str:
    """The signed message that a file is or becomes, on disk before it is returned. Raises BrokerError, OSError."""
    octets = read(path, taking.MAX_FILE_BYTES)
    if path.suffix == ".jws":
        return read_signed(octets)
    check(path.suffix, octets)
    kept = parts.layout.signed / f"{path.stem}.jws"
    compact = _signed_before(parts, kept, octets)
    if compact is None:
        compact = sdk.sign(octets, parts.client.door.signing_key, int(parts.now().timestamp()))
        if len(compact) > jws.MAX_TOKEN_BYTES:
            allowed = (str(jws.MAX_TOKEN_BYTES),)
            raise TooLarge(Fault("", "too-large", found=str(len(compact)), allowed=allowed))
        parts.disk.write(kept, compact.encode("ascii"))
    return compact


def _signed_before(parts: Parts, kept: Path, octets: bytes) -> str | None:
    """The octets that were signed for this file before, if this key made them and the hub still takes them."""
    try:
        token = jws.read(read(kept, jws.MAX_TOKEN_BYTES), typ=jws.TYP_MESSAGE)
    except (FileNotFoundError, BrokerError):
        return None
    age = parts.now().timestamp() - (token.iat or 0)
    mine = token.kid == jws.thumbprint(jws.public_jwk(parts.client.door.signing_key))
    return token.compact if mine and token.payload == octets and -AHEAD_SECONDS < age < FRESH_SECONDS else None


def _forget_signed(parts: Parts) -> None:
    """Remove signed octets whose file came to its end just before the agent died."""
    for path in parts.layout.signed.glob("*.jws"):
        if not (parts.layout.sending / f"{path.stem}.json").exists():
            parts.disk.remove(path)
