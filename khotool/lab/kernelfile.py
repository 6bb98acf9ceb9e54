"""What a kernel's file is, found from its bytes: a bzImage, an arm64 Image, or a vmlinux."""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from khotool.errors import InputError
from khotool.lab import bridge
from khotool.records import dataclass

MOST_KERNEL = 1 << 30
"""Bytes of a kernel's file, expanded."""
_BANNER = re.compile(rb"Linux version ([0-9]+\.[0-9]+[!-~]{0,64}) ")
_RELEASE = re.compile(rb"[0-9]+\.[0-9]+[!-~]{0,64}")
EM_X86_64, EM_AARCH64 = 62, 183
PT_LOAD = 1
ARM64_PAGES = {1: 4096, 2: 16384, 3: 65536}
"""Bits 1 and 2 of the flags in an Image's header, to bytes of a page."""


class Form(StrEnum):
    """How a kernel's file is made."""

    BZIMAGE = "bzImage"
    IMAGE = "Image"
    VMLINUX = "vmlinux"


class Machine(StrEnum):
    """Machines that kernels are run on, as ``uname -m`` says them."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a vmlinux that is loaded: physical address, its bytes, bytes of room."""

    address: int
    data: memoryview
    size: int


@dataclass(frozen=True, slots=True)
class Vmlinux:
    """A vmlinux of x86-64 as it is loaded: its parts, and the physical address of its entry."""

    parts: list[Part]
    entry: int

    @property
    def size(self) -> int:
        """Bytes from the first part to the end of the last."""
        last = self.parts[-1]
        return last.address + last.size - self.parts[0].address


@dataclass(slots=True, eq=False)
class KernelFile:
    """A kernel that can be started.

    Args:
        path: as the user gave it.
        data: the file, expanded.
        page_size: bytes, where the file tells.
    """

    path: str
    form: Form
    machine: Machine
    data: bytes
    release: str | None = None
    page_size: int | None = None
    _body: bytes | None = None
    _vmlinux: Vmlinux | None = None

    @property
    def body(self) -> bytes | None:
        """The kernel itself, unpacked; None if it is packed in a way khotool does not read."""
        if self._body is None:
            self._body = unpacked(self.data) if self.form is Form.BZIMAGE else self.data
        return self._body or None

    @property
    def packing(self) -> str:
        """How the kernel is packed, where that is not read; empty if it is read or not known."""
        if self.body is not None or self.form is not Form.BZIMAGE:
            return ""
        return next((n for m, n in _NOT_READ.items() if _payload(self.data).startswith(m)), "")

    @property
    def vmlinux(self) -> Vmlinux | None:
        """What is loaded of a kernel of x86-64; None for a bzImage that cannot be unpacked."""
        if self._vmlinux is None and self.body and self.machine is Machine.X86_64:
            with suppress(InputError):
                parts = _parts(self.path, self.body, virtual=False)
                self._vmlinux = Vmlinux(parts, _unpack("<Q", self.body, 24))
        return self._vmlinux

    def contains(self, text: bytes) -> bool | None:
        """True if the kernel has a text; None if that cannot be told."""
        return None if self.body is None else text in self.body


def open_kernel(path: str) -> KernelFile:
    """Recognise a kernel's file.

    Raises:
        InputError: no such file, not a kernel, or one of a machine that is not supported.
    """
    data = bridge.read_whole(path, MOST_KERNEL)
    kernel = recognise(path, data)
    if kernel is None:
        raise InputError(
            f"{path}: not a kernel; expected a bzImage, an arm64 Image (also .gz, .xz, .zst) or a "
            "vmlinux"
        )
    if kernel.release is None and kernel.body is not None:
        banner = _BANNER.search(kernel.body)
        kernel.release = banner[1].decode("ascii") if banner else None
    return kernel


def recognise(path: str, data: bytes) -> KernelFile | None:
    """What the bytes of a file are; None for no kernel.

    Raises:
        InputError: a kernel of a machine that is not supported.
    """
    if data[0x202:0x206] == b"HdrS":
        return _bzimage(path, data)
    if data[4:8] == b"zimg":
        return _zboot(path, data)
    if data[0x38:0x3C] == b"ARM\x64" and len(data) > 64:
        return _image(path, data)
    if data[:4] == b"\x7fELF":
        return _vmlinux(path, data)
    if data[0x30:0x34] == b"RISCV"[:4] or data[0x24:0x28] == b"\x18\x28\x6f\x01":
        raise InputError(f"{path}: a kernel of another machine; expected x86-64 or arm64")
    return None


def _bzimage(path: str, data: bytes) -> KernelFile:
    version, flags = _unpack("<H", data, 0x206), _unpack("<H", data, 0x236)
    if version < 0x20C or not flags & 1:
        raise InputError(
            f"{path}: a bzImage without a 64-bit entry; build it with CONFIG_64BIT and boot "
            "protocol 2.12 or later"
        )
    at = _unpack("<H", data, 0x20E) + 0x200
    found = _RELEASE.match(data, at)
    release = found[0].decode("ascii") if found else None
    return KernelFile(path, Form.BZIMAGE, Machine.X86_64, data, release, 4096)


def _image(path: str, data: bytes) -> KernelFile:
    flags = _unpack("<Q", data, 24)
    if flags & 1:
        raise InputError(f"{path}: a big-endian kernel; QEMU's virt machine starts little-endian")
    page = ARM64_PAGES.get(flags >> 1 & 3)
    return KernelFile(path, Form.IMAGE, Machine.AARCH64, data, None, page)


def _zboot(path: str, data: bytes) -> KernelFile | None:
    offset, size = _unpack("<I", data, 8), _unpack("<I", data, 12)
    inner = expand(data[offset : offset + size])
    if inner is None:
        kind = data[24:56].split(b"\0")[0].decode("ascii", "replace")
        raise InputError(
            f"{path}: an EFI boot image packed with {kind!r:.20}; give arch/arm64/boot/Image of "
            "the kernel's build"
        )
    return recognise(path, inner)


def _vmlinux(path: str, data: bytes) -> KernelFile:
    if len(data) < 64 or data[4:6] != b"\2\1":
        raise InputError(f"{path}: not a little-endian 64-bit kernel")
    machine = _unpack("<H", data, 18)
    if machine not in (EM_X86_64, EM_AARCH64):
        raise InputError(
            f"{path}: a kernel of ELF machine {machine}; expected x86-64 ({EM_X86_64}) or arm64 "
            f"({EM_AARCH64})"
        )
    parts = _parts(path, data, virtual=machine == EM_AARCH64)
    if machine == EM_AARCH64:
        start = parts[0].address
        flat = bytearray(max(p.address + len(p.data) for p in parts) - start)
        for part in parts:
            flat[part.address - start : part.address - start + len(part.data)] = part.data
        if flat[0x38:0x3C] != b"ARM\x64":
            raise InputError(f"{path}: a vmlinux that does not begin with an Image's header")
        return _image(path, bytes(flat))
    return KernelFile(path, Form.VMLINUX, Machine.X86_64, data, None, 4096)


def _parts(path: str, data: bytes, *, virtual: bool) -> list[Part]:
    if data[:4] != b"\x7fELF":
        raise InputError(f"{path}: not an ELF file")
    offset, size, number = _unpack("<Q", data, 32), _unpack("<H", data, 54), _unpack("<H", data, 56)
    view = memoryview(data)
    parts = []
    for at in range(offset, offset + size * number, size or 56):
        if at + 56 > len(data):
            break
        kind, _, start, vaddr, paddr, filled, room, _ = struct.unpack_from("<IIQQQQQQ", data, at)
        if kind == PT_LOAD and room and start + filled <= len(data) and room < MOST_KERNEL:
            parts.append(Part(vaddr if virtual else paddr, view[start : start + filled], room))
    parts.sort(key=lambda part: part.address)
    if not parts or parts[-1].address + parts[-1].size - parts[0].address > MOST_KERNEL:
        raise InputError(f"{path}: an ELF file without a kernel to load; give vmlinux itself")
    return parts


def _unpack(form: str, data: bytes, at: int) -> int:
    try:
        return int(struct.unpack_from(form, data, at)[0])
    except struct.error:
        return 0


# -- packed kernels -------------------------------------------------------------------------


def unpacked(data: bytes) -> bytes:
    """The kernel in a bzImage; empty if it is packed in a way that is not read here."""
    return expand(_payload(data)) or b""


def _payload(data: bytes) -> bytes:
    """What a bzImage has packed."""
    start = (data[0x1F1] or 4) * 512 + 512 + _unpack("<I", data, 0x248)
    return data[start : start + _unpack("<I", data, 0x24C)]


def expand(data: bytes) -> bytes | None:
    """One compressed stream, whatever follows it; None if it is not read here."""
    for magic, opener in _OPENERS:
        if data.startswith(magic):
            try:
                return opener()(data)
            except (OSError, zlib.error, lzma.LZMAError, EOFError, ValueError):
                return None
    return None


def _gzip() -> Callable[[bytes], bytes]:
    return lambda data: zlib.decompressobj(31).decompress(data, MOST_KERNEL)


def _xz() -> Callable[[bytes], bytes]:
    return lambda data: lzma.LZMADecompressor(memlimit=1 << 30).decompress(data, MOST_KERNEL)


def _bzip2() -> Callable[[bytes], bytes]:
    return lambda data: bz2.BZ2Decompressor().decompress(data, MOST_KERNEL)


def _zstd() -> Callable[[bytes], bytes]:
    return lambda data: bridge.expand_zstd(data, MOST_KERNEL)


_OPENERS: tuple[tuple[bytes, Callable[[], Callable[[bytes], bytes]]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"\xfd7zXZ\0", _xz),
    (b"\x5d\0\0", _xz),
    (b"BZh", _bzip2),
    (b"\x28\xb5\x2f\xfd", _zstd),
)
_NOT_READ = {b"\x02\x21\x4c\x18": "with lz4", b"\x89LZO": "with lzo"}
