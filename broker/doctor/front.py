"""Whether a hub runs here, and whether its public URL leads to it, with a certificate that lasts."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx2
from cryptography import x509

from broker import jws, tokens
from broker.config import Config
from broker.doctor import Finding, fail, ok, warn
from broker.doctor.machine import LOOPBACK
from broker.members import HUB

SECONDS = 5
CERTIFICATE_DAYS = 30
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}  # noqa: S104 - read, not bound
WRONG_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH"""


async def running(config: Config) -> tuple[Finding, bool]:
    """What answers on TIDEWAITER_LISTEN, and whether something does."""
    at = f"{EVERYWHERE.get(config.host, config.host)}:{config.port}"
    try:
        async with httpx2.AsyncClient(timeout=SECONDS, trust_env=False) as http:
            answer = await http.get(f"http://{at}/readyz")
        said = answer.json()
        status = str(said.get("status"))
    except (httpx2.HTTPError, ValueError, AttributeError):
        next = "Start it: `tidewaiter serve`; or set TIDEWAITER_LISTEN to where it listens."
        return warn("process", f"No hub answers on {at}.", next), False
    if answer.status_code >= 500:
        return fail(
            "process", f"The hub on {at} is not ready: {said.get('title', answer.status_code)}.", "Its log says why."
        ), True
    if status == "degraded":
        next = "Messages are accepted and wait. Look at RabbitMQ, and for `wire.away` in the hub's log."
        return warn("process", f"The hub on {at} is degraded: RabbitMQ is {said.get('wire')}.", next), True
    if status != "ready":
        next = "Stop what listens there, or set TIDEWAITER_LISTEN to another address."
        return fail("process", f"What answers on {at} is no hub.", next), True
    return ok("process", f"a hub answers on {at}: ready"), True


async def public(config: Config, key: jws.PrivateKey, here: bool) -> Finding:
    """Does the public URL lead to a hub with this very key? Asked with a token of our own that ended long ago: who knows
    the key says that it has ended, anybody else that it is none. It opens nothing."""
    ended = datetime.now(UTC) - timedelta(days=1)
    nobody = tokens.Assertion(HUB, jws.thumbprint(jws.public_jwk(key)), "doctor", ended)
    token = tokens.issue(nobody, "api", key, config.public_url, ended)
    url, check = config.public_url, "public URL"
    local = urlsplit(url).hostname in LOOPBACK
    try:
        async with httpx2.AsyncClient(timeout=SECONDS, trust_env=not local, verify=_blind()) as http:
            answer = await http.get(f"{url}/v1/queues", headers={"authorization": f"Bearer {token}"})
    except httpx2.HTTPError as error:
        found = f"{url} does not answer ({error or type(error).__name__})."
        if not here:
            return warn(check, found, "Start the hub, and run this again.")
        return fail(check, found, "Look at the proxy in front and at the name: members have no other way in.")
    rule = _rule(answer)
    if rule == "token-expired":
        return ok(check, f"{url} leads to this hub")
    if rule == "audience":
        return fail(
            check,
            f"The hub at {url} calls itself otherwise.",
            "Its processes must have the same TIDEWAITER_PUBLIC_URL; restart those that have not.",
        )
    if rule in ("key-unknown", "signature"):
        return fail(
            check,
            f"The hub at {url} has another key than {config.hub_key}.",
            "All processes of a hub share one hub.key; or the URL is another hub's.",
        )
    found = f"What answers at {url} cannot be told for this hub (status {answer.status_code})."
    return warn(
        check,
        found,
        "It may ask for a client certificate, or pass on less than /v1/. Look from a member's place: `tidewaiter doctor --member`.",
    )


def _rule(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["errors"][0]["rule"])
    except (ValueError, LookupError, TypeError):
        return ""


def _blind() -> ssl.SSLContext:
    """Certificates are looked at by `certificate`, who says more about them."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def certificate(public_url: str, now: datetime) -> Finding | None:
    """None for a URL without TLS."""
    parts = urlsplit(public_url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    check, host, port = "certificate", parts.hostname, parts.port or 443
    try:
        octets = await _handshake(host, port, _blind())
    except (OSError, TimeoutError) as error:
        return fail(
            check, f"{host}:{port} does not speak TLS ({error or type(error).__name__}).", "Look at the proxy in front."
        )
    ends = x509.load_der_x509_certificate(octets).not_valid_after_utc
    days = (ends - now) / timedelta(days=1)
    until = f"until {ends:%Y-%m-%d}"
    if days < 0:
        return fail(
            check,
            f"The certificate of {host} has expired ({ends:%Y-%m-%d}): members are not let through to you.",
            "Renew it.",
        )
    try:
        await _handshake(host, port, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in WRONG_NAME:
            return fail(
                check,
                f"The certificate is not made out to {host}.",
                "Have one made for the name in TIDEWAITER_PUBLIC_URL.",
            )
        next = "Members need the authority's certificate (SSL_CERT_FILE); or use one that everybody knows."
        return warn(check, f"This machine does not trust the certificate of {host}: {error.verify_message}.", next)
    except (OSError, TimeoutError) as error:
        return fail(
            check, f"{host}:{port} ends the handshake ({error or type(error).__name__}).", "Look at the proxy in front."
        )
    if days < CERTIFICATE_DAYS:
        return warn(
            check,
            f"The certificate of {host} is good for {days:.0f} days more, {until}.",
            "Renew it; and see why nothing has.",
        )
    return ok(check, f"that of {host} is good {until}")


async def _handshake(host: str, port: int, context: ssl.SSLContext) -> bytes:
    """The server's certificate (DER)."""
    async with asyncio.timeout(SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found
    finally:
        writer.transport.abort()
