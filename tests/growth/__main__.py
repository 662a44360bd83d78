"""`python -m tests.growth [--ledger sqlite] [--sizes 20000,1000000] [--folder DIR] [--only WORD] [--json FILE]`

Measures; asserts nothing. A million messages need 8 GB below `--folder`, which are removed again, and about half an
hour. Without RabbitMQ: what the relay asks of the ledger is called as the relay calls it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from tests.growth.engine import durable_postgres
from tests.growth.measure import stages, world


async def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.growth")
    asked.add_argument("--ledger", choices=("postgresql", "sqlite"), default="postgresql")
    asked.add_argument("--sizes", default="20000,1000000")
    asked.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked.add_argument("--only")
    asked.add_argument("--json", type=Path)
    options = asked.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = options.folder / f"tw-growth-{options.ledger}"
    done = []
    async with AsyncExitStack() as stack:
        if options.ledger == "postgresql":
            url = await stack.enter_async_context(durable_postgres(folder))
        else:
            home = stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
            url = f"sqlite:///{home}/ledger.sqlite"
        w = await stack.enter_async_context(world(url.replace("+asyncpg", "")))
        async for stage in stages(w, [int(size) for size in options.sizes.split(",")], options.only):
            done.append(stage)
            print(f"{stage['messages']:,} messages, filled in {stage['fill_seconds']:.0f} s")
            if options.json:
                options.json.write_text(json.dumps(done, indent=1))
    print(table(done))


def table(done: list[dict]) -> str:  # type: ignore[type-arg]
    """Operations as rows, stages as columns: milliseconds, work."""
    lines = []
    for number, first in enumerate(done[0]["operations"]):
        cells = [stage["operations"][number] for stage in done]
        lines.append(f"| {first['name']} | " + " | ".join(f"{c['ms']:.1f} | {c['work']:,}" for c in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    asyncio.run(main())
