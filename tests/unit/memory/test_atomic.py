from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from khotool.errors import KhotoolError
from khotool.memory.atomic import replacing


def test_success_replaces(tmp_path: Path) -> None:
    """The file has the new contents and the old permissions, and nothing else is left."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    """An exception leaves the old file and no temporary one."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    """A link stays a link to the new contents."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """A missing directory and a directory are refused with one line."""
    with pytest.raises(KhotoolError, match="cannot be written"), replacing(tmp_path / "no" / "x"):
        pass
    with pytest.raises(KhotoolError, match="not a regular file"), replacing(tmp_path):
        pass


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """An error of the disk, also at the end, keeps the old file and says why in one line."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    message = "file: cannot be written: No space left on device"
    with pytest.raises(KhotoolError, match=message), replacing(path) as file:
        file.write(b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def becomes_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def becomes_folder(path: Path, outside: Path) -> None:
    path.mkdir()


def becomes_pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("change", [becomes_link, becomes_folder, becomes_pipe])
def test_what_a_path_becomes_is_not_followed(
    tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    """Between the first look and the rename: a link is replaced, not what it leads to."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "file").write_bytes(b"theirs")
    path = folder / "file"
    with contextlib.suppress(KhotoolError), replacing(path) as file:
        file.write(b"new")
        change(path, outside)
    assert (outside / "file").read_bytes() == b"theirs"
    assert path.is_dir() or path.read_bytes() == b"new"
    assert os.listdir(folder) == ["file"]


def test_a_folder_that_is_replaced_by_a_link(tmp_path: Path) -> None:
    """The file is in the folder that was there in the beginning, and nowhere else."""
    outside, folder, away = tmp_path / "outside", tmp_path / "folder", tmp_path / "away"
    outside.mkdir()
    folder.mkdir()
    with replacing(folder / "file") as file:
        file.write(b"new")
        folder.rename(away)
        folder.symlink_to(outside)
    assert os.listdir(outside) == []
    assert (away / "file").read_bytes() == b"new"
    assert os.listdir(away) == ["file"]
