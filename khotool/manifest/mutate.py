"""Named damage: change a built image in ways that a path and a few words describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from khotool import records
from khotool.abi.record import encode_chars
from khotool.absent import Absent
from khotool.encode.poke import number_bytes
from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments
from khotool.errors import EncodeError, KhotoolError, UsageError
from khotool.manifest.notation import printed_number
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node
from khotool.model.region import MapRegion
from khotool.pages.blocks import Blocks
from khotool.records import dataclass, replace
from khotool.structured import Document, Table
from khotool.structured.values import REQUIRED

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.encode.fresh import Built
    from khotool.handover.values import Buffer

MOST_ORDER = 18
NOWHERE = 0x7FFF_0000
"""An address that synthetic images do not use."""


def check_mutations(document: Document) -> None:
    """Note operations that do not exist and keys that they do not have."""
    for table in document.root.tables("mutate"):
        table.know(*OPERATIONS[table.choice("op", OPERATIONS)].keys)


def apply_mutations(built: Built, document: Document, registry: Registry) -> Built:
    """Apply the mutations of a document in order; the image with all of them.

    Args:
        document: ``mutate`` is a list of tables with ``op`` and its keys; see
            docs/reference/manifest.md.

    Raises:
        StructuredError: an unknown operation or key, a value of the wrong kind.
        EncodeError: a path that does not exist, a value that does not fit.
    """
    check_mutations(document)
    document.finish()
    for table in document.root.tables("mutate"):
        segments = page_segments(built.segments, built.geometry.page_size)
        before = replace(built, segments=segments)
        mutation = _Mutation(before, registry, table, document, list(segments))
        OPERATIONS[table.text("op")].apply(mutation)
        built = replace(built, segments=mutation.segments)
    return built


def mutate(
    built: Built, mutations: Sequence[dict[str, Any]], registry: Registry, name: str
) -> Built:
    """As ``apply_mutations``, for mutations that are not in a file.

    Args:
        name: in place of the file, for errors.
    """
    return apply_mutations(built, Document(name, {"mutate": list(mutations)}), registry)


@dataclass(slots=True)
class _Mutation:
    """One mutation being applied.

    Args:
        built: the image before it.
        segments: physical address and bytes after it.
    """

    built: Built
    registry: Registry
    item: Table
    document: Document
    segments: list[tuple[int, Buffer]]
    _image: Image | None = None

    def error(self, key: str, message: str) -> KhotoolError:
        """A mistake at a key of the mutation, or at the mutation as a whole."""
        given = self.item.get(key)
        (given or self.item).mistake(message)
        try:
            self.document.finish()
        except KhotoolError as error:
            return error
        raise AssertionError("a mistake was noted")

    @property
    def image(self) -> Image:
        """The image before this mutation."""
        if self._image is None:
            try:
                self._image = image_of(self.built, self.registry)
            except KhotoolError as error:
                raise self.error("", f"nothing to change: {error}") from None
        return self._image

    def node(self, key: str = "path") -> Node:
        """The node that a path of the mutation names."""
        path = self.item.text(key)
        if self.item.is_wrong:
            self.document.finish()
        try:
            return find_node(self.image, path)
        except UsageError as error:
            raise self.error(key, str(error)) from None

    def integer(self, key: str, default: int | None = None) -> int:
        """A number under a key; needed without ``default``."""
        value = self.item.integer(key, REQUIRED if default is None else default, sizes=True)
        if self.item.is_wrong:
            self.document.finish()
        return value

    def map(self) -> tuple[MapRegion, Blocks]:
        """The preserved-page map and its blocks."""
        found = self.image.map
        region = next((r for r in self.image.regions if isinstance(r, MapRegion)), None)
        if isinstance(found, Absent) or region is None:
            raise self.error("", "this image has no map")
        return region, found.blocks

    def write(self, address: int, data: bytes) -> None:
        """Change bytes of the image; they have to exist."""
        for index, (start, buffer) in enumerate(self.segments):
            if start <= address and address + len(data) <= start + len(buffer):
                changed = bytearray(buffer)
                changed[address - start : address - start + len(data)] = data
                self.segments[index] = (start, changed)
                return
        raise self.error("address", f"{address:#x} is not in the image")

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the image."""
        return bytes(self.image.space.read(address, size))

    def number(self, value: int, size: int) -> bytes:
        """A native integer."""
        if value >> (size * 8):
            raise self.error("value", f"{value:#x} does not fit {size * 8} bits")
        return value.to_bytes(size, self.built.geometry.byteorder)

    def remove(self, start: int, end: int) -> None:
        """Take bytes out of the image, as if they had not been captured."""
        left: list[tuple[int, Buffer]] = []
        for at, buffer in self.segments:
            view = memoryview(buffer)
            if at + len(view) <= start or at >= end:
                left.append((at, buffer))
                continue
            if at < start:
                left.append((at, view[: start - at]))
            if at + len(view) > end:
                left.append((end, view[end - at :]))
        self.segments = left


def _poke(mutation: _Mutation) -> None:
    """Write a value over that of a node, or bytes at an address."""
    if "address" in mutation.item:
        data = mutation.item["bytes"].hexadecimal()
        mutation.write(mutation.integer("address"), data)
        return
    node = mutation.node()
    if node.span is None:
        raise mutation.error("path", f"{node.path} has no bytes of its own")
    mutation.write(node.span.address, _value_bytes(mutation, node))


def _value_bytes(mutation: _Mutation, node: Node) -> bytes:
    """The mutation's ``value`` as the bytes of a node."""
    assert node.span is not None
    given = mutation.item["value"]
    kind = node.field.type if node.field is not None else None
    shown = printed_number(node.field, given.raw) if node.field and is_text(given.raw) else None
    text = kind is not None and kind.kind in ("char", "string", "bytes")
    text = text or (shown is None and is_text(given.raw) and not given.raw.startswith("0x"))
    try:
        if text:
            return encode_chars(given.text(), node.span.size, given.key)
        new = mutation.integer("value") if shown is None else shown
        return number_bytes(mutation.image, node, new, given.key)
    except EncodeError as error:
        raise mutation.error("value", str(error).removeprefix(f"{given.key}: ")) from None


def is_text(raw: object) -> TypeGuard[str]:
    """True for a string."""
    return isinstance(raw, str)


def _cycle(mutation: _Mutation) -> None:
    """Make a list come back to its first element."""
    node = mutation.node()
    links = [child.get("next") for child in node.children if child.name in ("blocks", "chunks")]
    spans = [link.span for link in links if link is not None and link.span is not None]
    first = node.value if isinstance(node.value, int) else node.value_of("first")
    if not spans or not isinstance(first, int):
        raise mutation.error("path", f"{node.path} is not a linked list")
    mutation.write(spans[-1].address, mutation.number(first, 8))


def _dangle(mutation: _Mutation) -> None:
    """Make a pointer lead to memory that is neither captured nor preserved."""
    node = mutation.node()
    if node.span is None:
        raise mutation.error("path", f"{node.path} is not a pointer")
    target = mutation.integer("to", NOWHERE)
    mutation.write(node.span.address, mutation.number(target, node.span.size))


def _target(mutation: _Mutation) -> tuple[int, int]:
    node = mutation.node()
    span = node.target or node.span
    if span is None:
        raise mutation.error("path", f"{node.path} has no place in memory")
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
    size = mutation.integer("size", 0)
    mutation.remove(address + size, (address + size) // page * page + page)


def _duplicate(mutation: _Mutation) -> None:
    """Copy the bytes of one node over another of the same size."""
    source, target = mutation.node("from"), mutation.node("to")
    if source.span is None or target.span is None or source.span.size != target.span.size:
        raise mutation.error("", "from and to need bytes of the same length")
    mutation.write(target.span.address, mutation.read(source.span.address, source.span.size))


def _swap_endian(mutation: _Mutation) -> None:
    """Reverse the bytes of a value."""
    node = mutation.node()
    if node.span is None or node.span.size > 8:
        raise mutation.error("path", f"{node.path} is not a number")
    data = mutation.read(node.span.address, node.span.size)
    mutation.write(node.span.address, data[::-1])


def _unpreserve(mutation: _Mutation) -> None:
    """Take the block that a node leads to out of the preserved-page map."""
    address, _ = _target(mutation)
    region, blocks = mutation.map()
    block = blocks.block_of(address)
    if block is None:
        raise mutation.error("", f"{address:#x} is not preserved")
    _write_map(mutation, region, without_block(blocks, *block))


def _leak(mutation: _Mutation) -> None:
    """Preserve one more block, which nothing owns; the map has to have room for its bit."""
    address, order = mutation.integer("address"), mutation.integer("order", 0)
    if order > MOST_ORDER:
        raise mutation.error("order", f"expected a page order up to {MOST_ORDER}")
    region, blocks = mutation.map()
    shift = mutation.built.geometry.page_shift
    more = Blocks.from_runs([address], [1], [order], shift)
    if not _write_map(mutation, region, Blocks.join([blocks, more], shift)):
        raise mutation.error(
            "address",
            f"the map has no leaf for a block of order {order} at {address:#x}, or has it already; "
            "name one near a preserved block of that order",
        )


def _write_map(mutation: _Mutation, region: MapRegion, blocks: Blocks) -> bool:
    """Write the pages of the map for other blocks; True if that changes any."""
    changed = False
    wanted = records.replace(region.map, blocks=blocks)
    for address, data in records.replace(region, map=wanted).writes():
        changed = changed or mutation.read(address, len(data)) != data
        mutation.write(address, bytes(data))
    return changed


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


@dataclass(frozen=True, slots=True)
class Operation:
    """What a mutation does, and the keys it has beside ``op``."""

    apply: Callable[[_Mutation], None]
    keys: tuple[str, ...]


OPERATIONS: dict[str, Operation] = {
    "poke": Operation(_poke, ("path", "value", "address", "bytes")),
    "truncate": Operation(_truncate, ("path", "size")),
    "cycle": Operation(_cycle, ("path",)),
    "dangle": Operation(_dangle, ("path", "to")),
    "drop-page": Operation(_drop_page, ("path",)),
    "duplicate": Operation(_duplicate, ("from", "to")),
    "swap-endian": Operation(_swap_endian, ("path",)),
    "unpreserve": Operation(_unpreserve, ("path",)),
    "leak": Operation(_leak, ("address", "order")),
}
