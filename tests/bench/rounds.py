"""One round: everything that the hub does, and the floor in between, on the same engines within the same minute; and what
reading a message costs beside its signature."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from broker import jws
from broker.rabbit import topology
from broker.rabbit.connections import opened
from tests.bench import amqp, floor, language, posts, pulls, report
from tests.bench.hub import PULLING, RECIPIENTS, UNREAD, WIRED, Bench
from tests.bench.lab import Lab
from tests.bench.meter import Figures, measured


@dataclass(frozen=True)
class Sizes:
    """Messages, by what they are posted for; five deliveries each. A slow machine posts fewer, in `within` seconds."""

    floor: int
    warm: int
    alone: int
    singles: int
    batches: int
    pull: int
    catch_up: int
    steady: int
    within: float


FULL = Sizes(750, 300, 300, 4000, 8000, 1000, 1500, 600, within=15)
QUICK = Sizes(500, 200, 100, 1500, 3000, 500, 600, 200, within=4)


async def one_round(lab: Lab, sizes: Sizes) -> dict[str, Figures]:
    """Measurement → figures. The floor is measured before and after each of the three parts."""
    floors = [await _floor(lab, sizes.floor)]
    found: dict[str, Figures] = {}

    async def part(measurements: dict[str, Figures], prefix: str = "") -> None:
        floors.append(await _floor(lab, sizes.floor))
        for name, figures in measurements.items():
            found[prefix + name] = report.beside(prefix + name, figures, *floors[-2:])

    async with lab.hub.serving() as hub:
        on_postgres = await _gateway(lab, lab.hub, hub.pid, sizes)
        backlog = await posts.batches(lab.hub.port, lab.load.messages(sizes.catch_up, WIRED), sizes.within)
    await part(on_postgres)
    await part(await _relay(lab, sizes, backlog.number))
    async with lab.sqlite.serving() as hub:
        on_sqlite = await _gateway(lab, lab.sqlite, hub.pid, sizes)
    await part(on_sqlite, "sqlite_")
    found[report.LANGUAGE] = language.measured(lab.load.messages(sizes.floor, UNREAD), _jwks(lab))
    return {"floor": report.merged([{"floor": one} for one in floors])["floor"], **found}


def _jwks(lab: Lab) -> dict[str, dict[str, str]]:
    """The originators' public keys, by kid."""
    return {jws.thumbprint(jwk): jwk for jwk in map(jws.public_jwk, lab.load.keys.values())}


async def _gateway(lab: Lab, bench: Bench, pid: int, sizes: Sizes) -> dict[str, Figures]:
    """Posts to queues that nobody reads; then what the members who pull have waiting."""
    port, within, pids = bench.port, sizes.within, lab.pids(pid, wire=False)
    warm, alone, singles, batches = (
        lab.load.messages(number, UNREAD) for number in (sizes.warm, sizes.alone, sizes.singles, sizes.batches)
    )
    to_pull = lab.load.messages(sizes.pull, PULLING)
    await posts.singles(port, warm, within)
    found = {
        "posts_alone": await measured(posts.singles(port, alone, within, at_once=1), pids),
        "posts_single": await measured(posts.singles(port, singles, within), pids),
        "posts_batch": await measured(posts.batches(port, batches, within), pids),
    }
    await posts.batches(port, to_pull, within)
    return found | {"pull": await measured(pulls.pull_all(bench), pids)}


async def _relay(lab: Lab, sizes: Sizes, backlog: int) -> dict[str, Figures]:
    """The backlog that waits, as fast as the relay catches up; then posts and deliveries together."""
    names = [name for _, name in await lab.hub.wired()]
    messages = lab.load.messages(sizes.steady, WIRED)
    async with amqp.consuming(lab.rabbit.amqp_url, names) as arrivals, lab.hub.serving(lab.rabbit) as hub:
        pids = lab.pids(hub.pid, wire=True)
        return {
            "amqp_catch_up": await measured(arrivals.reach(backlog * RECIPIENTS), pids),
            "amqp_steady": await measured(amqp.steadily(lab.hub.port, messages, sizes.within, arrivals), pids),
        }


async def _floor(lab: Lab, number: int) -> Figures:
    file, job = lab.folder / "floor.messages", lab.folder / "floor.json"
    file.write_bytes(b"\n".join(lab.load.messages(number, WIRED)))
    queues = await lab.floor.wired(declared=False)
    job.write_text(
        json.dumps(
            asdict(
                floor.Job(
                    lab.floor.ledger_url,
                    lab.rabbit.amqp_url,
                    queues,
                    _jwks(lab),
                    str(file),
                    lab.postgres.pid,
                    lab.rabbit.pid,
                )
            )
        )
    )
    names = [name for _, name in queues]
    async with opened(lab.rabbit.amqp_url) as connection, connection.channel() as channel:
        for name in names:
            await topology.declare_member_queue(channel, name)
    async with amqp.consuming(lab.rabbit.amqp_url, names) as arrivals:
        command = (sys.executable, "-m", "tests.bench.floor", str(job))
        running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await running.communicate()
        assert running.returncode == 0, "the floor failed; it says above why"
        await arrivals.reach(number * RECIPIENTS)
    return _rates(json.loads(said))


def _rates(took: dict[str, Any]) -> Figures:
    messages, deliveries = took["messages"], took["deliveries"]
    seconds, cpu = took["seconds"], took["cpu_seconds"]
    accepting = seconds["verify"] + seconds["insert"]
    return {
        "number": messages,
        "seconds": round(sum(seconds.values()), 2),
        "accepted_per_s": round(messages / accepting, 1),
        "published_per_s": round(deliveries / seconds["publish"], 1),
        "whole_per_s": round(deliveries / sum(seconds.values()), 1),
        "verified_us": round(cpu["verify"] / messages * 1e6),
        "accepted_us": round((cpu["verify"] + cpu["insert"]) / messages * 1e6),
        "published_us": round(cpu["publish"] / deliveries * 1e6),
        "whole_us": round(sum(cpu.values()) / deliveries * 1e6),
    }
