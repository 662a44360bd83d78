"""What a valid message looks like, as octets to be handed out: schemas and code lists, each rendered once.

A Language never changes while a hub runs, so neither do these; a client that has one asks with If-None-Match and is
answered in a line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from fastapi import Request
from starlette.responses import Response

from broker.language import CodeList, Kind, Language

JSON, SCHEMA = "application/json", "application/schema+json"
ENVELOPE = "envelope"


class Document(NamedTuple):
    """`tag`: a strong entity tag (RFC 9110 §8.8.3), quotes and all."""

    octets: bytes
    media_type: str
    tag: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Documents of one Language, rendered when they are first asked for; there are no more than it has names."""

    language: Language
    rendered: dict[str, Document] = field(default_factory=dict)

    def kinds(self) -> Document:
        def value() -> Any:
            kinds = sorted(self.language.kinds.values(), key=lambda kind: (kind.kind, kind.version))
            version = str(self.language.envelope["$id"]).rpartition(":")[2]
            return {"schemas": [_kind(kind) for kind in kinds], "envelope": {"version": version}}

        return self._document("schemas", JSON, value)

    def kind(self, kind: str, version: str) -> Document | None:
        """The schema of a kind, shared parts copied in; or of the payload around it."""
        found = self.language.kinds.get((kind, version))
        if found is not None:
            return self._document(f"schemas/{kind}/{version}", SCHEMA, lambda: found.schema)
        if (kind, f"urn:tidewaiter:{kind}:{version}") == (ENVELOPE, self.language.envelope["$id"]):
            return self._document(f"schemas/{ENVELOPE}", SCHEMA, lambda: self.language.envelope)
        return None

    def codelists(self) -> Document:
        names = sorted(self.language.codelists)
        return self._document(
            "codelists", JSON, lambda: {"codelists": [_head(self.language.codelists[name]) for name in names]}
        )

    def codelist(self, name: str) -> Document | None:
        found = self.language.codelists.get(name)
        return None if found is None else self._document(f"codelists/{name}", JSON, lambda: _whole(found))

    def _document(self, name: str, media_type: str, value: Callable[[], Any]) -> Document:
        if name not in self.rendered:
            octets = orjson.dumps(value(), option=orjson.OPT_PASSTHROUGH_DATACLASS)
            self.rendered[name] = Document(octets, media_type, f'"{hashlib.sha256(octets).hexdigest()[:32]}"')
        return self.rendered[name]


def of(request: Request, language: Language) -> Catalogue:
    """The catalogue of the hub's language, made when it is first asked for."""
    state = request.app.state
    known = getattr(state, "catalogue", None)
    if not isinstance(known, Catalogue) or known.language is not language:
        known = state.catalogue = Catalogue(language)
    return known


def answer(request: Request, document: Document) -> Response:
    """The document; or 304 for who has it already (RFC 9110 §13.1.2: weak comparison)."""
    held = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "")[:4096].split(",")}
    headers = {"etag": document.tag}
    if document.tag in held or "*" in held:
        return Response(status_code=304, headers=headers)
    return Response(document.octets, 200, headers, media_type=document.media_type)


def _kind(kind: Kind) -> Mapping[str, Any]:
    return {
        "kind": kind.kind,
        "version": kind.version,
        "titles": dict(kind.titles),
        "scored": kind.schema.get("x-scored") is True,
        "requires": list(kind.requires),
        "originator": kind.originator,
    }


def _head(codelist: CodeList) -> dict[str, Any]:
    return {
        "name": codelist.name,
        "source": codelist.source,
        "edition": codelist.edition,
        "date": codelist.date,
        "policy": codelist.policy,
        "codes": len(codelist.codes),
    }


def _whole(codelist: CodeList) -> dict[str, Any]:
    """Every code with its titles in all languages, aliases, and the list's further columns."""
    codes = []
    for one in codelist.codes.values():
        shown: dict[str, Any] = {"code": one.code, "titles": dict(one.titles), "aliases": list(one.aliases)}
        codes.append(shown | ({"more": {name: list(v) for name, v in one.more.items()}} if one.more else {}))
    return _head(codelist) | {"codes": codes}
