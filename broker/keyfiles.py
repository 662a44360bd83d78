"""Private keys in files: PKCS#8 PEM (RFC 5958, RFC 8410 §7), for the owner's eyes alone; `openssl pkey` opens them.

Refuses to read a file that somebody else could read or change, and never overwrites one: a lost private key cannot be
had again. Not done here: asking for a passphrase (the command line does), and anything with public keys (jws.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey, OKPKey

from broker.errors import SetupRefused
from broker.jws import PrivateKey

Alg = Literal["Ed25519", "ES256"]
ALGS: tuple[Alg, ...] = ("Ed25519", "ES256")

MAX_FILE_BYTES = 16_384
"""A PEM of ours has some 200; anything far larger is not a key file."""

PASSPHRASE = "TIDEWAITER_PASSPHRASE"  # noqa: S105 - the name of a setting, not a secret


class PassphraseNeeded(SetupRefused):
    """The file is encrypted and no passphrase was given."""


def generate(alg: str = "Ed25519") -> PrivateKey:
    """A new signing key. Raises SetupRefused for any other `alg` than Ed25519 and ES256."""
    if alg == "Ed25519":
        return OKPKey.generate_key("Ed25519")
    if alg == "ES256":
        return ECKey.generate_key("P-256")
    raise SetupRefused(detail=f"“{alg}” is not an algorithm for keys: Ed25519 (the default) or ES256.")


def save(path: Path, key: PrivateKey, passphrase: str | None = None) -> None:
    """Write `key` to a new file of mode 0600; durable once it returns. Raises SetupRefused if the file is there."""
    octets = key.as_pem(private=True, password=passphrase or None)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise SetupRefused(
            detail=f"{path} is there already. Keys are never overwritten: choose another name."
        ) from None
    except OSError as error:
        raise SetupRefused(detail=f"{path} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(file, "wb") as out:
            os.fchmod(out.fileno(), 0o600)  # whatever the umask left of it
            out.write(octets)
            out.flush()
            os.fsync(out.fileno())
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            path.unlink()  # half a key is worse than none
        raise SetupRefused(detail=f"{path} cannot be written: {error.strerror}.") from None


def load(path: Path, passphrase: str | None = None) -> PrivateKey:
    """The key in `path`. Raises SetupRefused with what to do, PassphraseNeeded if it is encrypted and none was given."""
    octets = _read(path)
    try:
        found = serialization.load_pem_private_key(octets, passphrase.encode() if passphrase else None)
    except TypeError:
        if passphrase:  # given for a file that needs none: no reason to refuse
            return load(path, None)
        raise PassphraseNeeded(
            detail=f"{path} is encrypted: set {PASSPHRASE} or {PASSPHRASE}_FILE, or call from a terminal."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = "the passphrase is wrong, or it" if b"ENCRYPTED" in octets[:64] else "it"
        raise SetupRefused(detail=f"{path} cannot be read: {wrong} is no PKCS#8 private key in PEM.") from None
    if isinstance(found, Ed25519PrivateKey):
        return OKPKey.import_key(_plain(found))
    if isinstance(found, EllipticCurvePrivateKey) and isinstance(found.curve, SECP256R1):
        return ECKey.import_key(_plain(found))
    raise SetupRefused(detail=f"{path} holds a key of another kind: Ed25519 and P-256 (ES256) can sign here.")


def _plain(key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _read(path: Path) -> bytes:
    """The file's octets; mode and octets are those of the same open file."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise SetupRefused(detail=f"{path} cannot be read: {error.strerror}.") from None
    with os.fdopen(file, "rb") as opened:
        mode = os.fstat(opened.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise SetupRefused(detail=f"{path} is not a file.")
        if mode & 0o077:
            raise SetupRefused(
                detail=f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}), so its key may have leaked."
                f" If it has not: chmod 600 {path}"
            )
        octets = opened.read(MAX_FILE_BYTES + 1)
    if len(octets) > MAX_FILE_BYTES:
        raise SetupRefused(detail=f"{path} is too large for a private key.")
    return octets


def passphrase_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """TIDEWAITER_PASSPHRASE, or the first line of the file named by TIDEWAITER_PASSPHRASE_FILE. Raises SetupRefused."""
    file = environment.get(f"{PASSPHRASE}_FILE")
    if not file:
        return environment.get(PASSPHRASE) or None
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SetupRefused(detail=f"{PASSPHRASE}_FILE: {file} cannot be read ({type(error).__name__}).") from None
    return (lines[0] if lines else "") or None
