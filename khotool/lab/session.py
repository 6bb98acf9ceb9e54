"""One run of a guest: memory, kernel, QEMU, console."""

from __future__ import annotations

from collections.abc import Callable

from khotool.errors import InputError
from khotool.lab.console import DEAD
from khotool.lab.guest import Start
from khotool.lab.kernelfile import KernelFile
from khotool.lab.layout import Layout
from khotool.lab.machines import board
from khotool.lab.qemu import End, Run, Settings, accelerators, failed, forget, program, run
from khotool.lab.ram import Ram, open_ram

COMMON = "nokaslr panic=-1 oops=panic kho=on liveupdate=on printk.devkmsg=on"
"""Words of every command line: what is handed over is on, and a kernel that faults is over."""
QUICK = "lpj=1000000 pty.legacy_count=0 i8042.nokbd i8042.noaux"
"""No loop is timed, no 256 terminals are made and no keyboard is looked for."""


def command_line(kernel: KernelFile, *words: str) -> str:
    """A kernel's command line; the user's words come last, so that they win."""
    machine = board(kernel.machine)
    parts = [machine.CONSOLE, COMMON, QUICK, machine.RESTART, *words]
    return " ".join(part for part in parts if part)


def run_guest(
    kernel: KernelFile,
    initrd: bytes,
    line: str,
    layout: Layout,
    settings: Settings,
    *,
    before: Callable[[Ram], None] | None = None,
    after: Callable[[Ram, Run], None] | None = None,
) -> Run:
    """Start a kernel and wait until the guest is over.

    Args:
        line: the kernel's command line.
        before: called with the RAM before the kernel is put into it.
        after: called with the RAM as the guest left it.

    Raises:
        InputError: QEMU is missing or does not run, or there is no room for the RAM file.
    """
    machine = board(kernel.machine)
    where = program(kernel.machine)
    for speed in accelerators(kernel.machine, settings.accelerator):
        with open_ram(layout.banks, settings.folder) as ram:
            if before is not None:
                before(ram)
            start = Start(kernel, initrd, line, layout.room, layout.handed)
            try:
                with machine.launch(ram, start, where, speed) as launch:
                    done = run(
                        *(launch.command, launch.inherited, settings.timeout, settings.watch),
                        dead=DEAD,
                    )
            except ValueError as error:
                raise InputError(f"{kernel.path}: {error}; raise --memory") from None
            if done.console or done.end is End.TIMEOUT or not failed(done.code):
                if after is not None:
                    after(ram, done)
                return done
        # KVM can be there and not work, as in a guest of a guest.
        forget(kernel.machine, speed)
    said = done.errors.strip().splitlines()
    raise InputError(f"{where}: {said[-1] if said else f'exit code {done.code}'}")
