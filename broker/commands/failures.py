"""Whatever goes wrong → one block on standard error that says what to do next, and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from broker.commands.speak import REFUSED, UNREACHABLE, USAGE, clean, in_json, note

NEXT = {
    "token": "Is TIDEWAITER_URL the hub's own name to the letter, is this machine's clock right, is the key enrolled and valid?",
    "key": "If the key was rotated or revoked, use its successor; otherwise ring the operator.",
    "signature": "Is this the right key, and is it enrolled? `tidewaiter key show FILE` prints its id.",
    "member-suspended": "Ring the operator.",
    "conflict": "An id was used twice. Post under a new id, or amend: name this address in `supersedes`.",
    "not-latest": "Fetch the latest version and correct that.",
    "withdrawn": "What was withdrawn is not corrected: post a new message.",
    "stale-lease": "The lease had ended. Lease again; do not count this one as settled.",
    "state-moves-back": "A later acknowledgement stands already: nothing to do.",
    "not-found": "It does not exist, or it is not for you; the two are never told apart.",
    "signing-time": "Set this machine's clock, and sign anew.",
    "release": "Release it to fewer, or mark it more openly.",
    "invalid": "Mend what is listed and try again.",
    "malformed": "Mend what is listed and try again.",
    "scope": "A member's key opens the members' doors, an operator's key (`--member operator:NAME`) the operators'.",
    "already-there": "Choose another name, or leave it as it is.",
    "setup": "Mend what is said here, and try again.",
    "wire": "See what RabbitMQ's set-up must be in deploy/, and start again.",
    "busy": "The hub has as much in hand as it may, and took nothing of this. Wait a little, and run the same command again.",
    "too-many": "More than your member may ask in a time. Wait a little, and run the same command again: repeating is safe.",
    "too-slow": "The line is slow: send fewer messages at a time.",
    "ledger-away": "Is the database there? Nothing was lost; try again.",
    "unreachable": "Nothing is known of the outcome. Run the same command again: repeating is safe.",
    "internal": "Tell the hub's operator the request id.",
}


def report(error: BaseException, *, as_json: bool = False) -> int:
    """Tell `error` on standard error; its exit code. An error that nobody foresaw is raised again."""
    from broker.door import Problem, Unreachable
    from broker.errors import BrokerError, LedgerAway, SetupRefused, WireRefused

    if isinstance(error, BaseExceptionGroup):
        inner = _leaf(error)
        if inner is None:
            raise error
        return report(inner, as_json=as_json)
    if isinstance(error, Problem):
        _tell(_of_problem(error), error.errors, as_json)
        return REFUSED
    if isinstance(error, Unreachable):
        _tell({"code": "unreachable", "title": "The hub does not answer", "detail": str(error)}, (), as_json)
        return UNREACHABLE
    if isinstance(error, BrokerError):
        said, faults = of_ours(error)
        _tell(said, faults, as_json)
        return (
            UNREACHABLE
            if isinstance(error, LedgerAway)
            else USAGE
            if isinstance(error, SetupRefused | WireRefused)
            else REFUSED
        )
    if isinstance(error, OSError) and error.filename is not None:
        _tell(
            {"code": "file", "title": "A file cannot be used", "detail": f"{error.filename}: {error.strerror}"},
            (),
            as_json,
        )
        return USAGE
    raise error


def usage(text: str, *, as_json: bool = False) -> int:
    """A call that cannot be meant so."""
    _tell({"code": "usage", "title": "This call cannot be understood", "detail": text}, (), as_json)
    return USAGE


def declined(text: str, *, as_json: bool = False) -> int:
    """A call that was understood and not carried out."""
    _tell({"code": "declined", "title": "Not done", "detail": text}, (), as_json)
    return REFUSED


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The first error inside that can be told, when all of them can."""
    from broker.door import Problem, Unreachable
    from broker.errors import BrokerError

    inner = group.exceptions[0]
    if isinstance(inner, BaseExceptionGroup):
        return _leaf(inner)
    return inner if isinstance(inner, BrokerError | Problem | Unreachable) else None


def _of_problem(problem: Any) -> dict[str, Any]:
    said = {"code": problem.code, "title": problem.title, "detail": problem.detail, "status": problem.status}
    return said | ({"request_id": problem.request_id} if problem.request_id else {})


def language() -> str:
    """TIDEWAITER_LANGUAGE, or the one of the locale: two letters."""
    for name in ("TIDEWAITER_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value[:2].isalpha() and value not in ("C", "POSIX") and not value.startswith("C."):
            return value[:2].lower()
    return "en"


def of_ours(error: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from broker import phrases

    faults = []
    for fault in error.faults:
        detail = phrases.render(
            f"rule.{fault.rule}", language(), found=fault.found, allowed=fault.allowed, **fault.more
        )
        if detail == f"rule.{fault.rule}":  # no sentence for this rule yet: say what there is
            detail = fault.rule + (f": {fault.found}" if fault.found else "")
        faults.append({"pointer": fault.pointer, "rule": fault.rule, "detail": detail, "allowed": list(fault.allowed)})
    title = phrases.render(f"title.{error.code}", language())
    return {"code": error.code, "title": title, "detail": error.detail or ""}, faults


def _tell(said: Mapping[str, Any], faults: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    listed = list(faults)
    hint = NEXT.get(said["code"])
    if as_json:
        whole = dict(said) | ({"errors": listed} if listed else {}) | ({"next": hint} if hint else {})
        note(in_json({"error": whole}))
        return
    number = f", {said['status']}" if "status" in said else ""
    note(f"{clean(said['title'])} ({said['code']}{number})")
    if said["detail"] and said["detail"] not in [fault.get("detail") for fault in listed]:
        note(f"  {clean(said['detail'], lines=True)}")
    for line in fault_lines(listed):
        note(f"  {line}")
    if hint:
        note(f"  → {hint}")
    if said.get("request_id"):
        note(f"  request id {clean(said['request_id'])}")


def fault_lines(faults: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line a fault: where, what, and what is allowed unless the sentence says it."""
    lines = []
    for fault in faults:
        detail, allowed = str(fault.get("detail") or fault.get("rule")), [str(a) for a in fault.get("allowed") or ()]
        rest = "" if not allowed or allowed[0] in detail else f" Allowed: {', '.join(allowed[:12])}."
        lines.append(clean(f"{fault.get('pointer') or '/'}: {detail}{rest}"))
    return lines
