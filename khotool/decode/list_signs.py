"""Signs in arrays that a value leads to: read the right way, an array ends where zeros begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Reference, Shape
from khotool.abi.record import decode_record
from khotool.absent import Absent

if TYPE_CHECKING:
    from khotool.decode.walk import Walker


def array_ends(
    walker: Walker,
    definition: Definition,
    reference: Reference,
    address: int,
    siblings: Mapping[str, Any],
) -> bool:
    """True if an array has room for its records, and zeros behind them; or if it is not captured.

    Args:
        address: physical address, 0 for no array.
        siblings: values of the fields beside the pointer.
    """
    if reference.shape is not Shape.ARRAY or not address:
        return reference.shape is Shape.ARRAY
    page = walker.geometry.page_size
    record = walker.registry.compile(definition, reference.of, walker.geometry)
    values, head = siblings, 0
    if reference.header:
        header = walker.registry.compile(definition, reference.header, walker.geometry)
        data = walker.read_some(address, header.size)
        if isinstance(data, Absent):
            return True
        values, head = decode_record(header, data), header.size
    count = values.get(reference.count)
    pages = values.get(reference.pgcnt, reference.pages)
    if not isinstance(count, int) or not isinstance(pages, int):
        return False
    used = head + count * record.size
    if pages and used > pages * page:
        return False
    end = address + used
    data = walker.read_some(end, -end % page)
    return isinstance(data, Absent) or not any(data)
