"""Writing physical memory as an ELF64 core that other tools read too."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from khotool.errors import EncodeError, KhotoolError
from khotool.memory.atomic import replacing
from khotool.memory.elf import (
    ELFCLASS64,
    ET_CORE,
    HEADER_SIZE,
    MACHINES,
    MAGIC,
    PN_XNUM,
    PROGRAM_HEADER_SIZE,
    PT_LOAD,
    PT_NOTE,
)
from khotool.memory.space import ADDRESS_LIMIT, Endian
from khotool.records import dataclass

Buffer = bytes | bytearray | memoryview

_SECTION_HEADER_SIZE = 64
_PIECE = 16 << 20
_NOTE_NAME = b"VMCOREINFO\0\0"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes that are made or read while they are written, piece by piece.

    Args:
        size: bytes, at least one.
        part: offset and length in bytes to the contents there; called again for every use.
        blocks: bytes of each block that it consists of, in order.
        piece: bytes that are in memory at a time.
    """

    size: int
    part: Callable[[int, int], bytes]
    blocks: Iterable[int]
    piece: int = 1 << 20

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """All of it, in order."""
        for at in range(0, self.size, self.piece):
            yield self.part(at, min(self.piece, self.size - at))

    def split(self) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of every block, long ones in pieces: what a copy in memory has."""
        start = 0
        for size in self.blocks:
            for at in range(0, int(size), self.piece):
                n = min(self.piece, int(size) - at)
                yield start + at, self.part(start + at, n)
            start += int(size)


Contents = Buffer | Stretch


def write_elf(
    path: str | os.PathLike[str],
    segments: Iterable[tuple[int, Contents]],
    *,
    endian: Endian,
    machine: str | None = "x86_64",
    vmcoreinfo: dict[str, str] | None = None,
    align: int = 4096,
) -> None:
    """Write an ELF64 core: a VMCOREINFO note and one PT_LOAD per run of segments.

    The same arguments give the same bytes. The file appears complete or not at all.

    Args:
        path: the file to write or replace.
        segments: physical address in bytes and contents. Written in ascending order of address;
            empty ones are left out.
        endian: byte order of the headers and, by convention, of the memory.
        machine: as ``uname -m`` says it; None for none.
        vmcoreinfo: lines of the note, in this order; no note without lines.
        align: file offsets of segments are multiples of this many bytes, a power of two.

    Raises:
        EncodeError: segments overlap or pass the end of the address space, the machine is not
            known, or a line of the note does not fit its format.
        KhotoolError: the file cannot be written.
    """
    loads = _ordered(segments)
    number = _machine_number(machine)
    note = _note(vmcoreinfo or {}, endian)
    try:
        with replacing(path) as file:
            _write(file, loads, endian, number, note, align)
    except OSError as error:
        where = os.fsdecode(path)
        raise KhotoolError(f"{where}: cannot be written: {error.strerror or error}") from error


Load = tuple[int, list[memoryview | Stretch]]
"""Physical address, and the contents from there on."""


def _ordered(segments: Iterable[tuple[int, Contents]]) -> list[Load]:
    """Segments by address; neighbours become one, since readers slow down with each."""
    parts = [
        (start, data if isinstance(data, Stretch) else memoryview(data).cast("B"))
        for start, data in segments
    ]
    loads: list[Load] = []
    reach = 0
    for start, data in sorted((part for part in parts if len(part[1])), key=lambda part: part[0]):
        if start < 0 or start + len(data) > ADDRESS_LIMIT:
            raise EncodeError(f"{start:#x}", "the segment is outside the 64-bit address space")
        if start < reach:
            raise EncodeError(f"{start:#x}", f"the segment overlaps the one before, to {reach:#x}")
        if loads and start == reach:
            loads[-1][1].append(data)
        else:
            loads.append((start, [data]))
        reach = start + len(data)
    return loads


def _machine_number(machine: str | None) -> int:
    if machine is None:
        return 0
    names = {name: number for number, name in MACHINES.items()} | {"ppc64le": 21}
    if machine not in names:
        raise EncodeError("machine", f"{machine!r} is none of {', '.join(sorted(names))}")
    return names[machine]


def _note(vmcoreinfo: dict[str, str], endian: Endian) -> bytes:
    if not vmcoreinfo:
        return b""
    lines: list[str] = []
    for key, value in vmcoreinfo.items():
        if not key or "=" in key or "\n" in key + value or "\0" in key + value:
            raise EncodeError("vmcoreinfo", f"{key!r} and its value are not one line KEY=VALUE")
        lines.append(f"{key}={value}\n")
    try:
        text = "".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise EncodeError("vmcoreinfo", f"text outside Latin-1: {error}") from error
    order = "<" if endian == "little" else ">"
    header = struct.pack(f"{order}III", len(_NOTE_NAME) - 1, len(text), 0)
    return header + _NOTE_NAME + text + bytes(-len(text) % 4)


def _write(
    file: IO[bytes], loads: list[Load], endian: Endian, machine: int, note: bytes, align: int
) -> None:
    order = "<" if endian == "little" else ">"
    count = len(loads) + bool(note)
    extended = count >= PN_XNUM
    phoff = HEADER_SIZE + (_SECTION_HEADER_SIZE if extended else 0)
    ident = MAGIC + bytes([ELFCLASS64, 1 if endian == "little" else 2, 1]) + bytes(9)
    file.write(
        ident
        + struct.pack(
            f"{order}HHIQQQIHHHHHH",
            ET_CORE,
            machine,
            1,
            0,
            phoff,
            HEADER_SIZE if extended else 0,
            0,
            HEADER_SIZE,
            PROGRAM_HEADER_SIZE,
            min(count, PN_XNUM),
            _SECTION_HEADER_SIZE if extended else 0,
            1 if extended else 0,
            0,
        )
    )
    if extended:
        # Section 0 carries the true number of program headers in sh_info.
        file.write(struct.pack(f"{order}IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, count, 0, 0))
    header = struct.Struct(f"{order}IIQQQQQQ")
    position = phoff + count * PROGRAM_HEADER_SIZE
    if note:
        file.write(header.pack(PT_NOTE, 0, position, 0, 0, len(note), len(note), 4))
        position += len(note)
    offset = -(-position // align) * align
    for start, pieces in loads:
        size = sum(len(piece) for piece in pieces)
        file.write(header.pack(PT_LOAD, 7, offset, 0, start, size, size, align))
        offset = -(-(offset + size) // align) * align
    file.write(note)
    for _, pieces in loads:
        file.seek(-(-file.tell() // align) * align)
        for piece in pieces:
            if isinstance(piece, Stretch):
                file.writelines(piece.pieces())
                continue
            for at in range(0, len(piece), _PIECE):
                file.write(piece[at : at + _PIECE])
