"""The folder agent's dealings with a file system: what is taken, what is left alone, and what is never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.folder import layout, received
from adapters.folder.disk import TEMPORARY, Disk, read, sweep
from adapters.folder.outgoing import check
from adapters.folder.parts import Parts
from adapters.folder.problems import Later, Troubles, Unreadable
from adapters.folder.status import Status
from adapters.folder.taking import MAX_TAKE, PATIENCE, take
from broker import keyfiles
from broker.client import Client
from broker.errors import SetupRefused, TooLarge

UNCHANGED = 60.0


class World:
    """A folder whose clock stands at `ahead` of the file system's."""

    def __init__(self, root: Path) -> None:
        self.ahead = timedelta()
        self.layout = layout.prepare(root)
        self.told: list[str] = []
        client = Client("http://hub.test", "CL", keyfiles.generate())
        status = Status({}, self.now, lambda event, facts: self.told.append(event))
        self._memory = received.opened(self.layout.received)
        self.parts = Parts(self.layout, client, Disk(), self._memory.__enter__(), status, self.now, UNCHANGED)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def look(self, ahead_seconds: float) -> list[str]:
        """The names that are taken, so long after the files were written."""
        self.ahead = timedelta(seconds=ahead_seconds)
        troubles = Troubles()
        before = set(self.layout.sending.iterdir())
        take(self.parts, self.layout.out, (".json", ".jws"), self.layout.sending, check, troubles)
        troubles.tell()
        return sorted(path.name for path in set(self.layout.sending.iterdir()) - before)

    def close(self) -> None:
        self._memory.__exit__(None, None, None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "folder")
    yield made
    made.close()


def test_a_file_that_has_just_changed_is_left(world: World) -> None:
    """It is taken once it has not changed for the stated time; a rename counts as a change."""
    path = world.layout.out / "a.json"
    path.write_bytes(b"{}")
    assert world.look(0) == []
    assert world.look(UNCHANGED / 2) == []
    path.rename(world.layout.out / "b.json")

    assert world.look(UNCHANGED + 0.1) == ["b.json"]
    assert list(world.layout.out.iterdir()) == []


def test_a_clock_that_was_set_back_holds_nothing_up(world: World) -> None:
    """A file from the future is as old as one from the past."""
    (world.layout.out / "a.json").write_bytes(b"{}")

    assert world.look(-3600) == ["a.json"]


def test_a_half_written_file_is_given_time(world: World) -> None:
    """A writer that stops in the middle: not taken until it is whole, and after a long time for its refusal."""
    path = world.layout.out / "slow.json"
    with path.open("wb") as file:
        file.write(b'{"header": {"id": ')
        file.flush()
        assert world.look(UNCHANGED + 1) == []
        file.write(b'"x"}}')
    assert world.look(UNCHANGED + 1) == ["slow.json"]

    path.write_bytes(b'{"header": {"id": ')
    assert world.look(PATIENCE * UNCHANGED / 2) == []
    assert len(world.look(PATIENCE * UNCHANGED + 1)) == 1


def test_work_in_progress_and_what_is_no_file_is_left_alone(world: World) -> None:
    """Dot files, `.part`, folders, links, pipes, other endings; what nobody will ever take is counted."""
    out, elsewhere = world.layout.out, world.layout.root / "elsewhere.json"
    elsewhere.write_bytes(b'{"secret": 1}')
    for name in (".hidden.json", "x.json.part", "x.part", "notes.txt"):
        (out / name).write_bytes(b"{}")
    (out / "link.json").symlink_to(elsewhere)
    (out / "folder.json").mkdir()
    os.mkfifo(out / "pipe.json")
    (out / "good.JSON").write_bytes(b"{}")

    assert world.look(UNCHANGED + 1) == ["good.json"]
    assert world.parts.status.ignored == {"out": 4}
    assert world.told == ["ignored"]
    world.look(UNCHANGED + 1)
    assert world.told == ["ignored"]


def test_a_file_becomes_a_link_between_the_look_and_the_reading(world: World) -> None:
    """It is not followed: reading says so, and nothing is taken."""
    link = world.layout.out / "l.json"
    link.symlink_to("/etc/passwd")

    with pytest.raises(OSError, match="symbolic links"):
        read(link, 100)
    with pytest.raises(OSError, match="not a regular file"):
        read(Path("/dev/null"), 100)
    with pytest.raises(TooLarge):
        read(Path("/etc/passwd"), 5)


def test_a_look_takes_the_oldest_and_not_more_than_it_may(world: World) -> None:
    """In the order in which they came; the rest stays until those are at their end."""
    for n in range(MAX_TAKE + 3):
        (world.layout.out / f"{1000 - n}.json").write_bytes(b"{}")
    first = world.look(UNCHANGED + 1)
    assert world.look(UNCHANGED + 1) == []
    for path in world.layout.sending.iterdir():
        path.unlink()
    second = world.look(UNCHANGED + 1)

    assert (len(first), len(second)) == (MAX_TAKE, 3)
    assert second == ["898.json", "899.json", "900.json"]
    assert world.parts.status.waiting == {"out": 0}


def test_a_file_that_cannot_be_read_holds_no_other_up(world: World) -> None:
    """It is told as a trouble, and stays."""
    for name in ("a.json", "b.json"):
        (world.layout.out / name).write_bytes(b"{}")

    class Unmovable(Disk):
        def move(self, source: Path, target: Path) -> None:
            if source.name == "a.json":
                raise PermissionError(13, "Permission denied", str(source))
            super().move(source, target)

    parts, troubles = world.parts, Troubles()
    world.ahead = timedelta(seconds=UNCHANGED + 1)
    other = Parts(parts.layout, parts.client, Unmovable(), parts.received, parts.status, world.now, UNCHANGED)
    take(other, world.layout.out, (".json",), world.layout.sending, check, troubles)

    assert [path.name for path in world.layout.sending.iterdir()] == ["b.json"]
    with pytest.raises(PermissionError):
        troubles.tell()


def test_of_several_troubles_the_first_that_holds_up_others_is_told() -> None:
    troubles = Troubles()
    for error, told in (
        (Unreadable("a"), "a"), (Unreadable("b"), "a"), (Later("c"), "c"), (Later("d"), "c"), (Unreadable("e"), "c"),
    ):  # fmt: skip
        with troubles.aside():
            raise error
        with pytest.raises(Later, match=told):
            troubles.tell()


def test_a_written_file_is_whole_and_as_open_as_its_folder(tmp_path: Path) -> None:
    """Never for others; for the group if the folder is."""
    for mode, expected in ((0o700, 0o600), (0o750, 0o640), (0o2770, 0o640), (0o755, 0o640)):
        tmp_path.chmod(mode)
        Disk().write(tmp_path / "f", b"x")
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Whoever may write into in/ gains nothing by it."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / "f").symlink_to(precious)
    Disk().write(tmp_path / "f", b"theirs")

    assert precious.read_bytes() == b"mine"
    assert not (tmp_path / "f").is_symlink()


def test_a_move_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        Disk().move(tmp_path / "a", tmp_path / "b")

    assert (tmp_path / "a").read_bytes() == b"a"


def test_what_is_moved_is_on_disk_before_it_has_its_new_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A team's program does not sync: without that a power failure after the post leaves an empty file to be refused."""
    done: list[object] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        fsync(fd)
        done.append(os.fstat(fd).st_ino)

    def renamed(source: str, target: str, **how: int) -> None:
        rename(source, target, **how)
        done.append("renamed")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "to").mkdir()
    Disk().move(tmp_path / "a", tmp_path / "to/a")

    inodes = [(tmp_path / name).stat().st_ino for name in ("to/a", "to", ".")]
    assert done == [inodes[0], "renamed", inodes[1], inodes[2]]


def test_what_a_dead_agent_left_half_written_is_swept(tmp_path: Path) -> None:
    for name in (f"{TEMPORARY}0", f"{TEMPORARY}1", "kept", ".kept"):
        (tmp_path / name).touch()
    sweep(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".kept", "kept"]


def test_folders_are_made_as_open_as_the_one_around_them(tmp_path: Path) -> None:
    """The team's for its group; what is the agent's alone for nobody else."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2770)
    made = layout.prepare(root)

    assert {stat.S_IMODE(folder.stat().st_mode) for folder in made.shared} == {0o2770}
    assert {stat.S_IMODE(folder.stat().st_mode) & 0o777 for folder in made.own} == {0o700}
    assert layout.prepare(root).out == made.out


@pytest.mark.parametrize("name", ["out", "in", "sent", ".agent"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    """It may lead anywhere."""
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SetupRefused, match="not a folder"):
        layout.prepare(root)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["", "out", "acknowledge", "in"])
def test_a_folder_that_anybody_may_write_to_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever puts a file into out/ has it signed."""
    root = layout.prepare(tmp_path / "root").root
    (root / name).chmod(0o777)

    with pytest.raises(SetupRefused, match=r"chmod o-w"):
        layout.prepare(root)


def test_what_was_received_is_remembered_for_a_stated_time(tmp_path: Path) -> None:
    """By address and round, with the digest of the first."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with received.opened(tmp_path / "r.sqlite") as memory:
        memory.remember("CL:a", 1, "d1", now)
        memory.remember("CL:a", 1, "d1", now)
        assert memory._run("PRAGMA synchronous") == (3,)  # EXTRA: with less a power failure may take a commit back
    with received.opened(tmp_path / "r.sqlite") as memory:
        assert memory.digest("CL:a") == "d1"
        assert (memory.has("CL:a", 1), memory.has("CL:a", 2), memory.has("CL:b", 1)) == (True, False, False)
        memory.remember("CL:b", 1, "d2", now + received.KEPT + timedelta(seconds=1))

        assert memory.digest("CL:a") is None


def test_a_damaged_memory_is_told_at_the_start_and_a_full_disk_as_what_it_is(tmp_path: Path) -> None:
    """Neither as a stack of Python."""
    (tmp_path / "r.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(SetupRefused, match="damaged"), received.opened(tmp_path / "r.sqlite"):
        pass

    with received.opened(tmp_path / "s.sqlite") as memory:
        memory._connection.execute("PRAGMA max_page_count = 4")

        def fill() -> None:
            for n in range(1000):
                memory.remember(f"CL:{n}", 1, "d" * 43, datetime.now(UTC))

        with pytest.raises(OSError, match="full"):
            fill()
