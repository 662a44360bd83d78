"""What an attacker has: any header over any octets under any key; and how a refusal is looked at from all sides.

`untouched` is the frame of every attack: whatever was tried, the hub holds as many messages as before.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import func, select

from broker import jws
from broker.api.problems import TYPE
from broker.ledger import tables as t
from tests.region import Region

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def header_of(key: jws.PrivateKey, typ: str = jws.TYP_MESSAGE, **changes: Any) -> dict[str, Any]:
    """The honest protected header of `key` without `iat`, changed; a change to None leaves the member out."""
    jwk = jws.public_jwk(key)
    honest = {"alg": jws.ALGORITHMS_OF[jwk["crv"]][0], "kid": jws.thumbprint(jwk), "typ": typ}
    return {name: value for name, value in (honest | changes).items() if value is not None}


def octets_of(value: Mapping[str, Any] | bytes) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def token(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, key: jws.PrivateKey) -> str:
    """A compact JWS with a signature that truly holds, whatever the header says."""
    signed = f"{jws.b64(octets_of(header))}.{jws.b64(octets_of(payload))}"
    return f"{signed}.{jws.b64(_signature(signed.encode(), key))}"


def _signature(octets: bytes, key: jws.PrivateKey) -> bytes:
    private = key.private_key
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(octets)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(octets, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def mac(header: Mapping[str, Any], payload: Mapping[str, Any], secret: bytes) -> str:
    """The old confusion: an HMAC whose secret is what everybody knows, the public key."""
    signed = f"{jws.b64(octets_of(header))}.{jws.b64(octets_of(payload))}"
    return f"{signed}.{jws.b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def malleated(compact: str) -> str:
    """The other ES256 signature over the same octets: (r, n - s)."""
    signed, _, signature = compact.rpartition(".")
    raw = jws.unb64(signature)
    other = P256_ORDER - int.from_bytes(raw[32:], "big")
    return f"{signed}.{jws.b64(raw[:32] + other.to_bytes(32, 'big'))}"


def flattened(compact: str) -> dict[str, str]:
    protected, payload, signature = compact.split(".")
    return {"protected": protected, "payload": payload, "signature": signature}


def refused(
    answer: httpx2.Response, status: int, code: str, rule: str | None = None, pointer: str | None = None
) -> dict[str, Any]:
    """The problem, which is exactly this one, among whose errors are this rule and pointer."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == TYPE + code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    _holds(problem, rule, pointer)
    return problem


def _holds(problem: Mapping[str, Any], rule: str | None, pointer: str | None) -> None:
    found = [(e["rule"], e["pointer"]) for e in problem.get("errors", ())]
    if rule is not None:
        assert any(r == rule and pointer in (None, p) for r, p in found), found
    for error in problem.get("errors", ()):
        assert error["detail"], error
        assert not error["detail"].startswith("rule."), error


def same_but_for_the_request(*answers: httpx2.Response) -> bool:
    """Byte for byte the same answer, apart from the request id and the trace."""
    shown = set()
    for answer in answers:
        body = answer.content.replace(answer.headers["x-request-id"].encode(), b"")
        headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "traceparent")}
        shown.add((answer.status_code, body, tuple(sorted(headers.items()))))
    return len(shown) == 1


async def messages(here: Region) -> int:
    async with here.hub.ledger.reading() as c:
        return int((await c.execute(select(func.count()).select_from(t.messages))).scalar_one())


async def refusals(here: Region) -> list[tuple[str, str, str]]:
    """(member, code, rule) of every refusal kept, oldest first."""
    r = t.refusals.c
    async with here.hub.ledger.reading() as c:
        return [tuple(row) for row in await c.execute(select(r.member, r.code, r.rule).order_by(r.number))]


@asynccontextmanager
async def untouched(here: Region, kept: int | None = None) -> AsyncIterator[None]:
    """As many messages afterwards as before; and `kept` refusals more, where that is said."""
    before, before_kept = await messages(here), len(await refusals(here))
    yield

    assert await messages(here) == before
    if kept is not None:
        assert len(await refusals(here)) == before_kept + kept


async def everything_kept(here: Region) -> str:
    """All text and octets of all tables, with every part of every signed object decoded: for looking for a word."""
    found: list[str] = []
    async with here.hub.ledger.reading() as c:
        for table in t.metadata.sorted_tables:
            for row in await c.execute(select(table)):
                for value in row:
                    if isinstance(value, bytes):
                        found.append(value.decode("utf-8", "replace"))
                    elif isinstance(value, str):
                        found += [value, *_decoded(value)]
    return "\n".join(found)


def _decoded(text: str) -> list[str]:
    parts = text.split(".") if text.count(".") == 2 else []
    return [jws.unb64(part).decode("utf-8", "replace") for part in parts if part.isascii() and _is_base64url(part)]


def _is_base64url(part: str) -> bool:
    return all(ch.isalnum() or ch in "-_" for ch in part) and len(part) % 4 != 1 and jws.b64(_lenient(part)) == part


def _lenient(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
