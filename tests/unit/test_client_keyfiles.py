"""Private keys in files: for the owner alone, never overwritten, and openssl agrees."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from broker import jws, keyfiles
from broker.errors import SetupRefused


@pytest.mark.parametrize("alg", keyfiles.ALGS)
@pytest.mark.parametrize("passphrase", [None, "a tide waits"])
def test_a_key_comes_back_as_it_was_saved(tmp_path: Path, alg: str, passphrase: str | None) -> None:
    """With and without passphrase; and it signs what its public half verifies."""
    path, key = tmp_path / "cl.pem", keyfiles.generate(alg)
    keyfiles.save(path, key, passphrase)
    loaded = keyfiles.load(path, passphrase)
    token = jws.read(jws.sign(b"{}", loaded, typ=jws.TYP_RECEIPT).encode(), typ=jws.TYP_RECEIPT)

    jws.verify(token, jws.public_jwk(key))
    assert token.alg == alg
    assert path.stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in path.read_bytes()) is (passphrase is not None)


@pytest.mark.parametrize("alg", keyfiles.ALGS)
@pytest.mark.parametrize("passphrase", [None, "a tide waits"])
def test_openssl_opens_it(tmp_path: Path, alg: str, passphrase: str | None) -> None:
    """A tool that we did not write reads the same key."""
    path = tmp_path / "cl.pem"
    keyfiles.save(path, keyfiles.generate(alg), passphrase)
    done = subprocess.run(
        ["openssl", "pkey", "-in", path, "-noout", "-text", "-passin", f"pass:{passphrase or ''}"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert ("ED25519" if alg == "Ed25519" else "prime256v1") in done.stdout


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    path = tmp_path / "cl.pem"
    keyfiles.save(path, keyfiles.generate())
    path.chmod(mode)

    with pytest.raises(SetupRefused, match="chmod 600"):
        keyfiles.load(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Neither a file nor what a link points to."""
    path, link = tmp_path / "cl.pem", tmp_path / "link.pem"
    keyfiles.save(path, keyfiles.generate())
    before = path.read_bytes()
    link.symlink_to(tmp_path / "elsewhere.pem")

    for target in (path, link):
        with pytest.raises(SetupRefused):
            keyfiles.save(target, keyfiles.generate())
    assert path.read_bytes() == before
    assert not (tmp_path / "elsewhere.pem").exists()


def test_a_wrong_passphrase_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    """One can be asked for, the other cannot be helped."""
    path = tmp_path / "cl.pem"
    keyfiles.save(path, keyfiles.generate(), "right")

    with pytest.raises(keyfiles.PassphraseNeeded):
        keyfiles.load(path)
    with pytest.raises(SetupRefused, match="passphrase is wrong"):
        keyfiles.load(path, "wrong")


EMPTY_PEM = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("octets", [b"", b"no key", EMPTY_PEM, b"\0" * 20_000])
def test_what_is_no_key_is_refused_with_a_sentence(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "cl.pem"
    path.write_bytes(octets)
    path.chmod(0o600)

    with pytest.raises(SetupRefused, match=r"cl\.pem"):
        keyfiles.load(path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """RSA and P-384 are good keys; they cannot sign here."""
    for number, options in enumerate(
        (["-algorithm", "RSA"], ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"])
    ):
        path = tmp_path / f"{number}.pem"
        subprocess.run(["openssl", "genpkey", *options, "-out", path], check=True, capture_output=True)
        path.chmod(0o600)
        with pytest.raises(SetupRefused, match="another kind"):
            keyfiles.load(path)


def test_the_passphrase_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """The file wins; its first line counts."""
    file = tmp_path / "phrase"
    file.write_text("from the file\n")

    assert keyfiles.passphrase_of({}) is None
    assert keyfiles.passphrase_of({"TIDEWAITER_PASSPHRASE": "here"}) == "here"
    assert (
        keyfiles.passphrase_of({"TIDEWAITER_PASSPHRASE": "x", "TIDEWAITER_PASSPHRASE_FILE": str(file)})
        == "from the file"
    )
    with pytest.raises(SetupRefused, match="PASSPHRASE_FILE"):
        keyfiles.passphrase_of({"TIDEWAITER_PASSPHRASE_FILE": str(tmp_path / "none")})
