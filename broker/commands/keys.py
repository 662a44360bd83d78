"""Keys: made, asked for and rotated by their member; enrolled, listed and revoked by the hub's operator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.commands import options, registry
from broker.commands.speak import answer, note, table

if TYPE_CHECKING:
    from broker.jws import PrivateKey
    from broker.members import KeyRequest, Registry

REQUEST_BYTES = 16_384
Out = Annotated[Path, typer.Option("--out", help="The file to write; it must not be there yet.")]
Fingerprint = Annotated[
    str | None, typer.Option("--fingerprint", help="As read out by its owner; asked for on a terminal.")
]


def of_key(key: PrivateKey) -> dict[str, str]:
    """A key's id and fingerprint, and its kind."""
    from broker import jws, members

    jwk = jws.public_jwk(key)
    kid = jws.thumbprint(jwk)
    return {"kid": kid, "fingerprint": members.fingerprint(kid), "alg": jws.ALGORITHMS_OF[jwk["crv"]][0]}


def _text(shown: dict[str, str]) -> str:
    return "\n".join(f"{name:<12} {value}" for name, value in shown.items())


# ── the member's side ──


def new(
    out: Out,
    member: Annotated[
        str | None, typer.Option("--member", envvar="TIDEWAITER_MEMBER", help="Whose key it will be.")
    ] = None,
    alg: Annotated[str, typer.Option("--alg", help="Ed25519 or ES256.")] = "Ed25519",
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Encrypt the file.")] = False,
    as_json: options.Json = False,
) -> None:
    """Make a private key. It stays in its file; its fingerprint is what you will read out."""
    from broker import keyfiles

    phrase = keyfiles.passphrase_of()
    if passphrase and not phrase:
        phrase = options.ask_passphrase("New passphrase", twice=True)
    key = keyfiles.generate(alg)
    keyfiles.save(out, key, phrase if passphrase else None)
    shown = {"file": str(out), **of_key(key)}
    answer(shown, _text(shown), as_json)
    if member and not as_json:
        note(f"Next: tidewaiter key request --member {member} --key {out} > {out.stem}.request")


def request(member: options.Member = None, key: options.KeyFile = None, as_json: options.Json = False) -> None:
    """Print a request to have this key enrolled. It is signed by the very key, and holds no secret."""
    from broker import clock, members

    owner, private = options.given(member, "member"), options.load_key(options.given(key, "key"))
    token = members.make_key_request(owner, private, clock.text(clock.now()))
    members.read_key_request(token.encode())  # what the hub would refuse is refused here
    answer({"request": token, **of_key(private)}, token, as_json)
    if not as_json:
        note(f"Fingerprint to read out: {of_key(private)['fingerprint']}")


def rotate(
    new_key: Annotated[Path, typer.Option("--new", help="The new private key file.")],
    member: options.Member = None,
    key: options.KeyFile = None,
    as_json: options.Json = False,
) -> None:
    """Print a rotation: the old key (--key) vouches for the new one (--new). The operator enrols it as it is."""
    from broker import clock, members

    owner, old = options.given(member, "member"), options.load_key(options.given(key, "key"))
    fresh = options.load_key(new_key)
    token = members.make_key_rotation(owner, old, fresh, clock.text(clock.now()))
    answer({"rotation": token, "old": of_key(old)["kid"], "new": of_key(fresh)["kid"]}, token, as_json)


def show(file: Path, as_json: options.Json = False) -> None:
    """Show a private key's id and fingerprint; or, of a request or rotation, those of the key that it brings."""
    from broker import members

    if file.suffix in (".request", ".rotation", ".jws"):
        asked = _inner(options.read_input(str(file), REQUEST_BYTES))
        shown = {"owner": asked.owner, "kid": asked.kid, "fingerprint": members.fingerprint(asked.kid)}
    else:
        shown = of_key(options.load_key(file))
    answer(shown, _text(shown), as_json)


def _inner(octets: bytes) -> KeyRequest:
    """A request, or the one inside a rotation whose vouching key is not looked at."""
    from broker import jws, members
    from broker.errors import SignatureRefused

    try:
        return members.read_key_request(octets)
    except SignatureRefused as error:
        if error.rule != "typ":
            raise
    claims = jws.claims(jws.read(octets.strip(), typ=jws.TYP_KEY_ROTATION))
    return members.read_key_request(str(claims.get("request")).encode("ascii", "replace"))


# ── the operator's side ──


def read_request(octets: bytes, known: Registry) -> KeyRequest:
    """A key request, or a rotation checked against the registry. Raises the BrokerErrors of members.py."""
    from broker import clock, members
    from broker.errors import SignatureRefused

    try:
        return members.read_key_request(octets)
    except SignatureRefused as error:
        if error.rule != "typ":
            raise
    return members.read_key_rotation(octets, known, clock.now())


def confirm(asked: KeyRequest, fingerprint: str | None) -> None:
    """The voice: the fingerprint given must be the request's, or a person at the terminal says that it is. Raises Declined, Usage."""
    from broker import members

    mine = members.fingerprint(asked.kid)
    if fingerprint is not None:
        heard = fingerprint.strip()
        if heard != asked.kid and "".join(heard.split()).lower() != mine.replace(" ", ""):
            raise options.Declined(
                f"The fingerprint of this request is {mine}, not {heard}. Do not enrol it: ask who made it."
            )
        return
    note(f"A key for {asked.owner}\n\n    {mine}\n")
    note(f"Ring {asked.owner} on a number known from before, and have the fingerprint read out.")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise options.Usage("Without a terminal the fingerprint, as it was read out, is needed: --fingerprint.")
    if not typer.confirm("Is every character the same?", err=True):
        raise options.Declined("Nothing was enrolled.")


def enrol_request(asked: KeyRequest) -> dict[str, Any]:
    """Bind the key to its owner on the ledger."""
    from broker import administer

    registry.change(lambda ledger, now: administer.enrol(ledger, asked, now))
    return {"owner": asked.owner, "kid": asked.kid, "rotates": asked.rotates}


def enrol(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A key request or rotation, or - for standard input.")],
    fingerprint: Fingerprint = None,
    as_json: options.Json = False,
) -> None:
    """Enrol a member's key: a request once its fingerprint was compared by voice, a rotation as it is."""
    from broker.members import OPERATOR_PREFIX

    asked = read_request(options.read_input(file, REQUEST_BYTES), registry.snapshot())
    if asked.rotates is None:
        if asked.owner.startswith(OPERATOR_PREFIX):
            name = asked.owner.removeprefix(OPERATOR_PREFIX)
            raise options.Usage(f"This is an operator's key: tidewaiter operator add {name} {file}")
        confirm(asked, fingerprint)
    shown = enrol_request(asked)
    old = f" {asked.rotates} signs for one more day." if asked.rotates else ""
    answer(shown, f"{asked.kid} signs for {asked.owner}.{old}", as_json)


def list_(
    member: Annotated[str | None, typer.Option("--member", help="Of this owner alone.")] = None,
    as_json: options.Json = False,
) -> None:
    """Keys past and present."""
    from broker import clock

    now = clock.now()
    rows = [
        {"owner": k.owner, "kid": k.kid, "state": k.state(now), "not_before": clock.text(k.not_before),
         "not_after": clock.text(k.not_after) if k.not_after else None,
         "revoked_at": clock.text(k.revoked_at) if k.revoked_at else None}
        for k in sorted(registry.snapshot().keys.values(), key=lambda k: (k.owner, k.not_before))
        if member in (None, k.owner)
    ]  # fmt: skip
    answer({"keys": rows}, table(rows, ("owner", "kid", "state", "not_before", "not_after", "revoked_at")), as_json)


def _kid(named: str) -> str:
    """A key id, given as such or as its fingerprint. Raises Declined."""
    from broker import members

    digits = "".join(named.split()).lower()
    for kid in registry.snapshot().keys:
        if named == kid or digits == members.fingerprint(kid).replace(" ", ""):
            return kid
    raise options.Declined(f"No key here has the id or fingerprint “{named}”: see `tidewaiter key list`.")


def revoke(
    key: Annotated[str, typer.Argument(metavar="KID", help="The key's id, or its fingerprint.")],
    reason: Annotated[str, typer.Option("--reason", help="Kept with the key.")],
    as_json: options.Json = False,
) -> None:
    """Revoke a key at once: from now on it signs nothing. What it signed before stays verifiable."""
    from broker import administer

    kid = _kid(key)
    owner = registry.change(lambda ledger, now: administer.revoke(ledger, kid, reason, now))
    answer({"kid": kid, "owner": owner}, f"{kid} of {owner} is revoked.", as_json)


def add(app: typer.Typer) -> None:
    keys = typer.Typer(help="Signing keys.", no_args_is_help=True)
    for name, command in (
        ("new", new), ("request", request), ("rotate", rotate), ("show", show), ("enrol", enrol), ("list", list_),
    ):  # fmt: skip
        keys.command(name)(command)
    hyphens = {"ignore_unknown_options": True, "help_option_names": ["--help"]}  # a key id may begin with one
    keys.command("revoke", context_settings=hyphens)(revoke)
    app.add_typer(keys, name="key")
