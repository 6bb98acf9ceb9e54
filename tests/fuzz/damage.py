"""Damaged captures from a few bytes: small inputs that reach everything behind the container.

A recipe is one byte that names a capture, and edits of ``EDIT`` bytes each: what to do, where,
and a value. Places count the bytes of metadata, so that every edit hits something that is read.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from khotool.decode.open import open_memory
from khotool.encode.reopen import image_of
from khotool.limits import Limits, OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image
from tests.builders import CAPTURES, REGISTRY, build, capture

EDITS = struct.Struct("<BIQ")
EDIT = EDITS.size
MOST_EDITS = 40
LIMITS = Limits(nodes=100_000, chain=20_000, bytes=64 << 20, scan=64 << 20)

#: Values at which counts, addresses and orders change their meaning.
EDGES = (
    0,
    1,
    2,
    7,
    63,
    64,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x10000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    1 << 52,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 4096,
    (1 << 64) - 65536,
    (1 << 64) - 4096,
    (1 << 64) - 8,
    (1 << 64) - 1,
)

#: Images that no capture has: big-endian, of 64 KiB pages, of the first kernel.
MANIFESTS: tuple[dict[str, object], ...] = (
    {
        "abi": "7.2",
        "endian": "big",
        "kho_test": {"orders": [2, 0], "csum": 1},
        "session": [
            {"name": "a", "file": [{"token": 1, "size": 5000, "contents": {"pattern": "page"}}]}
        ],
    },
    {
        "abi": "7.1",
        "page_size": "64K",
        "flb": [{"name": "liveupdate-test-flb-v2"}],
        "session": [
            {"name": "a", "file": [{"token": 1, "size": 70000, "contents": {"random": 5}}]},
            {"name": "b"},
        ],
    },
    {
        "abi": "6.16",
        "reserve_mem": [{"name": "r", "size": "20K"}],
        "kho_test": {"orders": [0, 3, 0, 9], "csum": 2},
    },
)


class Base(NamedTuple):
    """An undamaged image; its pieces of metadata as (physical address, bytes), and their ends."""

    image: Image
    spans: list[tuple[int, int]]
    ends: list[int]

    def place(self, number: int) -> int:
        """Physical address of a byte of metadata; any number is one."""
        number %= self.ends[-1]
        row = bisect_right(self.ends, number)
        address, size = self.spans[row]
        return address + size - (self.ends[row] - number)


BASES = len(CAPTURES) + len(MANIFESTS)


@cache
def base(number: int) -> Base:
    """An undamaged image by number."""
    number %= BASES
    if number < len(CAPTURES):
        image = capture(CAPTURES[number])
    else:
        image = image_of(build(dict(MANIFESTS[number - len(CAPTURES)])), REGISTRY)
    spans = [
        (address, size)
        for region in image.regions
        for address, size in region.extents()
        if size and address < UNPLACED
    ]
    return Base(image, spans, list(accumulate(size for _, size in spans)))


def writes_of(data: bytes) -> tuple[Base, list[tuple[int, bytes]]]:
    """The image that a recipe names, and what it writes: physical addresses and bytes."""
    whole = base(data[0] if data else 0)
    order = whole.image.geometry.byteorder
    writes: list[tuple[int, bytes]] = []
    last = min(len(data) - EDIT, 1 + MOST_EDITS * EDIT)
    for at in range(1, last + 1, EDIT):
        kind, where, value = EDITS.unpack_from(data, at)
        writes += edit(whole, kind, where, value, order)
    return whole, writes


def damaged(data: bytes) -> Image:
    """Decode what a recipe makes.

    Raises:
        KhotoolError: no root is left.
    """
    whole, writes = writes_of(data)
    # Half of the recipes name the root, so that damage to it is seen as well.
    root = whole.image.tree.span
    named = root.address if root is not None and data[:1] >= b"\x80" else None
    space = OverlaySpace(whole.image.space, writes)
    return open_memory(space, REGISTRY, OpenOptions(root=named, limits=LIMITS))


def edit(whole: Base, kind: int, where: int, value: int, order: str) -> list[tuple[int, bytes]]:
    """What one edit writes: physical address and bytes."""
    address = whole.place(where)
    word = address & ~7
    page = whole.image.geometry.page_size
    little = order == "little"

    def native(number: int, size: int = 8) -> bytes:
        return (number & ((1 << 8 * size) - 1)).to_bytes(size, "little" if little else "big")

    match kind % 10:
        case 0:
            old = read(whole, address, 1)
            return [(address, bytes([old[0] ^ 1 << value % 8]))] if old else []
        case 1:
            return [(word, native(value))]
        case 2:
            return [(word, native(EDGES[value % len(EDGES)]))]
        case 3:
            return [(address & ~3, native(EDGES[value % len(EDGES)], 4))]
        case 4:
            # A pointer to other metadata, aligned to its page or not.
            return [(word, native(whole.place(value >> 1) & (~(page - 1) if value & 1 else -1)))]
        case 5:
            old = read(whole, word, 8)
            number = int.from_bytes(old, "little" if little else "big")
            return [(word, native(number + (value % 32) - 16))] if old else []
        case 6:
            # Words of a tree are big-endian whatever the kernel is.
            return [(address & ~3, EDGES[value % len(EDGES)].to_bytes(8, "big")[4:])]
        case 7:
            old = read(whole, whole.place(value), 64)
            return [(address, old)] if old else []
        case 8:
            first, second = address & ~(page - 1), whole.place(value) & ~(page - 1)
            one, other = read(whole, first, page), read(whole, second, page)
            return [(first, other), (second, one)] if one and other else []
        case _:
            return [(address, bytes([value & 0xFF]) * (value >> 8 & 0x3FF))]


def read(whole: Base, address: int, size: int) -> bytes:
    """Captured bytes; none where they are missing."""
    try:
        return bytes(whole.image.space.read(address, size))
    except MemoryFault:
        return b""
