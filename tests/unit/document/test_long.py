"""Long arrays of numbers as text: what json writes for the same list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.geometry import Geometry
from khotool.document import long, regions
from khotool.document.digest import digests
from khotool.document.long import Columns, Long
from khotool.document.regions import columns_from_json, columns_to_json
from khotool.model.region import TableRegion
from khotool.render.json import json_chunks
from khotool.structured import Document
from tests.builders import REGISTRY
from tests.documents import plain
from tests.strategies import share

WIDTHS = st.integers(0, 64).map(lambda bits: (1 << bits) - 1)


@st.composite
def arrays(draw: st.DrawFn) -> Long:
    """Rows of one to three numbers, each column of some width, in pieces."""
    count = draw(st.integers(1, 40))
    columns: list[np.ndarray[Any, Any]] = []
    for _ in range(draw(st.integers(1, 3))):
        most = draw(WIDTHS)
        least = draw(st.sampled_from([0, most]) if most else st.just(0))
        kind: type[np.integer[Any]] = np.uint64
        offset = 0
        if most < 1 << 63 and draw(st.booleans()):
            kind, offset = np.int64, draw(st.sampled_from([0, most // 2, most]))
        numbers = [draw(st.integers(least, most)) - offset for _ in range(count)]
        columns.append(np.array(numbers, kind))
    cuts = sorted({0, count, *draw(st.lists(st.integers(0, count), max_size=3))})

    def pieces() -> Iterator[Columns]:
        for low, high in pairwise(cuts):
            yield tuple(column[low:high] for column in columns)

    signed = [bool((column < 0).any()) for column in columns]
    return Long(count, pieces, tuple(not each and draw(st.booleans()) for each in signed))


@settings(max_examples=share(2))
@given(arrays(), st.booleans(), st.integers(1, 7))
def test_text_is_that_of_the_list(array: Long, compact: bool, rows: int) -> None:
    """Any numbers, in any pieces: the text and the digests of a plain list."""
    kept, long._ROWS = long._ROWS, rows
    try:
        between, inside = (",", ",") if compact else (", ", ", ")
        text = "[" + "".join(array.text(between, inside)) + "]"
        document = {"model": {"regions": [{"b": 1, "map": {"z": array, "a": [array]}}]}}
        assert digests(document) == digests(plain(document))
    finally:
        long._ROWS = kept
    assert text == json.dumps(array.plain(), separators=(",", ":") if compact else None)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("hexadecimal", [(False,), (True, False)])
def test_a_document_does_not_show_which_lists_are_long(
    hexadecimal: tuple[bool, ...], compact: bool
) -> None:
    """At any depth the text is that of a list."""
    column = np.arange(90, 5000, dtype=np.uint64)
    array = Long(column.size, lambda: iter([(column,) * len(hexadecimal)]), hexadecimal)
    document = {"a": 1, "b": [{"c": array.short(), "d": {}}, array], "e": "x"}
    assert isinstance(array.short(), Long)
    chunks = list(json_chunks(document, compact=compact))
    assert "".join(chunks) == "".join(json_chunks(plain(document), compact=compact))
    assert max(map(len, chunks)) < 5000 * 40


def table(pfn: list[int], index: list[int]) -> TableRegion:
    """Folios of a memfd."""
    compiled = REGISTRY.compile(REGISTRY.get("memfd-v2"), "memfd_luo_folio_ser", Geometry())
    columns = {"pfn": pfn, "flags": [1] * len(pfn), "index": index}
    made = columns_from_json(compiled, Document("table", columns).root, "/x")
    return TableRegion("/x", "memfd-v2", compiled, np.zeros((0, 2), np.uint64), made)


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
def test_patterns_of_columns_reach_over_pieces(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant or ascending column is found whatever is looked at together."""
    monkeypatch.setattr(regions, "PIECE", piece)
    made = columns_to_json(table([7] * 5, [3, 4, 5, 6, 7]))
    assert made["pfn"] == {"all": 7, "count": 5}
    assert made["index"] == {"from": 3, "count": 5}
    made = columns_to_json(table([7] * 4 + [8], [3, 4, 5, 6, 8]))
    assert made["pfn"] == [7, 7, 7, 7, 8]
    assert made["index"] == [3, 4, 5, 6, 8]
    made = columns_to_json(table([2, 3], [0, 1]))
    assert made["pfn"] == [2, 3]
    assert columns_to_json(table([], []))["pfn"] == []
    monkeypatch.setattr(long, "SHORT", 3)
    assert isinstance(columns_to_json(table([7, 1, 2, 3], [0, 1, 2, 3]))["pfn"], Long)
