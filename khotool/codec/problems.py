"""Problems met while decoding, and the rule that each belongs to."""

from __future__ import annotations

from collections.abc import Callable

from khotool.records import dataclass, field

Read = Callable[[int, int], memoryview]
"""Physical address and length in bytes to bytes; raises MemoryFault."""


@dataclass(frozen=True, slots=True)
class ShapeProblem:
    """What is wrong with a linked structure.

    Args:
        code: short slug, mapped to a rule by ``SHAPE_RULES``.
        address: physical address of the place, bytes.
        text: one sentence with the numbers of this case.
        data: those numbers, for machines.
    """

    code: str
    address: int
    text: str
    data: dict[str, int] = field(default_factory=dict, hash=False)


SHAPE_RULES = {
    "cycle": "REC402",
    "limit": "LIM001",
    "unaligned": "REC401",
    "missing": "MEM301",
    "count": "REC403",
    "short-block": "REC404",
    "short-chunk": "REC404",
    "after-end": "REC405",
    "total-pages": "REC406",
    "shared-table": "REC402",
    "level": "REC417",
    "not-behind": "REC421",
}
"""Rule by code of a ``ShapeProblem``."""

MAP_RULES = {
    "shared-node": "MEM311",
    "shared-bitmap": "MEM311",
    "chunk-cycle": "MEM311",
    "unaligned-child": "MEM312",
    "unaligned-chunk": "MEM312",
    "unaligned-root": "MEM312",
    "missing-node": "MEM313",
    "missing-bitmap": "MEM313",
    "missing-chunk": "MEM313",
    "bad-key": "MEM314",
    "lost-marker": "MEM321",
    "too-many-elements": "MEM315",
    "bad-order": "MEM316",
    "unaligned-start": "MEM317",
    "out-of-range": "MEM318",
    "limit": "LIM001",
}
"""Rule by code of a ``MapProblem``."""

FDT_RULES = {
    "bad-magic": "FDT101",
    "truncated": "FDT102",
    "size-beyond-file": "FDT102",
    "limit": "LIM001",
    "depth": "LIM001",
}
"""Rule by code of an FDT ``Problem``; every other code is FDT103."""

_RAISED_BY = {"limit": "chain=N,nodes=N,bytes=N", "depth": "depth=N"}


def with_limit_hint(code: str, text: str) -> str:
    """The text of a problem; where a limit was reached, with the flag that raises it."""
    flags = _RAISED_BY.get(code)
    return f"{text}; raise with --limit {flags}" if flags else text
