"""A flattened device tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from zlib import crc32

from khotool.fdt.blob import Blob, FdtError, Item, Node, Property
from khotool.fdt.header import check
from khotool.fdt.libfdt import FdtErrorCode, check_compatible
from khotool.fdt.parse import parse
from khotool.fdt.write import build_open, build_sequential, emit, gaps
from khotool.render.device_tree import to_dts
from khotool.render.flat_tree import flat_document, flat_lines, hex_rows
from khotool.render.json import json_chunks
from tests.fuzz.damage import BASES, base

KIND = "binary"
RUNS = 40000

#: One of so many trees is printed.
SELDOM = 10


def seeds() -> Iterator[bytes]:
    """Roots and sub-trees that kernels and khotool wrote, with the rest of their pages."""
    for number in range(BASES):
        image = base(number).image
        for node in (image.tree, *image.entries):
            span = node.target or node.span
            if span is not None and image.space.contains(span.address, 4096):
                data = bytes(image.space.read(span.address, 4096))
                if data.startswith(b"\xd0\x0d\xfe\xed"):
                    yield data


def one_input(data: bytes) -> None:
    """A blob is read as far as possible; a complete one is written back byte for byte."""
    try:
        blob = parse(data)
    except FdtError:
        # No header, or another magic.
        return
    check(blob)
    with suppress(FdtErrorCode):
        check_compatible(data, "kho-v2")
    if crc32(data) % SELDOM == 0:
        shown(blob)
    if blob.complete:
        assert emit(blob, gaps(blob)) == blob.data
        assert blob.root is not None
        written_anew(blob.root)


def written_anew(root: Node) -> None:
    """What libfdt's writers make of a tree, where they can, is read as the same tree."""
    for write in (build_sequential, lambda node: build_open(node, 256)):
        try:
            again = parse(write(root))
        except FdtError:
            continue
        assert again.complete, again.problems
        if write is build_sequential:
            assert again.root is not None
            assert outline(again.root) == outline(root)


def outline(root: Node) -> list[tuple[int, str, bytes]]:
    """Depth, name and value of everything in a tree, in the order of its bytes."""
    found: list[tuple[int, str, bytes]] = []
    stack: list[tuple[int, Item]] = [(0, root)]
    while stack:
        depth, item = stack.pop()
        if isinstance(item, Node):
            found.append((depth, item.name, b""))
            stack.extend((depth + 1, below) for below in reversed(item.items))
        elif isinstance(item, Property):
            found.append((depth, item.name, item.value))
    return found


def shown(blob: Blob) -> None:
    """Everything that a tree is printed as."""
    to_dts(blob)
    for _ in (*flat_lines(blob, blob.root), *hex_rows(blob, blob.root)):
        pass
    for _ in json_chunks(flat_document(blob, blob.root)):
        pass
