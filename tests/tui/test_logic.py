"""Search, tree items, words, keys and cells; without a terminal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.geometry import Geometry
from khotool.abi.registry import load_registry
from khotool.decode.open import open_image
from khotool.errors import UsageError
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Node, NodeKind, Scratch, Span, Table
from khotool.tui.cells import PageMap, Rows
from khotool.tui.changes import compare_images
from khotool.tui.copies import copy_text, export_chunks
from khotool.tui.describe import facts, label_line, radix_text
from khotool.tui.find import Query, filter_nodes, parse_query, search
from khotool.tui.goto import PathList
from khotool.tui.help import help_lines
from khotool.tui.index import ByteIndex, SpanMap
from khotool.tui.items import BUCKET, Item, chain_to, items_below
from khotool.tui.keys import KEYS, clashes, load_config
from khotool.tui.layout import compare_lines, definition_lines
from khotool.tui.memory_view import MemoryView, Use
from khotool.tui.place import Place, TableSpans, resolve, span_of
from khotool.tui.session import Session
from khotool.tui.state import add_recent, load_recent
from khotool.tui.text import count_text, plain, size_text, visible
from khotool.tui.themes import THEMES
from khotool.tui.widgets.tokens import HUES, _color, _Variables
from tests.tui.conftest import CAPTURE, OLDER, goto, opened
from tests.unit.decode.fixture_images import good


def found_paths(session: Session, text: str) -> list[str]:
    found = []
    for hit in search(session.image, parse_query(text)):
        if hit.place is not None:
            found.append(hit.place.path)
        elif hit.span is not None:
            found.append(hex(hit.span.address))
    return found


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("48 ?? 05", Query(pattern=(0x48, None, 5))),
        ('"KHO"', Query(pattern=(0x4B, 0x48, 0x4F))),
        ("u64:0x2a", Query(pattern=(0x2A, 0, 0, 0, 0, 0, 0, 0))),
        ("u16be:1", Query(pattern=(0, 1))),
        ("s32:-1", Query(pattern=(255,) * 4)),
        ("Files", Query(text="files")),
        ("0x10", Query(text="0x10", number=16)),
    ],
)
def test_queries(text: str, query: Query) -> None:
    """What is typed is a pattern or a text."""
    assert parse_query(text) == query


@pytest.mark.parametrize("text", ['""', "u8:256", "?? ??", "u32:abc", "u64:-1"])
def test_queries_that_mean_nothing(text: str) -> None:
    """A search that cannot be done is refused with a reason."""
    with pytest.raises(UsageError):
        parse_query(text)


def test_search_in_the_model(session: Session) -> None:
    """Names, values and numbers in tables are found, in the order of the model."""
    assert "/LUO/sessions[vm-alpha]" in found_paths(session, "vm-alpha")
    assert found_paths(session, "F_SEAL_GROW") == ["/LUO/sessions[vm-alpha]/files[0x2]/data/seals"]
    rows = found_paths(session, "255")
    assert "/LUO/sessions[vm-beta]/files[0x1]/data/folios[255]/index" in rows
    assert found_paths(session, "\x00nothing") == []


def test_search_in_memory(session: Session) -> None:
    """A pattern with gaps is found at every place, across page borders of one extent."""
    text = found_paths(session, '"vm-alpha"')
    assert len(text) == 1
    assert found_paths(session, "76 6d ?? 61 6c 70 68 61") == text
    assert found_paths(session, "d0 0d fe ed")[0] == "0x4de000"


def test_search_stops_when_asked(session: Session) -> None:
    """A search that is no longer wanted ends at once."""
    assert list(search(session.image, parse_query("a"), lambda: True)) == []
    assert list(search(session.image, parse_query('"a"'), lambda: True)) == []


def test_filter_keeps_the_way_to_matches(session: Session) -> None:
    """A filtered tree shows matches, what is above them, and all that is below them."""
    shown = filter_nodes(session.image, "vm-beta")
    paths = {node.path for node in session.image.tree.walk() if node in shown}
    assert {"/", "/LUO", "/LUO/sessions", "/LUO/sessions[vm-beta]"} <= paths
    assert "/LUO/sessions[vm-beta]/count" in paths
    assert "/LUO/sessions[vm-beta]/files[0x1]/data/folios" in paths
    assert "/LUO/sessions[vm-alpha]" not in paths
    chain = chain_to(Place(session.image.tree.children[0]), shown)
    assert len(chain) == 1


def folio_table(count: int) -> Node:
    definition = load_registry([]).get("memfd-v2")
    registry = load_registry([])
    compiled = registry.compile(definition, "memfd_luo_folio_ser", Geometry())
    records = np.zeros(count, compiled.dtype)
    extents = np.array([[0x100000, count * compiled.size]], np.uint64)
    node = Node("folios", NodeKind.TABLE)
    node.table = Table(compiled, records, extents, count)
    return node


def test_sixteen_million_rows_stay_an_array() -> None:
    """Any row of a huge table is reached through at most a few hundred items."""
    tree = Node("", NodeKind.IMAGE)
    node = tree.add(folio_table(16 << 20))
    node.add(Node("first", NodeKind.VALUE, value=1))
    place = Place(node, 12_345_678, "pfn")
    chain = chain_to(place)
    assert chain[-1] == Item(place)
    seen = 0
    for above, below in pairwise(chain):
        items = items_below(above)
        seen += len(items)
        assert len(items) <= BUCKET
        assert below in items
    assert seen < 5 * BUCKET
    spans = TableSpans(node.table) if node.table is not None else None
    assert spans is not None
    assert spans.span(12_345_678).address == 0x100000 + 16 * 12_345_678
    assert spans.find(0x100000 + 16 * 12_345_678 + 9) == (12_345_678, 9)
    assert spans.find(0xFFFFF) is None


def test_rows_that_lie_in_scattered_pieces() -> None:
    """Rows are found in pieces that are not in order, and nowhere else."""
    node = folio_table(6)
    assert node.table is not None
    node.table.extents = np.array([[0x5000, 32], [0x1000, 48], [0x9000, 16]], np.uint64)
    spans = TableSpans(node.table)
    assert [spans.span(row).address for row in range(6)] == [
        0x5000,
        0x5010,
        0x1000,
        0x1010,
        0x1020,
        0x9000,
    ]
    for row in range(6):
        assert spans.find(spans.span(row).address + 7) == (row, 7)
    assert spans.find(0x5020) is None
    with pytest.raises(IndexError):
        spans.span(6)


def test_overlapping_spans_give_the_smallest() -> None:
    """Where fields overlap, as in hostile images, the smallest wins everywhere."""
    nodes = [Node(str(n), NodeKind.VALUE) for n in range(3)]
    found = SpanMap([(0, 100, nodes[0]), (10, 50, nodes[1]), (40, 60, nodes[2])])
    at = [found.find(a) for a in (0, 9, 10, 39, 40, 59, 60, 99, 100)]
    assert at == [nodes[n] for n in (0, 0, 1, 1, 2, 2, 0, 0)] + [None]


def test_facts_of_a_flags_field(session: Session) -> None:
    """Type, value with flag names, bytes and their offset, page and owner, words."""
    assert goto(session, "/LUO/sessions[vm-alpha]/files[0x2]/data/seals")
    assert session.cursor.place is not None
    found = {
        label: plain(line)
        for label, line in facts(session.cursor.place, session.image, session.view, [])
    }
    assert found["type"] == "u32  flags"
    assert found["value"] == "0x00000007  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW"
    assert found["bytes"].endswith("+0x10 of 48 B")
    assert found["page"].endswith("/LUO/sessions[vm-alpha]/files[0x2]")
    assert "seals" in found["doc"]
    assert found["from"] == "memfd-v2  include/linux/kho/abi/memfd.h"


def test_radixes() -> None:
    """All digits are shown, grouped where there are many."""
    assert radix_text(0x2A, "hex", 2) == "0x002a"
    assert radix_text(1234567, "decimal", 8) == "1 234 567"
    assert radix_text(5, "binary", 2) == "00000000 00000101"


def test_every_label_can_be_drawn(session: Session) -> None:
    """Every line of the whole tree has a label, rows included."""
    stack = [Item(Place(session.image.tree))]
    count = 0
    while stack:
        item = stack.pop()
        assert plain(label_line(item, session.image))
        if item.place.row < 2:
            stack.extend(items_below(item))
        count += 1
    assert count > 300


def test_sections_of_memory(session: Session) -> None:
    """Owned, scratch, free: each address lies inside its section."""
    areas = Scratch([Span(0xDC00000, 1 << 24)], "as the test says")
    view = MemoryView(replace(session.image, scratch=areas), session.view.ownership)
    for address, use in ((0x4DE000, Use.OWNED), (0xDC00000, Use.SCRATCH), (0x1000, Use.FREE)):
        section = view.section(address)
        assert section.start <= address < section.end
        assert section.use is use


def test_sections_before_the_owners_are_known() -> None:
    """What is preserved is found near the address: no column of all runs is made."""
    image = open_image(CAPTURE)
    found = MemoryView(image).section(0x4DE000)
    assert isinstance(image.map, PreservedMap)
    blocks = image.map.blocks
    assert "_columns" not in vars(blocks)
    row = int(blocks.find([0x4DE000])[0])
    assert (found.start, found.end, found.order) == (
        int(blocks.start[row]),
        int(blocks.end[row]),
        int(blocks.order[row]),
    )
    assert found.use is Use.PRESERVED


def test_hostile_text_is_harmless() -> None:
    """Controls become symbols, bad bytes and direction marks escapes."""
    assert visible("a\x1b[31m\n\x7f") == "a␛[31m␊␡"
    assert visible("\udcff\u202e") == "\\xff\\u202e"
    assert visible("ünï [b]") == "ünï [b]"


def test_sizes_and_counts() -> None:
    """Units are binary, nouns agree with their number."""
    assert [size_text(n) for n in (0, 1023, 1536, 2 << 20)] == ["0 B", "1023 B", "1.5 KiB", "2 MiB"]
    assert count_text(1, "entry") == "1 entry"
    assert count_text(16777216, "entry") == "16 777 216 entries"


def test_default_keys_do_not_clash() -> None:
    """No key has two meanings in one screen, and every id is there once."""
    assert clashes({}) == []
    assert len({key.id for key in KEYS}) == len(KEYS)
    for mode in ("explore", "findings", "pages", "diff", "formats"):
        one, two = (help_lines(mode, {"quit": "f9"}, width) for width in (90, 130))
        assert len(two) < len(one)
        for lines in (one, two):
            shown = "\n".join(plain(line) for line in lines)
            missing = [k.help for k in KEYS if k.works_in(mode) and k.help not in shown]
            assert missing == []
            assert " f9 " in shown


def test_config_changes_keys_and_reports_faults(tmp_path: Path) -> None:
    """Known ids are changed; clashes and unknown ids are sentences."""
    file = tmp_path / "config.toml"
    file.write_text(
        'theme = "khotool-light"\n[keys]\n"goto.open" = "f5"\n"find.open" = "e"\n"no.such" = "x"\n'
    )
    config = load_config(file)
    assert config.theme == "khotool-light"
    assert config.keys == {"goto.open": "f5", "find.open": "e"}
    assert config.problems == [
        "config.toml: keys.'no.such' is not the id of a key",
        "key 'e' is both find.open and finding.next",
    ]
    file.write_text("[keys")
    assert len(load_config(file).problems) == 1
    assert load_config(tmp_path / "none.toml").problems == []


def test_the_map_finds_everything_at_any_scale(session: Session) -> None:
    """At every zoom the cells hold the same bytes of each group."""
    found = PageMap(session.image)
    assert found.end >= max(int(end) for _, end in session.image.space.extents().tolist())
    coarse = found.fit(8, 8)
    assert found.count_lines(8 * coarse) <= 8 < found.count_lines(4 * coarse)
    for size in (coarse, coarse // 4, found.page_size):
        cells = found.cells(0, size, -(-found.end // size))
        total = sum(cell.filled * size for cell in cells)
        assert round(total) == sum(group.size for group in found.groups)
    edge = found.next_edge(0, 1)
    assert edge is not None
    assert found.ranges(edge, edge + 4096)[0].start == edge
    assert found.next_edge(0, -1) is None


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 40), min_size=1))
def test_empty_rows_fold(known: set[int]) -> None:
    """Rows with something in them have a line each; two and more empty ones share one."""
    ordered = sorted(known)
    starts = [n for n in ordered if n - 1 not in known]
    ends = [n + 1 for n in ordered if n + 1 not in known]
    rows = Rows(np.array([starts, ends], np.int64).T)
    told = [rows.at(line) for line in range(rows.lines)]
    assert {row for row, folded in told if not folded} >= known
    position = 0
    for line, (row, folded) in enumerate(told):
        assert row == position
        assert folded != 1
        assert not known & set(range(row, row + folded))
        assert {rows.line_of(n) for n in range(row, row + max(folded, 1))} == {line}
        position += max(folded, 1)
    assert position == ordered[-1] + 1


def test_changes_ignore_addresses(session: Session) -> None:
    """An image equals itself; other captures differ by what they hold, not where."""
    assert compare_images(session.image, session.image).lines == []
    other = opened(OLDER)
    changes = compare_images(session.image, other).lines
    assert changes
    assert len(compare_images(session.image, other, addresses=True).lines) >= len(changes)


def test_definitions_are_drawn_to_scale() -> None:
    """Every definition has a layout; a change of size is breaking."""
    registry = load_registry([])
    for definition in registry:
        assert definition_lines(registry, definition, Geometry())
    lines = [
        plain(x)
        for x in compare_lines(
            registry, registry.get("memfd-v1"), registry.get("memfd-v2"), Geometry()
        )
    ]
    assert any("breaking" in line for line in lines)


def exported(session: Session, form: str) -> bytes:
    return b"".join(export_chunks(session, form, lambda: False))


def test_copies(session: Session) -> None:
    """The cursor as value, path, bytes, C, JSON and Markdown."""
    assert goto(session, "/kexec-metadata/version")
    assert copy_text(session, "value") == "1"
    assert copy_text(session, "path") == "/kexec-metadata/version"
    assert copy_text(session, "hex") == "01 00 00 00"
    assert "bytes[4] = {\n\t0x01, 0x00, 0x00, 0x00\n}" in copy_text(session, "c")
    assert copy_text(session, "json").strip() == "1"
    assert "| value | 0x00000001  1 |" in copy_text(session, "markdown")
    assert exported(session, "raw") == b"\1\0\0\0"
    assert goto(session, "/LUO/sessions[vm-alpha]/files[0x2]/data/folios[1]")
    assert b'"index": 1' in exported(session, "json")
    assert goto(session, "/memblock")
    assert exported(session, "raw")[:4] == b"\xd0\x0d\xfe\xed"
    assert b"reserve-mem-v1" in exported(session, "dts")


def test_recent_images_are_kept_once() -> None:
    """The latest is first, and each stands there once."""
    for name in ("/a", "/b", "/a"):
        add_recent(name)
    assert load_recent() == ["/a", "/b"]


def test_indexing_can_be_stopped() -> None:
    """Workers that are no longer wanted give up."""
    index = ByteIndex(opened(CAPTURE), lambda: True)
    assert len(index.fields) == 0
    assert PathList(opened(CAPTURE).tree).search("", 10) == []


def test_the_position_of_a_word_in_a_sparse_array_is_a_place() -> None:
    """It is a value of the row that no byte holds: it shows, and stands where its word stands."""
    image = good("kho-array-sparse")
    session = Session(image)
    node = next(
        n for n in image.tree.walk() if n.table is not None and n.table.position is not None
    )
    assert node.table is not None
    assert node.table.position is not None
    label = node.table.position.label
    for row in range(len(node.table)):
        place = Place(node, row, label)
        assert resolve(image.tree, place.path) == place
        assert place.field is node.table.position
        assert place.placed is None
        assert place.value == int(node.table.column(label)[row])
        assert span_of(place) == span_of(Place(node, row))
        assert facts(place, image, session.view, [])


def test_files_are_told_apart_by_size(session: Session) -> None:
    """The line of a file has its handler, its size, and how many folios hold it."""
    place = resolve(session.image.tree, "/LUO/sessions[vm-beta]/files[0x1]")
    assert place is not None
    shown = plain(label_line(Item(place), session.image))
    assert shown.startswith("[0x1]  memfd-v2  ")
    assert shown.endswith("  256 folios")
    assert "MiB" in shown


def test_twelve_owners_have_twelve_colours() -> None:
    """Owners differ by hue in every theme."""
    for theme in THEMES:
        variables = _Variables({"primary": theme.primary})
        hues = [_color(f"hue{n}", variables) for n in range(HUES)]
        apart = sorted(color.hsl.h for color in hues)
        assert min(b - a for a, b in pairwise(apart)) > 0.07
        assert {round(color.hsl.l, 1) for color in hues} == {round(hues[0].hsl.l, 1)}
