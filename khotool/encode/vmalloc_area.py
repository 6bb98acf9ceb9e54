"""Arrays in vmalloc areas: pages anywhere, and chunks that list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Holds
from khotool.abi.record import encode_record
from khotool.codec.vmalloc import merge_pages
from khotool.errors import EncodeError
from khotool.handover.values import Array, Rows

if TYPE_CHECKING:
    from khotool.encode.build import Builder

VMALLOC_ALLOC = "KHO_VMALLOC_ALLOC"


def build_vmalloc(
    builder: Builder, definition: Definition, holds: Holds, rows: Any, path: str
) -> dict[str, int]:
    """Lay out a table in a vmalloc area: its pages, its chunks; the descriptor's values.

    Args:
        holds: what the area holds, as the field of the descriptor says.
        rows: a table; None or an empty one has no area.

    Raises:
        EncodeError: it is no table, or there is no room.
    """
    if rows is None or not len(rows):
        return {}
    if not isinstance(rows, Rows):
        raise EncodeError(path, "expected a table")
    registry, page = builder.registry, builder.geometry.page_size
    compiled = registry.compile(definition, holds.of, builder.geometry)
    data = builder.table(compiled, rows, path)
    owner = registry.owner_of_struct(definition, "kho_vmalloc")
    chunk = registry.compile(owner, "kho_vmalloc_chunk", builder.geometry)
    number = -(-len(data) // page)
    pages = builder.allocator.take(number, page, path)
    builder.preserved.append((pages, 0))
    scatter(builder, pages, data)
    fits = chunk.by_label("phys").count
    # A full chunk always has a successor, be it empty.
    chunks = [builder.alloc_preserve(page, path) for _ in range(number // fits + 1)]
    for index, address in enumerate(chunks):
        following = chunks[index + 1] if index + 1 < len(chunks) else 0
        part = pages[index * fits : (index + 1) * fits].tolist()
        values = {"next": following, "phys": part}
        builder.writes.append((address, encode_record(chunk, values, path)))
    fields = {field.label: field for field in owner.structs["kho_vmalloc"].fields}
    flags = fields["flags"].flags[VMALLOC_ALLOC]
    return {"first": chunks[0], "total_pages": number, "flags": flags, "order": 0}


def scatter(builder: Builder, pages: Array, data: bytes) -> None:
    """Write an array over pages of given physical addresses; neighbours become one write."""
    view = memoryview(data)
    at = 0
    for address, size in merge_pages(pages, builder.geometry.page_size, len(data)).tolist():
        builder.writes.append((address, view[at : at + size]))
        at += size
