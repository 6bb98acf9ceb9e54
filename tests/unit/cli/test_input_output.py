"""Standard input as an image, the pager, trees in ASCII, and options that are misspelt."""

from __future__ import annotations

import bz2
import lzma
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from khotool.cli.main import main

ROOT = Path(__file__).parents[3]
IMAGE = ROOT / "fixtures/real/linux-7.3.4/image.elf.xz"
RECIPE = ROOT / "fixtures/good/7.2-everything/recipe.toml"


def test_dash_is_standard_input() -> None:
    """A pipe and a file at standard input are read as any capture."""
    words = [sys.executable, "-m", "khotool", "dump", "--summary", "-"]
    with IMAGE.open("rb") as file:
        one = subprocess.run(words, stdin=file, capture_output=True, check=True, cwd=ROOT)
    two = subprocess.run(words, input=IMAGE.read_bytes(), capture_output=True, check=True, cwd=ROOT)

    assert one.stdout == two.stdout
    assert b"7.3.4" in one.stdout


def test_dash_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard input is one input."""
    assert main(["diff", "-", "-"]) == 2
    assert "standard input can be read once" in capsys.readouterr().err


def test_bzip2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A capture may be compressed with bzip2; lz4 is named with what to do."""
    path = tmp_path / "image.bz2"
    path.write_bytes(bz2.compress(lzma.decompress(IMAGE.read_bytes())))
    assert main(["dump", "--summary", str(path)]) == 0
    assert "bzip2" in capsys.readouterr().out
    path.write_bytes(b"\x04\x22\x4d\x18" + bytes(64))
    assert main(["dump", str(path)]) == 3
    assert "compressed with lz4, which is not read; run 'lz4 -d'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["dump", "--sumary", "x"], "unknown option --sumary; did you mean '--summary'?"),
        (["formats", "shwo"], "unknown value 'shwo'; did you mean 'show'?"),
        (["formats", "show", "x", "--pagesize=4K"], "--pagesize; did you mean '--page-size'?"),
        (["check", "x", "--fail-on", "warn"], "unknown value 'warn'; did you mean 'warning'?"),
        (["dump", "a", "b", "c"], "unexpected argument 'c'"),
        (["completion", "csh"], "unknown value 'csh'"),
    ],
    ids=" ".join,
)
def test_did_you_mean(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is misspelt is answered with the nearest name."""
    assert main(words) == 2
    assert hint in capsys.readouterr().err


def test_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--ascii`` a tree has the same lines, drawn otherwise."""
    assert main(["dump", str(RECIPE), "/LUO"]) == 0
    drawn = capsys.readouterr().out
    assert main(["dump", str(RECIPE), "/LUO", "--ascii"]) == 0
    plain = capsys.readouterr().out

    assert plain == drawn.replace("├── ", "|-- ").replace("└── ", "`-- ").replace("│", "|")


def on_a_terminal(words: list[str], **environment: str) -> str:
    """What a command shows on a terminal of its own."""
    control, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "khotool", *words],
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", **environment},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(control, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert child.wait() == 0
    os.close(control)
    return shown.decode().replace("\r\n", "\n")


def test_pager(tmp_path: Path) -> None:
    """Text on a terminal goes to the pager, unless it is not wanted."""
    pager = "sed s/^/PAGED/"
    assert on_a_terminal(["rules"], KHOTOOL_PAGER=pager).startswith("PAGED")
    assert "PAGED" not in on_a_terminal(["rules", "--no-pager"], KHOTOOL_PAGER=pager)
