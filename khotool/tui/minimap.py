"""A small map of the captured bytes: where records, pointers and findings are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.findings import Severity
from khotool.tui.hexlines import HexLines
from khotool.tui.index import U64
from khotool.tui.rated import BADGES
from khotool.tui.session import Session
from khotool.tui.text import Piece

COLUMNS = 8
"""Cells in a line."""
MOST_FINDINGS = 1000
"""Findings that are marked, the worst first; notes are not."""
RECORD, POINTER, NOTHING = ("▪", "key"), ("→", "pointer"), ("·", "dim")


def _touched(edges: U64, starts: U64, ends: U64) -> NDArray[np.bool_]:
    """For each pair of neighbouring edges whether a range is between them, at least in part.

    Args:
        starts, ends: ranges in bytes, ascending and disjoint, the ends exclusive.
    """
    if not len(starts):
        return np.zeros(len(edges) - 1, np.bool_)
    at = np.searchsorted(ends, edges[:-1], side="right")
    found: NDArray[np.bool_] = at < len(starts)
    return found & (starts[np.minimum(at, len(starts) - 1)] < edges[1:])


def mini_cells(session: Session, lines: HexLines, count: int) -> list[Piece]:
    """``count`` cells of as many captured bytes each; a finding hides what else is in its cell."""
    cells = [NOTHING] * count
    if lines.empty:
        return cells
    edges = [lines.at_fraction(number / count) for number in range(count)]
    bounds = np.array([*edges, lines.extents[-1][1]], np.uint64)
    layers = []
    if session.index is not None:
        layers = [(RECORD, session.index.records), (POINTER, session.index.pointers)]
    marked: dict[Piece, list[int]] = {}
    for item in reversed(session.findings[:MOST_FINDINGS]):
        address = session.cursor_of_finding(item).address
        if address is not None and item.severity is not Severity.NOTE:
            marked.setdefault(BADGES[item.severity], []).append(address)
    for piece, addresses in marked.items():
        starts = np.array(sorted(addresses), np.uint64)
        layers.append((piece, (starts, starts + np.uint64(1))))
    for piece, (starts, ends) in layers:
        for number in np.flatnonzero(_touched(bounds, starts, ends)).tolist():
            cells[number] = piece
    return cells
