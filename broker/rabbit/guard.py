"""Ending what was started, and nothing else: the processes of one folder, when their starter dies.

Run as a module (`python -m broker.rabbit.guard FOLDER`) it is the watching process: it waits for the end of its
standard input and then ends what the folder lists.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from broker.errors import SetupRefused

ENDED_SECONDS = 15.0
"""How long a killed process may take to be gone."""


class Guard:
    """Ends the processes of one folder when the process that started them dies, however it dies.

    `processes.json` lists them, each with the moment it began, so that a pid given anew is never mistaken for ours.
    A watching process holds the other end of a pipe: it closes with us, and the list is worked off.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._write({})
        self._watcher = subprocess.Popen(  # noqa: S603 - this interpreter, this file
            [sys.executable, "-m", __spec__.name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """Add a process we have just started."""
        ours = _listed(self._folder)["processes"] | {str(pid): _began(pid)}
        self._write(ours)

    def dismiss(self) -> None:
        """The processes have been ended: forget them."""
        (self._folder / "processes.json").unlink(missing_ok=True)
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
        self._watcher.wait()

    def _write(self, processes: Mapping[str, str | None]) -> None:
        content = {"owner": {str(os.getpid()): _began(os.getpid())}, "processes": processes}
        fresh = self._folder / "processes.json.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
        fresh.replace(self._folder / "processes.json")


def stop_stale(folder: Path) -> list[int]:
    """End what a caller that died left running in `folder`; the pids ended. Nothing there: nothing done.

    Raises SetupRefused when that caller is alive: then it is not stale.
    """
    listed = _listed(folder)
    for owner in _running(listed["owner"]):
        raise SetupRefused(detail=f"{folder} is in use by process {owner}")
    return _end_listed(folder)


def _end_listed(folder: Path) -> list[int]:
    """By SIGKILL: whoever would have waited for a polite end is dead."""
    processes = _listed(folder)["processes"]
    ended = _running(processes)
    for pid in ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + ENDED_SECONDS
    while _running(processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    (folder / "processes.json").unlink(missing_ok=True)
    return ended


def _listed(folder: Path) -> dict[str, dict[str, str | None]]:
    with contextlib.suppress(FileNotFoundError):
        listed: dict[str, dict[str, str | None]] = json.loads((folder / "processes.json").read_text())
        return listed
    return {"owner": {}, "processes": {}}


def _running(processes: Mapping[str, str | None]) -> list[int]:
    """Those that are still the process that was listed."""
    return [int(pid) for pid, began in processes.items() if began is not None and _began(int(pid)) == began]


def _began(pid: int) -> str | None:
    """When process `pid` began, in whatever unit the system tells; None when there is none (or only its remains)."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]  # proc(5): state is field 3, starttime field 22
    ps = shutil.which("ps") or "ps"
    asked = subprocess.run([ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603
    return asked.stdout.strip() or None


def _main(arguments: Iterable[str]) -> None:
    """The watching process: wait for the end of standard input, then end what is listed."""
    (folder,) = arguments
    sys.stdin.read()
    _end_listed(Path(folder))


if __name__ == "__main__":
    _main(sys.argv[1:])
