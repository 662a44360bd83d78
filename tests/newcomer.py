"""The kind that a newcomer adds in the tests: three files, and no Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from broker import schemafiles

NAME = "48-cl-stowaway"
"""Of the example."""


def said(en: str, es: str) -> dict[str, str]:
    return {"en": en, "es": es}


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:tidewaiter:stowaway:1.0",
    "x-about": said("Somebody who was found hidden aboard", "Alguien a quien se halló escondido a bordo"),
    "x-title": said("Stowaway report", "Informe de polizón"),
    "type": "object", "additionalProperties": False, "required": ["found_in", "heading", "condition"],
    "properties": {
        "found_in": {"$ref": "urn:tidewaiter:common:1.0#/$defs/place", "x-title": said("Where", "Dónde")},
        "heading": {"type": "string", "maxLength": 40, "x-codelist": "hiding-places", "x-route": "heading",
                    "x-title": said("Hiding place", "Escondite")},
        "vessel": {"$ref": "urn:tidewaiter:common:1.0#/$defs/imo", "x-title": said("Vessel", "Buque")},
        "condition": {
            "enum": ["unhurt", "needs-care"], "x-title": said("Condition", "Estado de salud"),
            "x-words": {"unhurt": said("not hurt", "ileso"), "needs-care": said("needs care", "necesita atención")},
        },
        "seen_by": {"$ref": "#/$defs/witness", "x-title": said("Seen by", "Visto por")},
    },
    "$defs": {"witness": {
        "type": "object", "additionalProperties": False, "required": ["post"], "x-title": said("Witness", "Testigo"),
        "properties": {"post": {"type": "string", "minLength": 1, "maxLength": 80, "x-title": said("Post", "Puesto")}},
    }},
}  # fmt: skip
HIDING_PLACES = """# source: the example of a newcomer
# edition: 1
# date: 2026-11-28
# policy: error
code,title_en,title_es,aliases
rudder-trunk,Rudder trunk,Tronco del timón,timón
hold,Hold,Bodega,
"""
EXAMPLE = {
    "header": {
        "id": "ST-1", "kind": "stowaway", "version": "1.0", "originator": "CL", "status": "actual",
        "event_at": "2026-11-10T15:30:00-03:00", "language": "es",
        "handling": {"tlp": "AMBER", "release": {"to": [{"member": "PE", "duties": ["action"]}]}},
    },
    "body": {"found_in": {"country": "CL", "locode": "CLVAP"}, "heading": "rudder-trunk", "vessel": {"value": "9074729"},
             "condition": "needs-care", "seen_by": {"post": "práctico"}},
}  # fmt: skip


def copied(to: Path) -> Path:
    """The shipped folder, copied there."""
    shutil.copytree(schemafiles.packaged(), to)
    return to


def with_a_kind_more(to: Path) -> Path:
    """The shipped folder, copied there, and the newcomer's three files in it."""
    made = copied(to)
    (made / "messages/stowaway").mkdir()
    (made / "messages/stowaway/1.0.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    (made / "codelists/hiding-places.csv").write_text(HIDING_PLACES, encoding="utf-8")
    (made / f"examples/{NAME}.json").write_text(json.dumps(EXAMPLE, ensure_ascii=False), encoding="utf-8")
    return made
