"""Compare payload: the first byte that differs, then a hash of each side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from khotool.absent import Reason
from khotool.diff.changes import Change, ChangeKind, Comparison
from khotool.diff.gaps import not_compared
from khotool.diff.paths import CONTENTS, PathFilter
from khotool.errors import InputError
from khotool.extract.plan import U64, Plan, sum_of
from khotool.extract.select import find_payload
from khotool.extract.sparse import Hashing
from khotool.extract.write import write_plan
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import Image, Node
from khotool.pages.runs import normalise, subtract

WINDOW = 4 << 20
Progress = Callable[[str, int, int | None], None]


def compare_contents(
    old: Image,
    new: Image,
    pairs: list[tuple[Node, Node]],
    shown: PathFilter,
    result: Comparison,
    progress: Progress | None = None,
) -> None:
    """Compare the payload of nodes that correspond, as far as both images have it."""
    seen: set[tuple[object, ...]] = set()
    for number, (a, b) in enumerate(pairs):
        if progress is not None:
            progress("Comparing contents", number, len(pairs))
        if not shown(a.path + CONTENTS):
            continue
        sides = [_payload(image, node) for image, node in ((old, a), (new, b))]
        lost = [reason for _, reason in sides]
        left, right = (plan for plan, _ in sides)
        if left is None or right is None:
            if any(lost):
                result.not_compared.append(not_compared(a.path, *lost, contents=True))
            continue
        # A file, its record and its table of folios all mean the same contents.
        key = (left.path, left.size, *left.address[:4].tolist())
        if key not in seen:
            seen.add(key)
            _compare(a.path, (left, old.space), (right, new.space), result)


def _payload(image: Image, node: Node) -> tuple[Plan | None, Reason | None]:
    """The payload of a node, or why it could not be read; neither for a node without payload."""
    try:
        return find_payload(image, node), None
    except InputError:
        return None, Reason.UNREADABLE


Part = tuple[Plan, AddressSpace]


def _compare(path: str, old: Part, new: Part, result: Comparison) -> None:
    missing = [plan.missing(space.extents()) for plan, space in (old, new)]
    gaps = normalise(np.concatenate(missing))
    lost = [
        Reason.NOT_CAPTURED if len(gap) or plan.lost else None
        for gap, (plan, _) in zip(missing, (old, new), strict=True)
    ]
    try:
        # Where records are lost, it is not known which bytes correspond.
        unsure = old[0].lost or new[0].lost
        offset = None if unsure else first_difference(*old, *new, gaps)
    except MemoryFault as fault:
        lost, offset = [fault.reason, fault.reason], None
    if offset is not None:
        result.changes.append(_change(path, old, new, offset, whole=not any(lost)))
    if any(lost):
        size = sum_of(gaps[:, 1] - gaps[:, 0])
        result.not_compared.append(not_compared(path, *lost, contents=True, size=size))


def _change(path: str, old: Part, new: Part, offset: int, *, whole: bool) -> Change:
    values: list[dict[str, object]] = []
    texts = []
    for plan, space in (old, new):
        digest = _digest(plan, space) if whole else None
        values.append({"sha256": digest, "size": plan.size} if digest else {"size": plan.size})
        texts.append(f"sha256 {digest[:12]}" if digest else f"{plan.size} bytes")
    text = (texts[0], f"{texts[1]}, from byte {offset:#x} on")
    detail = {"offset": offset}
    return Change(ChangeKind.CHANGED, path + CONTENTS, values[0], values[1], text, detail)


def _digest(plan: Plan, space: AddressSpace) -> str | None:
    """SHA-256; None for a file whose holes are too large to hash, or that does not decode."""
    sink = Hashing(None, hashlib.sha256())
    try:
        write_plan(plan, space, sink)
    except InputError:
        return None
    return sink.hexdigest()


class Piece(NamedTuple):
    """A part of a file: byte offsets, and the memory it is in; None for a hole."""

    start: int
    end: int
    address: int | None


def first_difference(
    left: Plan, a: AddressSpace, right: Plan, b: AddressSpace, gaps: U64 | None = None
) -> int | None:
    """Offset of the first byte that differs, or the size of the shorter one; None if all are equal.

    Args:
        gaps: uint64 (n, 2), file ranges that are left out.

    Raises:
        MemoryFault: a compressed page does not decode.
    """
    size = min(left.size, right.size)
    none = np.empty((0, 2), np.uint64)
    whole = np.array([[0, size]], np.uint64) if size else none
    for low, high in subtract(whole, none if gaps is None else gaps).tolist():
        at = low
        pieces = [_pieces(plan, low, high) for plan in (left, right)]
        one, two = (next(parts) for parts in pieces)
        while True:
            end = min(one.end, two.end, high)
            differ = _differ((one, a), (two, b), at, end)
            if differ is not None:
                return differ
            at = end
            if at == high:
                break
            one = next(pieces[0]) if one.end == at else one
            two = next(pieces[1]) if two.end == at else two
    return None if left.size == right.size else size


def _differ(
    one: tuple[Piece, AddressSpace], two: tuple[Piece, AddressSpace], start: int, end: int
) -> int | None:
    """First offset in a range at which two pieces around it differ; two holes never do."""
    if one[0].address is None and two[0].address is None:
        return None
    for at in range(start, end, WINDOW):
        size = min(WINDOW, end - at)
        left, right = (_bytes(*side, at, size) for side in (one, two))
        if left != right:
            differ = np.frombuffer(left, np.uint8) != np.frombuffer(right, np.uint8)
            return at + int(np.argmax(differ))
    return None


def _bytes(piece: Piece, space: AddressSpace, at: int, size: int) -> memoryview:
    if piece.address is None:
        return memoryview(bytes(size))
    return space.read(piece.address + at - piece.start, size)


def _pieces(plan: Plan, low: int, high: int) -> Iterator[Piece]:
    """Pieces of a file around ``[low, high)``, holes included, in order and without a gap."""
    first = max(int(np.searchsorted(plan.offset, np.uint64(low), side="right")) - 1, 0)
    last = int(np.searchsorted(plan.offset, np.uint64(high), side="left"))
    rows = slice(first, max(last, first))
    at = low
    columns = (plan.offset, plan.address, plan.length)
    for offset, address, length in zip(*(c[rows].tolist() for c in columns), strict=True):
        if offset + length <= low:
            continue
        if offset > at:
            yield Piece(at, offset, None)
        yield Piece(offset, offset + length, address)
        at = offset + length
    if at < high:
        yield Piece(at, high, None)
