"""What reading a message costs beside knowing who signed it: every rule of the language, and its signature, in turn.

In this process, nothing else running in it: header, schema, identifiers, code lists, rules and score of seizures of 2 kB,
and the check of the same messages' signatures. Processor time, so that a busy machine slows both or neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import orjson

from broker import clock, jws
from broker.language import load_language
from tests.bench.meter import Figures

TURNS = 7
"""Of each, one after the other; the median counts."""


def measured(messages: Sequence[bytes], jwks: Mapping[str, Mapping[str, str]]) -> Figures:
    """`us` and `verified_us` for one message, and `times` the one is the other; `cpu` says it as the other ratios do:
    verifying beside reading, more is better. `jwks` by kid."""
    language, now = load_language(), clock.now()
    tokens = [jws.read(message, typ=jws.TYP_MESSAGE) for message in messages]
    payloads = [orjson.loads(token.payload) for token in tokens]

    def verify() -> None:
        for token in tokens:
            jws.verify(token, jwks[token.kid])

    def read() -> None:
        for payload in payloads:
            faults = language.check_header(payload) or language.read_body(payload, now=now).faults
            assert not faults, faults

    began = time.perf_counter()
    took = [(_us(verify, len(tokens)), _us(read, len(tokens))) for _ in range(TURNS)]
    verified_us, us = (median(turn[which] for turn in took) for which in (0, 1))
    return {
        "number": len(messages),
        "seconds": round(time.perf_counter() - began, 2),
        "us": round(us, 1),
        "verified_us": round(verified_us, 1),
        "times": round(us / verified_us, 3),
        "cpu": round(verified_us / us, 3),
    }


def _us(work: Callable[[], None], number: int) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / number * 1e6
