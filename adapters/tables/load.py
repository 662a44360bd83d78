"""Rows → signed messages → the hub. Safe to repeat and to kill at any point; a bad row never stops the others.

1. Every row is composed (compose.py); what is wrong with its cells is told, and the next one follows.
2. Its id is that of its columns, or a digest with its number among equal rows: the same in every load.
3. What the journal has a receipt for, with the same payload, is not posted again.
4. A batch is signed and kept in the journal, durably, before it is posted; its receipts are kept after each answer.
   Killed in between, the next load posts the very same octets, and the hub answers with the first receipt.
5. At the end of the table the refused rows are written as an error sheet.

Memory is bounded by one batch, however long the table is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.tables import error_sheet, judge
from adapters.tables.compose import Composed, compose, digest, digest_id, is_ignored, with_id
from adapters.tables.journal import Journal, Told, open_journal
from adapters.tables.mapping import TableMapping
from adapters.tables.posting import Judge, Work
from adapters.tables.rows import open_table
from adapters.tables.table import Row, Table
from broker.errors import SetupRefused

BATCH = 200
COLUMNS_SHOWN = 40


@dataclass
class Summary:
    """What became of the rows so far: rows = accepted + repeated + refused + ignored."""

    rows: int = 0
    accepted: int = 0
    repeated: int = 0
    refused: int = 0
    ignored: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    """Rule -> refused rows that broke it: a row may break several."""
    errors: Path | None = None
    journal: Path | None = None
    unused: tuple[str, ...] = ()
    """Headings of columns that the mapping does not read."""
    absent: tuple[str, ...] = ()
    """Headings that the mapping names and no row had (JSON)."""


@dataclass(frozen=True)
class Request:
    """One call of load. `journal`, `errors`: None for beside the table. `tongue`: the language of what is said."""

    mapping: TableMapping
    path: Path
    originator: str
    tongue: str = "en"
    journal: Path | None = None
    errors: Path | None = None


async def load(
    asked: Request, by: Judge, summary: Summary, advance: Callable[[int], None] = lambda done: None,
    *, total: Callable[[int | None], None] = lambda rows: None,
) -> None:  # fmt: skip
    """Load a table, or the error sheet of one. `summary` is filled as it goes, and holds when this raises.

    Raises SetupRefused (the file, the mapping, the journal), Problem when the hub refuses the member and not a row,
    Unreachable: load again, and it goes on.
    """
    with open_table(asked.path, asked.mapping.style) as table:
        table_path = asked.path
        if table.about is not None:
            error_sheet.check(table.about, asked.path, asked.mapping)
            table_path = asked.path.with_name(table.about["table"])
        _check_columns(asked, table)
        total(table.total)
        path = asked.journal or _journal_path(asked, table)
        with open_journal(path, must_exist=table.about is not None) as journal:
            summary.journal = path
            if table.about is not None and journal.about("table") not in (None, table_path.name):
                raise SetupRefused(
                    detail=f"The journal {path} is that of {journal.about('table')} now: load {table_path} itself first."
                )
            if asked.errors is not None:
                error_sheet.check_unchanged(asked.errors, journal)
            await _Pass(asked, by, summary, journal, table).rows(advance)
            if summary.refused:
                summary.errors = asked.errors or error_sheet.default_path(table_path, journal, asked.path)
                error_sheet.write(
                    summary.errors, journal, asked.mapping, table.titles, table=table_path.name, tongue=asked.tongue
                )


def _journal_path(asked: Request, table: Table) -> Path:
    if table.about is not None:
        return asked.path.with_name(table.about["journal"])
    return asked.path.with_name(f"{asked.path.name}.{asked.mapping.name}.journal")


def _check_columns(asked: Request, table: Table) -> None:
    """A column that the mapping names must be there, where the columns are known beforehand."""
    if not table.fixed:
        return
    for ref in asked.mapping.refs():
        if ref.label not in table.titles:
            there = ", ".join(list(table.titles.values())[:COLUMNS_SHOWN])
            raise SetupRefused(
                detail=f"{asked.mapping.file}, line {ref.line}: {asked.path} has no column “{ref.name}”. It has: {there}."
            )


class _Pass:
    """Once through the rows."""

    def __init__(self, asked: Request, by: Judge, summary: Summary, journal: Journal, table: Table) -> None:
        self.asked, self.by, self.summary, self.journal, self.table = asked, by, summary, journal, table
        self.corrections = table.about is not None
        self.batch: list[Work] = []

    async def rows(self, advance: Callable[[int], None]) -> None:
        if self.corrections and self.journal.about("whole") != "yes":
            raise SetupRefused(
                detail="The table itself was not loaded to its end yet: do that first, then its error sheet."
            )
        self.journal.begin(None if self.corrections else self.asked.path.name)
        for row in self.table.rows:
            self._row(row)
            advance(1)
            if len(self.batch) == BATCH:
                await self._flush()
        await self._flush()
        if not self.corrections:
            self.journal.whole()
        self.journal.commit()
        used = {ref.label: ref.name for ref in self.asked.mapping.refs()}
        self.summary.unused = tuple(t for label, t in self.table.titles.items() if label not in used)
        self.summary.absent = tuple(name for label, name in used.items() if label not in self.table.titles)

    def _row(self, row: Row) -> None:
        mapping = self.asked.mapping
        self.summary.rows += 1
        if not row.flaws and is_ignored(mapping, row):
            self.summary.ignored += 1
            return
        composed = compose(mapping, row, self.asked.originator)
        id = self._id(row, composed)
        if composed.wrong:
            self._refuse(row, judge.of_row(composed, self.asked.tongue))
        elif id is None:
            self._refuse(row, (judge.another_row(row, self.asked.tongue),))
        else:
            self.batch.append(Work(row, composed, id, with_id(composed, id)))

    def _id(self, row: Row, composed: Composed) -> str | None:
        """None: a row of an error sheet that is none of the table's."""
        if self.asked.mapping.id.digest is None:
            return str(composed.payload["header"]["id"])
        of_row = digest(self.asked.mapping, row)
        if not self.corrections:
            return digest_id(self.asked.mapping, of_row, self.journal.occurrence(row.number, of_row))
        if not self.journal.has_row(row.number):
            return None
        if composed.wrong:
            return ""  # it has no number among equal ones until it is right
        return digest_id(self.asked.mapping, of_row, self.journal.corrected(row.number, of_row))

    async def _flush(self) -> None:
        batch, self.batch = self.batch, []
        for work, answer in zip(batch, await self.by.answers(batch, self.journal), strict=True):
            if answer.outcome == "refused":
                said = judge.of_errors(answer.errors, work.composed, work.row, self.asked.mapping, self.asked.tongue)
                self._refuse(work.row, said)
                continue
            if answer.outcome == "accepted":
                self.summary.accepted += 1
                self.summary.warnings.update(str(warning.get("rule")) for warning in answer.warnings)
            else:
                self.summary.repeated += 1
        self.journal.commit()

    def _refuse(self, row: Row, told: Sequence[Told]) -> None:
        self.summary.refused += 1
        self.summary.rules.update({one.rule for one in told})
        self.journal.refuse(row.number, row.cells, told)
