"""What every codec can do, and how one is found by the shape that a definition names.

A codec is one shape in all its directions: bytes to nodes (``walk``), nodes to a handover without
addresses (``lift``), a manifest or JSON to the same (``read``), a handover to bytes (``build``).

A module of this package that registers a codec is found by itself: a new shape is its file here,
and its name in ``Shape``.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from khotool.abi.definition import Definition, Field, Reference, Shape
from khotool.abi.record import fit_int
from khotool.handover.values import Rows
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.codec.contexts import Builder, Lifter, Reader, Walk
    from khotool.handover.values import Array
    from khotool.model.node import Node, Table
    from khotool.structured import Table as Written

WORD = 8
"""Bytes of a pointer."""
Stored = int | dict[str, Any] | Rows
"""The number that a pointer holds, the values of an embedded descriptor by label, or a table."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer, or an embedded descriptor that has one, among the fields of its own record.

    Args:
        definition: the format that the record or tree node belongs to.
        field: of the pointer.
        values: of the record or tree node, by label.
        path: of the value in the model, for errors.
    """

    definition: Definition
    field: Field
    values: Mapping[str, Any]
    path: str = ""

    @property
    def reference(self) -> Reference:
        """What it leads to."""
        return reference_of(self.field)

    @property
    def value(self) -> Any:
        """Its own value; None where none is given."""
        return self.values.get(self.field.label)

    def number(self) -> int:
        """The value as the number that the pointer holds; 0 without one.

        Raises:
            EncodeError: the value is anything else.
        """
        return fit_int(self.value or 0, WORD, False, self.path)


class Codec(ABC):
    """One shape, in all its directions."""

    shape: ClassVar[Shape]
    embedded: ClassVar[bool] = False
    """The pointer is a field of a descriptor, and is followed from the field that embeds that."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Sibling keys in a manifest that qualify a pointer of this shape."""

    # -- bytes to nodes ------------------------------------------------------------------

    @abstractmethod
    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """Add to ``node``, which is of a pointer that is not 0, what the pointer leads to."""

    def leads(self, node: Node) -> bool:
        """True if the value of a pointer can be followed."""
        return isinstance(node.value, int)

    def null(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """Judge a pointer that is 0."""
        if pointer.field.null == "error":
            walk.recorder.report("REC408", node, f"{pointer.field.name} is 0")

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:  # noqa: B027
        """Claim what a column of a table leads to; nothing for shapes that rows do not have."""

    def resolve(self, walk: Walk, nodes: list[Node]) -> None:  # noqa: B027
        """Find what nodes that were deferred name, once everything has been read."""

    @abstractmethod
    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The value of a decoded pointer without addresses, as ``build`` takes it."""

    @abstractmethod
    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The value that somebody wrote by hand, as ``build`` takes it.

        Args:
            table: what was written for the record or tree node that ``field`` is in; for ``field``
                itself anything but a number, which is the pointer. Mistakes are noted there.
        """

    @abstractmethod
    def build(self, builder: Builder, pointer: Pointer) -> Stored:
        """Lay out what a pointer, or an embedded descriptor, leads to.

        Returns:
            The number that the pointer holds, or the values of the descriptor.

        Raises:
            EncodeError: it does not fit the format, or memory is used up.
        """

    # Columns of tables: most shapes do not occur there, and their numbers stay as they are.

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """Add what a column of pointers means to ``rows``."""
        rows.columns[field.label] = table.column(field.label)

    def read_cell(self, reader: Reader, field: Field, row: Written) -> Any:
        """What somebody wrote for the pointer in one row of a table.

        Returns:
            A number, a Link, a Block of payload, or None for a pointer to no payload.
        """
        given = row.get(field.label)
        return 0 if given is None else reader.number(field, given)

    def build_column(  # noqa: B027
        self, builder: Builder, field: Field, rows: Rows, columns: dict[str, Array], path: str
    ) -> None:
        """Lay out what a column of pointers leads to; ``columns`` are uint64 (n,) by label."""


class NumberCodec(Codec):
    """A shape whose pointers stay the numbers that they are."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The number."""
        return node.value

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The number."""
        return reader.number(field, table[field.label])

    def build(self, builder: Builder, pointer: Pointer) -> Stored:
        """The number."""
        return pointer.number()


_CODECS: dict[Shape, Codec] = {}


def register(*shapes: Shape) -> Callable[[type[Codec]], type[Codec]]:
    """Make a class the codec of a shape, or of several that it tells apart itself."""

    def add(cls: type[Codec]) -> type[Codec]:
        for shape in shapes:
            # A class made for the shape, which is all that distinguishes it from its siblings.
            _CODECS[shape] = type(cls.__name__, (cls,), {"shape": shape})()
        return cls

    return add


def codec_of(shape: Shape) -> Codec:
    """The codec of a shape."""
    return codecs()[shape]


@cache
def codecs() -> Mapping[Shape, Codec]:
    """All codecs, by shape."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    return _CODECS


def reference_of(field: Field | None) -> Reference:
    """What the field of a codec leads to."""
    assert field is not None
    assert field.points_to is not None
    return field.points_to


def codec_for(registry: Registry, definition: Definition, field: Field) -> Codec | None:
    """The codec of a field: of its pointer, or of that in the descriptor it embeds; else None."""
    if field.points_to is not None:
        return codec_of(field.points_to.shape)
    if field.holds is None or field.type is None:
        return None
    owner = registry.owner_of_struct(definition, field.type.struct)
    references = (inner.points_to for inner in owner.structs[field.type.struct].fields)
    found = (codec_of(reference.shape) for reference in references if reference is not None)
    return next((codec for codec in found if codec.embedded), None)
