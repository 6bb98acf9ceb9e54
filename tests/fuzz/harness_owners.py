"""Ownership of pages: blocks and claims of a small memory, which a model goes through by page.

The first byte says where that memory is; records of ``EDITS`` follow, each a block or a claim.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.fuzz.damage import EDIT, EDITS
from tests.unit.pages.plain_owners import PAGE, PATHS, Triples, agrees_per_page

KIND = "recipe"
RUNS = 1000

MOST = 16
BASES = (0, 1 << 30, 1 << 40, (1 << 64) - (1 << 20))


def seeds() -> Iterator[bytes]:
    """Blocks with a claim each, in every place."""
    for number in range(len(BASES) * 6):
        records = [EDITS.pack(kind, number * kind * 5, number) for kind in range(number // 4 * 2)]
        yield bytes([number]) + b"".join(records)


def one_input(data: bytes) -> None:
    """Every page has the owners that claims on it give, and all totals agree."""
    blocks: Triples = []
    claims: Triples = []
    for at in range(1, min(len(data) - EDIT, MOST * EDIT) + 1, EDIT):
        kind, where, value = EDITS.unpack_from(data, at)
        if kind % 2:
            size = (0, 1, PAGE, value % (9 * PAGE))[value >> 20 & 3]
            claims.append((where % (120 * PAGE), size, (value >> 40) % len(PATHS)))
        else:
            blocks.append((where % 20, 1 + value % 5, (value >> 8) % 4))
    agrees_per_page(blocks, claims, BASES[data[0] % len(BASES)] if data else 0)
