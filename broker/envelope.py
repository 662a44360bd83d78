"""The frozen Envelope: a message that has been believed, and its small types.

Built only by `verify.check_content` from a payload that passed the envelope schema; nothing here checks anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from broker.errors import Fault
from broker.language.kinds import Identifier, Quotation
from broker.language.outline import Completeness
from broker.routing import DUTIES, Attributes

MESSAGE_AHEAD_SECONDS = 300
"""`iat` may be this far ahead of the hub's clock."""
MESSAGE_BEHIND_SECONDS = 7 * 86_400
"""`iat` may be this old: an administration that was offline for a week can still post what it signed."""


@dataclass(frozen=True, slots=True)
class Release:
    """Who may see it: `to` maps member to duties (in the order action, attention, information)."""

    to: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...]
    all: bool
    excepted: frozenset[str]

    @staticmethod
    def read(value: Mapping[str, Any]) -> Release:
        """From the `release` member of a checked header; duties of a member named twice are merged."""
        to: dict[str, set[str]] = {}
        for entry in value.get("to") or ():
            to.setdefault(entry["member"], set()).update(entry.get("duties") or ["information"])
        return Release(
            to={member: tuple(d for d in DUTIES if d in duties) for member, duties in to.items()},
            groups=tuple(dict.fromkeys(value.get("groups") or ())),
            all=bool(value.get("all", False)),
            excepted=frozenset(value.get("except") or ()),
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """One believed message. `compact` is what arrives at every recipient; `digest` is over it."""

    compact: str
    digest: str
    payload: bytes
    kid: str
    iat: int
    header: Mapping[str, Any]
    body: Mapping[str, Any]
    release: Release | None
    attributes: Attributes
    identifiers: tuple[Identifier, ...] = ()
    warnings: tuple[Fault, ...] = ()
    editions: Mapping[str, str] = field(default_factory=dict)
    """Code list or table -> the edition by which its codes were read."""
    country: str | None = None
    """Where the event was."""
    completeness: Completeness | None = None
    quotations: tuple[Quotation, ...] = ()

    @property
    def id(self) -> str:
        return str(self.header["id"])

    @property
    def originator(self) -> str:
        return str(self.header["originator"])

    @property
    def address(self) -> str:
        """`originator:id`."""
        return f"{self.originator}:{self.id}"

    @property
    def kind(self) -> str:
        return str(self.header["kind"])

    @property
    def status(self) -> str:
        return str(self.header["status"])

    @property
    def tlp(self) -> str:
        return str(self.header["handling"]["tlp"])

    @property
    def supersedes(self) -> str | None:
        """Address of the version that this one corrects."""
        return self.header.get("supersedes")

    @property
    def withdraws(self) -> str | None:
        return self.header.get("withdraws")

    @property
    def event_at(self) -> datetime:
        return datetime.fromisoformat(self.header["event_at"]).astimezone(UTC)

    @property
    def expires_at(self) -> datetime | None:
        return moment(self.header.get("expires_at"))

    @property
    def acknowledge_by(self) -> datetime | None:
        return moment(self.header.get("acknowledge_by"))


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 date-time of a checked header, in UTC."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
