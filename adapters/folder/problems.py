"""Refusals: whether one is about the file or about the moment, and how it is told beside the file (RFC 9457)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2

from broker import phrases, strictjson
from broker.client import Problem, Unreachable
from broker.errors import BrokerError

TYPE = "urn:tidewaiter:problem:"
PASSING = (408, 425, 429)
OF_THE_SETUP = ("signature", "key", "signing-time", "token", "scope")
"""What the hub says of who signs, not of what is signed: a key that is not enrolled or has ended, a wrong clock."""
ANSWER_SECONDS = 600
"""One call with all its repeats, six times a minute's Retry-After among them. What is asked here may be asked again."""
NOT_A_HUB = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, httpx2.DecodingError)
"""What reading an answer of another shape ends in: a list for an object, a number beyond all, brackets without end."""
Answer = TypeVar("Answer")


class Later(Exception):
    """Nothing is wrong with the file: the hub or this machine's set-up is not ready. The same again, later."""


class Unreadable(Later):
    """A file that the agent may not read, or cannot. No other is held up for it: nobody else is asked for it, so that the
    next look is soon."""


class Troubles:
    """What failed for one file while the others went on; the first is raised at the end, what is Unreadable last."""

    def __init__(self) -> None:
        self.first: OSError | Later | None = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        try:
            yield
        except (OSError, Later) as error:
            worse = isinstance(self.first, Unreadable) and not isinstance(error, Unreadable)
            if self.first is None or worse:
                self.first = error

    def tell(self) -> None:
        if self.first is not None:
            raise self.first


async def asked(call: Awaitable[Answer]) -> Answer:
    """A call of the client, as `reading`, and not for ever. Raises Problem, Unreachable."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with reading():
                return await call
    except TimeoutError:
        raise Unreachable(f"no whole answer within {ANSWER_SECONDS} s") from None


@contextmanager
def reading() -> Iterator[None]:
    """Around whatever reads an answer: one that no hub gives counts as none. Raises Unreachable."""
    try:
        yield
    except NOT_A_HUB as error:
        raise Unreachable(f"this is not how a hub answers ({type(error).__name__}: {error})") from None


def is_about_the_file(problem: Problem, *, signed_here: bool) -> bool:
    """Whether the same file would be refused again, whatever the hour.

    `signed_here`: the agent made the signature, so that one that does not hold is no fault of who wrote the file, unless
    the file speaks for another member.
    """
    if not 400 <= problem.status < 500 or problem.status in PASSING or problem.code == "member-suspended":
        return False
    for_another = any(error.get("rule") == "key-of-another-member" for error in problem.errors)
    return for_another or not (signed_here and problem.code in OF_THE_SETUP)


def said_by(problem: Problem) -> bool:
    """Whether a hub said it, and not a proxy on the way."""
    return str(problem.body.get("type", "")).startswith(TYPE)


def of_ours(error: BrokerError, language: str) -> dict[str, Any]:
    """A refusal that the agent made itself, as the hub would tell it (RFC 9457 §3.1)."""
    problem: dict[str, Any] = {
        "type": TYPE + error.code,
        "title": phrases.render(f"title.{error.code}", language),
        "status": error.status,
        "code": error.code,
    }
    faults = []
    for fault in error.faults:
        detail = phrases.render(f"rule.{fault.rule}", language, found=fault.found, allowed=fault.allowed, **fault.more)
        shown = {"pointer": fault.pointer, "rule": fault.rule, "detail": detail}
        faults.append(shown | ({"allowed": list(fault.allowed)} if fault.allowed else {}))
    return problem | ({"detail": faults[0]["detail"], "errors": faults} if faults else {})


def said(value: Mapping[str, Any]) -> bytes:
    """`octets` of what a hub says. Raises Later if none says such: it is not to be written for others to read."""
    try:
        written = octets(value)
        strictjson.parse(written, max_bytes=len(written))
    except (BrokerError, RecursionError):
        raise Later("this is not what a hub says: numbers that are none, or no end of brackets") from None
    return written


def octets(value: Mapping[str, Any]) -> bytes:
    """JSON for people and machines, a member a line."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "replace")
