"""The runner itself: limits trip, faults are told, made smaller and written down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.discover import Harness, harness_of, load, names
from tests.fuzz.guard import ROOT, attempt
from tests.fuzz.minimise import minimise

GREEDY = {
    "an array of zeros that is never touched": "np.zeros(1 << 28)",
    "an array of ones": "np.ones(1 << 28)",
    "small objects": "[bytes(1000) for _ in range(2_000_000)]",
    "bytes": "bytes(2 << 30)",
    "a string that doubles": "'x' * (1 << 31)",
    "a buffer of numpy": "np.frombuffer(bytearray(3 << 29), np.uint8).copy()",
}
CHILD = """
import sys
import numpy as np
from tests.fuzz.guard import attempt
held = np.ones({before})
fault = attempt(lambda data: {what} and None, b"")
print("nothing" if fault is None else fault.kind)
"""


def outcome(what: str, before: int = 1) -> str:
    """What the guard says of an expression, in a process of its own."""
    command = [sys.executable, "-c", CHILD.format(what=f"({what}) is None", before=before)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", GREEDY)
def test_greed_is_a_fault(name: str) -> None:
    """Taking two gigabytes in any way raises MemoryError, which no input may."""
    assert outcome(GREEDY[name]) == "MemoryError"


def test_less_than_the_limit_is_no_fault() -> None:
    """What the process held before does not count, and 900 MiB are allowed."""
    assert outcome("np.empty(900 << 17)", before=200 << 17) == "nothing"


def test_a_hang_is_a_fault() -> None:
    """An endless loop ends, though the program swallows every exception of its own kind."""

    def hangs(_: bytes) -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    fault = attempt(hangs, b"", seconds=0.2)
    assert fault is not None
    assert fault.slug == "tooslow"


def test_minimise_keeps_what_matters() -> None:
    """Of two thousand bytes the two that matter are left, others before them as zeros at most."""
    data = bytes(range(1, 200)) * 10 + b"KEY" + b"x" * 50 + b"!" + bytes(20)
    small = minimise(data, lambda candidate: b"KEY" in candidate and b"!" in candidate[4:])
    assert len(small) <= 6
    assert b"KEY" in small


def test_minimise_is_bounded() -> None:
    """It stops after the tries that it has."""
    calls = 0

    def fails(_: bytes) -> bool:
        nonlocal calls
        calls += 1
        return False

    assert minimise(bytes(range(256)) * 40, fails, tries=50) == bytes(range(256)) * 40
    assert calls == 50


def breaks(data: bytes) -> None:
    """A harness with a fault."""
    if b"\xff" in data:
        raise KeyError("no such key")


def test_a_fault_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the exception, the file, and where the file belongs."""
    harness = Harness("fdt", breaks, (bytes(500),), "binary", 2000)
    monkeypatch.setattr(run, "load", lambda name: harness)
    assert run.main(["--worker", "--harness", "fdt", "--faults", str(tmp_path)]) == 1
    file, whole = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    assert file.read_bytes() == b"\xff"
    assert b"\xff" in whole.read_bytes()
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert f"fixtures/regressions/{file.name}" in said
    assert harness_of(file) == "fdt"
    assert run.main(["--harness", "fdt", "--input", str(file)]) == 1


def test_a_process_that_dies_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The input that a child last began is written down."""

    class Child:
        def __init__(self, command: list[str], *, cwd: Path, env: dict[str, str]) -> None:
            (Path(env["TMPDIR"]) / run.STATE).write_text("1")

        def wait(self, _: float) -> int:
            return -11

    monkeypatch.setattr("tests.fuzz.run.subprocess.Popen", Child)
    assert run.main(["--harness", "path", "--faults", str(tmp_path)]) == 1
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == load("path").seeds[0]
    assert "-11" in capsys.readouterr().err


def test_rounds_have_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --seconds every round has the next seed, and every harness its turn."""
    seen: list[tuple[str, int]] = []

    def watch(name: str, options: object, seed: int) -> tuple[int, int]:
        seen.append((name, seed))
        return 0, 7

    monkeypatch.setattr(run, "watch", watch)
    rounds = iter(range(3))
    monkeypatch.setattr(
        "tests.fuzz.run.time.monotonic",
        lambda: 0.0 if len(seen) < 3 * len(names()) else float(100 + next(rounds)),
    )
    assert run.main(["--seconds", "25", "--seed", "3", "--jobs", "1"]) == 0
    assert seen == [(name, seed) for seed in (3, 4, 5) for name in names()]


def test_a_run_goes_on_where_the_last_one_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Totals are kept after every harness; what a round has done is not done again."""
    seen: list[tuple[str, int]] = []

    def watch(name: str, options: object, seed: int) -> tuple[int, int]:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append((name, seed))
        return int(name == "fdt"), 10

    monkeypatch.setattr(run, "watch", watch)
    words = ["--state", str(tmp_path / "state"), "--jobs", "1", "--harness", "elf"]
    words += ["--harness", "fdt", "--harness", "lime", "--harness", "path"]
    with pytest.raises(KeyboardInterrupt):
        run.main(words)
    seen.clear()
    assert run.main(words) == 0
    assert seen == [("path", 1)]
    assert "40 inputs of 4 harnesses, 1 faults" in capsys.readouterr().out
    seen.clear()
    assert run.main([*words[:4], "--harness", "elf"]) == 0
    assert seen == [("elf", 2)]
