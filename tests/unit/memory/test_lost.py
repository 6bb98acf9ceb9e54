"""A mapped file that is cut shorter while it is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from khotool.memory import lost

CODE = """
import sys
from pathlib import Path
from khotool.memory import lost
from khotool.memory.atomic import replacing
from khotool.memory.source import open_source
path, out = sys.argv[1:]
lost.end_with_a_line()
space = open_source(path, base=0)
assert bytes(space.read(0, 4)) == b"abcd"
with replacing(out) as file:
    file.write(b"half")
    Path(path).write_bytes(b"abcd")
    space.read(1 << 20, 4096).tobytes()
"""


def test_a_file_that_is_cut_ends_in_one_line(tmp_path: Path) -> None:
    """Exit code 3, one line with the file's name, and no half-written output."""
    path, out = tmp_path / "memory.raw", tmp_path / "out"
    path.write_bytes(b"abcd" + bytes((2 << 20) - 4))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path), str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr == (
        f"khotool: error: {path}: became shorter while it was read; copy or capture it again\n"
    )
    assert [item.name for item in tmp_path.iterdir()] == ["memory.raw"]


def test_files_that_change_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth, replacement, removal and writing in place, each in a sentence; once."""
    monkeypatch.setattr(lost, "_wanted", True)
    monkeypatch.setattr(lost, "_opened", {})
    names = ("same", "grown", "replaced", "removed", "written")
    for name in names:
        (tmp_path / name).write_bytes(bytes(100))
        lost.opened(tmp_path / name, os.stat(tmp_path / name))
    with (tmp_path / "grown").open("ab") as file:
        file.write(bytes(28))
    (tmp_path / "new").write_bytes(bytes(100))
    (tmp_path / "new").replace(tmp_path / "replaced")
    (tmp_path / "removed").unlink()
    os.utime(tmp_path / "written", ns=(1, 1))
    told = list(lost.changes())
    assert [line.removeprefix(f"{tmp_path}/").split(" while")[0] for line in told] == [
        "grown: grew by 28 bytes",
        "replaced: was replaced",
        "removed: was removed",
        "written: was written to",
    ]
    assert not list(lost.changes())


def test_a_library_keeps_no_names(tmp_path: Path) -> None:
    """Only the program asks for it."""
    lost.opened(tmp_path, os.stat(tmp_path))
    assert not list(lost.changes())
