"""How fast, beside a floor, on two cores that hub, engines and load generator share: `make bench`.

    python -m tests.bench [--quick] [--output FILE] [--compare OLD]

Private engines, everything durable: fsync and synchronous commit on (PostgreSQL is asked), quorum queues, confirms,
SQLite with synchronous=FULL. In every round the floor goes first, then the hub; see `rounds`. `--compare` exits with 1
if a ratio of OLD got worse by more than a quarter; see `report`.
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
from tests import engines
from tests.bench import report, surroundings
from tests.bench.hub import RECIPIENTS, enrolled
from tests.bench.load import ORIGINATORS, Load
from tests.bench.postgres import durable_postgres
from tests.bench.rounds import FULL, QUICK, Lab, one_round

CORES = 2
ROUNDS = 3
LAST_START_SECONDS = 140
"""No further round begins later than this, so that a full run ends within four minutes."""
RESULT = Path("var/bench.json")


async def run(quick: bool) -> dict[str, Any]:
    """The report."""
    began, made_at, load = time.monotonic(), clock.text(clock.now()), Load()
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as name:
        folder, port = Path(name), engines.free_port()
        async with durable_postgres() as postgres, engines.private_rabbit(engines.auth_url(port)) as rabbit:
            hub = await enrolled(folder / "hub", await postgres.fresh(), port, load.keys)
            floor = await enrolled(folder / "floor", await postgres.fresh(), port, load.keys)
            sqlite = await enrolled(folder / "sqlite", f"sqlite:///{folder}/sqlite/ledger.sqlite", port, load.keys)
            lab = Lab(folder, postgres, rabbit, hub, floor, sqlite, load)
            durability = await surroundings.durability(hub.ledger_url, sqlite.ledger_url)
            async with hub.serving(rabbit):
                await hub.wired()
            rounds: list[report.Round] = []
            while not rounds or (not quick and len(rounds) < ROUNDS and time.monotonic() - began < LAST_START_SECONDS):
                rounds.append(await one_round(lab, QUICK if quick else FULL))
                print(f"round {len(rounds)} done after {time.monotonic() - began:.0f} s", file=sys.stderr)
            others = mean(
                figures["cores"]["others"] for one in rounds for figures in one.values() if "cores" in figures
            )
            return {
                "schema": report.SCHEMA,
                "made_at": made_at,
                "mode": "quick" if quick else "full",
                "rounds": len(rounds),
                "seconds": round(time.monotonic() - began, 1),
                "machine": surroundings.machine(folder) | {"others_cores": round(others, 2)},
                "versions": await surroundings.versions(hub.ledger_url, rabbit),
                "durability": durability,
                "messages": {
                    "signed": load.made,
                    "octets": [min(load.sizes), max(load.sizes)],
                    "originators": len(ORIGINATORS),
                    "recipients": RECIPIENTS,
                },
                "ratios": report.ratios(rounds),
                "measurements": report.merged(rounds),
            }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="How fast, beside a floor.")
    parser.add_argument("--quick", action="store_true", help="one round of fewer messages, under a minute")
    parser.add_argument("--output", type=Path, default=RESULT, help=f"where the JSON goes ({RESULT})")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="exit with 1 if a ratio of this report got worse")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # and so all that is started from here
    try:
        old = json.loads(asked.compare.read_text()) if asked.compare else None
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
        print(f"\n{'ratio':28}  before      now   (worse: more than {report.TOLERANCE:.0%} down)", *changes, sep="\n")
    return int(any(change.worse for change in changes))


if __name__ == "__main__":
    sys.exit(main())
