"""What both forms of the map of preserved memory decode to."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from khotool.pages.bitmaps import lay_out, runs_of_bits
from khotool.pages.blocks import Blocks
from khotool.records import dataclass, field

ReadPages = Callable[[NDArray[np.uint64]], tuple[NDArray[np.uint8], NDArray[np.bool_]]]
"""Physical addresses uint64 (n,) in bytes -> contents uint8 (n, size) and whether each is there.

The size of a piece, a page or a bitmap, is fixed by whoever passes the function.
"""

MapLayout = Literal["radix", "bitmap-chunks", "ranges", "order-tables"]
"""Forms in which a map is stored; ``ranges`` are properties of the nodes that own them."""

KEPT_PROBLEMS = 256
"""Problems of one code that are listed; the others are only counted."""


class PageKind(IntEnum):
    """What a page of the map itself holds; the values of ``MapPages.kind``."""

    INTERIOR = 0
    LEAF = 1
    CHUNK = 2
    BITMAP = 3
    TABLE = 4


@dataclass(frozen=True, slots=True)
class MapPage:
    """One page (or smaller bitmap) of the map.

    Args:
        address: physical address in bytes.
        kind: what it holds.
        level: level in the tree, 0 for leaves; 0 outside trees.
        prefix: key bits above this node; for a bitmap, the index of its element in its chunk.
        parent: physical address in bytes of the page that names this one, None for the first.
        size: length in bytes.
    """

    address: int
    kind: PageKind
    level: int
    prefix: int
    parent: int | None
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class MapPages:
    """The pages of the map as columns of one length, in the order they were visited.

    Args:
        address: uint64, physical address in bytes.
        kind: uint8, values of :class:`PageKind`.
        level: uint8, level in the tree, 0 for leaves; 0 outside trees.
        prefix: uint64, key bits above the node; for a bitmap, the index of its element.
        parent: int64, row of the page that names this one, -1 for the first.
        size: uint32, length in bytes.
    """

    address: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    level: NDArray[np.uint8]
    prefix: NDArray[np.uint64]
    parent: NDArray[np.int64]
    size: NDArray[np.uint32]

    def __len__(self) -> int:
        return int(self.address.size)

    def __getitem__(self, row: int) -> MapPage:
        up = int(self.parent[row])
        return MapPage(
            int(self.address[row]),
            PageKind(int(self.kind[row])),
            int(self.level[row]),
            int(self.prefix[row]),
            None if up < 0 else int(self.address[up]),
            int(self.size[row]),
        )

    @classmethod
    def empty(cls) -> MapPages:
        """No pages."""
        return cls.join([])

    @classmethod
    def join(cls, parts: list[MapPages]) -> MapPages:
        """The rows of all parts; ``parent`` rows already count from the start of the whole."""
        return cls(
            np.concatenate([np.zeros(0, np.uint64), *(part.address for part in parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(part.kind for part in parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(part.level for part in parts)]),
            np.concatenate([np.zeros(0, np.uint64), *(part.prefix for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.parent for part in parts)]),
            np.concatenate([np.zeros(0, np.uint32), *(part.size for part in parts)]),
        )


@dataclass(frozen=True, slots=True)
class MapProblem:
    """Something in the map that the kernel's writer does not make.

    Args:
        code: short stable word, such as ``shared-node``.
        address: physical address in bytes where it was seen.
        text: one sentence with the numbers of this case.
        level: of a missing node of a tree, 0 for leaves; 0 for everything else.
    """

    code: str
    address: int
    text: str
    level: int = 0


@dataclass(slots=True)
class ProblemLog:
    """Problems in the order found: all are counted, the first of each code are kept."""

    kept: list[MapProblem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, code: str, address: int, message: str) -> None:
        """Count one problem at physical ``address`` (bytes)."""
        seen = self.counts.get(code, 0)
        self.counts[code] = seen + 1
        if seen < KEPT_PROBLEMS:
            self.kept.append(MapProblem(code, address, message))

    def add_many(
        self, code: str, count: int, describe: Callable[[int], tuple[int, str]], level: int = 0
    ) -> None:
        """Count ``count`` problems; ``describe(i)`` gives address and message of the i-th kept."""
        seen = self.counts.get(code, 0)
        if count:
            self.counts[code] = seen + count
        for index in range(min(count, KEPT_PROBLEMS - seen)):
            self.kept.append(MapProblem(code, *describe(index), level))


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """One ``khoser_mem_chunk`` as stored.

    Args:
        address: physical address in bytes.
        next: physical address in bytes of the next chunk, 0 at the end.
        order: page order of every block in it.
        num_elms: number of elements it claims to have.
        elements: structured array of the elements that fit the page, fields ``phys_start`` and
            ``bitmap`` (physical addresses in bytes) in the byte order of the image.
    """

    address: int
    next: int
    order: int
    num_elms: int
    elements: NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class PreservedMap:
    """The decoded map of preserved memory.

    Args:
        layout: the form it was stored in.
        blocks: what it preserves.
        pages: the pages the map itself occupies.
        problems: what was wrong, at most ``KEPT_PROBLEMS`` of each code.
        complete: False where a part was not read: it is missing, named twice, or past a limit.
        problem_counts: number of problems of each code, kept or not.
        chunks: the chunks as stored; empty for a tree.
    """

    layout: MapLayout
    blocks: Blocks
    pages: MapPages
    problems: list[MapProblem]
    complete: bool
    problem_counts: dict[str, int] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)


def blocks_of_bitmaps(
    words: NDArray[np.uint64], first: NDArray[np.int64], order: int, page_shift: int
) -> Blocks:
    """Blocks of one page order by bitmaps of their numbers: address divided by size.

    A number past the last block of the address space counts as clipped, never wraps.

    Args:
        words: uint64 (n, width), native values, n at least 1.
        first: int64 (n,), number of the block of bit 0 of each bitmap.
    """
    last = np.int64(1) << (64 - page_shift - order)
    if not order and int(first.max()) + words.shape[1] * 64 <= last:
        return Blocks.from_words(first, words, page_shift)
    runs = runs_of_bits(*lay_out(words, first))
    past = int(np.maximum(runs[:, 1] - np.maximum(runs[:, 0], last), 0).sum())
    runs = np.minimum(runs, last)
    runs = runs[runs[:, 0] < runs[:, 1]]
    start = runs[:, 0].astype(np.uint64) << np.uint64(page_shift + order)
    found = Blocks.from_runs(start, runs[:, 1] - runs[:, 0], order, page_shift)
    return Blocks(found.start, found.count, found.order, page_shift, past) if past else found
