"""The folders of an agent, made and checked before anything moves, and the lock that makes it the only one."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import SetupRefused

SUFFIXES = (".json", ".jws", ".receipt.jws", ".sent.json")


class Layout:
    """Where everything is. `sending` and `acknowledging` hold files that are under way, `signed` the octets to post."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out, self.sending = root / "out", root / "sending"
        self.sent, self.refused = root / "sent", root / "refused"
        self.incoming, self.unverified = root / "in", root / "in" / "unverified"
        self.acknowledge, self.acknowledged = root / "acknowledge", root / "acknowledged"
        self.status = root / "status.json"
        own = root / ".agent"  # nobody else's
        self.own = (own, own / "signed", own / "acknowledging")
        _, self.signed, self.acknowledging = self.own
        self.received, self.lock = own / "received.sqlite", own / "lock"

    @property
    def shared(self) -> tuple[Path, ...]:
        """The team's folders."""
        outgoing = (self.out, self.sending, self.sent, self.refused)
        return *outgoing, self.incoming, self.unverified, self.acknowledge, self.acknowledged

    def is_given(self, stem: str) -> bool:
        """Whether a file that was taken has this stem: under way, or at its end; or its evidence has, which was left."""
        ends = (self.sending, self.acknowledging, self.sent, self.acknowledged, self.refused)
        return any(os.path.lexists(folder / (stem + suffix)) for folder in ends for suffix in SUFFIXES)


def prepare(root: Path) -> Layout:
    """Make what is missing and check what is there. Raises SetupRefused, OSError.

    A folder that is made is open to the group as far as `root` is. A link is refused (it may lead anywhere), so is
    another file system (a rename would not be one step), and a folder that anybody on the machine may write to: whoever
    puts a file into `out/` has it signed.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    layout = Layout(root.resolve())
    found = layout.root.stat()
    _check(layout.root, found.st_dev)
    for folders, group in ((layout.shared, found.st_mode & 0o070), (layout.own, 0)):
        for folder in folders:
            _make(folder, group)
            _check(folder, found.st_dev)
    return layout


def _make(folder: Path, group: int) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    folder.chmod(stat.S_IMODE(folder.stat().st_mode) | group)  # setgid, where it is inherited, stays


def _check(folder: Path, device: int) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise SetupRefused(detail=f"{folder} is not a folder; a link is not followed.")
    if found.st_dev != device:
        raise SetupRefused(detail=f"{folder} lies on another file system than the folder around it.")
    if found.st_mode & 0o002:
        raise SetupRefused(
            detail=f"Anybody on this machine may write into {folder} (mode {stat.S_IMODE(found.st_mode):04o}),"
            f" and could have a message signed. chmod o-w {folder}"
        )


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Hold the folder's lock; it goes with the process, however that ends. Raises SetupRefused if another has it."""
    with os.fdopen(os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = file.read(32).strip() or "?"
            raise SetupRefused(detail=f"Another agent (process {other}) works in {layout.root}.") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
