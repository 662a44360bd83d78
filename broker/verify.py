"""Octets to a believed Envelope, as numbered steps. The page a security reviewer reads first.

    1. size, then strict parse of token, header and payload          read_message
    2. signature, by a key that the registry binds to the originator   who_signed
    3. (the caller) is it a repeat? answered before anything below      submit.py asks the ledger
    4. clock and key window                                            check_clock_and_key
    5. header, schema of kind and version, identifiers, code lists, rules   check_content
    6. (the caller, inside its transaction) steps 4 again, the release, entitlement   submit.py, entitlement.py

Limits come before parsing, parsing before cryptography, cryptography before the database.
Each step raises one BrokerError with every fault of that step; a later step may rely on the earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker import jws, strictjson
from broker.envelope import MESSAGE_AHEAD_SECONDS, MESSAGE_BEHIND_SECONDS, Envelope, Release
from broker.errors import ClockRefused, Fault, Invalid, KeyRefused, Malformed, MemberSuspended, SignatureRefused, quote
from broker.language.kinds import Language
from broker.members import OPERATOR_PREFIX, Key, Registry, check_may_sign
from broker.routing import Attributes


@dataclass(frozen=True, slots=True)
class Parsed:
    """Step 1 done: well formed, signed by nobody yet. `claims` is the payload as JSON."""

    token: jws.Unverified
    claims: dict[str, Any]
    originator: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Signed:
    """Step 2 done: the originator's own signature holds; whether that key may still sign is step 4."""

    token: jws.Unverified
    claims: dict[str, Any]
    originator: str
    id: str | None
    key: Key
    digest: str


def read_message(compact: bytes) -> Parsed:
    """Step 1. Raises TooLarge, Malformed, SignatureRefused (header members, alg, kid, typ, iat)."""
    token = jws.read(compact, typ=jws.TYP_MESSAGE)
    claims = strictjson.parse_object(token.payload, max_bytes=jws.MAX_TOKEN_BYTES)
    header = claims.get("header")
    if not isinstance(header, dict) or not isinstance(header.get("originator"), str):
        raise Malformed(Fault("/header/originator", "required"))
    identifier = header.get("id")
    return Parsed(token, claims, header["originator"], identifier if isinstance(identifier, str) else None)


def who_signed(parsed: Parsed, registry: Registry) -> Signed:
    """Step 2. An unknown `kid` and a bad signature are SignatureRefused; another member's good key is KeyRefused.

    Deliberately not checked: whether the key is expired or revoked. A repeat is answered even so (promise 3).
    """
    key = registry.keys.get(parsed.token.kid)
    if key is None:
        raise SignatureRefused(Fault("/kid", "key-unknown", found=parsed.token.kid))
    jws.verify(parsed.token, key.jwk)
    if key.owner != parsed.originator:
        raise KeyRefused(Fault("/header/originator", "key-of-another-member", found=quote(parsed.originator)))
    if key.use != "sign":
        raise KeyRefused(Fault("/kid", "key-use", found=key.use, allowed=("sign",)))
    if key.owner.startswith(OPERATOR_PREFIX):  # an operator asks for tokens; it has nothing to say to members
        raise KeyRefused(Fault("/kid", "key-use", found="operators", allowed=("members",)))
    return Signed(parsed.token, parsed.claims, parsed.originator, parsed.id, key, jws.digest(parsed.token.compact))


def check_clock_and_key(signed: Signed, registry: Registry, now: datetime) -> None:
    """Step 4. Raises KeyRefused, MemberSuspended, ClockRefused. Cheap, and done again inside the transaction."""
    assert signed.token.iat is not None
    signed_at = datetime.fromtimestamp(signed.token.iat, UTC)
    check_may_sign(registry.keys.get(signed.token.kid), signed_at=signed_at, now=now)
    if not registry.is_active(signed.originator):
        raise MemberSuspended(Fault("/header/originator", "member-suspended", found=signed.originator))
    ahead = signed.token.iat - now.timestamp()
    if ahead > MESSAGE_AHEAD_SECONDS:
        raise ClockRefused(
            Fault("/iat", "iat-ahead", found=str(signed.token.iat), allowed=(f"+{MESSAGE_AHEAD_SECONDS} s",))
        )
    if -ahead > MESSAGE_BEHIND_SECONDS:
        raise ClockRefused(
            Fault("/iat", "iat-behind", found=str(signed.token.iat), allowed=(f"-{MESSAGE_BEHIND_SECONDS} s",))
        )


def check_content(signed: Signed, language: Language, now: datetime) -> Envelope:
    """Step 5. Raises Invalid with every fault of the header, else of the body's schema, else of lists and rules."""
    return read_content(signed.claims, language, now, token=signed.token, digest=signed.digest)


def read_content(
    claims: dict[str, Any], language: Language, now: datetime, *, token: jws.Unverified | None = None, digest: str = ""
) -> Envelope:
    """Step 5 for a payload, signed or (in a check of a draft) not."""
    faults = language.check_header(claims)
    if faults:
        raise Invalid(*faults)
    reading = language.read_body(claims, now=now)
    if reading.faults:
        raise Invalid(*reading.faults)
    header = claims["header"]
    release = header["handling"]["release"]
    return Envelope(
        compact=token.compact if token else "",
        digest=digest,
        payload=token.payload if token else b"",
        kid=token.kid if token else "",
        iat=(token.iat or 0) if token else 0,
        header=header,
        body=claims["body"],
        release=None if release is None else Release.read(release),
        attributes=_attributes(header, reading.attributes),
        identifiers=reading.identifiers,
        warnings=reading.warnings,
        editions=reading.editions,
        country=reading.country,
        completeness=reading.completeness,
        quotations=reading.quotations,
    )


def _attributes(header: dict[str, Any], from_body: Attributes) -> Attributes:
    release = header["handling"]["release"] or {}
    own = {
        "kind": frozenset([header["kind"]]),
        "status": frozenset([header["status"]]),
        "priority": frozenset(filter(None, [header.get("priority")])),
        "tlp": frozenset([header["handling"]["tlp"]]),
        "originator": frozenset([header["originator"]]),
        "group": frozenset(release.get("groups") or ()),
    }
    return {**from_body, **own}
