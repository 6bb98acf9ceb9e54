"""Named damage that cannot be done is a mistake of the manifest."""

from __future__ import annotations

from typing import Any

import pytest

from khotool.absent import Absent
from khotool.structured import StructuredError
from tests.builders import build, decode


def with_leak(address: int, order: int = 0) -> dict[str, Any]:
    leak = {"op": "leak", "address": address, "order": order}
    return {"abi": "7.2", "reserve_mem": [{"name": "a", "size": "64K"}], "mutate": [leak]}


def test_leak_is_in_the_map() -> None:
    """A block beside others of its order is preserved."""
    image = decode(with_leak(0x300000))
    assert not isinstance(image.map, Absent)
    assert image.map.blocks.block_of(0x300000) == (0x300000, 0)


@pytest.mark.parametrize(("address", "order"), [(1 << 40, 0), (0x300000, 10), (0x100000, 0)])
def test_leak_that_changes_nothing(address: int, order: int) -> None:
    """Without a leaf for the block, or with the block there already, the leak is a mistake."""
    with pytest.raises(StructuredError, match=r"mutate\[0\].address: the map has no leaf"):
        build(with_leak(address, order))


def test_unknown_key_of_a_mutation() -> None:
    """Keys that an operation does not have are not ignored."""
    manifest = {"abi": "7.2", "mutate": [{"op": "cycle", "path": "/LUO", "size": 3}]}
    with pytest.raises(StructuredError, match="unknown key 'size'"):
        build(manifest)
