"""What every codec can do, and how one is found by the shape that a definition names.

A codec is one shape in all its directions: is a definition's use of it sound (``validate``), bytes
to nodes (``walk``), nodes to a handover without addresses (``lift``), a manifest or JSON to the
same (``read``), and a handover to bytes (``build``).

A module of this package that registers a codec is found by itself: a new shape is its file here,
and its name in ``Shape``.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from khotool.abi.definition import Definition, Field, Reference, Shape, Struct
from khotool.errors import DefinitionError

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.codec.contexts import Builder, Lifter, Reader, Walk
    from khotool.model.node import Node, Table


class Codec(ABC):
    """One shape, in all its directions."""

    shape: ClassVar[Shape]
    embedded: ClassVar[bool] = False
    """The pointer is a field of a descriptor, and is followed from the field that embeds that."""

    # -- bytes to nodes ------------------------------------------------------------------

    @abstractmethod
    def validate(self, use: Use) -> Iterator[str]:
        """Why a pointer of this shape is not sound in a definition; nothing if it is."""

    @abstractmethod
    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """Add to ``node``, a pointer that is not 0, what it leads to.

        Args:
            definition: the format that the pointer belongs to.
            siblings: values of the fields beside it, by label.
        """

    def leads(self, node: Node) -> bool:
        """True if the value of a pointer can be followed."""
        return isinstance(node.value, int)

    def null(self, walk: Walk, node: Node, field: Field, siblings: Mapping[str, Any]) -> None:
        """Judge a pointer that is 0."""
        if field.null == "error":
            walk.recorder.report("REC408", node, f"{field.name} is 0")

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:  # noqa: B027
        """Claim what a column of a table leads to; nothing for shapes that rows do not have."""

    def resolve(self, walk: Walk, nodes: list[Node]) -> None:  # noqa: B027
        """Find what nodes that were deferred name, once everything has been read."""

    # -- nodes to a handover, and back to bytes ------------------------------------------

    def lift(self, lifter: Lifter, node: Node, reference: Reference) -> Any:
        """The value of a decoded pointer without addresses, as ``build`` takes it."""

    def read(
        self,
        reader: Reader,
        definition: Definition,
        reference: Reference,
        table: Mapping[str, Any],
        given: Any,
        where: str,
    ) -> Any:
        """The value that somebody wrote by hand, as ``build`` takes it."""

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """Lay out what a pointer leads to; the number that the pointer holds."""


@dataclass(frozen=True, slots=True)
class Use:
    """A pointer in a definition, as ``validate`` is asked about it.

    Args:
        labels: of the fields beside the pointer, its own among them.
    """

    registry: Registry
    definition: Definition
    field: Field
    reference: Reference
    labels: frozenset[str]

    def struct(self, name: str) -> Struct | None:
        """A struct of the definition, or of one that it uses; None if neither has it."""
        try:
            return self.registry.owner_of_struct(self.definition, name).structs[name]
        except DefinitionError:
            return None

    def needs_struct(self, what: str) -> Iterator[str]:
        """The pointer names no struct where it has to."""
        if not self.reference.of:
            yield f"points_to of shape {self.reference.shape} needs the struct of {what}, 'of'"

    def beside(self, *names: str) -> Iterator[str]:
        """Labels, those that are not empty, that are not those of fields beside the pointer."""
        for name in names:
            if name and name not in self.labels:
                yield f"points_to names {name!r}, which is not a field beside it"

    def in_header(self, *names: str) -> Iterator[str]:
        """Labels that are not those of fields of the header."""
        header = self.struct(self.reference.header)
        if header is None:
            return
        labels = {part.label for field in header.fields for part in field.parts or (field,)}
        for name in names:
            if name and name not in labels:
                yield f"points_to names {name!r}, which is not a field of {header.name}"


_CODECS: dict[Shape, Codec] = {}


def register(*shapes: Shape) -> Callable[[type[Codec]], type[Codec]]:
    """Make a class the codec of a shape, or of several that it tells apart itself."""

    def add(cls: type[Codec]) -> type[Codec]:
        for shape in shapes:
            # A class made for the shape; the shape is all that tells it from its siblings.
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
