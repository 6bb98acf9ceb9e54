"""A handle that only its handler can read: a record, a tree or a literal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Field, Shape
from khotool.abi.record import fit_int
from khotool.codec.base import WORD, Codec, as_number, pointer, register
from khotool.errors import EncodeError
from khotool.handover.values import Handle

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.HANDLER)
class HandlerCodec(Codec):
    """The handle of a file or an FLB."""

    beside = ("format",)

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """What the handle leads to, or the handle itself."""
        assert node.field is not None
        if node.target is not None and node.get("target") is None:
            return Handle(lifter.fields(node), format=node.format)
        formats = lifter.registry
        known = formats.definitions.get(node.format) or formats.stretched(node.format)
        if node.value and (known is None or known.kind != pointer(node.field).kind):
            lifter.lose(node.path, "unknown handler; its handle stays as it is")
        return Handle(None, int(node.value), node.format)

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """The fields of what the handle leads to."""
        return reader.handle(pointer(field), table, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The record or tree that its handler writes, or the number."""
        value, kind = values.get(field.label), pointer(field).kind
        if isinstance(value, int):
            return as_number(field, values, path)
        name = values.get(pointer(field).by, "")
        own = handler_definition(builder, kind, name, value)
        if not isinstance(value, Handle):
            return own.literals.get(name, 0) if own is not None else 0
        if value.values is None:
            return fit_int(value.literal, WORD, False, path)
        if own is not None and own.content == "fdt":
            return builder.place(builder.tree(own, value.values, path), path)
        if own is None or own.content not in own.structs:
            raise EncodeError(path, f"no definition says how {kind} {name!r} is written")
        return builder.place(builder.record(own, own.content, value.values, path), path)


def handler_definition(builder: Builder, kind: str, name: str, value: Any) -> Definition | None:
    """The definition by which a handle is written: as the value or the set says."""
    candidates = builder.registry.handlers(kind, name)
    wanted = [value.format] if isinstance(value, Handle) else []
    for identifier in [*wanted, *builder.abi.files, *builder.abi.flbs]:
        for definition in candidates:
            if definition.id == identifier:
                return definition
    return candidates[0] if candidates else None
