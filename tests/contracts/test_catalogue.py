"""What a valid message looks like, for whoever asks: schemas and code lists, whole, without a token, and cheaply."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs of its own
import pytest

from broker import examples
from broker.api.catalogue import Catalogue
from broker.language.schema import without_identifier_formats
from tests.forge import refused
from tests.region import LANGUAGE, Region

DOORS = ("/v1/schemas", "/v1/schemas/seizure/1.0", "/v1/schemas/envelope/1.0", "/v1/codelists", "/v1/codelists/units")


async def get(r: Region, path: str, **headers: str) -> Any:
    """Without a token."""
    return await r.http.get(path, headers=headers)


async def test_every_kind_is_listed_with_what_it_asks_for(alone: Region) -> None:
    said = (await get(alone, "/v1/schemas")).json()
    by_kind = {one["kind"]: one for one in said["schemas"]}

    assert len(said["schemas"]) == len(alone.hub.language.kinds)
    assert by_kind["seizure"] == {
        "kind": "seizure", "version": "1.0", "titles": dict(alone.hub.language.kinds["seizure", "1.0"].titles),
        "scored": True, "requires": [], "originator": None,
    }  # fmt: skip
    assert (by_kind["reply"]["requires"], by_kind["notice"]["originator"]) == (["in_reply_to"], "hub")
    assert said["envelope"] == {"version": "1.0"}


async def test_a_schema_stands_alone_and_says_of_the_examples_what_the_hub_says(alone: Region) -> None:
    """Another validator needs nothing but this answer: no reference leads out of it."""
    for kind, version in alone.hub.language.kinds:
        answer = await get(alone, f"/v1/schemas/{kind}/{version}")
        assert answer.headers["content-type"] == "application/schema+json"
        schema = answer.json()
        assert all(reference.startswith("#/$defs/") for reference in references(schema))
        validator = jsonschema.Draft202012Validator(without_identifier_formats(schema))
        for _, payload in examples.of_kind(kind):
            assert validator.is_valid(payload["body"])
    envelope = jsonschema.Draft202012Validator((await get(alone, "/v1/schemas/envelope/1.0")).json())
    assert all(envelope.is_valid(payload) for payload in examples.payloads().values())


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for item in value.values() for one in references(item)]
    return [one for item in value for one in references(item)] if isinstance(value, list) else []


async def test_every_code_list_is_listed_with_its_edition_and_policy(alone: Region) -> None:
    said = (await get(alone, "/v1/codelists")).json()["codelists"]
    known = alone.hub.language.codelists["headings"]

    assert [one["name"] for one in said] == sorted(alone.hub.language.codelists)
    assert next(one for one in said if one["name"] == "headings") == {
        "name": "headings", "source": known.source, "edition": known.edition, "date": known.date, "policy": "error",
        "codes": len(known.codes),
    }  # fmt: skip


async def test_a_code_has_its_titles_in_every_language_and_its_further_columns(alone: Region) -> None:
    said = (await get(alone, "/v1/codelists/headings")).json()
    tobacco = next(one for one in said["codes"] if one["code"] == "tobacco")

    assert tobacco["titles"].keys() == {"en", "es", "fr", "pt"}
    assert "cigarrillos" in tobacco["aliases"]
    assert "24" in tobacco["more"]["chapters"]
    assert said["policy"] == "error"


@pytest.mark.parametrize("path", DOORS)
async def test_who_has_it_already_is_told_so(alone: Region, path: str) -> None:
    """RFC 9110 §13.1.2: among several tags, weak or strong; anything else gets the whole."""
    first = await get(alone, path)
    tag = first.headers["etag"]

    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await get(alone, path, **{"if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for held in ('"other"', tag.strip('"'), "", ","):
        assert (await get(alone, path, **{"if-none-match": held})).content == first.content


@pytest.mark.parametrize("path", ["/v1/schemas/seizure/9.9", "/v1/schemas/envelope/2.0", "/v1/schemas/Seizure/1.0"])
async def test_a_schema_that_there_is_not_is_not_found(alone: Region, path: str) -> None:
    refused(await get(alone, path), 404, "not-found", "unknown-kind")


async def test_a_list_that_there_is_not_is_not_found(alone: Region) -> None:
    refused(await get(alone, "/v1/codelists/none"), 404, "not-found", "unknown-codelist")


def test_a_document_is_rendered_once_and_a_name_that_nobody_has_is_not_remembered() -> None:
    """Whatever is asked for, the catalogue grows no larger than what there is."""
    catalogue = Catalogue(LANGUAGE)

    assert catalogue.kind("seizure", "1.0") is catalogue.kind("seizure", "1.0")
    for n in range(100):
        assert catalogue.codelist(f"none-{n}") is None
        assert catalogue.kind("seizure", f"9.{n}") is None
    assert list(catalogue.rendered) == ["schemas/seizure/1.0"]
