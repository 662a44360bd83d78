"""Who takes part: nine national points, three regional offices, two partners, ECHO; their groups and subscriptions."""

from __future__ import annotations

from typing import Any

from broker import administer
from broker.clock import now
from broker.demo.engines import Stage, enrol_member
from broker.members import ECHO

NATIONAL = {
    "AR": "Argentina", "BZ": "Belize", "CL": "Chile", "CR": "Costa Rica", "GT": "Guatemala", "JM": "Jamaica", "MX": "Mexico",
    "PA": "Panama", "PE": "Peru",
}  # fmt: skip
OFFICES = {"RILO-SA": "South America", "RILO-CA": "Central America", "RILO-CAR": "the Caribbean"}
PARTNERS = {
    "FIU-CL": "Financial investigation unit, Chile",
    "OPCW": "Organisation for the Prohibition of Chemical Weapons",
}
OFFICE_OF = {
    "AR": "RILO-SA", "CL": "RILO-SA", "PE": "RILO-SA", "CR": "RILO-CA", "GT": "RILO-CA", "MX": "RILO-CA", "PA": "RILO-CA",
    "BZ": "RILO-CA", "JM": "RILO-CAR",
}  # fmt: skip
"""Through whom each reports: besides itself, the only one that is told how complete its reports are."""
OPERATOR = "operator:demo"

GROUPS = {
    "OP-MARISMA": ("CL", "PE", "AR", "PA", "RILO-SA"),
    "STRAT-TRADE": (*NATIONAL, *OFFICES),
}

_SOUTH = ["AR", "CL", "PE"]
SUBSCRIPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "RILO-SA": ("region", {"any": [{"country": _SOUTH}, {"originator": _SOUTH}, {"kind": ["alert"]}]}),
    "CL": (
        "alerts-and-neighbours",
        {"any": [{"kind": ["alert"]}, {"country": ["AR", "CL", "PE"]}, {"mentions_me": True}]},
    ),
    "PE": ("watched", {"any": [{"kind": ["alert"]}, {"country": ["PE"]}, {"duty": ["action"]}]}),
    "AR": ("all", {}),
    "BZ": ("tobacco-and-arms", {"any": [{"heading": ["tobacco", "weapons"]}]}),
    "CR": ("ports", {"any": [{"mode": ["sea"]}, {"kind": ["alert"]}]}),
    "GT": ("alerts", {"any": [{"kind": ["alert"]}]}),
    "JM": ("caribbean", {"any": [{"country": ["JM", "BZ"]}, {"priority": ["urgent"]}]}),
    "MX": ("precursors", {"any": [{"heading": ["precursors", "drugs"]}, {"hs": ["29"]}]}),
    "PA": ("all-but-mine", {"any": [{"not": {"originator": ["PA"]}}]}),
    "RILO-CA": ("region", {"any": [{"country": ["BZ", "CR", "GT", "PA", "MX"]}, {"kind": ["alert"]}]}),
    "RILO-CAR": ("region", {"any": [{"country": ["JM"]}, {"kind": ["alert"]}]}),
    "FIU-CL": ("money", {"any": [{"heading": ["currency", "precursors"]}]}),
    "OPCW": ("chemicals", {"any": [{"heading": ["precursors", "strategic"]}, {"kind": ["alert"]}]}),
}
ON_THE_WIRE = ("RILO-SA", "CL")
"""Who consumes from RabbitMQ, where there is one."""


async def enrol_everybody(stage: Stage) -> dict[str, str]:
    """Members, operator, offices, groups. Returns member id -> fingerprint."""
    fingerprints = {}
    for id, country in NATIONAL.items():
        fingerprints[id] = await enrol_member(stage, id, "customs", f"National contact point, {country}")
    for id, area in OFFICES.items():
        fingerprints[id] = await enrol_member(stage, id, "rilo", f"Regional intelligence liaison office for {area}")
    for id, name in PARTNERS.items():
        fingerprints[id] = await enrol_member(stage, id, "partner", name)
    fingerprints[ECHO] = await enrol_member(stage, ECHO, "hub", "Echo, to test against")
    fingerprints[OPERATOR] = await enrol_member(stage, OPERATOR, "", "")
    for member, office in OFFICE_OF.items():
        await administer.set_office(stage.ledger, member, office, now())
    for name, within in GROUPS.items():
        await administer.add_group(stage.ledger, name, within[0])
        for member in within:
            await administer.join(stage.ledger, name, member, now())
    return fingerprints
