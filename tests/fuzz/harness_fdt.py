"""A flattened device tree."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.fdt.blob import FdtError
from khotool.fdt.header import check
from khotool.fdt.parse import parse
from khotool.fdt.write import emit, gaps
from khotool.render.device_tree import to_dts
from khotool.render.flat_tree import flat_document, flat_lines, hex_rows
from khotool.render.json import json_chunks
from tests.fuzz.damage import BASES, base

KIND = "binary"
RUNS = 3000


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
    to_dts(blob)
    for _ in (*flat_lines(blob, blob.root), *hex_rows(blob, blob.root)):
        pass
    for _ in json_chunks(flat_document(blob, blob.root)):
        pass
    if blob.complete:
        assert emit(blob, gaps(blob)) == blob.data
