"""Compare what was carried: hash, then the first byte that differs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from khotool.abi.definition import Shape
from khotool.diff.changes import Change, ChangeKind, Comparison
from khotool.errors import InputError, UsageError
from khotool.extract.memfd import contents_of
from khotool.extract.plan import Plan, merge
from khotool.extract.select import MAX_ORDER, payload_plan
from khotool.extract.sparse import Hashing
from khotool.extract.write import write_plan
from khotool.memory.space import AddressSpace
from khotool.model.image import Image, Node

WINDOW = 4 << 20
Progress = Callable[[str, int, int | None], None]


def compare_contents(
    old: Image,
    new: Image,
    pairs: list[tuple[Node, Node]],
    result: Comparison,
    progress: Progress | None = None,
) -> None:
    """Compare the payload of nodes that correspond."""
    for number, (a, b) in enumerate(pairs):
        if progress is not None:
            progress("Comparing contents", number, len(pairs))
        left, right = _plan(old, a), _plan(new, b)
        if left is None or right is None:
            continue
        missing = [
            side
            for side, image, plan in (("first", old, left), ("second", new, right))
            if plan.lost or len(plan.missing(image.space.extents()))
        ]
        if missing:
            result.notes.append(f"{a.path}: contents are not captured in the {missing[0]} image")
            continue
        try:
            change = _compare(old, new, a, left, right)
        except InputError as error:
            result.notes.append(f"{a.path}: contents are not compared: {error}")
            continue
        if change is not None:
            result.changes.append(change)


def _plan(image: Image, node: Node) -> Plan | None:
    if node.table is not None:
        return _folios(image, node)
    if contents_of(node) is None and node.get("start") is None:
        return None
    try:
        return payload_plan(image, node)
    except (InputError, UsageError):
        return None


def _folios(image: Image, node: Node) -> Plan | None:
    """All folios of a list that gives their orders, one behind the other."""
    table = node.table
    assert table is not None
    for placed in table.compiled.fields:
        for field in placed.field.parts or (placed.field,):
            reference = field.points_to
            if reference is None or reference.shape is not Shape.FOLIO or not reference.order:
                continue
            order = np.minimum(table.column(reference.order), np.uint64(MAX_ORDER))
            length = np.uint64(image.geometry.page_size) << order
            if not len(length) or int(length.max()) * len(length) >= 1 << 63:
                return None
            offset = np.cumsum(length, dtype=np.uint64) - length
            address = table.column(field.label)
            size = int(offset[-1]) + int(length[-1])
            return Plan(node.path, "folio", size, *merge(offset, address, length))
    return None


def _compare(old: Image, new: Image, node: Node, left: Plan, right: Plan) -> Change | None:
    hashes = []
    for image, plan in ((old, left), (new, right)):
        sink = Hashing(None, hashlib.sha256())
        write_plan(plan, image.space, sink)
        hashes.append(sink.hexdigest())
    if hashes[0] is None or hashes[1] is None:
        raise InputError("its holes are too large to hash")
    if hashes[0] == hashes[1]:
        return None
    offset = first_difference(left, old.space, right, new.space)
    values: list[dict[str, object]] = [
        {"sha256": hashes[0], "size": left.size},
        {"sha256": hashes[1], "size": right.size},
    ]
    text = (f"sha256 {hashes[0][:12]}", f"sha256 {hashes[1][:12]}, from byte {offset:#x} on")
    path = f"{node.path}/contents"
    return Change(ChangeKind.CHANGED, path, values[0], values[1], text, {"offset": offset})


def first_difference(left: Plan, a: AddressSpace, right: Plan, b: AddressSpace) -> int:
    """Offset of the first byte that differs, or the size of the shorter one."""
    at = 0
    streams = [_Reader(left, a), _Reader(right, b)]
    while True:
        size = min(stream.ready() for stream in streams)
        if not size:
            return at
        one, two = (stream.take(size) for stream in streams)
        if one != two:
            differ = np.frombuffer(one, np.uint8) != np.frombuffer(two, np.uint8)
            return at + int(np.argmax(differ))
        at += size


class _Reader:
    """The bytes of a file in windows; holes are zeros."""

    def __init__(self, plan: Plan, space: AddressSpace) -> None:
        self.parts = _windows(plan, space)
        self.left = memoryview(b"")

    def ready(self) -> int:
        while not len(self.left):
            part = next(self.parts, None)
            if part is None:
                return 0
            self.left = part
        return len(self.left)

    def take(self, size: int) -> memoryview:
        part, self.left = self.left[:size], self.left[size:]
        return part


def _windows(plan: Plan, space: AddressSpace) -> Iterator[memoryview]:
    at = 0
    zeros = memoryview(bytes(WINDOW))
    rows = zip(plan.offset.tolist(), plan.address.tolist(), plan.length.tolist(), strict=True)
    for offset, address, length in [*rows, (plan.size, 0, 0)]:
        while at < offset:
            yield zeros[: min(WINDOW, offset - at)]
            at += min(WINDOW, offset - at)
        for start in range(0, length, WINDOW):
            yield space.read(address + start, min(WINDOW, length - start))
        at = offset + length
