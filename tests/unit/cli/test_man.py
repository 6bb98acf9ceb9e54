"""Manual pages: one for each command, with every option, and without a complaint of man."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from khotool.cli.commands import available
from khotool.cli.main import main


def test_pages(tmp_path: Path) -> None:
    """There is a page for khotool and one for each command, with options and actions."""
    folder = tmp_path / "man1"
    assert main(["man", str(folder), "-q"]) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"khotool.1", *(f"khotool-{command.name}.1" for command in available())}
    dump = (folder / "khotool-dump.1").read_text()
    assert dump.startswith('.TH "KHOTOOL\\-DUMP" 1')
    assert ".B \\-\\-depth N\n" in dump
    assert '.SS "import"' in (folder / "khotool-formats.1").read_text()
    if shutil.which("man"):
        for path in [folder / "khotool.1", folder / "khotool-formats.1"]:
            done = subprocess.run(
                ["man", "--warnings", "-l", path], capture_output=True, check=True
            )
            assert done.stderr == b"", path.name


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that cannot be made is an error."""
    (tmp_path / "file").touch()
    assert main(["man", str(tmp_path / "file")]) == 3
    assert "name a folder that can be written" in capsys.readouterr().err
