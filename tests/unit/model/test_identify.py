"""What an address is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.model.identify import Fact, Identifier
from khotool.model.image import UNPLACED, NodeKind
from khotool.model.lookup import find_node

REAL = Path(__file__).parents[3] / "fixtures" / "real"
FOLDERS = sorted(REAL.iterdir())


@cache
def identifier(name: str = "linux-7.3.4") -> Identifier:
    return Identifier(open_image(REAL / name / "image.elf.xz"))


def kinds(facts: list[Fact]) -> list[str]:
    return [fact.kind for fact in facts]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_value_is_found_where_it_stands(folder: Path) -> None:
    """The first and last byte of every value name that value, and nothing more specific."""
    one = identifier(folder.name)
    for node in one.image.tree.walk():
        span = node.span
        if node.kind is not NodeKind.VALUE or node.value is None or span is None or not span.size:
            continue
        if span.address >= UNPLACED:
            continue
        for address in (span.address, span.end - 1):
            paths = [f.path for f in one.identify(address) if f.kind == "field"]
            assert node.path in paths


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_folio_is_payload_of_its_file(folder: Path) -> None:
    """Each folio of each memfd is found with its row and its offset in the file."""
    one = identifier(folder.name)
    size = one.image.geometry.page_size
    for node in one.places.tables:
        if node.table is None or node.table.compiled.struct.name != "memfd_luo_folio_ser":
            continue
        for row in range(0, len(node.table), 7):
            values = node.table.row(row)
            facts = one.identify(values["pfn"] * size + 0x123)
            fact = next(fact for fact in facts if fact.kind == "payload")
            assert fact.path == f"{node.path}[{row}]"
            assert fact.data["file_offset"] == values["index"] * size + 0x123
            assert fact.text.startswith("byte +0x123 of folio")


def test_order_of_facts() -> None:
    """A field comes before its record, the record before owner and block."""
    assert kinds(identifier().identify(0xC66009)) == [
        "field",
        "record",
        "owner",
        "block",
        "capture",
    ]
    field = identifier().identify(0xC66009)[0]
    assert (field.data["struct"], field.data["struct_offset"]) == ("memfd_luo_ser", 8)


def test_rows_pages_of_the_map_and_regions() -> None:
    """Rows of tables, pages of the map, reserved regions and device trees are told apart."""
    one = identifier()
    row = one.identify(0x7EC019)[0]
    assert (row.kind, row.data["row"]) == ("row", 1)
    assert find_node(one.image, row.path).value == 1
    assert kinds(one.identify(0x4DD010))[0] == "map"
    assert one.identify(0xEE00123)[0].path == "/memblock/regions[trace]/start"
    assert kinds(one.identify(0x4DE000))[0] == "tree"


def test_nowhere() -> None:
    """An address outside of everything is said to be that; the ends of the space do no harm."""
    facts = identifier().identify(0x99999999)
    assert [fact.text for fact in facts] == ["not preserved", "not in the capture: not-captured"]
    for address in (0, (1 << 64) - 1, 1 << 63):
        assert kinds(identifier().identify(address)) == ["block", "capture"]
