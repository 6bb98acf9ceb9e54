"""Large images for measurements: sessions of memfds whose pages lie in one of three layouts.

``python -m tests.benchmarks.layouts OUT LAYOUT FILES PAGES`` writes one image. The encoder writes
the same files with a page each; tables and map of the full size are then laid out in the file, a
part at a time, so that memory does not limit the size.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from khotool.abi.registry import load_registry
from khotool.decode.open import open_image
from khotool.encode.segments import write_image
from khotool.handover.columns import pack_columns
from khotool.maps.preserved import PreservedMap
from khotool.memory.writer import write_elf
from khotool.model.image import Image, Node
from khotool.opening.models import Model, build_model
from khotool.pages.bitmaps import bits_of_runs

LAYOUTS = ("runs", "random", "alternate")
"""Contiguous pages; the same pages shuffled among all files; every second page of memory."""
PAGE = 4096
LEVELS = 6
LEAF = 1 << 15
"""Pages that a leaf of the map has bits for."""
FIRST = 1 << 20
"""Page frame of the first page of a file."""
LINKS = PAGE // 8 - 1
"""Pages that a chunk lists."""
PIECE = 1 << 20
"""Rows that are made together."""
PROGRAM_HEADER = 56
Array = np.ndarray[Any, Any]


def write_layout(path: Path, layout: str, files: int, pages: int) -> None:
    """Write an ELF core with ``files`` memfds of ``pages`` pages each, without their contents."""
    sessions = [{"name": f"vm-{n}", "file": [{"token": 1, "size": PAGE}]} for n in range(files)]
    model = Model.of(Path("model.toml"), {"abi": "7.3", "session": sessions})
    write_image(path, build_model(model, load_registry()))
    image = open_image(path)
    tables = [node for node in image.tree.walk() if node.table is not None and len(node.table)]
    stride = 2 if layout == "alternate" else 1
    past = FIRST + files * pages * stride
    area = -(-past // LEAF) * LEAF
    listed = -(-pages * 16 // PAGE)
    each = listed + -(-listed // LINKS)
    kept = [(frame, frame + 1) for frame in other_frames(image, tables)]
    kept.append((area, area + files * each))
    ranges = [(FIRST, past), *kept]
    leaves = sorted({n for low, high in ranges for n in range(low // LEAF, -(-high // LEAF))})
    levels = [np.array(leaves) + (1 << 52) // LEAF]
    while len(levels) < LEVELS:
        levels.insert(0, np.unique(levels[0] >> 9))
    root = area + files * each

    patched(path, image, tables, pages, [root, area, each, listed])
    memory = grown(path, area, each * files + sum(map(len, levels)))
    order = np.arange(files * pages if layout == "random" else 0, dtype=np.uint32)
    np.random.default_rng(1).shuffle(order)
    for number, node in enumerate(tables):
        own = memory[number * each : (number + 1) * each]
        write_chunks(own[listed:], area + number * each, listed)
        write_rows(own[:listed].reshape(-1), node, number * pages, pages, stride, order)
    at = write_interior(memory[files * each :], levels, root) + files * each
    pattern = np.uint64(0x5555555555555555 if stride == 2 else (1 << 64) - 1)
    for row, leaf in enumerate(leaves):
        low = leaf * LEAF
        mine = [
            (max(a - low, 0), min(b - low, LEAF)) for a, b in kept if a < low + LEAF and b > low
        ]
        full = max(0, min(past - low, LEAF)) if low >= FIRST else 0
        memory[at + row] = bits_of_runs(np.array([[0, full]]), LEAF) & pattern
        memory[at + row] |= bits_of_runs(np.array(mine, np.int64).reshape(-1, 2), LEAF)
    memory.flush()


def other_frames(image: Image, tables: list[Node]) -> list[int]:
    """Page frames that are preserved for anything but the pages and tables of files."""
    assert isinstance(image.map, PreservedMap)
    blocks = image.map.blocks
    frames = np.concatenate(list(map(np.arange, blocks.first_frame, blocks.last_frame)))
    gone = [np.array([node.value_of("first")]) // PAGE for node in tables]
    for node in tables:
        assert node.table is not None
        gone += [node.table.column("pfn"), node.table.extents[:, 0] // np.uint64(PAGE)]
    found: list[int] = np.setdiff1d(frames, np.concatenate(gone).astype(np.int64)).tolist()
    return found


def patched(path: Path, image: Image, tables: list[Node], pages: int, places: list[int]) -> None:
    """Write the small image again, its files of ``pages`` pages, with a page at the new area."""
    root, area, each, listed = places
    wanted = [(image.tree.get("memory_map"), root * PAGE)]
    for number, node in enumerate(tables):
        assert node.parent is not None
        wanted.append((node.parent.get("size"), pages * PAGE))
        wanted.append((node.parent.get("nr_folios"), pages))
        wanted.append((node.get("first"), (area + number * each + listed) * PAGE))
        wanted.append((node.get("total_pages"), listed))
    memory = {
        low: bytearray(image.space.read(low, high - low))
        for low, high in image.space.extents().tolist()
    }
    for field, value in wanted:
        assert field is not None
        assert field.span is not None
        low = max(start for start in memory if start <= field.span.address)
        at = field.span.address - low
        memory[low][at : at + field.span.size] = value.to_bytes(field.span.size, "little")
    segments = [*memory.items(), (area * PAGE, bytearray(PAGE))]
    write_elf(path, segments, endian="little", vmcoreinfo=image.info.vmcoreinfo)


def grown(path: Path, area: int, pages: int) -> Any:
    """The last segment of an ELF core made larger: its words, mapped, a page a row."""
    offset = path.stat().st_size - PAGE
    with path.open("r+b") as file:
        file.truncate(offset + pages * PAGE)
        # A program header for each of 65,535 segments fits.
        head = np.memmap(file, np.uint8, "r+", shape=min(PAGE << 10, offset + pages * PAGE))
    count = int(head[56:58].view("<u2")[0])
    last = head[64 + (count - 1) * PROGRAM_HEADER :][:PROGRAM_HEADER].view("<u8")
    assert last[1:4:2].tolist() == [offset, area * PAGE]
    last[4:6] = pages * PAGE
    head.flush()
    return np.memmap(path, "<u8", "r+", offset=offset, shape=(pages, PAGE // 8))


def write_chunks(memory: Any, first: int, listed: int) -> None:
    """The chunks that list the pages of a table, which are in front of them."""
    addresses = np.arange(first, first + listed, dtype=np.uint64) * np.uint64(PAGE)
    for row in range(len(memory)):
        part = addresses[row * LINKS : (row + 1) * LINKS]
        memory[row, 0] = (first + listed + row + 1) * PAGE if row + 1 < len(memory) else 0
        memory[row, 1 : 1 + part.size] = part


def write_rows(memory: Any, node: Node, begin: int, pages: int, stride: int, order: Array) -> None:
    """The folios of a file, which has the pages from ``begin`` on of all."""
    assert node.table is not None
    flags = node.table.column("flags")[0]
    for low in range(0, pages, PIECE):
        index = np.arange(low, min(low + PIECE, pages), dtype=np.uint64)
        place = (
            order[begin + low : begin + low + index.size]
            if order.size
            else index + np.uint64(begin)
        )
        frames = place.astype(np.uint64) * np.uint64(stride) + np.uint64(FIRST)
        columns = {"pfn": frames, "flags": np.full(index.size, flags), "index": index}
        made = pack_columns(node.table.compiled, columns, index.size, node.path)
        memory[2 * low : 2 * (low + index.size)] = made.view("<u8")


def write_interior(memory: Any, levels: list[Array], root: int) -> int:
    """The nodes above the leaves, level by level; returns the row of the first leaf."""
    at = 0
    for keys, below in pairwise(levels):
        first = at + len(keys)
        row = at + np.searchsorted(keys, below >> 9)
        memory[row, below & 511] = (np.arange(len(below)) + root + first) * PAGE
        at = first
    return at


if __name__ == "__main__":
    write_layout(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
