"""Lines of a view of memory: rows of bytes, folded zeros and holes, borders of pages.

Lines are made from the page around an address alone, so that memory of any size is shown
without counting its rows. A line is named by its ``key``: the address of its first byte, and
its rank among the lines that start there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from enum import IntEnum

import numpy as np

from khotool.memory.space import AddressSpace
from khotool.records import dataclass

Key = tuple[int, int]

ZERO_WINDOW = 4 << 20
"""Bytes searched for zero pages at a time; a fold never crosses a multiple of it."""
FOLD_ROWS = 3
"""Rows of zero that are folded inside a page."""
_CACHE = 256


class LineKind(IntEnum):
    """What a line shows; the number ranks lines that start at one address."""

    SECTION = 0
    PAGE = 1
    DATA = 2
    ZERO = 3
    HOLE = 4
    ERROR = 5


@dataclass(frozen=True, slots=True)
class HexLine:
    """One line.

    Args:
        kind: what it shows.
        address: physical address of its first byte.
        size: bytes it shows; 0 for borders.
    """

    kind: LineKind
    address: int
    size: int

    @property
    def key(self) -> Key:
        """Place of the line among all lines."""
        return self.address, min(self.kind, LineKind.DATA)


@dataclass(frozen=True, slots=True)
class Group:
    """The lines of a page, of a run of zero pages, or of a hole."""

    start: int
    end: int
    lines: tuple[HexLine, ...]


@dataclass(frozen=True, slots=True)
class PageBytes:
    """Bytes of one page and what is known of each.

    Args:
        data: bytes; 0 where unknown.
        states: one byte each: ``d`` data, ``z`` zero left out by the dumper, ``h`` hole,
            ``e`` unreadable.
    """

    address: int
    data: bytes
    states: bytes


Section = Callable[[int], tuple[int, int]]
"""Gives the range of equal ownership around an address: start and end in bytes."""


class HexLines:
    """Lines of one address space.

    Args:
        space: the memory.
        page_size: bytes.
        section_of: range of memory that has one border.
        width: bytes per row.
    """

    def __init__(
        self, space: AddressSpace, page_size: int, section_of: Section, width: int = 16
    ) -> None:
        self.space = space
        self.page_size = page_size
        self.section_of = section_of
        self.width = width
        self.extents = [(int(a), int(b)) for a, b in space.extents().tolist()]
        self._starts = [a for a, _ in self.extents]
        self._before = np.concatenate(
            ([0.0], np.cumsum([float(b - a) for a, b in self.extents]))
        ).tolist()
        self._keep: tuple[int, int] = (0, 0)
        self._groups: dict[int, Group] = {}
        self._pages: dict[int, PageBytes] = {}
        self._zero: dict[int, tuple[int, bytes]] = {}

    @property
    def empty(self) -> bool:
        """Whether there is no memory at all."""
        return not self.extents

    def keep(self, start: int, end: int) -> None:
        """Rows that touch these bytes are never folded; at most a page of them."""
        end = min(end, start + self.page_size)
        if (start, end) != self._keep:
            self._keep = start, end
            self._groups.clear()

    def set_width(self, width: int) -> None:
        """Bytes per row."""
        self.width = width
        self._groups.clear()

    def refresh(self) -> None:
        """Forget lines: the sections have changed."""
        self._groups.clear()

    # -- places ----------------------------------------------------------------------------

    def _extent(self, address: int) -> int:
        """Index of the extent that holds an address, or -1."""
        at = bisect_right(self._starts, address) - 1
        return at if at >= 0 and address < self.extents[at][1] else -1

    def contains(self, address: int) -> bool:
        """Whether the capture has this byte."""
        return self._extent(address) >= 0

    def clamp(self, address: int) -> int:
        """The nearest address between the first and the last byte."""
        if not self.extents:
            return 0
        return min(max(address, self.extents[0][0]), self.extents[-1][1] - 1)

    def fraction(self, address: int) -> float:
        """How much of the captured bytes lies before an address, 0 to 1."""
        if not self.extents:
            return 0.0
        at = max(bisect_right(self._starts, address) - 1, 0)
        start, end = self.extents[at]
        return float(self._before[at] + min(max(address - start, 0), end - start)) / float(
            self._before[-1] or 1
        )

    def at_fraction(self, fraction: float) -> int:
        """The address with this much of the captured bytes before it."""
        if not self.extents:
            return 0
        wanted = min(max(fraction, 0.0), 1.0) * self._before[-1]
        at = min(bisect_right(self._before, wanted) - 1, len(self.extents) - 1)
        start, end = self.extents[at]
        return min(start + int(wanted - self._before[at]), end - 1)

    # -- bytes -----------------------------------------------------------------------------

    def page(self, address: int) -> PageBytes:
        """The page around an address."""
        base = address - address % self.page_size
        found = self._pages.get(base)
        if found is None:
            if len(self._pages) > _CACHE:
                self._pages.clear()
            found = self._pages[base] = self._read(base, self.page_size)
        return found

    def _read(self, base: int, size: int) -> PageBytes:
        data, states = bytearray(size), bytearray(b"h" * size)
        pieces = self.space.known(base, size)
        for number, (address, view, state) in enumerate(pieces):
            following = pieces[number + 1][0] if number + 1 < len(pieces) else base + size
            low, high = address - base, following - base
            states[low:high] = {"data": b"d", "zero": b"z", "hole": b"h", "error": b"e"}[state] * (
                high - low
            )
            if view is not None:
                data[low : low + len(view)] = view
        return PageBytes(base, bytes(data), bytes(states))

    def read_row(self, line: HexLine) -> tuple[bytes, bytes]:
        """Bytes and states of a row of data, ``line.size`` of each."""
        page = self.page(line.address)
        at = line.address - page.address
        return page.data[at : at + line.size], page.states[at : at + line.size]

    def _zero_pages(self, address: int) -> tuple[int, bytes]:
        """Base of the window around an address, and 1 for each page of it that is all zero."""
        window = address - address % ZERO_WINDOW
        found = self._zero.get(window)
        if found is None:
            if len(self._zero) > 4 * _CACHE:
                self._zero.clear()
            found = self._zero[window] = window, self._scan_zero(window)
        return found

    def _scan_zero(self, window: int) -> bytes:
        size = self.page_size
        zero = np.ones(ZERO_WINDOW // size, np.uint8)
        pieces = self.space.known(window, ZERO_WINDOW)
        for number, (address, view, state) in enumerate(pieces):
            end = pieces[number + 1][0] if number + 1 < len(pieces) else window + ZERO_WINDOW
            first, last = (address - window) // size, -(-(end - window) // size)
            if state == "zero":
                continue
            if view is None:
                # A page that is partly missing is shown as it is.
                zero[first:last] = 0
                continue
            data = np.frombuffer(view, np.uint8)
            head = min(-address % size, len(data))
            if head and data[:head].any():
                zero[first] = 0
            body = (len(data) - head) // size
            start = (address + head - window) // size
            if body:
                rows = data[head : head + body * size].reshape(body, size)
                zero[start : start + body] &= (~rows.any(axis=1)).astype(np.uint8)
            if data[head + body * size :].any():
                zero[start + body] = 0
        return zero.tobytes()

    # -- lines -----------------------------------------------------------------------------

    def group_at(self, address: int) -> Group:
        """The lines around an address between the first and the last byte."""
        at = self._extent(address)
        if at < 0:
            after = bisect_right(self._starts, address)
            start, end = self.extents[after - 1][1], self.extents[after][0]
            return Group(start, end, (HexLine(LineKind.HOLE, start, end - start),))
        low, high = self.extents[at]
        base = address - address % self.page_size
        start, end = max(base, low), min(base + self.page_size, high)
        found = self._groups.get(start)
        if found is None or address >= found.end:
            if len(self._groups) > _CACHE:
                self._groups.clear()
            found = self._make(start, end, low, high)
            self._groups[start] = found
        return found

    def _make(self, start: int, end: int, low: int, high: int) -> Group:
        begin, stop = self.section_of(start)
        begin, stop = self._aligned(begin, stop)
        begin, stop = min(max(begin, low), start), min(max(stop, end), high)
        run = self._zero_run(start, begin, stop)
        if run is not None:
            lines = [HexLine(LineKind.ZERO, run[0], run[1] - run[0])]
            if run[0] == begin:
                lines.insert(0, HexLine(LineKind.SECTION, run[0], 0))
            return Group(run[0], run[1], tuple(lines))
        border = LineKind.SECTION if start <= begin else LineKind.PAGE
        return Group(start, end, (HexLine(border, start, 0), *self._rows(start, end)))

    def _aligned(self, begin: int, stop: int) -> tuple[int, int]:
        """A section in whole pages: a page belongs to the section its first byte is in."""
        size = self.page_size
        return -(-begin // size) * size, -(-stop // size) * size

    def _zero_run(self, start: int, low: int, high: int) -> tuple[int, int] | None:
        """The run of zero pages around a page, inside a section; None for other pages."""
        if self._kept(start, start + self.page_size):
            return None
        size = self.page_size
        window, zero = self._zero_pages(start)
        first = last = (start - window) // size
        if not zero[first]:
            return None
        kept = -1 if self._keep[0] == self._keep[1] else (self._keep[0] - window) // size
        until = -1 if kept < 0 else (self._keep[1] - 1 - window) // size

        def free(page: int) -> bool:
            return bool(zero[page]) and not kept <= page <= until

        while first > 0 and window + first * size > low and free(first - 1):
            first -= 1
        while last + 1 < len(zero) and window + (last + 1) * size < high and free(last + 1):
            last += 1
        return max(window + first * size, low), min(window + (last + 1) * size, high)

    def _kept(self, start: int, end: int) -> bool:
        return self._keep[0] < end and start < self._keep[1]

    def _rows(self, start: int, end: int) -> list[HexLine]:
        """Rows of a page with runs of zero folded."""
        page = self.page(start)
        lines: list[HexLine] = []
        zeros: list[HexLine] = []

        def flush() -> None:
            if len(zeros) >= FOLD_ROWS:
                size = zeros[-1].address + zeros[-1].size - zeros[0].address
                lines.append(HexLine(LineKind.ZERO, zeros[0].address, size))
            else:
                lines.extend(zeros)
            zeros.clear()

        address = start
        while address < end:
            following = min(address - address % self.width + self.width, end)
            line = HexLine(LineKind.DATA, address, following - address)
            low, high = address - page.address, following - page.address
            blank = not any(page.data[low:high]) and not set(page.states[low:high]) - set(b"dz")
            if blank and not self._kept(address, following):
                zeros.append(line)
            else:
                flush()
                lines.append(line)
            address = following
        flush()
        if all(state == ord("e") for state in page.states):
            return [HexLine(LineKind.ERROR, start, end - start)]
        return lines

    def line_at(self, key: Key) -> tuple[Group, int]:
        """The group and index of the last line at or before a key."""
        group = self.group_at(self.clamp(key[0]))
        keys = [line.key for line in group.lines]
        return group, max(bisect_right(keys, key) - 1, 0)

    def key_of(self, address: int) -> Key:
        """Key of the line that shows a byte."""
        group, at = self.line_at((self.clamp(address), LineKind.DATA))
        return group.lines[at].key

    def step(self, key: Key, lines: int) -> Key:
        """The key so many lines further down (or up, if negative), as far as there are any."""
        if not self.extents:
            return key
        group, at = self.line_at(key)
        first, last = self.extents[0][0], self.extents[-1][1]
        while lines > 0:
            room = len(group.lines) - 1 - at
            if lines <= room:
                return group.lines[at + lines].key
            if group.end >= last:
                return group.lines[-1].key
            lines -= room + 1
            group, at = self.group_at(group.end), 0
        while lines < 0:
            if -lines <= at:
                return group.lines[at + lines].key
            if group.start <= first:
                return group.lines[0].key
            lines += at + 1
            group = self.group_at(group.start - 1)
            at = len(group.lines) - 1
        return group.lines[at].key

    def window(self, key: Key, count: int) -> list[HexLine]:
        """At most ``count`` lines from a key on."""
        if not self.extents or count <= 0:
            return []
        group, at = self.line_at(key)
        lines = list(group.lines[at : at + count])
        while len(lines) < count and group.end < self.extents[-1][1]:
            group = self.group_at(group.end)
            lines.extend(group.lines[: count - len(lines)])
        return lines

    def distance(self, start: Key, end: Key, limit: int) -> int | None:
        """Lines from one key down to a second; None for more than ``limit``, or upwards."""
        for number, line in enumerate(self.window(start, limit)):
            if line.key >= end:
                return number if line.key == end else None
        return None
