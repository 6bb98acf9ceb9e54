from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from khotool.memory.overlap import disjoint, merged

ranges = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=12)


@given(ranges)
def test_pieces_are_disjoint_and_owned_by_the_first(given_ranges: list[tuple[int, int]]) -> None:
    """The pieces cover the union, in order, and each belongs to the earliest range there."""
    starts = np.array([start for start, _ in given_ranges], dtype=np.uint64)
    ends = np.array([start + size for start, size in given_ranges], dtype=np.uint64)
    first, last, owner, overlaps = disjoint(starts, ends)
    found: dict[int, int] = {}
    reach = 0
    for low, high, who in zip(first.tolist(), last.tolist(), owner.tolist(), strict=True):
        assert reach <= low < high
        reach = high
        found.update(dict.fromkeys(range(low, high), who))
    expected: dict[int, int] = {}
    for index, (start, size) in reversed(list(enumerate(given_ranges))):
        expected.update(dict.fromkeys(range(start, start + size), index))
    assert found == expected
    total = sum(size for _, size in given_ranges)
    assert bool(overlaps) == (total > len(expected))
    joined = merged(first, last).tolist()
    assert all(before[1] < after[0] for before, after in pairwise(joined))
    assert sum(high - low for low, high in joined) == len(expected)
