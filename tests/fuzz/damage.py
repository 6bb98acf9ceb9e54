"""Damaged captures from a few bytes: small inputs that reach everything behind the container.

A recipe is one byte that names a capture, and edits of ``EDIT`` bytes each: what to do, where,
and a value. Places count the bytes of metadata, so that every edit hits something that is read.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate
from typing import Literal, NamedTuple

from khotool.abi.definition import Field
from khotool.decode.open import open_memory
from khotool.encode.reopen import image_of
from khotool.limits import Limits, OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image
from tests.builders import CAPTURES, REGISTRY, build, capture

Order = Literal["little", "big"]

EDITS = struct.Struct("<BIQ")
EDIT = EDITS.size
MOST_EDITS = 40
#: Bit of the first byte of a recipe: the root is named, so that damage to it is seen as well.
NAMED = 0x80
#: Bit of the kind of an edit: it is of a value whose definition is known.
GUIDED = 0x80
#: Rows of a table that such edits reach.
ROWS = 6
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


class Place(NamedTuple):
    """A stored value: physical address, bytes, byte order, definition, and where it leads."""

    address: int
    size: int
    order: Order
    field: Field
    target: int


class Base(NamedTuple):
    """An undamaged image; its pieces of metadata as (physical address, bytes), and their ends.

    Args:
        places: its values whose definition says what they are.
    """

    image: Image
    spans: list[tuple[int, int]]
    ends: list[int]
    places: list[Place]

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
    return base_of(image)


def base_of(image: Image) -> Base:
    """An image with the places that damage may hit."""
    spans = [
        (address, size)
        for region in image.regions
        for address, size in region.extents()
        if size and address < UNPLACED
    ]
    spans = spans or [(0, 1)]
    return Base(image, spans, list(accumulate(size for _, size in spans)), list(places_of(image)))


def places_of(image: Image) -> Iterator[Place]:
    """Numbers of records and properties, and those of the first rows of tables."""
    for node in image.tree.walk():
        field, span = node.field, node.span
        if node.table is not None and len(node.table.records) and len(node.table.extents):
            start, size = node.table.extents[0].tolist()
            compiled = node.table.compiled
            for row in range(min(ROWS, size // compiled.size)):
                for placed in compiled.fields:
                    at = start + row * compiled.size + placed.offset
                    yield place(image, at, placed.size, placed.field, 0)
        elif field is not None and span is not None and span.address < UNPLACED:
            target = node.target.address if node.target is not None else 0
            yield place(image, span.address, span.size, field, target)


def place(image: Image, address: int, size: int, field: Field, target: int) -> Place:
    """A place; only the first eight bytes of what is longer."""
    big = field.type is not None and field.type.big
    order: Order = "big" if big else image.geometry.byteorder
    return Place(address, min(size, 8), order, field, target)


def writes_of(
    data: bytes, base: Callable[[int], Base] = base
) -> tuple[Base, list[tuple[int, bytes]]]:
    """The image that a recipe names, and what it writes: physical addresses and bytes."""
    whole = base(data[0] & ~NAMED if data else 0)
    order = whole.image.geometry.byteorder
    writes: list[tuple[int, bytes]] = []
    last = min(len(data) - EDIT, 1 + MOST_EDITS * EDIT)
    for at in range(1, last + 1, EDIT):
        kind, where, value = EDITS.unpack_from(data, at)
        writes += edit(whole, kind, where, value, order)
    return whole, writes


def damaged(data: bytes, base: Callable[[int], Base] = base) -> Image:
    """Decode what a recipe makes of one of the images that ``base`` numbers.

    Raises:
        KhotoolError: no root is left.
    """
    whole, writes = writes_of(data, base)
    root = whole.image.tree.span
    named = root.address if root is not None and data[:1] >= bytes([NAMED]) else None
    space = OverlaySpace(whole.image.space, writes)
    return open_memory(space, REGISTRY, OpenOptions(root=named, limits=LIMITS))


def edit(whole: Base, kind: int, where: int, value: int, order: str) -> list[tuple[int, bytes]]:
    """What one edit writes: physical address and bytes."""
    if kind & GUIDED and whole.places:
        return meant(whole, kind & ~GUIDED, whole.places[where % len(whole.places)], value)
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


def meant(whole: Base, kind: int, place: Place, value: int) -> list[tuple[int, bytes]]:
    """A value that its definition makes interesting: an edge of counts, flags or addresses."""
    address, size, order, field, _ = place
    page = whole.image.geometry.page_size
    old = int.from_bytes(read(whole, address, size), order)
    other = whole.places[value % len(whole.places)]
    role = field.role
    if field.points_to is not None or role in ("address", "pfn", "handle"):
        choices = (
            0,
            other.target,
            other.address,
            address,
            address & ~(page - 1),
            old + 1,
            old ^ page,
            old - page,
            old + 8,
            old & ~(page - 1),
            whole.place(value),
            EDGES[value % len(EDGES)],
            (1 << 63) | old,
            -page,
        )
        scale = page if role == "pfn" else 1
        number = choices[(value >> 16) % len(choices)] // scale
    elif role in ("count", "bytes", "pages", "page-index", "order", "counter"):
        more = (old + 1, old - 1, old * 2, old + page, old << 32, page // 8, page // 16, 512)
        counts = (*more, *EDGES)
        number = counts[value % len(counts)]
    elif kind % 3:
        number = old ^ 1 << value % (8 * size or 1)
    else:
        names = (*field.flags.values(), *field.enum.values(), field.expect or 0, *EDGES)
        number = names[value % len(names)]
    return [(address, (number & ((1 << 8 * size) - 1)).to_bytes(size, order))]


def read(whole: Base, address: int, size: int) -> bytes:
    """Captured bytes; none where they are missing."""
    try:
        return bytes(whole.image.space.read(address, size))
    except MemoryFault:
        return b""
