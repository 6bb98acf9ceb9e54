"""What the kernel's libfdt answers about a blob, error for error.

After ``scripts/dtc/libfdt`` (``fdt.c``, ``fdt_ro.c``) as the kernel builds it, with no assumption
about its input. ``khotool.fdt`` reads what a person wants to see of a damaged tree; a verdict
needs the number that the kernel prints.
"""

from __future__ import annotations

import struct

from khotool.fdt.blob import FDT_BEGIN_NODE, FDT_END, FDT_END_NODE, FDT_NOP, FDT_PROP, MAGIC, Blob
from khotool.fdt.header import check

NOTFOUND, BADOFFSET, TRUNCATED, BADMAGIC, BADVERSION, BADSTRUCTURE = 1, 4, 8, 9, 10, 11
ALIGNMENT = 19
_BY_CODE = {
    "libfdt-truncated": TRUNCATED,
    "libfdt-badmagic": BADMAGIC,
    "libfdt-badversion": BADVERSION,
    "libfdt-alignment": ALIGNMENT,
}
_HEADER = struct.Struct(">10I")
_WORD = struct.Struct(">I")
COMPATIBLE = b"compatible"
INT_MAX = 0x7FFF_FFFF


class FdtErrorCode(Exception):  # noqa: N818 - an answer, not a failure
    """An error of libfdt: ``code`` is positive, the kernel prints it negative."""

    def __init__(self, code: int) -> None:
        super().__init__(-code)
        self.code = code


def check_header(blob: Blob) -> int:
    """``fdt_check_header``: 0, or a negative error."""
    problems = check(blob)
    return -_BY_CODE[problems[0].code] if problems else 0


def check_compatible(data: bytes, wanted: str) -> int:
    """``fdt_node_check_compatible`` of the root: 0 if a string of the list is ``wanted``.

    Args:
        data: the blob as far as it is known; zeros where the kernel would read on.

    Returns:
        0, 1 where no string of the list is ``wanted``, or a negative error.
    """
    try:
        value = _Reader(data).root_property(COMPATIBLE)
    except FdtErrorCode as error:
        return -error.code
    # What follows the last NUL is not a string of the list.
    return 0 if wanted.encode() in value.split(b"\0")[:-1] else 1


class _Reader:
    """A blob, read with the tests of libfdt and no others."""

    def __init__(self, data: bytes) -> None:
        padded = data.ljust(_HEADER.size, b"\0")
        self.data = data
        magic, self.totalsize, self.struct, self.strings, _, self.version = _HEADER.unpack_from(
            padded
        )[:6]
        self.last_comp, _, self.strings_size, self.struct_size = _HEADER.unpack_from(padded)[6:]
        self.sound = magic == MAGIC and self.version >= 2 and self.last_comp <= 17
        self.sound = self.sound and self.totalsize < INT_MAX

    def at(self, offset: int, size: int) -> bytes | None:
        """``fdt_offset_ptr``: bytes of the structure block, None outside of it."""
        place = offset + self.struct
        if place + size > self.totalsize:
            return None
        if self.version >= 17 and offset + size > self.struct_size:
            return None
        return self.data[place : place + size].ljust(size, b"\0")

    def word(self, offset: int) -> int | None:
        raw = self.at(offset, 4)
        return None if raw is None else int(_WORD.unpack(raw)[0])

    def next_tag(self, start: int) -> tuple[int, int]:
        """``fdt_next_tag``: the tag, and where the next one is, or a negative error."""
        tag = self.word(start)
        if tag is None:
            return FDT_END, -TRUNCATED
        offset = start + 4
        if tag == FDT_BEGIN_NODE:
            while (byte := self.at(offset, 1)) not in (b"\0", None):
                offset += 1
            if byte is None:
                return FDT_END, -BADSTRUCTURE
            offset += 1
        elif tag == FDT_PROP:
            length = self.word(offset)
            if length is None or length + offset >= INT_MAX:
                return FDT_END, -BADSTRUCTURE
            offset += 8 + length
            if self.version < 16 and length >= 8 and (offset - length) % 8:
                # Before version 16 such values start at a multiple of 8.
                offset += 4
        elif tag not in (FDT_END, FDT_END_NODE, FDT_NOP):
            return FDT_END, -BADSTRUCTURE
        if self.at(start, offset - start) is None:
            return FDT_END, -BADSTRUCTURE
        return tag, offset + -offset % 4

    def root_property(self, name: bytes) -> bytes:
        """``fdt_getprop`` of the root.

        Raises:
            FdtErrorCode: as the kernel has it.
        """
        tag, offset = self.next_tag(0)
        if tag != FDT_BEGIN_NODE:
            raise FdtErrorCode(BADOFFSET)
        while True:
            here = offset
            tag, offset = self.next_tag(here)
            if tag == FDT_END:
                raise FdtErrorCode(BADSTRUCTURE if offset >= 0 else -offset)
            if tag in (FDT_BEGIN_NODE, FDT_END_NODE):
                raise FdtErrorCode(NOTFOUND)
            if tag == FDT_PROP:
                length, name_at = self.word(here + 4) or 0, self.word(here + 8) or 0
                if self.is_name(name_at, name):
                    return self.at(here + 12, length) or b""

    def is_name(self, offset: int, name: bytes) -> bool:
        """``fdt_string_eq_``: no name is found in a blob whose header is not sound."""
        if not self.sound or (self.version >= 17 and offset >= self.strings_size):
            return False
        place = self.strings + offset
        return self.data[place : place + len(name) + 1] == name + b"\0"
