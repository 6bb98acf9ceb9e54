"""A guest's RAM: a sparse file without a name, which QEMU maps and khotool reads and writes."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from khotool.errors import InputError
from khotool.records import dataclass

MOST_IN_MEMORY = 512 << 20
"""Bytes of RAM that a guest has without a file on a disk."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Physical memory of a guest.

    Args:
        start: physical address of the first byte.
        size: bytes.
        offset: of the first byte in the file.
    """

    start: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        """Physical address after the last byte."""
        return self.start + self.size


class Ram:
    """The memory of one guest; see ``open_ram``.

    Args:
        handle: file descriptor; QEMU gets it as it is.
        banks: ascending.
    """

    def __init__(self, handle: int, banks: list[Bank]) -> None:
        self.handle = handle
        self.banks = banks
        self.size = sum(bank.size for bank in banks)
        self.map = mmap.mmap(handle, self.size)

    def holds(self, address: int, size: int) -> bool:
        """True if the guest has all of a range of physical memory."""
        return any(b.start <= address and address + size <= b.end for b in self.banks)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes at a physical address.

        Raises:
            ValueError: the guest does not have that memory.
        """
        at, size = self._offset(address, memoryview(data).nbytes)
        self.map[at : at + size] = data

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a physical address.

        Raises:
            ValueError: the guest does not have that memory.
        """
        at, size = self._offset(address, size)
        return self.map[at : at + size]

    def _offset(self, address: int, size: int) -> tuple[int, int]:
        for bank in self.banks:
            if bank.start <= address and address + size <= bank.end:
                return bank.offset + address - bank.start, size
        raise ValueError(f"the guest has no memory at {address:#x}+{size:#x}")

    @property
    def path(self) -> str:
        """A name for the file in this process and in those that inherit the descriptor."""
        return f"/proc/self/fd/{self.handle}"

    def views(self) -> Iterator[tuple[int, memoryview]]:
        """What is not a hole: physical address and bytes, without a copy."""
        whole = memoryview(self.map)
        for address, size in self.used():
            at, _ = self._offset(address, size)
            yield address, whole[at : at + size]

    def used(self) -> Iterator[tuple[int, int]]:
        """Ranges of physical memory that are not holes of the file: address and bytes."""
        for bank in self.banks:
            at, end = bank.offset, bank.offset + bank.size
            while at < end:
                try:
                    start = os.lseek(self.handle, at, os.SEEK_DATA)
                except OSError:
                    break
                if start >= end:
                    break
                at = min(os.lseek(self.handle, start, os.SEEK_HOLE), end)
                yield bank.start + start - bank.offset, at - start


def _nameless(size: int, folder: str | None) -> IO[bytes]:
    """A file without a name: in memory if it is small and nobody says where, else in a folder."""
    if folder is None and size <= MOST_IN_MEMORY:
        with suppress(OSError):
            return os.fdopen(os.memfd_create("khotool-ram"), "r+b")
    return tempfile.TemporaryFile(dir=folder)


@contextmanager
def open_ram(banks: list[Bank], folder: str | None) -> Iterator[Ram]:
    """Memory for one guest. The file has no name, so that nothing is left whatever happens.

    Args:
        folder: where the file is; None for memory, or for the folder of temporary files if it
            is large.

    Raises:
        InputError: the file cannot be made.
    """
    try:
        with _nameless(sum(bank.size for bank in banks), folder) as file:
            os.ftruncate(file.fileno(), sum(bank.size for bank in banks))
            ram = Ram(file.fileno(), banks)
            try:
                yield ram
            finally:
                # What still shows parts of the memory keeps it until it is gone itself.
                with suppress(BufferError):
                    ram.map.close()
    except OSError as error:
        where = folder or tempfile.gettempdir()
        size = sum(bank.size for bank in banks) >> 20
        raise InputError(
            f"{where}: no file of {size} MiB for the guest's memory: {error.strerror}; name "
            "another folder with --ram-dir"
        ) from None
