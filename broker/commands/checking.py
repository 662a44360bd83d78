"""`check`: what is wrong with messages, field by field, before they are posted. Nothing is stored.

The hub is asked where one is configured: it knows members, groups and what was posted before. Without one, or with
`--offline`, the schemas, code lists and rules of this installation say what they can (they need the `hub` extra).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.commands import options
from broker.commands.speak import OK, REFUSED, answer, clean, colour, table
from broker.schemafiles import by_folder
from broker.titles import Schema, mapping
from broker.words import Said

if TYPE_CHECKING:
    from broker.errors import Fault
    from broker.language import Language

READ_BYTES = 1_048_576
"""Far more than a message may have, so that one that is too large is a finding like any other."""
SUFFIXES = (".json", ".jws")
NOT_MESSAGES = (".receipt.jws", ".refusal.jws")
MESSAGES = (b"{", b"ey")
"""How one begins that can be asked about: JSON, or a compact JWS (RFC 7515 §3.1: its header is JSON, too)."""
WIDTH = 100
MISSING_SHOWN = 5
OF_THE_MESSAGE = frozenset(
    {
        "invalid",
        "release",
        "malformed",
        "conflict",
        "not-latest",
        "withdrawn",
        "signature",
        "key",
        "signing-time",
        "too-large",
    }
)
"""Problems that are about a message; any other is about the caller or the hub, and ends the command."""

SAY = {
    "fault": Said("FAULT", "ERROR", "ERREUR", "ERRO"),
    "warning": Said("WARNING", "AVISO", "AVIS", "AVISO"),
    "whole": Said(
        "The message as a whole",
        "El mensaje en su conjunto",
        "Le message dans son ensemble",
        "A mensagem no seu conjunto",
    ),
    "good": Said("No fault{0}.", "Sin errores{0}.", "Aucune erreur{0}.", "Sem erros{0}."),
    "bad": Said(
        "{0} faults{1}: it would be refused.",
        "{0} errores{1}: sería rechazado.",
        "{0} erreurs{1} : il serait refusé.",
        "{0} erros{1}: seria recusada.",
    ),
    "one": Said(
        "1 fault{0}: it would be refused.",
        "1 error{0}: sería rechazado.",
        "1 erreur{0} : il serait refusé.",
        "1 erro{0}: seria recusada.",
    ),
    "warnings": Said(", {0} warnings", ", {0} avisos", ", {0} avis", ", {0} avisos"),
    "with-one": Said(", 1 warning", ", 1 aviso", ", 1 avis", ", 1 aviso"),
    "score": Said("Completeness", "Integridad", "Complétude", "Completude"),
    "of": Said("{0} of 100", "{0} de 100", "{0} sur 100", "{0} de 100"),
    "explained": Said(
        "{0} of 100, and {1} more said to be unknown or withheld",
        "{0} de 100, y {1} más dados como no sabidos o reservados",
        "{0} sur 100, et {1} de plus dits inconnus ou réservés",
        "{0} de 100, e mais {1} dados como não sabidos ou reservados",
    ),
    "add": Said("Would add most", "Lo que más aportaría", "Apporterait le plus", "O que mais acrescentaria"),
    "routes": Said("Routed by", "Se distribuye por", "Acheminé selon", "Encaminhada por"),
    "editions": Said("Lists and tables", "Listas y tablas", "Listes et tables", "Listas e tabelas"),
    "nominal": Said(
        "Without names, these go", "Sin nombres, se omite", "Sans les noms, il manque", "Sem nomes, omite-se"
    ),
    "elsewhere": Said(
        "Not looked at here: signature, members and groups, what was posted before. The hub does (--url).",
        "Aquí no se miran: firma, miembros y grupos, lo enviado antes. Lo hace el concentrador (--url).",
        "Non examinés ici : signature, membres et groupes, ce qui fut envoyé avant. Le concentrateur le fait (--url).",
        "Não se veem aqui: assinatura, membros e grupos, o que se enviou antes. O concentrador vê (--url).",
    ),
    "files": Said(
        "{0} files, {1} with faults.",
        "{0} archivos, {1} con errores.",
        "{0} fichiers, {1} avec des erreurs.",
        "{0} arquivos, {1} com erros.",
    ),
    "post": Said("{0} can be posted.", "{0} puede enviarse.", "{0} peut être envoyé.", "{0} pode ser enviada."),
    "correction": Said(
        "A correction: to everybody who has what it corrects.",
        "Una corrección: a todos los que tienen lo que corrige.",
        "Une correction : à tous ceux qui ont ce qu'elle corrige.",
        "Uma correção: a todos os que têm o que ela corrige.",
    ),
    "nobody": Said("nobody would receive it", "nadie lo recibiría", "personne ne le recevrait", "ninguém a receberia"),
}


@dataclass
class Finding:
    """What is found out about one file. `said`: what the hub answered, or what the body says when it is read here."""

    file: str
    heading: str
    schema: Schema = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    def for_machines(self) -> dict[str, Any]:
        return (
            {"file": self.file, "holds": not self.faults, "faults": self.faults}
            | self.said
            | {"warnings": self.warnings}
        )


def check(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Payloads or signed messages: files, folders, or -.")],
    offline: Annotated[bool, typer.Option("--offline", help="Ask no hub, even if one is configured.")] = False,
    url: options.Url = None, member: options.Member = None, key: options.KeyFile = None,
    language: options.Language = None, as_json: options.Json = False,
) -> None:  # fmt: skip
    """Everything but storing: each fault with its field and the way out; or who would receive it, and by which rule."""
    tongue = options.tongue(language)
    files = list(_files(paths))
    if offline or not url:
        language_here = _language()
        findings = [examined(name, octets, language_here, tongue) for name, octets in files]
    else:
        findings = options.run(_asked(files, url, member, key, tongue))
    alone = len(paths) == 1 and not Path(paths[0]).is_dir()
    shown = [one.for_machines() for one in findings]
    bad = sum(bool(one.faults) for one in findings)
    lines = [line for one in findings for line in _lines(one, tongue, colour())]
    if not alone:
        lines.append(SAY["files"].in_(tongue).format(len(findings), bad))
    answer(shown[0] if alone else {"files": shown}, "\n".join(lines), as_json)
    raise typer.Exit(REFUSED if bad else OK)


def _files(paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """(name, octets) of every message that `paths` lead to, folders in the order of names. Raises Usage."""
    for path in paths:
        folder = Path(path)
        if path == "-" or not folder.is_dir():
            yield path, options.read_input(path, READ_BYTES).strip()
            continue
        found = [one for one in sorted(folder.iterdir()) if one.suffix in SUFFIXES and one.is_file()]
        for one in found:
            if not one.name.endswith(NOT_MESSAGES):
                yield str(one), options.read_input(str(one), READ_BYTES).strip()


# ── asking the hub ──


async def _asked(
    files: Iterable[tuple[str, bytes]], url: str | None, member: str | None, key: Path | None, tongue: str
) -> list[Finding]:
    from broker.door import Problem

    findings = []
    async with options.client_of(url, member, key, tongue) as client:
        for name, octets in files:
            read = _read(name, octets, tongue)
            if isinstance(read, Finding) and not octets.startswith(MESSAGES):
                findings.append(read)  # the hub would take it for a JWS
                continue
            heading, schema = ("", {}) if isinstance(read, Finding) else _heading(read, tongue)
            finding = Finding(name, heading, schema)
            try:
                message = octets if octets[:1] == b"{" else octets.decode("ascii", "replace")
                finding.said = await client.check(message)
            except Problem as problem:
                if problem.code not in OF_THE_MESSAGE:
                    raise
                finding.faults = _explained(
                    problem.errors or [{"rule": problem.code, "detail": problem.detail}], schema, tongue
                )
            finding.warnings = _explained(finding.said.get("warnings", ()), schema, tongue)
            findings.append(finding)
    return findings


def _read(name: str, octets: bytes, tongue: str) -> dict[str, Any] | Finding:
    """The payload; or why there is none."""
    from broker import explain, phrases, show
    from broker.errors import BrokerError

    try:
        return show.read_payload(octets)
    except BrokerError as error:
        unread = {"rule": error.code, "detail": phrases.render(f"title.{error.code}", tongue)}
        told = [explain.told(one, tongue) for one in error.faults] or [unread]
        return Finding(name, "", faults=_explained(told, {}, tongue))


def _heading(payload: Mapping[str, Any], tongue: str) -> tuple[str, Schema]:
    from broker import titles

    header, schema = mapping(payload.get("header")), titles.schema_of(payload)
    title = titles.title(schema, tongue) or header.get("kind", "?")
    return f"{header.get('originator', '?')}:{header.get('id', '?')} · {title} {header.get('version', '?')}", schema


def _explained(faults: Iterable[Mapping[str, Any]], schema: Schema, tongue: str) -> list[dict[str, Any]]:
    from broker import explain

    return [explain.explained(one, schema, tongue) for one in faults]


# ── reading it here ──


def _language() -> Language:
    """The schemas, compiled once. Raises Usage where this installation cannot."""
    if find_spec("jsonschema_rs") is None:
        raise options.Usage(
            "To check without a hub, install tidewaiter[hub]; or name a hub: give --url or set TIDEWAITER_URL."
        )
    return _compiled()


@by_folder
def _compiled(folder: Path) -> Language:
    from broker.language import load_language

    return load_language(folder)


def examined(name: str, octets: bytes, language: Language, tongue: str) -> Finding:
    """What this installation can say about a message without asking anybody."""
    from broker import clock, explain

    payload = _read(name, octets, tongue)
    if isinstance(payload, Finding):
        return payload
    heading, schema = _heading(payload, tongue)
    faults: Sequence[Fault] = language.check_header(payload)
    warnings: Sequence[Fault] = ()
    said: dict[str, Any] = {}
    if not faults:
        reading = language.read_body(payload, now=clock.now())
        faults, warnings = reading.faults, reading.warnings
        if not faults:
            said = {
                "attributes": {route: sorted(values) for route, values in sorted(reading.attributes.items())},
                "editions": dict(sorted(reading.editions.items())),
                "nominal": _places(language.project(payload).removed, schema, tongue),
            }
            if reading.completeness is not None:
                score = reading.completeness
                missing = _places([f"/body{at}" for at in score.missing], schema, tongue)
                said["completeness"] = {"score": score.score, "explained": score.explained, "missing": missing}
    return Finding(
        name, heading, schema, _explained((explain.told(one, tongue) for one in faults), schema, tongue),
        _explained((explain.told(one, tongue) for one in warnings), schema, tongue), said,
    )  # fmt: skip


def _places(pointers: Iterable[str], schema: Schema, tongue: str) -> list[dict[str, str]]:
    from broker import titles

    found = list(pointers)
    tongue = titles.spoken(schema, found[:MISSING_SHOWN], tongue)  # of so many a line is made
    return [{"pointer": one, "field": titles.field(schema, one, tongue)} for one in found]


# ── telling it ──


def _lines(finding: Finding, tongue: str, painted: bool) -> Iterator[str]:
    head = f"── {clean(finding.file)}{' · ' + clean(finding.heading) if finding.heading else ''} "
    yield head + "─" * max(WIDTH - len(head), 2)
    for kind, faults in (("fault", finding.faults), ("warning", finding.warnings)):
        for one in faults:
            yield from _fault(kind, one, finding.schema, tongue, painted)
    yield _verdict(finding, tongue)
    if "recipients" in finding.said:
        yield from _recipients(finding.said, tongue)
    elif finding.said:
        yield from _reading(finding.said, finding.schema, tongue)
        yield SAY["elsewhere"].in_(tongue)
    yield ""


def _fault(kind: str, fault: Mapping[str, Any], schema: Schema, tongue: str, painted: bool) -> Iterator[str]:
    """Three lines: where, what and by which rule, the way out. Each is in one language from end to end."""
    from broker import titles

    said = SAY[kind].in_(titles.spoken(schema, [str(fault.get("pointer") or "")], tongue))
    mark = f"\x1b[1;{31 if kind == 'fault' else 33}m{said}\x1b[0m" if painted else said
    pointer = clean(fault.get("pointer") or "/")
    yield f"{mark}  {clean(fault['field']) or SAY['whole'].in_(tongue)}  ({pointer})"
    detail, rule = fault.get("detail"), fault.get("rule")
    yield from _wrapped(clean(f"{detail} [{rule}]" if detail else rule))
    if "remedy" in fault:
        yield from _wrapped(clean(fault["remedy"]))


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="    ", subsequent_indent="      ")


def _verdict(finding: Finding, tongue: str) -> str:
    faults, warnings = len(finding.faults), len(finding.warnings)
    besides = "" if not warnings else SAY["with-one" if warnings == 1 else "warnings"].in_(tongue).format(warnings)
    if not faults:
        return SAY["good"].in_(tongue).format(besides)
    return SAY["one"].in_(tongue).format(besides) if faults == 1 else SAY["bad"].in_(tongue).format(faults, besides)


def _recipients(said: Mapping[str, Any], tongue: str) -> Iterator[str]:
    yield SAY["post"].in_(tongue).format(clean(said["address"]))
    if said["corrections"]:
        yield SAY["correction"].in_(tongue)
    yield table(said["recipients"], ("member", "rule", "duties"), empty=SAY["nobody"].in_(tongue))


def _reading(said: Mapping[str, Any], schema: Schema, tongue: str) -> Iterator[str]:
    """What the body says when it is read: for whoever wonders where it goes and what it lacks."""
    from broker import titles

    def places(key: str, found: Sequence[Mapping[str, str]]) -> list[str]:
        shown = found[:MISSING_SHOWN]
        of = titles.spoken(schema, [one["pointer"] for one in shown], tongue)
        return _row(key, "; ".join(one["field"] for one in shown), of)

    score = said.get("completeness")
    if score is not None:
        key = "explained" if score["explained"] else "of"
        yield from _row("score", SAY[key].in_(tongue).format(score["score"], score["explained"]), tongue)
        yield from places("add", score["missing"])
    routes = (
        f"{route} {', '.join(_routed(route, one, tongue) for one in v)}" for route, v in said["attributes"].items()
    )
    yield from _row("routes", "; ".join(routes), tongue)
    yield from _row("editions", "; ".join(f"{n} {edition}" for n, edition in said["editions"].items()), tongue)
    yield from places("nominal", said["nominal"])


def _routed(route: str, value: str, tongue: str) -> str:
    from broker import titles

    title = titles.code({"heading": "headings", "mode": "modes"}.get(route, ""), value, tongue)
    return f"{value} ({title})" if title else value


def _row(key: str, text: str, tongue: str) -> list[str]:
    if not text:
        return []
    return wrap(clean(text), WIDTH, initial_indent=f"{SAY[key].in_(tongue):<25}", subsequent_indent=" " * 25)
