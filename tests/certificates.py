"""A certificate for 127.0.0.1 and localhost, one for a client, and the authority that made them: for the tests that speak
TLS."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
PEM, PKCS8, PLAIN = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


@dataclass(frozen=True)
class Certificates:
    """PEM files."""

    authority: Path
    certificate: Path
    key: Path
    client: Path
    """Certificate and key in one."""
    client_p12: Path
    """The same as PKCS#12, for Java; its password is `public`."""

    @property
    def rabbitmq_conf(self) -> str:
        """Lines for rabbitmq.conf: the server shows its certificate, and lets nobody in without one of the authority's."""
        files = {"cacertfile": self.authority, "certfile": self.certificate, "keyfile": self.key}
        lines = [f"ssl_options.{name} = {path}\n" for name, path in files.items()]
        return "".join(lines) + "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"


def certificates(folder: Path) -> Certificates:
    """Made anew, valid for a day."""
    names = ("authority.pem", "certificate.pem", "certificate.key", "client.pem", "client.p12")
    made = Certificates(*(folder / name for name in names))
    now = datetime.now(UTC)
    authority_key, key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    authority, server, client = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for name in (f"authority {secrets.token_hex(4)}", "localhost", "a member's system")
    )

    def start(subject: x509.Name, of: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=authority, public_key=of.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        return builder.add_extension(issuer, critical=False)

    def signed(builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(authority_key, hashes.SHA256())

    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    root = start(authority, authority_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    leaf = start(server, key).add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    member = start(client, client_key)
    member = member.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    members = signed(member)
    made.authority.write_bytes(signed(root.add_extension(usage, critical=True)).public_bytes(PEM))
    made.certificate.write_bytes(signed(leaf).public_bytes(PEM))
    made.key.write_bytes(key.private_bytes(PEM, PKCS8, PLAIN))
    made.client.write_bytes(members.public_bytes(PEM) + client_key.private_bytes(PEM, PKCS8, PLAIN))
    locked = serialization.BestAvailableEncryption(b"public")
    made.client_p12.write_bytes(pkcs12.serialize_key_and_certificates(b"member", client_key, members, None, locked))
    return made
