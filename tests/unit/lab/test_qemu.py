"""QEMU as a process: nothing of it is left."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.lab import qemu
from khotool.lab.kernelfile import Machine
from khotool.lab.qemu import End, accelerators, failed, forget, program, run


def test_console_and_exit_code() -> None:
    seen: list[str] = []
    done = run(
        ["/bin/sh", "-c", "echo one; echo two >&2; printf three; exit 3"], [], 30, seen.append
    )

    assert (done.end, done.code) == (End.EXIT, 3)
    assert (done.console, done.errors, seen) == ("one\nthree", "two\n", ["one"])


def is_gone(pid: int) -> bool:
    """True for a process that is over, whether or not its parent has noticed."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


# Either end of a script that wraps QEMU: it waits, or it leaves QEMU alone with its pipes.
@pytest.mark.parametrize("rest", ["wait", "exit 0"])
def test_a_guest_that_hangs_is_killed(rest: str) -> None:
    done = run(["/bin/sh", "-c", f"sleep 600 & echo $$ $!; {rest}"], [], 0.5)

    assert (done.end, done.code) == (End.TIMEOUT, None)
    assert [is_gone(int(pid)) for pid in done.console.split()] == [True, True]


def test_a_guest_that_is_silent_and_stays_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "GRACE", 0.1)
    done = run(["/bin/sh", "-c", "echo $$; exec >&- 2>&-; sleep 600"], [], 30)

    assert (done.end, done.code) == (End.EXIT, None)
    assert is_gone(int(done.console))


def test_a_guest_that_says_it_is_dead_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "SILENCE", 0.1)
    done = run(["/bin/sh", "-c", "echo dead; exec sleep 600"], [], 30, dead=re.compile(b"dead"))

    assert (done.end, done.code, done.console) == (End.DEAD, None, "dead\n")
    assert done.seconds < 10


def test_a_guest_without_end_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "MOST_CONSOLE", 1 << 16)

    assert len(run(["/bin/sh", "-c", "yes"], [], 1).console) <= 1 << 18


def test_program_that_does_not_start() -> None:
    with pytest.raises(InputError, match="does not start"):
        run(["/nowhere/qemu"], [], 1)


@pytest.mark.parametrize(
    ("machine", "package"),
    [(Machine.X86_64, "qemu-system-x86"), (Machine.AARCH64, "qemu-system-arm")],
)
def test_missing_qemu_names_its_package(
    machine: Machine, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(InputError, match=f"it is in package {package}$"):
        program(machine)


def test_accelerator_that_fails_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "has_kvm", lambda machine: True)
    monkeypatch.setattr(qemu, "_broken", set())

    assert accelerators(Machine.X86_64) == ["kvm", "tcg"]
    forget(Machine.X86_64, "kvm")
    assert accelerators(Machine.X86_64) == ["tcg"]
    assert accelerators(Machine.X86_64, "kvm") == ["kvm"]


def test_exit_codes_of_qemu_itself() -> None:
    assert [failed(code) for code in (0, 1, 33, -6, None)] == [False, True, False, True, False]


WRAPPED, ALONE = "sleep 600 & echo $$ $!; wait", "echo $$ $$; exec sleep 600"


@pytest.mark.parametrize(
    ("number", "script"),
    [
        (signal.SIGINT, WRAPPED),
        (signal.SIGTERM, WRAPPED),
        (signal.SIGHUP, WRAPPED),
        # After this only the kernel can end the child, and it ends no child of a child.
        (signal.SIGKILL, ALONE),
    ],
)
def test_interrupt_leaves_no_process(number: signal.Signals, script: str) -> None:
    """khotool is interrupted while a guest runs: the guest is gone with it."""
    text = f"""
from khotool.lab.qemu import run
run(["/bin/sh", "-c", "{script}"], [], 60, lambda line: print(line, flush=True))
"""
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        # The guest is there as soon as it says something; it ends by itself within a minute.
        pids = process.stdout.readline().split()
        process.send_signal(number)
        assert process.wait(30) != 0
    assert [is_gone(int(pid)) for pid in pids] == [True, True]


def test_signals_keep_their_meaning() -> None:
    """A handler of the program's own says what TERM is; under nohup, HUP is nothing."""
    seen: list[int] = []
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def hit(line: str) -> None:
        signal.raise_signal(signal.SIGHUP)
        seen.append(0)
        signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(["/bin/sh", "-c", "echo here; exec sleep 600"], [], 60, hit)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    assert seen == [0, signal.SIGTERM]
