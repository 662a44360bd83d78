"""Step 6: what happens to believed messages inside the one transaction that accepts them.

A Batch holds the head lock. For each message it decides (known? key, release, correction, entitlement, routing),
collects the rows and writes them together. The place of the log's leaf is `_rows_of`: record and salt are made there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock, entitlement, jws, notices, quotations, verify
from broker.entitlement import RULE_HOLDER, RULE_NOTICE
from broker.envelope import Envelope
from broker.errors import BrokerError, ChainWithdrawn, Conflict, Fault, Invalid, NotLatest, ReleaseRefused
from broker.hub import Hub
from broker.ledger import deliveries as ledger_deliveries
from broker.ledger import head, lapses, touch
from broker.ledger import messages as ledger_messages
from broker.ledger.messages import Known
from broker.members import Registry


@dataclass(frozen=True, slots=True)
class Accepted:
    """`receipt` is the hub's JWS; the same octets for every repeat."""

    address: str
    receipt: str
    warnings: tuple[Fault, ...] = ()
    repeat: bool = False


Outcome = Accepted | BrokerError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that passed steps 1 to 5."""

    signed: verify.Signed
    envelope: Envelope
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """One delivery decided: `queue` is a subscription id."""

    queue: str
    member: str
    rule: str
    duties: tuple[str, ...]
    clause: int | None


def known_outcome(hub: Hub, signed: verify.Signed, known: Known) -> Outcome:
    """Promise 3: the same payload under the same address gives the same receipt; another payload is a Conflict."""
    if hashlib.sha256(signed.token.payload).digest() == known.payload_digest:
        return Accepted(known.address, known.receipt, read_warnings(known.warnings), repeat=True)
    claims = {
        "message": known.address,
        "digest": signed.digest,
        "stored_digest": known.digest,
        "at": clock.text(hub.now()),
        "rule": "conflict",
    }
    refusal = jws.sign_claims(claims, hub.key, typ=jws.TYP_REFUSAL)
    return Conflict(Fault("/header/id", "conflict", found=known.address), refusal=refusal)


def write_warnings(warnings: Iterable[Fault]) -> str:
    return json.dumps(
        [[w.pointer, w.rule, w.found, list(w.allowed), dict(w.more)] for w in warnings], ensure_ascii=False
    )


def read_warnings(text: str) -> tuple[Fault, ...]:
    return tuple(Fault(p, r, f, tuple(a), m) for p, r, f, a, m in json.loads(text))


def matched_recipients(envelope: Envelope, rules: dict[str, str], registry: Registry) -> list[Recipient]:
    """Whose queues a message enters by its own release and the filters: one delivery per matching subscription."""
    named = {m: duties for m, duties in envelope.release.to.items() if m in rules} if envelope.release else {}
    found = []
    for match in registry.index.match(envelope.attributes, rules, named):
        s = registry.subscriptions[match.subscription]
        found.append(
            Recipient(s.id, s.member, rules[s.member], entitlement.duties(s.member, envelope.release), match.clause)
        )
    return found


def inbox_recipients(
    envelope: Envelope, rules: dict[str, str], registry: Registry, reached: set[str]
) -> list[Recipient]:
    """The inbox is the last resort: for members named in `to` whom no other queue of theirs reaches."""
    named = envelope.release.to if envelope.release else {}
    return [
        Recipient(registry.inboxes[m].id, m, rules[m], duties, None)
        for m, duties in named.items()
        if m in rules and m not in reached and m in registry.inboxes
    ]


def correction_target(envelope: Envelope, known: Mapping[str, Known]) -> Known | None:
    """The version that this message corrects, among `known`. Raises NotLatest, ChainWithdrawn, Invalid."""
    member = "supersedes" if envelope.supersedes else "withdraws"
    address = envelope.supersedes or envelope.withdraws
    if address is None:
        return None
    at = f"/header/{member}"
    if not address.startswith(envelope.originator + ":"):  # answered without a look: nobody learns what others have
        raise Invalid(Fault(at, "correction-of-another", found=address))
    target = known.get(address)
    if target is None:
        raise NotLatest(Fault(at, "correction-of-unknown", found=address))
    if target.withdrawn_by is not None or target.withdraws:
        raise ChainWithdrawn(Fault(at, "chain-withdrawn", found=address))
    if target.superseded_by is not None:
        raise NotLatest(Fault(at, "not-the-latest", found=address))
    faults = [
        Fault(f"/header/{name}", "correction-differs", found=mine, allowed=(theirs,))
        for name, mine, theirs in (("kind", envelope.kind, target.kind), ("status", envelope.status, target.status))
        if mine != theirs
    ]
    if faults:
        raise Invalid(*faults)
    return target


def addresses_in(envelope: Envelope) -> list[tuple[str, str]]:
    """(originator, id) of the message and of what it corrects: what must be known to decide about it."""
    named = [envelope.address, *filter(None, (envelope.supersedes, envelope.withdraws))]
    return [(originator, id) for originator, _, id in (address.partition(":") for address in named)]


@dataclass
class Batch:
    """The state of one accepting transaction."""

    c: AsyncConnection
    hub: Hub
    registry: Registry
    now: datetime
    position: int
    known: dict[str, Known]
    held: quotations.Held
    """What the items quote, as it was when the batch began."""
    events: list[dict[str, Any]] = field(default_factory=list)
    _messages: list[dict[str, Any]] = field(default_factory=list)
    _audience: list[dict[str, Any]] = field(default_factory=list)
    _identifiers: list[dict[str, Any]] = field(default_factory=list)
    _deliveries: list[dict[str, Any]] = field(default_factory=list)
    _changed: set[str] = field(default_factory=set)
    """Originators of what was accepted in this very batch."""

    @staticmethod
    async def begin(c: AsyncConnection, hub: Hub, items: Sequence[Prepared]) -> Batch:
        """Take the head lock (`accepting` has taken the registry's) and load what the items speak of."""
        position, version = await head.lock(c)
        registry = await hub.registry(c, version)
        wanted = [address for item in items for address in addresses_in(item.envelope)]
        known = await ledger_messages.known(c, wanted)
        held = await quotations.held(c, (item.envelope for item in items))
        return Batch(c, hub, registry, hub.now(), position, known, held)

    async def take(self, item: Prepared) -> Outcome:
        """Decide one message and collect its rows; the outcome counts once the transaction has committed."""
        already = self.known.get(item.envelope.address)
        outcome = known_outcome(self.hub, item.signed, already) if already else None
        if isinstance(outcome, Accepted):
            return outcome
        try:
            verify.check_clock_and_key(item.signed, self.registry, self.now)
            return outcome or await self._accept(item.envelope, item.traceparent)
        except BrokerError as refused:
            return refused

    async def _accept(self, envelope: Envelope, traceparent: str | None) -> Accepted:
        faults, warnings = entitlement.release_faults(envelope, self.registry, self.now)
        if faults:
            raise ReleaseRefused(*faults)
        target = correction_target(envelope, self.known)
        if faults := await self._quotation_faults(envelope):
            raise Invalid(*faults)
        rules = entitlement.entitled(envelope, self.registry, self.now)
        if envelope.release is not None and not rules:
            warnings.append(Fault("/header/handling/release", "nobody"))
        recipients = matched_recipients(envelope, rules, self.registry)
        notified: dict[str, list[str]] = {}
        if target is not None:
            await self.flush()  # what came earlier in this very batch must be seen below
            corrected, notified = await self._to_holders(envelope, target, rules, recipients)
            recipients += corrected
        recipients += inbox_recipients(envelope, rules, self.registry, {r.member for r in recipients})
        position = self.position + 1
        receipt = self.append(envelope, rules, recipients, (*envelope.warnings, *warnings), target, traceparent)
        if target is not None:
            await self._correct(envelope, target, position)
            for member, queues in notified.items():
                self._notify(envelope, member, queues)
        return Accepted(envelope.address, receipt, (*envelope.warnings, *warnings))

    async def _quotation_faults(self, envelope: Envelope) -> list[Fault]:
        if not envelope.quotations:
            return []
        held = self.held
        if any(address.partition(":")[0] in self._changed for address in quotations.named(envelope)):
            await self.flush()  # a line may quote an earlier one, or a consent that an earlier one withdrew
            held = await quotations.held(self.c, [envelope])
        return await quotations.faults(self.c, self.registry, held, envelope, self.now)

    async def _to_holders(
        self, envelope: Envelope, target: Known, rules: dict[str, str], recipients: list[Recipient]
    ) -> tuple[list[Recipient], dict[str, list[str]]]:
        """Promise 8: the correction's further deliveries, and member -> queues of who gets the notice instead.

        A correction goes to the very queues that carried an earlier version, whatever their filters say; an
        amendment also to queues where one still waits, lest somebody gets the old version alone: a suspended member,
        for whom it is held, finds the notice behind it. The inbox takes it where no queue of the member does. A
        withdrawal reaches every holder, entitled or not, suspended or not.
        """
        await ledger_messages.hold_still(self.c, target.chain, () if envelope.withdraws else rules)
        taken = {(r.member, r.queue) for r in recipients}
        reached = {r.member for r in recipients}
        further: list[Recipient] = []
        notified: dict[str, list[str]] = {}
        for member, carried in sorted((await ledger_messages.carried(self.c, target.chain)).items()):
            allowed = envelope.withdraws is not None or member in rules
            follows = envelope.withdraws is None and (allowed or self._held_back(envelope, member))
            if not carried.is_holder and not follows:
                continue
            queues = carried.handed | carried.waiting if follows else carried.handed
            alive = sorted(queue for queue in queues if queue in self.registry.queues)
            if not alive and member in self.registry.inboxes and not (allowed and member in reached):
                alive = [self.registry.inboxes[member].id]
            if not allowed:
                notified[member] = alive
                continue
            rule = rules.get(member, RULE_HOLDER)
            duties = entitlement.duties(member, envelope.release)
            further += [Recipient(q, member, rule, duties, None) for q in alive if (member, q) not in taken]
        return further, notified

    def _held_back(self, envelope: Envelope, member: str) -> bool:
        """The member is suspended, and would be entitled otherwise: what waits for it is handed over when it is back."""
        if envelope.release is None or self.registry.is_active(member):
            return False
        originator = envelope.originator
        rule = entitlement.would_admit(member, envelope.release, envelope.tlp, originator, self.registry, self.now)
        return rule is not None

    async def _correct(self, envelope: Envelope, target: Known, position: int) -> None:
        await self.flush()
        if envelope.withdraws:
            await ledger_messages.withdraw(self.c, target.chain, position)
            await ledger_deliveries.withdraw_chain(self.c, target.chain, self.now)
            for other in self.known.values():
                if other.chain == target.chain:
                    other.withdrawn_by = position
        else:
            target.superseded_by = position
            await ledger_messages.supersede(self.c, target.position, position)
            await lapses.lapse_chain(self.c, self.registry, target.chain, self.now)

    def _notify(self, envelope: Envelope, member: str, queues: list[str]) -> None:
        notice = notices.superseded(self.hub, member, envelope.supersedes or "", self.now)
        recipients = [Recipient(queue, member, RULE_NOTICE, ("information",), None) for queue in queues]
        self.append(notice, {member: RULE_NOTICE}, recipients, (), None)

    def append(
        self,
        envelope: Envelope,
        rules: dict[str, str],
        recipients: Sequence[Recipient],
        warnings: tuple[Fault, ...],
        target: Known | None,
        traceparent: str | None = None,
    ) -> str:
        """Collect the rows of one accepted message. Returns its receipt."""
        self.position += 1
        position = self.position
        chain = target.chain if target else position
        for recipient in recipients:
            rules.setdefault(recipient.member, recipient.rule)
        row, receipt = self._row(envelope, position, chain, recipients, warnings)
        self._messages.append(row | {"traceparent": traceparent})
        self._audience += [{"member": m, "position": position, "rule": rule} for m, rule in rules.items()]
        seen = dict.fromkeys((i.value[:64], i.scheme) for i in envelope.identifiers)
        self._identifiers += [{"position": position, "value": value, "scheme": scheme} for value, scheme in seen]
        self._deliveries += [
            ledger_deliveries.new_row(r.queue, position, r.member, r.rule, r.duties, r.clause, self.now)
            for r in recipients
        ]
        self._changed.add(envelope.originator)
        self.known[envelope.address] = Known(
            position=position, originator=envelope.originator, id=envelope.id, kind=envelope.kind, status=envelope.status,
            digest=envelope.digest, payload_digest=row["payload_digest"], receipt=receipt, warnings=row["warnings"],
            chain=chain, superseded_by=None, withdrawn_by=None, withdraws=envelope.withdraws is not None,
        )  # fmt: skip
        self.events.append(
            {
                "message": envelope.address,
                "kind": envelope.kind,
                "digest": envelope.digest,
                "deliveries": len(recipients),
            }
        )
        return receipt

    def _row(
        self,
        envelope: Envelope,
        position: int,
        chain: int,
        recipients: Sequence[Recipient],
        warnings: tuple[Fault, ...],
    ) -> tuple[dict[str, Any], str]:
        accepted_at = clock.text(self.now)
        salt, audience_salt = secrets.token_bytes(32), secrets.token_bytes(32)
        members = sorted({r.member for r in recipients})
        audience = hashlib.sha256(audience_salt + "".join(m + "\n" for m in members).encode()).digest()
        record = json.dumps(
            {"v": 1, "stage": "accepted", "message": envelope.address, "digest": envelope.digest, "at": accepted_at,
             "audience": jws.b64(audience)},
            separators=(",", ":"),
        ).encode()  # fmt: skip
        receipt = jws.sign_claims(
            {"message": envelope.address, "digest": envelope.digest, "accepted_at": accepted_at,
             "record": jws.b64(record), "salt": jws.b64(salt)},
            self.hub.key, typ=jws.TYP_RECEIPT,
        )  # fmt: skip
        release = envelope.header["handling"]["release"]
        row = {
            "position": position, "originator": envelope.originator, "id": envelope.id, "kind": envelope.kind,
            "version": envelope.header["version"], "status": envelope.status, "tlp": envelope.tlp,
            "heading": min(envelope.attributes.get("heading", ()), default=None),
            "event_at": envelope.event_at,
            "country": envelope.country,
            "completeness": envelope.completeness.score if envelope.completeness else None,
            "editions": json.dumps(dict(sorted(envelope.editions.items()))) if envelope.editions else None,
            "jws": envelope.compact, "digest": envelope.digest,
            "payload_digest": hashlib.sha256(envelope.payload).digest(), "accepted_at": self.now,
            "expires_at": envelope.expires_at, "acknowledge_by": envelope.acknowledge_by, "chain": chain,
            "superseded_by": None, "withdrawn_by": position if envelope.withdraws else None,
            "withdraws": envelope.withdraws is not None,
            "release": None if release is None else json.dumps(release),
            "warnings": write_warnings(warnings), "receipt": receipt, "record": record, "salt": salt,
            "audience_salt": audience_salt,
        }  # fmt: skip
        for instant in (envelope.expires_at, envelope.acknowledge_by):
            self.hub.alarm.at(instant)
        return row, receipt

    async def flush(self) -> None:
        """Write what was collected so far."""
        await ledger_messages.insert_rows(self.c, self._messages, self._audience, self._identifiers)
        await ledger_deliveries.insert_rows(self.c, self._deliveries)
        if self._messages:
            await ledger_messages.set_head(self.c, self.position)
            touch(self.c, {row["queue"] for row in self._deliveries})
        for rows in (self._messages, self._audience, self._identifiers, self._deliveries):
            rows.clear()
