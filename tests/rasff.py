"""The alerts of the EU food-safety network (RASFF, 2024 to August 2025) as messages with their expected recipients.

The world wrote this routing test: each notification names who is to act (forFollowUp), who is to attend (forAttention)
and who is informed (distribution). Nothing of it is copied into the project: it is read, in rowid order, from
`$TIDEWAITER_TESTDATA/data/rasff_notifications.sqlite` (by default `../shared` beside the project).

What is read how:

* `reference` was stored as a float. Its number is padded to four digits again (2024.965 -> "2024.9650"); a number of
  five digits stays one, unless it ended in a zero, which no reader can restore.
* Lists are split at commas, but for the one inside "Bonaire, Sint Eustatius and Saba". So there are 190 recipient names
  and 23,270 entries, an entry being one name in one row, its three lists merged. The README beside the file says 191
  and 23,281: it split that name in two, in each of the 11 rows where it stands.
* Names are counted as spelled; as members they are fewer (188): "Faeroe Islands" and "Faroe Islands" are FO, "Northern
  Ireland" and "United Kingdom (Northern Ireland)" are GB-NIR. No row has both spellings, so entries stay 23,270.
* The date has no zone and is taken as UTC. Its spelling ("16:50:10.000000", "16:50:10"), the week and the year are no
  content: a row equal to an earlier one in all else is a repeat, any other under the same reference is an amendment.

Free of pytest: `make demo-real` reads it too.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pycountry

Payload = dict[str, Any]

DATA = Path(os.environ.get("TIDEWAITER_TESTDATA", Path(__file__).parents[2] / "shared"))
DATABASE = DATA / "data" / "rasff_notifications.sqlite"

LISTS = {"forFollowUp": "action", "forAttention": "attention", "distribution": "information"}
"""Column -> duty, in the order in which duties are told."""

RISKS = {
    "no risk": "no-risk",
    "not serious": "not-serious",
    "potential risk": "potential",
    "potentially serious": "potentially-serious",
    "serious": "serious",
}
"""Risk decision -> code of `schemas/codelists/risks.csv`."""

WITH_COMMA = "Bonaire, Sint Eustatius and Saba"
ALIASES = {
    "Cape Verde": "CV",
    "Congo (Brazzaville)": "CG",
    "Democratic Republic of the Congo": "CD",
    "EFSA Member": "EFSA",
    "European Commission": "EU-COM",
    "Faeroe Islands": "FO",
    "Falkland Islands": "FK",
    "INFOSAN": "INFOSAN",
    "Kosovo": "XK",
    "Northern Ireland": "GB-NIR",
    "Russia": "RU",
    "Saint Martin": "MF",
    "Serbia and Montenegro": "CS",  # withdrawn from ISO 3166-1 in 2006, still on a list in 2024
    "Sint Maarten": "SX",
    "Swaziland": "SZ",
    "São Tomé and Príncipe": "ST",
    "United Kingdom (Northern Ireland)": "GB-NIR",
    "Vatican City": "VA",
    "West Bank and Gaza Strip": "PS",
}
"""Names that ISO 3166 spells in another way, parts of countries, and organisations."""


def _iso_names() -> dict[str, str]:
    keys = ("official_name", "common_name", "name")  # the last one wins
    return {
        str(name): str(country.alpha_2)
        for key in keys
        for country in pycountry.countries
        if (name := getattr(country, key, None))
    }


MEMBER_IDS = _iso_names() | ALIASES
"""Name as RASFF may spell it -> member id."""


@dataclass(frozen=True)
class Notification:
    """One row, trimmed. Two rows with the same content are equal, however their dates are spelled."""

    reference: str
    category: str
    type: str
    subject: str
    date: datetime
    notifier: str
    classification: str
    risk: str
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    """(duty, names) in the order of LISTS."""
    operators: tuple[str, ...]
    origins: tuple[str, ...]
    hazards: tuple[str, ...]

    @property
    def duties(self) -> dict[str, tuple[str, ...]]:
        """Name as spelled -> its duties, merged over the three lists, in the order of first mention."""
        names = dict.fromkeys(name for _, names in self.lists for name in names)
        return {name: tuple(duty for duty, listed in self.lists if name in listed) for name in names}

    @property
    def to(self) -> dict[str, tuple[str, ...]]:
        """Member id -> its duties, merged over lists and spellings."""
        ids = dict.fromkeys(MEMBER_IDS[name] for name in self.duties)
        return {
            member: tuple(duty for duty, names in self.lists if member in {MEMBER_IDS[name] for name in names})
            for member in ids
        }


@dataclass(frozen=True)
class Expected:
    """What the broker should make of an alert: a repeat gives the first one's receipt, the others reach `to`."""

    outcome: Literal["new", "repeat", "amendment"]
    address: str
    to: dict[str, tuple[str, ...]]
    supersedes: str | None


def read(database: Path = DATABASE) -> list[Notification]:
    """Every row in rowid order. Raises FileNotFoundError when the database is not there."""
    if not database.exists():
        raise FileNotFoundError(database)
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return [notification(row) for row in connection.execute("SELECT * FROM rasff_notifications ORDER BY rowid")]
    finally:
        connection.close()


def notification(row: sqlite3.Row) -> Notification:
    """One row, normalised."""
    return Notification(
        reference=reference(row["reference"]),
        category=row["category"].strip(),
        type=row["type"].strip(),
        subject=row["subject"].strip(),
        date=datetime.fromisoformat(row["date"]).replace(tzinfo=UTC),
        notifier=row["notifying_country"].strip(),
        classification=row["classification"].strip(),
        risk=row["risk_decision"].strip(),
        lists=tuple((duty, names(row[column])) for column, duty in LISTS.items()),
        operators=names(row["operator"]),
        origins=names(row["origin"]),
        hazards=hazards(row["hazards"]),
    )


def reference(value: float) -> str:
    """The reference as the network writes it: year, point, a number of at least four digits."""
    year, number = repr(value).split(".")
    return f"{year}.{number.ljust(4, '0')}"


def names(text: str | None) -> tuple[str, ...]:
    """A list of names, split at its commas, but for the comma that belongs to a name."""
    parts = (text or "").replace(WITH_COMMA, WITH_COMMA.replace(",", ";")).split(",")
    return tuple(part.strip().replace(";", ",") for part in parts if part.strip())


def hazards(text: str | None) -> tuple[str, ...]:
    """A list of hazards; a comma between digits belongs to a chemical's name."""
    parts = re.split(r"(?<!\d),|,(?!\d)", text or "")
    return tuple(" ".join(part.split()) for part in parts if part.strip())


def alerts(rows: Iterable[Notification]) -> Iterator[tuple[Payload, Expected]]:
    """Each row as the payload of an alert, with what is expected of it, in the order of the rows.

    A repeat has the payload of the row that it repeats; the second version of a reference has an id that ends in "-2".
    """
    versions: dict[str, list[Notification]] = {}
    for row in rows:
        known = versions.setdefault(row.reference, [])
        outcome: Literal["new", "repeat", "amendment"] = "repeat" if row in known else "amendment" if known else "new"
        if outcome != "repeat":
            known.append(row)
        version = known.index(row) + 1
        superseded = _address(known[version - 2], version - 1) if version > 1 else None
        yield payload(row, version, superseded), Expected(outcome, _address(row, version), row.to, superseded)


def payload(row: Notification, version: int, supersedes: str | None) -> Payload:
    """An `alert` 1.0. The same arguments give the same payload, so that `octets` of a repeat are the same, too."""
    header: Payload = {
        "id": _id(row, version),
        "kind": "alert",
        "version": "1.0",
        "originator": MEMBER_IDS[row.notifier],
        "status": "actual",
        "event_at": _moment(row.date),
        "priority": "routine",
        "case": f"RASFF-{row.reference}",
        "language": "en",
        "supersedes": supersedes,
        "handling": {
            "tlp": "AMBER",
            "caveats": [],
            "release": {
                "to": [{"member": member, "duties": list(duties)} for member, duties in row.to.items()],
                "groups": [],
                "all": False,
                "except": [],
            },
        },
    }
    return {"header": header, "body": _body(row)}


def octets(payload: Payload) -> bytes:
    """The payload as it is signed."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _body(row: Notification) -> Payload:
    body: Payload = {
        "subject": " ".join(row.subject.split()),
        "reason": "product-safety",
        "headings": ["food"],
        "category": row.category,
        "classification": row.classification,
        "risk": RISKS[row.risk],
        "hazards": list(row.hazards),
        "origins": _countries(row.origins),
        "operators": _countries(row.operators),
        "sources": [
            {
                "publisher": "European Commission, RASFF",
                "title": f"Notification {row.reference} ({row.type})",
                "date": row.date.date().isoformat(),
            }
        ],
        "remarks": _remarks(row),
    }
    return {name: value for name, value in body.items() if value not in ([], None)}


def _countries(names: tuple[str, ...]) -> list[str]:
    """The countries among the names, without those that ISO 3166-1 does not list; `_remarks` keeps all as spelled."""
    ids = [MEMBER_IDS[name][:2] for name in names if name in MEMBER_IDS]
    return list(dict.fromkeys(id for id in ids if id in _iso_codes()))


@cache
def _iso_codes() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries)


def _remarks(row: Notification) -> str | None:
    told = {"Origin": row.origins, "Operators": row.operators}
    return " ".join(f"{what}: {', '.join(names)}." for what, names in told.items() if names) or None


def _address(row: Notification, version: int) -> str:
    return f"{MEMBER_IDS[row.notifier]}:{_id(row, version)}"


def _id(row: Notification, version: int) -> str:
    return f"RASFF-{row.reference}" + (f"-{version}" if version > 1 else "")


def _moment(date: datetime) -> str:
    return date.isoformat().replace("+00:00", "Z")
