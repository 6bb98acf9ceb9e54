from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import MemoryFault

writes = st.lists(st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=30)), max_size=5)


def model(parts: list[tuple[int, bytes]]) -> dict[int, int]:
    result: dict[int, int] = {}
    for start, data in parts:
        result.update({start + index: byte for index, byte in enumerate(data)})
    return result


@given(writes, writes, st.integers(0, 120), st.integers(0, 60))
def test_the_upper_layer_wins(
    below: list[tuple[int, bytes]], above: list[tuple[int, bytes]], address: int, length: int
) -> None:
    """Every way to read gives the last write, else the base, else a fault at the first gap."""
    expected = model(below) | model(above)
    space = OverlaySpace(OverlaySpace(None, below), above)
    wanted = range(address, address + length)
    missing = [at for at in wanted if at not in expected]
    rows, ok = space.gather(np.array([address], dtype=np.uint64), max(length, 1))
    if missing:
        with pytest.raises(MemoryFault) as caught:
            space.read(address, length)
        assert caught.value.address == missing[0]
        assert not ok[0]
    else:
        content = bytes(expected[at] for at in wanted)
        assert bytes(space.read(address, length)) == content
        if length:
            assert bytes(rows[0]) == content
    pieces = space.known(address, length)
    ends = [piece[0] for piece in [*pieces, (address + length, None, "hole")][1:]]
    for (start, view, _), end in zip(pieces, ends, strict=True):
        here = [expected.get(at) for at in range(start, end)]
        assert (list(view) if view is not None else [None] * len(here)) == here
    pages = [at for at in range(0, 112, 8) if all(at + i in expected for i in range(8))]
    seen = [base + 8 * index for base, table in space.first_words(8) for index in range(len(table))]
    assert seen == pages


def test_info_comes_from_the_base() -> None:
    """An edited capture keeps what is known about the file."""
    base = OverlaySpace(None, {0x1000: b"abcd"})
    base.info.page_size = 16384
    base.info.endian = "big"
    with OverlaySpace(base, [(0x1001, b"X")]) as space:
        assert space.info.container == "overlay"
        assert space.info.page_size == 16384
        assert space.info.endian == "big"
        assert bytes(space.read(0x1000, 4)) == b"aXcd"
        assert list(space.find(b"aXc", 0, 1 << 64, 1 << 20)) == [0x1000]
    with pytest.raises(MemoryFault):
        space.read(0x1000, 4)
