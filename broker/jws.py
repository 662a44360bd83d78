"""JSON Web Signatures as this broker uses them: compact, three header members, one `typ` per signed object.

The strict reading (ours) comes first and fixes everything an attacker may play with: base64url without padding or
stray bits (RFC 7515 §2), no duplicate or extra header member (§4), a closed table of algorithms bound to the key
(RFC 8725 §3.1), an explicit `typ` (RFC 8725 §3.11). The arithmetic is joserfc's and OpenSSL's.

Not checked here: whether the key may sign (members.py), and what the payload says (verify.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joserfc import jws as joserfc_jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from broker import strictjson
from broker.errors import Fault, Malformed, SignatureRefused, TooLarge, quote

MAX_HEADER_BYTES = 512
MAX_TOKEN_BYTES = 262_144
"""A whole signed object in compact form. Larger is refused before anything is decoded."""

TYP_MESSAGE = "tw-message"
TYP_RECEIPT = "tw-receipt"
TYP_REFUSAL = "tw-refusal"
TYP_ACKNOWLEDGEMENT = "tw-acknowledgement"
TYP_KEY_REQUEST = "tw-key-request"
TYP_KEY_ROTATION = "tw-key-rotation"
TYP_CLIENT_AUTHENTICATION = "client-authentication+jwt"
TYP_ACCESS_TOKEN = "at+jwt"  # noqa: S105 - a media type (RFC 9068 §2.1), not a secret

ALGORITHMS_OF = {"Ed25519": ("Ed25519", "EdDSA"), "P-256": ("ES256",)}
"""Which `alg` a key of a curve may use; the first is the one we write (RFC 9864 §2.2, RFC 7518 §3.4)."""

END_OF_TIME = 253_402_300_800
"""Seconds of the year 10000: the first `iat` that is no moment."""

_FIELD = 2**255 - 19
_SMALL_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
    )
)
"""y of the points of order 1, 2, 4 and 8 (RFC 8032 §5.1.2, RFC 7748 §7): such a key signs anything without a secret,
so that its owner could deny whatever it signed."""

_KID = re.compile(r"[A-Za-z0-9_-]{43}")
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*")

# RFC 9864 deprecates the name; keys and libraries in the field still write it, and we accept it for Ed25519 keys.
warnings.filterwarnings("ignore", message="EdDSA is deprecated")

_registry = joserfc_jws.JWSRegistry(algorithms=["Ed25519", "EdDSA", "ES256"], strict_check_header=False)
_registry.max_payload_length = MAX_TOKEN_BYTES

PrivateKey = OKPKey | ECKey


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that is well formed; nobody has checked the signature. `compact` is ASCII."""

    compact: str
    alg: str
    kid: str
    typ: str
    iat: int | None
    payload: bytes


def b64(octets: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text: str | bytes) -> bytes:
    """Strict inverse of `b64`. Raises Malformed (rule `base64url`) for padding, other letters or stray bits."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    if not _BASE64URL.fullmatch(raw):
        raise Malformed(Fault("", "base64url"))
    try:
        octets = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        raise Malformed(Fault("", "base64url")) from None
    if base64.urlsafe_b64encode(octets).rstrip(b"=") != raw:
        raise Malformed(Fault("", "base64url"))
    return octets


def digest(compact: str) -> str:
    """base64url SHA-256 of the compact JWS, signature included: low-entropy reports must not be guessable."""
    return b64(hashlib.sha256(compact.encode("ascii")).digest())


def read(token: bytes, *, typ: str, max_bytes: int = MAX_TOKEN_BYTES) -> Unverified:
    """Read a compact JWS strictly (RFC 7515 §5.2 steps 1 to 6) and expect exactly our header.

    Raises TooLarge, Malformed (rules `compact-form`, `base64url`, and those of strictjson), or SignatureRefused
    (rules `header-members`, `alg`, `kid`, `typ`, `iat`) with every header fault.
    """
    if len(token) > max_bytes:
        raise TooLarge(Fault("", "too-large", found=str(len(token)), allowed=(str(max_bytes),)))
    parts = token.split(b".")
    if len(parts) != 3 or not all(parts):
        raise Malformed(Fault("", "compact-form"))
    header = strictjson.parse_object(unb64(parts[0]), max_bytes=MAX_HEADER_BYTES, max_depth=2)
    payload = unb64(parts[1])
    unb64(parts[2])

    expected = {"alg", "kid", "typ", "iat"} if typ == TYP_MESSAGE else {"alg", "kid", "typ"}
    faults = []
    if header.keys() != expected:
        faults.append(
            Fault("", "header-members", found=quote(", ".join(sorted(header))), allowed=tuple(sorted(expected)))
        )
    alg, kid, iat = header.get("alg"), header.get("kid"), header.get("iat")
    if alg not in ("Ed25519", "EdDSA", "ES256"):
        faults.append(Fault("/alg", "alg", found=quote(alg), allowed=("Ed25519", "ES256")))
    if header.get("typ") != typ:
        faults.append(Fault("/typ", "typ", found=quote(header.get("typ")), allowed=(typ,)))
    if not (isinstance(kid, str) and _KID.fullmatch(kid)):
        faults.append(Fault("/kid", "kid", found=quote(kid)))
    if "iat" in expected and (type(iat) is not int or not 0 <= iat < END_OF_TIME):
        faults.append(Fault("/iat", "iat", found=quote(iat)))
    if faults:
        raise SignatureRefused(*faults)
    assert isinstance(alg, str)
    assert isinstance(kid, str)
    return Unverified(token.decode("ascii"), alg, kid, typ, iat, payload)


def from_flattened(octets: bytes, *, max_bytes: int = MAX_TOKEN_BYTES) -> bytes:
    """The compact form of a flattened JWS JSON object (RFC 7515 §7.2.2) without unprotected header."""
    return compact_of(strictjson.parse_object(octets, max_bytes=max_bytes, max_depth=2))


def compact_of(flattened: Mapping[str, Any]) -> bytes:
    """As `from_flattened`, from the parsed object."""
    if flattened.keys() != {"protected", "payload", "signature"} or not all(
        isinstance(v, str) for v in flattened.values()
    ):
        raise Malformed(
            Fault(
                "",
                "flattened-members",
                found=quote(", ".join(flattened)),
                allowed=("payload", "protected", "signature"),
            )
        )
    return ".".join((flattened["protected"], flattened["payload"], flattened["signature"])).encode("ascii", "replace")


def verify(token: Unverified, jwk: Mapping[str, str]) -> None:
    """Check the signature with the public key `jwk` (RFC 7515 §5.2 step 8). Raises SignatureRefused.

    Fails when `alg` is not one that this very key may use, whatever the token says.
    """
    if token.alg not in ALGORITHMS_OF.get(jwk.get("crv", ""), ()):
        raise SignatureRefused(
            Fault("/alg", "alg-of-key", found=token.alg, allowed=ALGORITHMS_OF.get(jwk.get("crv", ""), ()))
        )
    try:
        joserfc_jws.deserialize_compact(token.compact, _public(jwk["crv"], jwk["x"], jwk.get("y")), registry=_registry)
    except (JoseError, ValueError):
        raise SignatureRefused(Fault("", "signature")) from None


@lru_cache(maxsize=4096)
def _public(crv: str, x: str, y: str | None) -> PrivateKey:
    if crv == "Ed25519":
        return OKPKey.import_key({"kty": "OKP", "crv": crv, "x": x})
    return ECKey.import_key({"kty": "EC", "crv": crv, "x": x, "y": y or ""})


def import_public(jwk: object) -> dict[str, str]:
    """A public JWK reduced to its required members (RFC 7638 §3.2), checked to be a key we can use.

    Raises Malformed (rule `jwk`) for private parts, other curves, points off the curve, points under which anybody's
    signature holds, padded values, and for a key that says of itself that it is for something else.
    """
    wanted = {"Ed25519": ("crv", "kty", "x"), "P-256": ("crv", "kty", "x", "y")}
    if not isinstance(jwk, dict) or str(jwk.get("crv")) not in wanted or "d" in jwk:
        raise Malformed(Fault("/jwk", "jwk", allowed=tuple(wanted)))
    reduced = {name: jwk.get(name) for name in wanted[jwk["crv"]]}
    try:
        for name in ("x", "y"):
            if name in reduced and len(unb64(str(reduced[name]))) != 32:
                raise Malformed(Fault("/jwk", "jwk", allowed=tuple(wanted)))
        if reduced["kty"] != ("OKP" if jwk["crv"] == "Ed25519" else "EC") or not _is_for_us(jwk):
            raise Malformed(Fault("/jwk", "jwk", allowed=tuple(wanted)))
        _public(reduced["crv"], str(reduced["x"]), reduced.get("y")).get_op_key("verify")
    except (JoseError, ValueError, TypeError):
        raise Malformed(Fault("/jwk", "jwk", allowed=tuple(wanted))) from None
    return {name: str(value) for name, value in reduced.items()}


def _is_for_us(jwk: Mapping[str, Any]) -> bool:
    """`use`, `key_ops` and `alg` (RFC 7517 §4.2 to §4.4), where given, say signing; and an Ed25519 point signs alone."""
    says = (jwk.get("use", "sig"), "verify" in jwk.get("key_ops", ["verify"]))
    algorithms = ALGORITHMS_OF[jwk["crv"]]
    if says != ("sig", True) or jwk.get("alg", algorithms[0]) not in algorithms:
        return False
    if jwk["crv"] != "Ed25519":
        return True
    y = int.from_bytes(unb64(str(jwk["x"])), "little") & (2**255 - 1)
    return y < _FIELD and y not in _SMALL_ORDER


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The `kid`: RFC 7638 §3, SHA-256, base64url."""
    names = ("crv", "kty", "x") if jwk["kty"] == "OKP" else ("crv", "kty", "x", "y")
    canonical = json.dumps({n: jwk[n] for n in names}, separators=(",", ":"), sort_keys=True)
    return b64(hashlib.sha256(canonical.encode()).digest())


def public_jwk(key: PrivateKey) -> dict[str, str]:
    """The public half of `key` as a JWK with its required members only."""
    return import_public({k: v for k, v in key.as_dict(private=False).items() if k in ("crv", "kty", "x", "y")})


def sign(payload: bytes, key: PrivateKey, *, typ: str, iat: int | None = None) -> str:
    """A compact JWS over `payload`, octet for octet. `iat` (integer seconds) goes with tw-message alone."""
    jwk = public_jwk(key)
    header: dict[str, Any] = {"alg": ALGORITHMS_OF[jwk["crv"]][0], "kid": thumbprint(jwk), "typ": typ}
    if typ == TYP_MESSAGE:
        header["iat"] = iat
    return joserfc_jws.serialize_compact(header, payload, key, registry=_registry)


def sign_claims(claims: Mapping[str, Any], key: PrivateKey, *, typ: str, iat: int | None = None) -> str:
    """`sign` over the compact JSON of `claims` (UTF-8)."""
    return sign(json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode(), key, typ=typ, iat=iat)


def claims(token: Unverified) -> dict[str, Any]:
    """The payload as a JSON object. Raises Malformed."""
    return strictjson.parse_object(token.payload, max_bytes=MAX_TOKEN_BYTES)
