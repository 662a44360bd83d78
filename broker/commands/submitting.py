"""`submit`: files, folders or a stream → signed messages → batches → receipts kept. Safe to repeat at any point.

A payload (.json) is signed here, a signed message (.jws) is posted as it is. With --receipts the signed octets are on
disk before they are posted, and a repeat posts those very octets: receipt and message always belong together.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import OK, REFUSED, answer, clean, note, progress

if TYPE_CHECKING:
    from broker.client import Client, Posted
    from broker.jws import PrivateKey

MESSAGE_BYTES = 262_144
SUFFIXES = (".json", ".jws")
NOT_MESSAGES = (".receipt.jws", ".refusal.jws")
REUSE_SECONDS = 6 * 86_400
"""Octets signed longer ago are signed anew: the hub takes a signing time up to seven days old."""
LIST_REFUSALS = 50


@dataclass(frozen=True, slots=True)
class Item:
    """One message to post, and where it came from."""

    source: str
    compact: str


@dataclass
class Summary:
    accepted: int = 0
    repeated: int = 0
    warnings: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.accepted + self.repeated + len(self.refusals)

    def refuse(self, source: str, code: str, errors: Iterable[dict[str, Any]], detail: str = "") -> None:
        self.refusals.append({"source": source, "code": code, "detail": detail, "errors": list(errors)})


def submit(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, or - for a stream.")],
    receipts: Annotated[Path | None, typer.Option("--receipts", help="Keep receipts and messages in this folder.")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Post messages: payloads are signed first. Safe to repeat; a bad one never sinks a good one."""
    if receipts is not None:
        receipts.mkdir(parents=True, exist_ok=True)
    summary = Summary()
    try:
        options.run(_submit(paths, receipts, url, member, key, summary))
    except BaseException:
        if summary.answered:
            _tell(summary, as_json)  # what is certain, before the error is told
        raise
    _tell(summary, as_json)
    raise typer.Exit(REFUSED if summary.refusals else OK)


async def _submit(
    paths: list[str], folder: Path | None, url: str | None, member: str | None, key: Path | None, summary: Summary
) -> None:
    from broker.client import Client
    from broker.commands.failures import language

    signing = options.load_key(key) if key is not None else None
    address, total = options.given(url, "url"), _count(paths)
    options.warn_of_plain_text(address)
    async with Client(address, member or "", signing, language()) as client:
        items = _Remembered(_items(paths, signing, folder, summary))
        with progress("submitting", total) as advance:
            async for posted in client.post_many(item.compact for item in items):
                await _take(client, items.taken.popleft(), posted, folder, summary)
                advance(1)


class _Remembered:
    """Iterates over items and remembers those whose answers are still to come: at most a batch and one."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.taken: deque[Item] = deque()

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.taken.append(item)
            yield item


async def _take(client: Client, item: Item, posted: Posted, folder: Path | None, summary: Summary) -> None:
    if posted.receipt is None:
        assert posted.problem is not None
        summary.refuse(
            item.source, posted.problem.code, posted.problem.errors, posted.problem.detail or posted.problem.title
        )
        if folder is not None and isinstance(posted.problem.body.get("refusal"), str):
            _keep_refusal(folder, str(posted.problem.body["refusal"]))
        return
    if posted.receipt.repeat:
        summary.repeated += 1
    else:
        summary.accepted += 1
    summary.warnings += len(posted.receipt.warnings)
    if folder is not None:
        await _keep(client, posted, folder)


async def _keep(client: Client, posted: Posted, folder: Path) -> None:
    """Receipt and the very octets that it is about, side by side."""
    from broker import jws
    from broker.commands.watching import write_durably

    assert posted.receipt is not None
    compact = posted.token
    if posted.receipt.digest != jws.digest(compact):  # accepted earlier under another signature: fetch those octets
        compact = (await client.get(posted.receipt.message))["message"]
        if posted.receipt.digest != jws.digest(compact):
            raise options.Declined(f"{posted.receipt.message}: the receipt is for other octets than the hub holds.")
    name = posted.receipt.message.replace(":", "_")
    write_durably(folder / f"{name}.jws", (compact + "\n").encode())
    write_durably(folder / f"{name}.receipt.jws", (posted.receipt.compact + "\n").encode())


def _keep_refusal(folder: Path, refusal: str) -> None:
    """The hub's signed statement that another message stands at this address."""
    from broker import jws
    from broker.commands.watching import write_durably

    token = jws.read(refusal.encode("ascii", "replace"), typ=jws.TYP_REFUSAL)
    write_durably(folder / f"{jws.digest(refusal)}.refusal.jws", (token.compact + "\n").encode())


def _tell(summary: Summary, as_json: bool) -> None:
    from broker.commands.failures import fault_lines

    shown = {"accepted": summary.accepted, "repeated": summary.repeated, "refused": len(summary.refusals),
             "warnings": summary.warnings, "refusals": summary.refusals}  # fmt: skip
    text = f"{summary.accepted} accepted, {summary.repeated} there already, {len(summary.refusals)} refused"
    if summary.warnings:
        text += f", {summary.warnings} warnings"
    answer(shown, text, as_json)
    if as_json:
        return
    for refusal in summary.refusals[:LIST_REFUSALS]:
        note(f"{clean(refusal['source'])}: {clean(refusal['code'])}")
        for line in fault_lines(refusal["errors"]) or [clean(refusal["detail"])]:
            note(f"  {line}")
    if len(summary.refusals) > LIST_REFUSALS:
        note(f"... and {len(summary.refusals) - LIST_REFUSALS} more; --json has them all.")


# ── what is to be posted ──


def _count(paths: list[str]) -> int | None:
    return None if "-" in paths else sum(1 for path in paths for _ in _files(Path(path)))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for found in sorted(path.rglob("*")):
        if found.suffix in SUFFIXES and not found.name.endswith(NOT_MESSAGES) and found.is_file():
            yield found


def _items(paths: list[str], key: PrivateKey | None, folder: Path | None, summary: Summary) -> Iterator[Item]:
    for path in paths:
        if path == "-":
            yield from _stream(key, folder, summary)
            continue
        for file in _files(Path(path)):
            octets = options.read_input(str(file), MESSAGE_BYTES) if file.stat().st_size <= MESSAGE_BYTES else b""
            if not octets:
                summary.refuse(str(file), "too-large", (), f"empty, or more than {MESSAGE_BYTES} bytes")
                continue
            yield from _item(str(file), octets, key, folder, summary)


def _stream(key: PrivateKey | None, folder: Path | None, summary: Summary) -> Iterator[Item]:
    """Standard input: one JSON document or message, or one a line, told apart by the first line."""
    stream = sys.stdin.buffer
    first = stream.readline(MESSAGE_BYTES + 1)
    if first.strip() and not _is_whole(first):
        yield from _item("-", first + stream.read(MESSAGE_BYTES + 1), key, folder, summary)
        return
    number, line = 1, first
    while line:
        if line.strip():
            yield from _item(f"line {number}", line, key, folder, summary)
        number, line = number + 1, stream.readline(MESSAGE_BYTES + 1)


def _is_whole(line: bytes) -> bool:
    if line.strip()[:1] not in (b"{", b'"', b"["):
        return True  # a bare compact JWS
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _item(source: str, octets: bytes, key: PrivateKey | None, folder: Path | None, summary: Summary) -> Iterator[Item]:
    from broker import jws, strictjson
    from broker.errors import BrokerError

    octets = octets.strip()
    try:
        if octets[:1] not in (b"{", b'"'):
            yield Item(source, octets.decode("ascii", "replace"))
            return
        value = strictjson.parse(octets, max_bytes=MESSAGE_BYTES)
        if isinstance(value, str):
            yield Item(source, value)
        elif value.keys() == {"protected", "payload", "signature"}:
            yield Item(source, jws.compact_of(value).decode())
        else:
            yield Item(source, _signed(octets, value, key, folder))
    except BrokerError as error:
        from broker.commands.failures import of_ours

        said, faults = of_ours(error)
        summary.refuse(source, error.code, faults, said["title"])


def _signed(octets: bytes, payload: dict[str, Any], key: PrivateKey | None, folder: Path | None) -> str:
    """A message over `octets`; the one that was signed for --receipts before, if it is there and not too old."""
    import time

    from broker import client, jws
    from broker.commands.watching import file_name, write_durably
    from broker.errors import BrokerError

    private = options.given(key, "key")
    name = file_name(payload) if folder is not None else None
    if folder is None or name is None:
        return client.sign(octets, private)
    kept = folder / f"{name}.jws"
    if kept.exists():
        try:
            token = jws.read(kept.read_bytes().strip(), typ=jws.TYP_MESSAGE)
            if token.payload == octets and (token.iat or 0) > time.time() - REUSE_SECONDS:
                return token.compact
        except BrokerError:
            pass  # not ours, or damaged: sign anew
    compact = client.sign(octets, private)
    if not kept.exists() or not (folder / f"{name}.receipt.jws").exists():
        write_durably(kept, (compact + "\n").encode())
    return compact
