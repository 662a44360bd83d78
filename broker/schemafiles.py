"""The schema files as everybody should read them: whole, with the parts that kinds share copied in.

A kind's file refers to shared parts by their urn (`urn:tidewaiter:common:1.0#/$defs/place`), which is a name and no
address: nothing is ever fetched. `bundled` copies what is referred to into the kind's own `$defs`, so that the result
stands alone; that is what the hub compiles, serves and shows. Pure, but for reading the folder it is given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from broker.errors import Fault, SetupRefused

LOCAL = "#/$defs/"
Parts = Mapping[str, Mapping[str, Any]]
"""urn -> a file of shared parts."""


SETTING = "TIDEWAITER_SCHEMAS"


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that the setting names, whole, in place of the one that came with this installation.

    A setting of the hub and of every command alike, hence here. Raises SetupRefused if no schemas are there.
    """
    named, file = environment.get(SETTING), environment.get(f"{SETTING}_FILE")
    if file:
        try:
            named = Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise SetupRefused(
                Fault("/schemas", "setting-file", found=file, more={"why": error.strerror or ""})
            ) from error
    if not named:
        return packaged()
    chosen = Path(named).absolute()
    if not (chosen / "messages").is_dir():
        raise SetupRefused(Fault("/schemas", "setting-schemas", found=named))
    return chosen


@cache
def packaged() -> Path:
    """`broker/_schemas` in an installed wheel, `schemas/` in the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "_schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")


def by_folder(read: Callable[Concatenate[Path, Arguments], Found]) -> Callable[Arguments, Found]:
    """`read(folder, ...)`, called without its folder: it reads the one in use, and keeps what it found in each."""
    kept = cache(read)

    @wraps(read)
    def of_the_folder_in_use(*args: Arguments.args, **named: Arguments.kwargs) -> Found:
        return kept(folder(), *args, **named)  # type: ignore[arg-type]  # whatever is read by name is hashable

    return of_the_folder_in_use


def read_json(path: Path) -> dict[str, Any]:
    """Raises SetupRefused if the file cannot be read, or is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupRefused(detail=f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise SetupRefused(detail=f"{path}: a schema must be an object")
    return found


def parts(schemas: Path) -> dict[str, dict[str, Any]]:
    """The files of shared parts, `common/*.json`, by their `$id`."""
    found = (read_json(path) for path in sorted(schemas.glob("common/*.json")))
    return {str(one.get("$id")): one for one in found}


def kind_files(schemas: Path) -> Iterator[tuple[str, str, Path]]:
    """(kind, version, file) of everything in `messages/`."""
    for path in sorted(schemas.glob("messages/*/*.json")):
        yield path.parent.name, path.stem, path


def bundled(name: str, schema: Mapping[str, Any], shared: Parts) -> dict[str, Any]:
    """`schema` with every shared part that it reaches among its own `$defs`, and no other reference.

    Raises SetupRefused for a part that nobody has, or two of the same name.
    """
    origin: dict[str, str] = dict.fromkeys(schema.get("$defs", {}), "")
    defs: dict[str, Any] = {}

    def copied(value: Any, urn: str) -> Any:
        """`value` from the file `urn` (empty: the schema itself), its references made local."""
        if isinstance(value, Mapping):
            return {key: local(str(item), urn) if key == "$ref" else copied(item, urn) for key, item in value.items()}
        return [copied(item, urn) for item in value] if isinstance(value, list) else value

    def local(reference: str, urn: str) -> str:
        of, _, part = reference.rpartition(LOCAL)
        of = of or urn
        if not of:
            return reference  # to a part of its own, or to something that the compiler will refuse
        if origin.setdefault(part, of) != of:
            raise SetupRefused(detail=f"{name}: two parts are called {part}")
        if part not in defs:
            try:
                found = shared[of]["$defs"][part]
            except KeyError:
                raise SetupRefused(detail=f"{name}: there is no part {reference}") from None
            defs[part] = None  # its place, should it refer to itself
            defs[part] = copied(found, of)
        return LOCAL + part

    whole: dict[str, Any] = copied(dict(schema), "")
    return {**whole, "$defs": {**whole.get("$defs", {}), **defs}} if defs else whole


def load(schemas: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, version) -> the bundled schema, for everything in the folder."""
    shared = parts(schemas)
    return {
        (kind, version): bundled(f"{kind}/{version}", read_json(path), shared)
        for kind, version, path in kind_files(schemas)
    }
