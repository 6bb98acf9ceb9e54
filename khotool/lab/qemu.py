"""QEMU as a process: started, watched, and gone when the experiment is over."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from platform import machine as host_machine
from types import FrameType
from typing import Any

from khotool.errors import InputError
from khotool.lab.kernelfile import Machine
from khotool.records import dataclass, field

PROGRAMS = {
    Machine.X86_64: ("qemu-system-x86_64", "qemu-system-x86"),
    Machine.AARCH64: ("qemu-system-aarch64", "qemu-system-arm"),
}
"""Program, and the package of Debian and Ubuntu that has it."""
MOST_CONSOLE = 16 << 20
"""Bytes of console that are kept; a guest can print without end."""
KVM_CREATE_VM = 0xAE01
SILENCE = 1.0
"""Seconds without a word after which a guest that has said that it is dead is ended."""
GRACE = 2.0
"""Seconds that QEMU has to leave once it was asked to."""


class End(StrEnum):
    """How a run of a guest ended."""

    EXIT = "exit"
    TIMEOUT = "timeout"
    DEAD = "dead"


@dataclass(slots=True)
class Run:
    """A run of a guest.

    Args:
        console: all that came over the serial line, as text.
        code: QEMU's exit code; None after a timeout.
        errors: what QEMU itself said.
    """

    end: End
    console: str
    seconds: float
    code: int | None = None
    errors: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """How guests are run.

    Args:
        timeout: seconds for one run.
        folder: of the RAM files; None for that of temporary files.
        accelerator: ``kvm`` or ``tcg``; None for the first that works.
        watch: called with each line of the console as it comes.
    """

    timeout: float = 120.0
    folder: str | None = None
    accelerator: str | None = None
    watch: Callable[[str], None] | None = None


def program(machine: Machine) -> str:
    """Path of QEMU for a machine.

    Raises:
        InputError: it is not installed.
    """
    name, package = PROGRAMS[machine]
    found = shutil.which(name)
    if found is None:
        raise InputError(f"{name} is not installed; it is in package {package}")
    return found


_broken: set[tuple[Machine, str]] = set()


def accelerators(machine: Machine, wanted: str | None = None) -> list[str]:
    """``kvm`` where the host may run this machine with it, and ``tcg``; the best first."""
    if wanted is not None:
        return [wanted]
    fast = ["kvm"] if (machine, "kvm") not in _broken and has_kvm(machine) else []
    return [*fast, "tcg"]


def failed(code: int | None) -> bool:
    """True for an exit code of QEMU that says it did not work, not that the guest is over."""
    return code is not None and (code < 0 or code == 1)


def forget(machine: Machine, accelerator: str) -> None:
    """Do not try an accelerator again that did not work."""
    _broken.add((machine, accelerator))


def has_kvm(machine: Machine) -> bool:
    """True if the host lets this user make virtual machines of this kind."""
    if host_machine() != machine.value:
        return False
    try:
        handle = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(fcntl.ioctl(handle, KVM_CREATE_VM, 0))
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def run(
    command: Sequence[str],
    inherited: Sequence[int],
    timeout: float,
    watch: Callable[[str], None] | None = None,
    dead: re.Pattern[bytes] | None = None,
) -> Run:
    """Run QEMU until it exits or the time is over; it never outlives the call.

    Args:
        inherited: file descriptors that the command names as /proc/self/fd/N.
        timeout: seconds.
        watch: called with each line of the console.
        dead: what a guest says that stands still from then on, without an exit.

    Raises:
        InputError: QEMU does not start.
    """
    begin = time.monotonic()
    with _process(command, inherited) as process:
        watcher = _Watcher(process, watch, dead)
        try:
            end = watcher.follow(begin + timeout)
        finally:
            watcher.close()
        code = _code(process) if end is End.EXIT else None
    console = watcher.console.decode("utf-8", "replace")
    errors = watcher.errors.decode("utf-8", "replace")
    return Run(end, console, time.monotonic() - begin, code, errors)


def _code(process: subprocess.Popen[bytes]) -> int | None:
    """Exit code of a process that writes no more; None for one that stays all the same."""
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        return None


@contextlib.contextmanager
def _process(command: Sequence[str], inherited: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in a session of its own: a Ctrl-C reaches khotool alone, which then ends it."""
    with _Signals() as signals:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=inherited,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            raise InputError(f"{command[0]}: does not start: {error.strerror}") from None
        try:
            signals.started()
            yield process
        finally:
            # QEMU may be the child of a script that wraps it. A group is there until its leader
            # has been waited for.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[], None]:
    """What a child does before its program: have the kernel end it with khotool, even by SIGKILL.

    The library is loaded here, because a child between fork and exec may not do much.
    """
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


class _Signals:
    """SIGTERM and SIGHUP end a run as Ctrl-C does, and none of them while the guest is made.

    What the signal is to do after that stays the business of its handler, if it has one.
    """

    def __init__(self) -> None:
        self.starting = True
        self.waiting = 0
        self.old: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            # Only the main thread may set handlers; another one is not interrupted.
            with contextlib.suppress(ValueError):
                self.old[number] = signal.signal(number, self.leave)
        return self

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the run, or remember that it is to be."""
        if self.starting:
            self.waiting = number
            return
        handler = self.old.get(number)
        if callable(handler):
            handler(number, frame)
        raise KeyboardInterrupt(number)

    def started(self) -> None:
        """The guest is there, and will be ended with the run."""
        self.starting = False
        if self.waiting:
            self.leave(self.waiting, None)

    def __exit__(self, *error: object) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class _Watcher:
    """Reads what a process writes until it ends."""

    process: subprocess.Popen[bytes]
    watch: Callable[[str], None] | None
    dead: re.Pattern[bytes] | None
    console: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)
    told: int = 0
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def __post_init__(self) -> None:
        for pipe, target in (
            (self.process.stdout, self.console),
            (self.process.stderr, self.errors),
        ):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, selectors.EVENT_READ, target)

    def follow(self, deadline: float) -> End:
        while self.selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return End.TIMEOUT
            ready = self.selector.select(min(left, SILENCE))
            if not ready and self.dead is not None and self.dead.search(self.console):
                return End.DEAD
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                if not data:
                    self.selector.unregister(key.fileobj)
                elif len(key.data) < MOST_CONSOLE:
                    key.data.extend(data)
            self.tell()
        return End.EXIT

    def tell(self) -> None:
        """Hand on complete lines of the console."""
        if self.watch is None:
            return
        while (end := self.console.find(b"\n", self.told)) >= 0:
            self.watch(self.console[self.told : end].decode("utf-8", "replace").rstrip("\r"))
            self.told = end + 1

    def close(self) -> None:
        self.selector.close()
