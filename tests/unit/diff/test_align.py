from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from khotool.diff.align import longest_ascending, moved, numbered, paired


@given(st.permutations(range(7)))
def test_moves_are_the_fewest(order: list[int]) -> None:
    """What is not said to move keeps its order, and no smaller set would do."""
    gone = {key for key, _, _ in moved(list(range(7)), order)}
    kept = [key for key in order if key not in gone]
    assert kept == sorted(kept)
    longest = max(
        n for n in range(8) for part in combinations(order, n) if list(part) == sorted(part)
    )
    assert len(kept) == longest


def test_a_long_list_in_another_order() -> None:
    """A long list takes no quadratic time."""
    values = np.random.default_rng(1).permutation(100_000).tolist()
    found = longest_ascending(values)
    assert all(values[a] < values[b] for a, b in pairwise(found))


def test_repeated_keys_are_numbered() -> None:
    """The n-th of a name is aligned with the n-th of that name."""
    assert numbered(["a", "b", "a"]) == [("a", 0), ("b", 0), ("a", 1)]


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_repeated_keys_pair_by_place_first(old: list[str], new: list[str]) -> None:
    """As many pairs as keys allow, each key once, and equal keys at one place are a pair."""
    left, right = paired(old, new)
    assert [key for key, _ in left] == old
    assert [key for key, _ in right] == new
    assert len(set(left)) == len(left)
    assert len(set(right)) == len(right)
    for key in "abc":
        pairs = {pair for pair in left if pair[0] == key} & set(right)
        assert len(pairs) == min(old.count(key), new.count(key))
    assert all(a == b for a, b in zip(left, right, strict=False) if a[0] == b[0])
