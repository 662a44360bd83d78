"""The client's patience: what it repeats, what it does not, and one token for many callers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from broker import jws, keyfiles
from broker.client import BATCH_LINES, Client, Problem, Unreachable, _batches, sign
from broker.consume import Seen, with_login
from broker.errors import SetupRefused
from broker.sse import MAX_EVENT_BYTES, Event, NotEvents, Reader

KEY = keyfiles.generate()
Answer = Callable[[httpx2.Request], httpx2.Response]


class Hub:
    """As much of a hub as a door needs: tokens, and whatever `answer` says to the rest."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.assertions: list[str] = []
        self.calls: list[httpx2.Request] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)
        if request.url.path != "/v1/oauth/token":
            self.calls.append(request)
            return self._answer(request)
        form = parse_qs((await request.aread()).decode())
        self.assertions += form["client_assertion"]
        return httpx2.Response(200, json={"access_token": f"token-{len(self.assertions)}", "expires_in": 900})


class Octets(httpx2.AsyncByteStream):
    """A body as it comes over the wire."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._octets


def client_of(hub: Hub | Answer) -> Client:
    client = Client("http://127.0.0.1:1", "CL", KEY)
    client.door.transport = httpx2.MockTransport(hub)
    client.door.pause_seconds = (0.001, 0.002)
    return client


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status, json={"code": code, "title": "no", "errors": [{"pointer": "/x", "rule": "r"}]}, headers=headers
    )


async def test_many_callers_share_one_token() -> None:
    """Under concurrency one fetches it while the others wait."""
    hub = Hub(lambda request: httpx2.Response(200, json={"queues": []}))
    async with client_of(hub) as client:
        await asyncio.gather(*(client.queues() for _ in range(20)))

    assert len(hub.assertions) == 1
    assert {call.headers["authorization"] for call in hub.calls} == {"Bearer token-1"}


async def test_a_refused_token_is_renewed_once() -> None:
    """For all who had it; a second refusal is told."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        old = request.headers["authorization"] == "Bearer token-1"
        return problem(401, "token") if old else httpx2.Response(200, json={"queues": []})

    hub = Hub(answer)
    async with client_of(hub) as client:
        await asyncio.gather(*(client.queues() for _ in range(5)))
    assert len(hub.assertions) == 2

    never = Hub(lambda request: problem(401, "token"))
    async with client_of(never) as client:
        with pytest.raises(Problem):
            await client.queues()
    assert len(never.calls) == 2


async def test_every_assertion_has_a_jti_of_its_own() -> None:
    """It works once, so that a repeat must make a new one."""
    hub = Hub(lambda request: httpx2.Response(200, json={}))
    async with client_of(hub) as client:
        await client.token("amqp")
        await client.token("amqp", fresh=True)
        await client.token("amqp")
    claims = [jws.claims(jws.read(a.encode(), typ=jws.TYP_CLIENT_AUTHENTICATION)) for a in hub.assertions]

    assert len({c["jti"] for c in claims}) == len(claims) == 2
    assert {(c["iss"], c["sub"], c["aud"]) for c in claims} == {("CL", "CL", "http://127.0.0.1:1")}


async def test_a_hub_that_is_away_for_a_moment_is_asked_again() -> None:
    """Connection lost, then 503, then the answer."""
    turns = iter(("lost", "away", "there"))

    def answer(request: httpx2.Request) -> httpx2.Response:
        turn = next(turns)
        if turn == "lost":
            raise httpx2.ReadError("cut")
        return (
            problem(503, "ledger-away")
            if turn == "away"
            else httpx2.Response(200, json={"queues": [{"name": "inbox"}]})
        )

    async with client_of(Hub(answer)) as client:
        assert await client.queues() == [{"name": "inbox"}]


async def test_it_gives_up_in_the_end_and_says_that_nothing_is_known() -> None:
    hub = Hub(lambda request: problem(503, "ledger-away"))
    async with client_of(hub) as client:
        with pytest.raises(Unreachable, match="ledger-away"):
            await client.queues()
    assert len(hub.calls) == client.door.attempts


@pytest.mark.parametrize(
    "answer",
    [
        {"content": b"[" * 100_000},
        {"stream": Octets(b"\x1f\x8b no gzip"), "headers": {"content-encoding": "gzip"}},
        {"content": b"<html>"},
        {"content": b"[" * 100_000, "status_code": 404},
    ],
    ids=["deep", "no gzip", "no JSON", "a deep refusal"],
)
async def test_an_answer_that_is_none_is_said_to_be_none(answer: dict[str, Any]) -> None:
    """Whatever stands where a hub should be: a refusal or Unreachable, and no other error."""
    async with client_of(Hub(lambda request: httpx2.Response(**{"status_code": 200} | answer))) as client:
        client.door.attempts = 1
        with pytest.raises((Unreachable, Problem)):
            await client.queues()


@pytest.mark.parametrize("token", [[], {}, {"access_token": "t", "expires_in": None}, "t", {"expires_in": 900}])
async def test_a_token_of_any_shape_is_a_token_or_none(token: object) -> None:
    async with client_of(lambda request: httpx2.Response(200, json=token)) as client:
        client.door.attempts = 1
        with pytest.raises(Unreachable, match="gives no token as a hub does"):
            await client.queues()


async def test_a_refusal_is_not_repeated() -> None:
    """It would be refused again; every fault is told."""
    hub = Hub(lambda request: problem(422, "invalid"))
    async with client_of(hub) as client:
        with pytest.raises(Problem) as told:
            await client.post(sign({"header": {}}, KEY))

    assert len(hub.calls) == 1
    assert (told.value.code, told.value.errors[0]["pointer"]) == ("invalid", "/x")
    assert "authorization" not in hub.calls[0].headers  # the signature is the credential


async def test_a_replay_whose_answer_was_lost_is_not_repeated() -> None:
    """It would be another round; what never left is repeated."""

    def lost(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("cut")

    def refused(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    for answer, times in ((lost, 1), (refused, 6)):
        hub = Hub(answer)
        async with client_of(hub) as client:
            with pytest.raises(Unreachable):
                await client.replay("inbox", sequence=1)
        assert len(hub.calls) == times


def test_batches_hold_a_thousand_lines_or_ten_megabytes() -> None:
    assert [len(b) for b in _batches("x" for _ in range(2 * BATCH_LINES + 1))] == [BATCH_LINES, BATCH_LINES, 1]
    assert all(sum(map(len, b)) < 10_000_000 for b in _batches("x" * 200_000 for _ in range(120)))


async def test_a_batch_is_answered_line_by_line_in_order() -> None:
    """What is too large for the hub is told in its place without being sent."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        lines = [json.loads(line) for line in request.content.splitlines()]
        said = [json.dumps({"line": n, "status": 422, "problem": {"code": line}}) for n, line in enumerate(lines, 1)]
        return httpx2.Response(200, content="\n".join(said).encode())

    async with client_of(Hub(answer)) as client:
        posted = await client.post_batch(["a", "b" * 300_000, "c"])

    assert [p.problem.code for p in posted if p.problem] == ["a", "too-large", "c"]


async def test_lines_that_are_refused_for_the_moment_are_posted_again_and_no_others() -> None:
    """A bounded number of times, after what the hub asked for; each line's last answer is told in its place."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        lines = [json.loads(line) for line in request.content.splitlines()]
        status = {"for good": 422, "never": 429, "later": 503 if len(hub.calls) < 3 else 409}
        said = [
            json.dumps({"line": n, "status": status[line], "problem": {"code": line, "retry_after": 0}})
            for n, line in enumerate(lines, 1)
        ]
        return httpx2.Response(200, content="\n".join(said).encode())

    hub = Hub(answer)
    async with client_of(hub) as client:
        posted = await client.post_batch(["for good", "never", "later"])
    sent = [[json.loads(line) for line in call.content.splitlines()] for call in hub.calls]

    assert [p.status for p in posted] == [422, 429, 409]
    assert sent == [
        ["for good", "never", "later"],
        *[["never", "later"]] * 2,
        *[["never"]] * (client.door.attempts - 3),
    ]


async def test_receipts_are_not_lost_with_the_hub_that_went_away_after_them() -> None:
    """Of what could not be repeated the refusal stands: to repeat it all is safe."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if len(hub.calls) > 1:
            return problem(503, "ledger-away")
        said = [{"line": 1, "status": 422, "problem": {}}, {"line": 2, "status": 429, "problem": {"retry_after": 0}}]
        return httpx2.Response(200, content="\n".join(map(json.dumps, said)).encode())

    hub = Hub(answer)
    async with client_of(hub) as client:
        posted = await client.post_batch(["a", "b"])

    assert [p.status for p in posted] == [422, 429]
    assert posted[1].problem is not None
    assert posted[1].problem.retry_after_seconds == 0


def delivery(number: int) -> dict[str, object]:
    """As the hub shows a lease, a member that this client does not know included."""
    return {"delivery_id": f"q-{number}", "lease_id": f"s.{number}", "lease_until": "2026-11-22T00:00:00.000Z",
            "sequence": number, "round": 1, "count": 1, "duties": ["information"], "rule": "to", "later": "more",
            "accepted_at": "2026-11-22T00:00:00.000Z", "message": "a.b.\u2028c"}  # fmt: skip


def streaming(*events: bytes, breaks: bool = False) -> httpx2.Response:
    """A stream that sends these and ends, or is cut."""

    async def content() -> AsyncIterator[bytes]:
        yield b"retry: 0\n\n: ping\n\n"
        for event in events:
            yield event
        if breaks:
            raise httpx2.ReadError("cut")

    return httpx2.Response(200, content=content(), headers={"content-type": "text/event-stream; charset=utf-8"})


def event(number: int) -> bytes:
    data = json.dumps(delivery(number), ensure_ascii=False)
    return f"event: delivery\ndata: {data}\nid: s.{number}\n\n".encode()


def end(status: int, code: str) -> bytes:
    return f"event: end\ndata: {json.dumps({'status': status, 'code': code})}\n\n".encode()


async def streamed(hub: Hub, count: int) -> tuple[list[int], list[str]]:
    """The sequences of so many deliveries, and what was told meanwhile."""
    told: list[str] = []
    found = []
    async with client_of(hub) as client, aclosing(client.stream("my queue", 5, 60, told=told.append)) as deliveries:
        async for one in deliveries:
            found.append(one.sequence)
            assert one.message == "a.b.\u2028c"
            if len(found) == count:
                break
    return found, told


async def test_a_stream_goes_on_after_the_last_delivery_that_it_gave_out() -> None:
    """Cut, ended and refused for the moment: each time with a fresh token, after what was yielded last."""
    answers = iter(
        (
            lambda: problem(503, "busy"),
            lambda: streaming(event(1), event(2), event(3)[:40], breaks=True),
            lambda: streaming(event(3)),
            lambda: streaming(end(401, "token")),
            lambda: streaming(end(503, "ledger-away")),
            lambda: streaming(b"event: delivery\ndata: nonsense\n\n"),
            lambda: httpx2.Response(200, text="<html>"),
            lambda: streaming(event(4)),
        )
    )
    hub = Hub(lambda request: next(answers)())
    found, told = await streamed(hub, 4)

    assert found == [1, 2, 3, 4]
    assert [call.headers.get("last-event-id") for call in hub.calls] == [None, None, "s.2"] + ["s.3"] * 5
    assert [call.headers["authorization"] for call in hub.calls] == [f"Bearer token-{n}" for n in range(1, 9)]
    assert {str(call.url).partition("1:1")[2] for call in hub.calls} == {
        "/v1/queues/my%20queue/stream?limit=5&lease_seconds=60"
    }
    assert [line.partition("http://127.0.0.1:1")[2] or line for line in told] == [
        "503 busy: no", ": cut", "503 ledger-away: HTTP 503", "/v1/queues/my%20queue/stream does not stream as a hub does",
        "/v1/queues/my%20queue/stream does not answer with a stream: is this a hub?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "refusal", [problem(404, "not-found"), problem(401, "token"), streaming(event(1), end(404, "not-found"))]
)
async def test_a_stream_ends_with_a_refusal(refusal: httpx2.Response) -> None:
    """That it cannot be had is told at once, whether it had begun or not."""
    hub = Hub(lambda request: refusal)
    with pytest.raises(Problem):
        await streamed(hub, 2)

    assert len(hub.calls) == 1


def test_events_are_read_as_the_standard_says() -> None:
    """Any line end, in pieces of any size; only what has data is an event."""
    octets = (
        "retry: 1500\r\n\r\n:a comment\n\nevent: x\ndata: one\r\ndata:two\u2028\x85\nid: 7\n\n"
        "event: no-data\n\rdata\r\rdata: cut"
    ).encode()
    expected = [Event("x", "one\ntwo\u2028\x85", "7"), Event("message", "", "")]
    for size in (1, 2, 3, 7, len(octets)):
        reader = Reader()
        pieces = [octets[start : start + size] for start in range(0, len(octets), size)]

        assert [found for piece in pieces for found in reader.feed(piece)] == expected
        assert reader.retry_seconds == 1.5


def test_what_never_becomes_an_event_is_not_kept() -> None:
    reader = Reader()
    line = b"data: " + b"x" * (MAX_EVENT_BYTES // 4) + b"\n"
    for _ in range(3):
        assert reader.feed(line) == []
    with pytest.raises(NotEvents):
        reader.feed(line)


def test_seen_is_bounded() -> None:
    seen = Seen(limit=2)
    for number in (1, 2, 1, 3):
        seen.add(("CL:1", number))

    assert [("CL:1", number) in seen for number in (1, 2, 3)] == [True, False, True]


def test_the_address_of_rabbitmq_gets_member_and_token() -> None:
    """And carries no credentials of its own."""
    assert with_login("amqps://mq:5671/wire", "RILO-SA", "a.b-c") == "amqps://RILO-SA:a.b-c@mq:5671/wire"
    for wrong in ("http://mq", "amqp://guest:guest@mq", "mq"):
        with pytest.raises(SetupRefused):
            with_login(wrong, "CL", "t")


async def test_a_damaged_directory_makes_nobody_a_liar() -> None:
    """Half an answer says nothing of a message: it is unreachable, to be asked again, and not "not believed"."""
    hub = Hub(lambda request: httpx2.Response(200, json={"members": [{"id": "PE"}]}))
    async with client_of(hub) as client:
        with pytest.raises(Unreachable, match="directory"):
            await client.believe(sign({"header": {}}, KEY))
