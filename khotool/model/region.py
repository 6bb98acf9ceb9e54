"""Owned regions: pieces of metadata that can be written back from what was decoded.

Inside a region every byte belongs to a field or to a gap; ``writes`` gives the bytes of the
fields, and what differs from the memory is gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.abi.record import encode_record
from khotool.records import dataclass, field

if TYPE_CHECKING:
    import numpy as np

    from khotool.fdt.blob import Blob
    from khotool.maps.preserved import PreservedMap
    from khotool.model.node import Node

Write = tuple[int, bytes | memoryview]
"""Physical address and bytes."""


class Region(Protocol):
    """A piece of metadata in memory.

    Args:
        path: of the node that it belongs to.
        node: that node; None for a region that no image was decoded for.
    """

    path: str
    node: Node | None

    def extents(self) -> Iterator[tuple[int, int]]:
        """Physical address and bytes of each contiguous piece."""

    def writes(self) -> Iterator[Write]:
        """The bytes that the decoded values encode to."""


@dataclass(slots=True, eq=False)
class RecordRegion:
    """One record at an address.

    Args:
        path: of the node whose children are its fields.
        format: definition id; struct: name of the struct in it.
        address: physical address, bytes.
        values: by label, as ``decode_record`` gives them.
    """

    path: str
    format: str
    compiled: CompiledStruct
    address: int
    values: dict[str, Any]
    node: Node | None = field(default=None, repr=False, kw_only=True)

    def extents(self) -> Iterator[tuple[int, int]]:
        """The record's own bytes."""
        yield self.address, self.compiled.size

    def writes(self) -> Iterator[Write]:
        """The packed record."""
        yield self.address, encode_record(self.compiled, self.values, self.path)


@dataclass(slots=True, eq=False)
class TableRegion:
    """An array of records, spread over pieces of memory.

    Args:
        pieces: ndarray (m, 2) uint64: physical address and bytes, in order.
        records: structured ndarray in the image's byte order.
    """

    path: str
    format: str
    compiled: CompiledStruct
    pieces: np.ndarray[Any, Any]
    records: np.ndarray[Any, Any]
    node: Node | None = field(default=None, repr=False, kw_only=True)

    def extents(self) -> Iterator[tuple[int, int]]:
        """The pieces, cut to the bytes of the records."""
        left = len(self.records) * self.compiled.size
        for address, size in self.pieces.tolist():
            if left <= 0:
                break
            yield address, min(size, left)
            left -= size

    def writes(self) -> Iterator[Write]:
        """The array's bytes, piece by piece."""
        import numpy as np

        data: Any = np.ascontiguousarray(self.records).view(np.uint8)
        at = 0
        for address, size in self.extents():
            yield address, memoryview(data[at : at + size])
            at += size


@dataclass(slots=True, eq=False)
class FdtRegion:
    """A flattened device tree, header to end of strings."""

    path: str
    address: int
    blob: Blob
    node: Node | None = field(default=None, repr=False, kw_only=True)

    def extents(self) -> Iterator[tuple[int, int]]:
        """The bytes of the tree that are there."""
        yield self.address, len(self.blob.data)

    def writes(self) -> Iterator[Write]:
        """Header, reservations, structure and strings, without gaps; nothing if incomplete."""
        from khotool.fdt.write import emit

        if self.blob.complete:
            yield self.address, emit(self.blob)


@dataclass(slots=True, eq=False)
class MapRegion:
    """The preserved-page map: radix nodes, or chunks and bitmaps."""

    path: str
    format: str
    map: PreservedMap
    geometry: Geometry
    header: CompiledStruct | None = None
    element: CompiledStruct | None = None
    node: Node | None = field(default=None, repr=False, kw_only=True)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Every node, chunk and bitmap."""
        pages = self.map.pages
        yield from zip(pages.address.tolist(), pages.size.tolist(), strict=True)

    def writes(self) -> Iterator[Write]:
        """Physical address and bytes of the map's pages, rendered from its blocks and links."""
        from khotool.maps.render import map_writes

        yield from map_writes(self.map, self.geometry, self.header, self.element)

    def page_maker(self) -> Callable[[int], bytes]:
        """What makes the bytes of the n-th of the extents; none of a page that stays as it was."""
        from khotool.maps.render import page_maker

        return page_maker(self.map, self.geometry, self.header, self.element)


@dataclass(slots=True, eq=False)
class RawRegion:
    """Bytes that no definition explains, kept as they are."""

    path: str
    address: int
    data: bytes
    node: Node | None = field(default=None, repr=False, kw_only=True)

    def extents(self) -> Iterator[tuple[int, int]]:
        """The bytes."""
        yield self.address, len(self.data)

    def writes(self) -> Iterator[Write]:
        """The bytes."""
        yield self.address, self.data
