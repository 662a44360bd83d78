"""Rules between the fields of a body: places, transport, goods, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from broker.errors import Fault, quote
from broker.language.codelists import Code
from broker.language.existence import AIRPORTS_OF_TWO_COUNTRIES, HS_EDITION, hs_codes
from broker.language.identifiers import FORMATS, examine
from broker.language.plan import Seen
from broker.language.rules.handling import starred
from broker.language.rules.report import Report, moment

MODES_OF: Mapping[str, frozenset[str]] = {
    "imo": frozenset({"sea", "inland-water"}),
    "mmsi": frozenset({"sea", "inland-water"}),
    "awb": frozenset({"air", "post"}),
    "flight": frozenset({"air", "post"}),
    "s10": frozenset({"post", "air"}),
    "vin": frozenset({"road", "sea", "rail"}),
}
"""Which modes of transport go with an identifier (domain.md §6.2): post and express parcels fly, cars are shipped."""
MODES_THAT_SAY_NOTHING = frozenset({"unknown", "withheld", "other"})
CONFIRMED = "confirmed"
"""Member of a leg, beside its part."""
DESTINATION = "destination"
ORDER_OF_LEGS = {"origin": 0, "departure": 1, "via": 2, DESTINATION: 3}
BEHIND, AHEAD = timedelta(hours=12), timedelta(hours=14)
"""The offsets of local time from UTC, at most."""
UNITS = "units"
HEADINGS = "headings"
LOCODES = "locodes"
AIRPORT = ("4",)
"""The function of a UN/LOCODE that has one."""
HS_CHANGES = "hs-changes"
HS_EDITIONS = (2022, 2017, 2012)
"""In force from the first day of their year; newest first. What is older is not told apart."""
HS_LATE_YEARS = 4
"""So late the last countries apply an edition: the one of 2017 came to some at the end of 2020."""


# --- places and routes -------------------------------------------------------------------------------------------


def locode_country(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: a UN/LOCODE lies in the country stated beside it."""
    for seen, country in _elsewhere(report, "locode"):
        yield Fault(seen.pointer, "locode-country", quote(seen.value), more={"country": country})


def locode_function(report: Report) -> Iterator[Fault]:
    """domain.md §3: a UN/LOCODE has functions, and what stands beside it (an airport, a type of place) needs one of some.
    Only where our list knows those of the place."""
    for seen in report.format("locode"):
        functions = _more(report, LOCODES, seen.value, "functions")
        if not functions:
            continue
        for one in report.beside[id(seen.holder)]:
            needed = _functions_needed(report, one)
            if needed and not set(needed) & set(functions):
                more = {"functions": ", ".join(functions), "beside": one.value}
                yield Fault(seen.pointer, "locode-function", quote(seen.value), needed, more)
                break


def _functions_needed(report: Report, seen: Seen) -> tuple[str, ...]:
    """One of these a UN/LOCODE beside it has; none, if it says nothing of that."""
    if seen.mark.format == "iata-airport":
        return AIRPORT
    return () if seen.mark.format == "locode" else _more(report, seen.mark.codelist, seen.value, "functions")


def subdivision_country(report: Report) -> Iterator[Fault]:
    """ISO 3166-2 §5.2: a subdivision's code begins with its country's."""
    for seen, country in _elsewhere(report, "iso3166-2"):
        yield Fault(seen.pointer, "subdivision-country", quote(seen.value), more={"country": country})


def airport_country(report: Report) -> Iterator[Fault]:
    """domain.md §6.2, place in country: an airport lies in the country stated beside it."""
    for form in ("iata-airport", "icao-airport"):
        for seen, country in _elsewhere(report, form):
            if country not in AIRPORTS_OF_TWO_COUNTRIES.get(seen.value, ()):
                yield Fault(seen.pointer, "airport-country", quote(seen.value), more={"country": country})


def _elsewhere(report: Report, form: str) -> Iterator[tuple[Seen, str]]:
    """What lies in another country than the one stated beside it, with that one. What is no such code at all is told by
    the format, and lies nowhere."""
    for seen in report.format(form):
        if not isinstance(seen.holder, dict) or FORMATS[form].check(seen.value) is not None:
            continue
        country = FORMATS[form].country(seen.value)
        stated = report.sibling_format(seen, "iso3166-1-alpha-2")
        if country is not None and stated is not None and stated != country:
            yield seen, stated


def country_of_another(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: the country of the event is the originator's own, if the originator is a country."""
    own = report.header["originator"]
    if FORMATS["iso3166-1-alpha-2"].check(own) is not None:
        return
    for seen in report.role("event-country"):
        if seen.value != own:
            yield Fault(seen.pointer, "country-of-another", quote(seen.value), (own,))


def route_order(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: legs stand in the order of the journey: origin, departure, what it passed, destination; nothing
    arrives before it left, nor in two places: of what is not confirmed there may be several."""
    reached: dict[str, int] = {}
    ended: set[str] = set()
    for seen in report.role("leg"):
        route = _list_of(seen)
        before = reached.get(route, 0)
        place = ORDER_OF_LEGS.get(seen.value, before)
        ends = seen.value == DESTINATION and isinstance(seen.holder, dict) and seen.holder.get(CONFIRMED) is True
        if place < before or (ends and route in ended):
            yield Fault(seen.pointer, "route-order", quote(seen.value), tuple(ORDER_OF_LEGS))
        reached[route] = max(before, place)
        ended |= {route} if ends else set()
    days: dict[str, str] = {}
    for seen in report.role("leg-day"):
        route = _list_of(seen)
        if seen.value < days.get(route, ""):
            yield Fault(seen.pointer, "route-order", quote(seen.value), tuple(ORDER_OF_LEGS))
        days[route] = max(days.get(route, ""), seen.value)


def _list_of(seen: Seen) -> str:
    """The pointer of the list in whose item it stands."""
    return seen.pointer.rsplit("/", 2)[0]


def until_before_from(report: Report) -> Iterator[Fault]:
    """Dates compare as text: the schemas hold them to RFC 3339 full-date."""
    for seen in (*report.role("until"), *report.role("valid-until")):
        start = report.sibling(seen, "from")
        if start is not None and seen.value < start.value:
            yield Fault(seen.pointer, "until-before-from", quote(seen.value), more={"from": start.value})


def event_outside_period(report: Report) -> Iterator[Fault]:
    """domain.md §2.2: the event lies in the period of its report, wherever that day began. Where no event is placed, a
    period is what a product covers, and ends before it is written."""
    if not report.role("event-country"):
        return
    event = moment(report.header["event_at"])
    first, last = (event - BEHIND).date().isoformat(), (event + AHEAD).date().isoformat()
    for seen in report.role("until"):
        start = report.sibling(seen, "from")
        if first > seen.value or (start is not None and last < start.value):
            period = f"{start.value if start is not None else ''} – {seen.value}"
            yield Fault(seen.pointer, "event-outside-period", quote(period), more={"at": report.header["event_at"]})


def validity_over(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: what is to be watched for until a day that has passed is watched for by nobody."""
    for seen in report.role("valid-until"):
        if seen.value < report.now.date().isoformat():
            yield Fault(seen.pointer, "validity-over", quote(seen.value))


# --- transport ---------------------------------------------------------------------------------------------------


def mode_mismatch(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: an IMO number travels by sea, an air waybill by air."""
    modes = report.attributes.get("mode", frozenset())
    if not modes or modes & MODES_THAT_SAY_NOTHING:
        return
    for form, wanted in MODES_OF.items():
        for seen in report.format(form) if not wanted & modes else ():
            yield Fault(seen.pointer, "mode-mismatch", ", ".join(sorted(modes)), tuple(sorted(wanted)))


# --- goods -------------------------------------------------------------------------------------------------------


def unknown_hs(report: Report) -> Iterator[Fault]:
    """domain.md §3: an HS code exists in the newest edition, or did in one before. Old reports quote old editions, and our
    list of changes is a selection: a warning."""
    for seen, digits in _hs(report):
        row = _hs_change(report, digits)
        if digits not in hs_codes() and (row is None or not row.more.get("last")):
            yield Fault(seen.pointer, "unknown-hs", quote(seen.value), more={"edition": HS_EDITION})


def hs_at_date(report: Report) -> Iterator[Fault]:
    """domain.md §3: existence per edition. Of a report of an event, no code is of a later edition than that day's; and
    none has ended so long before it that no country was so late. As far as our list of changes knows."""
    day = report.header["event_at"][:10]
    edition = _hs_edition(int(day[:4]))
    latest = _hs_edition(int(day[:4]) - HS_LATE_YEARS)
    for seen, digits in _hs(report):
        if _hs_change(report, digits) is None:
            continue
        first, last, instead = _hs_life(report, digits)
        if edition < first and report.role("event-country"):
            yield Fault(seen.pointer, "hs-at-date", quote(seen.value), more={"edition": f"HS {first}", "day": day})
        elif last < latest:
            now = tuple(code for code in instead if _hs_life(report, code)[0] <= edition <= _hs_life(report, code)[1])
            yield Fault(seen.pointer, "hs-at-date", quote(seen.value), now, {"edition": f"HS {last}", "day": day})


def _hs(report: Report) -> Iterator[tuple[Seen, str]]:
    """What has the form of an HS code, with its digits."""
    for seen in report.format("hs"):
        digits, flaw = examine("hs", seen.value)
        if flaw is None:
            yield seen, digits


def _hs_edition(year: int) -> int:
    return next((edition for edition in HS_EDITIONS if edition <= year), HS_EDITIONS[-1])


def _hs_change(report: Report, digits: str) -> Code | None:
    """The row of the code, or of the heading that came or went with all its codes."""
    known = report.codelists.get(HS_CHANGES)
    return None if known is None else known.codes.get(digits) or known.codes.get(digits[:4])


def _hs_life(report: Report, digits: str) -> tuple[int, int, tuple[str, ...]]:
    """The first and the last edition that has the code, as far as is known, and where its goods went."""
    row = _hs_change(report, digits)
    if row is None:
        return HS_EDITIONS[-1], HS_EDITIONS[0], ()
    first, last, instead = (row.more.get(column, ()) for column in ("first", "last", "instead"))
    return int("".join(first) or HS_EDITIONS[-1]), int("".join(last) or HS_EDITIONS[0]), instead


def hs_unlike_heading(report: Report) -> Iterator[Fault]:
    """domain.md §7.7: some HS code of the report lies in a chapter that one expects under one of its headings."""
    headings = report.attributes.get("heading", frozenset())
    chapters: set[str] = set()
    for heading in headings:
        expected = _more(report, HEADINGS, heading, "chapters")
        if not expected:
            return
        chapters.update(expected)
    codes = report.route("hs")
    if chapters and codes and not any(_within(seen.value, chapters) for seen in codes):
        yield Fault(codes[0].pointer, "hs-unlike-heading", quote(codes[0].value), tuple(sorted(chapters)),
                    {"heading": ", ".join(sorted(headings))})  # fmt: skip


def block_unlike_heading(report: Report) -> Iterator[Fault]:
    """What only goods of one heading have (`x-heading`) stands with goods of that heading."""
    everywhere = report.attributes.get("heading", frozenset())
    for seen in report.seen:
        if seen.mark.heading is None:
            continue
        own = {one.value for one in report.beside[id(seen.holder)] if one.mark.route == "heading"}
        known = own or everywhere
        if known and seen.mark.heading not in known:
            yield Fault(seen.pointer, "block-unlike-heading", seen.mark.heading, tuple(sorted(known)))


def block_missing(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: the heading decides which block is needed: `headings.csv` says in which form of report. It is a
    warning, said once a heading: real reports lack most of what one would like to know (§7.6)."""
    forms = {seen.value for seen in report.role("form")}
    there = {seen.mark.heading for seen in report.seen}
    for seen in report.route("heading"):
        blocks = report.blocks.get(seen.value, ())
        if seen.value in there or not blocks:
            continue
        there.add(seen.value)
        gaps = [f"{starred(gap.value)}/" for gap in report.role("not-given")]
        explained = any(gap.startswith(f"{block}/") for gap in gaps for block in blocks)
        if not explained and forms & {*_more(report, HEADINGS, seen.value, "block")}:
            yield Fault(seen.pointer, "block-missing", quote(seen.value), tuple(blocks))


def unit_unusual(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: cigarettes are counted, not poured: `units.csv` says which headings are measured so."""
    headings = report.attributes.get("heading", frozenset())
    for seen in report.seen:
        if seen.mark.codelist != UNITS or not headings:
            continue
        usual = _more(report, UNITS, seen.value, "headings")
        if usual and not headings & set(usual):
            yield Fault(seen.pointer, "unit-unusual", quote(seen.value), more={"heading": ", ".join(sorted(headings))})


def quantity_zero(report: Report) -> Iterator[Fault]:
    """Nothing was found, or it was not measured: the one is no seizure, the other is said in `not_given`."""
    for seen in report.role("quantity"):
        if not seen.value.strip("0."):
            yield Fault(seen.pointer, "quantity-zero", quote(seen.value))


def part_exceeds_whole(report: Report) -> Iterator[Fault]:
    """No more persons are arrested than are involved, no more consignments hit than controlled."""
    for seen in report.role("part"):
        whole = report.sibling(seen, "whole")
        if whole is None or not (seen.value.isdecimal() and whole.value.isdecimal()):
            continue  # what was not counted is not compared
        if int(seen.value) > int(whole.value):
            yield Fault(seen.pointer, "part-exceeds-whole", seen.value, more={"limit": whole.value})


def appendix_at_date(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: the CITES Appendix is that of the day of the event, as far as our list of species knows."""
    day = report.header["event_at"][:10]
    for seen in report.role("appendix"):
        taxon = report.sibling(seen, "taxon")
        known = report.codelists[taxon.mark.codelist].codes.get(taxon.value) if taxon and taxon.mark.codelist else None
        if taxon is None or known is None:
            continue
        since, before = known.more.get("since", ()), known.more.get("before", ())
        appendix = known.more.get("appendix", ()) if not since or since[0] <= day else before
        if appendix and seen.value not in appendix:
            yield Fault(
                seen.pointer, "appendix-at-date", quote(seen.value), appendix, {"species": taxon.value, "day": day}
            )


def _more(report: Report, codelist: str | None, code: str, column: str) -> tuple[str, ...]:
    """A further column of a list's row; empty where list, row or column is not there."""
    found = report.codelists.get(codelist or "")
    row = found.codes.get(code) if found is not None else None
    return row.more.get(column, ()) if row is not None else ()


def _within(hs: str, chapters: set[str]) -> bool:
    digits = FORMATS["hs"].normalise(hs)
    return any(digits.startswith(chapter) or chapter.startswith(digits) for chapter in chapters)
