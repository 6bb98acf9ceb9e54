"""From a value to what it leads to: one codec by the shape of its pointer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from khotool.abi.definition import Definition, Field
from khotool.absent import Absent
from khotool.codec.base import Pointer, codec_for, codec_of
from khotool.codec.contexts import Walk
from khotool.model.node import Node


def follow(
    walk: Walk, node: Node, field: Field, definition: Definition, siblings: Mapping[str, Any]
) -> None:
    """Add to ``node`` what its value leads to.

    Args:
        node: the value's node.
        field: its definition.
        definition: the format that the field belongs to.
        siblings: values of the sibling fields, by label.
    """
    if isinstance(node.value, Absent):
        return
    pointer = Pointer(definition, field, siblings)
    if field.holds is not None:
        descriptor = codec_for(walk.scene.registry, definition, field)
        if descriptor is not None:
            descriptor.walk(walk, node, pointer)
        return
    if field.points_to is None:
        return
    codec = codec_of(field.points_to.shape)
    if not codec.leads(node):
        return
    if node.value == 0:
        codec.null(walk, node, pointer)
    elif not codec.embedded:
        codec.walk(walk, node, pointer)
