"""Settings: one frozen Config, read once from the environment by `app` and `cli`, passed on in parts.

Every setting NAME may be given as NAME_FILE, the path of a file that holds the value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from broker import schemafiles
from broker.errors import Fault, SetupRefused

PREFIX = "TIDEWAITER_"


@dataclass(frozen=True, slots=True)
class Config:
    """`home`: folder of the hub's key and, by default, of the SQLite ledger. `amqp_url` None: embedded, pull only."""

    home: Path
    ledger_url: str
    public_url: str
    host: str
    port: int
    amqp_url: str | None
    management_url: str | None
    log: str
    messages_per_second: int = 1_000
    """Of one originator, in one gateway, on average; half a minute's worth may come at once."""
    max_connections: int = 1_000
    """Open HTTP connections of one process."""
    schemas: Path = field(default_factory=schemafiles.folder)
    """What there is to say: kinds, code lists, examples. The folder stands for the packaged one as a whole."""

    @property
    def hub_key(self) -> Path:
        return self.home / "hub.key"


def read_config(environment: Mapping[str, str] = os.environ) -> Config:
    """Raises SetupRefused with every setting that cannot be used."""
    faults: list[Fault] = []

    def setting(name: str, default: str | None = None) -> str | None:
        value, file = environment.get(PREFIX + name), environment.get(f"{PREFIX}{name}_FILE")
        if file:
            try:
                value = Path(file).read_text("utf-8").strip()
            except OSError as error:
                faults.append(Fault(f"/{name.lower()}", "setting-file", found=file, more={"why": error.strerror or ""}))
        return value or default

    home = Path(setting("HOME") or "var/hub").absolute()
    listen = setting("LISTEN") or "127.0.0.1:8700"
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        faults.append(Fault("/listen", "setting-listen", found=listen, allowed=("127.0.0.1:8700",)))
        port = "0"
    public_url = setting("PUBLIC_URL") or f"http://{listen}"
    if urlsplit(public_url).scheme not in ("http", "https") or public_url.endswith("/"):
        faults.append(Fault("/public_url", "setting-url", found=public_url, allowed=("https://hub.example",)))
    amqp_url = setting("AMQP_URL")
    if amqp_url and urlsplit(amqp_url).scheme not in ("amqp", "amqps"):
        faults.append(
            Fault("/amqp_url", "setting-url", found=urlsplit(amqp_url).scheme, allowed=("amqp://", "amqps://"))
        )
    log = setting("LOG") or "json"
    if log not in ("json", "console"):
        faults.append(Fault("/log", "enum", found=log, allowed=("json", "console")))
    numbers = {}
    for name in ("messages_per_second", "max_connections"):
        text = setting(name.upper(), "1000") or ""
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
            faults.append(Fault(f"/{name}", "range", found=text[:80], allowed=("1..1000000",)))
            text = "1"
        numbers[name] = int(text)
    try:
        schemas = schemafiles.folder(environment)
    except SetupRefused as refused:
        faults.extend(refused.faults)
    if faults:
        raise SetupRefused(*faults)
    return Config(
        home=home,
        ledger_url=setting("LEDGER_URL") or f"sqlite:///{home}/ledger.sqlite",
        public_url=public_url,
        host=host,
        port=int(port),
        amqp_url=amqp_url,
        management_url=setting("RABBITMQ_MANAGEMENT_URL")
        or (f"http://{urlsplit(amqp_url).hostname}:15672" if amqp_url else None),
        log=log,
        schemas=schemas,
        **numbers,
    )
