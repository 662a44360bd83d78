"""A hub that lies, or is none: nothing that it says ends the folder agent, and afterwards everything goes its way.

The hub here is a table of answers; its own key signs everything, so that no lie fails for a signature's sake.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adapters.folder import agent, problems
from adapters.folder.parts import Parts
from broker import jws, keyfiles
from broker.client import Client

KEY = keyfiles.generate()
PUBLIC = jws.public_jwk(KEY)
DEEP = b"[" * 100_000 + b"]" * 100_000
NESTED = b"[" * 850 + b"]" * 850


def message(id: str) -> bytes:
    return json.dumps({"header": {"id": id, "originator": "hub"}, "body": {}}).encode()


def signed(id: str) -> str:
    return jws.sign(message(id), KEY, typ=jws.TYP_MESSAGE, iat=1_700_000_000)


def receipt(compact: str = "", **other: Any) -> str:
    about = {"message": "hub:OUT", "accepted_at": "2026-01-01T00:00:00Z", "record": "e30", "salt": "e30"}
    return jws.sign_claims(about | {"digest": jws.digest(compact)} | other, KEY, typ=jws.TYP_RECEIPT)


def directory(not_before: str = "2020-01-01T00:00:00Z") -> dict[str, Any]:
    key = {"kid": jws.thumbprint(PUBLIC), "use": "sign", "jwk": PUBLIC, "not_before": not_before}
    return {"members": [{"id": "hub", "keys": [key]}]}


DELIVERY = {
    "delivery_id": "d", "lease_id": "l", "lease_until": "2026-01-01T00:00:00Z", "sequence": 1, "round": 1, "count": 1,
    "duties": ["action"], "rule": "to", "accepted_at": "2026-01-01T00:00:00Z", "message": signed("IN"), "warnings": [],
}  # fmt: skip


Lie = httpx2.Response | Callable[[], httpx2.Response]


@dataclass
class Hub(httpx2.AsyncBaseTransport):
    """Says what it should; but `lie` where the path ends so."""

    path: str = "nowhere"
    lie: Lie = field(default_factory=lambda: httpx2.Response(200))
    settled: bool = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        at = request.url.path
        if at.endswith(self.path) and not self.settled:  # who is never satisfied would be asked for ever
            return self.lie() if callable(self.lie) else self.lie
        if at.endswith("/batch"):
            posted = [json.loads(line) for line in request.content.splitlines()]
            lines = [{"line": n, "status": 201, "receipt": receipt(compact)} for n, compact in enumerate(posted, 1)]
            return httpx2.Response(200, content="\n".join(map(json.dumps, lines)))
        if at.startswith("/v1/messages/hub:") and not at.endswith("/acknowledgement"):
            return httpx2.Response(404, json={"code": "not-found"})
        return httpx2.Response(200, json=self._answer(at, request))

    def _answer(self, at: str, request: httpx2.Request) -> dict[str, Any]:
        if at.endswith("/settle"):
            self.settled = True
            return {"settlements": [{"status": 200} for _ in json.loads(request.content)["settlements"]]}
        answers = {
            "token": {"access_token": "t", "expires_in": 900},
            "members": directory(),
            "lease": {"deliveries": [] if self.settled else [DELIVERY]},
            "acknowledgement": {},
        }
        return answers[at.rpartition("/")[2]]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """An agent with a file to post, a statement to post, and a delivery that waits for it."""
    client = Client("http://hub.test", "hub", KEY)
    client.door.pause_seconds = (0.001, 0.002)
    with agent.opened(tmp_path / "folder", client, ["inbox"], lambda event, facts: None, unchanged_seconds=0) as made:
        (made.layout.out / "a.json").write_bytes(message("OUT"))
        (made.layout.acknowledge / "b.json").write_text('{"message": "hub:HAD", "state": "read"}')
        made.received.remember("hub:HAD", 1, "x", made.now())
        yield made


async def withstands(parts: Parts, path: str, lie: Lie, then: Callable[[], None] = lambda: None) -> dict[str, int]:
    """The lie is told: at most it is a trouble. Then the truth: the counts since the start."""
    parts.client.door.transport = Hub(path, lie)
    with suppress(*agent.TROUBLES):
        await agent.once(parts, ["inbox"])
    assert len(json.dumps(parts.status.shown("running"))) < 10_000
    await parts.client.door.close()
    then()
    parts.client.door.transport = Hub()
    return await agent.once(parts, ["inbox"])


def at_its_end(counts: dict[str, int]) -> bool:
    """Sent or refused, received or set aside, acknowledged or refused: and each of them once."""
    ends = ("sent", "refused", "received", "unverified", "acknowledged")
    return sum(counts[end] for end in ends) == 3 and counts["left"] == 0


@pytest.mark.parametrize(
    "path", ["/oauth/token", "/members", "/lease", "/settle", "/batch", "/acknowledgement"], ids=lambda path: path[1:]
)
@pytest.mark.parametrize("status", [200, 302, 422])
async def test_an_answer_of_any_shape_is_at_most_a_trouble(parts: Parts, path: str, status: int) -> None:
    """Numbers, lists, texts, no end of brackets, what is packed and cannot be unpacked, a megabyte of reasons."""
    plain = (b"1", b"null", b'"x"', b"[]", b"[1]", b"{}", b"", b"\xff", b"NaN", b"1e999", DEEP, NESTED, b'{"a":' * 5000)
    reasons = json.dumps({"code": "invalid", "detail": "x" * 1_000_000}).encode()
    packed = httpx2.Response(status, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"no gzip"))
    counts = {}
    for lie in (*(httpx2.Response(status, content=octets) for octets in (*plain, reasons)), packed):
        counts = await withstands(parts, path, lie)

    assert at_its_end(counts)


@pytest.mark.parametrize("path", ["/oauth/token", "/members", "/lease", "/settle", "/batch", "/acknowledgement"])
async def test_an_answer_without_an_end_is_none(parts: Parts, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then, for ever: no pause is long enough to give up, and yet it is told and the rest goes on."""
    monkeypatch.setattr(problems, "ANSWER_SECONDS", 0.2)

    class Drip(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        counts = await withstands(parts, path, lambda: httpx2.Response(200, stream=Drip()), monkeypatch.undo)

    assert at_its_end(counts)
    assert "0.2 s" in parts.status.shown("running")["last_trouble"]["why"]


@pytest.mark.parametrize("name", DELIVERY)
async def test_a_delivery_of_any_shape_is_at_most_a_trouble(parts: Parts, name: str) -> None:
    """Each member of it in turn."""
    counts = {}
    shapes: list[object] = [None, 5, [], {}, "\ud800", 10**30, -1, 1.5, True, [1], [[[]] * 2], {"a": []}]
    for value in shapes:
        lie = json.dumps({"deliveries": [DELIVERY | {name: value}]}).encode()
        counts = await withstands(parts, "/lease", httpx2.Response(200, content=lie))

    assert counts["received"] >= 1


@pytest.mark.parametrize(
    "answers",
    [[], 5, "x", [1], [None], [{}], [{"status": 200}] * 2, [{"status": 409}], [{"status": 409, "problem": 5}]],
    ids=str,
)
async def test_a_settlement_of_any_shape_is_at_most_a_trouble(parts: Parts, answers: object) -> None:
    lie = httpx2.Response(200, json={"settlements": answers})

    assert at_its_end(await withstands(parts, "/settle", lie))


LINES: list[object] = [
    {}, [], 5, {"status": None}, {"status": 10**400}, {"status": 201, "receipt": 5}, {"status": 201, "receipt": "a.b.c"},
    {"status": 422, "problem": None}, {"status": 422, "problem": 5}, {"status": 422, "problem": {"errors": 5}},
    {"status": 422, "problem": {"errors": [5, {"rule": {}}]}}, {"status": 422, "problem": {"errors": None, "code": []}},
    *({"status": 201, "receipt": receipt(signed("OUT")), "warnings": warnings} for warnings in (None, 5, [5], [[1]])),
    *({"status": 201, "receipt": receipt(accepted_at=at)} for at in ("0001-01-01T00:00:00+23:00", "x")),
    {"status": 201, "receipt": receipt(digest="é")}, {"status": 503, "problem": {"retry_after": -5}},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LINES)))
async def test_a_line_of_a_batch_of_any_shape_is_at_most_a_trouble(parts: Parts, number: int) -> None:
    """Of receipts, of warnings and of problems; what would be written beside the file stays what JSON is."""
    line = LINES[number]
    lie = json.dumps({"line": 1} | line if isinstance(line, dict) else line)

    assert at_its_end(await withstands(parts, "/batch", httpx2.Response(200, text=lie)))


@pytest.mark.parametrize("what", [NESTED, b"NaN", b"1e999", b"1" * 400])
async def test_nothing_is_written_beside_a_file_that_others_cannot_read(parts: Parts, what: bytes) -> None:
    """A problem that Python reads, and nobody else."""
    lie = b'{"line": 1, "status": 422, "problem": {"code": "invalid", "more": ' + what + b"}}"
    counts = await withstands(parts, "/batch", httpx2.Response(200, content=lie))

    assert (counts["refused"], counts["sent"]) == (0, 1)


@pytest.mark.parametrize("digest", [jws.digest(signed("OTHER")), None], ids=["its own", "none"])
async def test_a_receipt_for_another_message_is_no_receipt(parts: Parts, digest: str | None) -> None:
    """Signed by the hub, of a message that is not ours to fetch: it is not put beside a file that it does not speak of."""
    (parts.layout.out / "a.json").unlink()
    (parts.layout.out / "a.jws").write_text(signed("OUT"))
    theirs = receipt(signed("OUT"), message="hub:OTHER", **({} if digest is None else {"digest": digest}))
    lie = httpx2.Response(200, json={"line": 1, "status": 201, "receipt": theirs})
    await withstands(parts, "/batch", lie)

    assert json.loads((parts.layout.sent / "a.sent.json").read_bytes())["message"] == "hub:OUT"


async def test_a_directory_from_before_all_time_is_no_directory(parts: Parts) -> None:
    for moment in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"):
        counts = await withstands(parts, "/members", httpx2.Response(200, json=directory(moment)))

    assert at_its_end(counts)
