"""`doctor`: look at an installation, or with --member at a member's way to its hub; a line a finding, and what to do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from broker.commands import options, receiving
from broker.commands.speak import REFUSED, answer, clean, say

if TYPE_CHECKING:
    from broker.doctor import Finding

NAME_WIDTH = 13
FromMember = Annotated[
    str | None,
    typer.Option(
        "--member",
        metavar="[ID]",
        help="Look from a member's place, yours or this one's: send an exercise to ECHO and yourself, and time each step.",
    ),
]


class Bare(TyperCommand):
    """`--member` alone means: as TIDEWAITER_MEMBER says."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        following = [*args[1:], "--"]
        whole = [
            "--member=" if one == "--member" and after.startswith("-") else one
            for one, after in zip(args, following, strict=False)
        ]
        return super().parse_args(ctx, whole)


def doctor(
    member: FromMember = None,
    amqp_url: receiving.Amqp = None,
    url: options.Url = None, key: options.KeyFile = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Look whether an installation is well, running or not; or with --member, whether a member's way to its hub is."""
    import logging

    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # a connection that fails is a finding
    findings = options.run(_told(_of_hub() if member is None else _of_member(member, url, key, amqp_url), as_json))
    failed = sum(finding.outcome == "fail" for finding in findings)
    warned = sum(finding.outcome == "warn" for finding in findings)
    total = f"{len(findings)} checks: {failed} failed, {warned} to look at."
    whole = {"findings": [finding.shown() for finding in findings], "failed": failed, "warned": warned}
    answer(whole, total, as_json)
    if failed:
        raise typer.Exit(REFUSED)


async def _told(findings: AsyncIterator[Finding], as_json: bool) -> list[Finding]:
    """All of them; each is printed as it comes, unless they are to be one JSON."""
    import sys

    found = []
    async for finding in findings:
        found.append(finding)
        if not as_json:
            for line in _lines(finding):
                say(line)
            sys.stdout.flush()
    return found


def _lines(finding: Finding) -> list[str]:
    took = "" if finding.milliseconds is None else f"  {finding.milliseconds:.0f} ms"
    lines = [f"{finding.outcome.upper():<5} {finding.check:<{NAME_WIDTH}} {clean(finding.found)}{took}"]
    if finding.next:
        lines.append(f"{'':<{NAME_WIDTH + 7}}→ {clean(finding.next)}")
    return lines


def _of_hub() -> AsyncIterator[Finding]:
    from broker.commands.failures import language
    from broker.doctor import hub

    return hub.examine(options.config(), language())


async def _of_member(member: str, url: str | None, key: Any, amqp_url: str | None) -> AsyncIterator[Finding]:
    import os

    from broker.commands.failures import NEXT, language
    from broker.doctor import member as way
    from broker.doctor import ok, refused
    from broker.errors import SetupRefused
    from broker.members import OPERATOR_PREFIX

    who = member or options.given(os.environ.get("TIDEWAITER_MEMBER"), "member")
    if who.startswith(OPERATOR_PREFIX):
        raise options.Usage("An operator has no queues: this looks from a member's place.")
    began = time.perf_counter()
    try:
        client = options.client_of(url, who, key)
    except SetupRefused as error:
        yield refused("key file", error, language())
        return
    async with client:
        yield ok("key file", f"{key} holds a key that can sign").after(time.perf_counter() - began)
        async for finding in way.examine(client, amqp_url, NEXT):
            yield finding


def add(app: typer.Typer) -> None:
    app.command("doctor", cls=Bare)(doctor)
