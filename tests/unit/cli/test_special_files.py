"""Pipes, devices and files without an end in the place of every file: one line, at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from khotool.cli.main import main

SECONDS = 10
FIXTURES = Path(__file__).parents[3] / "fixtures"
IMAGE = str(FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz")
#: FILE is the special file, IMAGE a capture, OUT a path where nothing is, DIR a folder with FILE.
COMMANDS = (
    "dump FILE",
    "check FILE",
    "check --baseline FILE IMAGE",
    "diff IMAGE FILE",
    "diff FILE IMAGE",
    "pages FILE",
    "identify FILE 0x0",
    "hex FILE 0x0",
    "extract --all -o OUT FILE",
    "pack -o OUT FILE",
    "convert --to 7.3 -o OUT FILE",
    "report -o OUT FILE",
    "encode -o OUT FILE",
    "fuzz -n 1 -o OUT FILE",
    "formats check FILE",
    "formats btf FILE",
    "formats versions FILE",
    "formats import FILE kho_vmalloc",
    "formats list --formats DIR",
    "dump --debugfs FILE IMAGE",
    "fixture build FILE -o OUT",
    "formats diff FILE memfd-v2",
    "check --kernel FILE IMAGE",
    "check --policy FILE IMAGE",
    "check --suppress FILE IMAGE",
    "boot --kernel FILE IMAGE",
    "capture --kernel FILE -o OUT",
    "test-kernel FILE",
    "fuzz --boot FILE -o OUT IMAGE",
)


@contextmanager
def at_once() -> Iterator[None]:
    """Fail instead of waiting for somebody to write."""

    def late(_number: int, _frame: object) -> None:
        raise AssertionError(f"still waiting after {SECONDS} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def pipe(folder: Path) -> Path:
    """A pipe that nobody writes to."""
    made = folder / "model.toml"
    os.mkfifo(made)
    return made


def link(folder: Path, target: str) -> Path:
    """A link to a file of the system."""
    if not os.path.exists(target):
        pytest.skip(f"no {target} here")
    made = folder / "model.toml"
    made.symlink_to(target)
    return made


SPECIAL: dict[str, Callable[[Path], Path]] = {
    "pipe": pipe,
    "device": lambda folder: link(folder, "/dev/zero"),
    "kernel-log": lambda folder: link(folder, "/proc/kmsg"),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("command", COMMANDS)
def test_special_files(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command refuses each with one line that names it, and writes nothing."""
    file = SPECIAL[kind](tmp_path)
    out = tmp_path / "out"
    words = {"FILE": str(file), "IMAGE": IMAGE, "OUT": str(out), "DIR": str(tmp_path)}
    with at_once():
        code = main([words.get(word, word) for word in command.split()])
    stderr = capsys.readouterr().err
    assert code in (2, 3), stderr
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("khotool: error: ")
    assert file.name in stderr
    assert not out.exists() or not any(out.iterdir())


def test_folders_that_lead_in_circles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Links to folders are not followed, nor links to files elsewhere."""
    folder = tmp_path / "formats"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).symlink_to(folder)
    with at_once():
        assert main(["formats", "check", str(folder)]) == 0
    assert "0 definitions checked" in capsys.readouterr().out
    (tmp_path / "elsewhere.toml").write_text("id = 1\n", encoding="utf-8")
    (folder / "x.toml").symlink_to(tmp_path / "elsewhere.toml")
    assert main(["formats", "list", "--formats", str(folder)]) == 3
    assert "x.toml: a link out of its folder" in capsys.readouterr().err
