"""What `watch` writes is there whole or not at all, under a name that nobody takes for a message before that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.commands import watching


def test_no_file_under_way_looks_like_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its last word the watch leaves a temporary behind: `*.jws` does not find it, the next one does."""
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append([path.name for path in tmp_path.iterdir()]))
    watching.write_durably(tmp_path / "CL_1.jws", b"signed")

    (under_way,), (whole,) = seen
    assert whole == "CL_1.jws"
    assert under_way.startswith(watching.TEMPORARY)
    assert not Path(under_way).match("*.jws")
    (tmp_path / under_way).write_bytes(b"half")
    os.utime(tmp_path / under_way, (0, 0))
    watching.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["CL_1.jws"]


def test_a_temporary_that_goes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another watch gives it its name at that moment."""
    (tmp_path / f"{watching.TEMPORARY}1-CL_1.jws.part").touch()
    stat = Path.stat

    def renamed(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name.startswith(watching.TEMPORARY):
            path.replace(tmp_path / "CL_1.jws")
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", renamed)
    watching.sweep(tmp_path)
    assert (tmp_path / "CL_1.jws").exists()
