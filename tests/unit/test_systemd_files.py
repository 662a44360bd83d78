"""deploy/systemd: units that systemd reads without a word, closed as far as they can be, with no secret in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
UNITS = sorted((TREE / "deploy/systemd").glob("*.*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXPOSURE = 15
"""Of 100, as `systemd-analyze security` counts it."""
CLOSED = {
    "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "", "MemoryDenyWriteExecute": "yes", "UMask": "0077", "ProtectProc": "invisible",
}  # fmt: skip


def settings(unit: Path) -> dict[str, list[str]]:
    """key -> its values, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_is_closed(unit: Path) -> None:
    """Its own user, no privilege, a file system that it cannot write but for what it names."""
    said = settings(unit)

    for key, value in CLOSED.items():
        assert said[key] == [value], key
    assert said["User"] == said["Group"]
    assert said["User"] != ["root"]
    writes = said.get("StateDirectory", []) + said.get("ReadWritePaths", [])
    assert writes == {
        "tidewaiter-migrate.service": ["tidewaiter"],
        "tidewaiter-backup.service": ["/var/backups/tidewaiter"],
    }.get(unit.name, [])


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_has_only_the_secrets_of_its_role(unit: Path) -> None:
    """As credentials, never in the unit or its environment; the names are those of make-secrets.sh."""
    said = settings(unit)
    role = {"migrate": "owner", "backup": "backup"}.get(re.sub(r"tidewaiter-(\w+).*", r"\1", unit.name), "hub")
    made = (TREE / "deploy/make-secrets.sh").read_text("utf-8")
    for credential in said["LoadCredential"]:
        source = Path(credential.partition(":")[2])
        assert source.parent == Path("/etc/tidewaiter/secrets")
        assert source.name == "amqp_url" or source.name.endswith(f"_{role}")
        assert source.name.removesuffix(f"_{role}") in made
        assert f"%d/{credential.partition(':')[0]}" in "".join(said["Environment"] + said.get("ExecStartPre", []))
    assert not re.search(r"://[^ ]+:[^ ]+@|PASSWORD", unit.read_text("utf-8"))


def test_what_serves_is_started_again_and_listens_on_loopback() -> None:
    """And its stop waits for what is in flight."""
    for kind in ("gateway", "relay"):
        said = settings(TREE / f"deploy/systemd/tidewaiter-{kind}@.service")
        assert said["ExecStart"] == [f"/opt/tidewaiter/bin/tidewaiter serve --only {kind}"]
        assert said["Restart"] == ["always"]
        assert "TIDEWAITER_LISTEN=127.0.0.1:%i TIDEWAITER_LOG=json" in said["Environment"]
        assert said["TimeoutStopSec"] == ["30s"]


def test_systemd_reads_them_without_a_word(tmp_path: Path) -> None:
    """`systemd-analyze verify` and `security`, with programs that are on this machine."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is left out: not installed")
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/tidewaiter/bin/tidewaiter", sys.executable)
        text = text.replace("/opt/tidewaiter/deploy", str(TREE / "deploy")).replace("/usr/bin/psql", sys.executable)
        (tmp_path / unit.name.replace("@.", "@8700.")).write_text(text)
        (tmp_path / unit.name).write_text(text)
    units = [path for path in sorted(tmp_path.iterdir()) if "@." not in path.name]

    verified = subprocess.run(
        [analyze, "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    for unit in (path for path in units if path.suffix == ".service"):
        command = [analyze, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", str(unit)]
        judged = subprocess.run(command, capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout
