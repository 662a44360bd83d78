"""Another JSON Schema validator, slow and written by others, for what two should agree about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]  # it has no stubs of its own
from referencing import Registry, Resource

from broker.language.schema import without_identifier_formats

DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

formats = jsonschema.FormatChecker(["date"])
"""It has no checker for two of our three formats unless other packages are there: these are ours."""


@formats.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def date_time(value: object) -> bool:
    """RFC 3339, but for leap seconds, which our patterns refuse."""
    if not isinstance(value, str):
        return True
    return DATE_TIME.fullmatch(value) is not None and datetime.fromisoformat(value).tzinfo is not None


@formats.checks("uri", raises=ValueError)  # type: ignore[untyped-decorator]
def uri(value: object) -> bool:
    """RFC 3986, as far as the tests go: a scheme, and nothing that may not stand in one."""
    return not isinstance(value, str) or (
        bool(urlsplit(value).scheme) and re.search(r"[\s\[\]{}<>\"\\^`|]", value) is None
    )


def second_opinion(schema: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]] | None = None) -> Any:
    """A validator of that schema, our identifier formats aside; `parts` by the urn by which it refers to them."""
    shared = ((urn, Resource.from_contents(without_identifier_formats(part))) for urn, part in (parts or {}).items())
    return jsonschema.Draft202012Validator(
        without_identifier_formats(schema), registry=Registry().with_resources(shared), format_checker=formats
    )
