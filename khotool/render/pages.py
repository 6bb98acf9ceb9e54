"""Preserved memory as rows: JSON, CSV and text, made a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.document.dump import Document, head
from khotool.model.image import Image
from khotool.model.path import is_below
from khotool.pages.owners import OwnedRanges, Ownership, UnpreservedRanges
from khotool.records import dataclass
from khotool.render.json import Rows
from khotool.render.lines import Line
from khotool.render.text import plural, visible
from khotool.render.value import absent_segments
from khotool.view.luo import Luo
from khotool.view.notation import absent_json, size_text

Ranges = OwnedRanges | UnpreservedRanges

SLICE = 8192
"""Rows that are turned into Python objects together."""

SUMMARY = (
    "preserved_pages",
    "owned_pages",
    "unowned_pages",
    "unpreserved_pages",
    "double_owned_pages",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A range of pages.

    Args:
        start: physical address in bytes.
        pages: number of pages.
        order: page order of its blocks; None for memory that is not preserved.
        owner: path; None for none.
    """

    start: int
    pages: int
    order: int | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted.

    Args:
        unowned: preserved pages without an owner only.
        unpreserved: claimed pages that are not preserved, instead of preserved ones.
        owner: only pages of this path and of what is below it.
        unclaimed: what the running kernel was handed and has not claimed yet, instead of the map.
    """

    unowned: bool = False
    unpreserved: bool = False
    owner: str | None = None
    unclaimed: bool = False


def ownership_of(image: Image, selection: Selection) -> Ownership | Absent:
    """The pages that a selection is made from, with their owners, or why there are none."""
    found = image.unclaimed if selection.unclaimed else image.map
    if isinstance(found, Absent):
        return found
    owned = image.unclaimed_ownership if selection.unclaimed else image.ownership()
    assert owned is not None
    return owned


def rows(ownership: Ownership, selection: Selection) -> Iterator[Row]:
    """The rows of a selection, ascending."""
    for ranges in [ownership.unpreserved] if selection.unpreserved else ownership.pieces():
        yield from _rows_of(ownership, ranges, selection)


def _rows_of(ownership: Ownership, ranges: Ranges, selection: Selection) -> Iterator[Row]:
    """The rows of a part of the ranges."""
    keep = chosen(ownership, ranges.owner, selection)
    owners = ownership.owners
    order = ranges.order if isinstance(ranges, OwnedRanges) else None
    for low in range(0, len(keep), SLICE):
        part = keep[low : low + SLICE]
        orders: list[int | None] = [None] * len(part) if order is None else order[part].tolist()
        columns = zip(
            ranges.start[part].tolist(),
            ranges.pages[part].tolist(),
            orders,
            ranges.owner[part].tolist(),
            strict=True,
        )
        for start, pages, of_order, owner in columns:
            yield Row(start, pages, of_order, owners[owner] if owner >= 0 else None)


def chosen(
    ownership: Ownership, owner: NDArray[np.int32], selection: Selection
) -> NDArray[np.intp]:
    """Indices of the rows that a selection takes."""
    if selection.unowned and not selection.unpreserved:
        return np.flatnonzero(owner < 0)
    if selection.owner is None:
        return np.arange(len(owner))
    wanted = [
        index for index, path in enumerate(ownership.owners) if is_below(path, selection.owner)
    ]
    return np.flatnonzero(np.isin(owner, np.array(wanted, np.int64)))


def summary(ownership: Ownership) -> dict[str, int]:
    """Totals, by the names of the contract."""
    return {name: int(getattr(ownership, name)) for name in SUMMARY}


def unclaimed_summary(ownership: Ownership) -> dict[str, int]:
    """Totals of the pages that are still unclaimed."""
    return {
        "unclaimed_pages": ownership.preserved_pages,
        "owned_pages": ownership.owned_pages,
        "unowned_pages": ownership.unowned_pages,
    }


def row_json(row: Row, names: Mapping[str, str]) -> dict[str, object]:
    """A row as an object; with what a program calls the owner, where that is known."""
    made: dict[str, object] = {
        "start": f"{row.start:#x}",
        "pages": row.pages,
        "order": row.order,
        "owner": row.owner,
    }
    name = names.get(row.owner or "")
    return made | {"name": name} if name is not None else made


def pages_document(image: Image, selection: Selection, *, ranges: bool) -> Document:
    """``khotool.pages/1``.

    Args:
        ranges: with the ranges, not only their totals.
    """
    made = head("pages")
    ownership = ownership_of(image, selection)
    if isinstance(ownership, Absent):
        gone = absent_json(ownership)
        return made | ({"ranges": gone} if ranges else {}) | {"summary": gone}
    if ranges:
        names = Luo(image).names
        made["ranges"] = Rows(row_json(row, names) for row in rows(ownership, selection))
    made["summary"] = (unclaimed_summary if selection.unclaimed else summary)(ownership)
    return made


def csv_lines(ownership: Ownership, selection: Selection) -> Iterator[str]:
    """CSV with a header; text from the image is quoted where it has to be."""
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("start", "pages", "order", "owner"))
    for number, row in enumerate(rows(ownership, selection), 1):
        order = "" if row.order is None else row.order
        writer.writerow((f"{row.start:#x}", row.pages, order, visible(row.owner or "")))
        if number % SLICE == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def text_lines(image: Image, selection: Selection, *, ranges: bool) -> Iterator[Line]:
    """Ranges as columns, and the totals below."""
    ownership = ownership_of(image, selection)
    if isinstance(ownership, Absent):
        yield Line([("memory  ", "key"), *absent_segments(ownership)])
        return
    page_size = image.geometry.page_size
    if ranges:
        yield from range_lines(ownership, selection, page_size, Luo(image).names)
        yield Line()
    if selection.unclaimed:
        yield from unclaimed_lines(ownership, page_size)
    else:
        yield from summary_lines(ownership, page_size)


def range_lines(
    ownership: Ownership, selection: Selection, page_size: int, names: Mapping[str, str]
) -> Iterator[Line]:
    """A heading, and a line for each range; the columns fit the largest number.

    Args:
        names: what programs call files and sessions, by path.
    """
    found = ownership.unpreserved if selection.unpreserved else ownership.ranges
    if not len(chosen(ownership, found.owner, selection)):
        yield Line([("no such pages", "dim")])
        return
    top = int(found.start[-1]) + int(found.pages[-1]) * page_size - 1
    digits = len(f"{top:x}")
    count = max(len(str(int(found.pages.max()))), 5)
    width = 2 * digits + 5
    yield Line([(f"{'range':<{width}}  {'pages':>{count}}  {'size':>9}  order  owner", "key")])
    for row in rows(ownership, selection):
        size = row.pages * page_size
        line = Line(hang=" " * (width + count + 22))
        line.add(f"{row.start:#0{digits + 2}x}-{row.start + size - 1:#0{digits + 2}x}", "address")
        order = "-" if row.order is None else str(row.order)
        line.add(f"  {row.pages:>{count}}  {size_text(size):>9}  {order:>5}  ")
        if row.owner is None:
            line.add("(none)", "warning")
        else:
            line.add(visible(row.owner), "entry")
            if row.owner in names:
                line.add(f"  ({visible(names[row.owner])})", "note")
        yield line


def summary_lines(ownership: Ownership, page_size: int) -> Iterator[Line]:
    """One line per total, with bytes."""
    words = {
        "preserved_pages": "preserved",
        "owned_pages": "with an owner",
        "unowned_pages": "without an owner",
        "unpreserved_pages": "claimed, not preserved",
        "double_owned_pages": "with several owners",
    }
    for name, count in summary(ownership).items():
        bad = count and name in ("unowned_pages", "unpreserved_pages", "double_owned_pages")
        text = f"{plural(count, 'page')}, {size_text(count * page_size)}"
        yield Line([(f"{words[name]:<24}", "key"), (text, "warning" if bad else "")])


def unclaimed_lines(ownership: Ownership, page_size: int) -> Iterator[Line]:
    """One line per total of the pages that are still unclaimed, with bytes."""
    words = ("not claimed yet", "with an owner", "without an owner")
    for word, count in zip(words, unclaimed_summary(ownership).values(), strict=True):
        text = f"{plural(count, 'page')}, {size_text(count * page_size)}"
        yield Line([(f"{word:<24}", "key"), (text, "")])
