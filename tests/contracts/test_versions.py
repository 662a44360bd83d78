"""Kinds are files: two versions of one live side by side, and a newcomer's kind is routed the day its file is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker.language import load_language
from tests import newcomer
from tests.region import SEIZURE, Region, payload_of, to

STORED = {
    "type": "object", "additionalProperties": False, "required": ["country"],
    "x-title": {"en": "Where it is kept", "es": "Dónde se guarda"},
    "properties": {"country": {
        "type": "string", "maxLength": 2, "format": "iso3166-1-alpha-2", "x-route": "country",
        "x-title": {"en": "Country", "es": "País"},
    }},
}  # fmt: skip


@asynccontextmanager
async def speaking(here: Region, folder: Path) -> AsyncIterator[None]:
    """The hub reads its schemas from that folder, as after a start."""
    before, here.hub.language = here.hub.language, load_language(folder)
    try:
        yield
    finally:
        here.hub.language = before


async def test_two_versions_of_a_kind_live_side_by_side(sqlite_here: Region, tmp_path: Path) -> None:
    """Senders move when they can; readers get both, each with its version in the list and in what was signed."""
    here, folder = sqlite_here, newcomer.copied(tmp_path / "schemas")
    schema = json.loads((folder / "messages/seizure/1.0.json").read_text(encoding="utf-8"))
    schema["properties"]["stored_in"] = STORED
    (folder / "messages/seizure/1.1.json").write_text(json.dumps(schema), encoding="utf-8")
    await here.enrol("CL", "PE", "UY")
    await here.subscribe("PE", "all", {"any": [{"kind": ["seizure"]}]})
    await here.subscribe("UY", "kept-here", {"any": [{"country": ["UY"]}]})

    async with speaking(here, folder):
        old = await here.send("CL", "old", to("PE", "UY"), kind="seizure")
        body = SEIZURE | {"stored_in": {"country": "UY"}}
        new = await here.send("CL", "new", to("PE", "UY"), kind="seizure", version="1.1", body=body)
        early = await here.post(here.sign(here.payload("CL", "early", to("PE"), kind="seizure", body=body)))
        unknown = await here.post(here.sign(here.payload("CL", "late", to("PE"), kind="seizure", version="1.2")))

        listed = (await here.call("PE", "GET", "/v1/messages")).json()["messages"]
        assert {one["address"]: one["version"] for one in listed} == {old: "1.0", new: "1.1"}
        got = [payload_of(delivery["message"])["header"] for delivery in await here.lease("PE", "all")]
        assert [(header["id"], header["version"]) for header in got] == [("old", "1.0"), ("new", "1.1")]
        assert await here.take("UY", "kept-here") == [new]  # what only the new version knows is routed by

    assert [(fault["pointer"], fault["rule"]) for fault in early.json()["errors"]] == [
        ("/body/stored_in", "unknown-member")
    ]
    assert [(fault["rule"], fault["allowed"]) for fault in unknown.json()["errors"]] == [
        ("unknown-version", ["1.0", "1.1"])
    ]


async def test_an_amendment_may_be_of_the_newer_version(sqlite_here: Region, tmp_path: Path) -> None:
    """And reaches who had the older one."""
    here, folder = sqlite_here, newcomer.copied(tmp_path / "schemas")
    shutil.copy(folder / "messages/seizure/1.0.json", folder / "messages/seizure/1.1.json")
    await here.enrol("CL", "PE")
    async with speaking(here, folder):
        old = await here.send("CL", "old", kind="seizure")
        await here.take("PE")
        new = await here.send("CL", "new", kind="seizure", version="1.1", supersedes=old)

        assert await here.take("PE") == [new]
        listed = (await here.call("PE", "GET", "/v1/messages")).json()["messages"]
        assert {(one["address"], one["version"], one["state"]) for one in listed} == {
            (old, "1.0", "superseded"), (new, "1.1", "current"),
        }  # fmt: skip


async def test_a_newcomer_s_kind_is_accepted_and_routed(sqlite_here: Region, tmp_path: Path) -> None:
    """A schema with titles, a code list and an example: accepted, explained, found by its vessel, and delivered to who
    subscribed to its hiding places."""
    here, folder = sqlite_here, newcomer.with_a_kind_more(tmp_path / "schemas")
    await here.enrol("CL", "PE", "MX")
    await here.subscribe("PE", "rudders", {"any": [{"kind": ["stowaway"], "heading": ["rudder-trunk"]}]})
    await here.subscribe("PE", "holds", {"any": [{"kind": ["stowaway"], "heading": ["hold"]}]})
    await here.subscribe("MX", "chile", {"any": [{"country": ["CL"]}]})

    async with speaking(here, folder):
        body = json.loads((folder / f"examples/{newcomer.NAME}.json").read_text(encoding="utf-8"))["body"]
        address = await here.send("CL", "s-1", to("PE", "MX"), kind="stowaway", body=body)
        wrong = await here.post(
            here.sign(here.payload("CL", "s-2", to("PE"), kind="stowaway", body=body | {"heading": "timón"}))
        )

        assert await here.take("PE", "rudders") == [address]
        assert await here.take("PE", "holds") == []
        assert await here.take("MX", "chile") == [address]
        found = (await here.call("PE", "GET", "/v1/messages?kind=stowaway&heading=rudder-trunk")).json()["messages"]
        assert [one["address"] for one in found] == [address]
        by_vessel = (await here.call("PE", "GET", "/v1/messages?identifier=IMO%209074729")).json()["messages"]
        assert [one["address"] for one in by_vessel] == [address]
        schema = (await here.call("PE", "GET", "/v1/schemas/stowaway/1.0")).json()
        assert schema["x-title"]["es"] == "Informe de polizón"
        assert set(schema["$defs"]) >= {"place", "imo", "standing"}

    (fault,) = wrong.json()["errors"]
    assert (fault["pointer"], fault["rule"], fault["allowed"]) == ("/body/heading", "unknown-code", ["rudder-trunk"])
