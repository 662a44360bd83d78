"""What the messages of a season say: seizures and alerts, with places that exist and identifiers that compute."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

Payload = dict[str, Any]
PORTS = {
    "AR": ["ARBUE", "ARROS", "AREZE"],
    "BZ": ["BZBZE", "BZBGK"],
    "CL": ["CLVAP", "CLSAI", "CLIQQ", "CLSCL"],
    "CN": ["CNSHA", "CNNGB"],
    "CR": ["CRMOB", "CRCAL"],
    "EC": ["ECGYE"],
    "ES": ["ESALG", "ESVLC"],
    "GT": ["GTSTC", "GTPBR"],
    "JM": ["JMKIN"],
    "MX": ["MXZLO", "MXVER", "MXMEX"],
    "NL": ["NLRTM", "NLAMS"],
    "PA": ["PABLB", "PAONX", "PAPTY"],
    "PE": ["PECLL", "PELIM"],
    "US": ["USMIA", "USLAX"],
}

Line = dict[str, Any]
GOODS: dict[str, list[Line]] = {
    "tobacco": [
        {"hs": "240220", "description": "Cigarrillos sin estampilla", "unit": "stick", "brand": "Tres Mares"},
        {"hs": "240311", "description": "Tabaco para pipa de agua", "unit": "KGM"},
    ],
    "drugs": [
        {"hs": "293972", "description": "Clorhidrato de cocaína", "unit": "KGM"},
        {"hs": "1211", "description": "Marihuana prensada", "unit": "KGM"},
    ],
    "precursors": [
        {
            "hs": "291524",
            "description": "Anhídrido acético",
            "unit": "LTR",
            "cas": {"value": "108-24-7"},
            "un": {"value": "UN1715", "as": "verified"},
        },
        {"hs": "293941", "description": "Efedrina", "unit": "KGM", "cas": {"value": "299-42-3", "as": "found"}},
    ],
    "wildlife": [
        {"hs": "050710", "description": "Marfil en bruto", "unit": "KGM", "species": "Loxodonta africana"},
        {"hs": "030192", "description": "Anguilas vivas", "unit": "KGM", "species": "Anguilla anguilla"},
    ],
    "weapons": [
        {"hs": "930200", "description": "Pistolas desarmadas", "unit": "C62"},
        {"hs": "930630", "description": "Cartuchos 9 mm", "unit": "C62"},
    ],
    "strategic": [
        {"hs": "854231", "description": "Procesadores", "unit": "C62", "control": "3A001"},
        {"hs": "841350", "description": "Bombas volumétricas", "unit": "C62", "control": "2B350"},
    ],
    "counterfeits": [
        {"hs": "950300", "description": "Juguetes", "unit": "C62", "gtin": {"value": "4006381333931"}},
    ],
    "currency": [{"hs": "710813", "description": "Láminas de oro", "unit": "GRM"}],
    "environment": [{"hs": "3825", "description": "Residuos declarados como chatarra", "unit": "TNE"}],
}
MODES = ("sea", "road", "air", "post")
CONCEALMENT = ("in-cargo", "container-structure", "misdeclared", "baggage", "parcel")
DETECTION = ("risk-profile", "intelligence", "scanner", "dog", "routine")
ACTIONS = ("observe", "inform", "control-documents", "scan", "hold")
REASONS = ("new-route", "new-concealment", "new-modus-operandi", "watch", "warning")


def seizure(rng: Random, country: str) -> Payload:
    heading = rng.choice(list(GOODS))
    mode = rng.choice(MODES)
    form = rng.choice(["long", "simplified"])
    found = _found(rng, heading)
    body: Payload = {
        "form": form,
        "heading": heading,
        "place": {"country": country, "type": "seaport" if mode == "sea" else "land-border"},
        "goods": [found],
        "transport": {"mode": mode} | _conveyance(rng, mode),
    }
    if rng.random() < 0.5:
        body["place"]["locode"] = rng.choice(PORTS[country])
    if rng.random() < 0.3:
        body["goods"].append({"side": "declared", "hs": "950300", "description": "Juguetes"})
    if rng.random() < 0.6:
        body["route"] = route(rng, country)
    if heading == "currency":
        body["value"] = {"amount": f"{rng.randint(1, 900)}000.00", "currency": "USD", "estimate": True}
    body |= {"procedure": rng.choice(["import", "export", "transit"])} if form == "long" else {}
    if body.get("procedure") == "transit" and "route" not in body:
        body["not_given"] = [{"field": "/route", "why": "unknown"}]
    return body | {"concealment": [rng.choice(CONCEALMENT)], "detection": [rng.choice(DETECTION)]}


def _found(rng: Random, heading: str) -> Line:
    line = copy.deepcopy(rng.choice(GOODS[heading]))
    quantity = {"value": f"{rng.randint(1, 40000)}.{rng.randint(0, 9)}", "unit": line.pop("unit")}
    return {"side": "found", **line, "quantity": quantity} | ({"heading": heading} if rng.random() < 0.3 else {})


def alert(rng: Random, country: str) -> Payload:
    headings = rng.sample(list(GOODS), rng.choice([1, 1, 2]))
    modes = rng.sample(MODES, rng.randint(1, 2))
    lines = [{k: v for k, v in rng.choice(GOODS[name]).items() if k in ("hs", "description")} for name in headings]
    body: Payload = {
        "subject": f"{lines[0]['description']}: nueva ruta por {country}",
        "reason": rng.choice(REASONS),
        "headings": headings,
        "requested_actions": rng.sample(ACTIONS, rng.randint(1, 2)),
    }
    more: Payload = {
        "goods": lines,
        "transport": {"modes": modes} | _sought(rng, modes[0]),
        "route": route(rng, country),
        "countries": rng.sample(list(PORTS), rng.randint(1, 3)),
    }
    return body | {name: value for name, value in more.items() if rng.random() < 0.6}


def route(rng: Random, country: str) -> list[Payload]:
    """From one to four legs that end in `country`; most are not confirmed."""
    via = rng.sample([other for other in PORTS if other != country], rng.randint(0, 3))
    roles = ["origin", *["via"] * len(via)][: len(via)]
    legs = [_leg(rng, *leg) for leg in zip(roles, via, strict=True)]
    return [*legs, _leg(rng, "destination", country)]


def _leg(rng: Random, role: str, country: str) -> Payload:
    leg: Payload = {"role": role, "country": country, "confirmed": rng.random() < 0.3}
    return leg | ({"locode": rng.choice(PORTS[country])} if rng.random() < 0.5 else {})


def _sought(rng: Random, mode: str) -> Payload:
    """As in an alert: lists of what to look for."""
    return {name if name == "containers" else f"{name}s": value if name == "containers" else [value]
            for name, value in _conveyance(rng, mode).items()}  # fmt: skip


def _conveyance(rng: Random, mode: str) -> Payload:
    if mode == "sea":
        vessel = {"name": "Mar de Plata", "imo": _identifier(rng, imo)}
        return {"containers": [_identifier(rng, container)], "vessel": vessel}
    if mode == "air":
        return {"awb": _identifier(rng, air_waybill)}
    return {"parcel": _identifier(rng, parcel)} if mode == "post" else {}


def _identifier(rng: Random, make: Callable[[Random], str]) -> Payload:
    standing = rng.choice([None, "found", "verified"])
    return {"value": make(rng)} | ({"as": standing} if standing else {})


def container(rng: Random) -> str:
    """A container number with its check digit (ISO 6346): letters from 10, without 11, 22 and 33; weights 2^i."""
    letters = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True))
    owner, serial = rng.choice(["CSQU", "MSKU", "MWCU"]), f"{rng.randrange(10**6):06d}"
    values = [*(letters[letter] for letter in owner), *map(int, serial)]
    return owner + serial + str(sum(value << i for i, value in enumerate(values)) % 11 % 10)


def imo(rng: Random) -> str:
    """An IMO ship number: six digits times 7 to 2, the last digit of the sum."""
    six = f"9{rng.randrange(10**5):05d}"
    return six + str(sum(int(digit) * weight for digit, weight in zip(six, range(7, 1, -1), strict=True)) % 10)


def air_waybill(rng: Random) -> str:
    """An air waybill: prefix, seven digits, and these modulo 7."""
    serial = rng.randrange(10**7)
    return f"045-{serial:07d}{serial % 7}"


S10_CHECK = {10: 0, 11: 5}


def parcel(rng: Random) -> str:
    """A postal item (UPU S10): eight digits, 11 minus their weighted sum modulo 11, where 10 is 0 and 11 is 5."""
    serial = f"{rng.randrange(10**8):08d}"
    check = 11 - sum(int(d) * w for d, w in zip(serial, (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    return f"RR{serial}{S10_CHECK.get(check, check)}CL"
