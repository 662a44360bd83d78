"""Accepted, lost, duplicated, unexpected: what was seen against what the model says, when everything is quiet.

What cannot be known exactly (a registry that changed while a post was under way) is known as two sets: who must get
the message under every registry that may have held, and who may under one of them. Lost is

    1  a receipt without its message in the ledger
    2  somebody who must get a message and has no delivery of it
    3  a delivery, in whatever state but a tombstone, that its application never got
    4  a tombstone for which the model knows no reason

and unexpected is everything that must not be: another digest, a wrong queue, rule or duty, a gap in a sequence, first
offers out of order, somebody who sees what it may not (or no longer), an outdated version without its correction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.members import HUB
from tests.torture.evidence import Evidence, Place, Seen, Sent
from tests.torture.ledger import TOMBSTONES, Books
from tests.torture.people import People

FOR_EVER = float("inf")
STREAM_OPEN_SECONDS = 31
"""How long a stream is open at most, and a little more."""


@dataclass
class Judge:
    people: People
    evidence: Evidence
    books: Books
    lost: list[str] = field(default_factory=list)
    _versions: dict[str, list[Sent]] = field(default_factory=dict)
    """address -> every accepted version of its chain, oldest first."""
    _had: dict[Place, set[str]] = field(default_factory=dict)

    def judge(self) -> None:
        """Everything; the findings are in `lost` and in the evidence."""
        self._had = {place: {one.address for one in seen} for place, seen in self.evidence.seen.items()}
        self._find_chains()
        self._receipts()
        self._sequences()
        for one in self.evidence.sent.values():
            if one.answered:
                self._decided(one)
        for place, rows in self.books.deliveries.items():
            self._arrived(place, rows.keys())
        for place, seen in self.evidence.seen.items():
            self._seen(place, seen)
        for versions in {id(v): v for v in self._versions.values()}.values():
            self._last_word(versions)

    def _find_chains(self) -> None:
        for one in sorted(self.evidence.sent.values(), key=lambda one: one.answered):
            if one.answered:
                versions = self._versions.get(one.corrects or "", [])
                versions.append(one)
                self._versions[one.address] = versions

    def _surprise(self, sort: str, what: str) -> None:
        self.evidence.surprise(sort, what)

    # ── the ledger ──

    def _receipts(self) -> None:
        for one in self.evidence.sent.values():
            if not one.answered:
                continue
            stored = self.books.messages.get(one.address)
            if stored is None:
                self.lost.append(f"{one.address}: a receipt, and no message")
            elif stored != (one.digest, one.receipt):
                self._surprise("receipt", f"{one.address}: the ledger has another digest or receipt")
        for address in self.books.messages.keys() - self.evidence.sent.keys():
            if not address.startswith(f"{HUB}:"):
                self._surprise("unknown", f"{address} is in the ledger, and nobody posted it")
        for what in self.books.twice:
            self._surprise("twice", what)

    def _sequences(self) -> None:
        for place, rows in self.books.deliveries.items():
            numbers = sorted(row.sequence for row in rows.values())
            if numbers != list(range(1, self.books.last_sequence[place] + 1)):
                self._surprise("gap", f"{place}: {len(numbers)} deliveries up to {self.books.last_sequence[place]}")

    # ── who was decided for ──

    def _decided(self, one: Sent) -> None:
        """The ledger's deliveries of a message against the model's."""
        found = {
            (*place, row.rule, row.duties)
            for place, rows in self.books.deliveries.items()
            if (row := rows.get(one.address)) is not None
        }
        if one.withdraws:
            self._decided_for_holders(one, {member for member, *_ in found})
            return
        worlds = [self.people.deliveries(one.shape, n) for n in self.people.between(one.began, one.answered)]
        must, may = set.intersection(*worlds), set.union(*worlds)
        for delivery in must - found:
            self.lost.append(f"{one.address}: no delivery {delivery}, only {sorted(found)}")
        if one.corrects is None:
            for delivery in found - may:
                self._surprise("decided", f"{one.address}: {delivery}, allowed {sorted(may)}")
            return
        entitled = self._may_see(one)
        for member, queue, rule, _ in found - may:
            if member not in entitled:
                self._surprise("decided", f"{one.address}: an amendment for {member}/{queue} by {rule}")

    def _decided_for_holders(self, one: Sent, members: set[str]) -> None:
        earlier = {member for version in self._earlier(one) for member in self._may_see(version)}
        for member in members - earlier:
            self._surprise("decided", f"{one.address}: a withdrawal for {member}, who never held it")

    def _earlier(self, one: Sent) -> list[Sent]:
        versions = self._versions[one.address]
        return versions[: versions.index(one)]

    def _later(self, one: Sent) -> list[Sent]:
        versions = self._versions[one.address]
        return versions[versions.index(one) + 1 :]

    def _may_see(self, one: Sent, began: float | None = None, ended: float | None = None) -> set[str]:
        """Members entitled under some registry that may have held while it was posted, or in another span."""
        span = (one.began if began is None else began, one.answered if ended is None else ended)
        return {member for n in self.people.between(*span) for member in self.people.entitled(one.shape, n)}

    # ── what the applications got ──

    def _arrived(self, place: Place, addresses: Iterable[str]) -> None:
        had, rows = self._had.get(place, set()), self.books.deliveries[place]
        for address in addresses:
            if address in had:
                continue
            row, one = rows[address], self.evidence.sent.get(address)
            if row.state not in TOMBSTONES:
                self.lost.append(f"{address}: never came to {place}, sequence {row.sequence}, {row.state}")
            elif one is None or not self._lapsed(one, place[0]):
                self.lost.append(f"{address}: {row.state} for {place}, sequence {row.sequence}, for no reason")

    def _lapsed(self, one: Sent, member: str) -> bool:
        """Whether a right to the message may have ended before it was handed over. A suspension ends none."""
        later = self._later(one)
        if any(version.withdraws for version in later):
            return True
        return any(
            member not in self.people.entitled(version.shape, n, were_all_active=True)
            for version in (one, *later)
            for n in self.people.between(version.began, FOR_EVER)
        )

    def _seen(self, place: Place, seen: list[Seen]) -> None:
        rows = self.books.deliveries.get(place, {})
        last: Seen | None = None
        known: set[str] = set()
        for arrival in seen:
            first = arrival.first and arrival.address not in known  # a later copy may overtake one that was given up
            known.add(arrival.address)
            row = rows.get(arrival.address)
            if row is None or row.sequence != arrival.sequence:
                self._surprise("wrong queue", f"{arrival} at {place}, the ledger has {row}")
                continue
            if first and last is not None and arrival.sequence <= last.sequence:
                if self._was_streamed(place, arrival, last):
                    self.evidence.answers["offers taken back from a stream that broke"] += 1
                    continue
                self._surprise("order", f"{place}: first offered {self._shown(arrival)} after {self._shown(last)}")
            if first and (last is None or arrival.sequence > last.sequence):
                last = arrival
            if (one := self.evidence.sent.get(arrival.address)) is not None:
                self._allowed(place, one, arrival)

    def _was_streamed(self, place: Place, late: Seen, before: Seen) -> bool:
        """Whether a stream that broke may have been sent what is late, before its successors."""
        posted = self.evidence.sent[late.address].began if late.address in self.evidence.sent else 0.0
        asked = self.evidence.broken_streams.get(place, [])
        return any(posted - STREAM_OPEN_SECONDS <= moment <= before.at for moment in asked)

    def _shown(self, arrival: Seen) -> str:
        began = self.evidence.began
        return f"{arrival.sequence} (asked for at {arrival.asked - began:.2f} s, came at {arrival.at - began:.2f} s)"

    def _allowed(self, place: Place, one: Sent, arrival: Seen) -> None:
        """Exact bytes, to somebody who may see them: when it was accepted, and when it was handed over."""
        member = place[0]
        if arrival.digest != one.digest:
            self._surprise("bytes", f"{one.address} at {place}: {arrival.digest} instead of {one.digest}")
        if one.withdraws:
            return
        if member not in self._may_see(one):
            self._surprise("not entitled", f"{one.address} at {place}")
        versions = [one, *self._later(one)]
        known = [version for version in versions if version.answered <= arrival.asked]
        deciding = versions[versions.index(known[-1]) if known else 0 :]
        if deciding[0].withdraws:
            if place not in self.people.amqp_names:  # what is in RabbitMQ cannot be taken back
                self._surprise("withdrawn", f"{one.address} at {place}, {self._shown(arrival)}")
        elif not any(
            version.withdraws or member in self._may_see(version, arrival.asked, arrival.at)
            for version in deciding
            if version.began <= arrival.at
        ):
            told = f"{one.address} at {place}, {self._shown(arrival)}, by {[self._told(v, member) for v in versions]}"
            self._surprise("no longer entitled", told)

    # ── corrections ──

    def _last_word(self, versions: list[Sent]) -> None:
        """Who got an earlier version got the last one, or was told that it may not see it."""
        last = versions[-1]
        if len(versions) == 1:
            return
        got: dict[str, set[str]] = defaultdict(set)
        for (member, _), had in self._had.items():
            got[member] |= had
        addresses = {version.address for version in versions}
        for member, had in got.items():
            if last.address in had or not had & addresses:
                continue
            if not last.withdraws and any(
                self.books.notices.get(a) in addresses for a in had if a.startswith(f"{HUB}:")
            ):
                continue
            if any(self._tombstoned(last, place) for place in self.books.deliveries if place[0] == member):
                self.evidence.answers["corrections revoked from a holder of what they correct"] += 1
                continue  # it left the group before it was handed the correction
            self._surprise(
                "outdated", f"{member} lacks the last of: {'; '.join(self._told(v, member) for v in versions)}"
            )

    def _tombstoned(self, one: Sent, place: Place) -> bool:
        row = self.books.deliveries[place].get(one.address)
        return row is not None and row.state in TOMBSTONES and self._lapsed(one, place[0])

    def _told(self, one: Sent, member: str) -> str:
        """A version as far as one member is concerned, for an error message."""
        began = self.evidence.began
        rows = {
            name: rows[one.address].state
            for (m, name), rows in self.books.deliveries.items()
            if m == member and one.address in rows
        }
        came = [
            f"{seen.at - began:.2f}"
            for (m, _), all in self.evidence.seen.items()
            if m == member
            for seen in all
            if seen.address == one.address
        ]
        rights = [member in self.people.entitled(one.shape, n) for n in self.people.between(one.began, one.answered)]
        return f"{one.address} posted {one.began - began:.2f} to {one.answered - began:.2f}, entitled {rights}, {rows}, came {came}"
