from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from khotool.pages import runs
from khotool.pages.runs import TOP, Ranges

Pairs = list[tuple[int, int]]
PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def ranges(pairs: Pairs) -> Ranges:
    return np.array(pairs, np.uint64).reshape(-1, 2)


def members(table: Ranges) -> set[int]:
    return {n for start, end in table.tolist() for n in range(start, end)}


def check_normal(table: Ranges) -> None:
    flat = table.reshape(-1)
    assert bool((flat[1:] > flat[:-1]).all())


@given(PAIRS)
def test_normalise_keeps_the_bytes_and_sorts_them(pairs: Pairs) -> None:
    """Normalised ranges are ascending, apart from each other, and hold the same bytes."""
    table = runs.normalise(ranges(pairs))
    check_normal(table)
    assert members(table) == members(ranges(pairs))
    assert runs.total(table) == len(members(table))


@given(PAIRS, PAIRS)
def test_algebra_is_that_of_sets(left: Pairs, right: Pairs) -> None:
    """Intersection, difference and membership agree with Python sets."""
    a, b = runs.normalise(ranges(left)), runs.normalise(ranges(right))
    assert members(runs.intersect(a, b)) == members(a) & members(b)
    assert members(runs.subtract(a, b)) == members(a) - members(b)
    for result in (runs.intersect(a, b), runs.subtract(a, b)):
        check_normal(result)
    inside = runs.contains(a, np.arange(64, dtype=np.uint64))
    assert set(np.flatnonzero(inside).tolist()) == members(a)


def test_the_last_byte_of_the_address_space_is_a_byte() -> None:
    """Ranges that reach TOP neither wrap nor vanish."""
    high = ranges([(TOP - 4096, TOP)])
    assert runs.subtract(ranges([(0, TOP)]), high).tolist() == [[0, TOP - 4096]]
    assert runs.intersect(high, ranges([(1, TOP)])).tolist() == high.tolist()
    assert runs.total(ranges([(0, TOP)])) == TOP
