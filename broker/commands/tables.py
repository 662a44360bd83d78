"""Tables in and out: `load` rows by a mapping, `export` them, `statistics` and `watchlist` from what one may see.

The work is done in `adapters.tables`, which is imported inside the commands: the broker does not know the adapters.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import OK, REFUSED, answer, clean, note, progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NEEDED = ("yaml", "openpyxl", "defusedxml")
"""defusedxml is never imported by name: openpyxl reads through it when it is there."""
SHOWN = 12
HEADING = 40

MappingFile = Annotated[Path, typer.Option("--mapping", help="The mapping of this table (YAML).", metavar="FILE")]
Checked = Annotated[bool, typer.Option("--dry-run", help="Check every row here; post nothing.")]
ErrorSheet = Annotated[
    Path | None, typer.Option("--errors", help="The error sheet; beside FILE, if left out.", metavar="FILE")
]
JournalFile = Annotated[
    Path | None, typer.Option("--journal", help="What is remembered; beside FILE, if left out.", metavar="FILE")
]
Receipts = Annotated[
    Path | None, typer.Option("--receipts", help="Also write messages and receipts into this folder.", metavar="DIR")
]
Sources = Annotated[
    list[Path] | None, typer.Argument(metavar="PATH...", help="Messages in files and folders; without, from the hub.")
]
Since = Annotated[str | None, typer.Option("--since", help="From the hub: accepted since (RFC 3339).", metavar="TIME")]
Box = Annotated[str | None, typer.Option("--box", help="From the hub: received or sent; without, both.")]


def _tables(module: str) -> Any:
    """A module of `adapters.tables`. Raises SetupRefused when what it needs is not installed."""
    from broker.errors import SetupRefused

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing or find_spec("adapters") is None:
        raise SetupRefused(detail=f"Tables need {', '.join(missing) or 'adapters'}: pip install 'tidewaiter[load]'")
    return import_module(f"adapters.tables.{module}")


# ── in ──


def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table (CSV, XLSX, JSON), or the error sheet of one.")],
    mapping: MappingFile,
    dry_run: Checked = False,
    errors: ErrorSheet = None,
    journal: JournalFile = None,
    receipts: Receipts = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Post the rows of a table as messages. Safe to repeat and to kill; what is refused comes back as an error sheet."""
    from broker.commands.failures import language

    loading = _tables("load")
    read = _tables("read_mapping").read_mapping(mapping)
    originator = _originator(read, mapping, member)
    asked = loading.Request(read, file, originator, language(), journal, _errors_path(errors, file))
    summary = loading.Summary()
    try:
        with ExitStack() as stack:
            options.run(_load(loading, asked, summary, stack, dry_run, url, member, key))
        if receipts is not None and not dry_run:
            _tables("posting").write_receipts(summary.journal, options.given(url, "url"), receipts)
    except BaseException:
        if summary.rows:
            _tell(summary, dry_run, as_json)  # what is certain, before the error is told
        raise
    _tell(summary, dry_run, as_json)
    raise typer.Exit(REFUSED if summary.refused else OK)


def _originator(read: Any, file: Path, member: str | None) -> str:
    """The mapping's, or whose key it is; they must not differ."""
    if read.originator is not None and member not in (None, read.originator):
        raise options.Usage(f"{file} loads for {read.originator}, and you are {member}.")
    return str(read.originator or options.given(member, "member"))


def _errors_path(errors: Path | None, file: Path) -> Path | None:
    if errors is not None and (errors.suffix.lower() != ".xlsx" or errors.absolute() == file.absolute()):
        raise options.Usage("--errors names a new .xlsx file.")
    return errors


async def _load(
    loading: Any, asked: Any, summary: Any, stack: ExitStack, dry_run: bool, url: str | None, member: str | None,
    key: Path | None,
) -> None:  # fmt: skip
    posting = _tables("posting")
    bar: list[Any] = [lambda done: None]

    def begin(rows: int | None) -> None:
        bar[0] = stack.enter_context(progress("checking" if dry_run else "loading", rows))

    def advance(done: int) -> None:
        bar[0](done)

    if dry_run:
        by = posting.DryRun(_language(), asked.tongue, import_module("broker.clock").now)
        await loading.load(asked, by, summary, advance, total=begin)
        return
    async with options.client_of(url, member or asked.originator, key) as client:
        await loading.load(asked, posting.Posting(client), summary, advance, total=begin)


def _language() -> Any:
    from broker.errors import SetupRefused

    try:
        return import_module("broker.language").load_language()
    except ModuleNotFoundError as error:
        raise SetupRefused(detail=f"--dry-run needs {error.name}: pip install 'tidewaiter[hub]'") from None


def _tell(summary: Any, dry_run: bool, as_json: bool) -> None:
    good = "would be accepted" if dry_run else "accepted"
    text = (
        f"{summary.rows} rows: {summary.accepted} {good}, {summary.repeated} there already, {summary.refused} refused"
    )
    text += f", {summary.ignored} left out" if summary.ignored else ""
    text += f"; {sum(summary.warnings.values())} warnings" if summary.warnings else ""
    shown = {
        "rows": summary.rows, "accepted": summary.accepted, "repeated": summary.repeated, "refused": summary.refused,
        "left_out": summary.ignored, "dry_run": dry_run, "rules": dict(summary.rules), "warnings": dict(summary.warnings),
        "errors": _name(summary.errors), "journal": _name(summary.journal), "unused": list(summary.unused),
        "absent": list(summary.absent),
    }  # fmt: skip
    answer(shown, text, as_json)
    if as_json:
        return
    for rule, rows in summary.rules.most_common():
        note(f"  {rows} refused by {rule}")
    for rule, rows in summary.warnings.most_common():
        note(f"  {rows} with the warning {rule}")
    if summary.errors is not None:
        note(f"Correct the cells in {summary.errors} and load that file.")
    if summary.unused:
        note(f"Not read by the mapping: {_names(summary.unused)}")
    if summary.absent:
        note(f"In no row: {_names(summary.absent)}")


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _names(headings: Any) -> str:
    """Some headings, each on no more than one line's part."""
    lines = [" ".join(heading.split()) for heading in headings[:SHOWN]]
    cut = [line if len(line) <= HEADING else line[: HEADING - 1] + "…" for line in lines]
    return clean(", ".join(cut)) + (f" and {len(headings) - SHOWN} more" if len(headings) > SHOWN else "")


# ── out ──


def export(
    sources: Sources = None,
    *,
    mapping: MappingFile,
    to: Annotated[Path, typer.Option("--to", help="The table: .csv or .xlsx.", metavar="FILE")],
    box: Box = None,
    since: Since = None,
    heading: Annotated[str | None, typer.Option("--heading")] = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Write messages as rows in the shape of a mapping; what it cannot carry is counted, a lost marking always."""
    read = _tables("read_mapping").read_mapping(mapping)
    left, done = _tables("sources").Left(), _tables("export").Exported()

    async def work(messages: AsyncIterator[Any]) -> None:
        await _tables("export").export(read, messages, to, done)

    options.run(_from(sources, read.kind, left, work, box, since, heading, url, member, key))
    shown = {
        "rows": done.rows, "file": str(to), "lost": dict(done.lost), "added": dict(done.added),
        "marking_not_in_table": dict(done.markings), "unencodable": done.unencodable, **_left(left),
    }  # fmt: skip
    answer(shown, f"{done.rows} rows in {to}", as_json)
    if not as_json:
        _tell_lost(done)
        _tell_left(left)
    raise typer.Exit(REFUSED if left.unreadable else OK)


def _tell_lost(done: Any) -> None:
    if done.markings:
        marked = ", ".join(f"TLP:{tlp} {number}" for tlp, number in sorted(done.markings.items()))
        note(
            f"The table does not say who may see it: lost is marking or release of {sum(done.markings.values())} messages"
            f" ({clean(marked)})."
        )
    for place, number in done.lost.most_common():
        note(f"  lost: {clean(place)} of {number} messages")
    for place, number in done.added.most_common():
        note(f"  the table says more than the message: {clean(place)} of {number} messages")
    if done.unencodable:
        note(f"  {done.unencodable} rows have characters that the table's encoding lacks; they became question marks")


def statistics(
    sources: Sources = None,
    *,
    to: Annotated[list[Path], typer.Option("--to", help="The table: .csv or .xlsx; may be given twice.", metavar="FILE")],
    by: Annotated[list[str] | None, typer.Option("--by", help="heading,month ...; the usual ones, if left out.")] = None,
    box: Box = None,
    since: Since = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Count seizures by heading, month, origin, departure, destination, detection, concealment. Each event once."""
    from broker.commands.failures import language

    counting = _tables("statistics")
    for path in to:
        _tables("files").check_ending(path)
    found = counting.Statistics(tuple(map(counting.read_breakdown, by)) if by else counting.STANDARD)
    left = _tables("sources").Left()

    async def work(messages: AsyncIterator[Any]) -> None:
        await counting.count(messages, found, left)

    options.run(_from(sources, "seizure", left, work, box, since, None, url, member, key))
    for path in to:
        counting.write(path, found, left, language())
    shown = {"events": found.total_events, "aggregate_records": found.total_aggregates, "files": [str(p) for p in to]}
    text = f"{found.total_events} events and {found.total_aggregates} aggregate records, in {', '.join(map(str, to))}"
    answer({**shown, **_left(left)}, text, as_json)
    if not as_json:
        _tell_left(left)
    raise typer.Exit(REFUSED if left.unreadable else OK)


def watchlist(
    sources: Sources = None,
    *,
    to: Annotated[Path, typer.Option("--to", help="The list: .csv.", metavar="FILE")],
    include: Annotated[list[str] | None, typer.Option("--include", help="Refused: exercise, test, expired ... never.")] = None,
    box: Box = None,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Write the alerts in force as a watch list for a targeting system: identifiers, HS codes and routes, with dates."""
    from broker import clock
    from broker.commands.failures import language

    listing = _tables("watchlist")
    for reason in include or ():
        if reason not in listing.WHY_NEVER:
            raise options.Usage(f"“{reason}” is not a reason to leave an alert out: {', '.join(listing.NEVER)}.")
        raise options.Declined(listing.WHY_NEVER[reason][language() == "es"])
    if to.suffix.lower() != ".csv":
        raise options.Usage(f"{to}: a watch list is written as .csv.")
    left = _tables("sources").Left()
    counted: list[tuple[int, int]] = []

    async def work(messages: AsyncIterator[Any]) -> None:
        counted.append(await listing.write(to, messages, clock.now(), left))

    options.run(_from(sources, "alert", left, work, box, None, None, url, member, key))
    ((alerts, rows),) = counted
    answer(
        {"alerts": alerts, "rows": rows, "file": str(to), **_left(left)},
        f"{rows} rows of {alerts} alerts in {to}",
        as_json,
    )
    if not as_json:
        _tell_left(left)
    raise typer.Exit(REFUSED if left.unreadable else OK)


async def _from(
    sources: list[Path] | None, kind: str, left: Any, work: Any, box: str | None, since: str | None, heading: str | None,
    url: str | None, member: str | None, key: Path | None,
) -> None:  # fmt: skip
    """Do `work` with the messages of files and folders, or of the hub."""
    found = _tables("sources")
    if sources:
        await work(found.from_files(sources, kind, left))
        return
    if box not in (None, *found.BOXES):
        raise options.Usage(f"--box is one of {', '.join(found.BOXES)}.")
    async with options.client_of(url, member, key) as client:
        boxes = (box,) if box else found.BOXES
        await work(found.from_hub(client, kind, left, boxes=boxes, since=since, heading=heading))


def _left(left: Any) -> dict[str, Any]:
    return {"left_out": dict(left.reasons), "unreadable": list(left.unreadable)}


def _tell_left(left: Any) -> None:
    if left.reasons:
        note(f"Left out: {', '.join(f'{clean(reason)} {number}' for reason, number in sorted(left.reasons.items()))}")
    for name in left.unreadable[:SHOWN]:
        note(f"  unreadable: {clean(name)}")


def add(app: typer.Typer) -> None:
    for command in (load, export, statistics, watchlist):
        app.command(command.__name__)(command)
