"""What every codec can do, and how one is found by the shape that a definition names.

A codec is one shape in all its directions: is a definition's use of it sound (``validate``), bytes to
nodes (``walk``), nodes to a handover without addresses (``lift``), a manifest or JSON to the same
(``read``), and a handover to bytes (``build``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from khotool.abi.definition import Definition, Field, Reference, Shape

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader, Walk
    from khotool.model.image import Node


class Codec(ABC):
    """One shape, in all its directions."""

    shape: ClassVar[Shape]

    @abstractmethod
    def validate(self, definition: Definition, field: Field, reference: Reference) -> Iterator[str]:
        """Why a pointer of this shape is not sound in a definition; nothing if it is."""

    @abstractmethod
    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """Add to ``node``, a pointer that is not 0, what it leads to."""

    @abstractmethod
    def lift(self, lifter: Lifter, node: Node, reference: Reference) -> Any:
        """The value of a decoded pointer without addresses, as ``build`` takes it."""

    @abstractmethod
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

    @abstractmethod
    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """Lay out what a pointer leads to; the number that the pointer holds."""


_CODECS: dict[Shape, Codec] = {}


def register(shape: Shape) -> Callable[[type[Codec]], type[Codec]]:
    """Make a class the codec of a shape."""

    def add(cls: type[Codec]) -> type[Codec]:
        _CODECS[shape] = cls()
        return cls

    return add


def codec_of(shape: Shape) -> Codec:
    """The codec of a shape."""
    return _CODECS[shape]
