"""Labels of the values of a format, including those of its inline targets."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.abi.definition import Definition, Field, NodeType, Reference, Shape, leaf_fields
from khotool.abi.registry import Registry

MAX_DEPTH = 8
"""Nesting of inline targets."""


def content_labels(registry: Registry, definition: Definition, depth: int = 0) -> list[str]:
    """Labels of the values that a definition's content has."""
    if definition.fdt is not None:
        return node_labels(registry, definition, definition.fdt, depth)
    return struct_labels(registry, definition, definition.content, depth)


def struct_labels(
    registry: Registry, definition: Definition, name: str, depth: int = 0
) -> list[str]:
    """Labels of the fields of a struct, parts of words among them."""
    if name not in definition.structs:
        return []
    fields = leaf_fields(definition.structs[name].fields)
    return _with_targets(registry, definition, fields, depth)


def node_labels(
    registry: Registry, definition: Definition, kind: NodeType, depth: int = 0
) -> list[str]:
    """Labels of the values of a node of a tree and of its inline children."""
    labels = _with_targets(registry, definition, kind.properties, depth)
    labels += [item.alias for item in (kind.any_node, kind.any_property) if item and item.alias]
    inline, groups = inner_nodes(registry, kind)
    for owner, node in inline:
        labels += node_labels(registry, owner or definition, node, depth)
    return labels + [name for name, _ in groups]


def inner_nodes(
    registry: Registry, kind: NodeType
) -> tuple[list[tuple[Definition | None, NodeType]], list[tuple[str, NodeType]]]:
    """Children of a node whose values are inline, and those with a name."""
    inline: list[tuple[Definition | None, NodeType]] = []
    groups: list[tuple[str, NodeType]] = []
    for name, child in kind.nodes.items():
        owner = registry.get(child.format) if child.format else None
        node = owner.fdt if owner is not None and owner.fdt is not None else child
        # The builder has a node with a format of its own among its parent's values.
        if node.inline or child.format:
            inline.append((owner, node))
        else:
            groups.append((name, node))
    return inline, groups


def target_labels(
    registry: Registry, definition: Definition, reference: Reference, depth: int = 0
) -> list[str]:
    """Labels of the values of an inline target; none for any other."""
    if not reference.inline or depth >= MAX_DEPTH:
        return []
    if reference.shape is Shape.TREE:
        return content_labels(registry, registry.get(reference.format), depth + 1)
    owner = registry.owner_of_struct(definition, reference.of)
    return struct_labels(registry, owner, reference.of, depth + 1)


def _with_targets(
    registry: Registry, definition: Definition, fields: Iterable[Field], depth: int
) -> list[str]:
    labels = []
    for field in fields:
        labels.append(field.label)
        if field.points_to is not None:
            labels += target_labels(registry, definition, field.points_to, depth)
    return labels
