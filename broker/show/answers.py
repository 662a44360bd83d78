"""What the hub says about a message when it is asked for it: state, warnings, where it meets others, how complete it is.

The answer of `GET /v1/messages/{address}`; members that are not in it are not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker import titles, words
from broker.commands.speak import clean
from broker.show.tree import Reader
from broker.titles import mapping

Answer = Mapping[str, Any]


def facts(answer: Answer, reader: Reader) -> Iterator[tuple[str, str]]:
    """(title, text): state, acceptance, completeness."""
    if answer.get("state") is not None:
        state = clean(answer["state"])
        yield reader.word("state"), words.STATES[state].in_(reader.language) if state in words.STATES else state
    if answer.get("accepted_at") is not None:
        yield reader.word("accepted"), clean(answer["accepted_at"])
    if answer.get("completeness") is not None:
        yield reader.word("completeness"), f"{clean(answer['completeness'])} {reader.word('of_100')}"


def lists(answer: Answer, reader: Reader) -> Iterator[tuple[str, list[str]]]:
    """(heading, lines): warnings, links by identifier, candidates for the same event, editions of code lists."""
    for heading, lines in (
        (reader.word("warnings"), [_warning(mapping(one), reader) for one in answer.get("warnings") or ()]),
        (reader.word("also"), list(_links(answer, "identifier", reader))),
        (reader.word("perhaps"), list(_links(answer, "same-event", reader))),
        (reader.word("editions"), _editions(mapping(answer.get("editions")))),
    ):
        if lines:
            yield heading, lines


def _warning(warning: Mapping[str, Any], reader: Reader) -> str:
    pointer = clean(warning.get("pointer") or "/")
    where = clean(titles.field(reader.schema, pointer, reader.language)) or pointer
    return f"{where}: {clean(warning.get('detail') or warning.get('rule'))}"


def _links(answer: Answer, why: str, reader: Reader) -> Iterator[str]:
    for found in answer.get("links") or ():
        link = mapping(found)
        if link.get("why") != why:
            continue
        kind = max((one for one in titles.kinds() if one[0] == link.get("kind")), default=None)
        called = (titles.title(titles.schema(*kind), reader.language) if kind else None) or clean(link.get("kind", "?"))
        address, tlp, at = (clean(link.get(name, "?")) for name in ("address", "tlp", "accepted_at"))
        other = f"{address}  {called}  TLP:{tlp}  {at}"
        if why == "identifier":
            yield f"{clean(link.get('scheme', ''))} {clean(link.get('value', ''))}:  {other}"
        else:
            yield f"{other}  ({clean(link.get('hours_apart', '?'))} {reader.word('hours')})"


def _editions(editions: Mapping[str, Any]) -> list[str]:
    said = "; ".join(f"{clean(name)} {clean(edition)}" for name, edition in sorted(editions.items()))
    return [said] if said else []
