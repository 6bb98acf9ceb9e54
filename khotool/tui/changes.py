"""Changes between two images, as lines and places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from khotool.diff.changes import (
    Change,
    ChangeKind,
    DiffOptions,
    NotCompared,
    OwnerChange,
    Result,
    Side,
)
from khotool.diff.compare import compare
from khotool.model.image import Image
from khotool.records import dataclass
from khotool.tui.place import resolve, span_of
from khotool.tui.text import Line, count_text, plain, visible

GLYPHS = {
    "changed": ("~", "warning"),
    "added": ("+", "added"),
    "removed": ("-", "removed"),
    "moved": (">", "pointer"),
    "pages": ("#", "note"),
    "gap": ("?", "dim"),
}
"""Glyph and token of each kind of change; ``pages`` is an owner of more or fewer pages, ``gap``
what could not be compared."""
RESULTS = {
    Result.EQUAL: ("equal", "added"),
    Result.DIFFERENT: ("different", "warning"),
    Result.INCOMPLETE: ("equal as far as both images show", "unknown"),
}
MOST_BYTES = 512
"""Bytes of a change that are shown."""


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One change.

    Args:
        kind: key of ``GLYPHS``.
        path: in both images, or in the one that has it.
        old, new: the value of each side; empty where there is none.
    """

    kind: str
    path: str
    old: Line
    new: Line


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison comes to, and its lines."""

    result: Result
    lines: list[ChangeLine]

    @property
    def gaps(self) -> int:
        """Lines about what could not be compared."""
        return sum(line.kind == "gap" for line in self.lines)


def compare_images(first: Image, second: Image, *, addresses: bool = False) -> Compared:
    """What differs, in the order of the first image; owners of more or fewer pages; then gaps.

    Args:
        addresses: whether physical addresses count.
    """
    found = compare(first, second, DiffOptions(addresses=addresses))
    gaps = map(_gap, found.not_compared)
    return Compared(found.result, [*map(_change, found.changes), *map(_owner, found.owners), *gaps])


def search_changes(changes: Sequence[ChangeLine], text: str) -> list[int]:
    """Indexes of the changes that have a text in their path or on either side, in order."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    return [
        number
        for number, change in enumerate(changes)
        if wanted in change.path.casefold()
        or wanted in plain(change.old).casefold()
        or wanted in plain(change.new).casefold()
    ]


def _change(change: Change) -> ChangeLine:
    old, new = (visible(text) for text in change.text)
    if change.kind is ChangeKind.MOVED and not (old or new):
        old, new = f"position {change.old}", f"position {change.new}"
    return ChangeLine(
        change.kind, change.path, [(old, "value")] if old else [], [(new, "value")] if new else []
    )


def _owner(owner: OwnerChange) -> ChangeLine:
    old, new = (count_text(count, "page") for count in (owner.old, owner.new))
    path = owner.path if owner.path is not None else "pages without owner"
    return ChangeLine("pages", path, [(old, "value")], [(new, "value")])


def _gap(gap: NotCompared) -> ChangeLine:
    """What one of the images, or both, do not show."""
    why: Line = [(f"not compared: {gap.why}", "unknown")]
    none: Line = [("", "dim")]
    old = none if gap.side is Side.SECOND else why
    return ChangeLine("gap", gap.path, old, why if gap.side is not Side.FIRST else none)


def side_lines(
    images: tuple[Image, Image], path: str, width: int, *, fold: bool = False
) -> list[Line]:
    """The bytes of a path in both images, row beside row, what differs marked.

    Args:
        width: columns; where two sides do not fit, the rows are below each other.
        fold: one line for several rows that are the same on both sides.
    """
    sides = [_bytes_of(image, path) for image in images]
    if all(resolve(image.tree, path) is None for image in images):
        return [[(" about the image as a whole", "dim")]]
    if not any(data for _, data in sides):
        return [[(f" {'AB'[n]} ", "title"), (note, "dim")] for n, (note, _) in enumerate(sides)]
    size = max(len(data) for _, data in sides)
    row, beside = _row_size(width)
    lines: list[Line] = []
    for at, same in _counted(sides, range(0, size, row), fold=fold):
        if same > KEPT_ROWS:
            text = f" {count_text(same - KEPT_ROWS, 'row')} more the same; u shows them"
            lines[len(lines) - (same > KEPT_ROWS + 1) :] = [[(text, "dim")]]
            continue
        parts = [_row(sides, side, at, row) for side in (0, 1)]
        lines += [[*parts[0], (" │ ", "dim"), *parts[1]]] if beside else parts
    return lines


def _row_size(width: int) -> tuple[int, bool]:
    """Bytes of a row for so many columns, and whether two sides fit beside each other."""
    beside = next((n for n in (16, 8) if 2 * (ADDRESS + 4 * n + 4) <= width), 0)
    return beside or (16 if width >= ADDRESS + 4 * 16 + 4 else 8), beside > 0


def _counted(
    sides: list[tuple[str, Cells]], rows: range, *, fold: bool
) -> Iterator[tuple[int, int]]:
    """Each row, and how many up to it are the same on both sides; 0 where none is folded."""
    same = 0
    first, second = (data for _, data in sides)
    for at in rows:
        equal = fold and first[at : at + rows.step] == second[at : at + rows.step]
        same = same + 1 if equal else 0
        yield at, same


KEPT_ROWS = 2
"""Rows that are the same on both sides and shown before the rest is folded."""


ADDRESS = 16
"""Columns of the letter and address of a row."""
OUTSIDE = -1
"""Where a side has no byte: the other one is longer."""
Cells = list[int | None]


def _bytes_of(image: Image, path: str) -> tuple[str, Cells]:
    """The first address in words, or why there are no bytes; the bytes, None for a hole."""
    place = resolve(image.tree, path)
    if place is None:
        return "not in this image", []
    span = span_of(place)
    if span is None:
        return "no bytes of its own", []
    data: Cells = []
    size = min(span.size, MOST_BYTES)
    pieces = list(image.space.known(span.address, size))
    for number, (address, view, state) in enumerate(pieces):
        end = pieces[number + 1][0] if number + 1 < len(pieces) else span.address + size
        gap: Cells = [0 if state == "zero" else None]
        data += gap * (end - address) if view is None else list(bytes(view))
    return f"{span.address:x}", data


def _row(sides: list[tuple[str, Cells]], side: int, at: int, row: int) -> Line:
    """One row of one side: address, bytes and characters; what differs is marked."""
    start, data = sides[side]
    other = sides[1 - side][1]
    where = f"{int(start, 16) + at:x}" if data else (start if not at else "")
    line: Line = [(f" {'AB'[side]} ", "title"), (f"{where:<{ADDRESS - 3}}", "dim")]
    if not data:
        # What is said of a missing side may need the room of its bytes.
        return [*line, (" " * (4 * row + 1 - max(len(where) - ADDRESS + 3, 0)), "")]
    chars: Line = []
    for place in range(at, at + row):
        byte = data[place] if place < len(data) else OUTSIDE
        against = other[place] if place < len(other) else OUTSIDE
        text, char, token = _cell(byte, bool(other) and byte != against)
        line += [(text, token), (" ", "")]
        chars.append((char, token.removesuffix(" hit")))
    return [*line, (" ", ""), *chars]


def _cell(byte: int | None, differs: bool) -> tuple[str, str, str]:
    """Two digits, a character, and a token of one byte of a side."""
    if byte == OUTSIDE:
        return "  ", " ", ""
    token = "added hit" if differs else "other" if byte else "zero"
    if byte is None:
        return "··", ".", token
    return f"{byte:02x}", chr(byte) if 0x20 <= byte < 0x7F else ".", token
