"""What a member signs besides messages: the acknowledgement. Pure, so that the client makes what the hub reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from broker import clock, jws

STATES = ("received", "read", "acted", "refused")
"""received < read < acted; `refused` (with a reason) may follow received or read; refused and acted are final."""


def make_acknowledgement(
    message: str, digest: str, state: str, key: jws.PrivateKey, now: datetime,
    *, reason: str | None = None, sequence: int | None = None,
) -> str:  # fmt: skip
    """A tw-acknowledgement. `digest` is over the compact JWS as it was received; `message` is its address."""
    claims: dict[str, Any] = {"message": message, "digest": digest, "at": clock.text(now), "state": state}
    if reason is not None:
        claims["reason"] = reason
    if sequence is not None:
        claims["sequence"] = sequence
    return jws.sign_claims(claims, key, typ=jws.TYP_ACKNOWLEDGEMENT)
