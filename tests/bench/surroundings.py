"""What a run ran on: processors, disk, versions, and what the engines themselves say of waiting for the disk."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib.metadata import version
from pathlib import Path

import orjson
from sqlalchemy import text

from broker.errors import SetupRefused
from broker.ledger import open_ledger
from broker.rabbit.private_node import Node

SYNCS = 100


def machine(folder: Path) -> dict[str, str | int | float]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "file_system": on_disk(folder),
        "fdatasync_ms": _fdatasync_ms(folder / "synced"),
    }


def on_disk(folder: Path) -> str:
    """The kind of file system. Raises SetupRefused for one in memory: waiting for that is no waiting."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    kind = max((len(at), kind) for _, at, kind, *_ in mounts if folder.is_relative_to(at))[1]
    if kind in ("tmpfs", "ramfs"):
        raise SetupRefused(detail=f"{folder} is in memory: name a folder on a disk with TMPDIR")
    return kind


def _fdatasync_ms(path: Path) -> float:
    """What writing 4 kB and waiting for the disk takes where the engines write."""
    with path.open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(SYNCS):
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
        return round((time.perf_counter() - began) / SYNCS * 1000, 2)


async def versions(postgres_url: str, rabbit: Node) -> dict[str, str]:
    overview = orjson.loads(rabbit.api("GET", "/api/overview")[1])
    return {
        "tidewaiter": version("tidewaiter"),
        "python": platform.python_version(),
        "postgresql": (await asked(postgres_url, "SHOW server_version"))[0].split()[0],
        "sqlite": sqlite3.sqlite_version,
        "rabbitmq": overview["rabbitmq_version"],
        "erlang": overview["erlang_version"],
    }


async def durability(postgres_url: str, sqlite_url: str) -> dict[str, str]:
    """By the engines' own words. Raises SetupRefused unless they wait for the disk."""
    fsync, commit = await asked(postgres_url, "SHOW fsync", "SHOW synchronous_commit")
    journal, synchronous = await asked(sqlite_url, "PRAGMA journal_mode", "PRAGMA synchronous")
    if (fsync, commit, journal, synchronous) != ("on", "on", "wal", "2"):
        raise SetupRefused(detail=f"not durable: {fsync=} {commit=} {journal=} {synchronous=}")
    return {"fsync": fsync, "synchronous_commit": commit, "sqlite journal_mode": journal, "sqlite synchronous": "full"}


async def asked(url: str, *questions: str) -> list[str]:
    """The first value of each answer."""
    ledger = open_ledger(url)
    try:
        async with ledger.writing.begin() as c:
            return [str((await c.execute(text(question))).scalar_one()) for question in questions]
    finally:
        await ledger.close()
