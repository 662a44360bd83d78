"""Accepting messages. One message is a batch of one; submissions that arrive together share one transaction.

    1, 2  verify: parse, signature                     pure
    4, 5  clock and key; header, schema, lists, rules  pure
    3     what fails there: is it a repeat?            one read, for those alone
    6     ONE transaction (`accept.Batch`): known? key again, release, entitlement, routing; message, deliveries
          with their sequences, receipt (and, once there is a log, the leaf)
    7     the answer: a receipt, or the one error of the step that failed

Promise 1: a receipt leaves this module only after its transaction has committed.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert

from broker import jws, metrics, verify
from broker.accept import Accepted, Batch, Outcome, Prepared, known_outcome
from broker.errors import BrokerError, Conflict, KeyRefused, TooMany
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
    """Outcomes in the order of `tokens`; a bad one never sinks a good one. Raises Busy (nothing was looked at),
    LedgerAway (nothing was accepted that was not answered before)."""
    with hub.limits.messages_in_hand.held(len(tokens)):
        return await _accept(hub, committer, tokens, traceparent)


async def _accept(hub: Hub, committer: GroupCommit, tokens: Sequence[bytes], traceparent: str | None) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    signed, others = await _believe(hub, tokens, outcomes)
    _within_rates(hub, signed, outcomes)
    prepared = await _read(hub, signed, outcomes, traceparent)
    if prepared:
        done = await committer.commit(list(prepared.values()))
        outcomes.update(zip(prepared, done, strict=True))
    await _keep_refusals(hub, others | {n: (s.originator, s.digest) for n, s in signed.items()}, outcomes)
    _tell(signed, outcomes)
    return [outcomes[number] for number in range(len(tokens))]


async def _believe(
    hub: Hub, tokens: Sequence[bytes], outcomes: dict[int, Outcome]
) -> tuple[dict[int, verify.Signed], dict[int, tuple[str, str]]]:
    """Steps 1 and 2. Also (member, digest) of who signed well, but in another member's name: that is kept."""
    others: dict[int, tuple[str, str]] = {}
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
            if isinstance(error, KeyRefused):  # the signature held
                others[number] = (registry.keys[parsed.token.kid].owner, jws.digest(parsed.token.compact))
        if number % CHUNK == CHUNK - 1:
            await asyncio.sleep(0)
    return signed, others


def _within_rates(hub: Hub, signed: dict[int, verify.Signed], outcomes: dict[int, Outcome]) -> None:
    """Who signs more than its rate is told when to come again. It is the first thing that can be counted against a
    member, and the last before the ledger is asked; such a refusal is not kept."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, one in signed.items():
        numbers[one.originator].append(number)
    for originator, mine in numbers.items():
        try:
            hub.limits.messages.take(originator, len(mine), time.monotonic())
        except TooMany as refused:
            for number in mine:
                outcomes[number] = refused
                del signed[number]


async def _read(
    hub: Hub, signed: dict[int, verify.Signed], outcomes: dict[int, Outcome], traceparent: str | None
) -> dict[int, Prepared]:
    """Steps 4 and 5. What passes is asked about repeats inside the transaction, where that is decided anyway; what
    fails may still be a repeat, and is looked up before it is refused."""
    registry, now = await hub.registry_now(), hub.now()
    prepared: dict[int, Prepared] = {}
    doubtful: dict[int, verify.Signed] = {}
    for step, (number, one) in enumerate(signed.items(), 1):
        try:
            verify.check_clock_and_key(one, registry, now)
            prepared[number] = Prepared(one, verify.check_content(one, hub.language, now), traceparent)
        except BrokerError:
            doubtful[number] = one
        if step % CHUNK == 0:
            await asyncio.sleep(0)
    if doubtful:
        prepared |= await _second_look(hub, doubtful, outcomes, traceparent)
    return dict(sorted(prepared.items()))


async def _second_look(
    hub: Hub, doubtful: dict[int, verify.Signed], outcomes: dict[int, Outcome], traceparent: str | None
) -> dict[int, Prepared]:
    """A repeat gets its receipt before anything else; then clock and key by the present registry; then a conflict is
    told, to who may sign now; then the content. Returns what passes after all."""
    async with hub.ledger.reading() as c:
        registry = await hub.registry(c)
        known = await ledger_messages.known(
            c, [(s.originator, s.id) for s in doubtful.values() if s.id and _is_id(s.id)]
        )
    prepared = {}
    for number, one in doubtful.items():
        already = known.get(f"{one.originator}:{one.id}")
        outcome = known_outcome(hub, one, already) if already else None
        try:
            if not isinstance(outcome, Accepted):
                verify.check_clock_and_key(one, registry, hub.now())
            if outcome is not None:
                outcomes[number] = outcome
            else:
                prepared[number] = Prepared(one, verify.check_content(one, hub.language, hub.now()), traceparent)
        except BrokerError as error:
            outcomes[number] = error
    return prepared


def _is_id(id: str) -> bool:
    """An id that can be in the ledger: the header has not been checked yet."""
    return len(id) <= 64 and id.isascii() and id.isprintable()


async def _keep_refusals(hub: Hub, signers: dict[int, tuple[str, str]], outcomes: dict[int, Outcome]) -> None:
    """Digest, rule and member of what was refused although the signature held (promise 10); never content."""
    rows = [
        {
            "at": hub.now(), "member": member, "digest": digest, "code": error.code, "rule": error.rule[:64],
            "jws": error.extra.get("refusal") if isinstance(error, Conflict) else None,
        }
        for number, (member, digest) in signers.items()
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
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, should the client hang up
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


async def _take(batch: Batch, item: Prepared) -> Outcome:
    """Decide one, and now and then let others run: a batch of 1,000 would hold the event loop for a tenth of a second."""
    if len(batch.events) % CHUNK == CHUNK - 1:
        await asyncio.sleep(0)
    return await batch.take(item)


async def _transaction(hub: Hub, groups: list[list[Prepared]]) -> list[list[Outcome]]:
    started = time.perf_counter()
    async with hub.ledger.accepting() as c:
        batch = await Batch.begin(c, hub, [p for group in groups for p in group])
        results = [[await _take(batch, p) for p in group] for group in groups]
        await batch.flush()
    metrics.commit_seconds.observe(time.perf_counter() - started)
    metrics.commit_messages.observe(sum(map(len, groups)))
    for event in batch.events:
        metrics.accepted.labels(event["kind"]).inc()
        metrics.deliveries.inc(event["deliveries"])
        log.info("message.accepted", **event)
    return results
