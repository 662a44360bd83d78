"""A hub in this process with members of its own, on a real ledger: what most tests talk to.

Nothing is replaced: requests go through the whole gateway (ASGI), the ledger is SQLite or PostgreSQL, keys are real.
Only the clock can be moved.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import text as sql

from broker import administer, app, jws, members, tokens, upkeep
from broker.api.auth import ASSERTION_TYPE
from broker.app import make_app
from broker.clock import text
from broker.config import Config
from broker.hub import Hub
from broker.language.kinds import Language, load_language
from broker.ledger import migrate, open_ledger
from broker.members import HUB, KeyRequest
from tests.engines import Rabbit

URL = "http://hub.test"
LANGUAGE: Language = load_language()


class MovableClock:
    """The system's time, shifted by `ahead`."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.moved: Callable[[], None] = lambda: None
        """Told when it has been moved: nobody sleeps by it."""

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **by: float) -> None:
        self.ahead += timedelta(**by)
        self.moved()


def new_key(alg: str = "Ed25519") -> jws.PrivateKey:
    return OKPKey.generate_key("Ed25519") if alg == "Ed25519" else ECKey.generate_key("P-256")


def to(*named: str, **duties: str) -> dict[str, Any]:
    """A release to named members: to("PE", CL="action") names PE, and CL with that duty."""
    entries: list[dict[str, Any]] = [{"member": m} for m in named]
    entries += [{"member": m, "duties": [d]} for m, d in duties.items()]
    return {"to": entries}


@dataclass(repr=False)
class Region:
    hub: Hub
    http: httpx2.AsyncClient
    clock: MovableClock
    keys: dict[str, jws.PrivateKey] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    _count: int = 0

    async def enrol(self, *ids: str, type: str = "customs", alg: str = "Ed25519") -> None:
        for id in ids:
            self.keys[id] = new_key(alg)
            if not id.startswith("operator:"):
                await administer.add_member(self.hub.ledger, id, type, f"Customs of {id}", self.clock())
            await self.enrol_key(id, self.keys[id])

    async def enrol_key(self, owner: str, key: jws.PrivateKey) -> str:
        request = members.read_key_request(members.make_key_request(owner, key, text(self.clock())).encode())
        await administer.enrol(self.hub.ledger, request, self.clock())
        return request.kid

    async def subscribe(self, member: str, name: str, wanted: Mapping[str, Any] | None = None) -> None:
        answer = await self.call(
            member, "POST", "/v1/subscriptions", {"name": name, "filter": dict(wanted or {}), "delivery": "pull"}
        )
        assert answer.status_code == 201, answer.text

    def payload(self, originator: str, id: str | None = None, release: Any = None, **changes: Any) -> dict[str, Any]:
        """An alert (or, with kind="seizure", a seizure) released as asked. Changes go to the header; `body` replaces."""
        self._count += 1
        kind = changes.pop("kind", "alert")
        body = changes.pop("body", None) or (dict(SEIZURE) if kind == "seizure" else dict(ALERT))
        tlp = changes.pop("tlp", "AMBER")
        header = {
            "id": id or f"n-{self._count}",
            "kind": kind,
            "version": "1.0",
            "originator": originator,
            "status": "actual",
            "event_at": text(self.clock() - timedelta(hours=3)),
            "handling": {"tlp": tlp, "release": release if release is not None or "withdraws" in changes else to("PE")},
        }
        return {"header": header | changes, "body": body}

    def withdrawal(self, of: str, **changes: Any) -> dict[str, Any]:
        body = {"reason_code": "mistaken", "text": "Entered twice"}
        return self.payload(of.partition(":")[0], withdraws=of, release=None, body=body, **changes)

    def sign(
        self, payload: dict[str, Any] | bytes, by: str | None = None, *, key: Any = None, iat: int | None = None
    ) -> str:
        octets = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
        if key is None:
            if by is None:
                assert isinstance(payload, dict)
                by = payload["header"]["originator"]
            key = self.keys[by]
        return jws.sign(octets, key, typ=jws.TYP_MESSAGE, iat=int(self.clock().timestamp()) if iat is None else iat)

    async def post(self, token: str | bytes, kind: str = "application/jose", **headers: str) -> httpx2.Response:
        return await self.http.post("/v1/messages", content=token, headers={"content-type": kind, **headers})

    async def send(self, originator: str, id: str | None = None, release: Any = None, **changes: Any) -> str:
        """Sign and post; expect 201. Returns the address."""
        payload = self.payload(originator, id, release, **changes)
        answer = await self.post(self.sign(payload))
        assert answer.status_code == 201, answer.text
        return f"{originator}:{payload['header']['id']}"

    async def withdraw(self, address: str) -> str:
        payload = self.withdrawal(address)
        answer = await self.post(self.sign(payload))
        assert answer.status_code == 201, answer.text
        return f"{payload['header']['originator']}:{payload['header']['id']}"

    async def token(self, owner: str, scope: str = "api") -> str:
        known = self._tokens.get((owner, scope))
        if known is None:
            assertion = tokens.make_assertion(owner, self.keys[owner], self.hub.public_url, self.clock())
            answer = await self.ask_token(assertion, scope=scope)
            assert answer.status_code == 200, answer.text
            known = self._tokens[owner, scope] = answer.json()["access_token"]
        return known

    async def ask_token(self, assertion: str, **form: str) -> httpx2.Response:
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return await self.http.post("/v1/oauth/token", data=fields | form)

    async def call(self, owner: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        scope = "admin" if owner.startswith("operator:") else "api"
        headers = {"authorization": f"Bearer {await self.token(owner, scope)}", **headers}
        if isinstance(body, str):
            return await self.http.request(
                method, path, content=body, headers={"content-type": "application/jose", **headers}
            )
        return await self.http.request(method, path, json=body, headers=headers)

    async def lease(self, member: str, queue: str = "inbox", **options: Any) -> list[dict[str, Any]]:
        answer = await self.call(member, "POST", f"/v1/queues/{queue}/lease", {"limit": 100, **options})
        assert answer.status_code == 200, answer.text
        leased: list[dict[str, Any]] = answer.json()["deliveries"]
        return leased

    async def settle(self, member: str, queue: str, *settlements: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.call(member, "POST", f"/v1/queues/{queue}/settle", {"settlements": list(settlements)})
        assert answer.status_code == 200, answer.text
        settled: list[dict[str, Any]] = answer.json()["settlements"]
        return settled

    async def take(self, member: str, queue: str = "inbox") -> list[str]:
        """Lease everything and accept it. Returns the addresses in order."""
        leased = await self.lease(member, queue)
        if leased:
            await self.settle(member, queue, *({"lease_id": d["lease_id"], "outcome": "accept"} for d in leased))
        return [address_of(d["message"]) for d in leased]

    async def index(self, member: str, queue: str = "inbox") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            after = rows[-1]["sequence"] if rows else 0
            answer = await self.call(member, "GET", f"/v1/queues/{queue}/deliveries?limit=1000&after={after}")
            rows += (page := answer.json()["deliveries"])
            if len(page) < 1000:
                return rows

    async def acknowledge(
        self, member: str, address: str, state: str = "received", compact: str | None = None, **more: Any
    ) -> httpx2.Response:
        if compact is None:
            compact = (await self.call(member, "GET", f"/v1/messages/{address}")).json()["message"]
        claims = {"message": address, "digest": jws.digest(compact), "at": text(self.clock()), "state": state, **more}
        token = jws.sign_claims(claims, self.keys[member], typ=jws.TYP_ACKNOWLEDGEMENT)
        return await self.call(member, "POST", f"/v1/messages/{address}/acknowledgement", token)

    async def group(
        self, name: str, *ids: str, starts_at: datetime | None = None, ends_at: datetime | None = None
    ) -> None:
        await administer.add_group(self.hub.ledger, name, None, starts_at, ends_at)
        for id in ids:
            await administer.join(self.hub.ledger, name, id, self.clock())

    async def until_somebody_waits(self) -> None:
        """On PostgreSQL: until a transaction waits for a lock that another one holds."""
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1"
        )
        for _ in range(5_000):
            async with self.hub.ledger.reading() as c:
                if (await c.execute(sql(waiting))).first():
                    return
        raise AssertionError("nobody waits")

    async def sweep(self) -> None:
        await upkeep.sweep(self.hub)


def payload_of(compact: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(jws.unb64(compact.split(".")[1]))
    return payload


def address_of(compact: str) -> str:
    header = payload_of(compact)["header"]
    return f"{header['originator']}:{header['id']}"


@asynccontextmanager
async def wired_region(rabbit: Rabbit, ledger_url: str, home: Path) -> AsyncIterator[Region]:
    """A hub that serves on the port that this RabbitMQ asks, with its relay running."""
    url = f"http://127.0.0.1:{rabbit.hub_port}"
    config = Config(
        home=home, ledger_url=ledger_url, public_url=url, host="127.0.0.1", port=rabbit.hub_port, amqp_url=rabbit.amqp_url,
        management_url=rabbit.management_url, log="json",
    )  # fmt: skip
    await app.init(config)
    clock = MovableClock()
    async with app.running(config, clock) as run, httpx2.AsyncClient(base_url=url, timeout=30) as http:
        clock.moved = run.hub.alarm.ring
        yield Region(run.hub, http, clock)


@asynccontextmanager
async def region(ledger_url: str, *, migrated: bool = False) -> AsyncIterator[Region]:
    """A fresh hub on the ledger at that URL, which is migrated first."""
    if not migrated:
        await migrate.upgrade(ledger_url)
    clock = MovableClock()
    key = new_key()
    hub = Hub(open_ledger(ledger_url), LANGUAGE, key, URL, clock)
    await administer.add_member(hub.ledger, HUB, "hub", "The hub", clock())
    jwk = jws.public_jwk(key)
    await administer.enrol(hub.ledger, KeyRequest(HUB, jwk, jws.thumbprint(jwk)), clock())
    gateway = make_app(hub)
    try:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=gateway, raise_app_exceptions=False), base_url=URL
        ) as http:
            yield Region(hub, http, clock)
    finally:
        await gateway.state.committer.close()
        await hub.ledger.close()


ALERT: dict[str, Any] = {
    "subject": "Cigarettes under a load of ceramic tiles",
    "reason": "new-modus-operandi",
    "headings": ["tobacco"],
}
SEIZURE: dict[str, Any] = {
    "form": "simplified",
    "heading": "tobacco",
    "place": {"country": "CL"},
    "goods": [
        {
            "side": "found",
            "hs": "240220",
            "description": "Cigarettes",
            "quantity": {"value": "120000", "unit": "stick"},
        },
    ],
}
