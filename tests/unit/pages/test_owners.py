from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.pages.blocks import Blocks
from khotool.pages.claims import Column
from khotool.pages.owners import Claims, ClaimsBuilder, find_owners
from tests.unit.pages.plain_owners import PAGE, SHIFT, Triples, agrees_per_page

BLOCKS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5), st.integers(0, 3)), max_size=6)
CLAIMS = st.lists(
    st.tuples(st.integers(0, 120 * PAGE), st.integers(0, 9 * PAGE), st.integers(0, 4)), max_size=12
)


@settings(max_examples=150)
@given(BLOCKS, CLAIMS, st.sampled_from([0, 1 << 40, 1 << 63]))
def test_ownership_agrees_with_a_model_per_page(
    block_runs: Triples, claim_list: Triples, base: int
) -> None:
    """Every page has the owners, the order and the place in the summary that pages alone give."""
    agrees_per_page(block_runs, claim_list, base)


def test_many_owners_of_one_huge_block_share_it() -> None:
    """Work stays small when every claim meets every other."""
    count = 50_000
    builder = ClaimsBuilder()
    for number in range(count):
        owner = builder.owner(f"/files[{number}]")
        builder.add(owner, (1 << 40) + number, (1 << 41) - number)
    result = find_owners(Blocks.from_runs([1 << 40], [1], [28], SHIFT), builder.build())
    assert result.double_owned_pages == result.preserved_pages == 1 << 28
    assert result.double_owned.pairs() == [(0, count - 1)]
    assert len(result.owners_of(1 << 40)) == count


def test_runs_of_terabytes_take_little() -> None:
    """Blocks and owners without end cost what the image weighs, not what they span."""
    blocks = Blocks.from_runs([0], [1 << 19], [8], SHIFT)
    builder = ClaimsBuilder()
    for path in ("/a", "/b"):
        builder.add(builder.owner(path), 0, int(blocks.end[-1]))
    tracemalloc.start()
    try:
        result = find_owners(blocks, builder.build())
        assert result.double_owned_pages == result.preserved_pages == 1 << 27
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_addresses_and_owners_that_do_not_fit_one_word_together() -> None:
    """Pages at the top of the address space have owners like any other."""
    builder = ClaimsBuilder()
    top = (1 << 64) - PAGE
    for number in range(5000):
        builder.add(builder.owner(f"/{number}"), top - number * PAGE, top - number * PAGE + 1)
    builder.add(builder.owner("/last"), top, 1 << 64)
    result = find_owners(Blocks.from_runs([top - 9 * PAGE], [10], [0], SHIFT), builder.build())
    assert result.owners_of(top) == [0, 5000]
    assert result.owners_of(top - PAGE) == [1]
    assert (result.owned_pages, result.unpreserved_pages) == (10, 4990)
    assert result.owners_of(-1) == result.owners_of(1 << 64) == []


def test_builder_takes_single_and_many_claims() -> None:
    """Claims of any form land in one table, cut to the address space."""
    builder = ClaimsBuilder()
    a = builder.owner("/a")
    assert builder.owner("/a") == a
    map_owner = builder.owner("/map", expected_outside=True)
    builder.add(a, 5, 5)
    builder.add(a, 0, PAGE)
    builder.add_many(map_owner, [PAGE], [2 * PAGE])
    builder.add_column(a, Column(np.array([0, 3 * PAGE, (1 << 64) - 1], np.uint64)))
    claims = builder.build().flat(SHIFT)
    assert len(claims) == 4
    assert claims.end.tolist() == [PAGE, 2 * PAGE, 4 * PAGE, (1 << 64) - 1]
    assert len(builder.build()) == 5
    assert claims.expected_outside.tolist() == [False, True]
    result = find_owners(Blocks.empty(SHIFT), claims)
    assert (result.preserved_pages, result.unpreserved_pages) == (0, 2)


def test_columns_that_do_not_fit_together_are_refused() -> None:
    """An index without owner, or columns of several lengths, are errors of the caller."""
    one = np.ones(1, np.uint64)
    with pytest.raises(ValueError, match="index"):
        Claims(one, one, np.ones(1, np.int32), ["/a"], np.zeros(1, bool))
    with pytest.raises(ValueError, match="length"):
        Claims(one, one, np.zeros(2, np.int32), ["/a"], np.zeros(1, bool))
