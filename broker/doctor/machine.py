"""What a hub has on its own machine: settings, folder, key, room, and how many files it may have open."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url

from broker import jws, keyfiles, startup_checks
from broker.config import Config
from broker.doctor import Finding, fail, ok, warn
from broker.errors import Fault, SetupRefused
from broker.language.kinds import load_language
from broker.members import fingerprint

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SPARE_FILES = 200
"""Beside its members' connections a process has the ledger's, RabbitMQ's, files and sockets of its own."""


def settings(config: Config) -> Finding:
    """That they can be read was found before; here is what they say, secrets left out."""
    ledger = make_url(config.ledger_url)
    where = (
        f"SQLite {ledger.database}" if startup_checks.sqlite_file(config.ledger_url) else f"PostgreSQL at {ledger.host}"
    )
    wire = "none" if config.amqp_url is None else urlsplit(config.amqp_url).hostname
    found = f"{config.public_url}; ledger {where}; RabbitMQ {wire}"
    parts = urlsplit(config.public_url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return warn(
            "settings", f"{found}. Members' tokens and messages cross the network in clear.",
            "Put TLS in front, and set TIDEWAITER_PUBLIC_URL to the https address before anybody is enrolled.",
        )  # fmt: skip
    return ok("settings", found)


def schemas(path: Path) -> Finding:
    """Raises SetupRefused for what `serve` would not start with."""
    found = load_language(path)
    return ok("schemas", f"{len(found.kinds)} kinds and {len(found.codelists)} code lists in {path}")


def folder(path: Path, ledger_url: str) -> Finding:
    """Who can look into a folder of the hub. Everybody's eyes on the ledger is worse than on its name."""
    if not path.is_dir():
        return fail(
            "folder",
            f"There is no folder {path}.",
            "Run `tidewaiter init`, or set TIDEWAITER_HOME to where the hub is.",
        )
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        owner = startup_checks.user(status.st_uid)
        return warn(
            "folder", f"{path} belongs to {owner}; what is said here of rights holds for {startup_checks.user()}.",
            f"Run this as the hub's own user: sudo -u {owner} tidewaiter doctor",
        )  # fmt: skip
    next = f"chmod 700 {path}"
    file = startup_checks.sqlite_file(ledger_url)
    if file is not None and file.parent == path and file.exists() and _others_read(mode, file.stat().st_mode):
        return fail("folder", f"Others on this machine can read every message in {file}.", next)
    if mode & 0o077:
        return warn("folder", f"{path} is open to others (mode {mode:04o}).", next)
    return ok("folder", f"{path} is open to its owner alone")


def _others_read(folder_mode: int, file_mode: int) -> bool:
    """A file's group or everybody, where the folder lets them through."""
    return bool((folder_mode & 0o001 and file_mode & 0o004) or (folder_mode & 0o010 and file_mode & 0o040))


def key(path: Path) -> Finding:
    """Raises SetupRefused: missing, open to others, not a key."""
    if not path.exists():
        raise SetupRefused(Fault("/home", "no-hub-key", found=str(path)))
    said = fingerprint(jws.thumbprint(jws.public_jwk(keyfiles.load(path, None))))
    return ok("key file", f"{path} is readable by its owner alone; fingerprint {said}")


def room(path: Path) -> Finding:
    """Raises SetupRefused when there is too little."""
    free = startup_checks.room(path)
    text = f"{free // startup_checks.MEGABYTE} MB are free in {path}"
    if free < startup_checks.LOW_FREE_BYTES:
        least = startup_checks.LEAST_FREE_BYTES // startup_checks.MEGABYTE
        return warn("disk", f"{text}; below {least} MB the hub does not start.", "Make room, or move TIDEWAITER_HOME.")
    return ok("disk", text)


def open_files(config: Config) -> Finding:
    """Of this shell: a service has a limit of its own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.max_connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        return warn(
            "open files", f"A process started here may open {soft} files; {config.max_connections} connections take {needed}.",
            f"ulimit -n {needed}, or LimitNOFILE={needed} in the service; or lower TIDEWAITER_MAX_CONNECTIONS.",
        )  # fmt: skip
    return ok(
        "open files",
        f"a process started here may open {soft if soft != resource.RLIM_INFINITY else 'any number of'} files",
    )
