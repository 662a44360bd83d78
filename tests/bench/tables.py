"""`python -m tests.bench.tables [FEW MANY]`: a dry run of few rows and of many, rows a second and how the memory grew.

By hand, on a quiet machine; 10,000 and 100,000 rows if nothing is said. One process reads few rows first and many then,
so that what the peak grew by is what the rows themselves cost. A spreadsheet's shared strings are the one thing that
grows: openpyxl holds them (the rows here are written without). One row in seven is refused, as the generator means it.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from adapters.tables.load import Request, Summary, load
from adapters.tables.posting import DryRun
from adapters.tables.read_mapping import read_mapping
from broker.clock import now
from broker.language import load_language
from tests import tables

FEW, MANY = 10_000, 100_000
WRITE: dict[str, Callable[[Path, list[tables.Made]], Path]] = {
    "csv": tables.write_csv, "json": tables.write_json, "xlsx": tables.write_xlsx,
}  # fmt: skip


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(folder: Path, kind: str, count: int) -> tuple[float, Summary]:
    """Seconds of a dry run over `count` rows, and what became of them."""
    path = folder / f"{count}.{kind}"
    summary = Summary()
    request = Request(read_mapping(folder / "nacional.yaml"), path, "CL")
    began = time.monotonic()
    asyncio.run(load(request, DryRun(load_language(), "en", now), summary))
    return time.monotonic() - began, summary


def write(folder: Path, kind: str, count: int) -> None:
    """In a process of its own: making the rows must not count."""
    import subprocess

    command = [sys.executable, "-m", "tests.bench.tables", "--write", kind, str(count), str(folder)]
    subprocess.run(command, check=True)


def main(few: int, many: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables.mapping_file(folder)
        for kind in WRITE:
            for count in (few, many):
                write(folder, kind, count)
            run(folder, kind, few)
            before = peak_megabytes()
            seconds, summary = run(folder, kind, many)
            print(f"{kind:5} {many:7} rows in {seconds:6.1f} s, {many / seconds:6.0f} rows/s; {summary.refused} refused; "
                  f"peak {before:.0f} MB at {few} rows, {peak_megabytes() - before:+.1f} MB at {many}", flush=True)  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        of, size, at = sys.argv[2:]
        WRITE[of](Path(at) / f"{size}.{of}", list(tables.rows(1, int(size))))
    else:
        arguments = argparse.ArgumentParser(prog="python -m tests.bench.tables", description=__doc__)
        arguments.add_argument("few", type=int, nargs="?", default=FEW, help="rows of the small file (%(default)s)")
        arguments.add_argument("many", type=int, nargs="?", default=MANY, help="rows of the large one (%(default)s)")
        wanted = arguments.parse_args()
        main(wanted.few, wanted.many)
