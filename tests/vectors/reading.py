"""Our strict reading of a JWS, put to tokens that are not ours: all of `jws.read` but what only our tokens have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from broker import jws, strictjson
from broker.errors import BrokerError, SignatureRefused

OURS_ALONE = {"header-members", "typ", "kid"}
"""Rules that no stranger's token fulfils: exactly our header members, a `typ` of ours, a thumbprint as `kid`."""


def load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def believed(token: str, key: object) -> bool:
    """True if the token would be believed under that public key, were its header members ours."""
    try:
        jwk = jws.import_public(key)
        jws.verify(_read(token.encode("utf-8")), jwk)
    except BrokerError:
        return False
    return True


def _read(token: bytes) -> jws.Unverified:
    compact = jws.from_flattened(token) if token.lstrip()[:1] == b"{" else token
    try:
        return jws.read(compact, typ=jws.TYP_RECEIPT)
    except SignatureRefused as refused:
        if not {fault.rule for fault in refused.faults} <= OURS_ALONE:
            raise
    protected, payload, _ = compact.decode("ascii").split(".")
    header = strictjson.parse_object(jws.unb64(protected), max_bytes=jws.MAX_HEADER_BYTES, max_depth=2)
    return jws.Unverified(compact.decode("ascii"), header["alg"], "", "", None, jws.unb64(payload))


def public(key: dict[str, Any]) -> dict[str, Any]:
    """Without the private part, which we refuse wherever it turns up."""
    return {name: value for name, value in key.items() if name != "d"}
