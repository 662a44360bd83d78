"""What a run found: JSON of a stable form, a table for people, and the comparison with an earlier run.

Rates depend on the machine and on who else uses it, so each is divided by what the floor reached within the same minute
(`rate`); and what the hub's process used of a processor for one message or delivery is set against what the floor used
(`cpu`), which hardly changes when the machine is busy. 1 is the floor itself, more is better, in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from broker.errors import SetupRefused
from tests.bench.meter import Figures

SCHEMA = 1
"""Rises when a file of before can no longer be compared with one of after."""
TOLERANCE = 0.25
"""A ratio that falls by more than a quarter is worse. Less is noise: a ratio is the median of three rounds of a few
seconds on two cores that PostgreSQL, RabbitMQ, hub and load generator share."""

LOAD_CORES, OTHERS_CORES = 0.6, 0.1
"""Above these the table warns: of a load generator that is itself what is slow, and of a machine that is not ours."""

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
            made[name] = round(sum(values) if name in ("number", "seconds") else median(values), 2)
    return made


def ratios(rounds: Sequence[Round]) -> Ratios:
    """Measurement → `rate` and `cpu` beside the floor of the same round, the median over the rounds."""
    return {
        name: {
            "rate": round(median(one[name]["per_s"] / one["floor"][f"{floor}_per_s"] for one in rounds), 3),
            "cpu": round(median(one["floor"][f"{floor}_us"] / one[name]["hub_us"] for one in rounds), 3),
        }
        for name, floor in FLOORS.items()
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
    yield f"{'':20}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'hub µs':>8}   {'rate':>5} {'cpu':>5}   cores busy"
    floor = report["measurements"]["floor"]
    for name, what in (("accepted", "messages"), ("published", "deliveries"), ("whole", "deliveries")):
        yield f"{'floor: ' + name:20}{floor[f'{name}_per_s']:9.0f}{'':18}{floor[f'{name}_us']:8.0f}   {what}"
    for name, figures in report["measurements"].items():
        if name != "floor":
            yield _line(name, figures, report["ratios"].get(name))
    yield ""
    yield from _notes(report)


def _line(name: str, figures: Figures, beside: Mapping[str, float] | None) -> str:
    latency = "".join(f"{figures[at]:9.2f}" if at in figures else f"{'':9}" for at in ("p50_ms", "p99_ms"))
    ratio = f"{beside['rate']:5.2f} {beside['cpu']:5.2f}" if beside else f"{'':11}"
    cores = " ".join(f"{who} {busy:.2f}" for who, busy in figures["cores"].items())
    return f"{name:20}{figures['per_s']:9.0f}{latency}{figures['hub_us']:8.0f}   {ratio}   {cores}"


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    yield "rate: beside the floor's of the same round. cpu: the floor's processor time for one, beside the hub's."
    yield "Single posts: 32 connections (`alone`: one). Batches of 50: 4 connections. Pull: 5 members, leases of 100."
    for name, figures in report["measurements"].items():
        if (load := figures.get("cores", {}).get("load", 0.0)) > LOAD_CORES:
            yield f"{name}: the load generator kept {load:.2f} of a core busy, and may be what was measured."
    if (others := report["machine"]["others_cores"]) > OTHERS_CORES:
        yield f"Others kept {others:.2f} cores busy meanwhile: rates, and ratios of rates, would differ on a quiet machine."


# ── beside an earlier run ──


@dataclass(frozen=True)
class Change:
    name: str
    before: float
    after: float | None

    @property
    def worse(self) -> bool:
        return self.after is None or self.after < self.before * (1 - TOLERANCE)

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.name:28}{self.before:8.3f}     gone   WORSE"
        by = (self.after / self.before - 1) * 100
        return f"{self.name:28}{self.before:8.3f} {self.after:8.3f} {by:+6.0f} %{'   WORSE' if self.worse else ''}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every ratio of the old report beside the new one's; what is no longer measured is worse. Raises SetupRefused."""
    if old.get("schema") != new["schema"]:
        raise SetupRefused(detail=f"the old report has schema {old.get('schema')}, this one {new['schema']}")
    return [
        Change(f"{name} {kind}", before, new["ratios"].get(name, {}).get(kind))
        for name, kinds in old["ratios"].items()
        for kind, before in kinds.items()
    ]
