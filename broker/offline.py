"""Checking evidence without network and without trust in any server: receipts, messages, and who signed them.

What is believed rests on a directory of keys (`GET /v1/members`, saved once and compared by voice), nothing else.
Each check is one line with its outcome; a check that rests on a failed one is not made up but fails too.

Not checked here: that the record is in the log (there is none yet), and that the schema was followed: the hub signed
that it accepted these very octets, and they are shown as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from broker import jws, strictjson
from broker.errors import BrokerError, Fault, Invalid, KeyRefused, Malformed, SignatureRefused, quote
from broker.members import HUB, Key

Keys = Mapping[str, Key]
"""kid -> Key, past and present, of every member of a directory."""

MAX_DIRECTORY_BYTES = 64_000_000
AHEAD = timedelta(minutes=5)
"""A signing time may lie this far before the key's window and after the acceptance: clocks differ."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a verification: what was checked, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The claims of a tw-receipt. `digest` is of the message as first accepted; `record` and `salt` make the leaf."""

    message: str
    digest: str
    accepted_at: datetime
    record: bytes
    salt: bytes
    kid: str
    compact: str


def keys_of(directory: object) -> Keys:
    """The keys of a directory answer. Raises Malformed if it is none, or if a kid is not its key's thumbprint."""
    try:
        assert isinstance(directory, Mapping)
        keys = [_key(member["id"], key) for member in directory["members"] for key in member["keys"]]
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
        detail = "This is not a directory of keys, as `tidewaiter directory` saves it."
        raise Malformed(Fault("", "directory"), detail=detail) from None
    found: dict[str, Key] = {}
    for key in keys:
        if jws.thumbprint(key.jwk) != key.kid or found.setdefault(key.kid, key) != key:
            detail = f"The directory calls a key {key.kid} that is another."
            raise Malformed(Fault("/members", "kid-not-of-key", found=key.kid), detail=detail)
    return found


def read_directory(octets: bytes) -> Keys:
    """`keys_of` a saved directory. Raises Malformed, TooLarge."""
    return keys_of(strictjson.parse(octets, max_bytes=MAX_DIRECTORY_BYTES))


def _key(owner: str, shown: Mapping[str, Any]) -> Key:
    def moment(name: str) -> datetime | None:
        return None if shown.get(name) is None else _moment(shown[name])

    starts = moment("not_before")
    assert starts is not None
    return Key(
        shown["kid"],
        owner,
        shown["use"],
        jws.import_public(shown["jwk"]),
        starts,
        moment("not_after"),
        moment("revoked_at"),
    )


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.astimezone(UTC)


def verify_message(compact: str | bytes, keys: Keys, *, accepted_at: datetime | None = None) -> dict[str, Any]:
    """The payload of a message, once its originator's signature holds.

        1. strictly formed, `typ` tw-message                      Malformed, TooLarge, SignatureRefused
        2. the kid is a signing key of the directory               SignatureRefused (rule key-unknown), KeyRefused
        3. the signature                                           SignatureRefused
        4. the key belongs to the header's originator              KeyRefused
        5. the signing time lies in the key's window, before its revocation   KeyRefused

    With `accepted_at` (from a receipt) step 5 asks that too to lie before the revocation, and `iat` not to be later.
    """
    token = jws.read(_ascii(compact).strip(), typ=jws.TYP_MESSAGE)
    key = _known(token, keys)
    payload = jws.claims(token)
    header = payload.get("header")
    originator = header.get("originator") if isinstance(header, dict) else None
    if key.owner != originator:
        raise KeyRefused(
            Fault("/header/originator", "key-of-another-member", found=quote(originator), allowed=(key.owner,))
        )
    assert token.iat is not None
    signed_at = datetime.fromtimestamp(token.iat, UTC)
    if accepted_at is not None and signed_at > accepted_at + AHEAD:
        raise Invalid(Fault("/iat", "iat-ahead", found=str(token.iat)))
    _in_window(key, signed_at)
    if accepted_at is not None:
        _in_window(key, accepted_at)
    return payload


def read_receipt(compact: str | bytes, keys: Keys | None) -> Receipt:
    """The receipt's claims; with `keys`, once the hub's signature holds. Raises Malformed, SignatureRefused, KeyRefused, Invalid."""
    token = jws.read(_ascii(compact).strip(), typ=jws.TYP_RECEIPT)
    claims = jws.claims(token)
    expected = {"message", "digest", "accepted_at", "record", "salt"}
    if claims.keys() != expected or not all(isinstance(value, str) for value in claims.values()):
        raise Invalid(Fault("", "claims", found=quote(", ".join(sorted(claims)))))
    try:
        accepted_at = _moment(claims["accepted_at"])
    except ValueError:
        raise Invalid(Fault("/accepted_at", "date-time", found=quote(claims["accepted_at"]))) from None
    record, salt = jws.unb64(claims["record"]), jws.unb64(claims["salt"])
    receipt = Receipt(claims["message"], claims["digest"], accepted_at, record, salt, token.kid, token.compact)
    if keys is not None:
        key = _known(token, keys)
        if key.owner != HUB:
            raise KeyRefused(Fault("/kid", "key-of-another-member", found=key.owner, allowed=(HUB,)))
        _in_window(key, accepted_at)
    return receipt


def _ascii(compact: str | bytes) -> bytes:
    return compact.encode("ascii", "replace") if isinstance(compact, str) else compact


def _known(token: jws.Unverified, keys: Keys) -> Key:
    key = keys.get(token.kid)
    if key is None:
        raise SignatureRefused(Fault("/kid", "key-unknown", found=token.kid))
    if key.use != "sign":
        raise KeyRefused(Fault("/kid", "key-use", found=key.use, allowed=("sign",)))
    jws.verify(token, key.jwk)
    return key


def _in_window(key: Key, at: datetime) -> None:
    if at < key.not_before - AHEAD:
        raise KeyRefused(Fault("/kid", "key-not-yet", found=key.kid))
    if key.not_after is not None and at > key.not_after:
        raise KeyRefused(Fault("/kid", "key-expired", found=key.kid))
    if key.revoked_at is not None and at >= key.revoked_at:
        raise KeyRefused(Fault("/kid", "key-revoked", found=key.kid))


def check_record(receipt: Receipt) -> str:
    """The record says what the receipt says, and the salt is whole. Returns the leaf's hash. Raises Malformed, Invalid."""
    record = strictjson.parse_object(receipt.record, max_bytes=4096, max_depth=2)
    at = record.get("at")
    agrees = {
        "/record/v": record.get("v") == 1,
        "/record/stage": record.get("stage") == "accepted",
        "/record/message": record.get("message") == receipt.message,
        "/record/digest": record.get("digest") == receipt.digest,
        "/record/at": isinstance(at, str) and _same_moment(at, receipt.accepted_at),
        "/record/audience": isinstance(record.get("audience"), str) and len(jws.unb64(record["audience"])) == 32,
        "/salt": len(receipt.salt) == 32,
    }
    faults = [Fault(pointer, "record-differs") for pointer, holds in agrees.items() if not holds]
    if faults:
        raise Invalid(*faults)
    return jws.b64(hashlib.sha256(receipt.salt + receipt.record).digest())


def _same_moment(text: str, moment: datetime) -> bool:
    try:
        return _moment(text) == moment
    except ValueError:
        return False


def check_audience(receipt: Receipt, members: Iterable[str], salt: bytes) -> bool:
    """Is this the audience the hub committed itself to? `members` had a delivery at acceptance; salt from `/audience`."""
    committed = strictjson.parse_object(receipt.record, max_bytes=4096, max_depth=2).get("audience")
    named = "".join(member + "\n" for member in sorted(set(members)))
    return committed == jws.b64(hashlib.sha256(salt + named.encode()).digest())


def verify_receipt(receipt: str | bytes, message: str | bytes, keys: Keys) -> list[Check]:
    """Everything that receipt, message and directory prove of each other, one Check each, in this order."""
    checks: list[Check] = []
    found: dict[str, Any] = {}

    def check(name: str, step: Callable[[], str]) -> None:
        try:
            checks.append(Check(name, True, step()))
        except BrokerError as error:
            checks.append(Check(name, False, error.rule))
        except KeyError:
            checks.append(Check(name, False, "cannot be said: an earlier check failed"))

    def hub() -> str:
        found["receipt"] = read_receipt(receipt, keys)
        return f"key {found['receipt'].kid}"

    def digest() -> str:
        mine = jws.digest(jws.read(_ascii(message).strip(), typ=jws.TYP_MESSAGE).compact)
        if found["receipt"].digest != mine:
            raise Invalid(Fault("/digest", "digest-differs", found=mine))
        return mine

    def originator() -> str:
        found["payload"] = verify_message(message, keys, accepted_at=found["receipt"].accepted_at)
        return str(found["payload"]["header"]["originator"])

    def address() -> str:
        header = found["payload"]["header"]
        mine = f"{header['originator']}:{header.get('id')}"
        if found["receipt"].message != mine:
            raise Invalid(
                Fault("/message", "acknowledges-another", found=quote(mine), allowed=(found["receipt"].message,))
            )
        return mine

    check("the hub signed this receipt", hub)
    check("the receipt is for these octets", digest)
    check("the record and its salt say the same", lambda: check_record(found["receipt"]))
    check("the originator signed the message", originator)
    check("receipt and message have one address", address)
    return checks


def unwrap_receipt(octets: bytes) -> bytes:
    """A receipt as it was saved: the compact JWS, or the JSON answer that carried it. Raises Malformed."""
    if octets.strip()[:1] != b"{":
        return octets
    held = strictjson.parse_object(octets, max_bytes=jws.MAX_TOKEN_BYTES).get("receipt")
    if not isinstance(held, str):
        raise Malformed(Fault("/receipt", "required"))
    return _ascii(held)


def audience_check(receipt: str | bytes, answer: bytes) -> Check:
    """`check_audience` with what `GET .../audience` said, as one more line."""
    name = "the hub committed itself to these recipients"
    try:
        said = strictjson.parse_object(answer, max_bytes=MAX_DIRECTORY_BYTES)
        delivered = [member["member"] for member in said["members"] if member["delivery"]]
        holds = check_audience(read_receipt(receipt, None), delivered, jws.unb64(str(said["audience_salt"])))
    except BrokerError as error:
        return Check(name, False, error.rule)
    except (KeyError, TypeError):
        return Check(name, False, "this is not an answer of /audience")
    return Check(name, holds, ", ".join(delivered) or "nobody")
