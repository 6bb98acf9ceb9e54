"""Streams that are full or closed, and signals: one line, a right exit code, nothing left over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from khotool.cli import main as program

IMAGE = str(Path(__file__).parents[3] / "fixtures/real/linux-7.3.4/image.elf.xz")
KHOTOOL = f"{sys.executable} -m khotool"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("words", ["--help", "--version", "rules", f"dump --json {IMAGE}"])
def test_full_disk(words: str) -> None:
    """Output that does not fit is exit code 3 and one line."""
    done = shell(f"{KHOTOOL} {words} > /dev/full")
    assert done.returncode == 3
    assert done.stderr == (
        "khotool: error: standard output: cannot be written: No space left on device\n"
    )


@pytest.mark.parametrize("words", ["--help", "--version", f"dump {IMAGE}"])
def test_closed_output(words: str) -> None:
    """A closed standard output is exit code 3 and one line, and no file takes its number."""
    done = shell(f"{KHOTOOL} {words} >&-")
    assert done.returncode == 3
    assert done.stderr.startswith("khotool: error: standard output: cannot be written: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_closed_messages(end: str) -> None:
    """Messages that cannot be written change neither answer nor exit code."""
    done = shell(f"{KHOTOOL} dump {IMAGE} {end}")
    assert done.returncode == 0
    assert "vm-alpha" in done.stdout
    assert shell(f"{KHOTOOL} dump nowhere {end}").returncode == 3


def start(folder: Path) -> subprocess.Popen[str]:
    words = ["fuzz", IMAGE, "-n", "5000", "-o", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "khotool", *words], stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 30
    while not (folder / "mutant-00003.elf").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "terminated"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_signals(number: signal.Signals, code: int, said: str, tmp_path: Path) -> None:
    """TERM, HUP and INT leave no temporary file, and say what was written."""
    process = start(tmp_path)
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    assert err.endswith(f"khotool: {said}\n")
    names = {path.name for path in tmp_path.iterdir()}
    listed = {row["file"] for row in json.loads((tmp_path / "manifest.json").read_text())["images"]}
    assert names - {"manifest.json"} >= listed
    assert not [name for name in names if name.endswith(".tmp")]


def test_dropped_signal_comes_again() -> None:
    """A TERM whose exception a finalizer drops is not lost."""
    code = """
import os, signal, sys, time
from khotool.cli import streams
streams.PATIENCE = 0.05
streams.prepare()
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
try:
    Finalized()
    time.sleep(10)
except streams.Terminated:
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"Exception ignored" in done.stderr
    assert done.returncode == 7


def test_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    """Under nohup a hangup does nothing."""
    done = shell(
        f"trap '' HUP; {KHOTOOL} fuzz {IMAGE} -n 20 -o {tmp_path}/out & "
        "sleep 1; kill -HUP $!; wait $!"
    )
    assert done.returncode == 0, done.stderr


def test_early_interrupt() -> None:
    """The program's module imports nothing that takes time before an interrupt is met."""
    code = (
        "import sys; before = set(sys.modules); import khotool.cli.main; "
        "print([m for m in sys.modules if m.startswith('khotool')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.findall(r"'([^']+)'", done.stdout) == ["khotool", "khotool.cli", "khotool.cli.main"]


def test_where_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address for bugs is that of the package's metadata."""
    from email.message import Message
    from importlib import metadata

    found = Message()
    found["Project-URL"] = "Issues, https://example.org/issues"
    monkeypatch.setattr(metadata, "metadata", lambda _: found)
    assert program._issues() == "https://example.org/issues"
