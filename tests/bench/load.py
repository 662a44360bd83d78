"""Distinct seizures of 2 kB on the wire, signed beforehand with keys made at run time by several originators.

The shape is that of schemas/examples: a long form, two lines of goods, a vessel, two containers, a route. No two are
alike in id, case, quantity or containers. Nothing is made or signed while something is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import clock, jws
from tests.region import new_key
from tests.season_bodies import container

ORIGINATORS = ("AR", "CL", "MX", "PE")
WIRE_BYTES = 2000
"""Octets of a message as it is posted; each is within a tenth of it."""
REMARKS = (
    "El inspector comparó el manifiesto con la imagen del escáner, abrió los bultos señalados y halló la mercancía "
    "detrás de la carga declarada. El precinto no coincide. "
)


class Load:
    """Makes messages; no id is used twice while it lives."""

    def __init__(self) -> None:
        self.keys = {originator: new_key() for originator in ORIGINATORS}
        self._headers = {originator: _header(key) for originator, key in self.keys.items()}
        self.made = 0
        self.sizes: set[int] = set()
        self._rng = Random(2013)

    def messages(self, number: int, to: Sequence[str]) -> list[bytes]:
        """Compact JWS by each originator in turn, released to the members `to` by name."""
        release = {"to": [{"member": member, "duties": ["information"]} for member in to]}
        made = [self._message(release) for _ in range(number)]
        self.sizes.update(map(len, made))
        return made

    def _message(self, release: dict[str, Any]) -> bytes:
        originator = ORIGINATORS[self.made % len(ORIGINATORS)]
        self.made += 1
        payload = {"header": _envelope(originator, self.made, release), "body": _seizure(self._rng, originator)}
        octets = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        signed = f"{self._headers[originator]}.{jws.b64(octets)}"
        private = self.keys[originator].private_key
        assert isinstance(private, Ed25519PrivateKey)
        return f"{signed}.{jws.b64(private.sign(signed.encode()))}".encode()


def _header(key: jws.PrivateKey) -> str:
    kid = jws.thumbprint(jws.public_jwk(key))
    protected = {"alg": "Ed25519", "kid": kid, "typ": jws.TYP_MESSAGE, "iat": int(time.time())}
    return jws.b64(json.dumps(protected, separators=(",", ":")).encode())


def _envelope(originator: str, number: int, release: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"2026-{number:07d}",
        "kind": "seizure",
        "version": "1.0",
        "originator": originator,
        "status": "actual",
        "event_at": clock.text(datetime.now(UTC) - timedelta(hours=3)),
        "priority": "routine",
        "case": f"CASO-{number % 9973}",
        "language": "es",
        "grading": {"scheme": "admiralty", "source": "B", "information": "2"},
        "handling": {"tlp": "AMBER", "release": release},
    }


def _seizure(rng: Random, country: str) -> dict[str, Any]:
    return {
        "form": "long",
        "heading": "tobacco",
        "place": {"country": country, "type": "seaport"},
        "procedure": "import",
        "goods": [
            {"side": "found", "hs": "240220", "description": "Cigarrillos sin estampilla", "brand": "Tres Mares",
             "quantity": {"value": f"{rng.randint(1, 40_000)}.{rng.randint(0, 9)}", "unit": "stick"}},
            {"side": "declared", "hs": "690721", "description": "Baldosas de cerámica"},
        ],
        "transport": {
            "mode": "sea",
            "containers": [{"value": container(rng)}, {"value": container(rng), "as": "verified"}],
            "vessel": {"name": "Mar de Plata"},
        },
        "route": [
            {"role": "origin", "country": "CN", "locode": "CNSHA", "confirmed": True},
            {"role": "destination", "country": country, "confirmed": False},
        ],
        "concealment": ["in-cargo"],
        "detection": ["scanner"],
        "remarks": REMARKS,
    }  # fmt: skip
