"""Accepting messages. One message is a batch of one; submissions that arrive together share one transaction.

    1, 2  verify: parse, signature                     pure
    3     repeats                                      one read
    4, 5  clock and key; header, schema, lists, rules  pure
    6     ONE transaction (`accept.Batch`): known? key again, release, entitlement, routing; message, deliveries
          with their sequences, receipt (and, once there is a log, the leaf)
    7     the answer: a receipt, or the one error of the step that failed

Promise 1: a receipt leaves this module only after its transaction has committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert

from broker import metrics, verify
from broker.accept import Accepted, Batch, Outcome, Prepared, known_outcome
from broker.errors import BrokerError, Conflict
from broker.hub import Hub
from broker.ledger import messages as ledger_messages
from broker.ledger import tables as t
from broker.logs import log

CHUNK = 25
"""Verifications between two looks at the event loop: about 5 ms."""
MAX_TOGETHER = 500
"""Most messages in one transaction: bounds how long the head lock is held."""


async def accept_batch(
    hub: Hub, committer: GroupCommit, tokens: Sequence[bytes], traceparent: str | None = None
) -> list[Outcome]:
    """Outcomes in the order of `tokens`; a bad one never sinks a good one. Raises LedgerAway (nothing was accepted
    that was not answered before)."""
    outcomes: dict[int, Outcome] = {}
    signed = await _believe(hub, tokens, outcomes)
    fresh = await _without_repeats(hub, signed, outcomes)
    prepared = await _read(hub, fresh, outcomes, traceparent)
    if prepared:
        done = await committer.commit([p for _, p in prepared])
        outcomes.update(zip((number for number, _ in prepared), done, strict=True))
    await _keep_refusals(hub, signed, outcomes)
    _tell(signed, outcomes)
    return [outcomes[number] for number in range(len(tokens))]


async def _believe(hub: Hub, tokens: Sequence[bytes], outcomes: dict[int, Outcome]) -> dict[int, verify.Signed]:
    registry = await hub.registry_now()
    fresh_registry = None
    signed: dict[int, verify.Signed] = {}
    for number, token in enumerate(tokens):
        try:
            parsed = verify.read_message(token)
            if parsed.token.kid not in registry.keys and fresh_registry is None:
                async with hub.ledger.reading() as c:  # enrolled a moment ago?
                    registry = fresh_registry = await hub.registry(c)
            signed[number] = verify.who_signed(parsed, registry)
        except BrokerError as error:
            outcomes[number] = error
        if number % CHUNK == CHUNK - 1:
            await asyncio.sleep(0)
    return signed


async def _without_repeats(
    hub: Hub, signed: dict[int, verify.Signed], outcomes: dict[int, Outcome]
) -> dict[int, verify.Signed]:
    addresses = [(s.originator, s.id) for s in signed.values() if s.id is not None and len(s.id) <= 64]
    async with hub.ledger.reading() as c:
        known = await ledger_messages.known(c, addresses)
    fresh = {}
    for number, one in signed.items():
        already = known.get(f"{one.originator}:{one.id}")
        outcome = known_outcome(hub, one, already) if already else None
        if isinstance(outcome, Accepted):
            outcomes[number] = outcome
            continue
        try:
            verify.check_clock_and_key(one, await hub.registry_now(), hub.now())
        except BrokerError as error:
            outcomes[number] = error
            continue
        if outcome is not None:
            outcomes[number] = outcome  # a conflict, told only to who may sign now
        else:
            fresh[number] = one
    return fresh


async def _read(
    hub: Hub, fresh: dict[int, verify.Signed], outcomes: dict[int, Outcome], traceparent: str | None
) -> list[tuple[int, Prepared]]:
    prepared = []
    now = hub.now()
    for step, (number, one) in enumerate(fresh.items()):
        try:
            prepared.append((number, Prepared(one, verify.check_content(one, hub.language, now), traceparent)))
        except BrokerError as error:
            outcomes[number] = error
        if step % CHUNK == CHUNK - 1:
            await asyncio.sleep(0)
    return prepared


async def _keep_refusals(hub: Hub, signed: dict[int, verify.Signed], outcomes: dict[int, Outcome]) -> None:
    """Digest, rule and member of what was refused although the signature held (promise 10); never content."""
    rows = [
        {
            "at": hub.now(), "member": one.originator, "digest": one.digest, "code": error.code, "rule": error.rule[:64],
            "jws": error.extra.get("refusal") if isinstance(error, Conflict) else None,
        }
        for number, one in signed.items()
        if isinstance(error := outcomes[number], BrokerError)
    ]  # fmt: skip
    if rows:
        async with hub.ledger.accepting() as c:
            await c.execute(insert(t.refusals), rows)


def _tell(signed: dict[int, verify.Signed], outcomes: dict[int, Outcome]) -> None:
    for number, outcome in outcomes.items():
        if isinstance(outcome, BrokerError):
            metrics.refused.labels(outcome.code).inc()
            one = signed.get(number)
            log.info(
                "message.refused", code=outcome.code, rule=outcome.rule,
                member=one.originator if one else None, digest=one.digest if one else None,
            )  # fmt: skip
        elif outcome.repeat:
            metrics.repeats.inc()
            log.info("message.repeated", message=outcome.address)


@dataclass
class _Waiting:
    items: list[Prepared]
    future: asyncio.Future[list[Outcome]]


class GroupCommit:
    """Submissions that arrive while a transaction runs wait together and share the next one."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def commit(self, items: list[Prepared]) -> list[Outcome]:
        """Outcomes of `items`, after their transaction has committed. Raises LedgerAway."""
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(items, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(future)  # a client that hangs up does not undo what others share

    async def close(self) -> None:
        """Wait until everything that was handed in has been decided."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._waiting:
            together: list[_Waiting] = []
            size = 0
            while self._waiting and (not together or size + len(self._waiting[0].items) <= MAX_TOGETHER):
                together.append(self._waiting.pop(0))
                size += len(together[-1].items)
            await self._commit_together(together)

    async def _commit_together(self, together: list[_Waiting]) -> None:
        try:
            results = await _transaction(self._hub, [w.items for w in together])
        except BaseException as error:
            if len(together) > 1 and isinstance(error, Exception) and not isinstance(error, BrokerError):
                for one in together:  # a fault of ours in one submission must not sink its neighbours
                    await self._commit_together([one])
                return
            for waiting in together:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for waiting, result in zip(together, results, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(result)


async def _transaction(hub: Hub, groups: list[list[Prepared]]) -> list[list[Outcome]]:
    started = time.perf_counter()
    async with hub.ledger.accepting() as c:
        batch = await Batch.begin(c, hub, [p for group in groups for p in group])
        results = [[await batch.take(p) for p in group] for group in groups]
        await batch.flush()
    hub.wakes.wake(batch.touched)
    metrics.commit_seconds.observe(time.perf_counter() - started)
    metrics.commit_messages.observe(sum(map(len, groups)))
    for event in batch.events:
        metrics.accepted.labels(event["kind"]).inc()
        metrics.deliveries.inc(event["deliveries"])
        log.info("message.accepted", **event)
    return results
