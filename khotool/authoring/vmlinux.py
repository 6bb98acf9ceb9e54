"""What a kernel's file says about itself: its types, its release, the strings it takes."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from khotool.authoring.btf import Btf
from khotool.errors import InputError
from khotool.memory.sections import MAGIC, find_section
from khotool.memory.wholefile import whole_file

VERSIONS = ".liveupdate_versions"
"""Section in which a kernel lists the strings that it can take over."""
VERSIONS_MAGIC = 0x4C565550
VERSIONS_VERSION = 1
STRING = 48
"""Bytes of each string in the section, padded with NUL."""
MOST_STRINGS = 4096
MOST_BTF = 256 << 20
"""Bytes of a BTF section; that of a distribution's kernel has less than ten million."""

_BANNER = re.compile(rb"Linux version ([0-9]+\.[0-9]+[!-~]{0,64}) ")


class Vmlinux:
    """A kernel's ELF file, or a bare BTF section.

    Args:
        where: for messages.
        data: all bytes of the file.
    """

    def __init__(self, where: str, data: memoryview) -> None:
        self.where = where
        self.data = data
        self.elf = bytes(data[:4]) == MAGIC

    def btf(self, base: Btf | None = None) -> Btf:
        """The kernel's type information: the section ``.BTF``, or the file itself.

        Args:
            base: BTF of the kernel, if this is a module.

        Raises:
            InputError: there is none.
        """
        data: memoryview | None = self.data
        if self.elf:
            data = find_section(self.where, self.data, ".BTF")
            if data is None:
                raise InputError(
                    f"{self.where}: no section .BTF; build the kernel with CONFIG_DEBUG_INFO_BTF, "
                    "or give /sys/kernel/btf/vmlinux of a running one"
                )
        elif boot := boot_image(self.data):
            raise InputError(f"{self.where}: {boot}")
        assert data is not None
        if len(data) > MOST_BTF:
            raise InputError(f"{self.where}: {len(data)} bytes are too many for a BTF section")
        try:
            return Btf(bytes(data), base)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from None

    def versions(self) -> list[str] | None:
        """Strings of the section ``.liveupdate_versions``; None if the kernel has no such section.

        Raises:
            InputError: not an ELF file, or the section is of a kind that is not known.
        """
        if not self.elf:
            why = boot_image(self.data) or "not an ELF file; give the vmlinux of the kernel's build"
            raise InputError(f"{self.where}: {why}")
        found = find_section(self.where, self.data, VERSIONS)
        return None if found is None else read_versions(self.where, found, self.data[5] == 2)

    def release(self) -> str | None:
        """The release in the kernel's banner, such as ``7.3.4``; None if there is no banner."""
        match = _BANNER.search(self.data)
        return None if match is None else match[1].decode("ascii")


@contextmanager
def open_vmlinux(path: str) -> Iterator[Vmlinux]:
    """Open a kernel's ELF file or a BTF section, also compressed with gzip, xz or zstd.

    Raises:
        InputError: no such file, or a damaged stream.
    """
    with whole_file(path) as data:
        kernel = Vmlinux(path, data)
        try:
            yield kernel
        finally:
            # The mapping ends with the last view of it.
            kernel.data = memoryview(b"")


def read_btf(path: str, base: str | None = None) -> Btf:
    """The BTF of a kernel, or of a module with that of its kernel.

    Args:
        base: file with the kernel's BTF.

    Raises:
        InputError: a file cannot be read, or has no BTF.
    """
    beneath = None if base is None else read_btf(base)
    with open_vmlinux(path) as kernel:
        return kernel.btf(beneath)


def boot_image(data: memoryview) -> str:
    """What to do with a bootable image, which is no ELF file; empty if it is none."""
    if bytes(data[0x202:0x206]) == b"HdrS":
        return (
            "a bzImage, which carries no sections; run scripts/extract-vmlinux of the kernel's "
            "source on it, and give what it makes"
        )
    if bytes(data[0x38:0x3C]) == b"ARM\x64" or bytes(data[4:8]) == b"zimg":
        return "a boot image, which carries no sections; give the vmlinux of the kernel's build"
    return ""


def read_versions(where: str, section: memoryview, big: bool) -> list[str]:
    """Strings of a section ``.liveupdate_versions``.

    It is two numbers, magic and version, and then strings of 48 bytes, padded with NUL. A byte
    that is not UTF-8 becomes a lone surrogate.

    Raises:
        InputError: cut short, wrong magic or version, or trailing bytes that are not strings.
    """
    if len(section) < 8:
        raise InputError(f"{where}: section {VERSIONS} has {len(section)} bytes, expected 8 + 48*N")
    magic, version = struct.unpack_from(">II" if big else "<II", section)
    if magic != VERSIONS_MAGIC:
        raise InputError(
            f"{where}: section {VERSIONS} begins with {magic:#x}, expected {VERSIONS_MAGIC:#x}"
        )
    if version != VERSIONS_VERSION:
        raise InputError(f"{where}: section {VERSIONS} is of version {version}, known is 1")
    size = len(section) - 8
    if size % STRING or size > STRING * MOST_STRINGS:
        raise InputError(
            f"{where}: section {VERSIONS} has {size} bytes of strings, expected 48 for each of at "
            f"most {MOST_STRINGS}"
        )
    found = []
    for at in range(8, len(section), STRING):
        text = bytes(section[at : at + STRING]).split(b"\0", 1)[0]
        if text:
            found.append(text.decode("utf-8", "surrogateescape"))
    return found
