"""What something took: how many, how long, and who kept the processors busy meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")

Figures = dict[str, Any]


@dataclass(frozen=True)
class Done:
    """`number` messages or deliveries in so many seconds; `latencies` in seconds, where there are any."""

    number: int
    seconds: float
    latencies: Sequence[float] = ()


async def measured(work: Awaitable[Done], pids: Mapping[str, int]) -> Figures:
    """Figures of `work`. `cores`: processors kept busy, on average, by the processes named (with their children), by
    this one (`load`), and by everybody else on the machine (`others`). `us`: what those named used for one, together;
    `hub_us`: the hub alone. Microseconds of a processor."""
    began, before = time.perf_counter(), _used(pids)
    done = await work
    seconds, used = time.perf_counter() - began, {name: now - before[name] for name, now in _used(pids).items()}
    used["others"] = max(0.0, used.pop("machine") - sum(used.values()))
    figures: Figures = {"number": done.number, "seconds": round(done.seconds, 2)}
    figures["per_s"] = round(done.number / done.seconds, 1)
    if done.latencies:
        hundredths = quantiles(done.latencies, n=100, method="inclusive")
        figures |= {"p50_ms": round(hundredths[49] * 1000, 2), "p99_ms": round(hundredths[98] * 1000, 2)}
    figures["us"] = round(sum(used[name] for name in pids) / done.number * 1e6)
    figures["hub_us"] = round(used["hub"] / done.number * 1e6)
    return figures | {"cores": {name: round(cpu / seconds, 2) for name, cpu in used.items()}}


def _used(pids: Mapping[str, int]) -> dict[str, float]:
    ours = {name: cpu_seconds(pid) for name, pid in pids.items()}
    return ours | {"load": sum(os.times()[:2]), "machine": machine_seconds()}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, with that of its children: those that live and those that it has buried."""
    with suppress(FileNotFoundError, ProcessLookupError):
        used = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15])) / _TICKS
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return used + sum(cpu_seconds(int(child)) for child in children)
    return 0.0


def machine_seconds() -> float:
    """Of all processors together, whoever used them."""
    user, nice, system, _idle, _wait, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + sum(interrupts)) / _TICKS
