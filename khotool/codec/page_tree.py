"""A radix tree of pages, beside the preserved-page map, whose pages belong to one owner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.absent import Absent
from khotool.codec.base import Codec, Pointer, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.preserved_map import MAP_LIMITS, decode_map
from khotool.codec.problems import MAP_RULES, with_limit_hint
from khotool.codec.walk import owner_path
from khotool.handover.values import Array, Buffer, Contents, PageTree, Payload
from khotool.maps import radix
from khotool.model.node import Node, NodeKind, Span
from khotool.model.region import RawRegion
from khotool.pages.blocks import Blocks
from khotool.structured import Table as Written

FRAMES, BLOCKS = "page frames", "pages and orders"
"""What the keys of a tree are: one string has had both."""
KEYS, PAGES = "keys", "pages"
PIECE = 1 << 20
"""Bytes that are written together."""
MAX_SIZE = 1 << 32
"""Bytes of the pages of a manifest at most."""


@register(Shape.PAGE_TREE)
class PageTreeCodec(Codec):
    """The tree is laid out like the map; its keys have an order as the map's do, or none."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The pages of the tree, and all that it holds, belong to the owner of the pointer."""
        scene, recorder = walk.scene, walk.recorder
        address, size = int(node.value), scene.geometry.page_size
        walk.claim(node, address, 1)
        there = scene.read(address, size)
        if isinstance(there, Absent):
            walk.missing(node, address, there)
            return
        found = decode_map(scene, address, Shape.RADIX, pointer.definition, "")
        for problem in found.problems:
            rule = MAP_RULES.get(problem.code, "MEM313")
            text = with_limit_hint(problem.code, problem.text)
            recorder.report(rule, node, text, problem.address, code=problem.code)
        pages = found.pages.address
        if not recorder.spend(node, len(pages), len(pages) * size):
            return
        node.target = Span(address, size)
        for page in pages.tolist():
            data = bytes(scene.space.read(page, size))
            recorder.regions.append(RawRegion(node.path, page, data, node=node))
        recorder.claim_many(owner_path(node), pages, np.uint64(size))
        keys, blocks = read_keys(found.blocks)
        sizes = np.uint64(size) << blocks.order.astype(np.uint64)
        recorder.claim_many(owner_path(node), blocks.start, blocks.count.astype(np.uint64) * sizes)
        node.add(Node(KEYS, NodeKind.VALUE, value=keys))
        node.add(Node(PAGES, NodeKind.VALUE, value=blocks.pages))

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """What the tree holds, block by block."""
        if node.get(KEYS) is None:
            # The tree is not there, or was not read to its end.
            return node.value
        keys, blocks = read_keys(lifter.radix(int(node.value)))
        orders = np.repeat(blocks.order, blocks.count).astype(np.uint64)
        sizes = np.uint64(lifter.geometry.page_size) << orders
        first = np.repeat(np.cumsum(blocks.count) - blocks.count, blocks.count)
        number = np.arange(len(orders), dtype=np.int64) - first
        starts = np.repeat(blocks.start, blocks.count) + number.astype(np.uint64) * sizes
        return PageTree(lifter.payload(starts, sizes), keys == FRAMES)

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The size of all pages, what each holds; with ``frames = true`` keys without orders."""
        given, page = table[field.label].table(), reader.geometry.page_size
        frames, size = given.boolean("frames"), given.integer("size", sizes=True, most=MAX_SIZE)
        contents = reader.memory(given, page)
        each = None if contents is None else page_by_page(contents)
        return PageTree(Payload(np.full(size // page, page, np.uint64), each), frames)

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The pages at their new places, and a tree of them; its own pages are preserved too."""
        value, geometry, path = pointer.value, builder.geometry, pointer.path
        if not isinstance(value, PageTree):
            return pointer.number()
        starts = builder.place_payload(value.payload, path)
        frames = value.payload.sizes // np.uint64(geometry.page_size)
        orders = np.array([int(n).bit_length() - 1 for n in frames.tolist()], np.uint8)
        blocks = Blocks.from_runs(
            starts, np.ones(len(starts), np.int64), orders, geometry.page_shift
        )
        if value.frames:
            blocks = write_keys(blocks)

        def allocate(count: int) -> Array:
            pages = [builder.alloc_preserve(geometry.page_size, path) for _ in range(count)]
            return np.array(pages, np.uint64)

        top, places, contents = radix.build(
            blocks,
            geometry=geometry,
            allocate=allocate,
            limits=MAP_LIMITS,
        )
        for place, page in zip(places.tolist(), contents, strict=True):
            builder.write(place, memoryview(page))
        return top


def page_by_page(contents: Contents) -> Contents:
    """The contents of one page, in each of many pages; neighbours are written together."""

    def fill(addresses: Array, sizes: Array) -> Iterator[tuple[int, Buffer]]:
        first = contents(addresses[:1], sizes[:1]) if len(addresses) else ()
        page = b"".join(bytes(data) for _, data in first)
        if not page:
            return
        many = memoryview(page * max(PIECE // len(page), 1))
        breaks = np.flatnonzero(np.diff(addresses) != np.uint64(len(page))) + 1
        for run in np.split(addresses, breaks):
            low, past = int(run[0]), int(run[-1]) + len(page)
            for at in range(low, past, len(many)):
                yield at, many[: past - at]

    return fill


def read_keys(blocks: Blocks) -> tuple[str, Blocks]:
    """What the keys of a tree are, and the blocks that it means.

    A key with an order has its highest bit far above any page frame number; read as if it had
    one, a page frame number is a block larger than any memory.
    """
    orders = blocks.order
    plain = orders > radix.MOST_ORDER
    if not bool(plain.any()):
        return BLOCKS, blocks
    shift = blocks.page_shift
    wide = orders[plain].astype(np.uint64)
    marker = np.uint64(1) << (np.uint64(64 - shift) - wide)
    key = marker | (blocks.start[plain] >> (wide + np.uint64(shift)))
    single = Blocks.from_runs(
        key << np.uint64(shift), blocks.count[plain], np.zeros(len(key), np.uint8), shift
    )
    if bool(plain.all()):
        return FRAMES, single
    kept = Blocks.from_runs(blocks.start[~plain], blocks.count[~plain], blocks.order[~plain], shift)
    return FRAMES, Blocks.join([kept, single], shift)


def write_keys(blocks: Blocks) -> Blocks:
    """Blocks whose keys are the page frame numbers of others."""
    frames = np.concatenate(
        [
            np.arange(first, first + (count << order), dtype=np.int64)
            for first, count, order in zip(
                blocks.first_frame.tolist(),
                blocks.count.tolist(),
                blocks.order.tolist(),
                strict=True,
            )
        ]
        or [np.zeros(0, np.int64)]
    )
    shift = blocks.page_shift
    top = np.frexp(frames.astype(np.float64))[1].astype(np.int64) - 1
    order = (64 - shift - top).astype(np.uint64)
    start = frames.astype(np.uint64) << (order + np.uint64(shift))
    return Blocks.from_runs(start, np.ones(len(frames), np.int64), order.astype(np.uint8), shift)
