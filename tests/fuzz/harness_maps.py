"""Pages of a map of preserved memory, without an image around them.

The first byte names a map that was built; edits of ``EDITS`` follow, on words of its pages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from khotool.maps.nodes import leaf_bits, table_bits
from khotool.maps.preserved import PreservedMap
from khotool.maps.radix import tree_depth
from khotool.pages.blocks import Blocks
from tests.fuzz.damage import EDGES, EDIT, EDITS
from tests.unit.maps import chunk_pages, radix_pages, test_order_tables
from tests.unit.maps.radix_pages import block_of_key

KIND = "recipe"
RUNS = 2000

MOST_EDITS = 12
#: Blocks that are compared one by one; more only in number.
MOST_BLOCKS = 20_000
#: One of so many inputs is written again, if it has no more blocks than these.
SELDOM, MOST_WRITTEN = 10, 3000
FORMS = ("radix", "chunks", "short chunks", "order tables", "four levels")
#: Page shift and byte order.
MACHINES = ((12, "<"), (12, ">"), (14, "<"))


class Stored(NamedTuple):
    """A map in memory.

    Args:
        pages: contents by physical address.
        words: address and offset of words that are not 0.
        walk: reads the map back from other pages.
        root: physical address of the first page; 0 where several trees are named.
    """

    form: str
    shift: int
    order: str
    pages: dict[int, bytes]
    words: list[tuple[int, int]]
    walk: Callable[[dict[int, bytes]], PreservedMap]
    root: int


def block_sets(shift: int) -> list[Blocks]:
    """A few pages; blocks of many orders; both ends of memory."""
    page = 1 << shift
    sets: list[list[tuple[int, int, int]]] = [
        [(page * 5, 3, 0), (page << 10, 2, 9), (1 << 33, 40, 0)],
        [(page << (order + 1), 1 + order % 3, order) for order in range(11)],
        [(0, 2, 0), ((1 << 64) - (page << 4), 1, 4), (1 << 62, 70, 1), (1 << 63, 1, 30)],
        [(page * 3 * number, 1, 0) for number in range(1, 400)],
    ]
    columns = [np.array(runs, np.uint64).T for runs in sets]
    return [Blocks.from_runs(start, count, order, shift) for start, count, order in columns]


def store(form: str, shift: int, order: str, blocks: Blocks) -> Stored:
    """A map of one form."""
    root = 0
    if form == "radix":
        memory, root, _, _ = radix_pages.store(blocks, order)
        walk: Callable[[radix_pages.Memory], PreservedMap] = partial(
            radix_pages.walk, root=root, shift=shift, byteorder=order
        )
    elif form.endswith("chunks"):
        return stored_chunks(form, shift, order, blocks)
    else:
        kind = "as needed" if form == "order tables" else form
        blocks = test_order_tables.reachable(blocks, kind)
        memory, tops = test_order_tables.store(blocks, order, kind)
        walk = partial(test_order_tables.read, tops=tops, shift=shift, byteorder=order, kind=kind)

    def read(pages: dict[int, bytes]) -> PreservedMap:
        changed = radix_pages.Memory(shift)
        changed.pages = {at: np.frombuffer(page, np.uint8) for at, page in pages.items()}
        return walk(changed)

    pages = {at: bytes(page) for at, page in memory.pages.items()}
    return Stored(form, shift, order, pages, words_of(pages), read, root)


def stored_chunks(form: str, shift: int, order: str, blocks: Blocks) -> Stored:
    """A list of chunks, with bitmaps of a page or of 512 bytes."""
    size = 512 if form == "short chunks" else 1 << shift
    memory, first = chunk_pages.store(blocks, order, size)

    def read(pages: dict[int, bytes]) -> PreservedMap:
        changed = chunk_pages.Memory()
        changed.pieces = pages
        return chunk_pages.walk(changed, first, shift, order, size)

    pages = {at: bytes(piece) for at, piece in memory.pieces.items()}
    return Stored(form, shift, order, pages, words_of(pages), read, 0)


def words_of(pages: dict[int, bytes]) -> list[tuple[int, int]]:
    """Address of the page and offset of each word that is not 0."""
    return [
        (address, int(at) * 8)
        for address, page in pages.items()
        for at in np.flatnonzero(np.frombuffer(page, np.uint64))
    ]


@cache
def forms() -> list[tuple[str, int, str, int]]:
    """Every map: form, page shift, byte order, number of the set of blocks."""
    return [
        (form, shift, order, number)
        for form in FORMS
        for shift, order in MACHINES
        for number in range(len(block_sets(12)))
    ]


@cache
def stored(number: int) -> Stored:
    """A map by number, built once."""
    form, shift, order, blocks = forms()[number]
    return store(form, shift, order, block_sets(shift)[blocks])


def seeds() -> Iterator[bytes]:
    """Every map, with one edit."""
    for number in range(len(forms())):
        yield bytes([number]) + EDITS.pack(number % 10, number * 7, number)


def edited(whole: Stored, data: bytes) -> dict[int, bytes]:
    """The pages of a map after the edits of an input."""
    pages = dict(whole.pages)
    addresses = list(pages)
    for at in range(1, min(len(data) - EDIT, MOST_EDITS * EDIT) + 1, EDIT):
        kind, where, value = EDITS.unpack_from(data, at)
        address, offset = whole.words[where % len(whole.words)]
        if kind & 0x10:
            # Not a word that is there: another one of the page.
            offset = value // 3 % len(pages.get(address, bytes(8))) & ~7
        if address not in pages or offset + 8 > len(pages[address]):
            continue
        page = pages[address]
        other = addresses[value % len(addresses)]
        word = {
            0: value,
            1: EDGES[value % len(EDGES)],
            2: int.from_bytes(page[offset : offset + 8], "little") ^ 1 << value % 64,
            3: other,
            4: other + (value >> 8) % 4096,
            5: address,
            6: (1 << 64) - 1,
        }.get(kind % 8)
        if word is None:
            del pages[address]
            continue
        packed = struct.pack(f"{'<' if kind % 8 == 2 else whole.order}Q", word)
        pages[address] = page[:offset] + packed + page[offset + 8 :]
    return pages


def one_input(data: bytes) -> None:
    """A radix tree holds what a walk word by word finds; what was read is written and read."""
    whole = stored(data[0] % len(forms()) if data else 0)
    pages = edited(whole, data)
    found = whole.walk(pages)
    blocks = found.blocks
    assert len(found.pages) <= len(pages) + 1
    if whole.form == "radix":
        plain = plain_radix(whole, pages)
        assert int(blocks.count.sum()) == len(plain)
        if len(plain) < MOST_BLOCKS and len(blocks) < MOST_BLOCKS:
            assert expanded(blocks) == plain
    if crc32(data) % SELDOM or blocks.clipped or len(blocks) > MOST_WRITTEN:
        return
    again = store(whole.form, whole.shift, whole.order, blocks)
    if not whole.form.startswith("four"):
        assert again.walk(again.pages).blocks == blocks


def expanded(blocks: Blocks) -> set[tuple[int, int]]:
    """Physical address and order of every block."""
    columns = (blocks.start.tolist(), blocks.count.tolist(), blocks.order.tolist())
    return {
        (start + (number << (order + blocks.page_shift)), order)
        for start, count, order in zip(*columns, strict=True)
        for number in range(count)
    }


def plain_radix(whole: Stored, pages: dict[int, bytes]) -> set[tuple[int, int]]:
    """Blocks of a radix tree, read one word after another."""
    shift, blocks = whole.shift, set()
    level = [(whole.root, 0)]
    seen: set[int] = set()
    for height in reversed(range(tree_depth(shift))):
        below: list[tuple[int, int]] = []
        for address, prefix in level:
            if address in seen or address & ((1 << shift) - 1):
                continue
            seen.add(address)
            for slot, word in words_in(pages.get(address), whole.order):
                if height:
                    below.append((word, prefix << table_bits(shift) | slot))
                    continue
                key = prefix << leaf_bits(shift) | slot << 6
                blocks |= {block_of_key(key + bit, shift) for bit in range(64) if word >> bit & 1}
        level = below
    return {block for block in blocks if block is not None}


def words_in(page: bytes | None, order: str) -> list[tuple[int, int]]:
    """Number and value of each word of a page that is not 0."""
    if page is None:
        return []
    words: NDArray[np.uint64] = np.frombuffer(page, f"{order}u8")
    slots = np.flatnonzero(words)
    return list(zip(slots.tolist(), words[slots].tolist(), strict=True))
