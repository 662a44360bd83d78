"""The payload of a message that lies somewhere, signed or not. Nothing is verified here."""

from __future__ import annotations

from typing import Any

from broker import jws, strictjson


def read_payload(octets: bytes) -> dict[str, Any]:
    """The payload in a signed message (compact, flattened) or a payload itself. Raises Malformed, SignatureRefused."""
    body = octets.strip()
    if body[:1] == b"{":
        value = strictjson.parse_object(body, max_bytes=jws.MAX_TOKEN_BYTES)
        if value.keys() != {"protected", "payload", "signature"}:
            return value
        body = jws.compact_of(value)
    return jws.claims(jws.read(body, typ=jws.TYP_MESSAGE))
