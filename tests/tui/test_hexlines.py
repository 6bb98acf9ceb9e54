"""Lines of memory: folds, holes, borders; stepping is the same in both directions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.memory.overlay import OverlaySpace
from khotool.tui.hexlines import HexLines, Key, LineKind

PAGE = 4096


def lines_of(pieces: list[tuple[int, bytes]], section: int = 16 * PAGE) -> HexLines:
    space = OverlaySpace(None, pieces)
    return HexLines(space, PAGE, lambda a: (a - a % section, a - a % section + section))


def walk(lines: HexLines, limit: int = 5000) -> list[Key]:
    keys = [lines.line_at((0, 0))[0].lines[0].key]
    while len(keys) < limit:
        following = lines.step(keys[-1], 1)
        if following == keys[-1]:
            break
        keys.append(following)
    return keys


def kinds(lines: HexLines) -> list[tuple[str, int, int]]:
    keys = walk(lines)
    found = lines.window(keys[0], len(keys) + 1)
    return [(line.kind.name, line.address, line.size) for line in found]


def test_zero_pages_and_holes_fold() -> None:
    """A run of zero pages is one line, a hole is one line, a border starts each section."""
    data = b"KHO!" + bytes(PAGE - 4)
    lines = lines_of([(0x10000, data + bytes(3 * PAGE)), (0x100000, data)])

    assert kinds(lines) == [
        ("SECTION", 0x10000, 0),
        ("DATA", 0x10000, 16),
        ("ZERO", 0x10010, PAGE - 16),
        ("ZERO", 0x11000, 3 * PAGE),
        ("HOLE", 0x14000, 0x100000 - 0x14000),
        ("SECTION", 0x100000, 0),
        ("DATA", 0x100000, 16),
        ("ZERO", 0x100010, PAGE - 16),
    ]


def test_the_selected_field_is_never_folded() -> None:
    """Rows of zero that hold the cursor's field are shown; the rest stays folded."""
    lines = lines_of([(0x10000, bytes(4 * PAGE))])
    lines.keep(0x11020, 0x11028)
    shown = kinds(lines)
    assert ("DATA", 0x11020, 16) in shown
    assert ("ZERO", 0x10000, PAGE) in shown
    assert ("ZERO", 0x12000, 2 * PAGE) in shown
    assert len(shown) == 8


def test_a_hole_of_exabytes_is_one_line() -> None:
    """Nothing grows with the size of a hole."""
    lines = lines_of([(0, b"a" * 16), (1 << 62, b"b" * 16)])
    assert [kind for kind, _, _ in kinds(lines)] == ["SECTION", "DATA", "HOLE", "SECTION", "DATA"]
    assert lines.fraction(0) == 0
    assert lines.fraction(1 << 62) == 0.5
    assert lines.at_fraction(0.75) == (1 << 62) + 8


def test_no_memory_at_all() -> None:
    """An image without bytes has no lines."""
    lines = lines_of([])
    assert lines.empty
    assert lines.window((0, 0), 10) == []
    assert lines.step((0, 0), 5) == (0, 0)


@st.composite
def memories(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """A few pieces of mostly zero bytes, at addresses and of sizes of any alignment."""
    pieces = []
    address = 0
    for _ in range(draw(st.integers(1, 4))):
        address += draw(st.integers(1, 3 * PAGE))
        size = draw(st.integers(1, 3 * PAGE))
        data = bytearray(size)
        for at in draw(st.lists(st.integers(0, size - 1), max_size=4)):
            data[at] = 1
        pieces.append((address, bytes(data)))
        address += size
    return pieces


@settings(max_examples=60, deadline=None)
@given(memories(), st.sampled_from([8, 16, 32]), st.sampled_from([PAGE, 3 * PAGE, 1000]))
def test_lines_tile_memory_and_steps_reverse(
    pieces: list[tuple[int, bytes]], width: int, section: int
) -> None:
    """Lines cover every byte once, ascending; up undoes down; every byte finds its line."""
    lines = lines_of(pieces, section)
    lines.set_width(width)
    keys = walk(lines)
    assert keys == sorted(set(keys))
    found = lines.window(keys[0], len(keys) + 1)
    assert [line.key for line in found] == keys
    position = pieces[0][0]
    for line in found:
        assert line.address == position
        position += line.size
    assert position == pieces[-1][0] + len(pieces[-1][1])
    back = [keys[-1]]
    while (before := lines.step(back[-1], -1)) != back[-1]:
        back.append(before)
    assert back[::-1] == keys
    for line in found:
        if line.kind is LineKind.DATA:
            data, states = lines.read_row(line)
            assert len(data) == len(states) == line.size
            assert lines.key_of(line.address + line.size - 1) == line.key
    middle = keys[len(keys) // 2]
    assert lines.step(middle, 10**6) == keys[-1]
    assert lines.step(middle, -(10**6)) == keys[0]


def test_sections_come_from_ownership() -> None:
    """A border stands wherever ownership changes inside an extent."""
    data = np.full(4 * PAGE, 7, np.uint8).tobytes()
    lines = lines_of([(0, data)], 2 * PAGE)
    borders = [(kind, at) for kind, at, _ in kinds(lines) if kind in ("SECTION", "PAGE")]
    assert borders == [
        ("SECTION", 0),
        ("PAGE", PAGE),
        ("SECTION", 2 * PAGE),
        ("PAGE", 3 * PAGE),
    ]
