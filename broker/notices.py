"""The hub's own messages, of kind notice: ordinary signed messages whose originator is `hub`.

One notice per member, never one to several: nobody learns from a notice who else held something.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Any

from broker import clock, jws
from broker.envelope import Envelope, Release
from broker.hub import Hub
from broker.members import HUB


def superseded(hub: Hub, member: str, address: str, now: datetime) -> Envelope:
    """ "Superseded, not released to you": for a holder who may not see the amendment (promise 8)."""
    text = {
        "en": f"{address} has been superseded by a version that is not released to you. Do not rely on it any longer.",
        "es": f"{address} ha sido sustituido por una versión que no se le ha comunicado. No lo utilice más.",
    }
    return _notice(hub, member, "superseded-not-released", address, text, {}, now)


def not_acknowledged(hub: Hub, originator: str, address: str, members: list[str], now: datetime) -> Envelope:
    """For a sender: who has not acknowledged by the time it asked for."""
    who = ", ".join(members)
    text = {
        "en": f"{address} has not been acknowledged in time by: {who}.",
        "es": f"{address} no ha sido confirmado a tiempo por: {who}.",
    }
    return _notice(hub, originator, "not-acknowledged", address, text, {"members": members}, now)


def _notice(
    hub: Hub, member: str, event: str, about: str, text: dict[str, str], more: dict[str, Any], now: datetime
) -> Envelope:
    header = {
        "id": f"{event}-{secrets.token_hex(8)}",
        "kind": "notice",
        "version": "1.0",
        "originator": HUB,
        "status": "actual",
        "event_at": clock.text(now),
        "references": [about],
        "handling": {"tlp": "RED", "release": {"to": [{"member": member}]}},
    }
    body = {"event": event, "about": about, "text": text, **more}
    payload = json.dumps({"header": header, "body": body}, ensure_ascii=False, separators=(",", ":")).encode()
    iat = int(now.timestamp())
    compact = jws.sign(payload, hub.key, typ=jws.TYP_MESSAGE, iat=iat)
    release = Release.read({"to": [{"member": member}]})
    return Envelope(
        compact=compact,
        digest=jws.digest(compact),
        payload=payload,
        kid=jws.thumbprint(jws.public_jwk(hub.key)),
        iat=iat,
        header=header,
        body=body,
        release=release,
        attributes={
            "kind": frozenset(["notice"]),
            "status": frozenset(["actual"]),
            "originator": frozenset([HUB]),
            "tlp": frozenset(["RED"]),
        },
    )
