"""Who owns each preserved page, and which claims lie outside what is preserved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from khotool.pages.around import Around, Near, Pieces
from khotool.pages.blocks import Blocks
from khotool.pages.census import Census
from khotool.pages.claims import Claims, ClaimsBuilder
from khotool.pages.frames import GRANULE, pack, unpack
from khotool.pages.runs import intersect_columns, merge_columns
from khotool.pages.sparse import SparseOwners, doubles_of, sparse_owners
from khotool.pages.tables import (
    DoubleOwned,
    OwnedRanges,
    UnpreservedRanges,
    frame_bytes,
    joints,
)

__all__ = [
    "Claims",
    "ClaimsBuilder",
    "DoubleOwned",
    "OwnedRanges",
    "Ownership",
    "UnpreservedRanges",
    "find_owners",
]

Frames = NDArray[np.int64]
_SCAN = 1 << 20
"""Slots that are looked at together."""
_COUNTED = 1 << 16
"""Slots that are counted together: few enough that many parts have one owner."""


class Ownership:
    """Result of :func:`find_owners`: totals at once, ranges when somebody asks for them.

    Args:
        blocks: what is preserved.
        owners: paths of the owners; indices everywhere here point into it.
        preserved_pages: number of distinct preserved pages.
        owned_pages: of these, pages with an owner.
        unowned_pages: of these, pages without one.
        unpreserved_pages: number of distinct pages in ``unpreserved``.
        double_owned_pages: number of pages in ``double_owned``.
    """

    def __init__(self, blocks: Blocks, claims: Claims) -> None:
        """Count."""
        self.blocks = blocks
        self.owners = claims.owners
        self._outside = claims.expected_outside_by_path()
        self._census = Census(blocks.index, claims, blocks.page_shift)
        self._sparse = self._sparse_owners()
        self.preserved_pages = blocks.pages
        pages = self._count()
        sparse = self._sparse.ranges
        pages += np.bincount(sparse.owner + 1, sparse.pages, pages.size).astype(np.int64)
        self._pages_of = pages
        self.owned_pages = int(pages[1:].sum())
        self.unowned_pages = self.preserved_pages - self.owned_pages
        self.unpreserved_pages = self._unpreserved_pages + int(self._sparse.unpreserved.pages.sum())
        self.double_owned_pages = int(self.double_owned.pages.sum())

    def _sparse_owners(self) -> SparseOwners:
        """Owners of what has no slots."""
        index = self._census.index
        far = index.far_blocks()
        lines = index.stretches
        hidden = merge_columns(lines.first, lines.past)
        rest = self._census.take_rest()
        return sparse_owners(far, rest, hidden, self._outside, self.blocks.page_shift)

    # -- totals -------------------------------------------------------------------------------

    def _count(self) -> Frames:
        """Preserved pages by owner plus 1, int64; counts unpreserved pages too."""
        index, owner = self._census.index, self._census.owner
        total = np.zeros(len(self.owners) + 1, np.int64)
        flat = index.present.reshape(-1)
        self._unpreserved_pages = 0
        for low in range(GRANULE, index.small, _COUNTED):
            high = min(low + _COUNTED, index.small)
            part = owner[low:high]
            present = flat[low >> 6 : high >> 6]
            claimed = pack(part != 0)
            self._count_owned(total, part, low, high, claimed & present)
            free = claimed & ~present
            if index.order is not None:
                free &= pack(index.order[low:high] == 0)
            if free.any():
                at = np.flatnonzero(unpack(free))
                whose = part[at].astype(np.int64) - 1
                self._unpreserved_pages += int(np.count_nonzero(~self._outside[whose]))
        large = owner[index.small :]
        weight = np.int64(1) << index.large_order.astype(np.int64)
        for number in np.flatnonzero(np.bincount(large, minlength=1)).tolist():
            total[number] += int(weight[large == number].sum())
        total[0] = 0
        return total

    def _count_owned(
        self,
        total: Frames,
        part: NDArray[np.unsignedinteger],
        low: int,
        high: int,
        owned: NDArray[np.uint64],
    ) -> None:
        """Add the pages of one part of the slots to the total of their owners."""
        order = self._census.index.order
        most = int(part.max())
        if order is None or not order[low:high].any():
            if self._single(part, most):
                total[most] += int(np.bitwise_count(owned).sum(dtype=np.int64))
                return
            mine = part * unpack(owned)
            total[: most + 1] += np.bincount(mine, minlength=most + 1)
            return
        at = np.flatnonzero(unpack(owned))
        weight = (np.int64(1) << order[low:high][at].astype(np.int64)).astype(np.float64)
        found = np.bincount(part[at], weight, most + 1)
        total[: most + 1] += found.astype(np.int64)

    @staticmethod
    def _single(part: NDArray[np.unsignedinteger], most: int) -> bool:
        """Whether nothing but ``most`` and 0 is in a part."""
        return not bool(((part != 0) & (part != most)).any())

    def pages_by_owner(self) -> Frames:
        """Preserved pages of no owner, then of each, int64 (owners + 1,).

        Of several owners of a page, that of the lowest index has it.
        """
        result = self._pages_of.copy()
        result[0] = self.unowned_pages
        return result

    # -- ranges -------------------------------------------------------------------------------

    @cached_property
    def ranges(self) -> OwnedRanges:
        """All preserved pages with their owner."""
        parts = list(self.pieces())
        if not parts:
            none = np.zeros(0, np.int64)
            parts = [_owned((none, none, none, none), self.blocks.page_shift)]
        return OwnedRanges(
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.pages for part in parts]),
            np.concatenate([part.order for part in parts]),
            np.concatenate([part.owner for part in parts]),
        )

    def around(self, address: int) -> Around:
        """The row of ``ranges`` around a physical address in bytes, or what lies between two.

        Looks at the memory near the address, and as far as what is there goes on.
        """
        first, past, order, owner = self._near.find(address >> self.blocks.page_shift)
        shift = self.blocks.page_shift
        return Around(first << shift, past << shift, order, owner)

    @cached_property
    def _near(self) -> Near:
        top = 1 << (64 - self.blocks.page_shift)
        granule = self._census.index.granule
        return Near(granule, self._beside, self._slot_piece, _joined, top)

    def pieces(self) -> Iterator[OwnedRanges]:
        """The rows of ``ranges``, some at a time: none of them are kept."""
        shift = self.blocks.page_shift
        beside = self._beside
        done = 0
        held: Pieces | None = None
        for first, past, order, owner in self._slot_pieces():
            # What lies before the end of this part and has no slots of its own goes in between.
            until = int(np.searchsorted(beside[0], past[-1])) if past.size else done
            found = (first, past, order, owner)
            if until > done:
                more = tuple(column[done:until] for column in beside)
                row = np.argsort(np.concatenate([first, more[0]]), kind="stable")
                found = tuple(  # type: ignore[assignment]
                    np.concatenate(pair)[row] for pair in zip(found, more, strict=True)
                )
                done = until
            if held is not None:
                found = tuple(  # type: ignore[assignment]
                    np.concatenate(pair) for pair in zip(held, found, strict=True)
                )
            found = _joined(found)
            # The last one may go on in the next part.
            held = tuple(column[-1:] for column in found)  # type: ignore[assignment]
            if found[0].size > 1:
                yield _owned([column[:-1] for column in found], shift)
        last = [column[done:] for column in beside]
        if held is not None:
            last = [np.concatenate(pair) for pair in zip(held, last, strict=True)]
        if last[0].size:
            yield _owned(_joined((last[0], last[1], last[2], last[3])), shift)

    @cached_property
    def _beside(self) -> Pieces:
        """Ranges of large blocks and of memory without slots, ascending and joined."""
        index, shift = self._census.index, self.blocks.page_shift
        far = self._sparse.ranges
        first = (far.start >> np.uint64(shift)).astype(np.int64)
        order = index.large_order.astype(np.int64)
        owner = self._census.owner[index.small :].astype(np.int64) - 1
        columns = [
            np.concatenate([index.large_first, first]),
            np.concatenate([index.large_first + (np.int64(1) << order), first + far.pages]),
            np.concatenate([order, far.order.astype(np.int64)]),
            np.concatenate([owner, far.owner.astype(np.int64)]),
        ]
        row = np.argsort(columns[0], kind="stable")
        return _joined((columns[0][row], columns[1][row], columns[2][row], columns[3][row]))

    def _slot_pieces(self) -> Iterator[Pieces]:
        """Ranges of equal order and owner among the slots of single frames, part by part."""
        small = self._census.index.small
        for low in range(GRANULE, small, _SCAN):
            yield self._slot_piece(low, min(low + _SCAN, small))

    def _slot_piece(self, low: int, high: int) -> Pieces:
        """Ranges of equal order and owner among some slots, which are whole granules."""
        index, owner = self._census.index, self._census.owner
        flat = index.present.reshape(-1)
        kind = np.uint32 if owner.itemsize > 1 else np.uint16
        here = unpack(flat[low >> 6 : high >> 6])
        value: NDArray[np.uint32] = owner[low:high].astype(kind)
        order = None if index.order is None else index.order[low:high]
        if order is not None and order.any():
            # All pages of a block have what its head has.
            inside = np.flatnonzero(order)
            head = index.heads(inside + low) - low
            value[inside] = value[head]
            here[inside] = 1
        else:
            order = None
        # 0 is not preserved, 1 preserved without an owner.
        value += 1
        value *= here
        change = np.empty(value.size, bool)
        change[0] = True
        np.not_equal(value[1:], value[:-1], out=change[1:])
        if order is not None:
            change[1:] |= order[1:] != order[:-1]
        granule = index.granule[low // GRANULE : high // GRANULE]
        apart = np.flatnonzero(granule[1:] != granule[:-1] + 1) + 1
        change[apart * GRANULE] = True
        start = np.flatnonzero(change)
        end = np.append(start[1:], value.size)
        kept = value[start] != 0
        start, end = start[kept], end[kept]
        first = index.frames_of(start + low)
        orders = np.zeros(start.size, np.int64) if order is None else order[start].astype(np.int64)
        return first, first + (end - start), orders, value[start].astype(np.int64) - 2

    @cached_property
    def unpreserved(self) -> UnpreservedRanges:
        """Claimed pages that are not preserved, save those of owners expected outside."""
        if not self._unpreserved_pages:
            return self._sparse.unpreserved
        index, owner = self._census.index, self._census.owner
        flat = index.present.reshape(-1)
        slots: list[Frames] = []
        for low in range(GRANULE, index.small, _SCAN):
            high = min(low + _SCAN, index.small)
            free = pack(owner[low:high] != 0) & ~flat[low >> 6 : high >> 6]
            if index.order is not None:
                free &= pack(index.order[low:high] == 0)
            at = np.flatnonzero(unpack(free)) + low
            slots.append(at[~self._outside[owner[at].astype(np.int64) - 1]])
        slot = np.concatenate(slots)
        frame = index.frames_of(slot)
        far, shift = self._sparse.unpreserved, np.uint64(self.blocks.page_shift)
        far_first = (far.start >> shift).astype(np.int64)
        start = np.concatenate([frame, far_first])
        end = np.concatenate([frame + 1, far_first + far.pages])
        whose = np.concatenate([owner[slot].astype(np.int64) - 1, far.owner.astype(np.int64)])
        row = np.argsort(start, kind="stable")
        start, end, whose = start[row], end[row], whose[row]
        head, tail = joints(start, end, (whose,))
        return UnpreservedRanges(
            frame_bytes(start[head], self.blocks.page_shift),
            end[tail] - start[head],
            whose[head].astype(np.int32),
        )

    @cached_property
    def double_owned(self) -> DoubleOwned:
        """Preserved pages with several owners."""
        census, far, shift = self._census, self._sparse.double_owned, self.blocks.page_shift
        if census.layers is None:
            return far
        shared = census.shared[census.index.orders_of(census.shared) >= 0]
        low, high = census.index.extent_of(shared)
        start, end, at, _ = intersect_columns(
            census.layers.start, census.layers.end, *merge_columns(low, high)
        )
        near = doubles_of(census.layers, start, end, at, shift)
        if not len(far):
            return near
        joined = [
            np.concatenate([getattr(near, name), getattr(far, name)])
            for name in ("start", "pages", "first", "second", "owners")
        ]
        row = np.argsort(joined[0], kind="stable")
        return _joined_doubles(DoubleOwned(*(column[row] for column in joined)), shift)

    def owners_of(self, address: int) -> list[int]:
        """Indices of all owners of the page at a physical address in bytes, ascending.

        A claim on part of a block owns the whole block. Pages that are claimed and not preserved
        have owners too.
        """
        if not 0 <= address < 1 << 64:
            return []
        frame = address >> self.blocks.page_shift
        found = self._census.owners_of(frame)
        return self._sparse.owners_of(frame) if found is None else found


def find_owners(blocks: Blocks, claims: Claims) -> Ownership:
    """Match claims against preserved blocks.

    A claim on any byte of a block owns the whole block: it is the smallest thing the kernel can
    give back. Where blocks overlap, that is the largest block around the byte.

    Linear in the number of claims and of pages between them, but for pages that several owners
    claim, and for memory that is both far from what is preserved and thinly claimed: these are
    sorted.
    """
    return Ownership(blocks, claims)


def _joined(pieces: Pieces) -> Pieces:
    """Ascending pieces, those of one order and owner that touch made one."""
    first, past, order, owner = pieces
    head, tail = joints(first, past, (order, owner))
    return first[head], past[tail], order[head], owner[head]


def _owned(pieces: list[Frames] | Pieces, page_shift: int) -> OwnedRanges:
    first, past, order, owner = pieces
    return OwnedRanges(
        frame_bytes(first, page_shift),
        past - first,
        order.astype(np.uint8),
        owner.astype(np.int32),
    )


def _joined_doubles(found: DoubleOwned, page_shift: int) -> DoubleOwned:
    """Ascending ranges, those of the same owners that touch made one."""
    start = (found.start >> np.uint64(page_shift)).astype(np.int64)
    end = start + found.pages
    first, second = found.first.astype(np.int64), found.second.astype(np.int64)
    head, tail = joints(start, end, (first, second, found.owners))
    return DoubleOwned(
        found.start[head],
        end[tail] - start[head],
        found.first[head],
        found.second[head],
        found.owners[head],
    )
