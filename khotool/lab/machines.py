"""Machines by the kernel they run: the same functions for each."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, cast

from khotool.lab import aarch64, x86_64
from khotool.lab.guest import Launch, Start
from khotool.lab.kernelfile import KernelFile, Machine
from khotool.lab.ram import Bank, Ram


class Board(Protocol):
    """What a module of a machine has.

    ``BASE`` is the physical address of the first byte of RAM; ``CONSOLE`` and ``RESTART`` are
    words for the kernel's command line.
    """

    BASE: int
    CONSOLE: str
    RESTART: str

    def banks(self, size: int) -> list[Bank]:
        """RAM of ``size`` bytes."""

    def alignment(self, kernel: KernelFile) -> int:
        """Alignment in bytes of the memory that a kernel is loaded to."""

    def room_needed(self, kernel: KernelFile) -> int:
        """Bytes that a kernel takes where it is loaded."""

    def launch(
        self, ram: Ram, start: Start, program: str, accelerator: str
    ) -> AbstractContextManager[Launch]:
        """QEMU's command line for a guest, whose memory it loads."""


def board(machine: Machine) -> Board:
    """The machine that runs kernels of a kind."""
    return cast(Board, {Machine.X86_64: x86_64, Machine.AARCH64: aarch64}[machine])
