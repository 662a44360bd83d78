"""Who exists, with which keys, in which groups; and what a key may do at a given moment.

Values and rules only. `Registry` is one consistent snapshot of what the ledger holds, named by its version:
every decision is taken against a snapshot whose version was read inside the deciding transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from broker import jws
from broker.errors import Fault, Invalid, KeyRefused, Malformed, SignatureRefused, quote
from broker.routing import Filter, Index

MemberType = Literal["customs", "rilo", "partner", "hub"]
HUB = "hub"
ECHO = "ECHO"
INBOX = "inbox"
OPERATOR_PREFIX = "operator:"

MEMBER_ID = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
OPERATOR_NAME = re.compile(r"operator:[a-z][a-z0-9.-]{0,31}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Groups, subscriptions."""

ROTATION_OVERLAP = timedelta(days=1)
"""How long the old key still signs after a rotation: a queue of messages already signed can be posted."""


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    type: MemberType
    name: str
    active: bool
    rilo: str | None = None
    """The liaison office that it reports through, and that may know the quality of its reports."""


@dataclass(frozen=True, slots=True)
class Key:
    """`owner` is a member id or `operator:NAME`; the window is [not_before, not_after]; revoked_at ends it at once."""

    kid: str
    owner: str
    use: Literal["sign"]
    jwk: Mapping[str, str]
    not_before: datetime
    not_after: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """active, revoked, expired or future, as people see it."""
        if self.revoked_at is not None:
            return "revoked"
        if self.not_after is not None and now > self.not_after:
            return "expired"
        return "future" if now < self.not_before else "active"


@dataclass(frozen=True, slots=True)
class Group:
    """A closed user group; an operation has a start and an end (either may be open)."""

    name: str
    owner: str | None
    members: frozenset[str]
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def holds(self, member: str, now: datetime) -> bool:
        """True if `member` is in and the group runs at `now`."""
        running = (self.starts_at is None or now >= self.starts_at) and (self.ends_at is None or now < self.ends_at)
        return running and member in self.members


@dataclass(frozen=True, slots=True)
class Subscription:
    """A standing filter with its queue. `id` is 16 random hex digits: it names the queue in delivery ids."""

    id: str
    member: str
    name: str
    delivery: Literal["amqp", "pull", "stream"]
    filter: Filter
    amqp_name: str | None = None


@dataclass(frozen=True)
class Registry:
    version: int
    members: Mapping[str, Member]
    keys: Mapping[str, Key]
    groups: Mapping[str, Group]
    subscriptions: tuple[Subscription, ...] = ()
    inboxes: Mapping[str, Subscription] = field(default_factory=dict)

    @cached_property
    def index(self) -> Index:
        """Filters of all subscriptions but the inboxes, compiled once per version."""
        return Index([(s.member, s.filter) for s in self.subscriptions])

    @cached_property
    def queues(self) -> Mapping[str, Subscription]:
        """Every subscription, inboxes included, by id."""
        return {s.id: s for s in (*self.subscriptions, *self.inboxes.values())}

    def is_active(self, member: str) -> bool:
        found = self.members.get(member)
        return found is not None and found.active

    def queue(self, member: str, name: str) -> Subscription | None:
        """The member's queue of that name."""
        if name == INBOX:
            return self.inboxes.get(member)
        return next((s for s in self.subscriptions if s.member == member and s.name == name), None)


def check_may_sign(key: Key | None, *, signed_at: datetime, now: datetime) -> Key:
    """The key, if it may sign at `now` something signed at `signed_at`. Raises KeyRefused.

    Promise 6: a revoked key signs nothing from the moment of revocation, whatever time a signature claims.
    """
    if key is None:
        raise KeyRefused(Fault("/kid", "key-unknown"))
    if key.revoked_at is not None:
        raise KeyRefused(Fault("/kid", "key-revoked", found=key.kid))
    if key.not_after is not None and (now > key.not_after or signed_at > key.not_after):
        raise KeyRefused(Fault("/kid", "key-expired", found=key.kid))
    if signed_at < key.not_before - timedelta(minutes=5) or now < key.not_before:
        raise KeyRefused(Fault("/kid", "key-not-yet", found=key.kid))
    return key


def fingerprint(kid: str) -> str:
    """What two people compare by voice: the first 128 bits of the thumbprint, 8 groups of 4 hex digits."""
    digits = jws.unb64(kid)[:16].hex()
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A public key that its holder asks to have enrolled; `rotates` names the old key that vouches for it."""

    owner: str
    jwk: Mapping[str, str]
    kid: str
    rotates: str | None = None


def make_key_request(owner: str, key: jws.PrivateKey, at: str) -> str:
    """tw-key-request: signed by the very key it carries, so that nobody can enrol a key he does not hold."""
    return jws.sign_claims(
        {"member": owner, "use": "sign", "jwk": jws.public_jwk(key), "at": at}, key, typ=jws.TYP_KEY_REQUEST
    )


def make_key_rotation(owner: str, old: jws.PrivateKey, new: jws.PrivateKey, at: str) -> str:
    """tw-key-rotation: the old key signs the new key's own request."""
    return jws.sign_claims(
        {"member": owner, "request": make_key_request(owner, new, at), "at": at}, old, typ=jws.TYP_KEY_ROTATION
    )


def read_key_request(token: bytes) -> KeyRequest:
    """Check a tw-key-request. Raises Malformed, SignatureRefused or Invalid.

    Not checked: that the person who sent it is the member; that is what the voice and the fingerprint are for.
    """
    request = jws.read(token.strip(), typ=jws.TYP_KEY_REQUEST)
    claims = jws.claims(request)
    _expect(claims, {"member", "use", "jwk", "at"})
    jwk = jws.import_public(claims["jwk"])
    if jws.thumbprint(jwk) != request.kid:
        raise SignatureRefused(Fault("/kid", "kid-not-of-key"))
    jws.verify(request, jwk)
    owner = claims["member"]
    if not isinstance(owner, str) or not (MEMBER_ID.fullmatch(owner) or OPERATOR_NAME.fullmatch(owner)):
        raise Invalid(Fault("/member", "pattern", found=quote(owner)))
    if claims["use"] != "sign":
        raise Invalid(Fault("/use", "enum", found=quote(claims["use"]), allowed=("sign",)))
    return KeyRequest(owner, jwk, request.kid)


def read_key_rotation(token: bytes, registry: Registry, now: datetime) -> KeyRequest:
    """Check a tw-key-rotation: the inner request, and the signature of an active key of the same owner."""
    outer = jws.read(token.strip(), typ=jws.TYP_KEY_ROTATION)
    claims = jws.claims(outer)
    _expect(claims, {"member", "request", "at"})
    old = check_may_sign(registry.keys.get(outer.kid), signed_at=now, now=now)
    jws.verify(outer, old.jwk)
    if not isinstance(claims["request"], str):
        raise Malformed(Fault("/request", "type", allowed=("string",)))
    inner = read_key_request(claims["request"].encode("ascii", "replace"))
    if not old.owner == inner.owner == claims["member"]:
        raise KeyRefused(Fault("/member", "key-of-another-member", found=quote(claims["member"])))
    return KeyRequest(inner.owner, inner.jwk, inner.kid, rotates=old.kid)


def _expect(claims: Mapping[str, Any], names: set[str]) -> None:
    if claims.keys() != names:
        raise Invalid(Fault("", "claims", found=quote(", ".join(sorted(claims))), allowed=tuple(sorted(names))))
