"""Which of the two sizes the bitmaps of a kho-v1 map have; the image does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from khotool.maps.preserved import Chunk

SMALL_BITMAP = 512
"""Bytes of a bitmap up to 6.17; a page since 6.18."""


@dataclass(frozen=True, slots=True)
class SizeEvidence:
    """One reason for one size.

    Args:
        layout: ``512`` or ``page``.
        certain: whether the other size contradicts what the kernel's writer makes.
        reason: one sentence.
    """

    layout: Literal["512", "page"]
    certain: bool
    reason: str


def bitmap_size_evidence(chunks: list[Chunk], *, page_shift: int) -> list[SizeEvidence]:
    """Reasons for either size in the elements alone, certain ones first.

    Other parts of an image can be certain too: a root FDT packed by 6.19, a ``LUO`` entry.

    Args:
        chunks: as decoded with either size; the elements do not depend on it.
        page_shift: log2 of the page size in bytes.

    Returns:
        Empty where there are no elements.
    """
    page = 1 << page_shift
    found: list[SizeEvidence] = []
    total = 0
    for chunk in chunks:
        start = chunk.elements["phys_start"].astype(np.uint64)
        bitmap = chunk.elements["bitmap"].astype(np.uint64)
        total += start.size
        if chunk.order > 63 - page_shift:
            continue
        where = f"in chunk {chunk.address:#x}"
        loose = np.flatnonzero(bitmap & np.uint64(page - 1))
        if loose.size:
            address = int(bitmap[loose[0]])
            found.append(
                SizeEvidence("512", True, f"bitmap {address:#x} {where} is not at a page boundary")
            )
        shift = page_shift + 3 + page_shift + chunk.order
        span = np.uint64((1 << min(shift, 64)) - 1)
        odd = np.flatnonzero(start & span)
        if odd.size:
            found.append(
                SizeEvidence(
                    "512",
                    True,
                    f"element at {int(start[odd[0]]):#x} {where} does not begin at a multiple of "
                    "what a page of bits spans",
                )
            )
        ascending = np.sort(start)
        close = np.flatnonzero(ascending[1:] - ascending[:-1] <= span)
        if close.size:
            low, high = int(ascending[close[0]]), int(ascending[close[0] + 1])
            found.append(
                SizeEvidence(
                    "512",
                    True,
                    f"elements at {low:#x} and {high:#x} {where} are closer than what a page of "
                    "bits spans",
                )
            )
    if total and not found:
        # Eight small bitmaps share a page, so one in eight lies at a page boundary by chance.
        share = SMALL_BITMAP / page
        found.append(
            SizeEvidence(
                "page",
                False,
                f"all {total} bitmaps lie at page boundaries and span multiples of a page of bits; "
                f"by chance {share**total:.2g}",
            )
        )
    return found
