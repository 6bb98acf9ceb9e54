"""Whether what a definition says of its pointers is sound, as the codec of each shape sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from khotool.abi.definition import Definition, Field, Shape
from khotool.abi.registry import Registry
from khotool.codec.base import Use, codec_of

INLINE = (Shape.TREE, Shape.RECORD)
"""Shapes whose values can stand beside their pointer."""


def pointer_faults(definition: Definition, registry: Registry) -> Iterator[tuple[str, str]]:
    """Place and reason of every pointer of a definition that is not sound.

    Args:
        registry: definitions that it may refer to, itself among them.
    """
    for name, struct in definition.structs.items():
        fields = [part for field in struct.fields for part in field.parts or (field,)]
        yield from _faults(definition, registry, fields, fields, f"struct.{name}")
    stack = [("fdt", definition.fdt)] if definition.fdt is not None else []
    while stack:
        where, node = stack.pop()
        others = [field for field in (node.name, node.any_property) if field is not None]
        every = [*node.properties, *others]
        yield from _faults(definition, registry, every, node.properties, where)
        stack += [(f"{where}.node.{name}", child) for name, child in node.nodes.items()]
        if node.any_node is not None:
            stack.append((f"{where}.nodes", node.any_node))


def _faults(
    definition: Definition,
    registry: Registry,
    fields: Iterable[Field],
    siblings: Iterable[Field],
    where: str,
) -> Iterator[tuple[str, str]]:
    labels = frozenset(field.label for field in siblings)
    for field in fields:
        reference = field.points_to
        if reference is None:
            continue
        here = f"{where}.{field.name}"
        if reference.inline and reference.shape not in INLINE:
            yield here, "inline is for pointers to a tree or to a record"
        use = Use(registry, definition, field, reference, labels)
        for text in codec_of(reference.shape).validate(use):
            yield here, text
