"""Which files are ready, and taking one: by a rename into the agent's own folder, so that its writer may go on.

A file is ready when it has not changed for a stated time, by the clock of its file system. One that is cut off (JSON
without its end, a signature too short) is given much longer, then it is taken all the same, for its refusal. Names that
begin with a dot or end in `.part` are somebody's work in progress; a link, a folder or another suffix is left alone.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.folder import names
from adapters.folder.disk import read
from adapters.folder.parts import Parts
from adapters.folder.problems import Later, Troubles, Unreadable
from broker import jws
from broker.errors import BrokerError

PATIENCE = 15
"""A file that is not whole is given so many times as long as another one."""
MAX_LOOK = 1_000
"""Files considered in one look, the oldest first: bounds memory, whatever lies there."""
MAX_TAKE = 100
MAX_FILE_BYTES = jws.MAX_TOKEN_BYTES


@dataclass(frozen=True, slots=True)
class Found:
    path: Path
    status: os.stat_result

    @property
    def changed_at(self) -> float:
        """Seconds since 1970: of the last write, or of the rename that brought it."""
        return self.status.st_ctime

    @property
    def order(self) -> tuple[int, int, str]:
        """Who came first; among those that a rename brought at the same tick, who was written first."""
        return self.status.st_ctime_ns, self.status.st_mtime_ns, self.path.name


def take(
    parts: Parts,
    folder: Path,
    suffixes: tuple[str, ...],
    into: Path,
    check: Callable[[str, bytes], object],
    troubles: Troubles,
) -> int:
    """Take ready files, the oldest first, until MAX_TAKE are under way; how many were taken. `check` raises BrokerError
    for what is not whole. What cannot be read is left, and told to `troubles`."""
    files, ignored = _look(folder, suffixes)
    room, taken = MAX_TAKE - len(under_way(into)), 0
    for found in files:
        if taken >= room:
            break
        with troubles.aside():
            taken += _take(parts, found, into, check)
    parts.status.wait(folder.name, len(files) - taken)
    parts.status.ignore(folder.name, ignored)
    return taken


def _take(parts: Parts, found: Found, into: Path, check: Callable[[str, bytes], object]) -> bool:
    age = abs(parts.now().timestamp() - found.changed_at)  # a moment far ahead is as old as one far behind
    if age < parts.unchanged_seconds:
        return False
    suffix = found.path.suffix.lower()
    try:
        check(suffix, read(found.path, MAX_FILE_BYTES))
    except FileNotFoundError:  # its writer thought better of it
        return False
    except OSError as error:
        raise Unreadable(f"{found.path}: {error.strerror or error}") from error
    except BrokerError:
        if age < PATIENCE * parts.unchanged_seconds:
            return False
    stem = names.free(names.stem_of(found.path.name), parts.now(), parts.layout.is_given)
    parts.disk.move(found.path, into / (stem + suffix))
    return True


def wait_for(parts: Parts, path: Path) -> None:
    """Raises Later for a file that is not whole and was written to after it was found so: its writer has it open."""
    if abs(parts.now().timestamp() - path.stat().st_mtime) < PATIENCE * parts.unchanged_seconds:
        raise Later(f"{path.name}: it is not whole, and was written to just now")


def _look(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Found], list[str]]:
    """The oldest MAX_LOOK files of these suffixes, the oldest first; and names of what is none (of the first few)."""
    ignored: list[str] = []
    files = heapq.nsmallest(MAX_LOOK, _files(folder, suffixes, ignored), key=lambda found: found.order)
    return files, ignored


def _files(folder: Path, suffixes: tuple[str, ...], ignored: list[str]) -> Iterator[Found]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.lower()
            if name.startswith(".") or name.endswith(".part"):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if name.endswith(suffixes) and stat.S_ISREG(status.st_mode):
                yield Found(folder / entry.name, status)
            elif len(ignored) < MAX_LOOK:
                ignored.append(names.stem_of(entry.name + "."))


def under_way(folder: Path) -> list[Path]:
    """What was taken and has not come to its end, the first taken first."""
    files = sorted(_files(folder, (".json", ".jws"), []), key=lambda found: found.order)
    return [found.path for found in files]
