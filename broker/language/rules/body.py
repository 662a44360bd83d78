"""Rules between the fields of a body: places, transport, goods, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from broker.errors import Fault, quote
from broker.language.identifiers import FORMATS
from broker.language.plan import Seen
from broker.language.rules.report import Report

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
ORDER_OF_LEGS = {"origin": 0, "departure": 1, "via": 2, "destination": 3}
UNITS = "units"
HEADINGS = "headings"


# --- places and routes -------------------------------------------------------------------------------------------


def locode_country(report: Report) -> Iterator[Fault]:
    """domain.md §6.2: a UN/LOCODE lies in the country stated beside it."""
    for seen, country in _elsewhere(report, "locode"):
        yield Fault(seen.pointer, "locode-country", quote(seen.value), more={"country": country})


def subdivision_country(report: Report) -> Iterator[Fault]:
    """ISO 3166-2 §5.2: a subdivision's code begins with its country's."""
    for seen, country in _elsewhere(report, "iso3166-2"):
        yield Fault(seen.pointer, "subdivision-country", quote(seen.value), more={"country": country})


def _elsewhere(report: Report, form: str) -> Iterator[tuple[Seen, str]]:
    """What lies in another country than the one stated beside it, with that one. What is no such code at all is told by
    the format, and lies nowhere."""
    for seen in report.seen:
        if seen.mark.format != form or not isinstance(seen.holder, dict) or FORMATS[form].check(seen.value) is not None:
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
    """domain.md §6.2: legs stand in the order of the journey: origin, departure, what it passed, destination."""
    reached = 0
    for seen in report.role("leg"):
        place = ORDER_OF_LEGS.get(seen.value, reached)
        if place < reached:
            yield Fault(seen.pointer, "route-order", quote(seen.value), tuple(ORDER_OF_LEGS))
        reached = max(reached, place)


def until_before_from(report: Report) -> Iterator[Fault]:
    """Dates compare as text: the schemas hold them to RFC 3339 full-date."""
    for seen in (*report.role("until"), *report.role("valid-until")):
        start = report.sibling(seen, "from")
        if start is not None and seen.value < start.value:
            yield Fault(seen.pointer, "until-before-from", quote(seen.value), more={"from": start.value})


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
    for seen in report.seen:
        wanted = MODES_OF.get(seen.mark.format or "")
        if wanted is not None and not wanted & modes:
            yield Fault(seen.pointer, "mode-mismatch", ", ".join(sorted(modes)), tuple(sorted(wanted)))


# --- goods -------------------------------------------------------------------------------------------------------


def hs_unlike_heading(report: Report) -> Iterator[Fault]:
    """domain.md §7.7: some HS code of the report lies in a chapter that one expects under one of its headings."""
    headings = report.attributes.get("heading", frozenset())
    chapters: set[str] = set()
    for heading in headings:
        expected = _more(report, HEADINGS, heading, "chapters")
        if not expected:
            return
        chapters.update(expected)
    codes = [seen for seen in report.seen if seen.mark.route == "hs"]
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
        if seen.mark.heading not in (own or everywhere):
            yield Fault(seen.pointer, "block-unlike-heading", seen.mark.heading, tuple(sorted(own or everywhere)))


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


def _more(report: Report, codelist: str, code: str, column: str) -> tuple[str, ...]:
    """A further column of a list's row; empty where list, row or column is not there."""
    found = report.codelists.get(codelist)
    row = found.codes.get(code) if found is not None else None
    return row.more.get(column, ()) if row is not None else ()


def _within(hs: str, chapters: set[str]) -> bool:
    digits = FORMATS["hs"].normalise(hs)
    return any(digits.startswith(chapter) or chapter.startswith(digits) for chapter in chapters)
