"""The folios that hold the contents of a file, under the field names of any handler."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Field, Shape
from khotool.model.image import Image, Node, Table
from khotool.records import dataclass
from khotool.view.values import Record, Rows


@dataclass(frozen=True, slots=True, repr=False)
class Folios:
    """The folios of a file: one row each, in stored order.

    Args:
        image: gives the page size.
        record: the record of the file, which holds its size.
        rows: the table itself, with every column that the format has.
        folio: column that names a folio by address or page frame number.
        position: label of the column of page indexes.
    """

    image: Image
    record: Record
    rows: Rows
    folio: Field
    position: str

    def __repr__(self) -> str:
        return f"<Folios {self.rows.path}: {len(self)}>"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def address(self) -> NDArray[np.uint64]:
        """Physical address in bytes of the first page of each, uint64 (n,); 0 for a hole."""
        named = self.rows.column(self.folio.label)
        if self.folio.role == "pfn":
            named = named << np.uint64(self.image.geometry.page_shift)
        return named

    @property
    def pfn(self) -> NDArray[np.uint64]:
        """Page frame number of the first page of each, uint64 (n,); 0 for a hole."""
        named = self.rows.column(self.folio.label)
        if self.folio.role != "pfn":
            named = named >> np.uint64(self.image.geometry.page_shift)
        return named

    @property
    def index(self) -> NDArray[np.uint64]:
        """Where each begins in the file, in pages, uint64 (n,)."""
        return self.rows.column(self.position)


def folios_of(image: Image, node: Node) -> Folios | None:
    """The folios of a file that ``node`` is, holds, or is a part of; None without a list of them.

    A file's node, its ``data`` and the ``folios`` in it all mean the contents.
    """
    for record in (node, node.get("data"), node.parent if node.table is not None else None):
        if record is None:
            continue
        for child in record.children:
            columns = None if child.table is None else folio_columns(child.table)
            if columns is not None:
                return Folios(image, Record(record), Rows(child), *columns)
    return None


def folio_columns(table: Table) -> tuple[Field, str] | None:
    """The column that names folios, and the label of that of page indexes; None without both."""
    if table.position is None:
        return _columns_of(table.compiled)
    return _columns(table)


@lru_cache(maxsize=256)
def _columns_of(compiled: CompiledStruct) -> tuple[Field, str] | None:
    none = np.empty(0, compiled.dtype)
    return _columns(Table(compiled, none, np.empty((0, 2), np.uint64), 0))


def _columns(table: Table) -> tuple[Field, str] | None:
    fields = table.fields()
    index = next((field.label for field in fields if field.role == "page-index"), None)
    folios = table.pointers(Shape.FOLIO)
    return (folios[0], index) if index is not None and folios else None
