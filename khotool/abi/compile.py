"""Compile a struct for one page size and byte order: offsets, construct, numpy dtype."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Field, Struct, leaf_fields
from khotool.abi.geometry import Geometry
from khotool.errors import DefinitionError
from khotool.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """A part of a bit-field word: value = (word & mask) >> shift."""

    field: Field
    mask: int
    shift: int


@dataclass(frozen=True, slots=True)
class PlacedField:
    """A field at its offset.

    Args:
        offset, size: bytes from the start of the struct.
        count: elements of an array, else 1.
        nested: compiled struct of an embedded struct.
        parts: placed parts of a bit-field word.
    """

    field: Field
    offset: int
    size: int
    count: int = 1
    nested: CompiledStruct | None = None
    parts: tuple[PlacedPart, ...] = ()

    @property
    def many(self) -> bool:
        """True for an array, whose value is a list."""
        kind = self.field.type
        return bool(self.field.fill) or (kind is not None and bool(kind.count))


Cell = tuple[str, Field, int, int, "CompiledStruct | None", bool, bool]
"""A leaf: its label; offset, bytes, nested struct and ``many`` of its field; does it lead on?"""


class CompiledStruct:
    """A struct for one geometry.

    ``end`` is the size in bytes that the fields make up.

    ``construct`` serves single records, ``dtype`` arrays of them; both are made from
    ``fields`` and a property test holds them equal.
    """

    def __init__(
        self,
        struct: Struct,
        geometry: Geometry,
        find: Callable[[str], CompiledStruct],
        where: str,
        *,
        check: bool = True,
    ) -> None:
        """Place the fields.

        Args:
            find: gives the compiled struct of an embedded struct by name.
            where: file and place of the struct, for errors.
            check: compare the declared size with ``end``.

        Raises:
            DefinitionError: the declared size is not that of the fields.
        """
        self.struct = struct
        self.where = where
        self.geometry = geometry
        self.size = geometry.page_size if struct.size == "page" else struct.size
        self.tails = tuple(self._tails(find))
        self.fields = self._place(find)
        self.end = max((f.offset + f.size for f in self.fields), default=0)
        if not struct.packed:
            self.end = -(-self.end // self._alignment()) * self._alignment()
        if check and self.end != self.size:
            raise DefinitionError(
                where, f"the fields take {self.end} bytes, but the declared size is {self.size}"
            )

    def _tails(
        self, find: Callable[[str], CompiledStruct]
    ) -> Iterator[tuple[Field, CompiledStruct | None]]:
        """Arrays of open length after the fields, one behind the other; structs of their elements.

        There is no struct where the elements are bytes.
        """
        for field in self.struct.fields:
            if field.type is not None and field.type.kind == "array":
                yield field, find(field.type.struct) if field.type.struct else None

    def _place(self, find: Callable[[str], CompiledStruct]) -> tuple[PlacedField, ...]:
        placed = []
        offset = 0
        for field in self.struct.fields:
            kind = field.type
            assert kind is not None
            if kind.kind == "array":
                continue
            nested = find(kind.struct) if kind.kind == "struct" else None
            size = nested.size if nested else kind.size
            if not self.struct.packed:
                align = nested._alignment() if nested else (size if kind.kind == "int" else 1)
                offset = -(-offset // align) * align
            count = (self.size - offset) // size if field.fill else max(kind.count, 1)
            parts = self._parts(field, size) if field.parts else ()
            placed.append(PlacedField(field, offset, size * count, count, nested, parts))
            offset += size * count
        return tuple(placed)

    def _parts(self, field: Field, size: int) -> tuple[PlacedPart, ...]:
        parts = []
        bit = 0
        for part in field.parts:
            if part.width == "page_shift":
                width = self.geometry.page_shift
            elif part.width == "rest":
                width = max(size * 8 - bit, 0)
            else:
                width = int(part.width)
            parts.append(PlacedPart(part, ((1 << width) - 1) << bit, 0 if part.in_place else bit))
            bit += width
        if bit > size * 8:
            raise DefinitionError(self.where, f"{field.name} has {bit} bits")
        return tuple(parts)

    def _alignment(self) -> int:
        if self.struct.packed:
            return 1
        sizes = [1]
        for field in self.struct.fields:
            if field.type is not None and field.type.kind == "int":
                sizes.append(field.type.size)
        sizes += [placed.nested._alignment() for placed in self.fields if placed.nested]
        return max(sizes)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Structured dtype of one record; char arrays are raw bytes (``V``)."""
        import numpy as np

        names, formats, offsets = [], [], []
        for placed in self.fields:
            names.append(placed.field.name)
            offsets.append(placed.offset)
            base: Any
            kind = placed.field.type
            assert kind is not None
            if placed.nested:
                base = placed.nested.dtype
            elif kind.kind != "int":
                base = f"V{kind.size}"
            else:
                base = f"{self._prefix(placed)}{'i' if kind.signed else 'u'}{kind.size}"
            formats.append((base, (placed.count,)) if placed.many else base)
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.size}
        )

    @cached_property
    def construct(self) -> Any:
        """Uncompiled ``construct.Struct`` of one record; gaps of natural alignment are bytes."""
        import construct

        members = []
        end = 0
        for placed in self.fields:
            if placed.offset > end:
                members.append(f"gap_{end}" / construct.Bytes(placed.offset - end))
            kind = placed.field.type
            assert kind is not None
            base: Any
            if placed.nested:
                base = placed.nested.construct
            elif kind.kind != "int":
                base = construct.Bytes(kind.size)
            else:
                base = construct.BytesInteger(
                    kind.size, signed=kind.signed, swapped=self._prefix(placed) == "<"
                )
            if placed.many:
                base = construct.Array(placed.count, base)
            members.append(placed.field.name / base)
            end = placed.offset + placed.size
        if self.size > end:
            members.append(f"gap_{end}" / construct.Bytes(self.size - end))
        return construct.Struct(*members)

    def _prefix(self, placed: PlacedField) -> str:
        kind = placed.field.type
        return ">" if kind is not None and kind.big else self.geometry.prefix

    @cached_property
    def leaves(self) -> tuple[Field, ...]:
        """Fields that have values of their own, parts of bit-field words among them."""
        return tuple(leaf_fields(self.struct.fields[: len(self.fields)]))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The leaves with their places: what every record of this struct has nodes for."""
        return tuple(
            (field.label, field, placed.offset, placed.size, placed.nested, placed.many, leads)
            for placed in self.fields
            for field in placed.field.parts or (placed.field,)
            for leads in (field.points_to is not None or field.holds is not None,)
        )

    @cached_property
    def has_fill(self) -> bool:
        """True for plain numbers up to an array that fills the page."""
        kinds = [None if placed.parts else placed.field.type for placed in self.fields]
        plain = all(kind is not None and kind.kind == "int" for kind in kinds)
        return plain and any(placed.field.fill for placed in self.fields)

    def by_label(self, label: str) -> PlacedField:
        """The placed field that has, or whose parts have, this label.

        Raises:
            KeyError: there is none.
        """
        return self._labels[label]

    @cached_property
    def _labels(self) -> dict[str, PlacedField]:
        placed_of: dict[str, PlacedField] = {}
        for placed in self.fields:
            for field in placed.field.parts or (placed.field,):
                placed_of.setdefault(field.label, placed)
        return placed_of
