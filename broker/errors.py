"""Every refusal the broker can utter, one tree; each class carries its `code` and HTTP status.

    BrokerError
    ├── Malformed              400  the octets are not what they claim to be (JSON, JWS, form)
    ├── TooLarge               413  over a stated size, told before anything is parsed
    ├── WrongMediaType         415
    ├── SignatureRefused       401  nobody we know signed this
    ├── KeyRefused             403  a known key that may not sign (now): expired, revoked, wrong use
    ├── ClockRefused           422  signing time too far ahead or behind
    ├── MemberSuspended        403
    ├── Invalid                422  header, schema, code lists, rules
    ├── ReleaseRefused         422  the release cannot be granted as marked
    ├── Conflict               409  same address, other content (carries a signed refusal)
    ├── NotLatest              409  a correction of an outdated or unknown version
    ├── ChainWithdrawn         409  a correction of something withdrawn
    ├── StaleLease             409
    ├── StateMovesBack         409  an acknowledgement that would take back an earlier one
    ├── NotFound               404  absent, or not for the caller: never told apart
    ├── NotAllowed             405
    ├── TokenRefused           401  the access token or client assertion does not hold
    ├── ScopeRefused           403  a good token at the wrong door
    ├── AlreadyThere           409  an administrative name that is taken
    ├── RegistryRefused        409  an administrative change that the state does not allow
    ├── TooMany                429  more than one caller may ask in a time, or have open; when to come again
    ├── TooSlow                408  the body did not come in time
    ├── Busy                   503  the process has as much in hand as it may; nothing was accepted
    ├── LedgerAway             503  nothing can be accepted; try again
    │   └── Held                    another transaction has what was to be taken; in a moment it has not
    ├── WireRefused            (start-up only) RabbitMQ is not set up as we need it
    └── SetupRefused           (start-up only) settings, keys or migrations are not as we need them

Deliberately not here: what a refusal reads like. `broker/phrases/` has the sentences, by `code` and `rule`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FOUND_MAX_CHARACTERS = 80
"""What was found is quoted at most this long: an error is an explanation, not an echo."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong (or, among warnings, doubtful).

    `pointer` is an RFC 6901 JSON Pointer into the object examined ("" = the whole);
    `rule` names the rule and keys the sentence in `broker/phrases/`;
    `found` is a short quotation; `allowed` lists what would do; `more` fills the sentence's other gaps.
    """

    pointer: str
    rule: str
    found: str | None = None
    allowed: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)


def quote(value: object) -> str:
    """`value` as it may stand in a Fault: text, at most FOUND_MAX_CHARACTERS long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= FOUND_MAX_CHARACTERS else text[: FOUND_MAX_CHARACTERS - 1] + "…"


class BrokerError(Exception):
    """Root of the tree. `faults` is every fault of the step that failed, never only the first."""

    code = "internal"
    status = 500

    def __init__(self, *faults: Fault, detail: str | None = None, retry_after: int | None = None, **extra: object):
        super().__init__(detail or "; ".join(f"{f.pointer or '/'}: {f.rule}" for f in faults) or self.code)
        self.faults: Sequence[Fault] = faults
        self.detail = detail
        self.retry_after_seconds = retry_after
        self.extra: Mapping[str, object] = extra  # further problem members, e.g. `refusal`

    @property
    def rule(self) -> str:
        """The first fault's rule, or the code: what a log line or a metric says."""
        return self.faults[0].rule if self.faults else self.code


class Malformed(BrokerError):
    code, status = "malformed", 400


class TooLarge(BrokerError):
    code, status = "too-large", 413


class WrongMediaType(BrokerError):
    code, status = "media-type", 415


class SignatureRefused(BrokerError):
    code, status = "signature", 401


class KeyRefused(BrokerError):
    code, status = "key", 403


class ClockRefused(BrokerError):
    code, status = "signing-time", 422


class MemberSuspended(BrokerError):
    code, status = "member-suspended", 403


class Invalid(BrokerError):
    code, status = "invalid", 422


class ReleaseRefused(BrokerError):
    code, status = "release", 422


class Conflict(BrokerError):
    code, status = "conflict", 409


class NotLatest(BrokerError):
    code, status = "not-latest", 409


class ChainWithdrawn(BrokerError):
    code, status = "withdrawn", 409


class StaleLease(BrokerError):
    code, status = "stale-lease", 409


class StateMovesBack(BrokerError):
    code, status = "state-moves-back", 409


class NotFound(BrokerError):
    code, status = "not-found", 404


class NotAllowed(BrokerError):
    code, status = "not-allowed", 405


class TokenRefused(BrokerError):
    code, status = "token", 401


class ScopeRefused(BrokerError):
    code, status = "scope", 403


class AlreadyThere(BrokerError):
    code, status = "already-there", 409


class RegistryRefused(BrokerError):
    code, status = "registry", 409


class TooMany(BrokerError):
    code, status = "too-many", 429


class TooSlow(BrokerError):
    code, status = "too-slow", 408


class Busy(BrokerError):
    code, status = "busy", 503


class LedgerAway(BrokerError):
    code, status = "ledger-away", 503


class Held(LedgerAway):
    code = "held"


class WireRefused(BrokerError):
    code, status = "wire", 500


class SetupRefused(BrokerError):
    code, status = "setup", 500
