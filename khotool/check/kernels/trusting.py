"""The radix tree as a kernel walks it: every word is believed, wherever it leads.

``__kho_radix_walk_tree`` and ``kho_radix_walk_leaf`` of 7.0 and later look at nothing but whether
a word is 0. Decoding stops at damage; this walk goes on, in memory of the image, until a kernel
would fault.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.check.kernels.boot import Boot
from khotool.maps.nodes import leaf_bits, table_bits
from khotool.maps.radix import MOST_ORDER, tree_depth
from khotool.memory.space import MemoryFault
from khotool.records import dataclass

MOST_NODES = 1 << 12
"""Pages that are read; a tree that leads back into itself has any number."""
MASK = (1 << 64) - 1


@dataclass(slots=True)
class Walked:
    """What a walk comes to.

    Args:
        fault: physical address at which the kernel faults, in a node or in a page that it marks.
        unseen: physical address of memory that the walk reads and the image does not have.
        exhausted: a block of an order beyond all memory is reserved.
        cut: the walk was given up.
    """

    fault: int | None = None
    unseen: int | None = None
    exhausted: bool = False
    cut: bool = False


def walk_tree(boot: Boot, root: int) -> Walked:
    """Walk the tree at a physical address."""
    shift = boot.image.geometry.page_shift
    found = Walked()
    stack = [(root, tree_depth(shift) - 1, 0)]
    for _ in range(MOST_NODES):
        if not stack or found.fault is not None:
            return found
        address, level, key = stack.pop()
        words = _words(boot, found, address)
        if words is None:
            return found
        if not level:
            _leaf(boot, found, words, key)
            continue
        width = (level - 1) * table_bits(shift) + leaf_bits(shift)
        used = np.flatnonzero(words)[::-1].tolist()
        stack += [(int(words[i]), level - 1, key | i << width & MASK) for i in used]
    found.cut = True
    return found


def _words(boot: Boot, found: Walked, address: int) -> NDArray[np.uint64] | None:
    """The words of a page that may begin anywhere; None where reading them faults."""
    geometry = boot.image.geometry
    size = geometry.page_size
    for at in (address, address + size - 1):
        # Physical page 0 is mapped like any other, although a pointer of 0 is never followed.
        if boot.beyond(at):
            found.fault = at
            return None
    data = bytearray(size)
    first = address - address % size
    for page in (first, first + size) if address % size else (first,):
        try:
            raw = bytes(boot.image.space.read(page, size))
        except MemoryFault:
            if found.unseen is None and not boot.is_blank(page, size):
                found.unseen = page
            continue
        low, high = max(page, address), min(page + size, address + size)
        data[low - address : high - address] = raw[low - page : high - page]
    return np.frombuffer(bytes(data), np.dtype(np.uint64).newbyteorder(geometry.prefix))


def _leaf(boot: Boot, found: Walked, words: NDArray[np.uint64], key: int) -> None:
    """Mark the first page of every block of a leaf, as ``kho_preserved_memory_reserve`` does."""
    shift = boot.image.geometry.page_shift
    bits = np.flatnonzero(np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little"))
    for bit in bits.tolist():
        whole = key | bit
        order = 64 - shift - (whole.bit_length() - 1)
        start = whole << (shift + order) & MASK
        if order > MOST_ORDER and whole > 0:
            found.exhausted = True
        if boot.beyond(start):
            found.fault = start
            return
