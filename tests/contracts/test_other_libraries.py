"""Consumers in other people's libraries, over TLS: the snippets of docs/connecting.md are run as they stand there.

pika, our own client (aio-pika), npm's amqplib, Debian's amqp-tools and the Java client go through the same story. Each
is left out with a sentence where its language is not on this machine; an amqplib that cannot be fetched though npm is
there is a failure where a full run is owed. The CloudEvents SDK reads our headers.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker import administer, jws, keyfiles
from broker.rabbit.private_node import free_port
from tests.certificates import Certificates, certificates
from tests.contracts.other_libraries import DOCS, LIBRARIES, PAGE, SNIPPETS, Library, snippet
from tests.engines import Rabbit, auth_url, private_rabbit
from tests.region import Region, to, wired_region
from tests.wire import amqp_queue, consumer, published, queue_row, receive, states, until

pytestmark = pytest.mark.long

TYPES = dict.fromkeys(("tw-delivery", "tw-address", "tw-rule", "tw-status", "tw-duties"), "string") | {
    "tw-sequence": "int64", "tw-round": "int32", "tw-count": "int32", "tw-projection": "boolean",
} | dict.fromkeys(
    (f"ce-{name}" for name in ("specversion", "id", "source", "type", "dataschema", "subject", "time")), "string"
)  # fmt: skip
"""The wire contract's headers."""
SECONDS = 60
"""A consumer has done by then what it is about to do; a busy machine starts its helpers slowly."""
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Wired:
    r: Region
    rabbit: Rabbit
    port: int
    """Where RabbitMQ speaks TLS."""
    tls: Certificates


@pytest.fixture(scope="module")
async def wired(hub_port: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wired]:
    """One node with a certificate, and one hub, for the whole file."""
    home, port = tmp_path_factory.mktemp("libraries"), free_port()
    tls = certificates(home)
    conf = f"listeners.ssl.1 = 127.0.0.1:{port}\n{tls.rabbitmq_conf}"
    async with private_rabbit(auth_url(hub_port), extra_conf=conf) as node:
        rabbit = Rabbit("127.0.0.1", node.port, node.user, node.password, node.management_url, hub_port, node=node)
        async with wired_region(rabbit, f"sqlite:///{home}/ledger.sqlite", home) as r:
            await r.enrol("CL")
            yield Wired(r, rabbit, port, tls)


@dataclass
class Program:
    """A consumer under way, and what it has told."""

    process: asyncio.subprocess.Process
    said: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said += line.decode(errors="replace")
            with suppress(ValueError):
                self.told.append(json.loads(line))

    def all(self, kind: str) -> list[Any]:
        return [one[kind] for one in self.told if kind in one]

    async def has(self, kind: str, *wanted: list[object]) -> None:
        async def so() -> bool:
            assert self.process.returncode is None, self.said
            return all(one in self.all(kind) for one in wanted)

        try:
            await until(so, SECONDS)
        except TimeoutError:
            raise AssertionError(f"{kind} lacks some of {wanted}:\n{self.said[-4000:]}") from None

    async def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()


@asynccontextmanager
async def running(command: tuple[str, ...], folder: Path, env: dict[str, str]) -> AsyncIterator[Program]:
    """A consumer and whatever it starts, in a process group that is ended with it."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, start_new_session=True, limit=2**20,
    )  # fmt: skip
    program = Program(process)
    listening = asyncio.create_task(program.listen())
    try:
        yield program
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await listening


def environment(wired: Wired, member: str, folder: Path, queue: str, hold: str = "") -> dict[str, str]:
    """What a member's consumer is given: the hub, its key, its queue, and the authority to trust."""
    keyfiles.save(folder / "member.pem", wired.r.keys[member])
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOLD": hold,
        "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
        "TIDEWAITER_URL": wired.r.hub.public_url, "TIDEWAITER_MEMBER": member,
        "TIDEWAITER_KEY": str(folder / "member.pem"), "TIDEWAITER_LANGUAGE": "en",
        "TIDEWAITER_KID": jws.thumbprint(jws.public_jwk(wired.r.keys[member])),
        "HOST": "localhost", "PORT": str(wired.port), "QUEUE": queue, "CA": str(wired.tls.authority),
        "TIDEWAITER_CERTIFICATE": str(wired.tls.client),
        "SSL_CERT_FILE": str(wired.tls.authority), "NODE_EXTRA_CA_CERTS": str(wired.tls.authority),
    }  # fmt: skip


async def prefetch_is_in_force(wired: Wired, queue: str) -> bool:
    status, answer = await asyncio.to_thread(wired.rabbit.api, "GET", "/api/consumers/%2F")
    assert status == 200
    return [it["prefetch_count"] for it in json.loads(answer) if it["queue"]["name"] == queue] == [50]


@pytest.mark.parametrize("library", [pytest.param(library, id=library.name) for library in LIBRARIES])
async def test_it_reads_its_queue(wired: Wired, tmp_path: Path, library: Library) -> None:
    """Octet for octet, with the headers' types, in order. Closed by the hub in the middle, with a message stored and not
    acknowledged: it comes back with a fresh token, finds that message again and knows it; what its group alone gave it is
    gone. A replay is new to it. Each has its signed acknowledgement."""
    r, member = wired.r, library.member
    command = library.prepare(tmp_path, wired.tls)
    await r.enrol(member)
    await r.group(f"OP-{member}", "CL", member)
    queue = await amqp_queue(r, member)
    sent: dict[str, str] = {}

    async def post(id: str, **header: Any) -> None:
        sent[f"CL:{member}-{id}"] = signed = r.sign(r.payload("CL", f"{member}-{id}", **header))
        assert (await r.post(signed, traceparent=TRACE)).status_code == 201

    await post("1", release=to(**{member: "action"}), kind="seizure")
    await post("2", release=to(member), case="Ñuñoa–Arica №7", language="es", expires_at="2040-01-01T00:00:00Z")
    await post("3", release=to(member))
    one, held, three = sent

    env = environment(wired, member, tmp_path, queue, hold=held)
    async with running(command, tmp_path, env) as program:
        await program.has("kept", [one, 1], [held, 1])
        await until(lambda: prefetch_is_in_force(wired, queue))
        await post("lost", release={"groups": [f"OP-{member}"]})
        await published(r, 3, member)
        await administer.leave(r.hub.ledger, f"OP-{member}", member, r.clock())

        async def drained() -> bool:
            row = await queue_row(r, member)
            return not row["drain"] and set(await states(r, member)) <= {"published", "settled", "revoked"}

        await until(drained)
        await program.go_on()
        await program.has("again", [held, 1])
        await program.has("kept", [three, 1])
        await post("5", release=to(member))
        five = f"CL:{member}-5"
        await program.has("kept", [five, 1])

        async def all_settled() -> bool:
            return await states(r, member) == ["settled"] * 3 + ["revoked", "settled"]

        await until(all_settled)

        replayed = await r.call(member, "POST", "/v1/queues/wire/replay", {"sequence": 3})
        assert replayed.json()["replayed"] == 2, replayed.text
        if library.shows:
            await program.has("kept", [three, 2], [five, 2])
        else:
            await program.has("again", [three, 1], [five, 1])  # it cannot see that this is another round
    kept = [it for it in program.told if "kept" in it]
    assert [it["kept"] for it in kept][:4] == [[address, 1] for address in (one, held, three, five)]
    assert all(it["body"] == sent[it["kept"][0]] for it in kept)
    assert not any("lost" in address for address, _ in program.all("kept") + program.all("again"))
    logins = program.all("login")
    assert len(set(logins)) == len(logins) > 1 or library.name == "Java"
    if library.shows:
        first = kept[0]
        assert first["types"] == {
            name: library.shows[kind] for name, kind in (TYPES | {"traceparent": "string"}).items()
        }
        assert {**first["headers"], "ce-time": None, "tw-delivery": None, "traceparent": None} == {
            "tw-address": one, "tw-sequence": 1, "tw-round": 1, "tw-count": 1, "tw-duties": "action", "tw-rule": "to",
            "tw-status": "actual", "tw-projection": False, "ce-specversion": "1.0", "ce-id": one, "ce-subject": "CL",
            "ce-source": r.hub.public_url, "ce-type": "tidewaiter.seizure", "ce-dataschema": "urn:tidewaiter:seizure:1.0",
            "tw-delivery": None, "ce-time": None, "traceparent": None,
        }  # fmt: skip
        assert [it["headers"]["tw-sequence"] for it in kept[:4]] == [1, 2, 3, 5]


@pytest.mark.parametrize("library", [pytest.param(library, id=library.name) for library in LIBRARIES])
async def test_it_gives_its_token_to_no_stranger(wired: Wired, tmp_path: Path, library: Library) -> None:
    """A server whose certificate is of another authority than the member trusts gets no login."""
    (tmp_path / "others").mkdir()
    others = certificates(tmp_path / "others")
    command = library.prepare(tmp_path, others)
    member = f"{library.member}-X"
    await wired.r.enrol(member)
    env = environment(wired, member, tmp_path, await amqp_queue(wired.r, member))
    trusted = {name: str(others.authority) for name in ("CA", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")}
    async with running(command, tmp_path, env | trusted) as program:

        async def said_why() -> bool:
            return (
                re.search("certif|trust anchor|opening socket", program.said) is not None
            )  # the latter is all that amqp-tools says

        try:
            await until(said_why, SECONDS)
        except TimeoutError:
            raise AssertionError(program.said) from None
    assert "ACCESS_REFUSED" not in program.said
    assert not program.all("kept")


async def test_the_cloudevents_sdk_reads_our_headers(wired: Wired) -> None:
    """The RabbitMQ binding of the CNCF's own SDK makes an event of a delivery as it is, and the same headers of the
    event."""
    from cloudevents.core.bindings import rabbitmq as cloudevents

    r = wired.r
    await r.enrol("EC")
    name = await amqp_queue(r, "EC")
    signed = r.sign(r.payload("CL", "event", to("EC")))
    receipt = jws.claims(jws.read((await r.post(signed)).json()["receipt"].encode(), typ=jws.TYP_RECEIPT))
    async with consumer(r, wired.rabbit, "EC", name) as queue:
        (message,) = await receive(queue, 1)
    headers: Any = dict(message.headers)

    event = cloudevents.from_rabbitmq_event(cloudevents.RabbitMQMessage(headers, message.content_type, message.body))

    assert (event.get_specversion(), event.get_id(), event.get_source()) == ("1.0", "CL:event", r.hub.public_url)
    assert (event.get_type(), event.get_subject()) == ("tidewaiter.alert", "CL")
    assert event.get_time() == datetime.fromisoformat(str(receipt["accepted_at"]))
    assert event.get_datacontenttype() == "application/jose"
    assert event.get_data() == signed
    assert event.get_attributes().keys() == {
        "specversion",
        "id",
        "source",
        "type",
        "dataschema",
        "subject",
        "time",
        "datacontenttype",
    }
    back = cloudevents.to_binary_event(event)
    assert back.body == message.body
    ours = {name: value for name, value in headers.items() if name.startswith("ce-")}
    assert back.headers | {"ce-time": None} == ours | {"ce-time": None}


@pytest.mark.parametrize("library", SNIPPETS)
def test_both_pages_have_the_same_program(library: str) -> None:
    """In Spanish the comments are, and nothing else."""

    def bare(page: Path) -> str:
        text = snippet(library, page)
        for comment in (r'""".*?"""', r"/\*.*?\*/", r"(?<![:\w])//.*", r"(?<=  )# .*|(?<!.)# .*"):
            text = re.sub(comment, "", text)
        return "\n".join(line.rstrip() for line in text.splitlines())

    english, spanish = bare(PAGE), bare(DOCS / "es" / "conexion.md")
    assert english == spanish
    assert snippet(library) != english
