"""Every change that the agent makes to a file: whole or not there, and durable once it returns.

A file is written under a temporary name beside its place, synced, renamed, and its folder synced. Links are never
followed: a temporary name is new and random, and what is read is a regular file. Who may read a folder may read what
the agent writes into it, and nobody else.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from broker.errors import Fault, TooLarge

TEMPORARY = ".tw-"
NEEDED_BYTES = 16_000_000
"""Free space below which nothing is leased: twenty of the largest messages take 9 MB."""


class Disk:
    """The effects, as one object that a test can let fail before or after each of them. Raises OSError."""

    def write(self, path: Path, octets: bytes) -> None:
        """A file with these octets, in place of whatever has that name."""
        temporary = path.with_name(TEMPORARY + secrets.token_hex(8))
        mode = 0o600 | (path.parent.stat().st_mode & 0o040)
        try:
            with os.fdopen(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb"
            ) as file:
                os.fchmod(file.fileno(), mode)
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()  # half a file would only fill a disk further
            raise
        sync(path.parent)

    def move(self, source: Path, target: Path) -> None:
        """The file under its new name, what is in it synced before; FileExistsError if something is there."""
        if os.path.lexists(target):  # nobody but the agent gives names here, so nobody comes between
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        sync(source, os.O_NONBLOCK)  # whoever wrote it may not have
        source.rename(target)
        sync(target.parent)
        sync(source.parent)

    def remove(self, path: Path) -> None:
        """The file is gone, if it was there."""
        path.unlink(missing_ok=True)
        sync(path.parent)


def sync(path: Path, how: int = os.O_DIRECTORY) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | how)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read(path: Path, max_bytes: int) -> bytes:
    """The octets of a regular file. Raises TooLarge over `max_bytes`; OSError, also for a link, a pipe or a device."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        octets = file.read(max_bytes + 1)
    if len(octets) > max_bytes:
        raise TooLarge(Fault("", "too-large", found=str(max(found.st_size, len(octets))), allowed=(str(max_bytes),)))
    return octets


def room(folder: Path) -> None:
    """Raises OSError (ENOSPC) with less than NEEDED_BYTES free."""
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < NEEDED_BYTES:
        raise OSError(errno.ENOSPC, f"less than {NEEDED_BYTES} bytes are free", str(folder))


def sweep(folder: Path) -> None:
    """Remove what an earlier life left half written. Only for who holds the lock."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
