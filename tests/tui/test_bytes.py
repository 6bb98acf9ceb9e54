"""What the inspector says of bytes: map words, device tree tokens, numbers, links."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import pytest

from khotool.findings import Finding
from khotool.maps.preserved import PageKind, PreservedMap
from khotool.model.image import UNPLACED
from khotool.model.region import FdtRegion
from khotool.tui.byte_facts import byte_facts
from khotool.tui.describe import facts
from khotool.tui.links import Link, links_of
from khotool.tui.map_words import map_of, page_at, word_of_block
from khotool.tui.memory_view import MemoryView
from khotool.tui.minimap import COLUMNS, NOTHING, mini_cells
from khotool.tui.place import Place, resolve
from khotool.tui.session import Session
from khotool.tui.text import plain
from khotool.tui.widgets.hex_view import HexView
from khotool.tui.work import index_image
from tests.tui.conftest import CAPTURE, ROOT, opened
from tests.tui.driver import Driver, drive
from tests.unit.decode.fixture_images import good

DATA = "/LUO/sessions[vm-alpha]/files[0x1]/data"
OLD = ROOT / "fixtures" / "real" / "linux-6.17.8" / "image.elf.xz"


def session_of(path: object = CAPTURE) -> Session:
    image = opened(path)
    session = Session(image)
    index, session.paths, identifier = index_image(image, lambda: False)
    session.set_index(index, identifier)
    session.set_ownership(image.ownership())
    return session


def told(session: Session, label: str) -> str:
    return " ".join(plain(line) for name, line in byte_facts(session) if name == label)


def links(session: Session, kind: str) -> list[Link]:
    return [link for link in links_of(session) if link.kind == kind]


def test_words_of_a_radix_page() -> None:
    """An interior page names its children by slot; a leaf the blocks of its bits."""
    session = session_of()
    found = map_of(session.image)
    assert isinstance(found, PreservedMap)
    pages = [found.pages[row] for row in range(len(found.pages))]
    child = next(page for page in pages if page.kind is PageKind.LEAF)
    session.select_address(found.pages[0].address)
    assert f"slot 0 of 512  → {pages[1].address:#x}" in told(session, "map")
    start = int(found.blocks.outermost.start[0])
    block = found.blocks.block_of(start)
    assert block is not None
    word = word_of_block(session.image, *block)
    assert word is not None
    session.select_address(word)
    assert f"{start:#x} order {block[1]}" in told(session, "map") or "…" in told(session, "map")
    session.select_address(child.address)
    assert [link.cursor.address for link in links(session, "pointer")][-1] == child.parent


@pytest.mark.parametrize("path", [CAPTURE, OLD], ids=["radix", "bitmaps"])
def test_page_and_bit_lead_to_each_other(path: object) -> None:
    """From any preserved block to the word of the map that says so; the word names the block."""
    session = session_of(path)
    found = map_of(session.image)
    assert found is not None
    for start in found.blocks.outermost.start.tolist()[:20]:
        block = found.blocks.block_of(start)
        assert block is not None
        word = word_of_block(session.image, *block)
        assert word is not None
        page = page_at(session.image, word)
        assert page is not None
        assert page.kind in (PageKind.LEAF, PageKind.BITMAP)
        session.select_address(start)
        assert links(session, "map")[0].cursor.address == word


def test_tokens_of_a_device_tree() -> None:
    """Header words and tokens of a device tree have a name."""
    session = session_of()
    region = next(
        r for r in session.image.regions if isinstance(r, FdtRegion) and r.address < UNPLACED
    )
    session.select_address(region.address + 4)
    assert "totalsize 0x195" in told(session, "fdt")
    session.select_address(region.address + region.blob.off_dt_struct)
    assert "FDT_BEGIN_NODE /" in told(session, "fdt")


def test_numbers_in_both_orders() -> None:
    """The bytes at the cursor as u8 to u64, little and big-endian."""
    session = session_of()
    session.select_address(0x4DE000)
    assert told(session, "LE").startswith("u8 0xd0  u16 0xdd0  u32 0xedfe0dd0")
    assert "u32 0xd00dfeed" in told(session, "BE")


def test_target_and_back() -> None:
    """A pointer shows the first bytes of its target; the target shows the pointer, and its way."""
    session = session_of()
    place = resolve(session.image.tree, DATA)
    assert place is not None
    session.select(place)
    assert f"{DATA}/pos" in told(session, "target")
    session.jump(links(session, "target")[0].cursor)
    assert DATA in [link.text for link in links(session, "pointer")]
    assert told(session, "via").startswith("→ sessions 0x")


def test_links_are_listed() -> None:
    """``u`` lists the links, and enter goes to one; backspace returns."""

    async def story(d: Driver) -> None:
        await d.goto(f"{DATA}/size")
        assert "BE" in d.text("#field")
        await d.press("u")
        assert DATA in d.text("#list")
        await d.press("enter")
        assert d.path() == DATA
        await d.press("backspace")
        assert d.path() == f"{DATA}/size"

    drive(story)


def test_names_beside_the_bytes() -> None:
    """Where there is room, each row of bytes has the names of the fields that begin in it."""

    async def story(d: Driver) -> None:
        await d.goto(f"{DATA}/size")
        assert "pos  size" in d.text("#hex")
        await d.goto("0x4de000")
        assert "magic 0xd00dfeed  totalsize 0x195" in d.text("#hex")
        view = d.app.screen.query_one(HexView)
        assert view.lines is not None
        assert view.lines.width == 16
        await d.resize(280, 60)
        assert view.lines.width == 32
        assert view.named

    drive(story, size=(200, 60))


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=str)
def test_tree_has_a_share_of_the_screen(size: tuple[int, int]) -> None:
    """``>`` and ``<`` change it; a turn of the terminal keeps all panes on the screen."""

    async def story(d: Driver) -> None:
        region = d.app.screen.query_one("#tree").region
        edge = (region.right - 1, 10) if size[0] > 100 else (10, region.bottom - 1)
        there = (edge[0] + 12, 10) if size[0] > 100 else (10, edge[1] - 3)
        await d.pilot.mouse_down(offset=edge)
        await d.pilot.hover(offset=there)
        await d.pilot.mouse_up(offset=there)
        await d.settle()
        region = d.app.screen.query_one("#tree").region
        moved = region.right if size[0] > 100 else region.bottom
        assert abs(moved - 1 - (there[0] if size[0] > 100 else there[1])) <= 1

        def extent() -> int:
            tree = d.app.screen.query_one("#tree")
            return tree.size.width if size[0] > 100 else tree.size.height

        before = extent()
        await d.press("greater_than_sign", "greater_than_sign")
        assert extent() > before
        await d.press(*["less_than_sign"] * 4)
        assert extent() < before
        await d.resize(*((80, 24) if size[0] > 100 else (120, 36)))
        for name in ("tree", "field"):
            region = d.app.screen.query_one(f"#{name}").region
            assert region.width > 20
            assert region.height > 4
            assert region.bottom <= d.app.size.height

    drive(story, size=size)


def test_a_map_beside_the_bytes() -> None:
    """A wide screen has a map of the captured bytes: records, pointers and findings."""

    async def story(d: Driver) -> None:
        session = d.app.session
        assert session is not None
        finding = Finding("MEM302", "/LUO", "here", 0xC66000)
        await d.goto(f"{DATA}/folios[0]/pfn")
        assert "…" in d.text("#tree")
        assert not {"▪", "→"} & set(d.text("#hex"))
        await d.resize(160, 45)
        text = d.text("#hex")
        assert {"▪", "→"} <= set(text)
        assert "✗" not in text
        session.set_findings([finding])
        await d.settle()
        assert "✗" in d.text("#hex")
        view = d.app.screen.query_one(HexView)
        where = view.top
        assert await d.pilot.click(HexView, offset=(view.outer_size.width - 3, 2))
        await d.settle()
        assert view.top != where
        assert view.lines is not None
        count = view.size.height * COLUMNS
        cells = mini_cells(session, view.lines, count)
        edges = [view.lines.at_fraction(number / count) for number in range(count)]
        assert session.index is not None
        starts, ends = session.index.records
        held = {bisect_right(edges, at) - 1 for at in [*starts.tolist(), *(ends - 1).tolist()]}
        marked = {number for number, cell in enumerate(cells) if cell != NOTHING}
        assert held <= marked
        between = [range(low, high) for low, high in pairwise(sorted(held))]
        assert all(any(number in gap for gap in between) for number in marked - held)

    drive(story)


@pytest.mark.parametrize("form", ["record", "row"])
def test_the_word_of_a_bit_field(form: str) -> None:
    """A part of a word has the word beside its value, and says which bits it is."""
    image = good("7.2-holes") if form == "row" else good("7.4-frontier-iommu-v1")
    found = []
    for node in image.tree.walk():
        place = Place(node)
        if form == "row" and node.table is not None and len(node.table):
            labels = [field.label for field in node.table.fields() if field.width]
            place = Place(node, 0, labels[0]) if labels else place
        if place.field is None or not place.field.width or (place.row < 0) == (form == "row"):
            continue
        told = dict(facts(place, image, MemoryView(image), []))
        word = int(plain(told["word"]).split()[0], 16)
        low, high = (int(part) for part in plain(told["word"]).split()[-3::2])
        value = word & ((2 << high) - 1)
        assert place.value in (value, value >> low)
        found.append(place)
    assert found
