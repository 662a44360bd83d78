"""What becomes of a batch of rows: posted to the hub and kept in the journal, or looked at here in a dry run."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from adapters.tables import judge
from adapters.tables.compose import Composed
from adapters.tables.files import replacing
from adapters.tables.journal import Journal, open_journal
from adapters.tables.table import Row
from broker import jws
from broker.client import Client, Posted, Problem, Unreachable, sign
from broker.errors import SetupRefused

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.language import Language

REUSE_SECONDS = 6 * 86_400
"""Octets signed longer ago are signed anew: the hub takes a signing time up to seven days old."""
STOP = (401, 403)
"""Nobody's row is at fault when the hub does not know the key, or the member is suspended."""
STOP_CODES = ("signing-time",)
FOR_THE_MOMENT = (408, 429)
AT_A_TIME = 8
"""Messages that are fetched side by side, where a journal was lost."""


class Work(NamedTuple):
    """A row that can be posted."""

    row: Row
    composed: Composed
    id: str
    octets: bytes

    @property
    def address(self) -> str:
        return f"{self.composed.payload['header']['originator']}:{self.id}"


class Answer(NamedTuple):
    """accepted, repeated or refused; errors and warnings as the hub words them."""

    outcome: str
    errors: judge.Errors = ()
    warnings: judge.Errors = ()


class Judge(Protocol):
    """Says what becomes of a batch: posting it, or looking at it here (a dry run)."""

    async def answers(self, batch: Sequence[Work], journal: Journal) -> list[Answer]: ...


@dataclass(frozen=True)
class DryRun:
    """By the schemas, code lists and rules of this installation; nothing is posted."""

    language: Language
    tongue: str
    now: Clock

    async def answers(self, batch: Sequence[Work], journal: Journal) -> list[Answer]:
        now = self.now()
        return [self._answer(work, now) for work in batch]

    def _answer(self, work: Work, now: datetime) -> Answer:
        payload = {**work.composed.payload, "header": {**work.composed.payload["header"], "id": work.id}}
        errors, warnings = judge.offline(self.language, payload, now, self.tongue)
        return Answer("refused" if errors else "accepted", errors, warnings)


@dataclass(frozen=True)
class Posting:
    """By the hub. `client` has a key."""

    client: Client

    async def answers(self, batch: Sequence[Work], journal: Journal) -> list[Answer]:
        hub, key = self.client.url, self.client.door.signing_key
        found: dict[int, Answer] = {}
        posts: list[tuple[int, str]] = []
        for index, work in enumerate(batch):
            payload = hashlib.sha256(work.octets).hexdigest()
            kept = journal.message(hub, work.address)
            if kept is not None and kept.payload == payload and kept.receipt is not None:
                found[index] = Answer("repeated")
                continue
            if kept is not None and kept.payload == payload and _still_good(kept.compact, key):
                compact = kept.compact
            else:
                compact = sign(work.octets, key)
                journal.keep_signed(hub, work.address, work.row.number, payload, compact)
            posts.append((index, compact))
        journal.commit()
        posted = await self.client.post_batch(compact for _, compact in posts)
        first = await self._first_octets(posted)
        for (index, _), one in zip(posts, posted, strict=True):
            found[index] = self._answer(batch[index], one, first, journal)
        journal.commit()
        return [found[index] for index in range(len(batch))]

    async def _first_octets(self, posted: Sequence[Posted]) -> dict[str, str]:
        """Address → message, for what was accepted earlier under another signature: its receipt is about those octets."""
        wanted = [
            one.receipt.message
            for one in posted
            if one.receipt is not None and one.receipt.digest != jws.digest(one.token)
        ]
        found: dict[str, str] = {}
        for start in range(0, len(wanted), AT_A_TIME):
            some = wanted[start : start + AT_A_TIME]
            answers = await asyncio.gather(*(self.client.get(address) for address in some), return_exceptions=True)
            for address, answer in zip(some, answers, strict=True):
                if isinstance(answer, BaseException):
                    raise answer
                found[address] = str(answer["message"])
        return found

    def _answer(self, work: Work, posted: Posted, first: Mapping[str, str], journal: Journal) -> Answer:
        if posted.receipt is None:
            assert posted.problem is not None
            return _refused(posted.problem)
        compact = first.get(posted.receipt.message, posted.token)
        if posted.receipt.digest != jws.digest(compact):
            raise Unreachable(f"{posted.receipt.message}: the receipt is for other octets than the hub holds")
        payload = hashlib.sha256(work.octets).hexdigest()
        journal.keep_receipt(self.client.url, work.address, payload, compact, posted.receipt.compact)
        return Answer("repeated" if posted.receipt.repeat else "accepted", (), posted.receipt.warnings)


def _refused(problem: Problem) -> Answer:
    """Raises when it is not about this row."""
    if problem.status in STOP or problem.code in STOP_CODES:
        raise problem
    if problem.status >= 500 or problem.status in FOR_THE_MOMENT:
        raise Unreachable(str(problem))
    errors = problem.errors or [{"pointer": "", "rule": problem.code, "detail": problem.detail or problem.title}]
    return Answer("refused", errors)


def _still_good(compact: str, key: jws.PrivateKey) -> bool:
    token = jws.read(compact.encode(), typ=jws.TYP_MESSAGE)
    return token.kid == jws.thumbprint(jws.public_jwk(key)) and (token.iat or 0) > time.time() - REUSE_SECONDS


def write_receipts(journal: Path, hub: str, folder: Path) -> int:
    """Every message that this journal has a receipt for, with it, as `tidewaiter submit --receipts` keeps them."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with open_journal(journal, must_exist=True) as kept:
        for address, compact, receipt in kept.receipts(hub.rstrip("/")):
            if Path(address).name != address:
                raise SetupRefused(detail=f"{journal} has an address that no message has; nothing is written for it.")
            for ending, token in ((".jws", compact), (".receipt.jws", receipt)):
                path = folder / f"{address.replace(':', '_')}{ending}"
                if not path.exists():
                    with replacing(path) as temporary:
                        temporary.write_text(token + "\n", "ascii")
            count += 1
    return count
