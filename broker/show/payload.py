"""The payload of a message that lies somewhere, signed or not. Nothing is verified here."""

from __future__ import annotations

from typing import Any

from broker import jws, strictjson


def read_payload(octets: bytes) -> dict[str, Any]:
    """The payload in a signed message (compact, flattened) or a payload itself. Raises Malformed, SignatureRefused.

    What begins like neither is read as JSON, and told so: people write payloads, programs write JWS. A compact JWS
    begins with `ey`: its header is JSON, too (RFC 7515 §3.1).
    """
    body = octets.strip()
    if not body.startswith(b"ey"):
        value = strictjson.parse_object(body, max_bytes=jws.MAX_TOKEN_BYTES)
        if value.keys() != {"protected", "payload", "signature"}:
            return value
        body = jws.compact_of(value)
    return jws.claims(jws.read(body, typ=jws.TYP_MESSAGE))
