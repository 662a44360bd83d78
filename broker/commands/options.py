"""Who calls, and with which key: the options that many commands share, and what is made of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from broker.commands.speak import note

if TYPE_CHECKING:
    from broker.client import Client
    from broker.config import Config
    from broker.jws import PrivateKey
    from broker.ledger import Ledger

Result = TypeVar("Result")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, errors too.")]
Url = Annotated[str | None, typer.Option("--url", envvar="TIDEWAITER_URL", help="The hub's public URL, to the letter.")]
Member = Annotated[
    str | None, typer.Option("--member", envvar="TIDEWAITER_MEMBER", help="Your member id, or operator:NAME.")
]
Language = Annotated[str | None, typer.Option("--language", help="en, es, fr or pt; by default as the locale.")]
KeyFile = Annotated[Path | None, typer.Option("--key", envvar="TIDEWAITER_KEY", help="Your private key file.")]


class Usage(Exception):
    """A call that cannot be meant so; told like a parse error."""


class Declined(Exception):
    """Understood, and not done: a check that this command makes itself says no."""


def tongue(language: str | None) -> str:
    """The two letters of `--language`, or those of TIDEWAITER_LANGUAGE or the locale."""
    from broker.commands.failures import language as of_locale

    return (language or of_locale())[:2].lower()


def given(value: Any, name: str) -> Any:
    """An option that is needed here. Raises Usage."""
    if value is None or value == "":
        raise Usage(f"{name} is needed: give --{name} or set TIDEWAITER_{name.upper()}.")
    return value


def load_key(path: Path) -> PrivateKey:
    """The private key in `path`; its passphrase from the environment, or asked for on a terminal. Raises SetupRefused."""
    from broker import keyfiles

    try:
        return keyfiles.load(path, keyfiles.passphrase_of())
    except keyfiles.PassphraseNeeded:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
    return keyfiles.load(path, ask_passphrase(f"Passphrase of {path}"))


def ask_passphrase(prompt: str, *, twice: bool = False) -> str:
    return str(typer.prompt(prompt, hide_input=True, err=True, confirmation_prompt=twice))


def client_of(url: str | None, member: str | None, key: Path | None, language: str | None = None) -> Client:
    """A Client from options and environment, to be answered in `language`. Raises Usage, SetupRefused."""
    from broker.client import Client

    address, who, file = given(url, "url"), given(member, "member"), given(key, "key")
    warn_of_plain_text(address)
    shown = os.environ.get("TIDEWAITER_CERTIFICATE")
    return Client(address, who, load_key(file), language=tongue(language), certificate=Path(shown) if shown else None)


def warn_of_plain_text(url: str) -> None:
    """Say that a hub elsewhere is spoken to without encryption."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        note(f"warning: {parts.hostname} is reached without TLS: anybody on the way can read messages and tokens")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run one asynchronous piece of work."""
    import asyncio

    return asyncio.run(work)


def config() -> Config:
    """The hub's settings. Raises SetupRefused."""
    from broker.config import read_config

    return read_config()


async def ledger() -> Ledger:
    """The hub's ledger, its migrations checked. Raises SetupRefused, LedgerAway."""
    from urllib.parse import urlsplit

    from broker import startup_checks
    from broker.errors import SetupRefused
    from broker.ledger import migrate

    settings = config()
    url = urlsplit(settings.ledger_url)
    if url.scheme.startswith("sqlite") and not Path(url.path[1:]).exists():
        detail = f"There is no hub in {settings.home}: run `tidewaiter init`, or set TIDEWAITER_HOME to where it is."
        raise SetupRefused(detail=detail)
    with startup_checks.let_in(settings.ledger_url):
        return await migrate.open_checked(settings.ledger_url)


def read_input(path: str, max_bytes: int) -> bytes:
    """The octets of a file, or of standard input for `-`. Raises Usage when there are more than `max_bytes`."""
    if path == "-":
        octets = sys.stdin.buffer.read(max_bytes + 1)
    else:
        with Path(path).open("rb") as file:
            octets = file.read(max_bytes + 1)
    if len(octets) > max_bytes:
        raise Usage(f"{path} is larger than {max_bytes} bytes.")
    return octets


def json_object(text: str, name: str) -> dict[str, Any]:
    """A JSON object given as such, or as @file. Raises Usage."""
    from broker import strictjson
    from broker.errors import BrokerError

    octets = read_input(text[1:], 1_048_576) if text.startswith("@") else text.encode()
    try:
        return strictjson.parse_object(octets, max_bytes=1_048_576)
    except BrokerError as error:
        raise Usage(f"{name} is not a JSON object ({error}).") from None
