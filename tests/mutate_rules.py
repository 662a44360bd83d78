"""Mistakes between fields, in handling and in the header, one at a time: see `tests.mutate`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from tests import generate_values as values
from tests.generate import LANGUAGE, MODES_OPEN, NOW, TLP
from tests.mutate import Case, Draft, Mutation, Pointers, elsewhere, form, of_whole_chapter, replaced
from tests.places import Place

YESTERDAY = (NOW - timedelta(days=1)).date().isoformat()

# --- dates, counts, routes ---------------------------------------------------------------------------------------


def role(*names: str) -> Callable[[Place], bool]:
    return lambda p: p.schema.get("x-role") in names


def until_before_from(draft: Draft) -> Pointers:
    place = draft.one(lambda p: role("until", "valid-until")(p) and draft.beside(p, "x-role", "from"))
    if place is None:
        return None
    start = date.fromisoformat(place.holder[draft.beside(place, "x-role", "from")])
    place.holder[place.key] = (start - timedelta(days=1)).isoformat()
    return [place.pointer]


def part_exceeds_whole(draft: Draft) -> Pointers:
    place = draft.one(lambda p: role("part")(p) and draft.beside(p, "x-role", "whole"))
    if place is None:
        return None
    place.holder[place.key], place.holder[draft.beside(place, "x-role", "whole")] = 7, 6
    return [place.pointer]


def route_backwards(draft: Draft) -> Pointers:
    place = draft.one(lambda p: "confirmed" in p.schema.get("items", {}).get("properties", {}))
    if place is None:
        return None
    leg = place.value[0]
    place.value[:] = [leg | {"role": "destination"}, leg | {"role": "origin"}]
    return [f"{place.pointer}/1/role"]


def two_ends(draft: Draft) -> Pointers:
    place = draft.one(lambda p: "confirmed" in p.schema.get("items", {}).get("properties", {}))
    if place is None:
        return None
    leg = place.value[0] | {"role": "destination", "confirmed": True}
    place.value[:] = [leg, leg | {"role": "destination"}]
    return [f"{place.pointer}/1/role"]


def days_backwards(draft: Draft) -> Pointers:
    place = draft.one(role("leg-day"))
    if place is None:
        return None
    route = next(p.value for p in draft.places if isinstance(p.value, list) and any(x is place.holder for x in p.value))
    leg = {"country": "CL", "confirmed": True}
    route[:] = [leg | {place.key: "2026-11-02"}, leg | {place.key: "2026-11-01"}]
    return [place.pointer.rsplit("/", 2)[0] + f"/1/{place.key}"]


def event_outside_period(draft: Draft) -> Pointers:
    place = draft.one(lambda p: role("until")(p) and draft.beside(p, "x-role", "from"))
    if place is None or not draft.all(role("event-country")):
        return None
    place.holder[draft.beside(place, "x-role", "from")] = "2026-11-01"
    place.holder[place.key] = "2026-11-17"
    return [place.pointer]


def names_itself(draft: Draft) -> Pointers:
    place = draft.one(role("linked", "quoted"))
    if place is None:
        return None
    place.holder[place.key] = f"{draft.header['originator']}:{draft.header['id']}"
    return [place.pointer]


def other_mode(draft: Draft) -> Pointers:
    modes = draft.all(lambda p: p.schema.get("x-route") == "mode")
    identifiers = draft.all(form(*values.MODES))
    wrong = [
        mode
        for mode in draft.language.codelists["modes"].codes
        if mode not in MODES_OPEN and any(mode not in values.MODES[p.schema["format"]] for p in identifiers)
    ]
    if not modes or not wrong:
        return None
    mode = draft.rng.choice(wrong)
    for place in modes:
        place.holder[place.key] = mode
    return [p.pointer for p in identifiers if mode not in values.MODES[p.schema["format"]]]


def in_another_country(draft: Draft) -> Pointers:
    place = draft.one(lambda p: form("iata-airport")(p) and draft.beside(p, "format", "iso3166-1-alpha-2"))
    if place is None:
        return None
    place.holder[place.key] = (
        "SCL" if place.holder[draft.beside(place, "format", "iso3166-1-alpha-2")] == "PE" else "LIM"
    )
    return [place.pointer]


def airport_at_a_seaport(draft: Draft) -> Pointers:
    ports = {
        code.code[:2]: code.code for code in LANGUAGE.codelists["locodes"].codes.values()
        if code.more["functions"] and "4" not in code.more["functions"]
    }  # fmt: skip
    place = draft.one(lambda p: form("locode")(p) and "airport" in p.holder and p.value[:2] in ports)
    if place is None:
        return None
    place.holder[place.key] = ports[place.value[:2]]
    return [place.pointer]


def event_in_another_country(draft: Draft) -> Pointers:
    place = draft.one(role("event-country"))
    if place is None or draft.header["originator"] == "RILO-SA":
        return None
    place.holder.pop("locode", None)
    place.holder.pop("subdivision", None)
    place.holder.pop("airport", None)
    place.holder[place.key] = "PE" if place.value == "CL" else "CL"
    return [place.pointer]


# --- goods -------------------------------------------------------------------------------------------------------


FORMER_HS = {
    "29": "293991",
    "30": "300210",
    "38": "382200",
    "44": "440320",
    "85": "851712",
    "88": "8803",
    "97": "970500",
}
"""Codes of an earlier edition, by chapter."""


def hs_unlike_heading(draft: Draft) -> Pointers:
    codes, headings = draft.all(form("hs")), draft.headings()
    expected = {heading: draft.more("headings", heading, "chapters") for heading in headings}
    if not codes or not headings or not all(expected.values()):
        return None
    taken = tuple({chapter[:2] for chapters in expected.values() for chapter in chapters})
    others = [code for code in values.hs_codes(()) if not code.startswith(taken)]
    for place, other in zip(codes, draft.rng.sample(others, len(codes)), strict=True):
        place.holder[place.key] = other
    return [codes[0].pointer]


def block_of_another_heading(draft: Draft) -> Pointers:
    line = draft.one(lambda p: any("x-heading" in sub for sub in p.schema.get("properties", {}).values()))
    if line is None:
        return None
    own = {line.value["heading"]} if "heading" in line.value else draft.headings()
    unsaid = {gap["field"] for gap in draft.payload["body"].get("not_given", ())}
    blocks = {
        name: flag
        for name, sub in line.schema["properties"].items()
        if name not in line.value and sub.get("x-heading", next(iter(own))) not in own
        if f"{line.pointer.removeprefix('/body')}/{name}" not in unsaid
        for flag, about in sub["properties"].items()
        if about.get("type") == "boolean"
    }
    if not blocks:
        return None
    name = draft.rng.choice(sorted(blocks))
    line.value[name] = {blocks[name]: True}
    return [f"{line.pointer}/{name}"]


def without_block(draft: Draft) -> Pointers:
    headings = draft.all(lambda p: p.schema.get("x-route") == "heading")
    expected = [heading for heading in headings if "long" in draft.more("headings", heading.value, "block")]
    if not expected or "form" not in draft.payload["body"]:
        return None
    draft.payload["body"]["form"] = "long"
    heading = draft.rng.choice(expected).value
    for block in draft.all(lambda p: p.schema.get("x-heading") == heading):
        del block.holder[block.key]
    draft.payload["body"].pop("not_given", None)
    return [next(one.pointer for one in headings if one.value == heading)]


def unit_of_another_heading(draft: Draft) -> Pointers:
    place, headings = draft.one(lambda p: p.schema.get("x-codelist") == "units"), draft.headings()
    if place is None or not headings:
        return None
    codes = draft.language.codelists["units"].codes
    unusual = [code for code in codes if (usual := draft.more("units", code, "headings")) and not headings & set(usual)]
    if not unusual:  # under so many headings every unit is usual
        return None
    place.holder[place.key] = draft.rng.choice(unusual)
    return [place.pointer]


def other_appendix(draft: Draft) -> Pointers:
    place = draft.one(lambda p: role("appendix")(p) and draft.beside(p, "x-role", "taxon"))
    if place is None or not draft.more("cites-species", place.holder["taxon"], "appendix"):
        return None
    since, before, now = (
        draft.more("cites-species", place.holder["taxon"], c) for c in ("since", "before", "appendix")
    )
    known = before if since and since[0] > draft.header["event_at"][:10] else now
    others = [one for one in place.schema["enum"] if one not in known]
    if not known or not others:
        return None
    place.holder[place.key] = draft.rng.choice(others)
    return [place.pointer]


# --- handling ----------------------------------------------------------------------------------------------------


def gap_filled(draft: Draft) -> Pointers:
    place = draft.one(role("not-given"))
    if place is None:
        return None
    given = draft.all(lambda p: isinstance(p.key, str) and not p.pointer.startswith("/body/not_given"))
    place.holder[place.key] = draft.rng.choice(given).pointer.removeprefix("/body")
    return [place.pointer]


def quote_narrower(draft: Draft) -> Pointers:
    place, own = draft.one(role("quoted-tlp")), TLP.index(draft.header["handling"]["tlp"])
    if place is None or own == 0:
        return None
    place.holder[place.key] = draft.rng.choice(TLP[:own])
    return [place.pointer]


def without_consent(draft: Draft) -> Pointers:
    place = draft.one(role("quoted-handling"))
    if place is None:
        return None
    place.holder[place.key] = "H2"
    place.holder.pop("consent", None)
    return [place.pointer]


def nominal_to_all(draft: Draft) -> Pointers:
    place = next(iter(draft.all(lambda p: p.schema.get("x-nominal"))), None)
    if place is None:
        return None
    draft.header["handling"]["release"]["all"] = True
    return [place.pointer]


def without_basis(draft: Draft) -> Pointers:
    nominal = draft.all(lambda p: p.schema.get("x-nominal"))
    if not nominal or "legal_basis" in draft.root.get("x-requires", ()):
        return None
    draft.header["legal_basis"] = draft.rng.choice([None, draft.header.pop("legal_basis") and None])
    return ["/header/legal_basis"]


def header_lacks(draft: Draft) -> Pointers:
    needed = draft.root.get("x-requires", ())
    for name in needed:
        draft.header[name] = None
    return [f"/header/{name}" for name in needed] or None


def header(pointer: str, **members: Any) -> Mutation:
    """Members of the header, whatever the kind."""

    def mutate(draft: Draft) -> Pointers:
        draft.header.update(members)
        return [pointer]

    return mutate


def forged_notice(draft: Draft) -> Pointers:
    if draft.header["originator"] != "hub":
        return None
    draft.header["originator"] = "CL"
    return ["/header/kind"]


MISTAKES: list[Case] = [
    # places, dates, counts, routes
    ("locode-country", "error", elsewhere("locode", "CLVAP", "PECLL")),
    ("airport-country", "error", in_another_country),
    ("locode-function", "warning", airport_at_a_seaport),
    ("subdivision-country", "error", elsewhere("iso3166-2", "CL-VS", "PE-LIM")),
    ("until-before-from", "error", until_before_from),
    ("validity-over", "warning", replaced(role("valid-until"), lambda _: YESTERDAY)),
    ("deadline-passed", "warning", replaced(role("deadline"), lambda _: "2026-11-20T12:00:00Z")),
    ("part-exceeds-whole", "error", part_exceeds_whole),
    ("route-order", "warning", route_backwards),
    ("route-order", "warning", two_ends),
    ("route-order", "warning", days_backwards),
    ("event-outside-period", "warning", event_outside_period),
    ("names-itself", "error", names_itself),
    ("mode-mismatch", "warning", other_mode),
    ("country-of-another", "warning", event_in_another_country),
    # goods
    ("hs-at-date", "warning", replaced(
        lambda p: of_whole_chapter(p) and p.value[:2] in FORMER_HS, lambda p: FORMER_HS[p.value[:2]])),
    ("hs-unlike-heading", "warning", hs_unlike_heading),
    ("block-unlike-heading", "warning", block_of_another_heading),
    ("block-missing", "warning", without_block),
    ("unit-unusual", "warning", unit_of_another_heading),
    ("quantity-zero", "warning", replaced(role("quantity"), lambda _: "0.00")),
    ("appendix-at-date", "warning", other_appendix),
    # handling
    ("gap-filled", "error", gap_filled),
    ("gap-unknown", "error", replaced(role("not-given"), lambda _: "/no_such_member")),
    ("marking-wider", "error", quote_narrower),
    ("consent-missing", "error", without_consent),
    ("nominal-to-all", "error", nominal_to_all),
    ("nominal-without-basis", "error", without_basis),
    # the header
    ("header-needed", "error", header_lacks),
    ("kind-reserved", "error", forged_notice),
    ("unknown-kind", "error", header("/header/kind", kind="telegram")),
    ("unknown-version", "error", header("/header/version", version="9.0")),
    ("event-in-future", "error", header("/header/event_at", event_at="2026-11-20T12:05:01Z")),
    ("expires-before-event", "error", header(
        "/header/expires_at", expires_at="2026-11-19T01:10:00Z", acknowledge_by=None)),
    ("already-expired", "warning", header("/header/expires_at", expires_at="2026-11-20T12:00:00Z", acknowledge_by=None)),
    ("acknowledge-after-expiry", "error", header(
        "/header/acknowledge_by", expires_at="2027-01-01T00:00:00Z", acknowledge_by="2027-01-01T00:00:01Z")),
    ("supersedes-and-withdraws", "shape", lambda d: header(
        "/header/withdraws", supersedes="OPCW:1", withdraws="OPCW:1", handling={"tlp": "RED", "release": None})(d)),
    ("release-missing", "shape", header("/header/handling/release", handling={"tlp": "RED", "release": None})),
    ("release-of-withdrawal", "shape", header("/header/handling/release", withdraws="OPCW:1")),
    ("refers-to-itself", "shape", lambda d: header(
        "/header/in_reply_to", in_reply_to=f"{d.header['originator']}:{d.header['id']}")(d)),
]  # fmt: skip
