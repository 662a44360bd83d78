"""Valid messages of every kind, made from its schema: what an honest national system might send.

A walk over the schema makes one value for each place that it decides to fill. What a schema alone does not say, a
`Scene` knows: one mode of transport, a heading for each line of goods, a country for each place, an event two days ago.
So codes fit their headings, identifiers their modes and check digits, routes and dates are in order, and what a
condition asks for is there. A generated message has neither fault nor warning.

All chance comes from a `Random`: Hypothesis gives one that shrinks (`messages`), a seed one that repeats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from broker.language import Kind, Language, load_language
from tests import generate_values as values
from tests.places import Schema, absences, inlined, places

LANGUAGE = load_language()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENT_AT = "2026-11-18T22:10:00-03:00"
TLP = ("RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR")
"""The narrowest first."""
LEGS = ("origin", "departure", "via", "destination")
HEADINGS = "headings"
"""The list of them; a kind may route by another."""
MODES_OPEN = ("unknown", "withheld", "other")
NEED_BLOCK = ("wildlife", "environment", "radioactive", "strategic")
"""Headings of which a long report has the block."""
LIST_MAX = 3
"""Items of a list, unless the schema asks for more."""

Payload = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """What the fields of one message agree about. `fullness`: how likely an optional member is, 0 to 1."""

    rng: Random
    language: Language
    fullness: float
    heading: str
    mode: str
    country: str
    tlp: str

    def gives(self, depth: int = 0) -> bool:
        """Whether an optional member is given: the deeper, the less often; at full, always."""
        return self.fullness >= 1 or self.rng.random() < self.fullness / (1 + depth / 4)

    def codes(self, codelist: str) -> list[str]:
        return list(self.language.codelists[codelist].codes)

    def more(self, codelist: str, code: str, column: str) -> tuple[str, ...]:
        return self.language.codelists[codelist].codes[code].more.get(column, ())


def kinds(language: Language = LANGUAGE) -> list[str]:
    """What a message can be of; not the withdrawal, whose header names the kind of its target."""
    return sorted({kind for kind, _ in language.kinds} - {"withdrawal"})


def message(
    kind: str, rng: Random, *, version: str = "1.0", fullness: float = 0.4, heading: str | None = None,
    language: Language = LANGUAGE,
) -> Payload:  # fmt: skip
    """A valid payload of that kind. With `fullness` 1, every member that fits is there."""
    known = language.kinds[kind, version]
    headings, modes = (list(language.codelists[name].codes) for name in ("headings", "modes"))
    scene = Scene(
        rng, language, fullness, heading=heading or rng.choice(headings), mode=rng.choice(modes),
        country=rng.choice(COUNTRIES), tlp=rng.choice(TLP),
    )  # fmt: skip
    root = inlined(known.schema)
    body = _with_gaps(scene, root, _mended(scene, known, root, _object(scene, root, 0)))
    return {"header": _header(scene, known, root, body), "body": body}


def messages(kind: str, **options: Any) -> st.SearchStrategy[Payload]:
    """The same, for Hypothesis to vary and to shrink."""
    return st.randoms(use_true_random=False).map(lambda rng: message(kind, rng, **options))


# --- the walk ----------------------------------------------------------------------------------------------------


def _value(scene: Scene, schema: Schema, depth: int) -> Any:
    types = schema.get("type", "string")
    if isinstance(types, list):
        types = scene.rng.choice([one for one in types if one != "null"])
    if types == "object":
        return _object(scene, schema, depth)
    if types == "array":
        return _array(scene, schema, depth)
    if types == "boolean":
        return scene.rng.random() < 0.5
    if types == "integer":
        return _integer(scene.rng, schema)
    return _string(scene, schema)


def _object(scene: Scene, schema: Schema, depth: int) -> Payload:
    members, required = schema.get("properties", {}), {*schema.get("required", ())}
    outside, scene = scene, _inside(scene, members, depth)
    if scene.heading != outside.heading or not depth:  # blocks and units are read by the headings that are there
        required |= {"heading", "headings"} & members.keys()
    if scene.heading in NEED_BLOCK:
        required |= {name for name, sub in members.items() if sub.get("x-heading") == scene.heading}
    fitting = [name for name, sub in members.items() if name in required or _fits(scene, sub)]
    given = {name for name in fitting if name in required or scene.gives(depth)}
    lacking = [name for name in fitting if name not in given]
    scene.rng.shuffle(lacking)
    given |= set(lacking[: max(0, schema.get("minProperties", 0) - len(given))])
    made = {name: _value(scene, members[name], depth + 1) for name in fitting if name in given}
    return _agreed(scene, members, made)


def _inside(scene: Scene, members: Schema, depth: int) -> Scene:
    """The scene in one object: a country of its own, unless it is where the event was; at times, a heading."""
    if depth and not any(sub.get("x-role") == "event-country" for sub in members.values()):
        scene = replace(scene, country=scene.rng.choice(COUNTRIES))
    if depth and "heading" in members and scene.heading not in NEED_BLOCK and scene.rng.random() < 0.3:
        scene = replace(scene, heading=scene.rng.choice(scene.codes("headings")))
    return scene


def _fits(scene: Scene, schema: Schema) -> bool:
    """Whether an optional member may stand here: goods of this heading, an identifier of this mode; gaps come last."""
    inner = schema.get("items", schema).get("properties", {})
    if schema.get("x-heading", scene.heading) != scene.heading or "why" in inner:
        return False
    modes = values.MODES.get(inner.get("value", {}).get("format", ""))
    return modes is None or scene.mode in (*modes, *MODES_OPEN)


def _agreed(scene: Scene, members: Schema, made: Payload) -> Payload:
    """What the members of one object owe each other."""
    roles = {sub.get("x-role"): name for name, sub in members.items()}
    taxon, appendix = roles.get("taxon"), roles.get("appendix")
    if taxon in made and appendix in made:
        since, before, now = (
            scene.more("cites-species", made[taxon], column) for column in ("since", "before", "appendix")
        )
        known = before if since and since[0] > EVENT_AT[:10] else now
        made[appendix] = scene.rng.choice(known or [made[appendix]])
    if made.get(roles.get("quoted-handling", "")) == "H2":
        made[roles["consent"]] = "OPCW:consent-1"
    if "heading" in made and members["heading"].get("x-codelist") == HEADINGS:
        made["heading"] = scene.heading
    return made


def _array(scene: Scene, schema: Schema, depth: int) -> list[Any]:
    items, fewest = schema["items"], schema.get("minItems", 0)
    wanted = scene.rng.randint(max(1, fewest), max(fewest, min(LIST_MAX, schema["maxItems"])))
    headings = items.get("x-route") == "heading" and items.get("x-codelist") == HEADINGS
    made: list[Any] = [scene.heading] if headings else []
    for _ in range(4 * wanted):  # what is drawn twice is drawn anew, and at last done without
        if len(made) < wanted:
            one = _value(replace(scene, country=scene.rng.choice(COUNTRIES)), items, depth + 1)
            made += [one] if not (schema.get("uniqueItems") and one in made) else []
    for name, sub in schema.get("contains", {}).get("properties", {}).items():
        made[0][name] = sub["const"]
    roles = {sub.get("x-role"): name for name, sub in items.get("properties", {}).items()}
    if "leg" in roles:
        _in_order(made, roles["leg"], roles["leg-day"])
    return made


def _in_order(legs: list[Payload], part: str, day: str) -> None:
    """Parts and days in the order of the journey, which ends once."""
    parts = sorted((leg[part] for leg in legs if part in leg), key=LEGS.index)
    parts = ["via" if one == LEGS[-1] and n < len(parts) - 1 else one for n, one in enumerate(parts)]
    for name, values_ in ((part, parts), (day, sorted(leg[day] for leg in legs if day in leg))):
        for leg, value in zip((leg for leg in legs if name in leg), values_, strict=True):
            leg[name] = value


def _integer(rng: Random, schema: Schema) -> int:
    low, high = schema["minimum"], schema["maximum"]
    middle = min(high, low + 50)  # no part is more than its whole
    first, last = {"part": (low, middle), "whole": (middle, high)}.get(schema.get("x-role", ""), (low, high))
    return rng.randint(first, last)


DAYS = {"from": (-300, -4), "until": (-2, 0), "valid-until": (0, 400)}
"""Role of a date -> first and last day, from today."""


def _string(scene: Scene, schema: Schema) -> str:
    rng, form = scene.rng, schema.get("format")
    if "enum" in schema or "x-codelist" in schema:
        return str(rng.choice(_allowed(scene, schema)))
    if form == "date":
        return (NOW + timedelta(days=rng.randint(*DAYS.get(schema.get("x-role", ""), (-900, 900))))).date().isoformat()
    if form == "date-time":
        return f"{(NOW + timedelta(minutes=rng.randint(1, 90_000))).isoformat()[:19]}{rng.choice(['Z', '+00:00'])}"
    if form == "hs":
        return values.hs(rng, scene.more("headings", scene.heading, "chapters"))
    if form is not None:
        return values.FORMATS[form](rng, scene.country)
    if "pattern" in schema:
        fitting = [made for one in values.PATTERNS if re.search(schema["pattern"], made := one(rng))]
        assert fitting, f"generate_values.PATTERNS has nothing for {schema['pattern']}"
        return rng.choice(fitting)
    return values.text(rng, schema.get("minLength", 0), schema["maxLength"])


def _allowed(scene: Scene, schema: Schema) -> list[Any]:
    """The values of an enum or a code list that fit the scene."""
    if schema.get("x-role") == "quoted-tlp":
        return [tlp for tlp in schema["enum"] if TLP.index(tlp) >= TLP.index(scene.tlp)]
    if "enum" in schema:
        return list(schema["enum"])
    codes = scene.codes(schema["x-codelist"])
    if schema.get("x-route") == "mode":
        return [scene.mode]
    if schema.get("format") == "locode":
        return [code for code in codes if code[:2] == scene.country and serves_everything(code)]
    if schema["x-codelist"] == "units":
        return [code for code in codes if scene.heading in (scene.more("units", code, "headings") or [scene.heading])]
    return codes


def serves_everything(locode: str) -> bool:
    """As far as is known, whatever stands beside it may do so: a port, a road, an airport."""
    functions = LANGUAGE.codelists["locodes"].codes[locode].more["functions"]
    return not functions or {"1", "3", "4"} <= set(functions)


COUNTRIES = tuple(
    country
    for country in sorted({code[:2] for code in LANGUAGE.codelists["locodes"].codes if serves_everything(code)})
    if values.subdivisions(country) and values.airports("IATA", country)
)
"""Those of which we have a place, a subdivision and an airport."""


# --- what holds for the whole message ----------------------------------------------------------------------------


def _mended(scene: Scene, known: Kind, root: Schema, body: Payload) -> Payload:
    """With what the schema's conditions ask for in this case."""
    for _ in range(8):
        lacking = [error for error in known.validator.iter_errors(body) if error.kind.name == "required"]
        for error in lacking:
            holder: Any = body
            schema = root
            for step in error.instance_path:
                holder, schema = holder[step], schema["properties"][step] if isinstance(step, str) else schema["items"]
            name = error.kind.as_dict()["property"]
            holder[name] = _value(scene, schema["properties"][name], 1)
        if not lacking:
            break
    return body


def _with_gaps(scene: Scene, root: Schema, body: Payload) -> Payload:
    """At times it is said why something is not given."""
    gaps = next(
        (name for name, sub in root["properties"].items() if "why" in sub.get("items", {}).get("properties", {})), None
    )
    absent = [pointer for pointer in absences(root, body) if not pointer.endswith(f"/{gaps}")]
    if gaps is None or not absent or not scene.gives():
        return body
    chosen = scene.rng.sample(absent, scene.rng.randint(1, min(LIST_MAX, len(absent))))
    return body | {
        gaps: [{"field": pointer, "why": scene.rng.choice(scene.codes("gap-reasons"))} for pointer in chosen]
    }


def _header(scene: Scene, known: Kind, root: Schema, body: Payload) -> Payload:
    rng, nominal = scene.rng, any(place.schema.get("x-nominal") for place in places(root, body))
    release: Payload = {"to": [{"member": "PE", "duties": ["action"]}]}
    if scene.tlp in TLP[1:] and scene.gives():
        release["groups"] = ["OP-MARISMA"]
    if scene.tlp in TLP[3:] and not nominal:
        release |= {"all": True, "except": ["BZ"]}
    header = {
        "id": values.some(rng, "ABCabc019._-", rng.randint(1, 64)), "kind": known.kind, "version": known.version,
        "originator": known.originator or rng.choice([scene.country, scene.country, "RILO-SA"]),
        "status": rng.choice(["actual", "exercise", "test"]), "event_at": EVENT_AT,
        "handling": {"tlp": scene.tlp, "release": release},
    }  # fmt: skip
    optional: Payload = {
        "priority": rng.choice(["routine", "priority", "urgent"]), "case": values.text(rng, 1, 64),
        "language": rng.choice(["es", "en", "pt-BR"]), "in_reply_to": "OPCW:asked-1", "references": ["OPCW:1", "RILO-CA:2"],
        "expires_at": "2027-11-20T12:00:00Z", "acknowledge_by": "2026-12-01T00:00:00Z",
        "legal_basis": values.text(rng, 1, 500), "grading": {"scheme": "5x5x5", "source": "E", "information": "4"},
    }  # fmt: skip
    needed = {*known.requires, *(["legal_basis"] if nominal else [])}
    return header | {name: value for name, value in optional.items() if name in needed or scene.gives()}
