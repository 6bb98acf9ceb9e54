"""The kernel tree's own live update selftests, run in guests: before a handover, and after it."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from khotool.errors import InputError, KhotoolError
from khotool.lab import bridge
from khotool.lab.boot import Request, boot
from khotool.lab.capture import Wish, capture
from khotool.lab.cpio import FILE, Member
from khotool.lab.facts import Facts, is_fact, read_facts
from khotool.lab.kernelfile import EM_AARCH64, EM_X86_64, KernelFile, Machine
from khotool.lab.layout import fresh
from khotool.lab.preserving import FINALIZE
from khotool.lab.scenario import Scenario, initrd
from khotool.lab.session import command_line, run_guest
from khotool.records import dataclass, field, replace

FOLDER = "selftests"
"""In the initrd."""
NUMBERS = {Machine.X86_64: EM_X86_64, Machine.AARCH64: EM_AARCH64}
PASS, SKIP, NOT_RUN = 0, 4, 127
"""Exit statuses: KSFT_PASS, KSFT_SKIP, and that of a program that cannot be started."""
STAGED = b"[STAGE 2]"
"""A text of every test with a stage before the kexec and one after it; these take -s STAGE.
Every program of a tree has that of stage 1, from its library."""
RUN_INIT = "Run /init as init process"
"""The kernel's last line before any program's first."""
GIVES_UP = "Bail out! "
SHOWN = 40
"""Lines of a program's output that are kept."""


@dataclass(slots=True)
class Ran:
    """A selftest.

    Args:
        status: of the last stage that was run.
        stage: 1 or 2 of a test with stages, else 0.
        output: the last lines of what it printed.
        error: why it could not be run, else empty.
    """

    name: str
    status: int
    stage: int
    output: list[str] = field(default_factory=list)
    error: str = ""


def run_selftests(
    kernel: KernelFile, folder: str, wish: Wish, previous: Sequence[KernelFile] = ()
) -> Iterator[Ran]:
    """Run every selftest in a folder, each in guests of its own.

    Args:
        wish: how the guests are run.
        previous: kernels that run the first stage as well; what they hand over is converted.

    Raises:
        InputError: there is none.
    """
    programs = list(find_programs(folder, kernel.machine))
    if not programs:
        raise InputError(
            f"{folder}: no program for {kernel.machine}; build the selftests with make -C "
            "tools/testing/selftests/liveupdate LDFLAGS=-static"
        )
    members = tuple(
        Member(f"{FOLDER}/{path.name}", path.read_bytes(), FILE | 0o755) for path in programs
    )
    wish = replace(wish, extra=members)
    for path, member in zip(programs, members, strict=True):
        if STAGED not in member.data:
            yield tried(path.name, None, kernel, wish)
            continue
        for first in (kernel, *previous):
            ran = tried(path.name, first, kernel, wish)
            if first is not kernel:
                ran.name += f"-from-{first.release}"
                if ran.stage == 1 and ran.status != PASS and not ran.error:
                    # An earlier kernel may have narrower limits than these tests ask for.
                    ran.error = f"{first.release} does not pass stage 1{because(ran)}"
            yield ran


def because(ran: Ran) -> str:
    """What a program said as it gave up."""
    said = [line.removeprefix(GIVES_UP) for line in ran.output if line.startswith(GIVES_UP)]
    return f": {said[-1]}" if said else ""


def tried(name: str, first: KernelFile | None, kernel: KernelFile, wish: Wish) -> Ran:
    """A selftest, or why it could not be run.

    Args:
        first: runs the first stage; None for a test without stages.
    """
    try:
        return single(kernel, name, wish) if first is None else staged(first, kernel, name, wish)
    except KhotoolError as error:
        return Ran(name, NOT_RUN, 0, error=str(error))


def find_programs(folder: str, machine: Machine) -> Iterator[Path]:
    """Executable files of a machine in a folder.

    Raises:
        InputError: it cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; name the folder of the selftests") from None
    for name in names:
        path = Path(folder, name)
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or not mode & 0o111:
            continue
        head = path.read_bytes()[:20]
        if head[:5] == b"\x7fELF\2" and struct.unpack_from("<H", head, 18)[0] == NUMBERS[machine]:
            yield path


def single(kernel: KernelFile, name: str, wish: Wish) -> Ran:
    """A test that needs no handover."""
    scenario = Scenario()
    scenario.add("run", f"/{FOLDER}/{name}")
    scenario.add("end")
    files = initrd(kernel.machine, scenario, extra=wish.extra)
    layout = fresh(kernel, len(files), wish.memory)
    line = command_line(kernel, wish.append)
    done = run_guest(kernel, files, line, layout, wish.settings)
    return result(name, 0, read_facts(done.console), done.console)


def staged(first: KernelFile, kernel: KernelFile, name: str, wish: Wish) -> Ran:
    """A test with a stage before the handover and one after it.

    Args:
        first: runs the first stage; what it hands over is converted for another kernel.
    """
    before = Scenario()
    before.add("write", FINALIZE, 1)
    before.add("load")
    before.add("run", f"/{FOLDER}/{name}", "-s", 1)
    before.add("kexec")
    taken = capture(first, replace(wish, scenario=before))
    ran = result(name, 1, taken.facts, taken.run.console)
    if ran.status != PASS:
        return ran
    after = Scenario()
    after.add("run", f"/{FOLDER}/{name}", "-s", 2)
    after.add("end")
    image = bridge.from_segments(
        taken.segments, kernel.machine.value, taken.release, taken.page_size
    )
    if first is not kernel and kernel.release is not None:
        image = bridge.converted(image, kernel.release)
    request = Request(wish.settings, wish.memory, wish.append, scenario=after, extra=wish.extra)
    done = boot(image, kernel, request)
    return result(name, 2, done.facts, done.run.console)


def result(name: str, stage: int, facts: Facts, console: str) -> Ran:
    """What became of a stage."""
    status = facts.programs[-1][0] if facts.programs else NOT_RUN
    lines = [line.rstrip() for line in console[console.rfind(RUN_INIT) :].splitlines()[1:]]
    output = [line for line in lines if line and not is_fact(line)][-SHOWN:]
    error = "" if facts.programs else "the guest did not come to its end"
    if status == NOT_RUN and not error:
        error = "cannot be started in the guest; link it statically"
    return Ran(name, status, stage, output, error)
