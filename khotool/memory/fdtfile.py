"""A file that is one flattened device tree and nothing else."""

from __future__ import annotations

from khotool.memory.space import SourceInfo
from khotool.records import dataclass

MAGIC = b"\xd0\x0d\xfe\xed"
#: Bytes of a file taken as an FDT.
SIZE_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class BareFdt:
    """A flattened device tree without the memory around it.

    Args:
        info: container ``fdt``; its byte order is None, an FDT is big endian everywhere.
        data: the whole file, which may be shorter or longer than the header's totalsize.
    """

    info: SourceInfo
    data: bytes


def open_fdt(info: SourceInfo, data: memoryview) -> BareFdt:
    """Take a file as a flattened device tree; what it holds is for the FDT reader to judge."""
    info.container = "fdt"
    if len(data) > SIZE_LIMIT:
        info.notes.append(f"only the first {SIZE_LIMIT} of {len(data)} bytes are read as an FDT")
    return BareFdt(info, bytes(data[:SIZE_LIMIT]))
