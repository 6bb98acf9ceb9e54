"""Captures with fields changed, for the tests beside this module."""

from __future__ import annotations

from pathlib import Path

from khotool.decode.open import open_image, open_memory
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node
from khotool.model.region import FdtRegion

FIXTURES = Path(__file__).parents[3] / "fixtures"
NOWHERE = 0x100_0000
"""Memory of the captured machine that nothing of the handover is in."""
BEYOND = 0xDEAD_BEEF_000
"""Far behind the end of that machine's memory."""
Write = tuple[int, bytes]


class Capture:
    """A capture, and copies of it with other bytes."""

    def __init__(self, name: str) -> None:
        """Open ``fixtures/<name>/image.elf.xz``."""
        self.image = open_image(FIXTURES / name / "image.elf.xz")

    @property
    def root(self) -> int:
        """Physical address of the root."""
        assert self.image.tree.span is not None
        return self.image.tree.span.address

    def node(self, path: str) -> Node:
        return find_node(self.image, path)

    def value(self, path: str) -> int:
        value = self.node(path).value
        assert isinstance(value, int)
        return value

    def field(self, path: str, value: int | bytes) -> Write:
        """A write over a field: a native number, or bytes from its start."""
        span = self.node(path).span
        assert span is not None
        if isinstance(value, bytes):
            return span.address, value
        return span.address, number(value, span.size)

    def number(self, address: int) -> int:
        """The word at a physical address."""
        return int.from_bytes(self.image.space.read(address, 8), "little")

    def row(self, path: str, row: int, offset: int = 0) -> int:
        """Address in a row of a table."""
        table = self.node(path).table
        assert table is not None
        return table.span(row).address + offset

    def text(self, path: str, text: bytes) -> int:
        """Address of a text in a device tree."""
        tree = next(r for r in self.image.regions if isinstance(r, FdtRegion) and r.path == path)
        return tree.address + tree.blob.data.index(text)

    def bit(self, address: int, order: int) -> Write:
        """A write that takes a block out of the radix tree."""
        shift = self.image.geometry.page_shift
        key = (1 << (64 - shift - order)) | (address >> (shift + order))
        page = self.value("/memory_map")
        for level in range(5, 0, -1):
            slot = (key >> ((level - 1) * (shift - 3) + shift + 3)) % (1 << (shift - 3))
            page = int.from_bytes(self.image.space.read(page + 8 * slot, 8), "little")
        place = page + key % (8 << shift) // 8
        old = self.image.space.read(place, 1)[0]
        assert old >> key % 8 & 1
        return place, bytes([old & ~(1 << key % 8)])

    def changed(self, *writes: Write) -> Image:
        """The capture with other bytes."""
        space = OverlaySpace(self.image.space, list(writes))
        return open_memory(space, self.image.registry, OpenOptions())


def number(value: int, size: int = 8) -> bytes:
    """A native number, cut to its size."""
    return (value % (1 << 8 * size)).to_bytes(size, "little")
