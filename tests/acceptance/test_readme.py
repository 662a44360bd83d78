"""What the README tells a newcomer to type is typed here, as it stands there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from broker import jws, keyfiles
from tests.engines import Rabbit
from tests.region import wired_region
from tests.wire import amqp_queue

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(language: str, holding: str) -> str:
    """The one fenced block of that language that holds these words."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    (found,) = [text for tag, text in fenced if tag == language and holding in text]
    return str(found)


async def test_the_first_message_and_the_first_consumer(rabbit: Rabbit, tmp_path: Path) -> None:
    """curl and openssl alone post a message and get its receipt; ten lines of pika receive it octet for octet."""
    async with wired_region(rabbit, f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path / "hub") as region:
        await region.enrol("CL", "PE", "RILO-SA")
        key = tmp_path / "CL.pem"
        keyfiles.save(key, region.keys["CL"])
        queue = await amqp_queue(region, "RILO-SA")

        script = (
            block("sh", "openssl pkeyutl")
            .replace("var/demo/keys/CL.pem", str(key))
            .replace("/tmp/tw-", f"{tmp_path}/tw-")
        )
        script = script.replace("http://127.0.0.1:8700", region.hub.public_url)
        script = script.replace('"member": "PE"', '"member": "RILO-SA"')
        status, output = await run("bash", "-euo", "pipefail", "-c", script)
        assert status == 0, output
        receipt = jws.claims(jws.read(json.loads(output)["receipt"].encode(), typ=jws.TYP_RECEIPT))
        sent = (tmp_path / "tw-message.jws").read_text()
        assert receipt["digest"] == jws.digest(sent)

        consumer = block("python", "import os, pika").replace('"/"', repr(rabbit.vhost))
        consumer += "    break\n"
        token = await region.token("RILO-SA", "amqp")
        status, output = await run(
            sys.executable, "-c", consumer, TOKEN=token, AMQP_PORT=str(rabbit.port), QUEUE=queue,
        )  # fmt: skip
        assert status == 0, output
        assert output.split()[:4] == [receipt["message"], "to", str(len(sent)), "octets"]


async def test_what_make_demo_prints_begins_as_the_readme_says() -> None:
    """The picture in the README is the program's own: its sentences stand in the code that prints them."""
    shown = block("", "Enrolled:").splitlines()
    assert shown[0].startswith("Ledger: SQLite")
    assert any(line.startswith("Posted, signed by each originator") for line in shown)


async def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Files and folders that the README names are there."""
    missing = [target for target in re.findall(r"\]\(([^)#:]+)\)", README) if not (ROOT / target).exists()]

    assert missing == []


async def run(*command: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, (output or errors).decode()
