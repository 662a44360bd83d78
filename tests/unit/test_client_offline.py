"""Evidence holds without network, and falls with any single character of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker import clock, jws, keyfiles, offline
from broker.client import sign
from broker.errors import BrokerError, KeyRefused, Malformed, SignatureRefused
from broker.members import fingerprint

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEYS = {"hub": keyfiles.generate(), "CL": keyfiles.generate("ES256"), "PE": keyfiles.generate()}
PAYLOAD = {"header": {"id": "2026-1", "kind": "seizure", "originator": "CL"}, "body": {"text": "contrabando"}}
MESSAGE = sign(PAYLOAD, KEYS["CL"], int(NOW.timestamp()))
SALT = bytes(range(32))


def directory(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """As the hub answers; `changes` to the key of a member."""

    def key(owner: str) -> dict[str, Any]:
        jwk = jws.public_jwk(KEYS[owner])
        shown = {"kid": jws.thumbprint(jwk), "use": "sign", "jwk": jwk, "state": "active",
                 "not_before": "2026-01-01T00:00:00.000Z", "not_after": None, "revoked_at": None}  # fmt: skip
        return shown | dict(changes.get(owner, {}))

    return {"hub": "https://hub", "members": [{"id": owner, "type": "customs", "keys": [key(owner)]} for owner in KEYS]}


def receipt(message: str = MESSAGE, signer: str = "hub", changes: Mapping[str, Any] | None = None) -> str:
    """As the hub signs it; `changes` to the record."""
    at, digest = clock.text(NOW), jws.digest(message)
    audience = jws.b64(hashlib.sha256(SALT + b"PE\n").digest())
    record = {"v": 1, "stage": "accepted", "message": "CL:2026-1", "digest": digest, "at": at, "audience": audience}
    claims = {"message": "CL:2026-1", "digest": digest, "accepted_at": at,
              "record": jws.b64(json.dumps(record | dict(changes or {})).encode()), "salt": jws.b64(SALT)}  # fmt: skip
    return jws.sign_claims(claims, KEYS[signer], typ=jws.TYP_RECEIPT)


DIRECTORY = offline.keys_of(directory())


def holds(receipt_: str, message: str, keys: offline.Keys = DIRECTORY) -> bool:
    return all(check.holds for check in offline.verify_receipt(receipt_, message, keys))


def test_a_receipt_and_its_message_hold() -> None:
    """Five checks, each with what was found."""
    checks = offline.verify_receipt(receipt(), MESSAGE + "\n", DIRECTORY)

    assert [check.holds for check in checks] == [True] * 5


def test_one_character_changed_anywhere_in_the_message_fails() -> None:
    """Each position, one other letter of the alphabet: stray bits of the last letter included."""
    good = receipt()
    for position, letter in enumerate(MESSAGE):
        other = "A" if letter != "A" else "B"
        assert not holds(good, MESSAGE[:position] + other + MESSAGE[position + 1 :]), position


def test_one_character_changed_anywhere_in_the_receipt_fails() -> None:
    good = receipt()
    for position, letter in enumerate(good):
        for other in ("A" if letter != "A" else "B", chr(ord(letter) ^ 1)):
            assert not holds(good[:position] + other + good[position + 1 :], MESSAGE), (position, other)


def test_a_receipt_by_another_member_fails() -> None:
    """Only the hub signs receipts, however good the key."""
    assert not holds(receipt(signer="PE"), MESSAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"stage": "sent"},
        {"message": "CL:2"},
        {"digest": "A" * 43},
        {"at": "2026-11-20T12:00:01Z"},
        {"audience": "AA"},
    ],
)
def test_a_record_that_says_something_else_fails(change: dict[str, Any]) -> None:
    checks = offline.verify_receipt(receipt(changes=change), MESSAGE, DIRECTORY)

    assert [check.holds for check in checks] == [True, True, False, True, True]


def test_a_receipt_for_another_signature_over_the_same_payload_fails() -> None:
    """The digest is over the compact JWS: ES256 signs differently each time."""
    again = sign(PAYLOAD, KEYS["CL"], int(NOW.timestamp()))

    assert jws.digest(again) != jws.digest(MESSAGE)
    assert not holds(receipt(), again)


def test_a_message_of_another_originator_is_not_believed() -> None:
    """PE's good key does not speak for CL."""
    with pytest.raises(KeyRefused):
        offline.verify_message(sign(PAYLOAD, KEYS["PE"], int(NOW.timestamp())), DIRECTORY)


def test_what_was_signed_before_a_revocation_stays_verifiable() -> None:
    """Promise 6: and nothing after it, whatever time the receipt or the signature claims."""
    later, earlier = (clock.text(NOW + timedelta(hours=hours)) for hours in (1, -1))

    assert holds(receipt(), MESSAGE, offline.keys_of(directory(CL={"revoked_at": later})))
    assert not holds(receipt(), MESSAGE, offline.keys_of(directory(CL={"revoked_at": earlier})))
    assert not holds(receipt(), MESSAGE, offline.keys_of(directory(hub={"revoked_at": earlier})))
    backdated = sign(PAYLOAD, KEYS["CL"], int((NOW - timedelta(days=2)).timestamp()))
    assert not holds(receipt(backdated), backdated, offline.keys_of(directory(CL={"revoked_at": earlier})))


def test_a_key_outside_its_window_signs_nothing() -> None:
    for change in (
        {"not_after": clock.text(NOW - timedelta(hours=1))},
        {"not_before": clock.text(NOW + timedelta(hours=1))},
    ):
        with pytest.raises(KeyRefused):
            offline.verify_message(MESSAGE, offline.keys_of(directory(CL=change)))


def test_an_unknown_key_is_told_by_name() -> None:
    """So that the client can look into a fresh directory."""
    with pytest.raises(SignatureRefused) as refused:
        offline.verify_message(MESSAGE, {})
    assert refused.value.rule == "key-unknown"


def test_a_directory_that_calls_a_key_by_another_name_is_refused() -> None:
    """A kid is its key's thumbprint; anything else is forged or damaged."""
    with pytest.raises(Malformed):
        offline.keys_of(directory(CL={"kid": "A" * 43}))


@pytest.mark.parametrize("octets", [b"", b"[]", b"{}", b'{"members": 1}', b'{"members": [{"id": "CL", "keys": [{}]}]}'])
def test_what_is_no_directory_is_refused(octets: bytes) -> None:
    with pytest.raises(BrokerError):
        offline.read_directory(octets)


def test_the_audience_that_the_hub_committed_itself_to_can_be_opened() -> None:
    """By the originator, who gets the salt; anybody else's list does not fit."""
    read = offline.read_receipt(receipt(), DIRECTORY)

    assert offline.check_audience(read, ["PE"], SALT)
    assert not offline.check_audience(read, ["PE", "AR"], SALT)
    assert not offline.check_audience(read, ["PE"], bytes(32))


def test_a_fingerprint_is_read_out_in_groups_of_four() -> None:
    kid = jws.thumbprint(jws.public_jwk(KEYS["CL"]))

    assert [len(group) for group in fingerprint(kid).split(" ")] == [4] * 8
