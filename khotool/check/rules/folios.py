"""Folio tables of files: flags, places in the file, coverage.

A table can have millions of rows, so that it is read in pieces: arrays of a whole column cost
more time in fresh memory than in arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.abi.record import column
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.model.image import Node, Table
from khotool.records import dataclass, field

U64 = np.ndarray[Any, Any]
Piece = tuple[U64, U64, U64 | None]
"""Row numbers, page index in the file, and pages of used folios, ascending by index.

No pages where every folio is one page.
"""
Rowwise = np.ndarray[Any, np.dtype[np.bool_]]
ROWS = 1 << 17
"""Rows of one piece: a few megabytes of columns, which stay in the cache."""
SHORT = 256
"""Rows of tables that are looked at together with others."""


@rule("HND601", also=("REC412",))
def check_flags(context: Context) -> None:
    """Flags of rows."""
    for node, table in unlike(context.tables, _has_usual_flags):
        for one in table.fields():
            if one.flags:
                _flags(context, node, table, one)


@rule("HND606", needs=("map",))
def check_orders(context: Context) -> None:
    """Orders that rows record."""
    for node, table in context.tables:
        for one in table.fields():
            if one.points_to and one.points_to.order:
                _orders(context, node, one)


@rule("HND602", "HND603", "HND604", "HND605", "HND607")
def check_places(context: Context) -> None:
    """Places of folios in their file, and files without any."""
    for node, table in unlike(context.tables, partial(_are_usual_places, context)):
        if any(field.role == "page-index" for field in table.fields()):
            _places(context, node)
    for node in context.nodes:
        if node.table is not None and not len(node.table) and not node.table.declared:
            _empty_file(context, node)


def unlike(
    tables: list[tuple[Node, Table]], usual: Callable[[Joined], Rowwise]
) -> list[tuple[Node, Table]]:
    """Tables that a rule has to look at: short ones only if they are not as usual.

    Args:
        usual: which rows of joined tables are as a rule wants them; bool (n,).
    """
    groups: dict[int, list[int]] = {}
    kept = set(range(len(tables)))
    for number, (_, table) in enumerate(tables):
        if len(table) <= SHORT and table.position is None:
            groups.setdefault(id(table.compiled), []).append(number)
    for group in groups.values():
        for at in range(0, len(group), ROWS // SHORT):
            part = group[at : at + ROWS // SHORT]
            joined = Joined.of([tables[number] for number in part])
            sound = np.logical_and.reduceat(usual(joined), joined.first)
            kept -= {number for number, fine in zip(part, sound.tolist(), strict=True) if fine}
    return [tables[number] for number in sorted(kept)]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Tables of one struct, behind each other.

    Args:
        nodes: of the tables.
        table: all rows.
        first: int64 (n,), the first row of each; none is empty.
    """

    nodes: list[Node]
    table: Table
    first: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, tables: list[tuple[Node, Table]]) -> Joined:
        """Join tables."""
        one = tables[0][1]
        rows = np.concatenate([table.records for _, table in tables])
        sizes = np.array([len(table) for _, table in tables], np.int64)
        whole = Table(one.compiled, rows, one.extents, len(rows))
        return cls([node for node, _ in tables], whole, np.cumsum(sizes) - sizes)


def _has_usual_flags(joined: Joined) -> Rowwise:
    """Rows whose flags are known, and all there in a folio of a file."""
    table = joined.table
    folios = bool(table.pointers(Shape.FOLIO))
    fine = np.ones(len(table), bool)
    for one in table.fields():
        if one.flags:
            known, values = np.uint64(sum(one.flags.values())), table.column(one.label)
            fine &= values == known if folios else values & ~known == 0
    return fine


def _are_usual_places(context: Context, joined: Joined) -> Rowwise:
    """Rows of files that have a folio of one page for each of their pages, in order."""
    table = joined.table
    index = next((f for f in table.fields() if f.role == "page-index"), None)
    folio = next(iter(table.pointers(Shape.FOLIO)), None)
    if index is None:
        return np.ones(len(table), bool)
    if folio is None or isinstance(context.image.map, Absent):
        return np.zeros(len(table), bool)
    geometry, size = context.image.geometry, np.diff(joined.first, append=len(table))
    wanted = [
        -(-given // geometry.page_size) if isinstance(given, int) else None
        for given in (n.parent and n.parent.value_of("size") for n in joined.nodes)
    ]
    whole = [number == rows for number, rows in zip(wanted, size.tolist(), strict=True)]
    frames = frames_of(folio, table.column(folio.label), geometry.page_shift)
    row = (np.arange(len(table)) - np.repeat(joined.first, size)).astype(np.uint64)
    fine: Rowwise = np.repeat(np.array(whole, bool), size)
    fine &= (table.column(index.label) == row) & (frames != 0)
    if not context.image.map.blocks.all_single(frames):
        _, orders = context.image.map.blocks.blocks_of(frames << np.uint64(geometry.page_shift))
        fine &= orders <= 0
    return fine


def column_pieces(table: Table, label: str) -> Iterator[tuple[int, U64]]:
    """A column piece by piece: number of the first row, values."""
    for first in range(0, len(table), ROWS):
        yield first, table.column(label, slice(first, first + ROWS))


def _flags(context: Context, node: Node, table: Table, field: Field) -> None:
    known = np.uint64(sum(field.flags.values()))
    # The kernel marks the folios of a file with all of them; other rows have what they have.
    folios = bool(table.pointers(Shape.FOLIO))
    strange, weak = Rows(), Rows()
    for first, values in column_pieces(table, field.label):
        if np.bitwise_or.reduce(values) & ~known:
            strange.add(first, values & ~known != 0)
        if folios and ~np.bitwise_and.reduce(values) & known:
            weak.add(first, values & known != known)
    if strange.count:
        text = f"{strange.count} rows have unknown {field.name}, first [{strange.first}]"
        context.report("REC412", node, text)
    if weak.count:
        text = f"{weak.count} rows lack {field.name} that kernels always set, first [{weak.first}]"
        context.report("HND601", node, text, table.span(weak.first).address, row=weak.first)


def _orders(context: Context, node: Node, field: Field) -> None:
    """Orders that rows record, against the blocks that are preserved."""
    assert node.table is not None
    assert field.points_to is not None
    assert not isinstance(context.image.map, Absent)
    blocks = context.image.map.blocks
    wrong = Rows()
    orders = column_pieces(node.table, field.points_to.order)
    for (first, addresses), (_, recorded) in zip(
        column_pieces(node.table, field.label), orders, strict=True
    ):
        _, found = blocks.blocks_of(addresses)
        # A folio that is not preserved at all is left to MEM302.
        wrong.add(first, (addresses == 0) | ((found >= 0) & (found != recorded.astype(np.int64))))
    if wrong.count:
        text = f"{wrong.count} rows name no folio, or one preserved with a different order, as "
        context.report("HND606", node, f"{text}[{wrong.first}]", row=wrong.first)


@dataclass(slots=True)
class Rows:
    """How many rows a fault has, and the first of them."""

    count: int = 0
    first: int = 0

    def add(self, base: int | U64, faulty: U64) -> None:
        """Count the faulty rows of a piece; ``base`` is its first row, or all row numbers."""
        number = int(np.count_nonzero(faulty))
        if number and not self.count:
            at = int(faulty.argmax())
            self.first = base + at if isinstance(base, int) else int(base[at])
        self.count += number


def folio_pieces(context: Context, node: Node, *, in_order: bool) -> Iterator[Piece] | None:
    """The folios of a table, ascending by index; None where their orders are not known.

    Args:
        in_order: rows are ascending by index.
    """
    table = node.table
    assert table is not None
    index = next((f for f in table.fields() if f.role == "page-index"), None)
    folio = next(iter(table.pointers(Shape.FOLIO)), None)
    if index is None or folio is None or isinstance(context.image.map, Absent):
        return None
    shift = context.image.geometry.page_shift
    if in_order:
        columns = column_pieces(table, folio.label), column_pieces(table, index.label)
        return (
            _sized(context, np.arange(at, at + len(p)), frames_of(folio, frames, shift), p)
            for (at, frames), (_, p) in zip(*columns, strict=True)
        )
    order = np.argsort(table.column(index.label), kind="stable")
    frames = frames_of(folio, table.column(folio.label)[order], shift)
    places = table.column(index.label)[order]
    return (
        _sized(context, order[at : at + ROWS], frames[at : at + ROWS], places[at : at + ROWS])
        for at in range(0, len(order), ROWS)
    )


def frames_of(field: Field, values: U64, page_shift: int) -> U64:
    """Page frames that a column names: its values, or those of its addresses."""
    return values if field.role == "pfn" else values >> np.uint64(page_shift)


def ascending(table: Table) -> bool:
    """True if the places in the file, where rows have some, never fall."""
    label = next((f.label for f in table.fields() if f.role == "page-index"), None)
    if label is None:
        return True
    last = None
    for _, values in column_pieces(table, label):
        if (last is not None and values[0] < last) or bool((values[1:] < values[:-1]).any()):
            return False
        last = values[-1]
    return True


def _sized(context: Context, rows: U64, frames: U64, places: U64) -> Piece:
    assert not isinstance(context.image.map, Absent)
    if not frames.all():
        used = frames != 0
        rows, frames, places = rows[used], frames[used], places[used]
    blocks = context.image.map.blocks
    if blocks.all_single(frames):
        return rows, places, None
    _, orders = blocks.blocks_of(frames << np.uint64(context.image.geometry.page_shift))
    return rows, places, np.uint64(1) << np.maximum(orders, 0).astype(np.uint64)


def _places(context: Context, node: Node) -> None:
    table = node.table
    assert table is not None
    in_order = ascending(table)
    pieces = folio_pieces(context, node, in_order=in_order)
    if pieces is None:
        context.skip("HND602", node, "the orders of its folios are not known")
        return
    size = node.parent.value_of("size") if node.parent is not None else None
    page = context.image.geometry.page_size
    wanted = min(-(-size // page), (1 << 64) - 1) if isinstance(size, int) else None
    found = Places(wanted)
    for rows, places, pages in pieces:
        if len(rows):
            found.add(rows, places, pages)
    if not found.again.count and not in_order:
        context.report("HND607", node, "the folios are not sorted by their place in the file")
    if found.again.count:
        text = f"row [{found.again.first}] overlaps another folio of the file"
        context.report("HND602", node, text, rows=found.again.count)
    if found.skew.count:
        text = f"{found.skew.count} folios are not aligned to their size in the file, as "
        context.report("HND604", node, f"{text}[{found.skew.first}]")
    if found.beyond.count:
        text = f"{found.beyond.count} folios lie beyond the end of the file at {size} bytes, "
        context.report("HND603", node, f"{text}the first [{found.beyond.first}]")
    whole = table.declared == len(table)
    if wanted is not None and found.covered < wanted and whole:
        missing = wanted - found.covered
        text = f"{missing} of {wanted} pages of the file have no folio"
        context.report("HND605", node, text, pages=missing)


@dataclass(slots=True)
class Places:
    """What a file's folios cover.

    Args:
        wanted: pages of the file; None where its size is not known.
    """

    wanted: int | None
    again: Rows = field(default_factory=Rows)
    skew: Rows = field(default_factory=Rows)
    beyond: Rows = field(default_factory=Rows)
    covered: int = 0
    _reach: int = 0

    def add(self, rows: U64, places: U64, pages: U64 | None) -> None:
        """Take the next piece, which has rows."""
        wanted = None if self.wanted is None else np.uint64(self.wanted)
        if pages is None and one_after_the_other(places, self._reach):
            self._reach = int(places[-1]) + 1
            if wanted is not None:
                inside = int(np.searchsorted(places, wanted))
                self.covered += inside
                if inside < len(rows):
                    self.beyond.add(rows, places >= wanted)
            return
        pages = np.ones_like(places) if pages is None else pages
        ends = places + pages
        before = np.concatenate(([np.uint64(self._reach)], np.maximum.accumulate(ends)[:-1]))
        before = np.maximum(before, np.uint64(self._reach))
        self.again.add(rows, places < before)
        self.skew.add(rows, places & (pages - np.uint64(1)) != 0)
        if self.wanted is not None:
            self.beyond.add(rows, places >= np.uint64(self.wanted))
            self.covered += covered_between(np.maximum(places, before), ends, self.wanted)
        self._reach = max(self._reach, int(ends.max()))


def one_after_the_other(places: U64, reach: int) -> bool:
    """Whether single pages lie at ``reach`` or above, each above the one before it."""
    inside = reach <= int(places[0]) and int(places[-1]) < 1 << 63
    return inside and bool((places[1:] > places[:-1]).all())


def covered_between(starts: U64, ends: U64, wanted: int) -> int:
    """Pages below ``wanted`` in half-open ranges that do not overlap."""
    limit = np.uint64(min(wanted, 1 << 62))
    low = np.minimum(starts, limit).astype(np.int64)
    high = np.minimum(ends, limit).astype(np.int64)
    return int(np.maximum(high - low, 0).sum())


def _empty_file(context: Context, node: Node) -> None:
    """A table without rows: fine, where the file has no size."""
    size = node.parent.value_of("size") if node.parent is not None else None
    if node.parent is None or not isinstance(size, int):
        return
    if size and node.parent.get("pos") is not None:
        context.report("HND605", node, f"a file of {size} bytes has no folio", bytes=size)


def rows_after_end(context: Context, node: Node) -> U64 | None:
    """Page frames of the rows after the last counted one; None if they are not captured."""
    table = node.table
    inside = node.span is not None and node.field is not None and node.field.holds is None
    if table is None or not len(table.extents) or table.position is not None or inside:
        # Nothing follows the rows of a property, and words have pages of their own.
        return None
    start = int(table.extents[-1].sum())
    page = context.image.geometry.page_size
    raw = context.read(start, -start % page)
    folio = next(iter(table.pointers(Shape.FOLIO)), None)
    if raw is None or folio is None:
        return None
    size = table.compiled.size
    records = np.frombuffer(raw, table.compiled.dtype, len(raw) // size)
    values: U64 = column(table.compiled, records, folio.label)
    used: U64 = values[values != 0]
    return frames_of(folio, used, context.image.geometry.page_shift)
