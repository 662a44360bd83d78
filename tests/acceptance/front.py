"""deploy/proxy/haproxy.cfg run for real where HAProxy is installed: only addresses and paths of the file are changed."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.rabbit.private_node import free_port
from tests.faults import Process, process
from tests.wire import until

PROXY = Path(__file__).parents[2] / "deploy/proxy"
OUTSIDE = {"https": 8443, "amqps": 5671}
INSIDE = {"questions": 8700, "wire": 5672, "management": 15672, "figures": 8405}


def haproxy() -> str:
    """The program; the test is left out where it is not installed (it is no Python package, and nothing else needs it)."""
    found = os.environ.get("TIDEWAITER_TEST_HAPROXY") or shutil.which("haproxy", path=f"{os.defpath}:/usr/sbin")
    if found is None:
        pytest.skip("HAProxy is left out: not installed")
    return found


@dataclass(frozen=True)
class Front:
    """A running proxy; `ports` are its own, by the name of the frontend, `backends` those behind it."""

    folder: Path
    ports: Mapping[str, int]
    backends: Mapping[str, Sequence[int]]
    process: Process

    def tls(self, client: str | None) -> ssl.SSLContext:
        """For a client that trusts this proxy and shows the certificate of that name, or none."""
        context = ssl.create_default_context(cafile=self.folder / "clients_ca")
        if client is not None:
            context.load_cert_chain(self.folder / f"{client}.pem")
        return context


def free_ports() -> dict[str, int]:
    """Ports for a proxy, by the name of the frontend."""
    return {name: free_port() for name in OUTSIDE | INSIDE}


@asynccontextmanager
async def front(
    folder: Path,
    ports: Mapping[str, int],
    backends: Mapping[str, Sequence[int]],
    operators: str = "",
    excused: str = "",
) -> AsyncIterator[Front]:
    """A proxy in front of what listens on loopback: `backends` are ports by the name of the backend; `operators` and
    `excused` are added to operators.lst and without-certificate.lst."""
    program = haproxy()
    certificates(folder)
    (folder / "haproxy.cfg").write_text(configuration(folder, ports, backends))
    for name, more in (("operators.lst", operators), ("without-certificate.lst", excused)):
        (folder / name).write_text((PROXY / name).read_text("utf-8") + more)
    said = folder / "proxy.log"
    command = [program, "-f", str(folder / "haproxy.cfg"), "-db"]
    async with process(*command, output=said) as running:

        async def up() -> bool:
            assert running.running, running.said()
            return all(map(_listens, ports.values()))

        await until(up)
        yield Front(folder, ports, backends, running)


def configuration(folder: Path, ports: Mapping[str, int], backends: Mapping[str, Sequence[int]]) -> str:
    """The file as it is, but for where things are: our own ports on loopback, files in `folder`, backends on loopback.
    And it looks at them more often: a hub here starts after its proxy, and RabbitMQ asks at once."""
    text = (PROXY / "haproxy.cfg").read_text("utf-8")
    for name, there in (OUTSIDE | INSIDE).items():
        text, found = re.subn(rf"bind :{there}\b(?=[^\n]*\n)", f"bind 127.0.0.1:{ports[name]}", text)
        assert found == 1, name
    text = text.replace("/run/secrets/", f"{folder}/").replace("/usr/local/etc/haproxy/", f"{folder}/")
    text = text.replace("check inter 2s", "check inter 500ms")
    lines, backend, number = [], "", 0
    for line in text.splitlines():
        if words := re.match(r"(backend|frontend|defaults|global|resolvers)\b ?(\S*)", line):
            backend, number = words[2], 0
        if server := re.match(r"(    server \S+) \S+(.*)", line):
            targets = backends.get(backend, [])
            number += 1
            if number > len(targets):
                continue
            line = f"{server[1]} 127.0.0.1:{targets[number - 1]}{server[2]}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ── certificates ──


def certificates(folder: Path) -> None:
    """A CA; a certificate of the proxy; of the members CL and AR (good), PE (revoked); and STRANGER's by another CA."""
    ca, ca_key = _issue("CA of the members")
    _write(folder / "clients_ca", ca)
    for name in ("localhost", "CL", "AR", "PE"):
        made, key = _issue(name, ca, ca_key)
        _write(folder / ("tls_pem" if name == "localhost" else f"{name}.pem"), made, key)
        if name == "PE":
            revoked = x509.RevokedCertificateBuilder().serial_number(made.serial_number).revocation_date(_now()).build()
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(_now())
        .next_update(_now() + dt.timedelta(days=1))
        .add_revoked_certificate(revoked)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "clients_crl").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    _write(folder / "STRANGER.pem", *_issue("STRANGER"))


def _issue(
    name: str, ca: x509.Certificate | None = None, ca_key: ec.EllipticCurvePrivateKey | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = ca_key or key
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - dt.timedelta(hours=1))
        .not_valid_after(_now() + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False)
        .add_extension(_usage(ca is None), critical=True)
    )
    return made.sign(signer, hashes.SHA256()), key


def _usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=is_ca, crl_sign=is_ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None = None) -> None:
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    if key is not None:
        pem += key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    path.write_bytes(pem)


if __name__ == "__main__":  # for trying things by hand: write the certificates into a folder
    certificates(Path(sys.argv[1]))
