"""Posters: they sign and post batches and singles, repeat whatever was not answered, and keep every receipt.

A share of what they post amends or withdraws what they posted before; now and then they post something old once more,
which must be answered with the very receipt of the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2

from broker import clock, jws
from tests.region import ALERT, SEIZURE, to
from tests.torture.evidence import Evidence, Sent, Shape
from tests.torture.people import GROUP, POSTERS, People

POSTERS_EACH = 2
"""Tasks that post in one member's name."""
MOST_LINES = 150
TIMEOUT_SECONDS = 15
AMENDED, WITHDRAWN, REPEATED = 0.03, 0.02, 0.02
"""Shares of what is posted."""
REMEMBERED = 200
"""Chains that a poster may still correct, and tokens that it may still post again."""
PASSING = {429, 502, 503, 504}

_DRUGS = {**ALERT, "subject": "Cocaine in ornamental plants", "headings": ["drugs"]}
_BODIES: list[tuple[str, dict[str, Any]]] = [("alert", dict(ALERT)), ("alert", _DRUGS), ("seizure", dict(SEIZURE))]
_RELEASES: list[tuple[str, dict[str, Any], int]] = [
    ("AMBER", to("PE", AR="action"), 5),
    ("AMBER", to("BR", "PA"), 3),
    ("RED", to("RILO-SA", "BR"), 2),
    ("AMBER", {"groups": [GROUP]}, 5),
    ("AMBER", {"to": [{"member": "FIU-CL"}], "groups": [GROUP], "except": ["PE"]}, 3),
    ("GREEN", {"all": True}, 2),
    ("CLEAR", {"all": True, "except": ["AR"]}, 1),
]
"""(marking, release, how often)"""
_NARROWED: list[tuple[str, dict[str, Any]]] = [
    ("AMBER", to("PE")),
    ("AMBER", to("AR", "BR")),
    ("AMBER", {"groups": [GROUP]}),
]
"""What an amendment may be released to, if not to the same as before."""


def _shape(originator: str, kind: str, body: dict[str, Any], tlp: str, release: dict[str, Any] | None) -> Shape:
    header: dict[str, Any] = {"kind": kind, "version": "1.0", "originator": originator, "status": "actual"}
    header |= {"event_at": clock.text(clock.now()), "handling": {"tlp": tlp, "release": release}}
    return Shape(header, body)


@dataclass
class Quota:
    """How many messages may still be posted, by all posters together."""

    left: int

    def take(self, wanted: int) -> int:
        given = min(wanted, self.left)
        self.left -= given
        return given


@dataclass
class Poster:
    """One task of one member."""

    number: int
    member: str
    people: People
    evidence: Evidence
    http: httpx2.AsyncClient
    rng: Random
    _ids: Iterator[int] = field(default_factory=itertools.count)
    _fresh: list[Shape] = field(default_factory=list)
    _weights: list[int] = field(default_factory=list)
    _narrowed: dict[Shape, list[Shape]] = field(default_factory=dict)
    _latest: list[Sent] = field(default_factory=list)
    """The last versions of chains that may be corrected."""
    _old: list[tuple[Sent, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for (kind, body), (tlp, release, weight) in itertools.product(_BODIES, _RELEASES):
            shape = _shape(self.member, kind, body, tlp, release)
            self._fresh.append(shape)
            self._weights.append(weight)
            self._narrowed[shape] = [shape, *(_shape(self.member, kind, body, t, r) for t, r in _NARROWED)]

    async def run(self, quota: Quota, rest_seconds: float) -> None:
        """Until the quota is used up; ends when everything posted has been answered."""
        while size := quota.take(1 if self.rng.random() < 0.2 else self.rng.randint(2, MOST_LINES)):
            posts = [self._next() for _ in range(size)]
            if self._old and self.rng.random() < REPEATED * size:
                posts.append(self.rng.choice(self._old))
            while posts := await self._unanswered(posts):
                await asyncio.sleep(self.rng.uniform(0.05, 0.3))
            await asyncio.sleep(rest_seconds)

    def _next(self) -> tuple[Sent, str]:
        lot = self.rng.random()
        target = None
        if lot < AMENDED + WITHDRAWN and self._latest:
            target = self._latest.pop(self.rng.randrange(len(self._latest)))
        withdraws = target is not None and lot < WITHDRAWN
        shape = self.rng.choices(self._fresh, self._weights)[0]
        corrects = None if target is None else target.address
        if target is not None:
            shape = self._withdrawal(target.shape) if withdraws else self.rng.choice(self._narrowed_of(target.shape))
        id = f"p{self.number}-{next(self._ids)}"
        header = {**shape.header, "id": id}
        if corrects is not None:
            header["withdraws" if withdraws else "supersedes"] = corrects
        address = f"{self.member}:{id}"
        one = Sent(address, self.member, shape, corrects, withdraws, time.monotonic())
        self.evidence.sent[address] = one
        payload = json.dumps({"header": header, "body": shape.body}, ensure_ascii=False).encode()
        return one, jws.sign(payload, self.people.keys[self.member], typ=jws.TYP_MESSAGE, iat=int(time.time()))

    def _withdrawal(self, shape: Shape) -> Shape:
        handling = {**shape.header["handling"], "release": None}
        return Shape({**shape.header, "handling": handling}, {"reason_code": "mistaken", "text": "Entered twice"})

    def _narrowed_of(self, shape: Shape) -> list[Shape]:
        """The first version's choices; what was narrowed once stays as it is."""
        return self._narrowed.get(shape, [shape])

    async def _unanswered(self, posts: list[tuple[Sent, str]]) -> list[tuple[Sent, str]]:
        """Post once; what has to be posted again, after the pause that was asked for."""
        single = len(posts) == 1
        door, kind = ("/v1/messages", "jose") if single else ("/v1/messages/batch", "x-ndjson")
        content = posts[0][1] if single else "\n".join(f'"{token}"' for _, token in posts)
        try:
            answer = await self.http.post(door, content=content, headers={"content-type": f"application/{kind}"})
        except httpx2.TransportError as error:
            self.evidence.answers[type(error).__name__] += 1
            return posts
        self.evidence.answers[f"post {answer.status_code}"] += 1
        if answer.status_code in PASSING:
            await asyncio.sleep(min(float(answer.headers.get("retry-after", 0)), 2))
            return posts
        if single:
            lines = [answer.json() | {"status": answer.status_code}]
        elif answer.status_code == 200:
            lines = [json.loads(line) for line in answer.text.splitlines()]
        else:
            self.evidence.surprise("refused", f"a batch: {answer.status_code} {answer.text[:300]}")
            return []
        return [post for post, line in zip(posts, lines, strict=True) if not self._answered(post, line)]

    def _answered(self, post: tuple[Sent, str], line: dict[str, Any]) -> bool:
        one, token = post
        if line["status"] in PASSING:
            return False
        if line["status"] not in (200, 201):
            problem = line.get("problem", line)
            if problem.get("code") == "signing-time":  # a hub whose clock is wrong: tomorrow it may be right
                self.evidence.answers["signing-time"] += 1
                return False
            self.evidence.surprise("refused", f"{one.address}: {json.dumps(problem)[:300]}")
            return True
        claims = jws.claims(jws.read(line["receipt"].encode(), typ=jws.TYP_RECEIPT))
        receipt = hashlib.sha256(line["receipt"].encode()).hexdigest()
        if (claims["message"], claims["digest"]) != (one.address, jws.digest(token)):
            self.evidence.surprise("receipt", f"{one.address}: the receipt says {claims['message']} {claims['digest']}")
        if one.receipt and one.receipt != receipt:
            self.evidence.surprise("receipt", f"{one.address}: another receipt for a repeat")
        if not one.answered:
            one.answered, one.digest, one.receipt = time.monotonic(), claims["digest"], receipt
            self._remember(one, token)
        return True

    def _remember(self, one: Sent, token: str) -> None:
        self._old.append((one, token))
        if not one.withdraws:
            self._latest.append(one)
        for memory in (self._old, self._latest):
            if len(memory) > REMEMBERED:
                del memory[self.rng.randrange(len(memory))]


async def post_all(
    people: People, evidence: Evidence, door_url: str, quota: Quota, seed: int, rest_seconds: float
) -> None:
    """All posters, until every message of the quota has its receipt."""
    async with (
        httpx2.AsyncClient(base_url=door_url, timeout=TIMEOUT_SECONDS, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        for number, member in enumerate(POSTERS * POSTERS_EACH):
            poster = Poster(number, member, people, evidence, http, Random(f"{seed} poster {number}"))
            group.create_task(poster.run(quota, rest_seconds))
