"""What a run found: JSON of a stable form, a table for people, and the comparison with an earlier run.

Rates depend on the machine and on who else uses it, so each is divided by what the floor reached just before and after
(`rate`); and what hub and engines used of the processors for one message or delivery is set against what floor and
engines used (`cpu`), which changes little when the machine is busy. 1 is the floor itself, more is better, in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from broker.errors import SetupRefused
from tests.bench.meter import Figures

SCHEMA = 1
"""Rises when a file of before can no longer be compared with one of after."""
TOLERANCE = 0.25
"""A ratio that falls by more than a quarter is worse. Less is noise: a ratio is the median of three rounds of a few
seconds on two cores that PostgreSQL, RabbitMQ, hub and load generator share."""

LOAD_CORES = 0.6
"""A load generator that is busier than this may itself be what is measured: the table warns."""
OTHERS_CORES = 0.3
"""Where others keep more of the machine busy than this, ratios of rates are told and not judged: hub and engines are
several processes and the floor is fewer, so that a crowd takes more from the one than from the other."""

FLOORS = {
    "posts_single": "accepted",
    "posts_batch": "accepted",
    "pull": "published",
    "amqp_catch_up": "published",
    "amqp_steady": "whole",
    "sqlite_posts_single": "accepted",
    "sqlite_posts_batch": "accepted",
    "sqlite_pull": "published",
}
"""Measurement → what of the floor it is set against: messages (verified and inserted), deliveries published, or
deliveries through both."""

LANGUAGE = "language"
"""The measurement that is set against a signature instead: see `tests.bench.language`."""
LANGUAGE_TIMES = 2.0
"""Reading a message may cost this many times the check of its signature."""

Round = Mapping[str, Figures]
Ratios = dict[str, dict[str, float]]


def merged(rounds: Sequence[Round]) -> dict[str, Figures]:
    """Measurement → its median figures over the rounds; `number` and `seconds` are summed up."""
    return {name: _merged([one[name] for one in rounds]) for name in rounds[0]}


def _merged(figures: Sequence[Figures]) -> Figures:
    made: Figures = {}
    for name, value in figures[0].items():
        values = [one[name] for one in figures]
        if isinstance(value, Mapping):
            made[name] = _merged(values)
        else:
            made[name] = round(sum(values) if name in ("number", "seconds") else median(values), 3)
    return made


def beside(name: str, figures: Figures, *floors: Figures) -> Figures:
    """The figures with their `rate` and `cpu` beside the floor, the mean of those measured just before and after."""
    if (what := FLOORS.get(name)) is None:
        return figures
    per_s, us = mean(floor[f"{what}_per_s"] for floor in floors), mean(floor[f"{what}_us"] for floor in floors)
    return figures | {"rate": round(figures["per_s"] / per_s, 3), "cpu": round(us / figures["us"], 3)}


def ratios(rounds: Sequence[Round]) -> Ratios:
    """Measurement → `rate` and `cpu`, as far as it has them, the median over the rounds."""
    return {
        name: {
            kind: round(median(one[name][kind] for one in rounds), 3)
            for kind in ("rate", "cpu")
            if kind in rounds[0][name]
        }
        for name in (*FLOORS, LANGUAGE)
        if name in rounds[0]
    }


# ── for people ──


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines to print."""
    machine, durability, messages = report["machine"], report["durability"], report["messages"]
    yield f"{machine['processor']}, {machine['cores']} cores for everything"
    yield f"{machine['file_system']}, fdatasync of 4 kB {machine['fdatasync_ms']} ms"
    yield ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield ", ".join(f"{name} {value}" for name, value in durability.items()) + "; publisher confirms on"
    low, high = messages["octets"]
    yield (
        f"{messages['signed']} distinct seizures of {low} to {high} octets by {messages['originators']} originators, "
        f"{messages['recipients']} recipients each; {report['rounds']} rounds, {report['seconds']:.0f} s in all"
    )
    yield ""
    yield f"{'':20}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'µs':>8}{'hub µs':>8}   {'rate':>5} {'cpu':>5}   cores busy"
    floor = report["measurements"]["floor"]
    for name, what in (("accepted", "messages"), ("published", "deliveries"), ("whole", "deliveries")):
        yield f"{'floor: ' + name:20}{floor[f'{name}_per_s']:9.0f}{'':18}{floor[f'{name}_us']:8.0f}{'':8}   {what}"
    for name, figures in report["measurements"].items():
        if name not in ("floor", LANGUAGE):
            yield _line(name, figures)
    if (reading := report["measurements"].get(LANGUAGE)) is not None:
        yield (
            f"{LANGUAGE:20}{'':27}{reading['us']:8.0f}{'':8}   {'':5} {reading['cpu']:5.2f}   reading one: "
            f"{reading['times']:.2f} times its signature of {reading['verified_us']:.0f} µs"
        )
    yield ""
    yield from _notes(report)


def _line(name: str, figures: Figures) -> str:
    latency = "".join(f"{figures[at]:9.2f}" if at in figures else f"{'':9}" for at in ("p50_ms", "p99_ms"))
    ratio = f"{figures['rate']:5.2f} {figures['cpu']:5.2f}" if "rate" in figures else f"{'':11}"
    cores = " ".join(f"{who} {busy:.2f}" for who, busy in figures["cores"].items())
    return f"{name:20}{figures['per_s']:9.0f}{latency}{figures['us']:8.0f}{figures['hub_us']:8.0f}   {ratio}   {cores}"


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    yield "µs: of a processor, for one, by hub and engines together. rate, cpu: beside the floor's just before and after."
    yield "Single posts: 32 connections (`alone`: one). Batches of 50: 4 connections. Pull: 5 members, leases of 100."
    if (times := report["measurements"].get(LANGUAGE, {}).get("times", 0.0)) > LANGUAGE_TIMES:
        yield f"language: reading a message costs {times:.2f} times its signature; {LANGUAGE_TIMES:.0f} is what it may."
    for name, figures in report["measurements"].items():
        if (load := figures.get("cores", {}).get("load", 0.0)) > LOAD_CORES:
            yield f"{name}: the load generator kept {load:.2f} of a core busy, and may be what was measured."
    if (others := report["machine"]["others_cores"]) > OTHERS_CORES:
        yield f"Others kept {others:.2f} cores busy meanwhile: rates, and ratios of rates, say little."


# ── beside an earlier run ──


@dataclass(frozen=True)
class Change:
    """`judged` False: the machine was not quiet enough, then or now, to blame the code."""

    name: str
    before: float
    after: float | None
    judged: bool

    @property
    def worse(self) -> bool:
        return self.after is None or (self.judged and self.after < self.before * (1 - TOLERANCE))

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.name:28}{self.before:8.3f}     gone           WORSE"
        verdict = "WORSE" if self.worse else "" if self.judged else "not judged: others were busy"
        by = (self.after / self.before - 1) * 100
        return f"{self.name:28}{self.before:8.3f} {self.after:8.3f} {by:+6.0f} %   {verdict}".rstrip()


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every ratio of the old report beside the new one's; what is no longer measured is worse. Raises SetupRefused."""
    if old.get("schema") != new["schema"]:
        raise SetupRefused(detail=f"the old report has schema {old.get('schema')}, this one {new['schema']}")
    quiet = max(one["machine"]["others_cores"] for one in (old, new)) <= OTHERS_CORES
    return [
        Change(f"{name} {kind}", before, new["ratios"].get(name, {}).get(kind), judged=quiet or kind == "cpu")
        for name, kinds in old["ratios"].items()
        for kind, before in kinds.items()
    ]
