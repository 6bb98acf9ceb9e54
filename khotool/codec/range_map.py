"""Preserved memory as ranges at the nodes that own them: before there was a map of its own."""

from __future__ import annotations

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.record import column
from khotool.fdt.blob import Node as FdtNode
from khotool.maps.preserved import MapPages, PreservedMap
from khotool.pages.blocks import Blocks
from khotool.pages.runs import normalise

RANGE = "kho_mem"
"""Struct of one range: ``addr`` and ``size``."""
FLAGS = 1
"""Bit 0 of an address says that the range is not to be initialised; it is not an address bit."""
HIGHEST = 1 << 52


def ranges_map(tree: FdtNode, name: str, compiled: CompiledStruct) -> PreservedMap:
    """Every range of every property ``name`` of a tree, rounded out to pages.

    A property whose length is not a multiple of a range is skipped, as the kernel does.

    Args:
        compiled: struct of one range.
    """
    geometry = compiled.geometry
    tables = [
        np.frombuffer(prop.value, compiled.dtype)
        for _, node in tree.walk()
        for prop in node.properties
        if prop.name == name and prop.value and len(prop.value) % compiled.size == 0
    ]
    rows = np.concatenate([np.empty(0, compiled.dtype), *tables])
    address, length = column(compiled, rows, "addr"), column(compiled, rows, "size")
    page = np.uint64(geometry.page_size - 1)
    start = address & ~np.uint64(FLAGS)
    sound = (length > 0) & (start < np.uint64(HIGHEST)) & (length < np.uint64(HIGHEST))
    start, length = start[sound], length[sound]
    merged = normalise(np.stack([start & ~page, (start + length + page) & ~page], axis=1))
    counts = (merged[:, 1] - merged[:, 0]) >> np.uint64(geometry.page_shift)
    blocks = Blocks.from_runs(
        merged[:, 0], counts, np.zeros(len(merged), np.uint8), geometry.page_shift
    )
    return PreservedMap("ranges", blocks, MapPages.empty(), [], complete=True)
