"""A mapped file that is cut shorter while it is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
