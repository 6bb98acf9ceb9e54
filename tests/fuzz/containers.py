"""Valid files of every container, small enough to be damaged as files."""

from __future__ import annotations

import gzip
import lzma
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from khotool.encode.segments import write_image
from khotool.memory.compression import zstd_module
from tests.builders import CAPTURES, REAL, build
from tests.fuzz.damage import MANIFESTS
from tests.unit.memory.kdump_builder import build_kdump, flatten

#: Captures whose memory fits a megabyte.
SMALL = CAPTURES[:2]
LARGEST = 1 << 20


@cache
def cores() -> tuple[bytes, ...]:
    """ELF cores of a few pages each, of both byte orders."""
    made = [lzma.decompress((REAL / name / "image.elf.xz").read_bytes()) for name in SMALL]
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        for manifest in MANIFESTS:
            file = Path(folder) / "image.elf"
            write_image(file, build(dict(manifest)))
            made.append(file.read_bytes())
    return tuple(core for core in made if len(core) < LARGEST)


def kdumps() -> Iterator[bytes]:
    """kdump-compressed dumps: plain, big-endian, split, flattened."""
    pages = {pfn: bytes([pfn]) * 2048 + bytes(2048) for pfn in (1, 2, 3, 9)}
    plain = build_kdump(pages, vmcoreinfo=b"OSRELEASE=7.3.4\nPAGESIZE=4096\n")
    yield plain
    yield build_kdump(pages, order=">", version=3)
    yield build_kdump(pages, split=(1, 3))
    yield flatten(plain)


def limes() -> Iterator[bytes]:
    """A LiME file of two ranges."""
    ranges = ((0x1000, bytes(4096)), (0x8000, b"\xd0\x0d\xfe\xed" * 1024))
    yield b"".join(
        b"EMiL" + struct.pack("<IQQ8x", 1, start, start + len(data) - 1) + data
        for start, data in ranges
    )


def tars() -> Iterator[bytes]:
    """Copies of /sys/kernel/debug/kho, as captured."""
    for file in sorted(REAL.glob("*/debugfs.tar.xz")):
        yield lzma.decompress(file.read_bytes())


def compressed(data: bytes) -> Iterator[bytes]:
    """One file in every compression that can be written here."""
    yield gzip.compress(data, mtime=0)
    yield lzma.compress(data)
    zstd = zstd_module()
    if zstd is not None:
        yield bytes(zstd.compress(data))  # type: ignore[attr-defined]
