"""Claims: which bytes the objects of an image say are theirs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from khotool.pages.runs import ascending, merge_columns

Frames = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Claimed byte ranges as columns of one length, in any order.

    Args:
        start: uint64 (n,), physical address in bytes.
        end: uint64 (n,), physical address in bytes, exclusive; empty claims do not count.
        owner: int32 (n,), index into ``owners``.
        owners: paths of the owners; equal paths are one owner, that of the lowest index.
        expected_outside: bool, one per owner: the format keeps its pages outside the map.

    Raises:
        ValueError: columns differ in length, or an index names no owner.
    """

    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    owner: NDArray[np.int32]
    owners: list[str]
    expected_outside: NDArray[np.bool_]

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
        return int(self.start.size)


@dataclass(slots=True)
class ClaimsBuilder:
    """Collects claims one object at a time."""

    owners: list[str] = field(default_factory=list)
    _outside: list[bool] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)
    _parts: list[tuple[NDArray[np.uint64], NDArray[np.uint64], int]] = field(default_factory=list)
    _single: list[tuple[int, int, int]] = field(default_factory=list)

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
        self._parts.append((starts, np.broadcast_to(ends, starts.shape), owner))

    def add_pages(self, owner: int, address: ArrayLike, size: int) -> None:
        """Claim ``size`` bytes at each physical address uint64 (n,)."""
        starts = np.asarray(address, np.uint64)
        room = np.uint64((1 << 64) - 1) - starts
        self._parts.append((starts, starts + np.minimum(room, np.uint64(size)), owner))

    def build(self) -> Claims:
        """All claims so far."""
        single = self._single
        parts = self._parts
        start = np.array([one[0] for one in single], np.uint64)
        end = np.array([one[1] for one in single], np.uint64)
        owner = np.array([one[2] for one in single], np.int32)
        return Claims(
            np.concatenate([start, *(part[0] for part in parts)]),
            np.concatenate([end, *(part[1] for part in parts)]),
            np.concatenate([owner, *(np.full(part[0].size, part[2], np.int32) for part in parts)]),
            list(self.owners),
            np.array(self._outside, bool),
        )


def per_owner(claims: Claims, page_shift: int) -> tuple[Frames, Frames, Frames]:
    """Pages of each owner: maximal ranges sorted by owner, then start.

    Args:
        claims: byte ranges; each is widened to whole pages.
        page_shift: log2 of the page size in bytes.

    Returns:
        owner, first page frame number, page frame number past the end; int64 (m,).
    """
    kept = claims.start < claims.end
    whole = bool(kept.all())
    shift = np.uint64(page_shift)
    start = claims.start if whole else claims.start[kept]
    first = (start >> shift).astype(np.int64)
    last = ((claims.end if whole else claims.end[kept]) - np.uint64(1)) >> shift
    past = last.astype(np.int64)
    past += 1
    owner = _one_index_per_path(claims.owners)[claims.owner if whole else claims.owner[kept]]
    if first.size == 0:
        return owner, first, past
    coordinates = None
    frame_bits = int(past.max()).bit_length()
    if frame_bits + len(claims.owners).bit_length() > 63:
        # Ranks stand for frame numbers too large to share a word with the owner.
        coordinates = np.unique(np.concatenate([first, past]))
        first = np.searchsorted(coordinates, first)
        past = np.searchsorted(coordinates, past)
        frame_bits = coordinates.size.bit_length()
    key = owner << frame_bits
    del owner
    first += key
    past += key
    del key
    first, past = _union_by_key(first, past)
    owner = first >> frame_bits
    mask = np.int64((1 << frame_bits) - 1)
    first &= mask
    past &= mask
    if coordinates is not None:
        first, past = coordinates[first], coordinates[past]
    return owner, first, past


def _one_index_per_path(owners: list[str]) -> Frames:
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
