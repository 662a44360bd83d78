"""The command line without a hub: parsing, exit codes, and errors that say what to do next."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker import jws, keyfiles
from broker.cli import main
from broker.commands import failures, keys, options, watching
from broker.commands.speak import answer, clean, table
from broker.door import Problem
from broker.members import KeyRequest, fingerprint

EXAMPLES = sorted((Path(__file__).parents[2] / "schemas" / "examples").glob("*.json"))


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that the tests run on."""
    for name in ("URL", "MEMBER", "KEY", "PASSPHRASE", "PASSPHRASE_FILE", "LANGUAGE"):
        monkeypatch.delenv(f"TIDEWAITER_{name}", raising=False)
    monkeypatch.setenv("TIDEWAITER_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("LANG", "C")


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    """Importing the command line with all its commands takes neither the server nor the cryptography along."""
    heavy = ("sqlalchemy", "fastapi", "aio_pika", "httpx2", "cryptography", "joserfc", "structlog", "pydantic")
    code = f"import sys; from broker.cli import make_app; make_app(); print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_client_does_not_drag_the_server_in() -> None:
    """The SDK's dependencies are httpx2, cryptography, joserfc and jiter."""
    heavy = (
        "sqlalchemy",
        "fastapi",
        "aio_pika",
        "structlog",
        "pydantic",
        "prometheus_client",
        "typer",
        "jsonschema_rs",
    )
    code = (
        f"import sys, broker.client, broker.consume, broker.keyfiles; print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "nonsense"),
        (["pull"], "QUEUE"),
        (["pull", "inbox", "--limit", "0"], "--limit"),
        (["queues"], "url is needed"),
        (["queues", "--url", "http://h"], "member is needed"),
        (["queues", "--url", "http://h", "--member", "CL"], "key is needed"),
        (["queues", "--url", "http://h", "--member", "CL", "--key", "/nowhere.pem"], "No such file"),
        (["pull", "inbox", "--release", "--acknowledge", "read"], "--accept"),
        (["replay", "inbox"], "--since"),
        (["subscribe", "x", "--filter", "{"], "--filter"),
        (["key", "new", "--out", "x.pem", "--alg", "RS256"], "RS256"),
        (["verify", "a", "b", "--keys", "/nowhere"], "/nowhere"),
        (["member", "list"], "init"),
        (["group", "add", "OP", "--ends-at", "tomorrow"], "tomorrow"),
    ],
)
def test_a_call_that_cannot_be_meant_so_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """One block on standard error, nothing on standard output, no traceback."""
    code = main(arguments)
    out, err = capsys.readouterr()

    assert (code, out) in ((2, ""), (3, ""))  # 3: there is no ledger to open yet
    assert said in err
    assert "Traceback" not in err


def test_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queues", "--json"]) == 2

    assert json.loads(capsys.readouterr().err)["error"]["code"] == "usage"


@pytest.mark.parametrize("code", ["busy", "too-many", "too-slow", "ledger-away"])
def test_who_is_to_come_again_is_told_how(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the moment ends with what to do next, as every other does."""
    assert failures.report(Problem(503, {"code": code, "title": "Not now"})) == 1

    assert f"  → {failures.NEXT[code]}" in capsys.readouterr().err


def test_nobody_there_exits_with_3(tmp_path: Path) -> None:
    """And says that repeating is safe."""
    keyfiles.save(tmp_path / "cl.pem", keyfiles.generate())
    message = tmp_path / "m.jws"
    message.write_text(jws.sign(b"{}", keyfiles.generate(), typ=jws.TYP_MESSAGE, iat=1))
    code = "import sys; from broker import door; door.PAUSE_SECONDS = (0, 0); from broker.cli import main; sys.exit(main())"
    arguments = ["submit", str(message), "--url", "http://127.0.0.1:9"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)

    assert done.returncode == 3
    assert "repeating is safe" in done.stderr


def test_a_key_is_made_asked_for_and_rotated_without_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/connecting.md §1, steps 1 and 2, and a rotation; what is printed holds no secret."""
    old, new = tmp_path / "cl.pem", tmp_path / "new.pem"
    assert main(["key", "new", "--member", "CL", "--out", str(old), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["key", "new", "--out", str(new), "--alg", "ES256"]) == 0
    assert main(["key", "request", "--member", "CL", "--key", str(old)]) == 0
    printed = capsys.readouterr()
    request = printed.out.splitlines()[-1]
    assert main(["key", "rotate", "--member", "CL", "--key", str(old), "--new", str(new)]) == 0
    rotation = capsys.readouterr().out.strip()

    assert made["fingerprint"] in printed.err
    assert jws.read(request.encode(), typ=jws.TYP_KEY_REQUEST).kid == made["kid"]
    assert jws.read(rotation.encode(), typ=jws.TYP_KEY_ROTATION).kid == made["kid"]
    assert main(["key", "new", "--out", str(old)]) == 2


def test_a_fingerprint_that_differs_enrols_nothing() -> None:
    """Spaces and case do not matter, the whole id does as well, every digit does."""
    jwk = jws.public_jwk(keyfiles.generate())
    asked = KeyRequest("CL", jwk, jws.thumbprint(jwk))
    mine = fingerprint(asked.kid)

    for good in (mine, mine.upper(), mine.replace(" ", ""), asked.kid):
        keys.confirm(asked, good)
    for bad in (mine[:-1], "0" + mine[1:] if mine[0] != "0" else "1" + mine[1:], "", asked.kid[:-1]):
        with pytest.raises(options.Declined):
            keys.confirm(asked, bad)
    with pytest.raises(options.Usage):  # no terminal here
        keys.confirm(asked, None)


def test_what_comes_from_outside_cannot_move_the_cursor() -> None:
    """Control characters and bidirectional overrides are made visible."""
    assert clean("a\x1b[2Jb\u202ec\r\nd\x9b") == "a�[2Jb�c� d�"
    assert "\x1b" not in table([{"a": "\x1b]0;x\x07"}], ["a"])


def test_nor_can_it_in_json_which_still_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON escapes what is below U+0020, and lets a C1 control (0x9B is ESC and a bracket) or an override stand."""
    said = {"a": "\x1b[2J\x9b2J\u202e\x7f\n", "ñ": ["\u2066"]}
    answer(said, "", True)
    told = capsys.readouterr().out

    assert json.loads(told) == said
    assert not set(told) & set("\x1b\x9b\u202e\x7f\u2066")


@pytest.mark.parametrize("address", ["CL", ":1", "../x:1", "cl:1", "CL:../../x", "CL:", "CL:a/b", "CL:a\n"])
def test_no_path_is_made_of_what_is_no_address(address: str) -> None:
    originator, _, id = address.partition(":")

    assert watching.file_name({"header": {"originator": originator, "id": id}}) is None


def test_a_message_is_kept_once_and_never_replaced(tmp_path: Path) -> None:
    """Written again it is the same; other octets under its name are refused."""
    payload = json.loads(EXAMPLES[0].read_text("utf-8"))
    key = keyfiles.generate("ES256")
    first, other = (jws.sign_claims(payload, key, typ=jws.TYP_MESSAGE, iat=n) for n in (1, 2))
    kept = watching.keep(tmp_path, first, payload, "en")
    watching.keep(tmp_path, first, payload, "en")
    with pytest.raises(watching.Refused):
        watching.keep(tmp_path, other, payload, "en")

    assert kept.read_text().strip() == first
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".jws", ".txt"]
    assert all(p.stat().st_mode & 0o077 == 0 for p in tmp_path.iterdir())
