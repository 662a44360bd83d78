"""The JOSE cookbook's signatures: byte for byte where the algorithm is ours, refused where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws as joserfc_jws
from joserfc.jwk import OKPKey

from broker import jws
from broker.errors import BrokerError
from tests.engines import need_testdata, testdata
from tests.vectors.reading import believed, load, public

FOLDER = "vectors/jose-cookbook"


def examples() -> list[tuple[str, dict[str, Any]]]:
    folder = testdata(FOLDER) or Path("/nowhere")
    paths = [*folder.glob("jws/*.json"), *folder.glob("rfc7797/*.json"), *folder.glob("curve25519/jws.json")]
    return [(path.stem, load(path)) for path in sorted(paths)]


def test_the_ed25519_example_byte_for_byte() -> None:
    """RFC 8037 appendix A.4: read, verified, flattened and signed again, octet for octet (Ed25519 is deterministic)."""
    example = load(need_testdata(FOLDER) / "curve25519" / "jws.json")
    key = OKPKey.import_key(example["input"]["key"])
    compact = example["output"]["compact"]
    registry = joserfc_jws.JWSRegistry(algorithms=["EdDSA"])

    assert believed(compact, public(example["input"]["key"]))
    assert jws.compact_of(example["output"]["json_flat"]).decode() == compact
    assert believed(json.dumps(example["output"]["json_flat"]), public(example["input"]["key"]))
    payload = example["input"]["payload"].encode()
    assert joserfc_jws.serialize_compact(example["signing"]["protected"], payload, key, registry=registry) == compact
    assert jws.unb64(example["signing"]["sig"]) == key.private_key.sign(example["signing"]["sig-input"].encode())  # type: ignore[union-attr]


def test_its_key_has_the_thumbprint_of_the_rfc() -> None:
    """RFC 8037 appendix A.3; our `kid` is nothing else."""
    example = load(need_testdata(FOLDER) / "curve25519" / "jws.json")

    assert (
        jws.thumbprint(jws.import_public(public(example["input"]["key"])))
        == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    )


@pytest.mark.parametrize(("name", "example"), [pytest.param(n, e, id=n) for n, e in examples() if n != "jws"])
def test_what_is_not_ours_is_refused(name: str, example: dict[str, Any]) -> None:
    """HMAC, ES512, detached or unencoded payloads, several signatures, unprotected headers: valid, and not for us."""
    keys = example["input"]["key"]
    outputs = [json.dumps(v) if isinstance(v, dict) else v for v in example["output"].values()]

    assert outputs
    for output in outputs:
        for key in keys if isinstance(keys, list) else [keys]:
            assert not believed(output, public(key))
        with pytest.raises(BrokerError):
            jws.read(output.encode(), typ=jws.TYP_MESSAGE)


def test_every_example_is_there() -> None:
    need_testdata(FOLDER)

    assert len(examples()) >= 9
