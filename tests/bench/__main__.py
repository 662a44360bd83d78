"""How fast, beside a floor, on two cores that hub, engines and load generator share: `make bench`.

    python -m tests.bench [--quick] [--output FILE] [--compare OLD]

Private engines, everything durable: fsync and synchronous commit on (PostgreSQL is asked), quorum queues, confirms,
SQLite with synchronous=FULL. What is measured of the hub, and what of the floor in between: see `rounds`. At the end the
ratios are set beside those of OLD, or of the baseline kept here: exit 1 if one got worse by more than a quarter (see `report`).
A new baseline: `--output tests/bench/baseline.json`, on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import uvloop

from broker import clock
from broker.errors import SetupRefused
from tests.bench import report, surroundings
from tests.bench.hub import RECIPIENTS
from tests.bench.lab import Lab, laboratory
from tests.bench.load import ORIGINATORS
from tests.bench.rounds import FULL, QUICK, one_round

CORES = 2
ROUNDS = 3
LIMIT_SECONDS = 235
"""No round begins that would not end by then: a run takes less than four minutes, with fewer rounds where it must."""
RESULT = Path("var/bench.json")
BASELINE = Path(__file__).with_name("baseline.json")
DISK = Path("/var/tmp")
"""Where the engines write, unless TMPDIR names another place: /tmp is in memory on many machines."""


async def run(quick: bool) -> dict[str, Any]:
    """The report."""
    began, made_at = time.monotonic(), clock.text(clock.now())
    async with laboratory() as lab:
        rounds = await _rounds(lab, quick, began)
        return {
            "schema": report.SCHEMA,
            "made_at": made_at,
            "mode": "quick" if quick else "full",
            "rounds": len(rounds),
            "seconds": round(time.monotonic() - began, 1),
            "machine": surroundings.machine(lab.folder) | {"others_cores": _others(rounds)},
            "versions": await surroundings.versions(lab.hub.ledger_url, lab.rabbit),
            "durability": await surroundings.durability(lab.hub.ledger_url, lab.sqlite.ledger_url),
            "messages": {
                "signed": lab.load.made,
                "octets": [min(lab.load.sizes), max(lab.load.sizes)],
                "originators": len(ORIGINATORS),
                "recipients": RECIPIENTS,
            },
            "ratios": report.ratios(rounds),
            "measurements": report.merged(rounds),
        }


async def _rounds(lab: Lab, quick: bool, began: float) -> list[report.Round]:
    rounds: list[report.Round] = []
    while len(rounds) < (1 if quick else ROUNDS):
        started = time.monotonic()
        rounds.append(await one_round(lab, QUICK if quick else FULL))
        ended = time.monotonic()
        print(f"round {len(rounds)} done after {ended - began:.0f} s", file=sys.stderr)
        if ended - began + ended - started > LIMIT_SECONDS:
            break
    return rounds


def _others(rounds: list[report.Round]) -> float:
    """Processors that the rest of the machine kept busy, on average."""
    others: list[float] = [found["cores"]["others"] for one in rounds for found in one.values() if "cores" in found]
    return round(mean(others), 2)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="How fast, beside a floor.")
    parser.add_argument("--quick", action="store_true", help="one round of fewer messages, under a minute")
    parser.add_argument("--output", type=Path, default=RESULT, help=f"where the JSON goes ({RESULT})")
    parser.add_argument("--compare", type=Path, metavar="OLD", default=BASELINE, help="an earlier file (the baseline)")
    asked = parser.parse_args()
    if "TMPDIR" not in os.environ and DISK.is_dir():
        tempfile.tempdir = str(DISK)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # and so all that is started from here
    try:
        new_baseline = asked.output.resolve() == asked.compare.resolve()
        old = None if new_baseline else json.loads(asked.compare.read_text())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            new = runner.run(run(asked.quick))
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(json.dumps(new, indent=2, ensure_ascii=False) + "\n")
        print("\n".join(report.table(new)), f"\nwritten to {asked.output}", sep="\n")
        changes = report.changes(old, new) if old else []
    except (SetupRefused, pytest.skip.Exception, OSError) as why:
        print(f"no bench: {why}", file=sys.stderr)
        return 2
    if changes:
        print(f"\nbeside {asked.compare.name}:", *changes, sep="\n")
    return int(any(change.worse for change in changes))


if __name__ == "__main__":
    sys.exit(main())
