"""Named damage: change a built image in ways that a path and a few words describe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from khotool.abi.record import encode_chars, fit_int
from khotool.absent import Absent
from khotool.encode.json_input import number, word
from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments
from khotool.errors import EncodeError, KhotoolError, UsageError
from khotool.image.model import Image, Node
from khotool.image.region import MapRegion
from khotool.pages.blocks import Blocks

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.encode.fresh import Built
    from khotool.encode.handover import Buffer

MOST_ORDER = 18
NOWHERE = 0x7FFF_0000
"""An address that synthetic images do not use."""


def apply_mutations(built: Built, mutations: Any, registry: Registry, name: str) -> Built:
    """Apply a list of mutations in order.

    Args:
        mutations: tables with ``op`` and its arguments; see docs/reference/manifest.md.
        name: of the file, for errors.

    Raises:
        EncodeError: an unknown operation, a path that does not exist, a value that does not fit.
    """
    if not isinstance(mutations, list):
        raise EncodeError(f"{name}: mutate", "expected a list of tables")
    for index, item in enumerate(mutations):
        where = f"{name}: mutate[{index}]"
        operation = item.get("op") if isinstance(item, dict) else None
        if not isinstance(operation, str) or operation not in OPERATIONS:
            raise EncodeError(f"{where}.op", f"expected one of {', '.join(OPERATIONS)}")
        built.segments = list(page_segments(built.segments, built.geometry.page_size))
        OPERATIONS[operation](_Mutation(built, registry, item, where))
    return built


class _Mutation:
    """One mutation being applied."""

    def __init__(self, built: Built, registry: Registry, item: dict[str, Any], where: str) -> None:
        self.built = built
        self.registry = registry
        self.item = item
        self.where = where
        self._image: Image | None = None

    @property
    def image(self) -> Image:
        """The image before this mutation."""
        if self._image is None:
            try:
                self._image = image_of(self.built, self.registry)
            except KhotoolError as error:
                raise EncodeError(self.where, f"nothing to change: {error}") from None
        return self._image

    def node(self, key: str = "path") -> Node:
        """The node that a path of the mutation names."""
        from khotool.image.lookup import find_node

        path = self.item.get(key)
        if not isinstance(path, str):
            raise EncodeError(f"{self.where}.{key}", "expected a path, as dump prints it")
        try:
            return find_node(self.image, path)
        except UsageError as error:
            raise EncodeError(f"{self.where}.{key}", str(error)) from None

    def write(self, address: int, data: bytes) -> None:
        """Change bytes of the image; they have to exist."""
        for index, (start, buffer) in enumerate(self.built.segments):
            if start <= address and address + len(data) <= start + len(buffer):
                changed = bytearray(buffer)
                changed[address - start : address - start + len(data)] = data
                self.built.segments[index] = (start, changed)
                return
        raise EncodeError(self.where, f"{address:#x} is not in the image")

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the image."""
        return bytes(self.image.space.read(address, size))

    def number(self, value: int, size: int) -> bytes:
        """A native integer."""
        return fit_int(value, size, False, self.where).to_bytes(size, self.built.geometry.byteorder)

    def remove(self, start: int, end: int) -> None:
        """Take bytes out of the image, as if they had not been captured."""
        left: list[tuple[int, Buffer]] = []
        for at, buffer in self.built.segments:
            view = memoryview(buffer)
            if at + len(view) <= start or at >= end:
                left.append((at, buffer))
                continue
            if at < start:
                left.append((at, view[: start - at]))
            if at + len(view) > end:
                left.append((end, view[end - at :]))
        self.built.segments = left


def _poke(mutation: _Mutation) -> None:
    item = mutation.item
    if "address" in item:
        try:
            data = bytes.fromhex(item.get("bytes", ""))
        except (TypeError, ValueError):
            raise EncodeError(f"{mutation.where}.bytes", "expected hexadecimal bytes") from None
        mutation.write(number(item["address"], f"{mutation.where}.address"), data)
        return
    node = mutation.node()
    if node.span is None:
        raise EncodeError(f"{mutation.where}.path", f"{node.path} has no bytes of its own")
    mutation.write(node.span.address, _value_bytes(mutation, node))


def _value_bytes(mutation: _Mutation, node: Node) -> bytes:
    """The mutation's ``value`` as the bytes of a node."""
    assert node.span is not None
    value = mutation.item.get("value")
    where = f"{mutation.where}.value"
    if isinstance(value, str) and not value.startswith("0x"):
        return encode_chars(value, node.span.size, where)
    new = number(value, where)
    if node.field is not None and node.field.width:
        return _part_bytes(mutation, node, new)
    return mutation.number(new, node.span.size)


def _part_bytes(mutation: _Mutation, node: Node, new: int) -> bytes:
    """The word of a bit field with one part changed."""
    assert node.span is not None
    assert node.field is not None
    parent = node.parent
    definition = mutation.registry.get(node.format)
    name = parent.struct if parent is not None else ""
    compiled = mutation.registry.compile(definition, name, mutation.built.geometry)
    placed = compiled.by_label(node.field.label)
    part = next(p for p in placed.parts if p.field.label == node.field.label)
    order = mutation.built.geometry.byteorder
    word = int.from_bytes(mutation.read(node.span.address, placed.size), order)
    if (new << part.shift) & ~part.mask:
        raise EncodeError(f"{mutation.where}.value", f"{new:#x} does not fit {node.path}")
    return mutation.number((word & ~part.mask) | (new << part.shift), placed.size)


def _cycle(mutation: _Mutation) -> None:
    """Make a list come back to its first element."""
    node = mutation.node()
    links = [child.get("next") for child in node.children if child.name in ("blocks", "chunks")]
    spans = [link.span for link in links if link is not None and link.span is not None]
    first = node.value if isinstance(node.value, int) else node.value_of("first")
    if not spans or not isinstance(first, int):
        raise EncodeError(f"{mutation.where}.path", f"{node.path} is no linked list")
    mutation.write(spans[-1].address, mutation.number(first, 8))


def _dangle(mutation: _Mutation) -> None:
    """Make a pointer lead to memory that is neither captured nor preserved."""
    node = mutation.node()
    if node.span is None:
        raise EncodeError(f"{mutation.where}.path", f"{node.path} is no pointer")
    target = number(mutation.item.get("to", NOWHERE), f"{mutation.where}.to")
    mutation.write(node.span.address, mutation.number(target, node.span.size))


def _target(mutation: _Mutation) -> tuple[int, int]:
    node = mutation.node()
    span = node.target or node.span
    if span is None:
        raise EncodeError(f"{mutation.where}.path", f"{node.path} has no place in memory")
    return span.address, span.size


def _drop_page(mutation: _Mutation) -> None:
    """Take the page that a node is in, or leads to, out of the capture."""
    address, _ = _target(mutation)
    page = mutation.built.geometry.page_size
    mutation.remove(address // page * page, address // page * page + page)


def _truncate(mutation: _Mutation) -> None:
    """End the captured memory after some bytes of what a node leads to."""
    address, _ = _target(mutation)
    page = mutation.built.geometry.page_size
    size = number(mutation.item.get("size", 0), f"{mutation.where}.size")
    mutation.remove(address + size, (address + size) // page * page + page)


def _duplicate(mutation: _Mutation) -> None:
    """Copy the bytes of one node over another of the same size."""
    source, target = mutation.node("from"), mutation.node("to")
    if source.span is None or target.span is None or source.span.size != target.span.size:
        raise EncodeError(mutation.where, "from and to need bytes of the same length")
    mutation.write(target.span.address, mutation.read(source.span.address, source.span.size))


def _swap_endian(mutation: _Mutation) -> None:
    """Reverse the bytes of a value."""
    node = mutation.node()
    if node.span is None or node.span.size > 8:
        raise EncodeError(f"{mutation.where}.path", f"{node.path} is no number")
    data = mutation.read(node.span.address, node.span.size)
    mutation.write(node.span.address, data[::-1])


def _unpreserve(mutation: _Mutation) -> None:
    """Take the block that a node leads to out of the preserved-page map."""
    address, _ = _target(mutation)
    found = mutation.image.map
    region = next((r for r in mutation.image.regions if isinstance(r, MapRegion)), None)
    if isinstance(found, Absent) or region is None:
        raise EncodeError(mutation.where, "this image has no map")
    block = found.blocks.block_of(address)
    if block is None:
        raise EncodeError(mutation.where, f"{address:#x} is not preserved")
    _write_map(mutation, region, without_block(found.blocks, *block))


def _leak(mutation: _Mutation) -> None:
    """Preserve one more block, which nothing owns; its leaf has to exist."""
    address = word(mutation.item.get("address"), f"{mutation.where}.address")
    order = number(mutation.item.get("order", 0), f"{mutation.where}.order")
    if not 0 <= order <= MOST_ORDER:
        raise EncodeError(f"{mutation.where}.order", f"expected a page order up to {MOST_ORDER}")
    found = mutation.image.map
    region = next((r for r in mutation.image.regions if isinstance(r, MapRegion)), None)
    if isinstance(found, Absent) or region is None:
        raise EncodeError(mutation.where, "this image has no map")
    shift = mutation.built.geometry.page_shift
    more = Blocks.from_runs([address], [1], [order], shift)
    _write_map(mutation, region, Blocks.join([found.blocks, more], shift))


def _write_map(mutation: _Mutation, region: MapRegion, blocks: Blocks) -> None:
    changed = dataclasses.replace(region.map, blocks=blocks)
    for address, data in dataclasses.replace(region, map=changed).writes():
        mutation.write(address, data)


def without_block(blocks: Blocks, start: int, order: int) -> Blocks:
    """Blocks without one of them."""
    rows: list[tuple[int, int, int]] = []
    size = 1 << (blocks.page_shift + order)
    for first, count, level in zip(
        blocks.start.tolist(), blocks.count.tolist(), blocks.order.tolist(), strict=True
    ):
        if level != order or not first <= start < first + count * size:
            rows.append((first, count, level))
            continue
        before = (start - first) // size
        rows += [
            (at, number_of, level)
            for at, number_of in ((first, before), (start + size, count - before - 1))
            if number_of
        ]
    return Blocks.from_runs(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        blocks.page_shift,
    )


OPERATIONS: dict[str, Callable[[_Mutation], None]] = {
    "poke": _poke,
    "truncate": _truncate,
    "cycle": _cycle,
    "dangle": _dangle,
    "drop-page": _drop_page,
    "duplicate": _duplicate,
    "swap-endian": _swap_endian,
    "unpreserve": _unpreserve,
    "leak": _leak,
}
