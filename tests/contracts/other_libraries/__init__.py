"""Consumers in other people's libraries: each runs a snippet of docs/connecting.md and tells what it gets, a JSON line
each: {"login"}: which password, by its digest; {"kept"}: a delivery that it did not have, with what its library shows of
it; {"again"}: one that it had. Asked to HOLD an address it has stored it, and waits for a line on standard input before
it acknowledges. `test_other_libraries.py` runs them; here is how each is laid into a folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.engines import missing

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
PAGE = DOCS / "connecting.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidewaiter-tests"
JARS = [Path("/usr/share/java", f"{name}.jar") for name in ("amqp-client", "slf4j-api", "slf4j-nop")]


def block(page: Path, language: str, holding: str) -> str:
    """The one fenced block of that language that holds these words."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = [text for tag, text in fenced if tag == language and holding in text]
    return str(found)


SNIPPETS = {
    "pika": ("python", "import pika"),
    "our client": ("python", "from broker.consume import"),
    "amqplib": ("js", "from 'amqplib'"),
    "amqp-tools": ("sh", "amqp-consume"),
    "Java": ("java", "com.rabbitmq.client"),
    ".NET": ("csharp", "RabbitMQ.Client"),
}


def snippet(library: str, page: Path = PAGE) -> str:
    return block(page, *SNIPPETS[library])


Command = tuple[str, ...]


@dataclass(frozen=True)
class Library:
    name: str
    member: str
    """Who reads with it."""
    prepare: Callable[[Path, Certificates], Command]
    """Lays the consumer into a folder; the command that runs it there. Skips where it cannot be run."""
    shows: Mapping[str, str] = field(default_factory=dict)
    """AMQP type → what the library makes of it; empty: it shows no headers."""


def pika(folder: Path, _: Certificates) -> Command:
    (folder / "snippet.py").write_text(snippet("pika"))
    return sys.executable, "-W", "error", str(HERE / "pika_consumer.py")


def our_client(folder: Path, _: Certificates) -> Command:
    (folder / "snippet.py").write_text(snippet("our client"))
    return sys.executable, "-W", "error", str(HERE / "sdk_consumer.py")


def amqplib(folder: Path, _: Certificates) -> Command:
    """The pinned package, in a cache outside the tree; npm fetches it once and compares it with the lock's digest."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("npm's amqplib is left out: there is no node and npm on this machine")
    lock = HERE / "package-lock.json"
    cache = CACHE / f"amqplib-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not cache.is_dir():
        making = CACHE / f"making-{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        shutil.copy(lock, making)
        shutil.copy(HERE / "package.json", making)
        install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(install, cwd=making, capture_output=True, text=True, timeout=120, check=False)
        assert "EINTEGRITY" not in done.stderr, done.stderr
        if done.returncode:
            missing("npm's amqplib", f"npm could not fetch it: {done.stderr.strip()[-300:]}")
        making.rename(cache)
    (folder / "node_modules").symlink_to(cache / "node_modules")
    shutil.copy(HERE / "amqplib_consumer.mjs", folder)
    (folder / "snippet.mjs").write_text(snippet("amqplib"))
    return node, "amqplib_consumer.mjs"


def amqp_tools(folder: Path, _: Certificates) -> Command:
    if shutil.which("amqp-consume") is None:
        pytest.skip("amqp-tools is left out: there is no amqp-consume on this machine (Debian's package amqp-tools)")
    (folder / "snippet.sh").write_text(snippet("amqp-tools"))
    keep = folder / "keep"
    keep.write_text(f"#!/bin/sh\nexec bash '{HERE / 'amqp_tools.sh'}' keep\n")
    keep.chmod(0o700)
    return "bash", str(HERE / "amqp_tools.sh")


def java(folder: Path, tls: Certificates) -> Command:
    """Debian's client is 5.0 and has no `enableHostnameVerification`: compiled without that line."""
    if shutil.which("javac") is None or not all(jar.exists() for jar in JARS):
        pytest.skip(
            "the Java client is left out: Debian's packages default-jdk and librabbitmq-client-java are not here"
        )
    source = snippet("Java").replace("        factory.enableHostnameVerification();\n", "")
    (folder / "Wire.java").write_text(source)
    classes = ":".join([".", *map(str, JARS)])
    trust = ("-noprompt", "-keystore", "trust.p12", "-storepass", "public", "-file", str(tls.authority))
    subprocess.run(
        ["javac", "-Xlint:all", "-Werror", "-cp", classes, "-d", ".", "Wire.java", HERE / "Main.java"],
        cwd=folder,
        check=True,
    )
    subprocess.run(["keytool", "-importcert", *trust], cwd=folder, check=True, capture_output=True)
    stores = {"trustStore": "trust.p12", "keyStore": str(tls.client_p12)}
    options = [f"-Djavax.net.ssl.{name}={path}" for name, path in stores.items()]
    options += [f"-Djavax.net.ssl.{name}Password=public" for name in stores]
    return "java", "-XX:TieredStopAtLevel=1", *options, "-cp", classes, "Main"


LIBRARIES = (
    Library("pika", "PE", pika, {"string": "S", "int64": "l", "int32": "I", "boolean": "t"}),
    Library(
        "our client", "AR", our_client, {"string": "str", "int64": "int", "int32": "int", "boolean": "bool"},
    ),
    Library("amqplib", "BO", amqplib, {"string": "string", "int64": "number", "int32": "number", "boolean": "boolean"}),
    Library("amqp-tools", "UY", amqp_tools),
    Library("Java", "PY", java, {
        "string": "ByteArrayLongString", "int64": "Long", "int32": "Integer", "boolean": "Boolean",
    }),
)  # fmt: skip
