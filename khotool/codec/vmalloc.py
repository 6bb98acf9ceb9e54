"""kho_vmalloc: a list of chunks, each a page of physical addresses of an area's pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Shape
from khotool.abi.record import encode_record
from khotool.codec.base import Codec, Stored, as_number, register
from khotool.errors import EncodeError
from khotool.handover.values import Array, Rows
from khotool.memory.space import MemoryFault

if TYPE_CHECKING:
    import numpy as np

    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

DESCRIPTOR = "kho_vmalloc"
CHUNK = "kho_vmalloc_chunk"
VMALLOC_ALLOC = "KHO_VMALLOC_ALLOC"

Read = Callable[[int, int], memoryview]


@dataclass(frozen=True, slots=True)
class ShapeProblem:
    """What is wrong with a linked structure.

    Args:
        code: short slug, mapped to a rule by the caller.
        address: physical address of the place, bytes.
    """

    code: str
    address: int
    message: str


@dataclass(slots=True)
class VmallocArea:
    """A walked area.

    Args:
        chunks: physical addresses of the chunk pages, in list order.
        pages: ndarray (n,) uint64, physical address of each run of ``1 << order`` pages.
        problems: what stopped or disturbed the walk.
    """

    chunks: list[int]
    pages: np.ndarray[Any, Any]
    problems: list[ShapeProblem] = field(default_factory=list)


def walk_vmalloc(
    read: Read, first: int, chunk: CompiledStruct, *, wanted: int, max_chunks: int
) -> VmallocArea:
    """Follow the chunks of an area.

    Args:
        read: physical address and length in bytes to bytes; raises MemoryFault.
        first: physical address of the first chunk, 0 for an empty area.
        chunk: compiled ``kho_vmalloc_chunk``.
        wanted: addresses after which a further chunk need not hold any.
        max_chunks: links followed at most.
    """
    import numpy as np

    link = chunk.by_label("next")
    slots = chunk.by_label("phys")
    word = np.dtype(f"{chunk.geometry.prefix}u8")
    chunks: list[int] = []
    seen: set[int] = set()
    parts: list[np.ndarray[Any, Any]] = []
    problems: list[ShapeProblem] = []
    total = 0
    address = first
    while address:
        if address in seen:
            problems.append(ShapeProblem("cycle", address, "the list of chunks comes back to here"))
            break
        if len(chunks) >= max_chunks or (total > wanted and len(chunks) > wanted):
            problems.append(ShapeProblem("limit", address, f"stopped after {len(chunks)} chunks"))
            break
        if address % chunk.geometry.page_size:
            problems.append(ShapeProblem("unaligned", address, "a chunk is not page aligned"))
        try:
            data = read(address, chunk.size)
        except MemoryFault as fault:
            problems.append(ShapeProblem("missing", fault.address, f"chunk: {fault}"))
            break
        seen.add(address)
        chunks.append(address)
        entries = np.frombuffer(data, word, slots.count, slots.offset)
        used = int((entries == 0).argmax()) if not entries.all() else slots.count
        if entries[used:].any():
            problems.append(
                ShapeProblem("after-end", address, "addresses stand behind the terminating 0")
            )
        parts.append(entries[:used].astype(np.uint64))
        total += used
        following = int(np.frombuffer(data, word, 1, link.offset).item())
        if following and used < slots.count:
            problems.append(
                ShapeProblem("short-chunk", address, "a chunk that is not full has a successor")
            )
        address = following
    pages = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    return VmallocArea(chunks, pages, problems)


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.VMALLOC)
class VmallocCodec(Codec):
    """A table in a vmalloc area: pages anywhere, and chunks that list them."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The rows of the table."""
        if node.table is not None:
            return lifter.rows(node)
        return lifter.fields(node) if node.value is None else node.value

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """The rows of the table."""
        if field.holds is None:
            return reader.number(field, table[field.label])
        return reader.table_rows(definition, field.holds.of, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> Stored:
        """Pages and chunks; a table without rows has no area."""
        rows = values.get(field.label)
        if field.holds is None:
            # The pointer of a descriptor that nothing says the meaning of.
            return as_number(field, values, path)
        if rows is None or not len(rows):
            return {}
        if not isinstance(rows, Rows):
            raise EncodeError(path, "expected a table")
        registry, page = builder.registry, builder.geometry.page_size
        compiled = registry.compile(definition, field.holds.of, builder.geometry)
        data = builder.table(compiled, rows, path)
        owner = registry.owner_of_struct(definition, DESCRIPTOR)
        chunk = registry.compile(owner, CHUNK, builder.geometry)
        number = -(-len(data) // page)
        pages = builder.take_pages(number, path)
        builder.preserve(pages, 0)
        scatter(builder, pages, data)
        fits = chunk.by_label("phys").count
        # A full chunk always has a successor, be it empty.
        chunks = [builder.alloc_preserve(page, path) for _ in range(number // fits + 1)]
        for index, address in enumerate(chunks):
            following = chunks[index + 1] if index + 1 < len(chunks) else 0
            part = pages[index * fits : (index + 1) * fits].tolist()
            builder.write(address, encode_record(chunk, {"next": following, "phys": part}, path))
        fields = {field.label: field for field in owner.structs[DESCRIPTOR].fields}
        flags = fields["flags"].flags[VMALLOC_ALLOC]
        return {"first": chunks[0], "total_pages": number, "flags": flags, "order": 0}


def scatter(builder: Builder, pages: Array, data: bytes) -> None:
    """Write an array over pages of given physical addresses; neighbours become one write."""
    page = builder.geometry.page_size
    addresses, view = pages.tolist(), memoryview(data)
    first = 0
    for index in range(1, len(addresses) + 1):
        if index == len(addresses) or addresses[index] != addresses[index - 1] + page:
            builder.write(addresses[first], view[first * page : index * page])
            first = index
