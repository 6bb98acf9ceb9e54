"""What a kernel's file is shows in its bytes."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.lab.kernelfile import Form, Machine, expand, open_kernel

BODY = b"\x7fELF" + bytes(60) + b"Linux version 7.3.4 (root@vm) disabling KHO revival"


def bzimage(payload: bytes = b"", *, version: int = 0x20F, flags: int = 1) -> bytes:
    data = bytearray(0x400 + 0x100)
    data[0x1F1] = 1
    data[0x200:0x206] = b"\xeb\x66HdrS"
    struct.pack_into("<H", data, 0x206, version)
    struct.pack_into("<H", data, 0x20E, 0x100)
    struct.pack_into("<H", data, 0x236, flags)
    struct.pack_into("<II", data, 0x248, 0x100, len(payload))
    data[0x300:0x306] = b"7.3.4 "
    return bytes(data) + payload


def image(page: int = 2, tail: bytes = BODY) -> bytes:
    header = struct.pack("<IIQQQQQQ", 0, 0, 0, 0x10000, page << 1, 0, 0, 0) + b"ARM\x64"
    return header.ljust(64, b"\0") + tail


def elf(machine: int, *, parts: list[tuple[int, bytes]]) -> bytes:
    head = bytearray(64)
    head[:6] = b"\x7fELF\2\1"
    struct.pack_into("<HH", head, 16, 2, machine)
    struct.pack_into("<QQ", head, 24, 0x1000000, 64)
    struct.pack_into("<HH", head, 54, 56, len(parts))
    table, data = b"", b""
    at = 64 + 56 * len(parts)
    for address, content in parts:
        entry = (1, 5, at + len(data), address, address, len(content), len(content) + 16, 4096)
        table += struct.pack("<IIQQQQQQ", *entry)
        data += content
    return bytes(head) + table + data


def write(folder: Path, data: bytes) -> str:
    path = folder / "kernel"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_bzimage(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    kernel = open_kernel(write(tmp_path, bzimage(pack(BODY) + b"\x10\0\0\0")))

    assert (kernel.form, kernel.machine, kernel.release) == (Form.BZIMAGE, Machine.X86_64, "7.3.4")
    assert kernel.contains(b"disabling KHO revival") is True
    assert kernel.contains(b"serial8250") is False


def test_bzimage_of_unknown_packing_is_implied_of_its_options(tmp_path: Path) -> None:
    kernel = open_kernel(write(tmp_path, bzimage(b"\x02\x21\x4c\x18rest")))

    assert kernel.body is None
    assert kernel.contains(b"disabling KHO revival") is None


@pytest.mark.parametrize(("page", "size"), [(0, None), (1, 4096), (2, 16384), (3, 65536)])
def test_image(tmp_path: Path, page: int, size: int | None) -> None:
    kernel = open_kernel(write(tmp_path, gzip.compress(image(page))))

    assert (kernel.form, kernel.machine, kernel.page_size) == (Form.IMAGE, Machine.AARCH64, size)
    assert kernel.release == "7.3.4"


def test_zboot(tmp_path: Path) -> None:
    inner = gzip.compress(image())
    head = b"MZ\0\0zimg" + struct.pack("<II", 64, len(inner)) + bytes(8) + b"gzip"
    kernel = open_kernel(write(tmp_path, head.ljust(64, b"\0") + inner))

    assert (kernel.form, kernel.machine) == (Form.IMAGE, Machine.AARCH64)


def test_vmlinux_of_x86_is_loaded_by_its_parts(tmp_path: Path) -> None:
    parts = [(0x1000000, BODY), (0x1200000, b"data")]
    kernel = open_kernel(write(tmp_path, elf(62, parts=parts)))

    assert kernel.form is Form.VMLINUX
    assert kernel.vmlinux is not None
    assert kernel.vmlinux.entry == 0x1000000
    assert kernel.vmlinux.size == 0x200000 + 20
    assert [(part.address, part.size) for part in kernel.vmlinux.parts] == [
        (0x1000000, len(BODY) + 16),
        (0x1200000, 20),
    ]


def test_vmlinux_of_arm64_is_an_image(tmp_path: Path) -> None:
    parts = [(0xFFFF800080000000, image()), (0xFFFF800080010000, b"data")]
    kernel = open_kernel(write(tmp_path, elf(183, parts=parts)))

    assert kernel.form is Form.IMAGE
    assert kernel.data[0x10000:0x10004] == b"data"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "not a kernel"),
        (bzimage(flags=0), "CONFIG_64BIT"),
        (bzimage(version=0x206), "2.12"),
        (elf(243, parts=[(0, b"x")]), "ELF machine 243"),
        (elf(62, parts=[]), "without a kernel to load"),
        (b"\x7fELF\1\1" + bytes(60), "64-bit"),
        (struct.pack("<IIQQQ", 0, 0, 0, 0, 1).ljust(0x38, b"\0") + b"ARM\x64".ljust(16), "big"),
        (b"MZ\0\0zimg" + struct.pack("<II", 64, 4) + bytes(8) + b"lz4".ljust(40, b"\0"), "lz4"),
    ],
)
def test_what_is_not_a_kernel_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_kernel(write(tmp_path, data))


def test_missing_file() -> None:
    with pytest.raises(InputError, match="nowhere"):
        open_kernel("/nowhere/bzImage")


def test_damaged_stream_is_not_expanded() -> None:
    assert expand(b"\x1f\x8b broken") is None
    assert expand(b"plain") is None
