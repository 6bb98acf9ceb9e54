"""Addresses and keys at the edges: scratch, blobs without memory, rows of nothing, odd numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from khotool.decode.open import open_image
from khotool.errors import UsageError
from khotool.limits import OpenOptions
from khotool.model.identify import Identifier
from khotool.model.image import Image, NodeKind, Scratch
from khotool.model.lookup import find_node
from khotool.model.places import Places, field_at
from khotool.model.region import RawRegion, TableRegion
from tests.builders import overlaid
from tests.unit.decode.fixture_images import changed, good, options, told
from tests.unit.decode.test_blobs import bytes_of

EVERYTHING = "7.2-everything"


def facts(image: Image, address: int) -> dict[str, str]:
    """Text of each kind of fact about an address."""
    return {fact.kind: fact.text for fact in Identifier(image).identify(address)}


def test_inside_scratch() -> None:
    """Memory of a scratch area says which, how far in, and how long it is."""
    image = good(EVERYTHING)
    assert isinstance(image.scratch, Scratch)
    area = image.scratch.areas[1]
    found = facts(image, area.address + 0x123)
    assert found["scratch"] == f"byte +0x123 of scratch area 1, {area.size} bytes"
    assert found["block"] == "not preserved"
    beyond = max(other.end for other in image.scratch.areas)
    assert "scratch" not in facts(image, beyond)


def test_file_of_one_tree(tmp_path: Path) -> None:
    """Without memory, nothing is said of what was captured, nor of what is preserved."""
    path = tmp_path / "fdt"
    path.write_bytes(bytes_of(good(EVERYTHING), "/memblock"))
    image = open_image(path)
    span = find_node(image, "/memblock").target
    assert span is not None
    found = facts(image, span.address)
    assert found == {"block": "whether it is preserved is not known: not-captured"}


def test_elements_of_an_array_in_a_page() -> None:
    """Words of a chunk: those that are used, and those behind the first 0."""
    image = good(EVERYTHING)
    node = next(n for n in image.tree.walk() if n.name == "phys" and isinstance(n.value, list))
    assert node.span is not None
    assert facts(image, node.span.address)["field"].startswith("element 0 of 1")
    assert facts(image, node.span.address + 8)["field"].startswith("unused element 1")


def test_rows_of_an_empty_table() -> None:
    """A table without a record has no rows, wherever one looks."""
    image = good(EVERYTHING)
    counter = next(n.path for n in image.tree.walk() if n.name == "nr_folios" and n.value == 1)
    empty = changed(image, (counter, 0))
    folios = find_node(empty, counter.removesuffix("nr_folios") + "folios")
    assert folios.table is not None
    assert len(folios.table) == 0
    old = find_node(image, folios.path).table
    assert old is not None
    start = old.span(0).address
    assert [row for row in Places(empty).rows_at(start, start + 16) if row[0] is folios] == []
    assert [row[1:] for row in Places(image).rows_at(start, start + 16)] == [(0, 1)]
    assert field_at(find_node(image, folios.path), 1 << 20) is None
    with pytest.raises(IndexError):
        old.span(1 << 20)


@pytest.mark.parametrize("key", ["0x", "12ab", "0xzz", "9" * 30, "²", "-1"])
def test_keys_that_are_no_numbers(key: str) -> None:
    """A key that is no number of 64 bits leads nowhere, and says what is there."""
    with pytest.raises(UsageError):
        find_node(good(EVERYTHING), f"/LUO/sessions[vm-alpha]/files[{key}]")


def test_keys_in_another_spelling() -> None:
    """A token with leading zeros, or in decimal, is the same token."""
    path = "/LUO/sessions[vm-alpha]/files[0x2]"
    for key in ("0x02", "0X2", "02", "2"):
        found = find_node(good(EVERYTHING), f"/LUO/sessions[vm-alpha]/files[{key}]").path
        # A small number may be a position as well: that of the file with the next token.
        assert found.startswith("/LUO/sessions[vm-alpha]/files[")
    assert find_node(good(EVERYTHING), "/LUO/sessions[vm-alpha]/files[0x000000002]").path == path


def test_bytes_without_a_definition() -> None:
    """A raw region is its bytes, at its place."""
    region = RawRegion("/x", 0x1000, b"abc")
    assert list(region.extents()) == [(0x1000, 3)]
    assert list(region.writes()) == [(0x1000, b"abc")]


def test_pieces_behind_the_last_record() -> None:
    """Pieces of an array are cut to the bytes of its records."""
    image = good(EVERYTHING)
    table = next(n.table for n in image.tree.walk() if n.kind is NodeKind.TABLE and n.table)
    size = table.compiled.size
    pieces = np.array([[0x1000, size], [0x2000, size], [0x3000, size]], np.uint64)
    for count, expected in ((0, []), (1, [(0x1000, size)])):
        region = TableRegion("/t", "x", table.compiled, pieces, table.records[:count])
        assert list(region.extents()) == expected
        assert [(address, len(data)) for address, data in region.writes()] == expected


def test_bytes_behind_the_last_whole_record() -> None:
    """Part of a record at the end of what is captured is in no row."""
    image = good(EVERYTHING)
    path = next(
        n.path
        for n in image.tree.walk()
        if n.name == "folios" and n.table is not None and len(n.table) > 1
    )
    table = find_node(image, path).table
    chunk = find_node(image, f"{path}/chunks[0]").span
    assert table is not None
    assert chunk is not None
    top, size = int(image.space.extents()[-1, 1]), table.compiled.size
    rows = bytes(image.space.read(table.span(0).address, size + 4))
    cut = overlaid(
        image, [(top, rows), (chunk.address + 8, top.to_bytes(8, "little"))], options(image)
    )
    node = find_node(cut, path)
    assert node.table is not None
    assert (len(node.table), node.table.declared) == (1, len(table))
    places = Places(cut)
    assert list(places.rows_at(top, top + size + 4)) == [(node, 0, 1)]
    assert list(places.rows_at(top + size, top + size + 4)) == []
    assert "row" not in facts(cut, top + size + 1)
    assert facts(cut, top + 1)["row"].startswith("byte 1 of record 0 of 1, struct")


def test_rows_that_are_words_of_parts() -> None:
    """A byte of a word of several parts is in the row, and in none of its fields alone."""
    image = good("6.16-two-folios-inline")
    path = "/kho_test/folios"
    table = find_node(image, path).table
    assert table is not None
    found = {fact.kind: fact for fact in Identifier(image).identify(table.span(1).address + 3)}
    assert found["row"].path == f"{path}[1]"
    assert found["row"].text.startswith("byte 3 of record 1 of 2")
    # A folio of this list has no place in a file.
    folio = int(table.column("address")[1])
    payload = {fact.kind: fact for fact in Identifier(image).identify(folio + 5)}["payload"]
    assert (payload.path, payload.text) == (f"{path}[1]", "byte +0x5 of folio 1")
    assert payload.data == {"row": 1, "offset": 5}


def test_progress_of_opening() -> None:
    """Opening a packed capture tells how far unpacking and looking for the root are."""
    seen: dict[str, list[tuple[int, int | None]]] = {}

    def progress(what: str, done: int, total: int | None) -> None:
        seen.setdefault(what, []).append((done, total))

    real = Path(__file__).parents[3] / "fixtures" / "real"
    image = open_image(real / "linux-7.3.4" / "image.elf.xz", OpenOptions(), progress)
    assert told(image) == []
    assert list(seen) == ["Unpacking", "Looking for the KHO root"]
    done, total = seen["Looking for the KHO root"][-1]
    assert done == total
