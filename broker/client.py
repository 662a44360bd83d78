"""The SDK: sign, submit, pull, stream, settle, acknowledge, verify. Async; imports the first floor, never the server.

    async with Client("https://hub.example.org", "CL", keyfiles.load(path)) as client:
        receipt = await client.post(sign(payload, key))
        for delivery in await client.lease("inbox", wait_seconds=20):
            payload = await client.believe(delivery.message)
            ...                                                         # store it and commit; only then:
            await client.settle("inbox", [accept(delivery, client.acknowledgement(delivery.message, "received"))])

What fails and can be repeated is repeated by `broker.door` with a growing, jittered pause: a post is idempotent by
design. Errors: Problem (the hub's answer, RFC 9457), Unreachable (nothing is known: repeat the same bytes later), and
the BrokerErrors of `offline.verify_message`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from broker import clock, jws, offline, strictjson
from broker.door import FOR_THE_MOMENT, Door, Problem, Unreachable
from broker.errors import Malformed, SignatureRefused
from broker.statements import make_acknowledgement

__all__ = ["Client", "Delivery", "Posted", "Problem", "Receipt", "Unreachable", "accept", "reject", "release", "sign"]

BATCH_LINES = 1_000
BATCH_BYTES = 9_500_000
"""What one batch request may hold; the hub's own limits are 1,000 lines and 10 MB."""
LEASE_ANSWER_MARGIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Receipt:
    """The hub's answer to a post. `digest` is of the message as it was *first* accepted. Nothing is verified yet."""

    message: str
    digest: str
    accepted_at: str
    compact: str
    warnings: Sequence[Mapping[str, Any]] = ()
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one line of a batch: `receipt` (status 200 or 201) or `problem`."""

    token: str
    status: int
    receipt: Receipt | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One leased delivery. `message` is the compact JWS; the lease ends at `lease_until` (RFC 3339)."""

    delivery_id: str
    lease_id: str
    lease_until: str
    sequence: int
    round: int
    count: int
    duties: Sequence[str]
    rule: str
    accepted_at: str
    message: str
    warnings: Sequence[Mapping[str, Any]] = ()
    match: Mapping[str, Any] | None = None


def sign(payload: Mapping[str, Any] | bytes, key: jws.PrivateKey, iat: int | None = None) -> str:
    """A message: `payload` octet for octet, or a mapping as compact JSON; `iat` in whole seconds, default now."""
    iat = int(time.time()) if iat is None else iat
    if isinstance(payload, bytes):
        return jws.sign(payload, key, typ=jws.TYP_MESSAGE, iat=iat)
    return jws.sign_claims(payload, key, typ=jws.TYP_MESSAGE, iat=iat)


def accept(delivery: Delivery, acknowledgement: str | None = None) -> dict[str, Any]:
    """The settlement "I have it, safely", with one's acknowledgement: the two succeed or fail together."""
    settlement = {"lease_id": delivery.lease_id, "outcome": "accept"}
    return settlement if acknowledgement is None else settlement | {"acknowledgement": acknowledgement}


def release(delivery: Delivery, delay_seconds: int = 0) -> dict[str, Any]:
    """The settlement "not now": it is offered again, at the earliest after `delay_seconds`."""
    return {"lease_id": delivery.lease_id, "outcome": "release", "delay_seconds": delay_seconds}


def reject(delivery: Delivery, reason: str) -> dict[str, Any]:
    """The settlement "never": it goes to the dead letters with `reason` (at most 500 characters)."""
    return {"lease_id": delivery.lease_id, "outcome": "reject", "reason": reason[:500]}


@dataclass
class Client:
    """A member (or `operator:NAME`) at one hub. `url` is the hub's public URL to the letter: the tokens' audience.

    Memory is bounded: pages, batches and leases are taken one at a time.
    """

    url: str
    member: str
    key: jws.PrivateKey | None = None
    language: str = "en"
    certificate: Path | None = None
    door: Door = field(init=False, repr=False)
    _keys: offline.Keys = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.door = Door(self.url, self.member, self.key, self.language, certificate=self.certificate)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.door.close()

    async def token(self, scope: str = "api", *, fresh: bool = False) -> str:
        """An access token for one door; kept and renewed. `fresh`: a new one in any case."""
        return await self.door.token(scope, fresh=fresh)

    # ── sending ──

    async def post(self, compact: str) -> Receipt:
        """Post a signed message. Idempotent: the same payload under the same address gives the same receipt."""
        headers = {"content-type": "application/jose"}
        status, body = await self.door.call(
            "POST", "/v1/messages", content=compact.encode("ascii"), headers=headers, scope=None
        )
        return _receipt(body["receipt"], body.get("warnings", ()), repeat=status == 200)

    async def post_many(self, tokens: Iterable[str]) -> AsyncIterator[Posted]:
        """Post any number of messages in batches, in order. What is too large for the hub is not sent. Lines that it
        refuses for the moment (429, 503) are posted again, before the next batch; what it still refuses then is told so.
        """
        for batch in _batches(tokens):
            answers = iter(await self._post_patiently([token for token in batch if len(token) <= jws.MAX_TOKEN_BYTES]))
            for token in batch:
                if len(token) > jws.MAX_TOKEN_BYTES:
                    body = {"title": "Too large", "code": "too-large", "detail": f"at most {jws.MAX_TOKEN_BYTES} bytes"}
                    yield Posted(token, 413, problem=Problem(413, body))
                else:
                    yield _posted(token, next(answers))

    async def post_batch(self, tokens: Iterable[str]) -> list[Posted]:
        """`post_many` as a list, in the order of `tokens`."""
        return [posted async for posted in self.post_many(tokens)]

    async def _post_patiently(self, batch: list[str]) -> list[dict[str, Any]]:
        """A line of answer for each of the batch, in its order: the last one that it got."""
        answers = await self._post_batch(batch)
        for attempt in range(1, self.door.attempts):
            again = [number for number, answer in enumerate(answers) if answer["status"] in FOR_THE_MOMENT]
            if not again:
                break
            await asyncio.sleep(self.door.pause(attempt, max(_retry_after(answers[number]) or 0 for number in again)))
            try:
                repeated = await self._post_batch([batch[number] for number in again])
            except Unreachable:
                break  # the others have their receipts; that of these nothing is known is safe to be taken for a refusal
            for number, answer in zip(again, repeated, strict=True):
                answers[number] = answer
        return answers

    async def _post_batch(self, batch: list[str]) -> list[dict[str, Any]]:
        if not batch:
            return []
        content = "".join(json.dumps(token) + "\n" for token in batch).encode()
        headers = {"content-type": "application/x-ndjson"}
        lines: list[dict[str, Any]]
        _, lines = await self.door.call(
            "POST", "/v1/messages/batch", content=content, headers=headers, scope=None, lines=True
        )
        if [line.get("line") for line in lines] != list(range(1, len(batch) + 1)):
            raise Unreachable(f"{self.url} answered a batch of {len(batch)} with {len(lines)} lines")
        return lines

    async def check(self, message: Mapping[str, Any] | bytes | str) -> dict[str, Any]:
        """Everything but storing: a draft (mapping or JSON octets) or one's own signed message (compact)."""
        if isinstance(message, str):
            kind, content = "application/jose", message.encode("ascii", "replace")
        else:
            kind = "application/json"
            content = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
        return await self._json("POST", "/v1/messages/check", content=content, headers={"content-type": kind})

    # ── reading ──

    async def get(self, address: str) -> dict[str, Any]:
        """One message: `message` (compact), `state`, `digest` ... A recipient's fetch is recorded: it makes a holder."""
        return await self._json("GET", _path("/v1/messages", address))

    async def receipt(self, address: str) -> Receipt:
        body = await self._json("GET", _path("/v1/messages", address, "receipt"))
        return _receipt(body["receipt"], body.get("warnings", ()), repeat=True)

    async def deliveries(self, address: str) -> dict[str, Any]:
        """For the originator: per recipient what the hub did and what the recipient signed."""
        return await self._json("GET", _path("/v1/messages", address, "deliveries"))

    async def audience(self, address: str) -> dict[str, Any]:
        """For the originator: who is entitled, and by which rule."""
        return await self._json("GET", _path("/v1/messages", address, "audience"))

    async def messages(self, box: str = "received", **wanted: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """What one sent or is entitled to, newest first, page by page. `wanted`: kind, heading, since, identifier, limit."""
        cursor: str | None = None
        while True:
            page = await self._json("GET", "/v1/messages", params={"box": box, **wanted, "cursor": cursor})
            for message in page["messages"]:
                yield message
            cursor = page.get("next")
            if cursor is None:
                return

    async def index(self, queue: str, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """The deliveries of one's own queue from a sequence on, tombstones included."""
        while True:
            page = await self._json(
                "GET", _path("/v1/queues", queue, "deliveries"), params={"after": after, "limit": 500}
            )
            for delivery in page["deliveries"]:
                yield delivery
                after = delivery["sequence"]
            if not page["deliveries"]:
                return

    async def acknowledge(self, address: str, digest: str, state: str, reason: str | None = None) -> dict[str, Any]:
        """Post one's signed acknowledgement. `digest` is of the compact JWS as received."""
        token = make_acknowledgement(address, digest, state, self.door.signing_key, clock.now(), reason=reason)
        path, headers = _path("/v1/messages", address, "acknowledgement"), {"content-type": "application/jose"}
        return await self._json("POST", path, content=token.encode(), headers=headers)

    def acknowledgement(self, compact: str, state: str, reason: str | None = None) -> str:
        """A signed acknowledgement of a received message, to go with a settlement."""
        header = strictjson.parse_object(jws.unb64(compact.split(".")[1]), max_bytes=jws.MAX_TOKEN_BYTES)["header"]
        address = f"{header['originator']}:{header['id']}"
        return make_acknowledgement(
            address, jws.digest(compact), state, self.door.signing_key, clock.now(), reason=reason
        )

    # ── queues ──

    async def queues(self) -> list[dict[str, Any]]:
        return list((await self._json("GET", "/v1/queues"))["queues"])

    async def lease(
        self, queue: str, limit: int = 20, lease_seconds: int = 120, wait_seconds: float = 0
    ) -> list[Delivery]:
        """Lease up to `limit` deliveries; wait up to `wait_seconds` (at most 30) for the first one.

        A lost answer is asked for again: what that one leased comes back when its leases end.
        """
        body = {"limit": limit, "lease_seconds": lease_seconds, "wait_seconds": wait_seconds}
        timeout = wait_seconds + LEASE_ANSWER_MARGIN_SECONDS
        answer = await self._json("POST", _path("/v1/queues", queue, "lease"), body=body, timeout_seconds=timeout)
        return [_delivery(one) for one in answer["deliveries"]]

    async def stream(
        self, queue: str, limit: int = 20, lease_seconds: int = 120, *, told: Callable[[str], None] = lambda text: None
    ) -> AsyncGenerator[Delivery, None]:
        """Deliveries with their leases as they come, for ever; at most `limit` unsettled: settle, or no more will come.

        A connection that is lost, silent or at the end of its token is followed by another, with a fresh token, that
        goes on after the last delivery yielded here: what was on its way comes again at once. `told` hears why, when
        it was a fault. Raises Problem once the hub refuses for good. Close it (`aclosing`) when leaving early.
        """
        params = {"limit": limit, "lease_seconds": lease_seconds}
        async with aclosing(self.door.follow(_path("/v1/queues", queue, "stream"), params, told)) as shown:
            async for one in shown:
                yield _delivery(one)

    async def extend(
        self, queue: str, deliveries: Sequence[Delivery], lease_seconds: int = 120
    ) -> list[dict[str, Any]]:
        """Keep leases for `lease_seconds` from now; one status an item, 409 for a stale one."""
        body = {"lease_ids": [delivery.lease_id for delivery in deliveries], "lease_seconds": lease_seconds}
        return list((await self._json("POST", _path("/v1/queues", queue, "extend"), body=body))["leases"])

    async def settle(self, queue: str, settlements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Settle by `accept`, `release`, `reject`; one status an item, in order. 409: do not count it as settled."""
        body = {"settlements": [dict(settlement) for settlement in settlements]}
        return list((await self._json("POST", _path("/v1/queues", queue, "settle"), body=body))["settlements"])

    async def replay(
        self, queue: str, *, since: str | None = None, sequence: int | None = None, message: str | None = None
    ) -> dict[str, Any]:
        """Have deliveries again from a time, a sequence, or one message. Not repeated after a lost answer."""
        wanted = {"since": since, "sequence": sequence, "message": message}
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._json("POST", _path("/v1/queues", queue, "replay"), body=body, idempotent=False)

    # ── subscriptions ──

    async def subscriptions(self) -> list[dict[str, Any]]:
        return list((await self._json("GET", "/v1/subscriptions"))["subscriptions"])

    async def subscribe(self, name: str, wanted: Mapping[str, Any], delivery: str | None = None) -> dict[str, Any]:
        """Add a subscription; `delivery` amqp, pull or stream, by default as the hub is set up."""
        body: dict[str, Any] = {"name": name, "filter": dict(wanted)}
        if delivery is not None:
            body["delivery"] = delivery
        return await self._json("POST", "/v1/subscriptions", body=body, idempotent=False)

    async def change_filter(self, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        return await self._json("PATCH", _path("/v1/subscriptions", name), body={"filter": dict(wanted)})

    async def unsubscribe(self, name: str) -> None:
        await self.door.call("DELETE", _path("/v1/subscriptions", name), scope=self.door.scope, idempotent=False)

    async def preview(self, wanted: Mapping[str, Any], limit: int = 50) -> dict[str, Any]:
        """What a filter would have matched among what one may see."""
        return await self._json("POST", "/v1/subscriptions/preview", body={"filter": dict(wanted), "limit": limit})

    # ── the directory, and believing what comes ──

    async def members(self) -> dict[str, Any]:
        """The directory with public keys: save it, and `offline.keys_of` works from it without network."""
        return await self._json("GET", "/v1/members")

    async def keys(self, *, fresh: bool = False) -> offline.Keys:
        """The directory's keys, kept after the first call. What comes damaged is no answer (Unreachable): nobody's good
        message is disbelieved for it."""
        if fresh or not self._keys:
            try:
                self._keys = offline.keys_of(await self.members())
            except Malformed as error:
                raise Unreachable(f"{self.url}: {error.detail}") from error
        return self._keys

    async def believe(self, compact: str) -> dict[str, Any]:
        """`offline.verify_message` with the directory's keys, fetched anew when a key is not in it. Returns the payload."""
        try:
            return offline.verify_message(compact, await self.keys())
        except SignatureRefused as error:
            if error.rule != "key-unknown":
                raise
        return offline.verify_message(compact, await self.keys(fresh=True))

    async def groups(self) -> list[dict[str, Any]]:
        return list((await self._json("GET", "/v1/groups"))["groups"])

    async def admin(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: str | int | None
    ) -> dict[str, Any]:
        """An operator's call below `/v1/admin`; only GETs are repeated after a lost answer."""
        _, answer = await self.door.call(
            method, f"/v1/admin{path}", body=body, params=params, scope="admin", idempotent=method == "GET"
        )
        return dict(answer)

    async def _json(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        _, answer = await self.door.call(method, path, scope=self.door.scope, **how)
        return dict(answer)


def _delivery(shown: Mapping[str, Any]) -> Delivery:
    known = Delivery.__dataclass_fields__.keys()
    return Delivery(**{name: value for name, value in shown.items() if name in known})


def _path(*parts: str) -> str:
    first, *rest = parts
    return "/".join([first, *(quote(part, safe=":") for part in rest)])


def _receipt(compact: str, warnings: Sequence[Mapping[str, Any]], *, repeat: bool) -> Receipt:
    read, told = offline.read_receipt(compact, None), [dict(warning) for warning in warnings]
    return Receipt(read.message, read.digest, clock.text(read.accepted_at), compact, told, repeat)


def _posted(token: str, line: Mapping[str, Any]) -> Posted:
    status = int(line["status"])
    if "receipt" in line:
        return Posted(token, status, receipt=_receipt(line["receipt"], line.get("warnings", ()), repeat=status == 200))
    return Posted(token, status, problem=Problem(status, line.get("problem", {}), _retry_after(line)))


def _retry_after(line: Mapping[str, Any]) -> int | None:
    """Seconds, as a refused line of a batch says in its problem; the header is the whole answer's."""
    found = line.get("problem", {}).get("retry_after")
    return found if isinstance(found, int) else None


def _batches(tokens: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for token in tokens:
        if batch and (len(batch) == BATCH_LINES or size + len(token) + 3 > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(token)
        size += len(token) + 3
    if batch:
        yield batch
