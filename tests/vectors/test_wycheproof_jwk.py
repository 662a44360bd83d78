"""Wycheproof's JWK cases, as keys that somebody wants enrolled: what is no usable key of ours is refused."""

from __future__ import annotations

from typing import Any

import pytest

from broker import jws
from broker.errors import Malformed
from tests.engines import need_testdata, testdata
from tests.vectors.reading import believed, load, public

FILE = "vectors/wycheproof/json_web_key_test.json"

NOT_OURS = {
    2: "HMAC: valid in a key set, but no key of ours is symmetric",
    5: "RSA: valid, but not among our algorithms",
    13: "HMAC",
    14: "HMAC",
    15: "HMAC",
}
"""Deviations: tcIds that are valid there and refused here, with the reason."""


def cases() -> list[tuple[int, str, str, list[dict[str, Any]], str]]:
    path = testdata(FILE)
    if path is None:
        return []
    return [
        (case["tcId"], f"{group['comment']}: {case['comment']}", case["result"], (group.get("public") or group["private"])["keys"],
         case["jws"])
        for group in load(path)["testGroups"]
        for case in group["tests"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "result", "keys", "token"),
    [pytest.param(n, r, k, t, id=f"{n}-{what}") for n, what, r, k, t in cases()],
)
def test_a_case(number: int, result: str, keys: list[dict[str, Any]], token: str) -> None:
    """We enrol one key at a time and know no key sets: a case holds if any of its keys is enrolled and believed."""
    held = any(believed(token, public(key)) for key in keys)

    assert held == (result == "valid" and number not in NOT_OURS)


def test_every_deviation_is_a_valid_case() -> None:
    need_testdata(FILE)

    assert len(cases()) == 26
    assert {n for n, _, result, _, _ in cases() if result == "valid"} == NOT_OURS.keys()


GOOD = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.mark.parametrize(
    "more",
    [{}, {"use": "sig"}, {"alg": "EdDSA"}, {"alg": "Ed25519"}, {"key_ops": ["verify"]}, {"kid": "x", "ext": True}],
)
def test_what_a_key_says_of_itself_may_fit(more: dict[str, Any]) -> None:
    """Reduced to its required members, so that one key has one thumbprint (RFC 8037 appendix A.3)."""
    assert jws.import_public(GOOD | more) == GOOD
    assert jws.thumbprint(GOOD) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"use": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
        {"key_ops": 1},
        {"alg": "ES256"},
        {"alg": "HS256"},
        {"alg": ["Ed25519"]},
        {"kty": "EC"},
        {"kty": "oct"},
        {"crv": "X25519"},
        {"crv": "Ed448"},
        {"crv": ["Ed25519"]},
        {"crv": None},
        {"x": ""},
        {"x": GOOD["x"] + "="},
        {"x": GOOD["x"][:-1]},
        {"x": GOOD["x"] + "AA"},
        {"x": None},
        {"x": 1},
        {"x": GOOD["x"].replace("_", "/")},
        {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
        {"d": None},
    ],
    ids=str,
)
def test_what_a_key_says_of_itself_may_not_fit(change: dict[str, Any]) -> None:
    """Another use, another curve, a private part, another spelling of the same octets."""
    with pytest.raises(Malformed):
        jws.import_public(GOOD | change)


@pytest.mark.parametrize("value", [None, [], "x", 1, {}, [GOOD], {"keys": [GOOD]}])
def test_what_is_no_key(value: object) -> None:
    with pytest.raises(Malformed):
        jws.import_public(value)


@pytest.mark.parametrize("sign", [0, 128])
@pytest.mark.parametrize(
    "y",
    ["00" * 32, "01" + "00" * 31, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f",
     "ee" + "ff" * 30 + "7f", "f0" + "ff" * 30 + "7f", "ff" * 31 + "7f"],
)  # fmt: skip
def test_a_key_that_signs_anything_is_no_key(y: str, sign: int) -> None:
    """Points of small order, and other spellings of a point: under the first, R = A and S = 0 are a signature."""
    octets = bytearray.fromhex(y)
    octets[31] |= sign
    with pytest.raises(Malformed):
        jws.import_public(GOOD | {"x": jws.b64(bytes(octets))})
