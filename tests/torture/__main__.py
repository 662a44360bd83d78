"""`python -m tests.torture`: torture a hub with 100,000 messages (half an hour or more) and count what became of them.

Ends with 1 unless nothing was lost and nothing was unexpected. The same --seed plans the same faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
from pathlib import Path

from tests.torture.faults import FAULTS
from tests.torture.run import Result, Wanted, run
from tests.torture.world import possible


def main() -> None:
    asked = _arguments()
    wanted = Wanted(
        messages=asked.messages, seed=asked.seed, seconds=asked.seconds, gateways=asked.gateways, relays=asked.relays,
        pace=asked.pace, faults=asked.faults.split(","), logs=asked.logs,
    )  # fmt: skip
    if why := possible():
        sys.exit(f"no torture here: {why}")
    print(f"seed {wanted.seed}: {wanted.gateways} gateways, {wanted.relays} relays, three RabbitMQ nodes, PostgreSQL")
    result = asyncio.run(_until_told(wanted))
    _print(result)
    asked.json.write_text(json.dumps({"seed": wanted.seed, **result.table()}, indent=2, ensure_ascii=False) + "\n")
    sys.exit(0 if result.good else 1)


async def _until_told(wanted: Wanted) -> Result:
    """SIGTERM: no more is posted, and what there is is judged; the second time everything is ended."""
    running, loop = asyncio.create_task(run(wanted)), asyncio.get_running_loop()

    def told() -> None:
        if wanted.enough.is_set():
            running.cancel()
        wanted.enough.set()

    loop.add_signal_handler(signal.SIGTERM, told)
    return await running


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="how many are posted (default 100,000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="post no longer than that")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--relays", type=int, default=2)
    parser.add_argument("--pace", type=float, default=2.0, help="seconds that a fault lasts, about")
    parser.add_argument("--faults", default=",".join(FAULTS), help="only these, separated by commas")
    parser.add_argument("--json", type=Path, default=Path("var/torture.json"), help="where the result is written")
    parser.add_argument("--logs", type=Path, help="a folder that keeps what all processes said")
    asked = parser.parse_args()
    if unknown := set(asked.faults.split(",")) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    return asked


def _print(result: Result) -> None:
    table = result.table()
    print(f"\nfaults: {', '.join(f'{number} {name}' for name, number in table['faults'].items())}")
    for name, why in table["skipped"].items():
        print(f"left out: {name}: {why}")
    print(f"answers: {', '.join(f'{number} {name}' for name, number in table['answers'].items())}")
    for lost in result.lost[:20]:
        print(f"lost: {lost}")
    print(f"seconds: {', '.join(f'{name} {seconds}' for name, seconds in table['seconds'].items())}\n")
    for name in ("accepted", "lost", "duplicated", "unexpected"):
        print(f"{name:>12} {table[name]:>9,}")


if __name__ == "__main__":
    main()
