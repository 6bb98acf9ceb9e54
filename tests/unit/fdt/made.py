"""Device trees laid out by hand, with single header fields replaced."""

from __future__ import annotations

import struct


def words(*values: int) -> bytes:
    """Big-endian 32-bit words."""
    return struct.pack(f">{len(values)}I", *values)


# A root without anything in it.
ROOT = words(1, 0, 2, 9)


def fdt(structure: bytes = ROOT, strings: bytes = b"a\0", **header: int) -> bytes:
    """A blob laid out as dtc does, with single header fields replaced."""
    fields = {
        "magic": 0xD00DFEED,
        "totalsize": 56 + len(structure) + len(strings),
        "off_dt_struct": 56,
        "off_dt_strings": 56 + len(structure),
        "off_mem_rsvmap": 40,
        "version": 17,
        "last_comp_version": 16,
        "boot_cpuid_phys": 0,
        "size_dt_strings": len(strings),
        "size_dt_struct": len(structure),
    }
    fields.update(header)
    return struct.pack(">10I", *fields.values()) + bytes(16) + structure + strings
