"""Wycheproof's JWS cases: those with an algorithm of ours as they say, all others refused whatever they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines import need_testdata, testdata
from tests.vectors.reading import believed, load, public

FILE = "vectors/wycheproof/json_web_signature_test.json"

DEVIATIONS: dict[int, str] = {}
"""tcId -> why we decide otherwise than the vector says, for keys of our two curves. There is none."""


def cases() -> list[tuple[int, str, str, dict[str, Any], str]]:
    path = testdata(FILE)
    if path is None:
        return []
    return [
        (case["tcId"], f"{group['comment']}: {case['comment']}", case["result"], public(group.get("public") or group["private"]),
         case["jws"] if isinstance(case["jws"], str) else json.dumps(case["jws"]))
        for group in load(path)["testGroups"]
        for case in group["tests"]
    ]  # fmt: skip


def is_ours(key: dict[str, Any]) -> bool:
    return key.get("crv") in ("P-256", "Ed25519")


def test_the_file_is_whole() -> None:
    need_testdata(FILE)

    assert len(cases()) == 401
    assert sum(is_ours(key) for _, _, _, key, _ in cases()) == 41
    assert sum(is_ours(key) and result == "valid" for _, _, result, key, _ in cases()) == 2


@pytest.mark.parametrize(
    ("number", "result", "key", "token"),
    [pytest.param(n, r, k, t, id=f"{n}-{what}") for n, what, r, k, t in cases() if is_ours(k)],
)
def test_a_case_of_our_algorithms(number: int, result: str, key: dict[str, Any], token: str) -> None:
    """Valid is believed, invalid is not: strict parse and library together."""
    assert believed(token, key) == (result == "valid" and number not in DEVIATIONS)


def test_no_other_algorithm_is_ever_believed() -> None:
    """HMAC and RSA: valid elsewhere, nothing here. The table of algorithms is closed."""
    need_testdata(FILE)

    assert [n for n, _, _, key, token in cases() if not is_ours(key) and believed(token, key)] == []


def test_no_case_is_believed_under_a_key_of_ours() -> None:
    """Every token of the file, valid ones of other keys included, under the file's own EC key."""
    path: Path = need_testdata(FILE)
    key = next(k for _, what, _, k, _ in cases() if what.startswith("es256"))
    good = {n for n, _, r, k, _ in cases() if k.get("x") == key["x"] and r == "valid"}
    found = {n for n, _, _, _, token in cases() if believed(token, key)}

    assert path.exists()
    assert found - good <= {
        354,
        356,
    }  # good signatures by this very key, called a key for encrypting in their own group
