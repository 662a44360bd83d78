"""Access tokens: client assertions in (RFC 7523, private_key_jwt), short-lived signed tokens out (RFC 9068).

A token names the key that asked for it, so that revoking the key ends the token at once. It opens one door (scope).
Not checked here: that a `jti` is used once; the ledger does that in `api/auth.py`'s transaction.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from broker import jws
from broker.errors import BrokerError, Fault, ScopeRefused, TokenRefused, quote
from broker.members import OPERATOR_PREFIX, Key, Registry, check_may_sign

Scope = Literal["api", "amqp", "admin"]
SCOPES: tuple[Scope, ...] = ("api", "amqp", "admin")

ASSERTION_SECONDS = 300
"""A client assertion may expire at most this far ahead: it bounds how long its jti is remembered."""
TOKEN_SECONDS = 900
SKEW_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Assertion:
    """`expires_at`: from then on it is refused, skew included, and its `jti` may be forgotten."""

    owner: str
    kid: str
    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands at the door: a member id or `operator:NAME`, by which key, for which door, until when."""

    owner: str
    kid: str
    scope: Scope
    expires_at: datetime

    def check(self, registry: Registry, now: datetime) -> None:
        """Still welcome? Token not expired, key neither revoked nor expired, member active. Raises TokenRefused."""
        if now >= self.expires_at:
            raise TokenRefused(Fault("/exp", "token-expired"))
        _check_key(registry.keys.get(self.kid), self.owner, registry, now)


def _check_key(key: Key | None, owner: str, registry: Registry, now: datetime) -> None:
    try:
        check_may_sign(key, signed_at=now, now=now)
    except BrokerError as error:
        raise TokenRefused(*error.faults) from None
    assert key is not None
    if key.owner != owner:
        raise TokenRefused(Fault("/sub", "key-of-another-member", found=quote(owner)))
    if not owner.startswith(OPERATOR_PREFIX) and not registry.is_active(owner):
        raise TokenRefused(Fault("/sub", "member-suspended", found=owner))


def make_assertion(owner: str, key: jws.PrivateKey, audience: str, now: datetime) -> str:
    """What a client sends as `client_assertion`: iss = sub = itself, aud = the hub, one-use jti, five minutes at most."""
    claims = {
        "iss": owner,
        "sub": owner,
        "aud": audience,
        "exp": int(now.timestamp()) + ASSERTION_SECONDS - 60,
        "jti": secrets.token_urlsafe(16),
    }
    return jws.sign_claims(claims, key, typ=jws.TYP_CLIENT_AUTHENTICATION)


def read_assertion(token: bytes, registry: Registry, audience: str, now: datetime) -> Assertion:
    """Check a client assertion (RFC 7523 §3). Raises TokenRefused whatever is wrong: 401, never a hint who exists."""
    try:
        assertion = jws.read(token, typ=jws.TYP_CLIENT_AUTHENTICATION, max_bytes=4096)
        claims = jws.claims(assertion)
        key = registry.keys.get(assertion.kid)
        if key is None:
            raise TokenRefused(Fault("/kid", "key-unknown"))
        jws.verify(assertion, key.jwk)
    except TokenRefused:
        raise
    except BrokerError as error:
        raise TokenRefused(*error.faults) from None
    faults = []
    if not {"iss", "sub", "aud", "exp", "jti"} <= claims.keys() <= {"iss", "sub", "aud", "exp", "jti", "iat", "nbf"}:
        faults.append(
            Fault("", "claims", found=quote(", ".join(sorted(claims))), allowed=("iss", "sub", "aud", "exp", "jti"))
        )
    if claims.get("iss") != claims.get("sub") or not isinstance(claims.get("sub"), str):
        faults.append(Fault("/iss", "iss-is-sub"))
    if claims.get("aud") != audience:  # a list is refused too: one audience alone (RFC 7523bis)
        faults.append(Fault("/aud", "audience", found=quote(claims.get("aud")), allowed=(audience,)))
    expires, jti = claims.get("exp"), claims.get("jti")
    if (
        type(expires) is not int
        or not now.timestamp() - SKEW_SECONDS < expires <= now.timestamp() + ASSERTION_SECONDS + SKEW_SECONDS
    ):
        faults.append(Fault("/exp", "assertion-expiry", found=quote(expires), allowed=(f"{ASSERTION_SECONDS} s",)))
    not_before = claims.get("nbf", 0)
    if type(not_before) not in (int, float) or not_before > now.timestamp() + SKEW_SECONDS:
        faults.append(Fault("/nbf", "assertion-expiry", found=quote(not_before)))
    if not isinstance(jti, str) or not 8 <= len(jti) <= 128 or "\0" in jti:
        faults.append(Fault("/jti", "jti", found=quote(jti), allowed=("8..128 characters",)))
    if faults:
        raise TokenRefused(*faults)
    _check_key(key, claims["sub"], registry, now)
    assert isinstance(jti, str)
    return Assertion(claims["sub"], assertion.kid, jti, datetime.fromtimestamp(claims["exp"] + SKEW_SECONDS, UTC))


def issue(assertion: Assertion, scope: Scope, hub_key: jws.PrivateKey, audience: str, now: datetime) -> str:
    """A token for one door. Raises ScopeRefused: `admin` is for operators, the other two for members."""
    is_operator = assertion.owner.startswith(OPERATOR_PREFIX)
    if is_operator != (scope == "admin"):
        raise ScopeRefused(
            Fault("/scope", "scope-of-caller", found=scope, allowed=("admin",) if is_operator else ("api", "amqp"))
        )
    claims = {
        "iss": audience,
        "sub": assertion.owner,
        "aud": audience,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=TOKEN_SECONDS)).timestamp()),
        "jti": secrets.token_urlsafe(9),
        "scope": scope,
        "key": assertion.kid,
    }
    return jws.sign_claims(claims, hub_key, typ=jws.TYP_ACCESS_TOKEN)


def read_access(token: bytes, hub_jwk: dict[str, str], audience: str, now: datetime) -> Caller:
    """Check a token's signature and claims; `Caller.check` does the rest. Raises TokenRefused."""
    try:
        access = jws.read(token, typ=jws.TYP_ACCESS_TOKEN, max_bytes=2048)
        if access.kid != jws.thumbprint(hub_jwk):
            raise TokenRefused(Fault("/kid", "key-unknown"))
        jws.verify(access, hub_jwk)
        claims = jws.claims(access)
    except TokenRefused:
        raise
    except BrokerError as error:
        raise TokenRefused(*error.faults) from None
    if claims.get("aud") != audience or claims.get("iss") != audience:
        raise TokenRefused(Fault("/aud", "audience", allowed=(audience,)))
    caller = Caller(str(claims["sub"]), str(claims["key"]), claims["scope"], datetime.fromtimestamp(claims["exp"], UTC))
    if now >= caller.expires_at:
        raise TokenRefused(Fault("/exp", "token-expired"))
    return caller
