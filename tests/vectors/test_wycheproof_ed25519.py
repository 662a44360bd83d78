"""Wycheproof's raw Ed25519 signatures: keys through our enrolment, signatures through the library that we trust."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker import jws
from tests.engines import need_testdata, testdata
from tests.vectors.reading import load

FILE = "vectors/wycheproof/ed25519_test.json"


def cases() -> list[tuple[int, str, str, dict[str, Any], bytes, bytes]]:
    path = testdata(FILE)
    if path is None:
        return []
    return [
        (case["tcId"], case["comment"], case["result"], group["publicKeyJwk"], bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
        for group in load(path)["testGroups"]
        for case in group["tests"]
    ]  # fmt: skip


def test_the_file_is_whole() -> None:
    need_testdata(FILE)

    assert len(cases()) == 151
    assert {result for _, _, result, *_ in cases()} == {"valid", "invalid"}


@pytest.mark.parametrize(
    ("result", "key", "message", "signature"),
    [pytest.param(r, k, m, s, id=f"{n}-{what}") for n, what, r, k, m, s in cases()],
)
def test_a_case(result: str, key: dict[str, Any], message: bytes, signature: bytes) -> None:
    """The key as we enrol it, the arithmetic as it is done below joserfc: OpenSSL's."""
    jwk = jws.import_public({name: value for name, value in key.items() if name != "kid"})
    public = Ed25519PublicKey.from_public_bytes(jws.unb64(jwk["x"]))
    held = True
    try:
        public.verify(signature, message)
    except InvalidSignature:
        held = False

    assert held == (result == "valid")
