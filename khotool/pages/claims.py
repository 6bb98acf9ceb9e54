"""Claims: which bytes the objects of an image say are theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from khotool.pages.runs import ascending, distinct, merge_columns
from khotool.records import dataclass, field, replace

Frames = NDArray[np.int64]
CHUNK = 1 << 16
"""Rows of a column that are read together; their frames stay in the cache."""
SHORT = 256
"""Rows of columns that are read together with others."""
ORDINARY = 1 << 62
"""Physical addresses below this are far from where arithmetic on them wraps."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Claims of one page each, as a column of records that stays where it is.

    A value of 0 claims nothing, and neither does the last page of the address space.

    Args:
        values: unsigned 64-bit (n,) of any stride and byte order.
        mask: bits of a value that count.
        shift: bits of these to drop at the low end.
        release: called with the first row that was read, and the one past the last, when they may
            leave memory.
        up: log2 of the bytes that a unit of the result stands for: 0 for physical addresses, the
            page shift for page frame numbers.
    """

    values: NDArray[np.uint64]
    mask: int = (1 << 64) - 1
    shift: int = 0
    up: int = 0
    release: Callable[[int, int], None] | None = None

    def __len__(self) -> int:
        return int(self.values.size)

    def addresses(self, rows: slice) -> NDArray[np.uint64]:
        """Physical addresses in bytes of the rows that claim something, fewer than the rows."""
        used = self._used(rows)
        used <<= np.uint64(self.up)
        return used

    def frames(self, rows: slice, page_shift: int) -> tuple[Frames, Frames | None]:
        """Page frames that rows claim: the first, and the one past the end.

        Returns:
            int64 (m,) each, m at most the number of rows; None where each is one page.
        """
        if self.up == page_shift:
            frames = self._used(rows)
            top = (1 << (64 - page_shift)) - 1
            if int(frames.max(initial=0)) >= top:
                frames &= np.uint64(top)
                frames = frames[frames != np.uint64(top)]
            return frames.view(np.int64), None
        start = self.addresses(rows)
        end = start + np.uint64(1 << page_shift)
        if start.size and int(start.max()) > int(end.max()):
            start, end = start[end > start], end[end > start]
        low = np.uint64((1 << page_shift) - 1)
        first = (start >> np.uint64(page_shift)).view(np.int64)
        if not bool((start & low).any()):
            return first, None
        return first, ((end - np.uint64(1)) >> np.uint64(page_shift)).view(np.int64) + 1

    def _used(self, rows: slice) -> NDArray[np.uint64]:
        """Values that are not 0, a fresh array."""
        values = np.bitwise_and(self.values[rows], np.uint64(self.mask))
        values = values.astype(np.uint64, copy=False)
        if self.shift:
            values >>= np.uint64(self.shift)
        return values if bool(values.all()) else values[values != 0]


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Claimed byte ranges as columns of one length, in any order, and pages in records beside them.

    Args:
        start: uint64 (n,), physical address in bytes.
        end: uint64 (n,), physical address in bytes, exclusive; empty claims do not count.
        owner: int32 (n,), index into ``owners``.
        owners: paths of the owners; equal paths are one owner, that of the lowest index.
        expected_outside: bool, one per owner: the format keeps its pages outside the map.
        columns: more claims, with the index of their owner.

    Raises:
        ValueError: columns differ in length, or an index names no owner.
    """

    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    owner: NDArray[np.int32]
    owners: list[str]
    expected_outside: NDArray[np.bool_]
    columns: tuple[tuple[int, Column], ...] = ()

    def __post_init__(self) -> None:
        if not self.start.shape == self.end.shape == self.owner.shape or self.start.ndim != 1:
            raise ValueError("start, end and owner are columns of one length")
        if self.expected_outside.shape != (len(self.owners),):
            raise ValueError("expected_outside has one entry per owner")
        if self.owner.size and not 0 <= int(self.owner.min()) <= int(self.owner.max()) < len(
            self.owners
        ):
            raise ValueError("every owner is an index into owners")

    def __len__(self) -> int:
        return int(self.start.size) + sum(len(column) for _, column in self.columns)

    def flat(self, page_shift: int) -> Claims:
        """The same claims without columns."""
        if not self.columns:
            return self
        starts = [column.addresses(slice(None)) for _, column in self.columns]
        start = np.concatenate([self.start, *starts])
        size = np.uint64(1 << page_shift)
        ends = [np.maximum(part + size, part) for part in starts]
        owners = [
            np.full(part.size, owner, np.int32)
            for part, (owner, _) in zip(starts, self.columns, strict=True)
        ]
        return Claims(
            start,
            np.concatenate([self.end, *ends]),
            np.concatenate([self.owner, *owners]),
            self.owners,
            self.expected_outside,
        )

    def expected_outside_by_path(self) -> NDArray[np.bool_]:
        """Per owner; one that is named twice is expected outside if any of its entries says so."""
        named = zip(self.owners, self.expected_outside.tolist(), strict=True)
        paths = {path for path, outside in named if outside}
        return np.array([path in paths for path in self.owners], bool)

    def owners_of(self, first: int, past: int, page_shift: int) -> list[int]:
        """Indices of the owners that claim a byte of page frames ``first..past``, ascending.

        Reads every claim once and keeps nothing.
        """
        low, high = first << page_shift, min(past << page_shift, (1 << 64) - 1)
        meets = (self.start <= np.uint64(high - 1)) & (self.end > np.uint64(low))
        meets &= self.start < self.end
        found = set(self.owner[meets].tolist())
        for owner, column in joined(self.columns):
            for low in range(0, len(column), CHUNK):
                if isinstance(owner, int) and owner in found:
                    break
                start, end = column.frames(slice(low, low + CHUNK), page_shift)
                hit = (start < past) & ((start if end is None else end - 1) >= first)
                if bool(hit.any()):
                    some = [owner] if isinstance(owner, int) else owner[low : low + CHUNK][hit]
                    found.update(map(int, some))
                if column.release is not None:
                    column.release(low, low + CHUNK)
        index = one_index_per_path(self.owners)
        return sorted({int(index[owner]) for owner in found})


def joined(columns: Iterable[tuple[int, Column]]) -> Iterator[tuple[int | Frames, Column]]:
    """The same columns, short ones in one: their owner, or the owner of each row.

    All rows of a column with an owner for each row claim something.
    """
    alike: dict[tuple[int, int, int, np.dtype[np.uint64]], list[tuple[int, Column]]] = {}
    for owner, column in columns:
        if len(column) > SHORT:
            yield owner, column
            continue
        group = alike.setdefault((column.mask, column.shift, column.up, column.values.dtype), [])
        group.append((owner, column))
        if len(group) >= CHUNK // SHORT:
            yield from _joined(group)
            group.clear()
    for group in alike.values():
        yield from _joined(group)


def _joined(columns: list[tuple[int, Column]]) -> Iterator[tuple[int | Frames, Column]]:
    """Short columns that are read alike, as one; left as they are where values are out of range."""
    if not columns:
        return
    one = columns[0][1]
    values = np.concatenate([column.values for _, column in columns])
    number = (values & np.uint64(one.mask)) >> np.uint64(one.shift)
    if int(number.max(initial=0)) << one.up >= ORDINARY:
        yield from columns
        return
    owners = np.array([owner for owner, _ in columns], np.int64)
    used = number != 0
    rows = np.repeat(owners, [len(column) for _, column in columns])[used]
    yield rows, replace(one, values=values[used], release=None)


@dataclass(slots=True)
class ClaimsBuilder:
    """Collects claims one object at a time."""

    owners: list[str] = field(default_factory=list)
    _outside: list[bool] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)
    _parts: list[tuple[NDArray[np.uint64], NDArray[np.uint64], int]] = field(default_factory=list)
    _single: list[tuple[int, int, int]] = field(default_factory=list)
    _columns: list[tuple[int, Column]] = field(default_factory=list)

    def owner(self, path: str, expected_outside: bool = False) -> int:
        """Index of the owner ``path``; ``expected_outside`` counts where it is first named."""
        index = self._index.get(path)
        if index is None:
            index = self._index[path] = len(self.owners)
            self.owners.append(path)
            self._outside.append(expected_outside)
        return index

    def add(self, owner: int, start: int, end: int) -> None:
        """Claim bytes ``start..end`` (physical addresses); cut to 0..2**64 - 1."""
        top = (1 << 64) - 1
        start, end = max(start, 0), min(end, top)
        if start < end:
            self._single.append((start, end, owner))

    def add_many(self, owner: int, start: ArrayLike, end: ArrayLike) -> None:
        """Claim many byte ranges: physical addresses uint64 (n,), ends exclusive."""
        starts, ends = np.asarray(start, np.uint64), np.asarray(end, np.uint64)
        if starts.shape != ends.shape:
            ends = np.broadcast_to(ends, starts.shape)
        self._parts.append((starts, ends, owner))

    def add_column(self, owner: int, column: Column) -> None:
        """Claim the pages that a column of records names."""
        if len(column):
            self._columns.append((owner, column))

    def build(self) -> Claims:
        """All claims so far."""
        single = self._single
        parts = self._parts
        start = np.array([one[0] for one in single], np.uint64)
        end = np.array([one[1] for one in single], np.uint64)
        owner = np.array([one[2] for one in single], np.int32)
        sizes = [part[0].size for part in parts]
        owners = np.repeat(np.array([part[2] for part in parts], np.int32), sizes)
        return Claims(
            np.concatenate([start, *(part[0] for part in parts)]),
            np.concatenate([end, *(part[1] for part in parts)]),
            np.concatenate([owner, owners]),
            list(self.owners),
            np.array(self._outside, bool),
            tuple(self._columns),
        )


def union_per_owner(owner: Frames, first: Frames, past: Frames) -> tuple[Frames, Frames, Frames]:
    """Maximal ranges of each owner, sorted by owner, then start.

    Args:
        owner: int64 (n,), index of the owner of each range.
        first: int64 (n,), first page frame number.
        past: int64 (n,), page frame number past the end, above ``first``.

    Returns:
        The same three columns, int64 (m,).
    """
    if first.size == 0:
        return owner, first, past
    coordinates = None
    frame_bits = int(past.max()).bit_length()
    if frame_bits + int(owner.max() + 1).bit_length() > 63:
        # Ranks stand for frame numbers too large to share a word with the owner.
        coordinates = distinct(np.concatenate([first, past]))
        first = np.searchsorted(coordinates, first)
        past = np.searchsorted(coordinates, past)
        frame_bits = coordinates.size.bit_length()
    key = owner << frame_bits
    first, past = _union_by_key(first + key, past + key)
    owner = first >> frame_bits
    mask = np.int64((1 << frame_bits) - 1)
    first &= mask
    past &= mask
    if coordinates is not None:
        first, past = coordinates[first], coordinates[past]
    return owner, first, past


def one_index_per_path(owners: list[str]) -> Frames:
    """For each owner, the lowest index with its path, int64."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(path, index) for index, path in enumerate(owners)], np.int64)


def _union_by_key(first: Frames, past: Frames) -> tuple[Frames, Frames]:
    """Union of ranges; those of different owners never touch, their keys lie in other bands."""
    size = past[0] - first[0]
    if bool((past - first == size).all()):
        # Pages and folios of one size need one sort instead of two.
        first = ascending(first)
        gap = first[1:] > first[:-1] + size
        return first[np.append(True, gap)], first[np.append(gap, True)] + size
    return merge_columns(first, past)
