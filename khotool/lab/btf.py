"""The type information in a kernel's file."""

from __future__ import annotations

import struct

from khotool.lab.bridge import btf_section
from khotool.lab.kernelfile import KernelFile

HEADER = struct.Struct("<HBBIIIII")
"""struct btf_header: magic, version, flags, hdr_len, type_off, type_len, str_off, str_len."""
MAGIC = b"\x9f\xeb\x01\x00\x18\x00\x00\x00"
"""Of version 1, with the header of 24 bytes that every kernel writes."""
MOST = 256 << 20


def kernel_btf(kernel: KernelFile) -> bytes | None:
    """The kernel's BTF; None if it has none, or is packed in a way that is not read."""
    body = kernel.body
    if body is None:
        return None
    if body[:4] == b"\x7fELF":
        return btf_section(body)
    # An Image has no sections: the header is found by its magic and its sizes.
    at = body.find(MAGIC)
    while at >= 0:
        _, _, _, header, types, type_size, strings, string_size = HEADER.unpack_from(body, at)
        size = header + strings + string_size
        if types == 0 and strings == type_size and 0 < size <= min(MOST, len(body) - at):
            return body[at : at + size]
        at = body.find(MAGIC, at + 1)
    return None
