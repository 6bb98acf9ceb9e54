"""Who owns what, worked out page by page: what the arrays have to agree with."""

from __future__ import annotations

import numpy as np

from khotool.pages.blocks import Blocks
from khotool.pages.owners import Claims, find_owners

SHIFT = 12
PAGE = 1 << SHIFT
PATHS = ["/a", "/b", "/c", "/a", "/map"]
Triples = list[tuple[int, int, int]]


def claims_of(triples: Triples, base: int = 0) -> Claims:
    return Claims(
        np.array([base + start for start, _, _ in triples], np.uint64),
        np.array([base + start + size for start, size, _ in triples], np.uint64),
        np.array([owner for _, _, owner in triples], np.int32),
        PATHS,
        np.array([path == "/map" for path in PATHS]),
    )


def blocks_of(triples: Triples, base: int = 0) -> Blocks:
    return Blocks.from_runs(
        [base + (index << (order + SHIFT)) for index, _, order in triples],
        [count for _, count, _ in triples],
        [order for _, _, order in triples],
        SHIFT,
    )


def agrees_per_page(block_runs: Triples, claim_list: Triples, base: int) -> None:
    """Assert that every page has the owners, order and place in the summary that pages give.

    Args:
        block_runs: number of the first block, of blocks, and their order.
        claim_list: start and bytes from ``base`` on, and index into ``PATHS``.
        base: physical address in bytes that both count from.
    """
    order_of: dict[int, int] = {}
    for index, count, order in block_runs:
        for frame in range(index << order, (index + count) << order):
            order_of[frame] = max(order, order_of.get(frame, -1))
    owners: dict[int, set[int]] = {}
    for start, size, owner in claim_list:
        for frame in range(start >> SHIFT, -(-(start + size) // PAGE) if size else 0):
            order = order_of.get(frame, 0)
            for other in range(frame >> order << order, ((frame >> order) + 1) << order):
                owners.setdefault(other, set()).add(PATHS.index(PATHS[owner]))
    result = find_owners(blocks_of(block_runs, base), claims_of(claim_list, base))

    seen: dict[int, tuple[int, int]] = {}
    table = result.ranges
    for row in range(len(table)):
        low = (int(table.start[row]) - base) >> SHIFT
        for frame in range(low, low + int(table.pages[row])):
            assert frame not in seen
            seen[frame] = (int(table.order[row]), int(table.owner[row]))
    assert seen == {f: (o, min(owners.get(f, {-1}))) for f, o in order_of.items()}
    for row in range(1, len(table)):
        touching = int(table.start[row - 1]) + int(table.pages[row - 1]) * PAGE
        assert touching <= int(table.start[row])
        same = (table.order[row - 1], table.owner[row - 1]) == (table.order[row], table.owner[row])
        assert not (same and touching == int(table.start[row]))

    doubles = {f: o for f, o in owners.items() if f in order_of and len(o) > 1}
    found: dict[int, tuple[int, int, int]] = {}
    double = result.double_owned
    for row in range(len(double)):
        low = (int(double.start[row]) - base) >> SHIFT
        for frame in range(low, low + int(double.pages[row])):
            found[frame] = (
                int(double.first[row]),
                int(double.second[row]),
                int(double.owners[row]),
            )
    assert found == {f: (min(o), max(o), len(o)) for f, o in doubles.items()}
    assert double.pairs() == sorted({(min(o), max(o)) for o in doubles.values()})

    outside = {f: min(o - {4}) for f, o in owners.items() if f not in order_of and o - {4}}
    missing: dict[int, int] = {}
    for row in range(len(result.unpreserved)):
        low = (int(result.unpreserved.start[row]) - base) >> SHIFT
        for frame in range(low, low + int(result.unpreserved.pages[row])):
            missing[frame] = int(result.unpreserved.owner[row])
    assert missing == outside

    assert result.preserved_pages == len(order_of)
    assert result.owned_pages == len(set(order_of) & set(owners))
    assert result.unowned_pages == result.preserved_pages - result.owned_pages
    assert result.unpreserved_pages == len(outside)
    assert result.double_owned_pages == len(doubles)
    lowest = [min(owners.get(f, {-1})) for f in order_of]
    pages = [lowest.count(number) for number in range(-1, len(PATHS))]
    assert result.pages_by_owner().tolist() == pages
    for frame in range(0, 130, 3):
        assert result.owners_of(base + frame * PAGE + 5) == sorted(owners.get(frame, ()))
