"""--limit: what holds for a whole command, and what is printed of it."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from khotool.cli.budget import within
from khotool.cli.main import main
from khotool.cli.streams import Stopped
from khotool.limits import Limits

IMAGE = str(Path(__file__).parents[3] / "fixtures" / "real" / "linux-7.3.4" / "image.elf.xz")


def test_show_prints_every_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, with what holds by default."""
    assert main(["dump", "--limit", "show", IMAGE]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["nodes"] == str(Limits().nodes)
    assert rows["seconds"] == "no limit"
    assert set(rows) == {
        *("nodes", "depth", "chain", "bytes", "scan"),
        *("seconds", "memory", "written"),
    }


def test_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that grows too large is not there, and one line says why."""
    out = tmp_path / "out.elf"
    assert main(["pack", "--limit", "written=4K", IMAGE, "-o", str(out)]) == 3
    assert "File too large" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["pack", "--limit", "written=100M", IMAGE, "-o", str(out)]) == 0


def test_memory(tmp_path: Path) -> None:
    """Tables of eight million rows do not fit into what is allowed.

    In a process of its own: memory that runs out is missing in every thread, also in those of the
    test runner.
    """
    model = tmp_path / "model.toml"
    file = '[[session]]\nname = "s"\n[[session.file]]\ntoken = 1\nsize = "32G"\n'
    model.write_text(f'abi = "7.2"\n{file}', encoding="utf-8")
    words = ["dump", "--limit", "memory=160M,bytes=1G", str(model)]
    done = subprocess.run(
        [sys.executable, "-m", "khotool", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert "out of memory" in done.stderr
    assert "Traceback" not in done.stderr


def test_seconds() -> None:
    """The processor's time, not the clock's; what held before holds again."""
    before = signal.getsignal(signal.SIGPROF), resource.getrlimit(resource.RLIMIT_DATA)

    def busy() -> None:
        end = time.process_time() + 5
        while time.process_time() < end:
            pass

    with pytest.raises(Stopped, match="raise --limit seconds=N"), within(Limits(seconds=1)):
        busy()
    assert (signal.getsignal(signal.SIGPROF), resource.getrlimit(resource.RLIMIT_DATA)) == before


def test_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no limit, and a number that is none."""
    for text in ("speed=1", "nodes=0", "nodes=x", "nodes"):
        assert main(["dump", "--limit", text, IMAGE]) == 2
        assert "expected" in capsys.readouterr().err


def test_encode_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest's contents may be larger than what may be written."""
    model = tmp_path / "model.toml"
    file = '[[session]]\nname = "s"\n[[session.file]]\ntoken = 1\nsize = "1M"\ncontents = "zero"\n'
    model.write_text(f'abi = "7.2"\n{file}', encoding="utf-8")
    out = tmp_path / "image.elf"
    assert main(["encode", "--limit", "written=64K", str(model), "-o", str(out)]) == 3
    assert "File too large" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [model]
    assert main(["encode", "--limit", "memory=1M", str(model), "-o", str(out)]) == 2
    assert "khotool itself needs 64M" in capsys.readouterr().err


def test_seconds_end_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """Time that is used up is no error of one image, after which the next one is checked."""
    assert main(["check", "--limit", "seconds=1", *[IMAGE] * 400]) == 3
    assert "stopped after 1 s of CPU time" in capsys.readouterr().err
