"""A certificate for 127.0.0.1 and localhost, and the authority that made it: for the tests that speak TLS."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificates:
    """PEM files."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def rabbitmq_conf(self) -> str:
        """Lines for rabbitmq.conf: the server shows its certificate and asks for none."""
        files = {"cacertfile": self.authority, "certfile": self.certificate, "keyfile": self.key}
        lines = [f"ssl_options.{name} = {path}\n" for name, path in files.items()]
        return "".join(lines) + "ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"


def certificates(folder: Path) -> Certificates:
    """Made anew, valid for a day."""
    made = Certificates(folder / "authority.pem", folder / "certificate.pem", folder / "certificate.key")
    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, server = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (secrets.token_hex(4), "localhost")
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]

    def start(subject: x509.Name, of: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=authority, public_key=of.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        return builder.add_extension(issuer, critical=False)

    roots = start(authority, authority_key)
    roots = roots.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    roots = roots.add_extension(usage, critical=True)
    leaf = start(server, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    for path, builder in ((made.authority, roots), (made.certificate, leaf)):
        path.write_bytes(builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    made.key.write_bytes(key.private_bytes(*plain))
    return made
