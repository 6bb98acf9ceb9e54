"""Flags of commands that run guests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import number

if TYPE_CHECKING:
    from khotool.lab.qemu import Settings

TIMEOUT = 120.0
LEAST_MEMORY = 64 << 20


def memory(text: str) -> int:
    """Bytes of RAM: whole MiB."""
    try:
        value = number(text)
    except ValueError:
        value = 0
    if value < LEAST_MEMORY or value % (1 << 20):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a size of RAM such as 512M")
    return value


def seconds(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds")
    return value


GUEST = f"""
--memory SIZE          RAM of the guest, such as 1G (default: as much as is needed)
--append ARGS = ""     append to the kernel's command line
--timeout S = {TIMEOUT:.0f}  seconds after which a guest counts as hung (default: {TIMEOUT:.0f})
--console FILE         write the console of the guests to FILE; - shows it
--ram-dir DIR          directory for the guest's memory, a sparse file (default: in memory up to 512
                       MiB)
--accel kvm|tcg        accelerator of QEMU (default: the first that works)
"""


def add_guest_options(parser: argparse.ArgumentParser, *, initrd: bool = True) -> None:
    """Declare the flags for running guests.

    Args:
        initrd: with ``--initrd``.
    """
    group = parser.add_argument_group("the guest")
    if initrd:
        declare(group, "--initrd FILE  use your own initrd instead of khotool's agent")
    declare(group, GUEST, memory=memory, timeout=seconds)


@contextmanager
def guest_settings(args: argparse.Namespace) -> Iterator[Settings]:
    """The settings of guests from the flags.

    What they print is written to the file of ``--console`` at the end, also when the command
    fails: then it is needed most.
    """
    from khotool.lab.qemu import Settings

    if args.console in (None, "-"):
        watch = _show if args.console == "-" else None
        yield Settings(args.timeout, args.ram_dir, args.accel, watch)
        return
    lines: list[str] = []
    try:
        yield Settings(args.timeout, args.ram_dir, args.accel, lines.append)
    finally:
        from khotool.memory.atomic import replacing

        with replacing(args.console) as file:
            file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def own_initrd(args: argparse.Namespace) -> bytes | None:
    """The contents of the file of ``--initrd``; None without the flag."""
    from khotool.memory.regular import read_regular

    if args.initrd is None:
        return None
    return read_regular(args.initrd, what="--initrd", advice="name an initrd that exists")


def _show(line: str) -> None:
    from khotool.render.text import visible

    print(visible(line), file=sys.stderr, flush=True)
