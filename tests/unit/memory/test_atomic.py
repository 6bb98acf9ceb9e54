from __future__ import annotations

import os
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

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    message = "file: cannot be written: No space left on device"
    with pytest.raises(KhotoolError, match=message), replacing(path) as file:
        file.write(b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
