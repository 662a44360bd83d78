"""What a message quotes keeps its originator's conditions (domain.md §6.2), by what the hub holds of it.

The rules of the language compare what the quoter itself writes. Here, in the transaction that accepts, what it quotes
is looked at, as far as the quoter may see it:
 1. the marking is no wider than that of any message quoted;
 2. what may not be passed on without permission (H2) is quoted with the reply that permits it: by the same originator,
    in force, and about just that message. One's own needs nobody's.

What the quoter may not see is treated as what is not here: it is not even read, and no answer tells of it.
Not here: whether the new readers are those for whom consent was asked; conditions in words are for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import jws, sight, strictjson
from broker.envelope import Envelope
from broker.errors import Fault, quote
from broker.language.rules.handling import NEEDS_CONSENT, narrow_enough
from broker.ledger import quotations as ledger
from broker.members import Registry

CONSENTS = ("reply", "consent-given")
"""Kind and `answer` of the message by which an originator permits."""

Held = Mapping[tuple[str, str], RowMapping]
"""(member, address) -> a message that the member sent, or was decided for."""


def named(envelope: Envelope) -> set[str]:
    """Addresses of what the message quotes, and of the consents that it names."""
    return {address for one in envelope.quotations for address in (one.message, one.consent) if address is not None}


async def held(c: AsyncConnection, envelopes: Iterable[Envelope]) -> Held:
    """What is here of all that `envelopes` name: nothing is asked if they quote nothing."""
    quoting = [envelope for envelope in envelopes if envelope.quotations]
    if not quoting:
        return {}
    members = sorted({envelope.originator for envelope in quoting})
    return await _open_to(c, members, set().union(*map(named, quoting)))


async def _open_to(c: AsyncConnection, members: list[str], addresses: set[str]) -> Held:
    found: dict[tuple[str, str], RowMapping] = {}
    for row in await ledger.open_to(c, members, addresses):
        address = f"{row['originator']}:{row['id']}"
        if row["originator"] in members:
            found.setdefault((row["originator"], address), row)
        if row["member"] is not None:
            found[row["member"], address] = row
    return found


async def faults(c: AsyncConnection, registry: Registry, held: Held, envelope: Envelope, now: datetime) -> list[Fault]:
    """Every fault of what the message quotes."""
    quoter = _Quoter(c, registry, held, envelope.originator, now)
    found: list[Fault] = []
    for one in envelope.quotations:
        quoted = await quoter.sees(one.message)
        if quoted is None:
            continue
        allowed = narrow_enough(quoted["tlp"])
        if envelope.tlp not in allowed:
            found.append(Fault(one.pointer, "marking-wider", envelope.tlp, allowed))
        caveats = _payload(quoted)["header"]["handling"].get("caveats") or ()
        conditions = sorted(NEEDS_CONSENT.intersection(caveats)) if quoted["originator"] != envelope.originator else []
        if conditions and not await quoter.may_pass_on(one.message, quoted, one.consent):
            found.append(Fault(one.pointer, "consent-missing", quote(conditions[0])))
    return found


@dataclass(frozen=True, slots=True)
class _Quoter:
    c: AsyncConnection
    registry: Registry
    held: Held
    member: str
    now: datetime

    async def sees(self, address: str) -> RowMapping | None:
        """The message, if it is the quoter's own or the quoter may see it now."""
        row = self.held.get((self.member, address))
        if row is None or row["originator"] == self.member:
            return row
        may = await sight.may_see(self.c, self.registry, row, self.member, row["rule"], self.now)
        return row if may else None

    async def may_pass_on(self, address: str, quoted: RowMapping, consent: str | None) -> bool:
        """A reply of that originator's, neither corrected nor over, which says so of this message, or in answer to the
        quoter's request for it."""
        reply = await self.sees(consent) if consent is not None else None
        if reply is None or any(reply[name] != quoted[name] for name in ("originator", "status")):
            return False
        header, body = (_payload(reply)[part] for part in ("header", "body"))
        if (reply["kind"], body.get("answer")) != CONSENTS:
            return False
        if reply["superseded_by"] is not None or reply["withdrawn_by"] is not None:
            return False
        if str(body.get("consent_until") or "9999") < self.now.date().isoformat():
            return False
        return address in (header.get("references") or ()) or await self._asked(header.get("in_reply_to"), address)

    async def _asked(self, request: str | None, address: str) -> bool:
        """Read only where the reply itself does not name what it is about."""
        if request is None or not request.startswith(f"{self.member}:"):
            return False
        row = (await _open_to(self.c, [self.member], {request})).get((self.member, request))
        asked = _payload(row)["body"].get("consent") if row is not None else None
        return isinstance(asked, dict) and asked.get("message") == address


def _payload(row: RowMapping) -> dict[str, Any]:
    return strictjson.parse_object(jws.unb64(row["jws"].split(".")[1]), max_bytes=jws.MAX_TOKEN_BYTES)
