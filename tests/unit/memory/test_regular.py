"""Files that a user names: regular ones, of a size that can be held."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.memory.regular import open_regular, read_regular


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    """All of it, up to the limit itself."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    assert read_regular(path, limit=5) == b"12345"
    with open_regular(path) as file:
        assert file.read() == b"12345"


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    """By its size, and by its bytes where it says that it has none."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    with pytest.raises(InputError, match="larger than 4 bytes"):
        read_regular(path, limit=4, what="--baseline")


def test_what_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    """A missing file, a folder, and a pipe, with the option that named them."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(InputError, match=r"--policy .*No such file.*; check the path"):
        read_regular(tmp_path / "none", what="--policy", advice="check the path")
    with pytest.raises(InputError, match="directory"):
        read_regular(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        read_regular(pipe)


def test_a_file_that_becomes_a_pipe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened is looked at again: it may be a different file by then."""
    path, pipe = tmp_path / "file", tmp_path / "pipe"
    path.write_bytes(b"12345")
    os.mkfifo(pipe)
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda name: stat(path if name == os.fspath(pipe) else name))

    with pytest.raises(InputError, match="not a regular file"):
        open_regular(pipe)
